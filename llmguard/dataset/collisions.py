"""Collisions: surrogates of a file that are values of the same file, and which blocks have to be sifted anew.

Each block left the marks of the values it found (``seen``) and of the surrogates it drew (``drawn``): 8-byte digests,
sorted, on disk. A mark that is in both is a surrogate that is somebody's. The blocks that drew one are sifted again and
told to avoid it, until there is none.

That ends: ``seen`` never changes, for what is found does not depend on what is written. A value keeps its surrogate
until that is to be avoided, and what is avoided is never drawn again. So whatever collides in one round was changed in
the round before, and a value can change only as often as there are draws for it (64; since it looks as far ahead as it
has come, 7 times). What has no draw left is a hash, which is nobody's. At the end each value has its first draw that is
not in ``seen`` of the whole file: whatever the order of blocks, their size, the engine, and how often it was resumed.

Owns no files but reads them. Memory: one range of marks at a time, however many there are.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from llmguard.errors import GuardUnavailable

WIDTH = 8
"""Bytes of a mark."""
AT_ONCE = 1_000_000
"""Marks of surrogates that are held at once, about (70 MB)."""
ROUNDS = 66
"""More than there are draws for a value: beyond, blocks do not avoid what they are told to."""
MOST = 2_000_000
"""Marks that blocks are told to avoid, at most (180 MB in each process)."""


@dataclass(frozen=True, slots=True)
class Marks:
    """Where marks stand: ``size`` bytes of a file from ``at`` on."""

    path: Path
    at: int
    size: int


@dataclass(frozen=True, slots=True)
class Marked:
    """A block, and where its marks are."""

    number: int
    seen: Marks
    drawn: Marks


@dataclass(frozen=True, slots=True)
class Collisions:
    """Marks of surrogates that are somebody's, and the numbers of the blocks that drew them, ascending."""

    marks: frozenset[bytes]
    blocks: tuple[int, ...]


Blocks = Callable[[], Sequence[Marked]]
"""Every block with its newest marks."""
Again = Callable[[tuple[int, ...], frozenset[bytes]], None]
"""Sifts blocks anew, with what to avoid; what ``blocks`` gives afterwards names their new marks."""


def settle(blocks: Blocks, again: Again, avoid: frozenset[bytes] = frozenset()) -> frozenset[bytes]:
    """Has blocks sifted anew until no surrogate of the file is a value of it. Returns what had to be avoided.

    ``avoid``: where an earlier run of the same file stopped. Raises GuardUnavailable if blocks do not avoid what they
    are told to, or if there is too much of it.
    """
    for _ in range(ROUNDS):
        found = collisions(blocks())
        if not found.blocks:
            return avoid
        avoid |= found.marks
        if len(avoid) > MOST:
            raise GuardUnavailable("too many surrogates are values of the file; use another style, such as hash")
        again(found.blocks, avoid)
    raise GuardUnavailable("surrogates that are values of the file were drawn again and again; nothing is published")


def collisions(blocks: Sequence[Marked], at_once: int = AT_ONCE) -> Collisions:
    """What collides now. Raises GuardUnavailable for a file that holds no whole number of marks."""
    drawn = sum(block.drawn.size for block in blocks) // WIDTH
    ranges = 1 + drawn // at_once
    marks: set[int] = set()
    numbers: set[int] = set()
    for index in range(ranges):
        part = _in_range(blocks, (index << 64) // ranges, (index + 1 << 64) // ranges)
        marks |= part[0]
        numbers |= part[1]
    return Collisions(frozenset(mark.to_bytes(WIDTH, "big") for mark in marks), tuple(sorted(numbers)))


def _in_range(blocks: Sequence[Marked], low: int, high: int) -> tuple[set[int], set[int]]:
    """The collisions from ``low`` to before ``high``, and the blocks that drew them."""
    drawn: set[int] = set()
    for block in blocks:
        drawn.update(_read(block.drawn, low, high))
    found: set[int] = set()
    for block in blocks if drawn else ():
        found |= drawn.intersection(_read(block.seen, low, high))
    bad = {block.number for block in blocks if not found.isdisjoint(_read(block.drawn, low, high))} if found else set()
    return found, bad


def _read(marks_at: Marks, low: int, high: int) -> array[int]:
    """The marks from ``low`` to before ``high``, as numbers."""
    with open(marks_at.path, "rb") as file:
        file.seek(marks_at.at)
        data = file.read(marks_at.size)
    if len(data) != marks_at.size or len(data) % WIDTH:
        raise GuardUnavailable("a file of marks is cut; remove the work folder and start anew")
    marks = array("Q", data)
    if sys.byteorder == "little":
        marks.byteswap()
    return marks[bisect_left(marks, low) : bisect_left(marks, high)]
