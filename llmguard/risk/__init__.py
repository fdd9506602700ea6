"""Leakage risk of a call: a saturating sum of explained parts, 0-100, as written and as it would leave.

``risk = 100 · (1 − e^(−s/scale))`` over a sum ``s`` of terms: what was found (severity × confidence of each distinct
value), how much of it (people, lines, text), how it singles a person out, what nobody looked into, what hides, and in
training data what would be learnt by heart; times where it goes and what is done there.

Invariants: bounded; monotone in the findings; independent of their order; never raised by redaction; the points of the
reasons add up to the inherent figure, what is ``left`` of them to the residual one. A term that nothing speaks for
stands in the reasons with zero points, by name. It holds no value: it knows kinds and counts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

from llmguard.facts import Facts, Found
from llmguard.model import Kind, Reason, Risk, Trust
from llmguard.risk import words
from llmguard.risk.tally import StyleOf, Tally, people
from llmguard.risk.terms import TERMS, Term, of_findings, of_the_rest, tokens_of
from llmguard.risk.weights import Weights, weights

__all__ = ["TERMS", "StyleOf", "Weights", "assess", "people", "weights"]

_SILENT = tuple((name, Reason(name, 0.0, text)) for name, text in TERMS.items())


def assess(facts: Facts, weigh: Weights | None = None, style: StyleOf | None = None) -> Risk:
    """Inherent and residual risk of a call.

    ``style`` says how a finding leaves; default: what can be redacted leaves as a placeholder.
    """
    weigh = weigh or weights()
    if not facts.found:
        unscanned = tuple(sorted(set(facts.unscanned))) if facts.unscanned else ()
        return _without_findings(tokens_of(facts), unscanned, facts.trust, facts.kind, weigh)
    tally = Tally(facts.found, weigh, style or _as_placeholder)
    terms = [*of_findings(facts, tally, weigh), *of_the_rest(tokens_of(facts), facts.unscanned, weigh)]
    return _risk(terms, facts.trust, facts.kind, weigh, _summary(facts, tally))


@lru_cache(2048)
def _without_findings(tokens: int, unscanned: tuple[str, ...], trust: Trust, kind: Kind, weigh: Weights) -> Risk:
    """Most calls, so it is kept ready: tokens are estimated to two figures, and there are few kinds and uses."""
    summary = words.summary((), 0, unscanned, words.destined(trust, kind), "")
    return _risk(list(of_the_rest(tokens, unscanned, weigh)), trust, kind, weigh, summary)


def _risk(terms: Sequence[Term], trust: Trust, kind: Kind, weigh: Weights, summary: str) -> Risk:
    factors = weigh.trust[trust], weigh.use[kind], weigh.scale
    written, leaving = _Curve([t[1] for t in terms], *factors), _Curve([t[2] for t in terms], *factors)
    a_point, a_point_left = written.a_point, leaving.a_point
    reasons = [Reason(name, a_point * points, text, a_point_left * left) for name, points, left, text in terms]
    present = {t[0] for t in terms}
    reasons += [reason for name, reason in _SILENT if name not in present]
    if terms:
        reasons.append(_factor("where", written.where, leaving.where, f"sent {words.destined(trust)}"))
        reasons.append(_factor("use", written.use, leaving.use, words.USES[kind]))
    return Risk(round(written.total), round(leaving.total), tuple(reasons), summary)


def _as_placeholder(found: Found) -> str:
    return "placeholder" if found.redactable else ""


class _Curve:
    """The saturation of a sum. ``a_point`` of it is worth so much of the risk at a public provider's inference;
    ``where`` and ``use`` are what the destination and the use change of that; ``total`` is the risk.
    """

    __slots__ = ("a_point", "total", "use", "where")

    def __init__(self, parts: list[float], trust: float, use: float, scale: float) -> None:
        s = math.fsum(parts)
        plain = 100 * -math.expm1(-s / scale)
        placed = 100 * -math.expm1(-s * trust / scale) if trust != 1 else plain
        self.total = 100 * -math.expm1(-s * trust * use / scale) if use != 1 else placed
        self.a_point = plain / s if s else 0.0
        self.where, self.use = placed - plain, self.total - placed


def _factor(name: str, points: float, left: float, text: str) -> Reason:
    return Reason(name, points, text, left) if points or left else _neutral(name, text)


@lru_cache(64)
def _neutral(name: str, text: str) -> Reason:
    return Reason(name, 0.0, text)


def _summary(facts: Facts, tally: Tally) -> str:
    """One sentence for whoever decides: how many people, what, where to, and whether it leaves as it is."""
    leaves = "; in part redacted" if tally.open else "; all of it redacted"
    leaves = "; as written" if tally.open == len(facts.found) else leaves
    unscanned = tuple(sorted(set(facts.unscanned))) if facts.unscanned else ()
    counts = tuple([words.Count(t, len(vs), tally.severity[t], t in tally.personal) for t, vs in tally.values.items()])
    return words.summary(counts, tally.written.heads, unscanned, words.destined(facts.trust, facts.kind), leaves)
