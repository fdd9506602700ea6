"""Values: JSON for reviewers says what it lost, and gives back the same value or nothing."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta, timezone
from enum import Enum, StrEnum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard.actions import binding, values

NUMBERS = st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False))
LEAVES = st.one_of(
    *(st.none(), st.booleans(), NUMBERS, st.text(alphabet=st.characters(codec="utf-8"), max_size=8)),
    *(st.dates(), st.times(), st.datetimes(), st.datetimes(timezones=st.just(UTC)), st.binary(max_size=4)),
    *(st.from_regex(r"[a-z./]{1,8}", fullmatch=True).map(Path), st.datetimes(timezones=st.timezones())),
)
ANY = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(st.text(alphabet="abc", max_size=3), inner, max_size=3),
    ),
    max_leaves=6,
)


def ordered(value: Any) -> Any:
    """Canonical JSON orders the keys of dicts, which do not differ by it."""
    if isinstance(value, dict):
        return {k: ordered(v) for k, v in sorted(value.items())}
    return type(value)(map(ordered, value)) if isinstance(value, list | tuple) else value


@given(ANY)
def test_value_comes_back_the_same_with_its_type_or_not_at_all(value: Any) -> None:
    body = binding.write("x", {"value": value}, of={}).body
    kind = values.kind(value)
    assert json.loads(body).get("types", {}) == ({"value": kind} if kind else {})
    if kind != values.OTHER:
        again = binding.read(body).argument("value")
        assert (again, type(again), repr(ordered(again))) == (value, type(value), repr(ordered(value)))


@given(ANY)
def test_what_is_written_down_is_the_same_every_time(value: Any) -> None:
    first = binding.write("x", {"value": value}, of={})
    assert first.body == binding.encoded(json.loads(first.body))
    assert not first.differs(binding.read(first.body))


class Word(StrEnum):
    ONE = "one"


@pytest.mark.parametrize(
    "value",
    [
        *(b"bytes", [1.0], (1, (2,)), {"a": Path("x")}, -0.0, Word.ONE, int),
        datetime(2030, 1, 1, fold=1),  # noqa: DTZ001  a wall clock's hour that comes twice
        [date(2030, 1, 1)],
    ],
    ids=repr,
)
def test_value_that_json_cannot_give_back_is_marked(value: Any) -> None:
    assert values.kind(value) == values.OTHER


@pytest.mark.parametrize("value", [object(), {1}, 1j, Enum("E", "A").A, lambda: None], ids=lambda v: type(v).__name__)
def test_value_that_says_nothing_to_people_has_no_json(value: Any) -> None:
    with pytest.raises(TypeError):
        values.plain(value)


def test_times_with_an_offset_come_back() -> None:
    east = timezone(timedelta(hours=2))
    for value in (datetime(2030, 1, 1, 12, tzinfo=east), time(12, 30), 2**60, 3.0, ("a", 1)):
        assert repr(values.rebuilt(values.plain(value), values.kind(value))) == repr(value)
