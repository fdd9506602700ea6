"""Disguises: what a text says once what hides it is undone.

Owns the views of a text (letters that look like others, invisible characters, escapes, encodings, compression, values
spelled letter by letter, strings that code joins), the gates that the automaton looks for, and the bounds: ``DEPTH``
layers, and an ``Allowance`` of characters of views for each text. What is hidden behind more than that is ``Beyond``: a
finding of its own, of type ``EVASION``, so that it does not leave either. A cheap no for nearly all text.

Not looked through: rot13 and other ciphers, reversed text, text in other media.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from llmguard.detection.disguises import escapes, letters, spelled, tokens
from llmguard.detection.disguises.seams import Seams, seams
from llmguard.detection.disguises.tokens import Allowance
from llmguard.detection.disguises.view import Beyond, View, windows
from llmguard.model import EVASION, Finding

__all__ = [
    "DEPTH",
    "GATES",
    "LETTERS",
    "LETTERS_PLANT",
    "PLANTS",
    "Allowance",
    "Beyond",
    "Seams",
    "View",
    "evasion",
    "seams",
    "views",
]

DEPTH = 5
"""Layers of disguise that are undone, one in another."""

LETTERS, LETTERS_PLANT = letters.ANCHOR, letters.PLANT
"""The first gate, which only text beyond ASCII can hit: it has an automaton of its own."""
GATES = (
    escapes.ANCHOR,
    escapes.JOINED,
    spelled.SPACED,
    spelled.WORDS,
    escapes.QUOTED,
    tokens.BASE64,
    tokens.DEFLATED,
    tokens.BASE32,
    tokens.HEX,
)
"""What the automaton looks for, each told once a text. The bit of its place, from 2 on, says that it was seen."""
PLANTS = (
    escapes.PLANT,
    escapes.JOINED_PLANT,
    spelled.SPACED_PLANT,
    spelled.WORDS_PLANT,
    escapes.QUOTED_PLANT,
    tokens.BASE64_PLANT,
    tokens.DEFLATED_PLANT,
    tokens.BASE32_PLANT,
    tokens.HEX_PLANT,
)
_LETTERS, _ESCAPES, _JOINED, _SPACED, _WORDS, _QUOTED, _BASE64, _DEFLATED, _BASE32, _HEX = (
    1 << i for i in range(len(GATES) + 1)
)
_STRETCH = re.compile(r"[^\s]*")


def evasion(start: int, end: int) -> Finding:
    """The finding of what is hidden behind more than is looked through."""
    return Finding(start, end, EVASION, "internal", 1.0, "evasion.limit", "high")


def views(text: str, seen: int, allowance: Allowance, depth: int) -> Iterator[View | Beyond]:
    """Every other way to read a text. ``seen``: bits of the gates that hit in it; ``depth``: layers that are left.

    Without a layer left, what could be read on is ``Beyond``.
    """
    inner = depth < DEPTH
    if not depth:
        yield from _deeper(text, seen, allowance, inner)
        return
    yield from _tokens(text, seen, allowance)
    for window in windows(text, _spots(text, seen, inner)):
        if plain := _plain(window, seen, inner):
            yield _allowed(plain, window, allowance)
    for window in windows(text, escapes.quoted_spots(text)) if seen & _QUOTED else ():
        if plain := escapes.quoted(window.text, window):
            yield _allowed(plain, window, allowance)


def _allowed(view: View, window: View, allowance: Allowance) -> View | Beyond:
    return view if allowance.take(len(view.text)) else Beyond(*window.span(0, len(window.text)))


def _spots(text: str, seen: int, inner: bool) -> Iterator[tuple[int, int]]:
    """Where a text may read otherwise in plain letters."""
    if seen & _LETTERS:
        yield from letters.spots(text)
    if seen & _ESCAPES or (inner and "\\" in text):
        yield from escapes.spots(text, inner)
    if seen & _JOINED:
        yield from escapes.joints(text)
    if seen & (_SPACED | _WORDS):
        yield from spelled.spots(text, bool(seen & _SPACED), bool(seen & _WORDS))


def _plain(window: View, seen: int, inner: bool) -> View | None:
    """A window in plain letters, one layer of its escapes undone, its pieces joined; None if it is that already."""
    view = window
    if seen & _LETTERS:
        view = letters.read(view.text, view) or view
    if seen & _ESCAPES or (inner and "\\" in window.text):
        view = escapes.read(view.text, view, inner) or view
    if seen & _JOINED:
        view = escapes.joined(view.text, view) or view
    if seen & _SPACED:
        view = spelled.unspaced(view.text, view) or view
    if seen & _WORDS:
        view = spelled.unspoken(view.text, view) or view
    return view if view is not window else None


def _tokens(text: str, seen: int, allowance: Allowance) -> Iterator[View | Beyond]:
    if seen & (_BASE64 | _DEFLATED):
        yield from tokens.of_base64(text, allowance, bool(seen & _BASE64), bool(seen & _DEFLATED))
    if seen & _BASE32:
        yield from tokens.of_base32(text, allowance)
    if seen & _HEX:
        yield from tokens.of_hex(text, allowance)


def _deeper(text: str, seen: int, allowance: Allowance, inner: bool) -> Iterator[Beyond]:
    """Where a text could be read on: tokens, and words with an escape in them."""
    for view in _tokens(text, seen, allowance):
        yield view if isinstance(view, Beyond) else Beyond(*view.span(0, len(view.text)))
    end = 0
    for edit in escapes.edits(text, inner) if seen & _ESCAPES else ():
        if edit.start >= end:
            start = max(end, *(text.rfind(blank, end, edit.start) + 1 for blank in " \n\t"))
            stretch = _STRETCH.match(text, edit.end)
            end = stretch.end() if stretch else edit.end
            yield Beyond(start, end)
