"""Quiet hours: when a channel is not to call anybody, by the clock on its wall."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from llmguard.channels import Channel


def quiet_until(channel: Channel, now: int) -> int:
    """When the quiet hours of this moment end (UTC ms), 0 if it is not quiet."""
    if channel.hours is None:
        return 0
    begins, ends = channel.hours
    here = datetime.fromtimestamp(now / 1000, channel.zone)
    clock = here.time()
    over_night = begins > ends
    if not (clock >= begins or clock < ends if over_night else begins <= clock < ends):
        return 0
    day = here.date() + timedelta(days=1 if over_night and clock >= begins else 0)
    until = int(datetime.combine(day, ends, channel.zone).astimezone(UTC).timestamp() * 1000)
    return max(until, now + 60_000)  # an hour that summer time skips
