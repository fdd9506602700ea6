"""View: another way to read a text, and where each of its characters stood.

Owns the way back from a decoded text to the text that it was made from, through any number of steps. Never decodes.
Invariant: whatever lies inside a view lies, mapped back, inside the text; order is kept.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

PLAIN, OPAQUE = 1, 0
MARGIN = 256
"""Characters on each side of what is read otherwise that are read with it."""


class Edit(NamedTuple):
    """[start, end) reads ``text``. Each of its characters stands for ``stride`` characters, or (``OPAQUE``) for all."""

    start: int
    end: int
    text: str
    stride: int = OPAQUE


class Piece(NamedTuple):
    """Where a piece of a view stood: [start, end), in steps of ``stride``, of which ``gap`` is what parts two."""

    start: int
    end: int
    stride: int
    gap: int = 0


@dataclass(frozen=True, slots=True)
class View:
    """A decoded text. ``starts`` are its offsets at which ``pieces`` begin. ``under``: the view it was made from."""

    text: str
    starts: Sequence[int]
    pieces: Sequence[Piece]
    under: View | None = None

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Where [start, end) of the decoded text stood in the first text."""
        low, high = self._at(start)[0], self._at(end - 1)[1]
        return self.under.span(low, high) if self.under else (low, high)

    def _at(self, offset: int) -> tuple[int, int]:
        i = bisect_right(self.starts, offset) - 1
        low, high, stride, gap = self.pieces[i]
        if stride == OPAQUE:
            return low, high
        at = low + (offset - self.starts[i]) * stride
        return at, at + stride - gap

    def __repr__(self) -> str:
        return f"View(<{len(self.text)} chars>)"


class Beyond(NamedTuple):
    """[start, end) holds more than is looked through: deeper, longer, or more of it."""

    start: int
    end: int


def whole(text: str, start: int, end: int, stride: int = OPAQUE, gap: int = 0) -> View:
    """A view of one piece."""
    return View(text, (0,), (Piece(start, end, stride, gap),))


def windows(text: str, spots: Iterable[tuple[int, int]]) -> Iterator[View]:
    """The text around ``spots`` (in any order), as it is: what stands further away is no other than it was."""
    if len(text) <= 4 * MARGIN:
        if any(True for _ in spots):
            yield whole(text, 0, len(text), PLAIN)
        return
    low = high = -1
    for start, end in sorted(spots):
        if high >= 0 and start - high <= 2 * MARGIN:
            high = max(high, end)
            continue
        if high >= 0:
            yield _window(text, low, high)
        low, high = start, end
    if high >= 0:
        yield _window(text, low, high)


def _window(text: str, low: int, high: int) -> View:
    """[low, high) and a margin, which begins and ends with a blank where there is one."""
    low, high = max(0, low - MARGIN), min(len(text), high + MARGIN)
    blank = max(text.rfind(" ", low - MARGIN, low), text.rfind("\n", low - MARGIN, low)) if low > MARGIN else -1
    low = blank + 1 if blank >= 0 else 0 if low <= MARGIN else low
    ends = [at for at in (text.find(" ", high, high + MARGIN), text.find("\n", high, high + MARGIN)) if at >= 0]
    high = min(ends, default=high)
    return whole(text[low:high], low, high, PLAIN)


def edited(text: str, edits: Iterable[Edit], under: View | None = None) -> View | None:
    """The text with ``edits`` made (sorted, not overlapping); None if there are none, or nothing is left."""
    pieces: list[str] = []
    starts: list[int] = []
    spans: list[Piece] = []
    size = end = 0
    for edit in edits:
        if end < edit.start:
            pieces.append(text[end : edit.start])
            starts.append(size)
            spans.append(Piece(end, edit.start, PLAIN))
            size += edit.start - end
        if edit.text:
            pieces.append(edit.text)
            starts.append(size)
            spans.append(Piece(edit.start, edit.end, edit.stride))
            size += len(edit.text)
        end = edit.end
    if not end:
        return None
    if end < len(text):
        pieces.append(text[end:])
        starts.append(size)
        spans.append(Piece(end, len(text), PLAIN))
    return View("".join(pieces), starts, spans, under) if pieces else None
