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
_RUN = re.compile(r"([^\x21-\x7e\n\t ])\1{7,}")
_KNOWN = 20_000
"""Characters whose form is kept."""
_CHIP = Markup('<span class="chip" title="{}">{}</span>')


def visible(text: object, *, lines: bool = False) -> Markup:
    """Somebody's text on a page: escaped, each character that shows nothing or steers the eye as a chip.

    ``lines`` keeps line feeds and tabs, for bodies in a ``pre``.
    """
    written = str(text)
    if _PLAIN.fullmatch(written):
        return escape(written)
    table = _LINES if lines else _LINE
    pieces: list[str] = []
    kept = 0
    for run in _RUN.finditer(written):
        if not invisible.harmless(run[1], lines=True):
            pieces += [written[kept : run.start()].translate(table), str(chip(run[1], len(run[0])))]
            kept = run.end()
    return Markup("".join([*pieces, written[kept:].translate(table)]))  # noqa: S704  escaped, or a chip


class _Shown(dict[int, str]):
    """How each character is shown, learnt as they come: ``str.translate`` asks for each, and pages may be long."""

    def __init__(self, *, lines: bool) -> None:
        super().__init__()
        self._lines = lines

    def __missing__(self, code: int) -> str:
        if len(self) > _KNOWN:
            self.clear()  # somebody writes in all scripts at once
        character = chr(code)
        plain = invisible.harmless(character, lines=self._lines)
        self[code] = shown = str(escape(character) if plain else chip(character))
        return shown


def body(text: object) -> Markup:
    """The same over several lines."""
    return visible(text, lines=True)


def chip(character: str, times: int = 1) -> Markup:
    """``times``: so often in a row."""
    return _CHIP.format(invisible.name(character), invisible.label(character) + (f" ×{times:,}" if times > 1 else ""))


_LINE, _LINES = _Shown(lines=False), _Shown(lines=True)


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


def points(value: float) -> str:
    """Points of a risk with their sign; what is there and rounds to nothing is said to be less than one."""
    rounded = round(value)
    return f"{rounded:+d}".replace("-", "−") if rounded else "<1" if value else "0"


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
