"""Quiet hours by the clock on the channel's wall: over midnight, and when the clock is changed."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard.channels import Channel
from llmguard.notify.quiet import quiet_until


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def channel(quiet: str, timezone: str = "UTC") -> Channel:
    return Channel("c", "webhook", url="https://x.example", quiet=quiet, timezone=timezone)


@pytest.mark.parametrize(
    ("quiet", "timezone", "now", "until"),
    [
        ("22:00-07:00", "UTC", "2026-11-22T21:59", None),
        ("22:00-07:00", "UTC", "2026-11-22T22:00", "2026-11-23T07:00"),
        ("22:00-07:00", "UTC", "2026-11-23T06:59", "2026-11-23T07:00"),
        ("22:00-07:00", "UTC", "2026-11-23T07:00", None),
        ("12:00-13:30", "UTC", "2026-11-22T12:30", "2026-11-22T13:30"),
        ("22:00-07:00", "Europe/Zurich", "2026-11-22T21:30", "2026-11-23T06:00"),
        ("22:00-07:00", "Europe/Zurich", "2026-03-28T22:00", "2026-03-29T05:00"),  # an hour is missing that night
        ("22:00-07:00", "Europe/Zurich", "2026-10-24T21:00", "2026-10-25T06:00"),  # an hour comes twice
        ("01:00-02:30", "Europe/Zurich", "2026-03-29T00:30", "2026-03-29T01:30"),  # 02:30 is not that day
        ("", "UTC", "2026-11-22T12:00", None),
    ],
)
def test_until_when(quiet: str, timezone: str, now: str, until: str | None) -> None:
    assert quiet_until(channel(quiet, timezone), ms(now)) == (ms(until) if until else 0)


@given(
    at=st.integers(ms("2025-01-01T00:00"), ms("2028-01-01T00:00")),
    begins=st.times(),
    ends=st.times(),
    zone=st.sampled_from(["UTC", "Europe/Zurich", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kathmandu"]),
)
def test_quiet_never_lasts_more_than_a_day_and_always_ends_later(
    at: int, begins: object, ends: object, zone: str
) -> None:
    span = f"{begins:%H:%M}-{ends:%H:%M}"
    if span[:5] == span[6:]:
        return
    until = quiet_until(channel(span, zone), at)
    assert until == 0 or at < until <= at + 25 * 3_600_000
