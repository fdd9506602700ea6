"""Choices: what people decided of single records of a file: keep, drop or redact, in ranges, with who decided it.

Bounded by how many ranges there are, not by how many records they span. People count records from 1, files from 0.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, cast, get_args

from llmguard.errors import InvalidRequest

Choice = Literal["keep", "drop", "redact"]
MAX_RANGES = 1000
"""Ranges that one file is decided by."""
_NAMED = re.compile(r"([1-9][0-9]{0,9})(?:-([1-9][0-9]{0,9}))?")


@dataclass(frozen=True, slots=True)
class Decided:
    """Records ``first`` to ``last``, both among them, from 0; ``by``: who decided so."""

    first: int
    last: int
    choice: Choice
    by: str = ""

    @property
    def named(self) -> str:
        """As people name it: ``17``, or ``17-40``."""
        return f"{self.first + 1}" + (f"-{self.last + 1}" if self.last > self.first else "")


def read(asked: Mapping[str, str], by: str) -> tuple[Decided, ...]:
    """What somebody asks for, by ``17`` or ``17-40``. Raises InvalidRequest where ranges overlap, or are none."""
    if not 0 < len(asked) <= MAX_RANGES:
        raise InvalidRequest(f"decisions name 1 to {MAX_RANGES} records or ranges of records")
    found = []
    for named, choice in asked.items():
        match = _NAMED.fullmatch(named)
        if match is None or choice not in get_args(Choice):
            raise InvalidRequest('a decision is a record, or a range as in "17-40", with keep, drop or redact')
        first = int(match[1]) - 1
        found.append(Decided(first, int(match[2]) - 1 if match[2] else first, cast(Choice, choice), by))
    found.sort(key=lambda d: d.first)
    if any(d.last < d.first for d in found) or any(b.first <= a.last for a, b in pairwise(found)):
        raise InvalidRequest("a range of records is backwards, or two of them overlap: name each record once")
    return tuple(found)


def merged(before: Sequence[Decided], new: Sequence[Decided]) -> tuple[Decided, ...]:
    """Former decisions, but for what is decided anew. Records that are redacted stand in none: all others are.

    Raises InvalidRequest for more than ``MAX_RANGES``.
    """
    kept = [piece for old in before for piece in _outside(old, new)]
    made = sorted([*kept, *(d for d in new if d.choice != "redact")], key=lambda d: d.first)
    if len(made) > MAX_RANGES:
        raise InvalidRequest(f"a file is decided by at most {MAX_RANGES} ranges: name ranges instead of records")
    return tuple(made)


def _outside(old: Decided, new: Iterable[Decided]) -> Iterator[Decided]:
    """The pieces of a range that no new one covers; the new ones are sorted."""
    at = old.first
    for d in new:
        if d.last < at or d.first > old.last:
            continue
        if d.first > at:
            yield Decided(at, d.first - 1, old.choice, old.by)
        at = d.last + 1
    if at <= old.last:
        yield Decided(at, old.last, old.choice, old.by)


class Choices(Mapping[int, Choice]):
    """The same, asked record by record: the ``decisions`` of a Sifter."""

    def __init__(self, decided: Sequence[Decided]) -> None:
        self.decided = tuple(decided)
        self._starts = [d.first for d in self.decided]

    def range_of(self, record: int) -> int | None:
        """The number of the range that a record stands in."""
        i = bisect_right(self._starts, record) - 1
        return i if i >= 0 and record <= self.decided[i].last else None

    def __getitem__(self, record: int) -> Choice:
        i = self.range_of(record)
        if i is None:
            raise KeyError(record)
        return self.decided[i].choice

    def __iter__(self) -> Iterator[int]:
        for d in self.decided:
            yield from range(d.first, d.last + 1)

    def __len__(self) -> int:
        return sum(d.last - d.first + 1 for d in self.decided)

    def __contains__(self, record: object) -> bool:
        return isinstance(record, int) and self.range_of(record) is not None


@dataclass(slots=True)
class Met:
    """Which decisions met a record, and how many records each choice was made of."""

    choices: Choices
    counts: dict[str, int]
    ranges: set[int]
    last: int = -1

    @classmethod
    def of(cls, choices: Choices) -> Met:
        return cls(choices, {}, set())

    def record(self, number: int) -> None:
        self.last = max(self.last, number)
        i = self.choices.range_of(number)
        if i is not None:
            choice = self.choices.decided[i].choice
            self.counts[choice] = self.counts.get(choice, 0) + 1
            self.ranges.add(i)

    def ensure_all(self) -> None:
        """Raises InvalidRequest for a decision about a record that the file does not have."""
        for i, d in enumerate(self.choices.decided):
            if i not in self.ranges or d.last > self.last:
                raise InvalidRequest(f"the file has no record {d.named}: its last one is {self.last + 1}")
