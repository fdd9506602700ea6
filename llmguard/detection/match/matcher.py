"""The matcher: records of the company's own in a text, by their keyed digests.

Owns: which words of a text are looked at, and the windows around them. Never does: compare with a value, for it has
none. Invariants: the work grows with the text, whatever it says; a match begins and ends at units; of matches that begin
at one place the longest counts.

Nearly every word of a text begins no record. Which words do is asked once: ``_dull`` and ``_known`` remember short words
without digits, as many as ``REMEMBERED``, and nothing else of a text.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence

from llmguard.detection.match.file import MatchFile
from llmguard.detection.match.normal import MAX_GROUPS, MAX_UNIT, MAX_WORDS, UNITS, folded, has_digit
from llmguard.model import Detector, Finding

REMEMBERED = 50_000
GAP = 8
"""Characters that may stand between two units of a record."""
_LONGEST = 24
"""Characters of a word, with what touches it, that is remembered."""
_FEW = 6
_WINDOW = 24
"""Characters for each unit in which units before another are looked for at first."""
_TOKENS = re.compile(r"\S+")
CONFIDENCE = 0.99

Unit = tuple[int, int, str]
"""Start, end, and the normal form."""
Anchor = tuple[int, int, int]
"""File's number, mask of places in the record (bit 0: the first unit), mask of lengths (bit 0: one unit)."""


class Matcher:
    """All match files at once. Safe for threads: what is remembered can be lost, never wrong."""

    def __init__(self, files: Sequence[MatchFile]) -> None:
        self.files = tuple(files)
        self.detectors = tuple(_detector(f) for f in self.files)
        self._lengths = tuple(frozenset(f.header.lengths) for f in self.files)
        self._codes = any(self._lengths)
        self._dull: set[str] = set()
        self._known: dict[str, tuple[Anchor, ...]] = {}

    def find(self, text: str) -> list[tuple[Finding, int]]:
        """Findings in code points, with the number of their file; they may overlap."""
        tokens = text.split()
        fresh = set(tokens) - self._dull
        if not fresh:
            return []
        hot = {token for token in fresh if self._may_begin(token)}
        near = _Near(text)
        return [found for place in _places(text, hot) for found in self._at(text, place, near)] if hot else []

    def _may_begin(self, token: str) -> bool:
        """Whether a word, with what touches it, holds a unit that records are found by."""
        digits = has_digit(token)
        if digits and self._codes:
            return True
        for match in UNITS.finditer(token):
            if match.end() - match.start() <= MAX_UNIT and self._anchors(folded(match[0])):
                return True
        if not digits and len(token) <= _LONGEST:
            if len(self._dull) >= REMEMBERED:
                self._dull = set()
            self._dull.add(token)
        return False

    def _anchors(self, unit: str) -> tuple[Anchor, ...]:
        try:
            return self._known[unit]
        except KeyError:
            pass
        found = tuple(self._looked_up(unit))
        if len(unit) <= _LONGEST and not has_digit(unit):
            if len(self._known) >= REMEMBERED:
                self._known = {}
            self._known[unit] = found
        return found

    def _looked_up(self, unit: str) -> Iterator[Anchor]:
        for number, file in enumerate(self.files):
            entry = file.key.anchor(unit)
            i = bisect_left(file.anchors, entry)
            if i < len(file.anchors) and file.anchors[i] >> 16 == entry >> 16:
                yield number, file.anchors[i] >> 8 & 0xFF, file.anchors[i] & 0xFF

    def _at(self, text: str, place: tuple[int, int], near: _Near) -> Iterator[tuple[Finding, int]]:
        """What is found around the units of one word."""
        for match in UNITS.finditer(text, *place):
            if match.end() - match.start() > MAX_UNIT:
                continue
            unit = (match.start(), match.end(), folded(match[0]))
            if has_digit(unit[2]):
                for number, file in enumerate(self.files):
                    if file.header.lengths:
                        yield from self._coded(number, near, unit)
            else:
                for anchor in self._anchors(unit[2]):
                    yield from self._worded(anchor, near, unit)

    def _worded(self, anchor: Anchor, near: _Near, unit: Unit) -> Iterator[tuple[Finding, int]]:
        """Records of which ``unit`` is the anchor."""
        number, places, lengths = anchor
        file = self.files[number]
        for index in range(places.bit_length()):
            if not places >> index & 1:
                continue
            before = near.before(unit, index)
            if len(before) < index:
                break
            units = [*before, unit]
            for count in _counts(lengths, file.header.long):
                while len(units) < count and (after := near.after(units[-1])) is not None:
                    units.append(after)
            for count in sorted(_counts(lengths, file.header.long), reverse=True):
                if index < count <= len(units) and _holds(file, "words", " ".join(u[2] for u in units[:count])):
                    yield self._finding(number, units[0][0], units[count - 1][1])
                    break

    def _coded(self, number: int, near: _Near, unit: Unit) -> Iterator[tuple[Finding, int]]:
        """Codes of which ``unit`` is the first that has a digit."""
        file, lengths = self.files[number], self._lengths[number]
        longest = file.header.lengths[-1]
        before = near.before(unit, file.header.lead) if file.header.lead else []
        for i in range(len(before), -1, -1):
            if i < len(before) and has_digit(before[i][2]):
                return
            units = [*before[i:], unit]
            key = "".join(u[2] for u in units)
            end, last, left = 0, unit, MAX_GROUPS - len(units)
            while len(key) <= longest:
                if len(key) in lengths and _holds(file, "code", key):
                    end = last[1]
                after = near.after(last) if left else None
                if after is None:
                    break
                key, last, left = key + after[2], after, left - 1
            if end:
                yield self._finding(number, units[0][0], end)

    def _finding(self, number: int, start: int, end: int) -> tuple[Finding, int]:
        d = self.detectors[number]
        return Finding(start, end, d.type, d.category, CONFIDENCE, d.id, d.severity), number


class _Near:
    """The units around one place of a text, found when they are asked for and once."""

    __slots__ = ("_next", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        self._next: dict[int, Unit | None] = {}

    def after(self, unit: Unit) -> Unit | None:
        """The unit behind another, if it is near."""
        end = unit[1]
        if end in self._next:
            return self._next[end]
        match = UNITS.search(self._text, end, end + GAP + MAX_UNIT + 1)
        found = None
        if match and match.start() - end <= GAP and match.end() - match.start() <= MAX_UNIT:
            found = (match.start(), match.end(), folded(match[0]))
        self._next[end] = found
        return found

    def before(self, unit: Unit, count: int) -> list[Unit]:
        """Up to ``count`` units right before another, in order."""
        if not count:
            return []
        found = self._behind(unit[0], count, _WINDOW)
        return self._behind(unit[0], count, GAP + MAX_UNIT + 1) if found is None else found

    def _behind(self, edge: int, count: int, each: int) -> list[Unit] | None:
        """The same among so many characters for each; None if one is cut there."""
        low = max(0, edge - count * each)
        found: list[Unit] = []
        for match in reversed(list(UNITS.finditer(self._text, low, edge))):
            if len(found) == count or edge - match.end() > GAP or match.end() - match.start() > MAX_UNIT:
                return found[::-1]
            if match.start() == low > 0:
                return None if each == _WINDOW else found[::-1]
            found.append((match.start(), match.end(), folded(match[0])))
            edge = match.start()
        return found[::-1] if len(found) == count or low == 0 or each > _WINDOW else None


def _counts(mask: int, long: Sequence[int]) -> list[int]:
    """The lengths that a mask stands for, in order; its last bit for all of eight units and more."""
    counts = [bit + 1 for bit in range(MAX_WORDS - 1) if mask >> bit & 1]
    return [*counts, *long] if mask >> MAX_WORDS - 1 else counts


def _holds(file: MatchFile, kind: str, key: str) -> bool:
    digest = file.key.record(kind, key)
    i = bisect_left(file.records, digest)
    return i < len(file.records) and file.records[i] == digest


def _places(text: str, hot: set[str]) -> Iterator[tuple[int, int]]:
    """Where these words stand, each between blanks."""
    if len(hot) > _FEW:
        for match in _TOKENS.finditer(text):
            if match[0] in hot:
                yield match.span()
        return
    for token in hot:
        start = text.find(token)
        while start >= 0:
            end = start + len(token)
            if (start == 0 or text[start - 1].isspace()) and (end == len(text) or text[end].isspace()):
                yield start, end
            start = text.find(token, end)


def _detector(file: MatchFile) -> Detector:
    h = file.header
    return Detector(f"internal.match.{h.name}", h.type, h.category, h.severity, CONFIDENCE, "", f"{h.records} records")
