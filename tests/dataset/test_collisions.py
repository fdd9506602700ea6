"""Collisions: no surrogate of a file is a value of it, whatever the blocks, and it ends."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmguard.dataset.collisions import ROUNDS, Marked, Marks, collisions, settle
from llmguard.errors import GuardUnavailable
from llmguard.redaction.surrogates import FileSurrogates
from llmguard.redaction.surrogates.draw import folded
from llmguard.vault import KINDS, Keyring, Vault

VAULT = Vault(Keyring({kind: (b"the same key in every run, always",) for kind in KINDS}))
Value = tuple[str, str]


def marked(path: Path, number: int, seen: int, drawn: int) -> Marked:
    """A block whose marks stand one after the other in a file."""
    return Marked(number, Marks(path, 0, seen), Marks(path, seen, drawn))


class Work:
    """A file in blocks of values, as an engine would sift them."""

    def __init__(self, folder: Path, blocks: list[list[Value]]) -> None:
        self.blocks = blocks
        self.folder = folder
        self.sizes: dict[int, tuple[int, int]] = {}
        self.written: dict[int, list[str | None]] = {}
        self.rounds: list[tuple[int, ...]] = []
        self.sift(tuple(range(len(blocks))), frozenset())
        self.rounds.clear()

    def sift(self, numbers: tuple[int, ...], avoid: frozenset[bytes]) -> None:
        self.rounds.append(numbers)
        for n in numbers:
            surrogates = FileSurrogates(partial(VAULT.digest, "default"), avoid)
            for type_, value in self.blocks[n]:
                surrogates.found(type_, "pii", value)
            self.written[n] = [surrogates.of(type_, "pii", value, value) for type_, value in self.blocks[n]]
            marks = surrogates.noted()
            (self.folder / f"{n}").write_bytes(marks.seen + marks.drawn)
            self.sizes[n] = len(marks.seen), len(marks.drawn)

    def marked(self) -> list[Marked]:
        return [marked(self.folder / f"{n}", n, *self.sizes[n]) for n in range(len(self.blocks))]

    def settled(self, avoid: frozenset[bytes] = frozenset()) -> list[str | None]:
        settle(self.marked, self.sift, avoid)
        return [new for n in range(len(self.blocks)) for new in self.written[n]]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    return partial(tmp_path_factory.mktemp, "marks")


def chain(length: int) -> list[Value]:
    """A value, and the surrogates that it would get one after the other."""
    values, avoid = [("EMAIL", "jane.doe@corp.test")], set()
    for _ in range(length):
        surrogates = FileSurrogates(partial(VAULT.digest, "default"), frozenset(avoid))
        new = surrogates.of("EMAIL", "pii", values[0][1], values[0][1])
        assert new is not None
        values.append(("EMAIL", new))
        surrogates.found("EMAIL", "pii", new)
        seen = surrogates.noted().seen
        avoid |= {seen[i : i + 8] for i in range(0, len(seen), 8)}
    return values


def test_no_surrogate_is_a_value_of_another_block(folder: Callable[[], Path]) -> None:
    values = chain(3)
    work = Work(folder(), [[value] for value in values])
    new = work.settled()
    assert new[0] not in (None, *(v for _, v in values))
    assert not {folded(n) for n in new if n} & {folded(v) for _, v in values}
    assert all(len(numbers) < len(values) for numbers in work.rounds)


def test_only_the_blocks_that_drew_it_are_sifted_again(folder: Callable[[], Path]) -> None:
    first, second = chain(1)
    others = [[("EMAIL", f"x{i}@corp.test")] for i in range(20)]
    work = Work(folder(), [*others[:10], [first], *others[10:], [second], [first]])
    work.settled()
    assert work.rounds[0] == (10, 22)
    assert work.written[10] == work.written[22]


def test_nothing_is_sifted_again_where_nothing_collides(folder: Callable[[], Path]) -> None:
    work = Work(folder(), [[("EMAIL", "jane.doe@corp.test")], [], [("EMAIL", "jane.doe@corp.test")]])
    work.settled()
    assert work.rounds == []
    assert Work(folder(), []).settled() == []


SMALL = st.one_of(
    st.tuples(st.just("PHONE"), st.integers(0, 99).map(lambda n: f"555-01{n:02}")),
    st.tuples(st.just("PROJECT"), st.from_regex(r"[A-B][0-9]{4}", fullmatch=True)),
    st.tuples(st.just("PERSON"), st.sampled_from(["Robin Hale", "Abbott", "Hale", "Kim Abbott", "R. Hale"])),
)
"""Values of spaces so small that they are soon used up."""


@given(st.lists(SMALL, min_size=1, max_size=120), st.integers(1, 9), st.integers(1, 9))
@settings(max_examples=15, deadline=None)
def test_the_result_is_the_same_however_the_file_is_cut(
    folder: Callable[[], Path], values: list[Value], one: int, other: int
) -> None:
    results = []
    for size in (one, other):
        work = Work(folder(), [values[i : i + size] for i in range(0, len(values), size)])
        results.append(work.settled())
        assert len(work.rounds) <= 8
    assert results[0] == results[1]
    assert not {folded(n) for n in results[0] if n} & {folded(v) for _, v in values}


def test_what_has_no_draw_left_is_none_after_few_rounds(folder: Callable[[], Path]) -> None:
    work = Work(folder(), [[("PHONE", f"555-01{n:02}")] for n in range(100)])
    assert work.settled() == [None] * 100
    assert len(work.rounds) <= 8


def test_an_interrupted_round_goes_on_to_the_same_end(folder: Callable[[], Path]) -> None:
    values = [*chain(5), *(("PHONE", f"555-01{n:02}") for n in range(0, 100, 2))]
    whole = Work(folder(), [[v] for v in values]).settled()

    class Killed(Exception):
        pass

    for stop in range(1, 6):
        work = Work(folder(), [[v] for v in values])
        kept: list[frozenset[bytes]] = [frozenset()]
        left = [stop]

        def again(
            numbers: tuple[int, ...],
            avoid: frozenset[bytes],
            work: Work = work,
            kept: list[frozenset[bytes]] = kept,
            left: list[int] = left,
        ) -> None:
            kept.append(avoid)
            left[0] -= 1
            if left[0]:
                work.sift(numbers, avoid)
            else:  # some of the blocks only
                work.sift(numbers[::2], avoid)
                raise Killed

        with suppress(Killed):
            settle(work.marked, again)
        assert work.settled(kept[-1]) == whole


def test_ranges_of_marks_give_what_all_at_once_give(folder: Callable[[], Path]) -> None:
    random = Random(1)
    path = folder()
    blocks, seen, drawn = [], set(), {}
    for number in range(7):
        pair = []
        for _ in range(2):
            packed = sorted({random.randbytes(1) + bytes(6) + random.randbytes(1) for _ in range(300)})
            pair.append(packed)
        seen.update(pair[0])
        drawn[number] = set(pair[1])
        (path / f"{number}").write_bytes(b"".join([*pair[0], *pair[1]]))
        blocks.append(marked(path / f"{number}", number, 8 * len(pair[0]), 8 * len(pair[1])))
    marks = frozenset(mark for some in drawn.values() for mark in some if mark in seen)
    for at_once in (1, 10, 100, 10_000):
        found = collisions(blocks, at_once)
        assert found.marks == marks
        assert found.blocks == tuple(n for n, some in drawn.items() if some & marks)


def test_blocks_that_do_not_avoid_are_noticed(folder: Callable[[], Path]) -> None:
    work = Work(folder(), [[value] for value in chain(1)])
    calls = []
    with pytest.raises(GuardUnavailable, match="nothing is published"):
        settle(work.marked, lambda numbers, avoid: calls.append(numbers))
    assert len(calls) == ROUNDS


def test_a_cut_file_of_marks_is_an_error(folder: Callable[[], Path]) -> None:
    work = Work(folder(), [[value] for value in chain(1)])
    (work.folder / "0").write_bytes((work.folder / "0").read_bytes()[:-3])
    with pytest.raises(GuardUnavailable, match="cut"):
        collisions(work.marked())
