"""Disguises: what a text says once percent-encoding, HTML entities, JSON's escapes or base64 in it are
undone.

Owns the views of a text: the decoded text, and where each of its characters stood. Bounded: ``DEPTH`` layers, tokens
of at least ``SHORTEST`` characters, and no more decoded text than there was text. A cheap no for nearly all text.
"""

from __future__ import annotations

import binascii
import html
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

import re2

DEPTH = 3
"""Layers of encoding that are undone, one in another."""
SHORTEST = 12
"""Characters of the shortest base64 that is tried."""
ANCHOR = rb"[A-Za-z0-9+/_-]{%d}" % SHORTEST
"""What the automaton looks for: such a token."""
PLANT = b" " + b"a" * SHORTEST

_ESCAPED = re.compile(
    r"(?:%[0-9A-Fa-f]{2})+|\\+u00[0-7][0-9A-Fa-f]|&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});"
)
_STRINGS = re.compile(_ESCAPED.pattern + r"""|\\+["/nrt]""")
"""In what was encoded also the short escapes of JSON's strings, at whatever level: nobody walked that JSON."""
_SHORT = {"n": "\n", "r": "\r", "t": "\t"}
_TOKENS = re2.compile(rb"[A-Za-z0-9+/_-]{%d,}={0,2}" % SHORTEST)
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffd]")


@dataclass(frozen=True, slots=True)
class View:
    """A decoded text. ``starts`` are its offsets at which a piece begins, ``spans`` where that piece stood, and whether
    it stands for it character by character."""

    text: str
    starts: Sequence[int]
    spans: Sequence[tuple[int, int, bool]]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Where [start, end) of the decoded text stood."""
        return self._at(start)[0], self._at(end - 1)[1]

    def _at(self, offset: int) -> tuple[int, int]:
        i = bisect_right(self.starts, offset) - 1
        low, high, plain = self.spans[i]
        if not plain:
            return low, high
        at = low + offset - self.starts[i]
        return at, at + 1

    def __repr__(self) -> str:
        return f"View(<{len(self.text)} chars>)"


def views(text: str, data: bytes, tokens: bool, *, inner: bool = False) -> Iterator[View]:
    """Every other way to read a text (``data`` is its UTF-8; ``tokens``: the anchor was seen in it; ``inner``: the text
    itself was encoded)."""
    if ("%" in text or "&" in text or ("\\" if inner else "\\u00") in text) and (view := _unescaped(text, inner)):
        yield view
    for match in _TOKENS.finditer(data) if tokens else ():
        if (decoded := _unbased(match[0])) is not None:
            start = match.start() if len(text) == len(data) else len(data[: match.start()].decode())
            yield View(decoded, (0,), ((start, start + len(match[0]), False),))


def _unescaped(text: str, inner: bool) -> View | None:
    pieces: list[str] = []
    starts: list[int] = []
    spans: list[tuple[int, int, bool]] = []
    size = end = 0
    for match in (_STRINGS if inner else _ESCAPED).finditer(text):
        decoded = _piece(match[0])
        if decoded is None:
            continue
        for piece, span in ((text[end : match.start()], (end, match.start(), True)), (decoded, (*match.span(), False))):
            if piece:
                pieces.append(piece)
                starts.append(size)
                spans.append(span)
                size += len(piece)
        end = match.end()
    if not end:
        return None
    return View("".join((*pieces, text[end:])), (*starts, size), (*spans, (end, len(text), True)))


def _piece(escaped: str) -> str | None:
    """A run of percent-escapes, one escape of JSON or one entity, decoded; None if it says nothing else."""
    if escaped[0] == "\\":
        return (
            chr(int(escaped[-4:], 16)) if len(escaped) > 4 and "u" in escaped else _SHORT.get(last := escaped[-1], last)
        )
    if escaped[0] == "%":
        return unquote_to_bytes(escaped).decode("utf-8", "replace")
    decoded = html.unescape(escaped)
    return decoded if decoded != escaped else None


def _unbased(token: bytes) -> str | None:
    """The text that a token is in base64; None if it is none."""
    bare = token.rstrip(b"=").translate(_URL_SAFE)
    try:
        text = binascii.a2b_base64(bare + b"=" * (-len(bare) % 4)).decode()
    except ValueError:  # of bytes that are no text, and of padding that is none
        return None
    return text if not _CONTROLS.search(text) else None
