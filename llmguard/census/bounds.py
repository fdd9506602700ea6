"""Bounds: what a reviewed sample says at most of everything that was not reviewed.

With no miss in ``n`` records the share of misses is at most 3/n at 95 % (the rule of three, Hanley and Lippman-Hand,
JAMA 1983); exactly 1 − 0.05^(1/n). With misses it is the upper end of the Clopper-Pearson interval (Biometrika 1934):
the share at which so few misses would be seen with a probability of 5 %. Strata are weighted by the records that leave.

Invariant: a bound never falls when a miss is added, and never rises when more records without one are looked at.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95


def upper(misses: int, looked: int, confidence: float = CONFIDENCE) -> float:
    """The most that the share of misses can be: Clopper-Pearson, one-sided. 1 if nothing was looked at."""
    if not 0 <= misses <= looked or not 0 < confidence < 1:
        raise ValueError("a bound needs 0 <= misses <= looked and a confidence between 0 and 1")
    if misses == looked:
        return 1.0
    alpha = 1 - confidence
    if misses == 0:
        return float(-math.expm1(math.log(alpha) / looked))
    low, high = misses / looked, 1.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _at_most(misses, looked, middle) > alpha else (low, middle)
    return high


def _at_most(misses: int, looked: int, share: float) -> float:
    """P(X ≤ misses) of a binomial."""
    if share >= 1:
        return 0.0
    inside, outside = math.log(share), math.log1p(-share)
    whole = math.lgamma(looked + 1)
    return math.fsum(
        math.exp(whole - math.lgamma(k + 1) - math.lgamma(looked - k + 1) + k * inside + (looked - k) * outside)
        for k in range(misses + 1)
    )


def rule_of_three(looked: int) -> float:
    """3/n: what ``upper(0, n)`` is about, and never above. 1 if nothing was looked at."""
    return min(1.0, 3 / looked) if looked else 1.0


@dataclass(frozen=True, slots=True)
class Looked:
    """What a reviewer saw of a stratum: so many records of its sample, so many of them with something missed."""

    records: int
    missed: int = 0


@dataclass(frozen=True, slots=True)
class Bound:
    """Of a stratum, or of all (``stratum`` is ""): the most that the share of records with a miss can be at
    ``confidence``, and the most records. ``rule``: 3/n where nothing was missed and not all was looked at.
    """

    stratum: str
    records: int
    looked: int
    missed: int
    share: float
    most: int
    confidence: float
    rule: float | None = None


def bounds(
    strata: Mapping[str, int], labels: Mapping[str, Looked], confidence: float = CONFIDENCE
) -> tuple[Bound, ...]:
    """A bound for each stratum (records that leave, by name), each at ``confidence``; then one for all of them.

    The last one adds the strata's bounds, each at a confidence that is raised so that all hold together (Bonferroni).
    A stratum that was looked at whole has no doubt: its misses are counted.
    """
    for name, label in labels.items():
        if not 0 <= label.missed <= label.records <= strata.get(name, 0):
            raise ValueError(f"more was looked at in the stratum {name!r} than there is")
    present = {name: n for name, n in strata.items() if n}
    seen = {name: labels.get(name, Looked(0)) for name in present}
    doubtful = sum(seen[name].records < n for name, n in present.items())
    single = [_bound(name, n, seen[name], confidence) for name, n in present.items()]
    together = 1 - (1 - confidence) / max(1, doubtful)
    return (*single, _all([_bound(name, n, seen[name], together) for name, n in present.items()], confidence))


def _bound(name: str, records: int, seen: Looked, confidence: float) -> Bound:
    if seen.records == records:
        return Bound(name, records, records, seen.missed, seen.missed / records, seen.missed, confidence)
    share = upper(seen.missed, seen.records, confidence)
    most = min(records - seen.records + seen.missed, math.floor(share * records + 1e-9))
    rule = None if seen.missed or not seen.records else rule_of_three(seen.records)
    return Bound(name, records, seen.records, seen.missed, share, max(seen.missed, most), confidence, rule)


def _all(each: Sequence[Bound], confidence: float) -> Bound:
    records = sum(b.records for b in each)
    most = sum(b.most for b in each)
    share = math.fsum(b.share * b.records for b in each) / records if records else 0.0
    return Bound("", records, sum(b.looked for b in each), sum(b.missed for b in each), share, most, confidence)
