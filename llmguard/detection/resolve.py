"""Resolve: of candidates that overlap, which one speaks. Decided here, once.

Invariant: the result is sorted by start, its spans are half-open and never overlap, and it does not depend on the order
in which candidates of different spans arrive.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from llmguard.model import Finding


class Rank(IntEnum):
    """How a candidate was believed."""

    GUESSED = 0
    """By its context."""
    MATCHED = 1
    """By its pattern."""
    VALIDATED = 2
    """By a checksum or a parser."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A finding that may still lose against another; ``order`` is its detector's place in the catalogue."""

    finding: Finding
    rank: Rank
    order: int = 0


def resolve(candidates: Iterable[Candidate]) -> tuple[Finding, ...]:
    """Validated beats matched beats guessed, then longer beats shorter, then the detector's order, then the earlier."""
    ranked = sorted(candidates, key=_precedence)
    starts: list[int] = []
    kept: list[Finding] = []
    for candidate in ranked:
        finding = candidate.finding
        at = bisect_right(starts, finding.start)
        if at and kept[at - 1].end > finding.start:
            continue
        if at < len(kept) and kept[at].start < finding.end:
            continue
        starts.insert(at, finding.start)
        kept.insert(at, finding)
    return tuple(kept)


def _precedence(candidate: Candidate) -> tuple[int, int, int, int, str]:
    finding = candidate.finding
    return (-candidate.rank, finding.start - finding.end, candidate.order, finding.start, finding.detector)
