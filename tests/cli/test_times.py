"""Times on the command line: spans, moments with their zone, how far away."""

from __future__ import annotations

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard.cli.times import instant, moment, relative, span, spelled, when

NOON = 1_796_126_400_000  # 2026-12-01T12:00Z


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("90m", 5400), ("2h", 7200), ("14d", 1_209_600), ("1h30m", 5400)]
)
def test_a_span_is_a_number_and_a_unit(text: str, seconds: int) -> None:
    assert span(text) == seconds


@pytest.mark.parametrize("text", ["", "2", "h", "2 h", "-2h", "2w", "1.5h", "٢h", "9999999d"])
def test_anything_else_is_no_span(text: str) -> None:
    with pytest.raises(click.BadParameter):
        span(text)


def test_a_date_has_its_zone() -> None:
    assert instant("2026-12-01T13:00+01:00", 0) == instant("2026-12-01T12:00Z", 0) == NOON
    assert (instant("now", NOON), instant("2h", NOON)) == (NOON, NOON + 7_200_000)
    for text in ("2026-12-01T13:00", "2026-12-01", "tomorrow", "12:00"):
        with pytest.raises(click.BadParameter):
            instant(text, 0)


@pytest.mark.parametrize(
    ("distance", "words"), [(0, "now"), (59_999, "in 59 s"), (840_000, "in 14 min"), (-7_200_000, "2 h ago")]
)
def test_how_far_away_is_said_in_one_unit(distance: int, words: str) -> None:
    assert relative(NOON + distance, NOON) == words


def test_a_moment_is_utc() -> None:
    assert moment(NOON) == "2026-12-01 12:00:00Z"
    assert when(NOON + 60_000, NOON) == "2026-12-01 12:01:00Z (in 1 min)"
    assert (moment(None), when(None, NOON)) == ("", "")


@given(st.integers(1, 10**8))
def test_what_is_spelled_can_be_read(seconds: int) -> None:
    assert span(spelled(seconds).replace(" ", "").replace("min", "m")) == seconds
