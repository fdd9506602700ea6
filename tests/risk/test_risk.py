"""Risk: bounded, monotone, free of order, additive, never raised by redaction."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard.model import EVASION, Kind, Severity, Trust
from llmguard.risk import NOT_ASSESSED, Exposure, assess_in

EXPOSURES = st.lists(
    st.builds(
        Exposure,
        identity=st.sampled_from("abcdefghij"),
        type=st.sampled_from(["EMAIL", "CREDIT_CARD"]),
        category=st.just("pii"),
        severity=st.sampled_from(get_args(Severity)),
        confidence=st.floats(0.1, 1),
        redacted=st.booleans(),
    ),
    max_size=30,
)
TRUSTS = st.sampled_from(get_args(Trust))
KINDS = st.sampled_from(get_args(Kind))


@given(EXPOSURES, TRUSTS, KINDS)
def test_bounded_and_additive(exposures: list[Exposure], trust: Trust, kind: Kind) -> None:
    risk = assess_in(exposures, trust, kind)
    assert 0 <= risk.residual <= risk.inherent <= 100
    assert math.isclose(sum(r.points for r in risk.reasons), risk.inherent, abs_tol=0.51)


@given(EXPOSURES, EXPOSURES, TRUSTS, KINDS)
def test_more_findings_never_lower_it(some: list[Exposure], more: list[Exposure], trust: Trust, kind: Kind) -> None:
    before, after = assess_in(some, trust, kind), assess_in(some + more, trust, kind)
    assert after.inherent >= before.inherent
    assert after.residual >= before.residual


@given(EXPOSURES, st.randoms(use_true_random=False))
def test_order_does_not_matter(exposures: list[Exposure], rng: random.Random) -> None:
    shuffled = list(exposures)
    rng.shuffle(shuffled)
    one, two = assess_in(exposures, "public", "inference"), assess_in(shuffled, "public", "inference")
    assert (one.inherent, one.residual) == (two.inherent, two.residual)


@given(EXPOSURES)
def test_redaction_never_raises_it(exposures: list[Exposure]) -> None:
    redacted = [replace(e, redacted=True) for e in exposures]
    before, after = (assess_in(e, "public", "inference") for e in (exposures, redacted))
    assert after.inherent == before.inherent
    assert after.residual <= before.residual


def test_where_it_goes_and_what_is_done_there_matter() -> None:
    card = [Exposure("a", "CREDIT_CARD", "pii", "high", 1.0, False)]
    order = [assess_in(card, trust, "inference").inherent for trust in ("internal", "contract", "public")]
    assert order == sorted(set(order))
    uses = [assess_in(card, "public", kind).inherent for kind in ("inference", "stored", "training")]
    assert uses == sorted(set(uses))


def test_terms_that_are_not_assessed_are_named() -> None:
    terms = {r.term: r.points for r in assess_in([], "public", "inference").reasons}
    assert terms == dict.fromkeys(NOT_ASSESSED, 0.0)


def test_what_is_hidden_too_deep_is_a_term_of_its_own() -> None:
    hidden = Exposure("a", EVASION, "internal", "high", 1.0, False)
    risk = assess_in([hidden], "public", "inference")
    assert [r.points > 0 for r in risk.reasons if r.term == "evasion"] == [True]
    assert risk.residual == risk.inherent > 0


def test_same_value_counts_once() -> None:
    one = Exposure("a", "EMAIL", "pii", "medium", 0.9, True)
    assert assess_in([one], "public", "inference") == assess_in([one] * 5, "public", "inference")


@pytest.mark.parametrize("words", ["2 × EMAIL"])
def test_reasons_are_in_words(words: str) -> None:
    exposures = [Exposure(i, "EMAIL", "pii", "medium", 0.9, True) for i in "ab"]
    assert words in [r.text for r in assess_in(exposures, "public", "inference").reasons]
