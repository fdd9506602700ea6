"""Text: other people's words on a page, and our own for numbers and times.

Everything is escaped; what could steer the eye becomes a labelled chip. Invariant: nothing that somebody wrote is ever
markup, an address or a word of the page's own.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

from markupsafe import Markup, escape

from llmguard import invisible

_PLAIN = re.compile(r"[\x20-\x7e]*")
_CHIP = Markup('<span class="chip" title="{}">{}</span>')


def visible(text: object, *, lines: bool = False) -> Markup:
    """Somebody's text on a page: escaped, each character that shows nothing or steers the eye as a chip.

    ``lines`` keeps line feeds and tabs, for bodies in a ``pre``.
    """
    written = str(text)
    if _PLAIN.fullmatch(written):
        return escape(written)
    pieces: list[str] = []
    kept = 0
    for at, character in enumerate(written):
        if not invisible.harmless(character, lines=lines):
            pieces += [str(escape(written[kept:at])), str(chip(character))]
            kept = at + 1
    return Markup("".join([*pieces, str(escape(written[kept:]))]))  # noqa: S704  every piece is escaped


def body(text: object) -> Markup:
    """The same over several lines."""
    return visible(text, lines=True)


def chip(character: str) -> Markup:
    return _CHIP.format(invisible.name(character), invisible.label(character))


def count(number: int, one: str, many: str = "") -> str:
    """``1 vote``, ``2 votes``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def moment(ms: int) -> Markup:
    """A time in UTC; scripts add how long ago, or how far ahead, that is."""
    at = datetime.fromtimestamp(ms / 1000, UTC)
    return Markup('<time datetime="{}">{} UTC</time>').format(
        at.isoformat(timespec="seconds").replace("+00:00", "Z"), at.strftime("%Y-%m-%d %H:%M")
    )


def since(ms: int) -> Markup:
    """How far from now a time is: ``5 min ago``, ``in 2 h``; its title says when exactly."""
    at = datetime.fromtimestamp(ms / 1000, UTC)
    return Markup('<time datetime="{}" title="{} UTC" data-since>{}</time>').format(
        at.isoformat(timespec="seconds").replace("+00:00", "Z"),
        at.strftime("%Y-%m-%d %H:%M:%S"),
        _span(ms - time.time() * 1000),
    )


def _span(ms: float) -> str:
    """The same words as ``span`` in inbox.js."""
    seconds = int(abs(ms) // 1000)
    if seconds < 60:
        told = "less than a minute"
    else:
        steps = ((86400, "d", 2 * 86400), (3600, "h", 2 * 3600), (60, "min", 60))
        unit, word = next((unit, word) for unit, word, least in steps if seconds >= least)
        told = f"{seconds // unit} {word}"
    return f"in {told}" if ms > 0 else f"{told} ago"


def size(bytes_: int) -> str:
    """``512 bytes``, ``3.4 KB``."""
    if bytes_ < 1024:
        return count(bytes_, "byte")
    kb = bytes_ / 1024
    return f"{kb:.1f} KB" if kb < 1024 else f"{kb / 1024:.1f} MB"


def digits(digest: str) -> str:
    """The beginning of a digest, in groups that can be read out."""
    return " ".join(digest[i : i + 4] for i in range(0, 16, 4))


def level(risk: int) -> str:
    """A word for a risk, so that no colour has to say it."""
    return "high" if risk >= 70 else "medium" if risk >= 30 else "low"


STATES = {
    "PENDING": "waiting",
    "APPROVED": "approved",
    "DENIED": "denied",
    "CHANGES_REQUESTED": "changes requested",
    "EXPIRED": "expired",
    "CANCELLED": "cancelled",
    "SUPERSEDED": "superseded",
    "REVOKED": "revoked",
    "EXECUTING": "being sent",
    "EXECUTED": "sent",
    "FAILED": "failed",
    "INDETERMINATE": "unclear: may have been sent",
}


def state(word: str) -> str:
    """An approval's state in a reader's words."""
    return STATES.get(word, word.lower())
