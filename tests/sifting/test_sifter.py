"""Single records, tallies, recipes."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmguard.config import Settings
from llmguard.errors import UnscannableRequest
from llmguard.facts import MAX_KEPT, Found
from llmguard.sifting import Block, Recipe, Sifter, Tally, blocks
from tests.sifting.kit import EMAIL, PHONE, SCANNER, VAULT, chat, sift, surrogate


def test_a_record_of_python_is_cleaned_as_a_line_of_json_is() -> None:
    sifter = Sifter(SCANNER, VAULT, "default", style=surrogate)
    record = {"email": EMAIL, "n": 3.5, "tags": ["a", PHONE], "phone": 4155550123, "none": None, "nan": float("nan")}
    cleaned = sifter.clean(record)
    after = cleaned.record
    assert EMAIL not in str(after)
    assert PHONE not in str(after)
    assert after["phone"] != 4155550123
    assert type(after["phone"]) is int
    assert (after["n"], after["tags"][0], after["none"]) == (3.5, "a", None)
    assert sum(map(len, cleaned.findings)) == 3
    line = sift(f'{{"email": "{EMAIL}"}}\n'.encode(), style=surrogate).data.decode()
    assert after["email"] in line


def test_a_text_is_cleaned_and_a_dropped_record_is_none() -> None:
    assert EMAIL not in Sifter(SCANNER, VAULT, "default").clean(f"to {EMAIL}").record
    assert Sifter(SCANNER, VAULT, "default", drop=True).clean({"a": EMAIL}).record is None


def test_a_record_that_nests_too_deep_is_refused() -> None:
    deep: object = "x"
    for _ in range(200):
        deep = [deep]
    with pytest.raises(UnscannableRequest):
        Sifter(SCANNER, VAULT, "default").clean({"a": deep})


def test_a_recipe_makes_the_same_sifter_in_another_process(tmp_path: Path) -> None:
    recipe = Recipe(Settings(data=tmp_path / "data", cache=tmp_path / "cache"), names=False, styles={"PHONE": "mask"})
    again = pickle.loads(pickle.dumps(recipe))
    block = Block(0, chat(f"{EMAIL} {PHONE}") * 3)
    one, other = recipe.sifter(SCANNER).block(block), again.sifter(SCANNER).block(block)
    assert one.data == other.data
    assert (one.seen, one.drawn) == (other.seen, other.drawn)
    assert one.tally == pickle.loads(pickle.dumps(other.tally))
    assert "*" in one.data.decode()
    assert len(one.seen) % 8 == len(one.drawn) % 8 == 0


def test_no_surrogate_is_one_that_is_to_be_avoided() -> None:
    def sifted(avoid: frozenset[bytes]) -> tuple[bytes, bytes]:
        done = Sifter(SCANNER, VAULT, "default", style=surrogate, avoid=avoid).block(Block(0, chat(EMAIL)))
        return done.data, done.drawn

    first, drawn = sifted(frozenset())
    avoid = frozenset(drawn[i : i + 8] for i in range(0, len(drawn), 8))
    second, others = sifted(avoid)
    assert second != first
    assert not avoid & {others[i : i + 8] for i in range(0, len(others), 8)}


def test_the_names_budget_of_nothing_leaves_names_unscanned_where_there_is_a_model() -> None:
    done = Sifter(SCANNER, VAULT, "default", names_budget=0).block(Block(0, chat(EMAIL)))
    assert done.tally.unscanned == frozenset()  # without a model nobody promised names


def test_a_record_that_is_too_large_is_refused_by_name() -> None:
    with pytest.raises(UnscannableRequest, match="line 2 has more than 64 MB"):
        list(blocks([b"{}\n", *[b"x" * (1 << 20)] * 66], "jsonl"))


FOUND = st.builds(
    lambda type_, identity, times: Found(type_, "pii", "low", 0.5, identity=f"{identity:08x}", times=times),
    st.sampled_from(["EMAIL", "PHONE", "IBAN"]),
    st.integers(0, 5000),
    st.integers(1, 3),
)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.lists(FOUND, max_size=40)), max_size=30), st.randoms())
def test_tallies_are_the_same_in_any_order_and_grouping(records: list[tuple[int, list[Found]]], drawn: object) -> None:
    whole = Tally()
    for number, found in records:
        whole.add(found, number)
    shuffled = list(records)
    drawn.shuffle(shuffled)  # type: ignore[attr-defined]
    parts = []
    for number, found in shuffled:
        part = Tally()
        part.add(found, number)
        parts.append(part)
    merged = sum(parts, Tally())
    assert merged == whole
    assert sum(f.times for f in merged.found()) == whole.findings


def test_a_tally_is_bounded_and_its_times_add_up() -> None:
    one, other = Tally(), Tally()
    for number in range(9000):
        found = [Found("EMAIL", "pii", "low", 0.5, identity=f"{number * 2654435761 % 2**32:08x}")]
        (one if number % 2 else other).add(found, number)
    for tally in (one + other, other + one):
        rows = tally.found()
        assert len(rows) <= MAX_KEPT
        assert sum(f.times for f in rows) == 9000
        assert rows == (other + one).found()
    assert len(pickle.dumps(one + other)) < 400_000
