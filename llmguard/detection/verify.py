"""Verify: what an anchor's hits are worth. A Rule is a Detector made ready to look closely at small windows.

Owns: windows, the pattern's search, validators, context, confidence. Never does: looking where no anchor hit, or asking
the automaton. Invariant: windows of one rule never overlap, so that its work grows with the text, not with the hits,
and equal values of one text are validated once. All offsets here are bytes; the engine makes code points of them.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import product
from typing import NamedTuple

import re2

from llmguard.catalogue.patterns import UNANCHORED, Pattern
from llmguard.detection.automaton import SHORT
from llmguard.detection.demands import NO_DIGITS, TOKENS, figures, token
from llmguard.detection.resolve import Rank
from llmguard.model import Detector
from llmguard.validators import VALIDATORS, Validator

THRESHOLD = 0.5
"""Findings below this confidence are not reported."""
CONTEXT_GAIN = 0.4
VALIDATED = 0.9
"""Least confidence of what a checksum or parser proved."""
CERTAIN = 0.99
_BEFORE, _AFTER, _DIRECTLY = 72, 32, 24
"""Bytes of context before and after a value, and directly before it for ``unless``."""
_STRETCH = 4 * 4096
"""Bytes by which a window may grow while its match comes near the window's end."""
_OPEN = 256
"""Bytes of reach from which on a pattern counts as open to the right: its matches are as long as their value."""
_EDGE = 24
"""Bytes that count as near: a match may end before the edge because its next piece is cut by it."""
_BRACKET = ord("[")
_OURS = re.compile(rb"\[[A-Z][A-Z0-9_]*_[a-z0-9]{10,26}\]")
"""A placeholder: what stands in its brackets is nobody's value, whatever it looks like."""
_WORTH, _TOKENS_TOLD = 6, 64
"""Characters of a token from which on it pays to ask whether a text holds one, and the most that are asked for."""
MAX_LABELLED = 256
"""Characters. Longer text is not one value, whatever it is labelled."""


@dataclass(slots=True)
class Work:
    """What verification cost: searches made, bytes that they went through, validators asked."""

    searches: int = 0
    examined: int = 0
    validated: int = 0


class Verdict(StrEnum):
    """Why a candidate was believed, or was not."""

    FOUND = "found"
    SHAPE = "the pattern does not match here"
    PRECEDED = "a word directly before it says that it is something else"
    ALONE = "no context word near it"
    REFUTED = "the validator refuses it"
    DOUBTFUL = "the confidence is too low without a context word or proof"


class Note(NamedTuple):
    """What a rule thought of a span (bytes), told only when somebody asks."""

    start: int
    end: int
    rule: int
    verdict: Verdict
    confidence: float = 0.0
    proved: bool | None = None
    context: bool = False


class Hit(NamedTuple):
    """A span in bytes that a rule believes, and how much. ``rule`` is its place among the engine's rules."""

    start: int
    end: int
    confidence: float
    rank: Rank
    rule: int


@dataclass(slots=True)
class Text:
    """One text under examination: its bytes, what stands before them, and where the automaton hit.

    ``data`` starts with the label's ``prefix`` bytes; hits are inside the rest. ``runs`` are as the automaton gives
    them. ``said`` remembers what validators said of the values of this text, and lives as long as its scan.
    """

    data: bytes
    prefix: int
    runs: Mapping[int, Sequence[int]]
    work: Work
    said: dict[tuple[int, bytes], bool | None] = field(default_factory=dict)
    named: dict[int, bool] = field(default_factory=dict)
    """By number of context words: whether the label says one."""
    notes: list[Note] | None = None
    """What rules thought, if somebody asks."""
    figures: int = -1
    """How many digits it holds, once somebody asked."""
    shape: bytes = b""
    """Where its tokens are, once somebody asked."""

    def holds(self, figures: int, token: bytes) -> bool:
        """Whether it holds so many digits, and as many characters of a token in a row."""
        if figures:
            if self.figures < 0:
                self.figures = len(self.data.translate(None, NO_DIGITS))
            if self.figures < figures:
                return False
        if token:
            if not self.shape:
                self.shape = self.data.translate(TOKENS)
            return token in self.shape
        return True

    def near(self, words: int, low: int, high: int) -> bool:
        """Whether one of these context ``words`` may end from ``low`` to ``high``. No is certain."""
        runs = self.runs.get(words)
        if runs is None:
            return False
        i = bisect_left(runs, low)  # first and last ends alternate: an odd place is inside a run
        return i < len(runs) and (i % 2 == 1 or runs[i] <= high)


class Rule:
    """One detector, compiled; ``words`` is the automaton's number for its context words, or -1. Holds no text."""

    __slots__ = (
        "_confidences",
        "_context",
        "_edge",
        "_figures",
        "_groups",
        "_match",
        "_needs_context",
        "_reach",
        "_token",
        "_unless",
        "_validator",
        "detector",
        "keywords",
        "order",
        "words",
    )

    def __init__(self, detector: Detector, order: int, words: int) -> None:
        self.detector = detector
        self.order = order
        self.words = words
        pattern = Pattern(detector.pattern)
        self._match = pattern.match
        self._groups = pattern.values or (0,)
        self._validator: Validator | None = VALIDATORS[detector.validator] if detector.validator else None
        self._context = word_pattern(detector.context)
        self.keywords = word_pattern(detector.keywords)
        self._unless = _directly(detector.unless)
        self._needs_context = detector.needs_context
        before, after = detector.reach
        self._reach = (before + _AFTER, after + _BEFORE) if detector.needs_context else (before, after)
        self._figures = figures(detector.pattern)
        self._token = b"a" * min(_TOKENS_TOLD, run) if (run := token(detector.pattern)) >= _WORTH else b""
        self._edge = _EDGE if detector.reach[1] >= _OPEN else 1
        self._confidences = _confidences(detector.confidence)

    def look(self, text: Text, ends: Sequence[int], found: list[Hit]) -> None:
        """Adds the believed spans around ``ends`` to ``found``: first end, last end, … of this rule's anchor, which for
        a rule that needs context are its words. Under a label that says one, the whole text is near.
        """
        if not text.holds(self._figures, self._token):
            return
        size = len(text.data)
        if self._needs_context and self._named(text):
            self._search(text, text.prefix - 1, size, found, size)  # the blank before it is a boundary
            return
        if len(ends) == 2:
            before, after = self._reach
            low, high = ends[0] - before, ends[1] + after
            low, high = low if low > 0 else 0, high if high < size else size
            self._search(text, low, high, found, high if self._needs_context else ends[1])
            return
        for low, high, last in self._windows(size, ends):
            self._search(text, low, high, found, high if self._needs_context else last)

    def whole(self, text: Text, found: list[Hit]) -> None:
        """The whole text as a value, for a label that is one of this rule's keywords."""
        if text.prefix < len(text.data):
            self._judge(text, text.prefix, len(text.data), found)

    def _windows(self, size: int, ends: Sequence[int]) -> Iterator[tuple[int, int, int]]:
        """Where to look, for several runs: start, end, and the end of the last hit inside."""
        before, after = self._reach
        low, high = max(0, ends[0] - before), ends[1] + after
        for i in range(2, len(ends), 2):
            start = ends[i] - before
            if start > high:
                yield low, high, ends[i - 1]
                low = start
            high = ends[i + 1] + after
        yield low, min(size, high), ends[-1]

    def _search(self, text: Text, low: int, high: int, found: list[Hit], last: int) -> None:
        """Every match in a window. A match that comes near the window's end is read again in a wider one.

        Behind ``last`` no match can begin: each holds a hit of its anchor.
        """
        data, work, position, search = text.data, text.work, low, self._match
        limit = min(len(data), high + _STRETCH)
        while position <= last:
            spans = search(UNANCHORED, data, position, high)
            match_start, match_end = spans[0]
            work.searches += 1
            if match_start < 0:
                work.examined += high - position
                return
            work.examined += match_end - position
            if match_end + self._edge > high and high < limit:
                high = min(limit, high + max(256, high - match_start))
                continue
            end = match_end
            for group in self._groups:
                if spans[group][0] >= 0:
                    start, end = spans[group]
                    self._judge(text, start, end, found)
                    break
            position = max(end, match_start + 1)

    def _judge(self, text: Text, start: int, end: int, found: list[Hit]) -> None:
        data = text.data
        if end <= text.prefix:
            return
        notes = text.notes
        dropped = self._dropped(data, start, end)
        if dropped is not None:
            if notes is not None:
                notes.append(Note(start, end, self.order, dropped))
            return
        context = self._context is not None and self._in_context(text, start, end)
        if self._needs_context and not context:
            if notes is not None:
                notes.append(Note(start, end, self.order, Verdict.ALONE))
            return
        proved = None if self._validator is None else self._proved(text, data[start:end])
        if proved is False:
            if notes is not None:
                notes.append(Note(start, end, self.order, Verdict.REFUTED, 0.0, False, context))
            return
        confidence, rank = self._confidences[bool(proved), context]
        believed = confidence >= THRESHOLD
        if believed:
            found.append(Hit(max(start, text.prefix), end, confidence, rank, self.order))
        if notes is not None:
            verdict = Verdict.FOUND if believed else Verdict.DOUBTFUL
            notes.append(Note(max(start, text.prefix), end, self.order, verdict, confidence, proved, context))

    def _dropped(self, data: bytes, start: int, end: int) -> Verdict | None:
        """Why a match is nothing, whatever its value: it stands in a placeholder, or behind a word of ``unless``."""
        if start and data[start - 1] == _BRACKET and (ours := _OURS.match(data, start - 1)) and end < ours.end():
            return Verdict.REFUTED
        if self._unless is not None and self._unless.found(data[max(0, start - _DIRECTLY) : start]):
            return Verdict.PRECEDED
        return None

    def _in_context(self, text: Text, start: int, end: int) -> bool:
        """Whether a context word stands near a span, but not inside it, or in the label."""
        if self._named(text):
            return True
        low, high = max(0, start - _BEFORE), end + _AFTER
        if self._context is None or not text.near(self.words, low, high):
            return False
        return self._context.found(text.data[low:start] + b"\n" + text.data[end:high])

    def _named(self, text: Text) -> bool:
        """Whether the label says one of the context words."""
        if not text.prefix or self._context is None:
            return False
        if self.words not in text.named:
            said = text.near(self.words, 0, text.prefix) and self._context.found(text.data[: text.prefix])
            text.named[self.words] = said
        return text.named[self.words]

    def _proved(self, text: Text, value: bytes) -> bool | None:
        key = (self.order, value)
        try:
            return text.said[key]
        except KeyError:
            text.work.validated += 1
            verdict = self._validator(value.decode("utf-8", "replace")) if self._validator is not None else None
            text.said[key] = verdict
            return verdict


def _confidences(base: float) -> dict[tuple[bool, bool], tuple[float, Rank]]:
    """Confidence and rank by (proved, in context)."""
    unproved = Rank.MATCHED if base >= THRESHOLD else Rank.GUESSED
    proved = max(base, VALIDATED)

    def raised(confidence: float) -> float:
        return round(max(base, min(CERTAIN, confidence + CONTEXT_GAIN)), 2)

    return {
        (False, False): (base, unproved),
        (False, True): (raised(base), unproved),
        (True, False): (proved, Rank.VALIDATED),
        (True, True): (raised(proved), Rank.VALIDATED),
    }


def context_words(words: Sequence[str]) -> tuple[bytes, ...]:
    """What the automaton looks for instead of context words: it hits wherever ``word_pattern`` does, and more. Lower
    case where that is all, every spelling: between the pieces of a word a blank, ``_``, ``-`` or nothing.
    """
    return tuple(sorted({s for w in words for s in _spellings(w)}))


def _spellings(word: str) -> Iterator[bytes]:
    """Literals one of which stands wherever ``word`` does, in any case of ASCII letters."""
    plain = max(re.split(r"[^\x21-\x7e]+", word), key=len)
    if len(plain) >= SHORT and not word.isascii():  # the rest is for the pattern to see
        yield plain.lower().encode()
        return
    pieces = word.split(" ")
    for between in product((" ", "_", "-", ""), repeat=len(pieces) - 1):
        spelled = pieces[0] + "".join(b + p for b, p in zip(between, pieces[1:], strict=True))
        yield from {s.encode() for s in ((spelled.lower(),) if word.isascii() else _cases(spelled))}


def _cases(word: str) -> tuple[str, ...]:
    return word, word.lower(), word.upper(), word.title(), word[:1].upper() + word[1:].lower()


def word_pattern(words: Sequence[str]) -> Pattern | None:
    """Any of ``words`` as a word, also inside ``snake_case`` and ``camelCase``; plural too."""
    if not words:
        return None
    plain = "|".join(_spaced(w) for w in words)
    titled = "|".join(_spaced(w[:1].upper() + w[1:]) for w in words if w[:1].isascii() and w[:1].isalpha())
    inner = f"|[a-z](?:{titled})(?:[^a-z]|$)" if titled else ""
    return Pattern(rf"(?:^|[^A-Za-z])(?i:{plain})(?i:e?s)?(?:[^a-z]|$){inner}")


def _directly(words: Sequence[str]) -> Pattern | None:
    """Any of ``words`` at the end of a text, but for punctuation and blanks."""
    return Pattern(rf"(?i)(?:^|[^a-z])(?:{'|'.join(map(_spaced, words))})[\s\W]{{0,4}}$") if words else None


def _spaced(word: str) -> str:
    return "[ _-]?".join(re2.escape(piece) if piece.isascii() else piece for piece in word.split(" "))
