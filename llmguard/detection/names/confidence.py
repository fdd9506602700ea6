"""Confidence: how often a finding of its kind is right, from the model's mean probability and what bore it out.

A logistic function for each kind with one slope, fitted on half of labelled texts (synthetic sentences, noisy posts,
prompts, arithmetic problems, source code); on the other half what it says is off by 0.02 on average. The figure in
docs/names.md is made by ``python -m benchmarks names``. Never does: deciding what is a finding.
"""

from __future__ import annotations

import math

SLOPE = 0.3
_KNOWN, _FULL, _UNKNOWN, _UNKNOWN_FULL, _ADDRESS = 2.65, 2.52, 0.66, 2.29, 3.17


def of_name(probability: float, *, known: bool, words: int) -> float:
    """Of a name of so many words, one of which the lexicon ``known`` as somebody's, or not."""
    if words > 1:
        return _said(_FULL if known else _UNKNOWN_FULL, probability)
    return _said(_KNOWN if known else _UNKNOWN, probability)


def of_address(probability: float) -> float:
    """Of an address that the model found."""
    return _said(_ADDRESS, probability)


def _said(offset: float, probability: float) -> float:
    inner = min(0.99, max(0.01, probability))
    return round(1 / (1 + math.exp(-offset - SLOPE * math.log(inner / (1 - inner)))), 2)


MENTION = 0.72
"""Of a further mention of a name."""
FORM = 0.92
"""Of an address by its form alone."""
