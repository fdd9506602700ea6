"""Seams: values that are cut over neighbouring parts of a call: messages, content parts, elements of an array.

Owns which edges are read together, and which findings across them count: those that no part shows by itself. Bounded:
``EDGE`` characters of a part on each side of a seam. Never joins what a key stands between.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

from llmguard.model import Finding, TextPart

EDGE = 128
"""Characters of a part beside a seam that are read."""
_GAP = "\n\n"
_WORD = 18
"""Characters beside a seam in which a plain word has to stand whole."""
_JOINABLE = frozenset("-_+/=@.:%\\")


@dataclass(frozen=True, slots=True)
class Seams:
    """Edges, put together. ``starts`` are the offsets of its pieces; ``at``: part, offset in it and length of each."""

    text: str
    starts: Sequence[int]
    at: Sequence[tuple[int, int, int]]

    def findings(
        self, parts: Sequence[TextPart], found: Sequence[Finding], own: Sequence[Sequence[Finding]]
    ) -> Iterator[tuple[int, Finding]]:
        """Parts with their share of findings that cross a seam. ``own``: what was found in each part by itself.

        Where a part shows its share by itself, a word beside it is a word; personal data of the same type that it shows
        is whole, and what follows is something else.
        """
        for f in found:
            shares = list(self._shares(f))
            if f.category == "pii" and any(_whole(g, own[part]) for part, g in shares):
                continue
            new = [(part, g) for part, g in shares if not _covered(g, own[part])]
            known = len(new) < len(shares)
            if len(shares) > 1 and not (known and all(_word(parts[i].text[g.start : g.end]) for i, g in new)):
                yield from new

    def _shares(self, f: Finding) -> Iterator[tuple[int, Finding]]:
        i = bisect_right(self.starts, f.start) - 1
        while i < len(self.starts) and self.starts[i] < f.end:
            part, offset, length = self.at[i]
            low = max(0, f.start - self.starts[i])
            high = min(length, f.end - self.starts[i])
            if low < high:
                yield part, replace(f, start=offset + low, end=offset + high)
            i += 1

    def __repr__(self) -> str:
        return f"Seams(<{len(self.text)} chars>)"


def seams(parts: Sequence[TextPart]) -> Seams | None:
    """The edges of parts that may go on in the next one; None if there are none."""
    pieces: list[str] = []
    at: list[tuple[int, int, int]] = []
    begun = False
    joins = [_goes_on(left, right) for left, right in pairwise(parts)]
    for i, joined in enumerate(joins):
        if not joined:
            begun = False
            continue
        left, right = parts[i].text, parts[i + 1].text
        if not begun:
            low = max(0, len(left) - EDGE)
            pieces.append(left[low:])
            at.append((i, low, len(left) - low))
        begun = len(right) <= 2 * EDGE
        length = len(right) if begun else EDGE
        ends = not begun or not any(joins[i + 1 : i + 2])
        pieces.append(right[:length] + _GAP if ends else right[:length])
        at.append((i + 1, 0, length))
    starts = [0, *accumulate(map(len, pieces))][:-1]
    return Seams("".join(pieces), starts, at) if at else None


def _goes_on(left: TextPart, right: TextPart) -> bool:
    """Whether a value may begin in one part and end in the next: neither has a blank where they meet."""
    return (
        left.redactable
        and right.redactable
        and left.place == right.place == "body"
        and left.text != ""
        and right.text != ""
        and ((last := left.text[-1]).isalnum() or last in _JOINABLE)
        and ((first := right.text[0]).isalnum() or first in _JOINABLE)
        and not (last in ".:" and _sentences(left.text[-_WORD:-1], right.text[:_WORD]))
    )


def _sentences(left: str, right: str) -> bool:
    """Whether a sentence ends in a plain word, and another one begins with one: between those nothing goes on."""
    _, ended, last = left.rpartition(" ")
    first, begun, _ = right.partition(" ")
    first = first.rstrip(",")
    return (
        bool(ended and begun)
        and len(last) > 2
        and last.isalpha()
        and last[1:].islower()
        and first.isalpha()
        and first[0].isupper()
        and (len(first) == 1 or first[1:].islower())
    )


def _covered(share: Finding, own: Sequence[Finding]) -> bool:
    """Whether a part shows its share by itself."""
    return any(f.start <= share.start and share.end <= f.end for f in own)


def _whole(share: Finding, own: Sequence[Finding]) -> bool:
    """Whether a part shows its share by itself, and as the same."""
    return any(f.type == share.type and f.start <= share.start and share.end <= f.end for f in own)


def _word(text: str) -> bool:
    """A word, or a name of several: ``Copy``, ``PATH``, ``LLMGUARD_DATA``, ``in.txt``."""
    return all(_PLAIN.fullmatch(piece) for piece in _BETWEEN.split(text) if piece)


_BETWEEN = re.compile(r"[\s_./:-]+")
_PLAIN = re.compile(r"(?:[a-z]+|[A-Z]+|[A-Z][a-z]+)\d{0,2}")
