"""Estimates lie where their error says, and are exact where nothing was left out."""

from __future__ import annotations

import math
import random

from hypothesis import given
from hypothesis import strategies as st

from llmguard.census.lowest import SPACE, Counts, Estimate, Lowest, scaled_to


def counted(keys: list[int], size: int) -> Counts:
    made = Counts(size)
    for i, key in enumerate(keys):
        made.count(key, ("", i))
    return made


def test_distinct_keys_are_estimated_within_the_stated_error() -> None:
    rng = random.Random(5)
    off = []
    for _ in range(60):
        made = counted([rng.randrange(SPACE) for _ in range(4_000)], 256)
        estimate = made.distinct
        assert math.isclose(estimate.error, 1 / math.sqrt(254))
        off.append(estimate.value / 4_000 - 1)
    spread = math.sqrt(sum(x * x for x in off) / len(off))
    assert 0.6 < spread * math.sqrt(254) < 1.5
    assert abs(sum(off) / len(off)) < 3 * spread / math.sqrt(len(off))


@given(st.lists(st.integers(0, 30), max_size=200))
def test_counts_are_exact_up_to_the_bound(keys: list[int]) -> None:
    made = counted(keys, 64)
    assert made.distinct == Estimate(len(set(keys)))
    most = max((keys.count(k) for k in set(keys)), default=0)
    assert made.most == (most, most)
    assert sum(e.value for e in made.spread([1, 2])) == len(set(keys))
    assert made.times == len(keys)


@given(st.lists(st.integers(0, SPACE - 1).map(lambda k: k * 0x9E3779B97F4A7C15 % SPACE), max_size=300))
def test_the_most_frequent_key_never_comes_more_often_than_the_upper_end(keys: list[int]) -> None:
    keys = keys + keys[:3] * 4
    low, high = counted(keys, 8).most
    true = max((keys.count(k) for k in set(keys)), default=0)
    assert low <= high
    assert true <= high


def test_a_very_frequent_key_shows_though_it_is_not_kept() -> None:
    rng = random.Random(1)
    keys = [rng.randrange(SPACE // 2) for _ in range(50_000)] + [SPACE - 12_345] * 3_000
    low, high = counted(keys, 512).most
    assert 2_800 < low <= 3_000 <= high < 3_250


def test_repeats_of_a_sample_are_estimated_for_the_whole() -> None:
    rng = random.Random(2)
    keys = [rng.randrange(SPACE) for _ in range(6_000)]
    once, twice, more = counted(keys + keys[:3_000] + keys[:600], 1_024).spread([1, 2])
    for estimate, true in ((once, 3_000), (twice, 2_400), (more, 600)):
        assert abs(estimate.value - true) < 4 * estimate.error * estimate.value


def test_what_is_kept_of_a_key_is_made_once_and_only_if_it_is_taken() -> None:
    made: Lowest[int] = Lowest(2, ceiling=100)
    asked: list[int] = []
    for key in (5, 5, 101, 7, 9, 11, 13):
        made.put(key, lambda key=key: asked.append(key) or key)  # type: ignore[misc,func-returns-value]
    assert asked == [5, 7, 9, 11, 13]
    assert [k for k, _ in made.ordered()] == [5, 7]
    assert not made.whole


def test_figures_say_how_sure_they_are() -> None:
    assert str(Estimate(1_234)) == "1,234"
    assert str(Estimate(123_456, 0.01)) == "about 123,000 (±2 %)"
    assert [e.value for e in scaled_to([1, 3], Estimate(400, 0.1))] == [100, 300]
