"""Decisions about records: ranges as people write them, what adds up, and what they meet."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard.errors import InvalidRequest
from llmguard.sifting import Choices, Decided, Met
from llmguard.sifting.choices import MAX_RANGES, merged, read

RANGES = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 8), st.sampled_from(["keep", "drop", "redact"])))


def apart(ranges: list[tuple[int, int, str]]) -> dict[str, str]:
    """Those that overlap no other."""
    taken: set[int] = set()
    made = {}
    for first, more, choice in ranges:
        own = set(range(first, first + more + 1))
        if not own & taken:
            taken |= own
            made[f"{first + 1}-{first + more + 1}"] = choice
    return made


def test_people_count_from_one_and_files_from_zero() -> None:
    assert read({"17": "keep", "3-5": "drop"}, "bo") == (Decided(2, 4, "drop", "bo"), Decided(16, 16, "keep", "bo"))
    assert [d.named for d in read({"17": "keep", "3-5": "drop"}, "bo")] == ["3-5", "17"]


@pytest.mark.parametrize("asked", [{}, {"0": "drop"}, {"5-3": "drop"}, {"1-3": "drop", "3": "keep"}, {"1": "x"}])
def test_what_makes_no_sense_is_refused(asked: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest):
        read(asked, "bo")


@given(RANGES, RANGES)
def test_the_newest_decision_about_a_record_always_counts(
    before: list[tuple[int, int, str]], after: list[tuple[int, int, str]]
) -> None:
    wanted: dict[int, str] = {}
    decided: tuple[Decided, ...] = ()
    for who, ranges in (("ann", apart(before)), ("bo", apart(after))):
        if ranges:
            new = read(ranges, who)
            decided = merged(decided, new)
            wanted |= {n: d.choice for d in new for n in range(d.first, d.last + 1)}
    choices = Choices(decided)
    assert {n: choices.get(n) for n in range(60)} == {
        n: (wanted[n] if wanted.get(n, "redact") != "redact" else None) for n in range(60)
    }
    assert sorted(choices) == [n for n, choice in sorted(wanted.items()) if choice != "redact"]
    assert len(choices) == len([*choices])


def test_there_is_an_end_to_how_many_ranges_there_are() -> None:
    full = read({str(2 * n): "drop" for n in range(1, MAX_RANGES + 1)}, "bo")
    with pytest.raises(InvalidRequest):
        merged(full, read({"1": "keep"}, "bo"))
    assert merged(full, read({f"1-{4 * MAX_RANGES}": "drop"}, "bo"))[0].last == 4 * MAX_RANGES - 1


def test_a_decision_that_meets_no_record_is_refused() -> None:
    met = Met.of(Choices(read({"2": "drop", "4-6": "keep"}, "bo")))
    for number in (0, 1, 3, 5):
        met.record(number)
    met.ensure_all()
    assert met.counts == {"drop": 1, "keep": 2}
    for gone in ({"9": "drop"}, {"5-9": "drop"}):
        met = Met.of(Choices(read(gone, "bo")))
        for number in range(6):
            met.record(number)
        with pytest.raises(InvalidRequest):
            met.ensure_all()
