"""The terms of a risk's sum: points as written, what is left of them as it would leave, and why.

Each grows with what is found and none is left with more than it had.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from llmguard.facts import Facts
from llmguard.model import EVASION
from llmguard.risk import words
from llmguard.risk.tally import LEFT, POINTS, TIMES, Tally, Value
from llmguard.risk.weights import HUMANITY, Weights

TERMS = {
    "what": "nothing was found",
    "people": "at most one person is concerned",
    "rows": "at most one line has findings",
    "tokens": "there is no text",
    "uniqueness": "nothing in it tells who somebody is",
    "unscanned": "everything was looked into",
    "evasion": "nothing is hidden behind more than is looked through",
    "memorization": "nothing would be learnt by heart",
}
"""The terms of the sum, and what is said of one that nothing speaks for."""
CHARACTERS_A_TOKEN = 4
"""Of English; other scripts have fewer. The term grows with the logarithm, so twice as many are one point more."""
LEARNT = 10.0
"""Repeats by which 63 % (1 − 1/e) of what can be learnt by heart is."""
Term = tuple[str, float, float, str]
"""The name of a term, its points as written, what is left of them, and why."""


def of_findings(facts: Facts, tally: Tally, weigh: Weights) -> Iterator[Term]:
    """What was found, and how much of it."""
    yield from _what(tally, weigh)
    if facts.kind == "training":
        yield from _learnt([v for values in tally.values.values() for v in values.values()], weigh)
    yield from _counts(tally, weigh)


def of_the_rest(tokens: int, unscanned: Sequence[str], weigh: Weights) -> Iterator[Term]:
    """What may be there and was not found: text of some length, content that nobody looked into."""
    if tokens:
        points = weigh.terms["tokens"] * math.log2(1 + tokens / 1000)
        yield "tokens", points, points, words.sized(tokens)
    for kind in sorted(set(unscanned)) if unscanned else ():
        yield "unscanned", weigh.terms["unscanned"], weigh.terms["unscanned"], words.unseen(kind)


def tokens_of(facts: Facts) -> int:
    """How many tokens of text, estimated: rounded up to two figures, so that more text never has fewer."""
    tokens = -(-facts.characters // CHARACTERS_A_TOKEN)
    if tokens < 100:
        return tokens
    unit: int = 10 ** (len(str(tokens)) - 2)
    return -(-tokens // unit) * unit


def _what(tally: Tally, weigh: Weights) -> list[Term]:
    """Distinct values by type, the heaviest first."""
    terms: list[Term] = []
    for type_, values in tally.values.items():
        if len(values) == 1:
            ((points, left, _),) = values.values()
        else:
            points, left = (math.fsum([v[i] for v in values.values()]) for i in (POINTS, LEFT))
        terms.append(("evasion" if type_ == EVASION else "what", points, left, words.counted(type_, len(values))))
    terms.sort(key=_heaviest)
    return terms


def _heaviest(term: Term) -> tuple[float, str]:
    return -term[1], term[3]


def _learnt(values: Sequence[Value], weigh: Weights) -> Iterator[Term]:
    """In training data, how often a value comes back."""
    most = int(max(v[TIMES] for v in values))
    if most > 1:
        shares = [weigh.terms["memorization"] * -math.expm1((1 - v[TIMES]) / LEARNT) for v in values]
        points, left = (math.fsum([v[i] * n for v, n in zip(values, shares, strict=True)]) for i in (POINTS, LEFT))
        yield "memorization", points, left, words.repeated(most)


def _counts(tally: Tally, weigh: Weights) -> Iterator[Term]:
    """People, lines, and how much tells who they are."""
    written, leaving = tally.written, tally.leaving
    if (heads := written.heads) > 1:
        points, left = (weigh.terms["people"] * math.log2(n or 1) for n in (heads, leaving.heads))
        yield "people", points, left, f"{heads:,} different people"
    if (rows := len(written.rows)) > 1:
        points, left = (weigh.terms["rows"] * math.log2(n or 1) for n in (rows, len(leaving.rows)))
        yield "rows", points, left, f"{rows:,} lines with findings"
    if written.bits:
        bits, types = written.told()
        left = leaving.told()[0] if leaving.bits else 0.0
        share = weigh.terms["uniqueness"] / HUMANITY
        yield "uniqueness", share * bits, share * left, words.told(tuple(types))
