"""The recognizer: plan → read → conclude.

Invariant: a Reading holds text only as long as it is worked on; findings hold none. Every word of a window is judged
where it stands furthest from the window's edges.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

from llmguard.detection.names import mentions, model, people
from llmguard.detection.names.addresses import addresses
from llmguard.detection.names.lexicon import Lexicon, lexicon
from llmguard.detection.names.lines import WORD, Line, Look, lines
from llmguard.detection.names.model import Scores, Span
from llmguard.detection.names.spans import Found, start_of, without, words_of
from llmguard.model import Finding, hidden

WINDOW, OVERLAP = 480, 64
"""Characters that the model reads at once, and that two windows share."""
MANY = 32
"""Names, above which a text's words are looked up in their set instead of each name in the text."""
DETECTORS = {"PERSON": "names.person", "ADDRESS": "names.address"}


@dataclass(slots=True, repr=False)
class Reading:
    """A text on its way through the model: its windows, and what is known of its words so far."""

    text: str
    lines: list[Line]
    words: list[Span]
    windows: list[Span]
    scores: dict[Span, Scores] = field(default_factory=dict)
    depth: dict[Span, int] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Reading({hidden(self.text)}, {len(self.windows)} windows)"


class Names:
    """Finds names and addresses. ``reads`` counts what the model has read. Safe for threads.

    ``thresholds`` gives the least confidence by type (``PERSON``, ``ADDRESS``); what is less sure stays as it is.
    """

    def __init__(self, thresholds: Mapping[str, float] | None = None) -> None:
        self.reads = 0
        self._least = dict(thresholds or {})

    @property
    def loaded(self) -> bool:
        return model.loaded()

    def load(self) -> None:
        """Loads the model, if that has not happened. Raises ConfigError without its packages."""
        lexicon()
        model.load()

    def plan(self, text: str) -> Reading:
        """Which windows of ``text`` the model has to read: those with a line that common words do not explain."""
        rows = lines(text, lexicon())
        wanted = [(r.words[0][0], r.words[-1][1]) for r in rows if r.look == Look.PROSE]
        return Reading(text, rows, [w for r in rows for w in r.words], list(_windows(text, wanted)))

    def read(self, reading: Reading, window: Span) -> None:
        """Lets the model read one window (some ten milliseconds of one core, without the GIL)."""
        low, high = window
        inside = reading.words[bisect_left(reading.words, (low, 0)) : bisect_left(reading.words, (high, 0))]
        words = [(start, end) for start, end in inside if end <= high]
        found = model.load().scores(reading.text[low:high], [(s - low, e - low) for s, e in words])
        self.reads += 1
        for word, scores in zip(words, found, strict=True):
            depth = min(word[0] - low if low else WINDOW, high - word[1] if high < len(reading.text) else WINDOW)
            if depth >= reading.depth.get(word, -1):
                reading.depth[word], reading.scores[word] = depth, scores

    def conclude(self, reading: Reading) -> tuple[Finding, ...]:
        """Findings of the text, after the model has read its windows."""
        found = find(reading.text, reading.lines, reading.scores, lexicon(), self._least)
        return tuple(map(_finding, found))

    def surfaces(self, text: str, found: tuple[Finding, ...]) -> frozenset[str]:
        """The words of found names that name the same person elsewhere too, as they are written."""
        named = ((f.start, f.end) for f in found if f.type == "PERSON")
        return frozenset(s for start, end in named for s in mentions.surfaces(text[start:end], lexicon()))

    def mentioned(self, text: str, found: tuple[Finding, ...], surfaces: Collection[str]) -> tuple[Finding, ...]:
        """``found`` with the further places where one of ``surfaces`` stands in ``text``."""
        if not _stands_open(text, found, surfaces):
            return found
        rows = lines(text, lexicon())
        taken = [Found(f.start, f.end, f.type, f.confidence) for f in found]
        further = [_finding(f) for f in mentions.mentions(text, rows, surfaces, taken)]
        return tuple(sorted((*found, *further), key=lambda f: f.start)) if further else found


def find(
    text: str, rows: list[Line], scores: dict[Span, Scores], words: Lexicon, least: Mapping[str, float]
) -> list[Found]:
    """Names and addresses of ``text`` in order, given the probabilities of the words that the model has read.

    ``least``: the confidence that is asked by type. Further mentions of who was found need none of their own.
    """
    judged = list(words_of(rows, scores))
    streets = addresses(text, judged, rows, words)
    found = [*streets, *without(people.names(text, rows, judged, words), streets)]
    found = [f for f in _crossings(text, sorted(found, key=start_of)) if f.confidence >= least.get(f.type, 0.0)]
    known = {s for f in found if f.type == "PERSON" for s in mentions.surfaces(text[f.start : f.end], words)}
    if known:
        found += mentions.mentions(text, rows, known, sorted(found, key=start_of))
    return sorted(found, key=start_of)


def _crossings(text: str, found: list[Found]) -> list[Found]:
    """A street that is named like a person, and its corner with the next, are one address."""
    joined: list[Found] = []
    for f in found:
        last = joined[-1] if joined else None
        if last and (last.type, f.type, text[last.end : f.start]) == ("PERSON", "ADDRESS", " and "):
            joined[-1] = replace(f, start=last.start)
        else:
            joined.append(f)
    return joined


def _stands_open(text: str, found: tuple[Finding, ...], surfaces: Collection[str]) -> bool:
    """Whether one of ``surfaces`` occurs outside of ``found``. Cheap for few surfaces, linear in the text for many."""
    if len(surfaces) > MANY:
        surfaces = set(surfaces).intersection(m.group() for m in WORD.finditer(text))
    starts = [f.start for f in found]
    for surface in surfaces:
        at = text.find(surface)
        while at >= 0:
            covering = bisect_right(starts, at) - 1
            if covering < 0 or found[covering].end < at + len(surface):
                return True
            at = text.find(surface, at + len(surface))
    return False


def _finding(f: Found) -> Finding:
    return Finding(f.start, f.end, f.type, "pii", f.confidence, DETECTORS[f.type], "medium")


def _windows(text: str, wanted: list[Span]) -> Iterator[Span]:
    """Windows that cover the wanted stretches, cut at blanks, each with what stands around it."""
    position = 0
    for start, end in wanted:
        position = max(position, start)
        while position < end:
            low = _blank_before(text, max(0, position - OVERLAP))
            high = min(len(text), low + WINDOW)
            if high < len(text):
                high = _blank_before(text, high) if _blank_before(text, high) > position else high
            yield low, high
            position = high if high >= end else max(high - OVERLAP, position + 1)


def _blank_before(text: str, at: int) -> int:
    """The end of the last blank at or before ``at``, not further than OVERLAP."""
    for i in range(at, max(0, at - OVERLAP), -1):
        if text[i - 1].isspace():
            return i
    return at
