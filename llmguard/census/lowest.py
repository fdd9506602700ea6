"""Lowest: a bounded sample of a set that is the same in whatever order, and in however many pieces, the set came.

Of all keys (64 bits, drawn by a keyed hash) the lowest are kept. Invariants: what ends up among the lowest of the whole
was among the lowest of each piece, so its counts are exact; merging is associative and commutative; memory is bounded
by ``size``. How many keys there are in all is read from how far the lowest reach: the k-minimum-values estimate of
Beyer et al. 2007 ("On synopses for distinct-value estimation under multiset operations"), whose relative standard error
is 1/√(k − 2); up to ``size`` keys it is exact.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

P = TypeVar("P")
SPACE = 1 << 64
"""Keys are below this."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """``error``: relative standard error, 0 where the value is exact."""

    value: int
    error: float = 0.0

    def scaled(self, share: float) -> Estimate:
        return Estimate(round(self.value * share), self.error)

    def __str__(self) -> str:
        if not self.error or not self.value:
            return f"{self.value:,}"
        digits = max(0, len(str(self.value)) - 3)
        return f"about {round(self.value, -digits):,} (±{200 * self.error:.2g} %)"


class Lowest(Generic[P]):
    """``kept`` by key. ``ceiling``: no key above it is among the lowest; ``whole``: nothing was left out."""

    __slots__ = ("_room", "ceiling", "kept", "size", "whole")

    def __init__(self, size: int, ceiling: int = SPACE) -> None:
        self.size, self.ceiling, self.whole = size, ceiling, True
        self._room = size + max(32, size // 4)
        self.kept: dict[int, P] = {}

    def put(self, key: int, payload: Callable[[], P]) -> None:
        """What is kept of a key is made only if the key is taken, and once."""
        if key > self.ceiling:
            self.whole = False
        elif key not in self.kept:
            self._set(key, payload())

    def _set(self, key: int, payload: P) -> None:
        self.kept[key] = payload
        if len(self.kept) > self._room:
            self.prune()

    def prune(self) -> None:
        """Leaves the lowest alone."""
        if len(self.kept) > self.size:
            keys = sorted(self.kept)[: self.size]
            self.kept = {key: self.kept[key] for key in keys}
            self.ceiling, self.whole = keys[-1], False

    def join(self, old: P, new: P) -> P:
        """What is kept of a key that came in two pieces."""
        return old

    def __iadd__(self, other: Lowest[P]) -> Self:
        if other.size != self.size:
            raise ValueError("only censuses with the same limits can be merged")
        self.ceiling = min(self.ceiling, other.ceiling)
        self.whole = self.whole and other.whole
        for key, payload in other.kept.items():
            if key <= self.ceiling:
                old = self.kept.get(key)
                self._set(key, payload if old is None else self.join(old, payload))
            else:
                self.whole = False
        return self

    def ordered(self) -> list[tuple[int, P]]:
        """By key."""
        self.prune()
        return sorted(self.kept.items(), key=lambda item: item[0])

    @property
    def distinct(self) -> Estimate:
        """How many keys there are in all."""
        self.prune()
        kept = len(self.kept)
        if self.whole or kept < 3:
            return Estimate(kept)
        return Estimate(round((kept - 1) * SPACE / (max(self.kept) + 1)), 1 / math.sqrt(kept - 2))

    def __getstate__(self) -> tuple[int, int, bool, dict[int, P]]:
        self.prune()
        return self.size, self.ceiling, self.whole, self.kept

    def __setstate__(self, state: tuple[int, int, bool, dict[int, P]]) -> None:
        self.size, self.ceiling, self.whole, self.kept = state
        self._room = self.size + max(32, self.size // 4)


Count = tuple[int, tuple[str, int], str]
"""How often a key came, where first (source, record), and a note that is the same each time."""


class Counts(Lowest[Count]):
    """A multiset. ``cells`` count all keys by their last bits, so that one that comes very often shows in its cell even
    if it is not among the lowest.
    """

    __slots__ = ("cells",)

    def __init__(self, size: int, ceiling: int = SPACE) -> None:
        super().__init__(size, ceiling)
        self.cells: dict[int, int] = {}

    def count(self, key: int, first: tuple[str, int], note: str = "") -> None:
        """A key, once more."""
        cell = key % self.size
        self.cells[cell] = self.cells.get(cell, 0) + 1
        if key > self.ceiling:
            self.whole = False
        elif (old := self.kept.get(key)) is not None:
            self.kept[key] = old[0] + 1, min(old[1], first), old[2]
        else:
            self._set(key, (1, first, note))

    def join(self, old: Count, new: Count) -> Count:
        return old[0] + new[0], min(old[1], new[1]), min(old[2], new[2])

    def __iadd__(self, other: Lowest[Count]) -> Self:
        super().__iadd__(other)
        for cell, times in getattr(other, "cells", {}).items():
            self.cells[cell] = self.cells.get(cell, 0) + times
        return self

    @property
    def times(self) -> int:
        """How often keys came, all together."""
        return sum(self.cells.values())

    @property
    def most(self) -> tuple[int, int]:
        """Between what and what the times lie of the key that comes most often; exact while nothing was left out.

        The upper end holds always: a key's times are all in its cell. The lower one is the most of any that was kept,
        or what the fullest cell has above five standard deviations of the others.
        """
        self.prune()
        seen = max((count[0] for count in self.kept.values()), default=0)
        if self.whole:
            return seen, seen
        cells = [self.cells.get(i, 0) for i in range(self.size)]
        high = max(cells)
        rest = sorted(cells)[:-1]
        low = high - statistics.fmean(rest) - 5 * statistics.pstdev(rest)
        return max(seen, round(low)), high

    def spread(self, ends: Iterable[int]) -> list[Estimate]:
        """How many keys came as often as each of ``ends`` at most and more often than the one before; then the rest."""
        self.prune()
        ends = list(ends)
        found = [0] * (len(ends) + 1)
        for times, _, _ in self.kept.values():
            found[next((i for i, end in enumerate(ends) if times <= end), len(ends))] += 1
        return scaled_to(found, self.distinct)

    def __getstate__(self) -> tuple[int, int, bool, dict[int, Count], dict[int, int]]:  # type: ignore[override]
        return *super().__getstate__(), self.cells

    def __setstate__(self, state: tuple[int, int, bool, dict[int, Count], dict[int, int]]) -> None:  # type: ignore[override]
        super().__setstate__(state[:4])
        self.cells = state[4]


def scaled_to(found: Iterable[int], total: Estimate) -> list[Estimate]:
    """Shares of a sample as estimates of the whole, each with the error of a share of so many."""
    found = list(found)
    looked = sum(found)
    if not total.error or not looked:
        return [Estimate(n) for n in found]
    return [
        Estimate(round(total.value * n / looked), math.hypot(total.error, 1 / math.sqrt(n)) if n else 0.0)
        for n in found
    ]


class Horizon:
    """The ceilings that one worker has come to: of what it saw already, nothing above them can be among the lowest, so
    later blocks need not carry it. It never changes what a merge of all blocks gives.
    """

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, set[int]]] = {}

    def ceiling(self, name: str) -> int:
        return self._seen[name][0] if name in self._seen else SPACE

    def saw(self, lowest: Mapping[str, Lowest[object]]) -> None:
        """By name what a block gave."""
        for name, one in lowest.items():
            ceiling, keys = self._seen.get(name, (SPACE, set()))
            keys.update(key for key in one.kept if key <= ceiling)
            if len(keys) > one.size:
                keys = set(sorted(keys)[: one.size])
                ceiling = max(keys)
            self._seen[name] = ceiling, keys
