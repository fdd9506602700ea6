"""Leakage risk of a call: a saturating sum of explained parts, 0-100, as written and as it would leave.

``risk = 100 · (1 − e^(−s/60))`` over a sum ``s`` of terms, each monotone in the findings and independent of their
order. The reasons carry the share of every term, so that they add up to the figure. A distinct value counts once,
with its most severe finding. Redaction never raises it: a redacted value keeps a twentieth of its weight.

Terms that are not assessed yet, or that nothing speaks for, stand in the reasons with zero points, by name.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from llmguard.model import EVASION, Call, Category, Kind, Reason, Risk, Severity, Trust

SEVERITY: dict[Severity, float] = {"low": 4, "medium": 10, "high": 25, "critical": 45}
"""Points of one distinct value, before confidence."""
TRUST: dict[Trust, float] = {"internal": 0.3, "contract": 0.7, "public": 1.0}
KIND: dict[Kind, float] = {
    "inference": 1.0,
    "stored": 1.3,
    "training": 1.8,
    "administration": 1.0,
    "action": 1.0,
    "unknown": 1.8,
}
SCALE = 60.0
UNSCANNED = 15.0
"""Points of one kind of content that nobody looked into."""
REDACTED_WEIGHT = 0.05
NOT_ASSESSED = {
    "volume": "tokens, rows and people are not counted",
    "uniqueness": "how rare the data is was not assessed",
    "memorization": "repeats in training data are not counted",
    "evasion": "nothing is hidden behind more than is looked through",
}


@dataclass(frozen=True, slots=True)
class Exposure:
    """One distinct value that was found: its identity (a placeholder), and whether it leaves redacted."""

    identity: str
    type: str
    category: Category
    severity: Severity
    confidence: float
    redacted: bool


def assess(call: Call, exposures: Sequence[Exposure], unscanned: Sequence[str] = ()) -> Risk:
    """Inherent and residual risk of ``call`` with the values found in it, and kinds of content nobody looked into."""
    return assess_in(exposures, call.destination.trust, call.operation.kind, unscanned)


def assess_in(exposures: Sequence[Exposure], trust: Trust, kind: Kind, unscanned: Sequence[str] = ()) -> Risk:
    """The same without a call: values, where they go, what is done there."""
    hidden = UNSCANNED * len(set(unscanned))
    worst: dict[str, Exposure] = {}
    for e in exposures:
        known = worst.get(e.identity)
        if known is None or (_points(e), not e.redacted) > (_points(known), not known.redacted):
            worst[e.identity] = e
    leaving = {e.identity for e in exposures if not e.redacted}
    ordered = [worst[i] for i in sorted(worst)]
    factor = TRUST[trust] * KIND[kind]
    inherent = math.fsum([hidden, *(_points(e) for e in ordered)])
    residual = math.fsum([hidden, *(_points(e) * (1 if e.identity in leaving else REDACTED_WEIGHT) for e in ordered)])
    total = _saturated(inherent * factor)
    return Risk(round(total), round(_saturated(residual * factor)), _reasons(ordered, hidden, total, trust, kind))


def _points(e: Exposure) -> float:
    return SEVERITY[e.severity] * e.confidence


def _saturated(s: float) -> float:
    return 100 * (1 - math.exp(-s / SCALE))


def _reasons(
    exposures: Sequence[Exposure], hidden: float, total: float, trust: Trust, kind: Kind
) -> tuple[Reason, ...]:
    """Shares of ``total``: what was found at a public provider's plain inference, then what place and use change."""
    base = math.fsum([hidden, *(_points(e) for e in exposures)])
    reasons = [Reason(term, 0.0, text) for term, text in NOT_ASSESSED.items()]
    if not base:
        return tuple(reasons)
    per_type = Counter(e.type for e in exposures)
    plain = _saturated(base)
    placed = _saturated(base * TRUST[trust])
    if hidden:
        reasons.insert(0, Reason("unscanned", plain * hidden / base, "a part of the call could not be looked into"))
    for type_, count in sorted(per_type.items()):
        share = math.fsum(_points(e) for e in exposures if e.type == type_) / base
        if type_ == EVASION:
            reasons = [r for r in reasons if r.term != "evasion"]
            reasons.append(Reason("evasion", plain * share, f"{count} × hidden behind more than is looked through"))
        else:
            reasons.insert(0, Reason("what", plain * share, f"{count} × {type_}"))
    reasons.append(Reason("where", placed - plain, f"sent to a provider of the kind: {trust}"))
    reasons.append(Reason("use", total - placed, f"what happens to it there: {kind}"))
    return tuple(reasons)
