"""Resolve: of candidates that overlap, which one speaks for each character. Decided here, once.

Invariant: the result covers exactly the characters that the candidates covered, none twice. It is sorted by start, its
spans are half-open, and it does not depend on the order in which candidates arrive.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable
from dataclasses import replace
from enum import IntEnum
from itertools import pairwise
from operator import itemgetter
from typing import NamedTuple

from llmguard.model import Finding

MIN_PIECE = 4
"""Code points. What a loser covers beyond the winner speaks for itself from this length on; less joins the winner."""


class Rank(IntEnum):
    """How a candidate was believed."""

    GUESSED = 0
    """By its context."""
    MATCHED = 1
    """By its pattern."""
    VALIDATED = 2
    """By a checksum or a parser."""


class Candidate(NamedTuple):
    """A finding that may still lose against another; ``order`` is its detector's place in the catalogue."""

    finding: Finding
    rank: Rank
    order: int = 0


Kept = tuple[int, int, Candidate]
"""Start, end (code points) and the candidate that speaks for them."""


def resolve(candidates: Iterable[Candidate]) -> tuple[Finding, ...]:
    """Validated beats matched beats guessed, then longer beats shorter, then the more confident, the
    detector's order, the earlier.

    Nothing that was believed is dropped, or a part of it would leave: what the winner leaves uncovered of a loser
    remains a finding of the loser's type, unless it is short or of the winner's type; then the winner is widened.
    """
    items = sorted(candidates, key=_start)
    if all(a.finding.end <= b.finding.start for a, b in pairwise(items)):
        return tuple(c.finding for c in items)
    kept: list[Kept] = []
    for candidate in sorted(items, key=_precedence):
        for piece in _uncovered(kept, candidate):
            _keep(kept, piece)
    return tuple(_cut(*k) for k in kept)


def _start(candidate: Candidate) -> int:
    return candidate.finding.start


def _precedence(candidate: Candidate) -> tuple[int, int, float, int, int, str]:
    f = candidate.finding
    return (-candidate.rank, f.start - f.end, -f.confidence, candidate.order, f.start, f.detector)


def _uncovered(kept: list[Kept], candidate: Candidate) -> list[Kept]:
    """The pieces of a candidate that nothing kept covers yet, in order."""
    start, end = candidate.finding.start, candidate.finding.end
    at = max(0, bisect_right(kept, start, key=itemgetter(0)) - 1)
    pieces: list[Kept] = []
    while at < len(kept) and kept[at][0] < end:
        low, high, _ = kept[at]
        if low > start:
            pieces.append((start, low, candidate))
        start = max(start, high)
        at += 1
    if start < end:
        pieces.append((start, end, candidate))
    return pieces


def _keep(kept: list[Kept], piece: Kept) -> None:
    """Adds a piece; one that is short or of a touching winner's type widens that winner instead."""
    start, end, candidate = piece
    finding = candidate.finding
    if start == finding.start and end == finding.end:
        insort(kept, piece, key=itemgetter(0))
        return
    at = bisect_right(kept, start, key=itemgetter(0))
    beside = [i for i in (at - 1, at) if 0 <= i < len(kept) and (kept[i][1] == start or kept[i][0] == end)]
    same = [i for i in beside if kept[i][2].finding.type == finding.type]
    if same or end - start < MIN_PIECE:
        i = (same or beside)[0]
        low, high, winner = kept[i]
        kept[i] = (min(low, start), max(high, end), winner)
    else:
        insort(kept, piece, key=itemgetter(0))


def _cut(start: int, end: int, candidate: Candidate) -> Finding:
    finding = candidate.finding
    same = start == finding.start and end == finding.end
    return finding if same else replace(finding, start=start, end=end)
