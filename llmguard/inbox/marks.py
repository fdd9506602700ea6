"""Marks: where placeholders stand in what leaves, and where their values stood in what was written.

Only what the guard put in is marked as a placeholder; whatever else looks like one is called so. Invariant: with the
marks taken away, the text is there character by character.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from llmguard.inbox.text import body
from llmguard.risk import words

_LIKE = re.compile(r"(\[[A-Z][A-Z0-9_]{0,63}_[a-z2-7]{10,52}\])")
_OURS = Markup('<mark class="ph k{}" title="{}">')
_WRITTEN = Markup('<mark class="raw k{}"><span class="kind">{}</span>{}</mark>')
_FAKE = Markup('<span class="fake">{}<span class="kind">not of the guard</span></span>')
STYLES = 6
"""Kinds of lines under marks; a type that comes later shares one, and has its name all the same."""


@dataclass(frozen=True, slots=True)
class Legend:
    """A type in a reader's words; ``style``: its mark; ``count``: how many different values."""

    type: str
    words: str
    style: int
    count: int


class Marks:
    """The marks of one approval. ``issued``: placeholder → type, as the API says.

    ``certain``: these are all of them, so whatever else looks like one is not the guard's.
    """

    def __init__(self, issued: Mapping[str, str], *, certain: bool = True) -> None:
        self._issued = issued
        self._certain = certain
        self._styles = {type_: at % STYLES for at, type_ in enumerate(sorted(set(issued.values())))}
        self._opened = {type_: str(_OURS.format(style, words.named(type_))) for type_, style in self._styles.items()}

    def shown(self, text: str) -> Markup:
        """What leaves, with its placeholders marked."""
        pieces = [self._mark(piece) if at % 2 else str(body(piece)) for at, piece in enumerate(_LIKE.split(text))]
        return Markup("".join(pieces))  # noqa: S704  each is escaped

    def _mark(self, piece: str) -> str:
        """``piece`` is of ``_LIKE``, so nothing in it is to be escaped."""
        type_ = self._issued.get(piece)
        if type_ is None:
            return str(_FAKE.format(piece)) if self._certain else piece
        return f"{self._opened[type_]}{piece}</mark>"

    def written(self, leaving: str, text: str) -> Markup:
        """What was written, with what is a placeholder in ``leaving`` marked."""
        shown: list[Markup] = []
        kept = 0
        for start, end, types in aligned(self._pieces(leaving), text):
            known = " or ".join(words.named(t) for t in types)
            style = self._styles[types[0]] if types else 0
            shown += [body(text[kept:start]), _WRITTEN.format(style, known or "changed", body(text[start:end]))]
            kept = end
        return Markup("").join([*shown, body(text[kept:])])

    def _pieces(self, leaving: str) -> list[tuple[str, str]]:
        """Texts, each with the type of the placeholder behind it; "" for the last."""
        made: list[tuple[str, str]] = [("", "")]
        for piece in _LIKE.split(leaving):
            if piece in self._issued:
                made[-1] = (made[-1][0], self._issued[piece])
                made.append(("", ""))
            else:
                made[-1] = (made[-1][0] + piece, "")
        return made

    def legend(self) -> list[Legend]:
        counts: dict[str, int] = {}
        for type_ in self._issued.values():
            counts[type_] = counts.get(type_, 0) + 1
        return [Legend(t, words.named(t, n), self._styles[t], n) for t, n in sorted(counts.items())]

    def choices(self) -> dict[str, list[str]]:
        """Placeholders by type."""
        made: dict[str, list[str]] = {}
        for placeholder, type_ in sorted(self._issued.items()):
            made.setdefault(type_, []).append(placeholder)
        return made


def aligned(pieces: Sequence[tuple[str, str]], text: str) -> Iterator[tuple[int, int, tuple[str, ...]]]:
    """The spans of ``text`` between texts that both have, in order, with the types that left in their place.

    Where the texts differ otherwise (a value left in another form), all that is not the same at both ends is one span.
    Linear: each text is looked for once.
    """
    spans: list[tuple[int, int, tuple[str, ...]]] = []
    at, types = len(pieces[0][0]), [pieces[0][1]]
    if not text.startswith(pieces[0][0]):
        yield from _ends(pieces, text)
        return
    for n, (literal, type_) in enumerate(pieces[1:], 1):
        last = n == len(pieces) - 1
        if not literal and not last:
            types.append(type_)
            continue
        found = len(text) - len(literal) if last else text.find(literal, at + 1)
        if found < at or not text.startswith(literal, found):
            yield from _ends(pieces, text)
            return
        if found > at:
            spans.append((at, found, tuple(dict.fromkeys(t for t in types if t))))
        at, types = found + len(literal), [type_]
    if len(pieces) == 1 and at != len(text):
        yield from _ends(pieces, text)
        return
    yield from spans


def _ends(pieces: Sequence[tuple[str, str]], text: str) -> Iterator[tuple[int, int, tuple[str, ...]]]:
    """What is left of ``text`` without the beginning and the end that it shares with what leaves."""
    first, last = pieces[0][0], pieces[-1][0]
    start = _same(first, text)
    end = len(text) - _same(last[::-1], text[start:][::-1])
    if start < end:
        yield start, end, tuple(sorted({t for _, t in pieces if t}))


def _same(one: str, other: str) -> int:
    """How many characters two texts have in common at their beginning."""
    least, most = 0, min(len(one), len(other))
    while least < most:
        middle = (least + most + 1) // 2
        least, most = (middle, most) if one[:middle] == other[:middle] else (least, middle - 1)
    return least
