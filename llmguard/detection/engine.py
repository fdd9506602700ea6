"""The engine: parts of text in, findings out.

Owns: the order automaton → verification → resolution, and the way from bytes back to code points. Never does: decide
what happens to a finding, swallow an error, keep text. Invariant: findings of a part are sorted, never overlap, and lie
inside the part's text; whatever raises in here reaches the caller.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from llmguard.catalogue import anchor_of, fill, spans
from llmguard.detection import disguises
from llmguard.detection.automaton import Automaton
from llmguard.detection.resolve import Candidate, Rank, resolve
from llmguard.detection.verify import MAX_LABELLED, Hit, Rule, Text, Work, context_anchor
from llmguard.errors import UnscannableRequest
from llmguard.model import Detector, Finding, TextPart

_MAX_LABEL = 128
"""Characters of a key that count as a label; the key itself is a part of its own."""


class Engine:
    """Every detector at once. Safe for threads and after a fork; ``cache`` is a private folder for the automaton."""

    def __init__(self, detectors: Sequence[Detector], cache: Path | None = None) -> None:
        """Raises ConfigError if an anchor is refused."""
        self.detectors = tuple(detectors)
        anchors: dict[bytes, int] = {}
        self._rules = tuple(Rule(d, i, _words_of(d, anchors)) for i, d in enumerate(self.detectors))
        by_anchor: list[list[Rule]] = [[] for _ in anchors]
        for rule in self._rules:
            needy = rule.detector.needs_context  # without a word nothing of its kind is believed: look where they are
            at = rule.words if needy else anchors.setdefault(anchor_of(rule.detector), len(anchors))
            by_anchor += [[] for _ in range(at + 1 - len(by_anchor))]
            by_anchor[at].append(rule)
        self._tokens = anchors.setdefault(disguises.ANCHOR, len(anchors))
        self._by_anchor = tuple(map(tuple, by_anchor))
        self._with_keywords = tuple(r for r in self._rules if r.keywords)
        plants = [*_plants(self._by_anchor, self._rules), (self._tokens, disguises.PLANT)]
        self.automaton = Automaton(tuple(anchors), plants, cache, once=(disguises.ANCHOR,))

    def scan(self, parts: Sequence[TextPart], work: Work | None = None) -> tuple[tuple[Finding, ...], ...]:
        """Findings of each part, in the parts' order. ``work`` counts what verification cost.

        Raises: UnscannableRequest if a text cannot be encoded as UTF-8 (lone surrogates).
        """
        counted = Work() if work is None else work
        return tuple(self._undisguised(part, counted, disguises.DEPTH) for part in parts)

    def _undisguised(self, part: TextPart, work: Work, depth: int) -> tuple[Finding, ...]:
        """What a text says as it is written, and what it says once its encodings are undone."""
        found, data, tokens = self._scan(part, work)
        more = []
        for view in self._views(part.text, data, tokens, depth):
            for f in self._undisguised(replace(part, text=view.text), work, depth - 1):
                start, end = view.span(f.start, f.end)
                more.append(replace(f, start=start, end=end))
        if not more:
            return found
        plain = [Candidate(f, Rank.MATCHED) for f in found]
        return resolve([*plain, *(Candidate(f, Rank.GUESSED) for f in set(more) - set(found))])

    @staticmethod
    def _views(text: str, data: bytes, tokens: bool, depth: int) -> Iterator[disguises.View]:
        return disguises.views(text, data, tokens, inner=depth < disguises.DEPTH) if depth else iter(())

    def _scan(self, part: TextPart, work: Work) -> tuple[tuple[Finding, ...], bytes, bool]:
        try:
            data = part.text.encode()
        except UnicodeEncodeError:
            raise UnscannableRequest("a text holds a lone surrogate; send well-formed Unicode") from None
        label = _label(part.label) if part.label else b""
        runs = self.automaton.scan(label + data if label else data)
        tokens = runs.pop(self._tokens, None) is not None
        value = bool(label) and len(part.text) <= MAX_LABELLED and "\n" not in part.text
        if not runs and not value:
            return (), data, tokens
        text = Text(label + data, len(label), runs, work)
        found: list[Hit] = []
        for anchor, ends in runs.items():
            for rule in self._by_anchor[anchor]:
                rule.look(text, ends, found)
        if value:
            self._whole(part.label, text, found)
        return (self._findings(part.text, data, len(label), found) if found else ()), data, tokens

    def _whole(self, label: str, text: Text, found: list[Hit]) -> None:
        """Asks the rules that have a keyword which the label is."""
        words = _CAMEL.sub(" ", label[:_MAX_LABEL]).encode("utf-8", "replace")
        for rule in self._with_keywords:
            if rule.keywords is not None and rule.keywords.found(words):
                rule.whole(text, found)

    def _findings(self, text: str, data: bytes, shift: int, hits: Sequence[Hit]) -> tuple[Finding, ...]:
        """Hits of ``shift`` bytes further right become findings in code points; overlaps are resolved."""
        place = _code_points(text, data, {b - shift for hit in hits for b in hit[:2]})
        candidates = []
        for start, end, confidence, rank, order in hits:
            low, high = (start - shift, end - shift) if place is None else (place[start - shift], place[end - shift])
            d = self.detectors[order]
            finding = Finding(low, high, d.type, d.category, confidence, d.id, d.severity)
            candidates.append(Candidate(finding, rank, order))
        return resolve(candidates)


_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[_\-./]+")


def _label(text: str) -> bytes:
    """What is scanned before a text that stood under a key, so that its pattern and context words count."""
    return text[:_MAX_LABEL].replace("\n", " ").encode("utf-8", "replace") + b": "


def _words_of(detector: Detector, anchors: dict[bytes, int]) -> int:
    """The number of the anchor for a detector's context words, -1 if it has none."""
    return anchors.setdefault(context_anchor(detector.context), len(anchors)) if detector.context else -1


def _code_points(text: str, data: bytes, offsets: set[int]) -> dict[int, int] | None:
    """Byte offset → code point offset; None where both are the same. One pass, however many offsets."""
    if len(text) == len(data):
        return None
    place, count = {0: 0}, 0
    for low, high in pairwise([0, *sorted(offsets - {0})]):
        count += len(data[low:high].decode("utf-8", "ignore"))
        place[high] = count
    return place


def _plants(by_anchor: Sequence[Sequence[Rule]], rules: Sequence[Rule]) -> list[tuple[int, bytes]]:
    """For every anchor the examples of its rules or its words: the self-test of a cached automaton."""
    examples = [
        (i, spans(fill(example, seed=i))[0].encode())
        for i, rules in enumerate(by_anchor)
        for rule in rules
        for example in rule.detector.match
    ]
    return examples + [(r.words, word.encode()) for r in rules for word in r.detector.context]
