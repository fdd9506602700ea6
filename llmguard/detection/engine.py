"""The engine: parts of text in, findings out.

Owns: the order automaton → verification → resolution, and the way from bytes back to code points. Never does: decide
what happens to a finding, swallow an error, keep text. Invariant: findings of a part are sorted, never overlap, and lie
inside the part's text; whatever raises in here reaches the caller.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

from llmguard.catalogue import anchor_of, fill, spans
from llmguard.detection.automaton import Automaton
from llmguard.detection.resolve import Candidate, resolve
from llmguard.detection.verify import MAX_LABELLED, Hit, Label, Rule, Work
from llmguard.errors import UnscannableRequest
from llmguard.model import Detector, Finding, TextPart

Believed = tuple[Rule, Hit]
_NO_LABEL = Label()
_MAX_LABEL = 128
"""Characters of a key that count as a label; the key itself is a part of its own."""


class Engine:
    """Every detector at once. Safe for threads and after a fork; ``cache`` is a private folder for the automaton."""

    def __init__(self, detectors: Sequence[Detector], cache: Path | None = None) -> None:
        """Raises ConfigError if an anchor is refused."""
        self.detectors = tuple(detectors)
        self._rules = tuple(Rule(d, i) for i, d in enumerate(self.detectors))
        anchors: dict[bytes, list[Rule]] = {}
        for rule in self._rules:
            anchors.setdefault(anchor_of(rule.detector), []).append(rule)
        self._by_anchor = tuple(tuple(rules) for rules in anchors.values())
        self._with_keywords = tuple(r for r in self._rules if r.detector.keywords)
        self.automaton = Automaton(tuple(anchors), _plants(self._by_anchor), cache)

    def scan(self, parts: Sequence[TextPart], work: Work | None = None) -> tuple[tuple[Finding, ...], ...]:
        """Findings of each part, in the parts' order. ``work`` counts what verification cost.

        Raises: UnscannableRequest if a text cannot be encoded as UTF-8 (lone surrogates).
        """
        counted = Work() if work is None else work
        return tuple(self._scan(part, counted) for part in parts)

    def _scan(self, part: TextPart, work: Work) -> tuple[Finding, ...]:
        try:
            data = part.text.encode()
        except UnicodeEncodeError:
            raise UnscannableRequest("a text holds a lone surrogate; send well-formed Unicode") from None
        believed = self._labelled(part, data, work) if part.label else self._unlabelled(data, _NO_LABEL, work)
        return _findings(part.text, data, believed) if believed else ()

    def _unlabelled(self, data: bytes, label: Label, work: Work) -> list[Believed]:
        runs = self.automaton.scan(data)
        if not runs:
            return []
        return [
            (rule, hit)
            for anchor, ends in runs.items()
            for rule in self._by_anchor[anchor]
            for hit in rule.hits(data, ends, label, work)
        ]

    def _labelled(self, part: TextPart, data: bytes, work: Work) -> list[Believed]:
        """Scans ``label: text``, shifts back, and asks the rules whose keyword the label is for the whole text."""
        label = _label(part.label)
        prefix = label.text + b": "
        believed = [
            (rule, moved)
            for rule, hit in self._unlabelled(prefix + data, label, work)
            if (moved := _shifted(hit, len(prefix))) is not None
        ]
        if len(part.text) <= MAX_LABELLED and "\n" not in part.text:
            believed += [(r, h) for r in self._with_keywords if (h := r.labelled(data, label, work)) is not None]
        return believed


_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[_\-./]+")


def _label(text: str) -> Label:
    cut = text[:_MAX_LABEL].replace("\n", " ").encode("utf-8", "replace").decode()
    return Label(cut.encode(), _CAMEL.sub(" ", cut).encode())


def _shifted(hit: Hit, by: int) -> Hit | None:
    """The hit in a text that starts ``by`` bytes later; None if nothing of it is left there."""
    if hit.end <= by:
        return None
    return Hit(max(0, hit.start - by), hit.end - by, hit.confidence, hit.rank)


def _findings(text: str, data: bytes, believed: Iterable[Believed]) -> tuple[Finding, ...]:
    pairs = list(believed)
    place = _code_points(text, data, {b for _, hit in pairs for b in (hit.start, hit.end)})
    return resolve(
        Candidate(_finding(rule.detector, hit, place), hit.rank, rule.order)
        for rule, hit in pairs
        if hit.end > hit.start
    )


def _finding(detector: Detector, hit: Hit, place: dict[int, int] | None) -> Finding:
    start, end = (hit.start, hit.end) if place is None else (place[hit.start], place[hit.end])
    return Finding(start, end, detector.type, detector.category, hit.confidence, detector.id, detector.severity)


def _code_points(text: str, data: bytes, offsets: set[int]) -> dict[int, int] | None:
    """Byte offset → code point offset; None where both are the same. One pass, however many offsets."""
    if len(text) == len(data):
        return None
    place, count = {0: 0}, 0
    for low, high in pairwise([0, *sorted(offsets - {0})]):
        count += len(data[low:high].decode("utf-8", "ignore"))
        place[high] = count
    return place


def _plants(by_anchor: Sequence[Sequence[Rule]]) -> list[tuple[int, bytes]]:
    """For every anchor the examples of its rules: the self-test of a cached automaton."""
    return [
        (i, spans(fill(example, seed=i))[0].encode())
        for i, rules in enumerate(by_anchor)
        for rule in rules
        for example in rule.detector.match
    ]
