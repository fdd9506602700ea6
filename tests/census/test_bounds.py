"""Bounds from a reviewed sample: against published values, and what they never do."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard.census import Looked, bounds, rule_of_three, upper


@pytest.mark.parametrize(
    ("misses", "looked", "confidence", "share"),
    [
        (0, 10, 0.95, 0.25887),  # 1 - 0.05^(1/10)
        (0, 60, 0.95, 0.04870),
        (0, 300, 0.95, 0.009936),
        (1, 10, 0.95, 0.39416),  # MIL-HDBK-108 and any table of the binomial: qbeta(.95, 2, 9)
        (2, 20, 0.95, 0.28262),  # qbeta(.95, 3, 18)
        (5, 100, 0.95, 0.10225),  # qbeta(.95, 6, 95)
        (1, 10, 0.975, 0.44502),  # upper end of the two-sided 95 % interval of 1 in 10
        (4, 4, 0.95, 1.0),
        (0, 0, 0.95, 1.0),
    ],
)
def test_known_values(misses: int, looked: int, confidence: float, share: float) -> None:
    assert math.isclose(upper(misses, looked, confidence), share, rel_tol=2e-4)


@given(st.integers(1, 5_000))
def test_the_rule_of_three_is_never_below_the_exact_bound_and_near_it(looked: int) -> None:
    exact, rule = upper(0, looked), rule_of_three(looked)
    assert exact <= rule
    if looked >= 30:
        assert rule < 1.06 * exact


@given(st.integers(0, 40), st.integers(1, 400), st.floats(0.5, 0.999))
def test_it_is_the_share_at_which_so_few_misses_would_be_that_rare(misses: int, looked: int, confidence: float) -> None:
    misses = min(misses, looked - 1)
    share = upper(misses, looked, confidence)
    below = sum(math.comb(looked, k) * share**k * (1 - share) ** (looked - k) for k in range(misses + 1))
    assert math.isclose(below, 1 - confidence, rel_tol=1e-6)


@given(st.integers(0, 20), st.integers(21, 200))
def test_more_misses_never_lower_it_and_more_records_without_never_raise_it(misses: int, looked: int) -> None:
    assert upper(misses, looked) <= upper(misses + 1, looked)
    assert upper(misses, looked + 1) <= upper(misses, looked)


def test_strata_are_weighted_by_what_leaves_and_all_hold_together() -> None:
    clean, high, whole = bounds(
        {"clean": 9_000, "high": 1_000, "bad": 0}, {"clean": Looked(300), "high": Looked(60, 1)}
    )
    assert (clean.most, clean.rule) == (89, 0.01)
    assert high.rule is None
    assert whole.records == 10_000
    assert math.isclose(whole.share, (9_000 * upper(0, 300, 0.975) + 1_000 * upper(1, 60, 0.975)) / 10_000)


def test_what_was_looked_at_whole_is_counted_not_bounded() -> None:
    critical, whole = bounds({"critical": 5}, {"critical": Looked(5, 2)})
    assert (critical.most, critical.share) == (2, 0.4)
    assert (whole.most, whole.share) == (2, 0.4)


def test_what_nobody_looked_at_may_all_be_wrong() -> None:
    *_, whole = bounds({"clean": 100}, {})
    assert (whole.most, whole.share) == (100, 1.0)


def test_more_labels_than_records_are_refused() -> None:
    with pytest.raises(ValueError, match="more was looked at"):
        bounds({"clean": 3}, {"clean": Looked(4)})


def test_the_bound_of_all_holds_in_at_least_95_of_100_reviews() -> None:
    """Two strata with shares of misses that the bound should cover, reviewed 400 times."""
    rng = random.Random(3)
    held = 0
    for _ in range(400):
        seen = {name: Looked(60, sum(rng.random() < p for _ in range(60))) for name, p in (("a", 0.02), ("b", 0.1))}
        held += bounds({"a": 8_000, "b": 2_000}, seen)[-1].share >= 0.8 * 0.02 + 0.2 * 0.1
    assert held >= 380
