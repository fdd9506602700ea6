"""Times as people write and read them on a terminal: spans such as ``2h``, moments with their zone, "in 14 min".

Everything is UTC milliseconds inside. A date without a zone is refused: it would mean another moment elsewhere.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

import click

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SPAN = re.compile(r"(?:[0-9]{1,6}[smhd])+")


def now() -> int:
    """UTC milliseconds by this machine's clock."""
    return time.time_ns() // 1_000_000


def span(text: str) -> int:
    """Seconds of a text such as ``90m``, ``2h`` or ``1h30m``. Raises click.BadParameter."""
    if not _SPAN.fullmatch(text):
        raise click.BadParameter("a number with s, m, h or d behind it, as in 90m, 2h or 1h30m")
    return sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"([0-9]+)([smhd])", text))


def instant(text: str, at: int) -> int:
    """UTC milliseconds of ``now``, of a span after ``at``, or of a date with its zone. Raises click.BadParameter."""
    if text == "now":
        return at
    if _SPAN.fullmatch(text):
        return at + span(text) * 1000
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter("now, a span such as 2h, or a date as in 2026-12-01T09:00+01:00") from None
    if read.tzinfo is None:
        raise click.BadParameter("say in which zone that is: 2026-12-01T09:00Z or 2026-12-01T09:00+01:00")
    return int(read.timestamp() * 1000)


def span_option(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    """The callback of an option that is written as ``2h``: seconds."""
    return None if value is None else span(value)


def instant_option(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    """The callback of an option that is written as a date, a span from now, or ``now``: UTC milliseconds."""
    return None if value is None else instant(value, now())


def moment(milliseconds: int | None) -> str:
    """UTC milliseconds as a date and time; nothing for None."""
    if milliseconds is None:
        return ""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def relative(milliseconds: int, at: int) -> str:
    """How far a moment is from ``at``, rounded down: ``in 14 min``, ``3 h ago``, ``now``."""
    distance = abs(milliseconds - at) // 1000
    sizes = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
    size, unit = next(((size, unit) for size, unit in sizes if distance >= size), (1, ""))
    if not unit:
        return "now"
    return f"in {distance // size} {unit}" if milliseconds > at else f"{distance // size} {unit} ago"


def spelled(seconds: int) -> str:
    """A span in its largest whole units: ``1 h 30 min``."""
    words = []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        count, seconds = divmod(seconds, size)
        words += [f"{count} {unit}"] * bool(count)
    return " ".join(words) or "0 s"


def when(milliseconds: int | None, at: int) -> str:
    """A moment and how far away it is; nothing for None."""
    return "" if milliseconds is None else f"{moment(milliseconds)} ({relative(milliseconds, at)})"
