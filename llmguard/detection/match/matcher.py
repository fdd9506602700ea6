"""The matcher: records of the company's own in a text, by their keyed digests.

Owns: which words of a text are looked at, and the windows around them. Never does: compare with a value, for it has
none. Invariants: the work grows with the text, whatever it says; a match begins and ends at units; of matches that
begin at one place the longest counts.

Nearly every word of a text belongs to no record. Which words do is asked once: ``_dull`` and ``_known`` remember short
words without digits, ``REMEMBERED`` of them at most, and nothing else of a text.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence

from llmguard.detection.match.file import MatchFile
from llmguard.detection.match.normal import MAX_GROUPS, MAX_UNIT, MAX_WORDS, UNITS, folded, has_digit
from llmguard.model import Detector, Finding

REMEMBERED = 50_000
GAP = 8
"""Characters that may stand between two units of a record."""
_LONGEST = 40
"""Characters of a word, with what touches it, that is remembered."""
_FEW = 6
_WINDOW = 24
"""Characters for each unit in which units before another are looked for at first."""
_TOKENS = re.compile(r"\S+")
CONFIDENCE = 0.99

Unit = tuple[int, int, str]
"""Start, end, and the normal form."""
Anchor = tuple[int, tuple[int, ...], tuple[int, ...]]
"""File's number; where the unit stands in records (0: it begins them); their lengths in units, longest first."""
Hot = tuple[int, int, str, tuple[Anchor, ...]]
"""A unit that records are found by: start and end in its word, normal form, anchors (none for one with a digit)."""


class Matcher:
    """All match files at once. Safe for threads: what is remembered can be lost, never wrong."""

    def __init__(self, files: Sequence[MatchFile]) -> None:
        self.files = tuple(files)
        self.detectors = tuple(_detector(f) for f in self.files)
        self._codes = tuple(_Codes(i, f) for i, f in enumerate(self.files) if f.header.lengths)
        self._dull: set[str] = set()
        self._known: dict[str, tuple[Hot, ...]] = {}
        self._letters: dict[str, tuple[Anchor, ...]] = {}

    def find(self, text: str) -> list[tuple[Finding, int]]:
        """Findings in code points, with the number of their file; they may overlap."""
        fresh = set(text.split()) - self._dull
        hot = {token: units for token in fresh if (units := self._hot(token))} if fresh else {}
        if not hot:
            return []
        near = _Near(text)
        found: list[tuple[Finding, int]] = []
        for token, at in _places(text, hot):
            for start, end, unit, anchors in hot[token]:
                for anchor in anchors:
                    found += self._worded(anchor, near, (at + start, at + end, unit))
                for codes in () if anchors else self._codes:
                    if codes.enough(text, at + start):
                        spans = codes.found(near, (at + start, at + end, unit))
                        found += [self._finding(codes.number, *span) for span in spans]
        return found

    def _hot(self, token: str) -> tuple[Hot, ...]:
        """The units of a word, with what touches it, that records are found by."""
        known = self._known.get(token)
        if known is not None:
            return known
        units = tuple(self._units(token))
        if len(token) <= _LONGEST and not has_digit(token):
            if len(self._dull) + len(self._known) >= REMEMBERED:
                self._dull, self._known = set(), {}
            if units:
                self._known[token] = units
            else:
                self._dull.add(token)
        return units

    def _units(self, token: str) -> Iterator[Hot]:
        for match in UNITS.finditer(token):
            start, end = match.span()
            if end - start > MAX_UNIT:
                continue
            unit = folded(match[0])
            if has_digit(unit):
                if self._codes:
                    yield start, end, unit, ()
            elif anchors := self._anchors(unit):
                yield start, end, unit, anchors

    def _anchors(self, unit: str) -> tuple[Anchor, ...]:
        if len(unit) > 1:
            return tuple(self._looked_up(unit))
        found = self._letters.get(unit)  # of a script without blanks: there are no more of them than characters
        if found is None:
            found = self._letters[unit] = tuple(self._looked_up(unit))
        return found

    def _looked_up(self, unit: str) -> Iterator[Anchor]:
        for number, file in enumerate(self.files):
            entry = file.key.anchor(unit)
            i = bisect_left(file.anchors, entry)
            if i < len(file.anchors) and file.anchors[i] >> 16 == entry >> 16:
                places = tuple(bit for bit in range(8) if file.anchors[i] >> 8 + bit & 1)
                yield number, places, _counts(file.anchors[i], file.header.long)

    def _worded(self, anchor: Anchor, near: _Near, unit: Unit) -> Iterator[tuple[Finding, int]]:
        """Records of which ``unit`` is the anchor."""
        number, places, counts = anchor
        for place in places:
            before = near.before(unit, place) if place else []
            if len(before) < place:
                return
            units = [*before, unit]
            while len(units) < counts[0] and (after := near.after(units[-1])) is not None:
                units.append(after)
            for count in counts:
                if place < count <= len(units):
                    key = " ".join([u[2] for u in units[:count]])
                    said = near.said.get((number, key))
                    if said is None:
                        said = near.said[number, key] = _holds(self.files[number], "words", key)
                    if said:
                        yield self._finding(number, units[0][0], units[count - 1][1])
                        break

    def _finding(self, number: int, start: int, end: int) -> tuple[Finding, int]:
        d = self.detectors[number]
        return Finding(start, end, d.type, d.category, CONFIDENCE, d.id, d.severity), number


class _Codes:
    """The codes of one file: numbers, and what has digits in it."""

    __slots__ = ("_file", "_lead", "_lengths", "_longest", "_numbers", "enough", "number")

    def __init__(self, number: int, file: MatchFile) -> None:
        self.number = number
        self._file = file
        self._lengths = frozenset(file.header.lengths)
        self._longest = max(self._lengths)
        self._lead = file.header.lead
        self._numbers = file.header.numbers
        more = f"(?:[\\W_]{{0,{GAP}}}\\d){{{min(self._lengths) - 1}}}" if self._numbers else ""
        self.enough = re.compile(rf"\w{more}").match
        """Whether there can be a code at a place of a text. No is certain."""

    def found(self, near: _Near, unit: Unit) -> Iterator[tuple[int, int]]:
        """Spans of codes of which ``unit`` is the first that has a digit."""
        before = near.before(unit, self._lead) if self._lead else []
        for i in range(len(before), -1, -1):
            if i < len(before) and has_digit(before[i][2]):
                return
            if end := self._end(near, [*before[i:], unit]):
                yield (before[i] if i < len(before) else unit)[0], end

    def _end(self, near: _Near, units: list[Unit]) -> int:
        """Where the longest code ends that begins with these units; 0 if none does."""
        key, last, end = "".join([u[2] for u in units]), units[-1], 0
        for left in range(MAX_GROUPS - len(units), -1, -1):
            if len(key) in self._lengths and _holds(self._file, "code", key):
                end = last[1]
            after = near.after(last) if left and len(key) < self._longest else None
            if after is None or (self._numbers and not after[2].isdecimal()):
                break
            key, last = key + after[2], after
        return end


class _Near:
    """The units around one place of a text, found when they are asked for and once."""

    __slots__ = ("_next", "said", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.said: dict[tuple[int, str], bool] = {}
        """By file's number and normal form: whether it is a record."""
        self._next: dict[int, Unit | None] = {}

    def after(self, unit: Unit) -> Unit | None:
        """The unit behind another, if it is near."""
        end = unit[1]
        if end in self._next:
            return self._next[end]
        match = UNITS.search(self.text, end, end + GAP + MAX_UNIT + 1)
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
        return self._behind(unit[0], count, GAP + MAX_UNIT + 1) or [] if found is None else found

    def _behind(self, edge: int, count: int, each: int) -> list[Unit] | None:
        """The same among so many characters for each; None if one is cut there."""
        low = max(0, edge - count * each)
        found: list[Unit] = []
        for match in reversed(list(UNITS.finditer(self.text, low, edge))):
            if len(found) == count or edge - match.end() > GAP or match.end() - match.start() > MAX_UNIT:
                return found[::-1]
            if match.start() == low > 0:
                return None if each == _WINDOW else found[::-1]
            found.append((match.start(), match.end(), folded(match[0])))
            edge = match.start()
        return found[::-1] if len(found) == count or low == 0 or each > _WINDOW else None


def _counts(entry: int, long: Sequence[int]) -> tuple[int, ...]:
    """The lengths that an anchor's entry stands for; its bit for eight units is for all longer ones too."""
    counts = [bit + 1 for bit in range(MAX_WORDS - 1) if entry >> bit & 1]
    return tuple(sorted([*counts, *long] if entry >> MAX_WORDS - 1 & 1 else counts, reverse=True))


def _holds(file: MatchFile, kind: str, key: str) -> bool:
    digest = file.key.record(kind, key)
    i = bisect_left(file.records, digest)
    return i < len(file.records) and file.records[i] == digest


def _places(text: str, hot: Collection[str]) -> Iterator[tuple[str, int]]:
    """These words, each between blanks, and where they begin."""
    if len(hot) > _FEW:
        for match in _TOKENS.finditer(text):
            if match[0] in hot:
                yield match[0], match.start()
        return
    for token in hot:
        start = text.find(token)
        while start >= 0:
            end = start + len(token)
            if (start == 0 or text[start - 1].isspace()) and (end == len(text) or text[end].isspace()):
                yield token, start
            start = text.find(token, end)


def _detector(file: MatchFile) -> Detector:
    h = file.header
    return Detector(f"internal.match.{h.name}", h.type, h.category, h.severity, CONFIDENCE, "", f"{h.records} records")
