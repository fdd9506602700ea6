"""Verify: what an anchor's hits are worth. A Rule is a Detector made ready to look closely at small windows.

Owns: windows, the pattern's search, validators, context, confidence. Never does: looking where no anchor hit, or asking
the automaton. Invariant: windows of one rule never overlap, so that its work grows with the text, not with the hits.
All offsets here are bytes; the engine makes code points of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import re2

from llmguard.catalogue import compile_pattern
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
MAX_LABELLED = 256
"""Characters. Longer text is not one value, whatever it is labelled."""


@dataclass(slots=True)
class Work:
    """What verification cost: searches made, bytes that they went through, validators asked."""

    searches: int = 0
    examined: int = 0
    validated: int = 0


@dataclass(frozen=True, slots=True)
class Label:
    """The key that a part stood under: ``text`` as written, ``words`` apart (``dbPassword`` → ``db password``)."""

    text: bytes = b""
    words: bytes = b""


@dataclass(frozen=True, slots=True)
class Hit:
    """A span in bytes that a rule believes, and how much."""

    start: int
    end: int
    confidence: float
    rank: Rank


class Rule:
    """One detector, compiled. Holds no text."""

    __slots__ = (
        "_context",
        "_edge",
        "_groups",
        "_keywords",
        "_needs_context",
        "_pattern",
        "_unless",
        "_validator",
        "detector",
        "order",
    )

    def __init__(self, detector: Detector, order: int) -> None:
        self.detector = detector
        self.order = order
        self._pattern = compile_pattern(detector.pattern)
        self._groups = sorted(i for n, i in self._pattern.groupindex.items() if n.startswith(b"value")) or [0]
        self._validator: Validator | None = VALIDATORS[detector.validator] if detector.validator else None
        self._context = _words(detector.context)
        self._keywords = _words(detector.keywords)
        self._unless = _directly(detector.unless)
        self._needs_context = detector.needs_context
        self._edge = _EDGE if detector.reach[1] >= _OPEN else 1

    def hits(self, data: bytes, runs: Sequence[int], label: Label, work: Work) -> Iterator[Hit]:
        """The believed spans around ``runs`` (first end, last end, …) of this rule's anchor."""
        for low, high in self._windows(data, runs):
            if self._needs_context and not self._in_context(data, low, high, label, inside=True):
                continue  # one search instead of one a match: most windows end here
            yield from self._search(data, low, high, label, work)

    def labelled(self, data: bytes, label: Label, work: Work) -> Hit | None:
        """The whole of ``data``, if it stands under one of this rule's keywords and its validator does not object."""
        if self._keywords is None or not self._keywords.search(label.words):
            return None
        return self._judge(data, 0, len(data), label, work)

    def _windows(self, data: bytes, runs: Sequence[int]) -> Iterator[tuple[int, int]]:
        before, after = self.detector.reach
        low = high = -1
        for i in range(0, len(runs), 2):
            start, end = max(0, runs[i] - before), min(len(data), runs[i + 1] + after)
            if start <= high:
                high = max(high, end)
                continue
            if high >= 0:
                yield low, high
            low, high = start, end
        if high >= 0:
            yield low, high

    def _search(self, data: bytes, low: int, high: int, label: Label, work: Work) -> Iterator[Hit]:
        """Every match in a window. A match that comes near the window's end is read again in a wider one."""
        position, limit = low, min(len(data), high + _STRETCH)
        while position <= high:
            match = self._pattern.search(data, position, high)
            work.searches += 1
            work.examined += (match.end() if match else high) - position
            if match is None:
                return
            if match.end() + self._edge > high and high < limit:
                high = min(limit, high + max(256, high - match.start()))
                continue
            start, end = self._span(match)
            hit = self._judge(data, start, end, label, work) if start >= 0 else None
            if hit is not None:
                yield hit
            position = max(end, match.start() + 1)

    def _span(self, match: Any) -> tuple[int, int]:
        """The first value group that took part; (-1, end) if the pattern has some and none did."""
        for group in self._groups:
            if match.start(group) >= 0:
                return match.start(group), match.end(group)
        return -1, match.end()

    def _judge(self, data: bytes, start: int, end: int, label: Label, work: Work) -> Hit | None:
        if self._unless is not None and self._unless.search(data[max(0, start - _DIRECTLY) : start]):
            return None
        context = self._in_context(data, start, end, label)
        if self._needs_context and not context:
            return None
        proved = None
        if self._validator is not None:
            work.validated += 1
            proved = self._validator(data[start:end].decode("utf-8", "replace"))
            if proved is False:
                return None
        return self._believe(start, end, bool(proved), context)

    def _believe(self, start: int, end: int, proved: bool, context: bool) -> Hit | None:
        base = self.detector.confidence
        confidence = max(base, VALIDATED) if proved else base
        if context:
            confidence = max(base, min(CERTAIN, confidence + CONTEXT_GAIN))
        if confidence < THRESHOLD:
            return None
        rank = Rank.VALIDATED if proved else Rank.MATCHED if base >= THRESHOLD else Rank.GUESSED
        return Hit(start, end, round(confidence, 2), rank)

    def _in_context(self, data: bytes, start: int, end: int, label: Label, *, inside: bool = False) -> bool:
        """Whether a context word stands near a span (``inside`` it too), or in the label."""
        if self._context is None:
            return False
        low, high = max(0, start - _BEFORE), end + _AFTER
        near = data[low:high] if inside else data[low:start] + b"\n" + data[end:high]
        return bool(self._context.search(near) or (label.words and self._context.search(label.words)))


def _words(words: Sequence[str]) -> Any | None:
    """Any of ``words`` as a word, also inside ``snake_case`` and ``camelCase``; plural too."""
    if not words:
        return None
    plain = "|".join(_spaced(w) for w in words)
    titled = "|".join(_spaced(w[:1].upper() + w[1:]) for w in words if w[:1].isascii() and w[:1].isalpha())
    inner = f"|[a-z](?:{titled})(?:[^a-z]|$)" if titled else ""
    return compile_pattern(rf"(?:^|[^A-Za-z])(?i:{plain})(?i:e?s)?(?:[^a-z]|$){inner}")


def _directly(words: Sequence[str]) -> Any | None:
    """Any of ``words`` at the end of a text, but for punctuation and blanks."""
    return compile_pattern(rf"(?i)(?:^|[^a-z])(?:{'|'.join(map(_spaced, words))})[\s\W]{{0,4}}$") if words else None


def _spaced(word: str) -> str:
    escaped: str = re2.escape(word)
    return escaped.replace("\\ ", "[ _-]?")
