"""The engine: parts of text in, findings out.

Owns: the order automaton → verification → resolution, and the way from bytes back to code points. Never does: decide
what happens to a finding, swallow an error, keep text. Invariant: findings of a part are sorted, never overlap, and lie
inside the part's text; whatever raises in here reaches the caller.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from llmguard.catalogue import anchor_of, fill, spans
from llmguard.detection import disguises
from llmguard.detection.automaton import Automaton
from llmguard.detection.match import Matcher
from llmguard.detection.resolve import Candidate, Rank, resolve
from llmguard.detection.verify import (
    MAX_LABELLED,
    Hit,
    Note,
    Rule,
    Text,
    Verdict,
    Work,
    context_words,
    word_pattern,
)
from llmguard.errors import UnscannableRequest
from llmguard.model import Detector, Finding, TextPart

_MAX_LABEL = 128
"""Characters of a key that count as a label; the key itself is a part of its own."""


class Engine:
    """Every detector at once. Safe for threads and after a fork; ``cache`` is a private folder for the automaton."""

    def __init__(
        self, detectors: Sequence[Detector], cache: Path | None = None, matcher: Matcher | None = None
    ) -> None:
        """``matcher`` looks for the company's own records. Raises ConfigError if an anchor is refused."""
        self._matcher = matcher
        self._ruled = len(detectors)
        self.detectors = (*detectors, *(matcher.detectors if matcher is not None else ()))
        anchors: dict[Anchor, int] = {}
        self._rules = tuple(Rule(d, i, _words_of(d, anchors)) for i, d in enumerate(detectors))
        by_anchor: list[list[Rule]] = [[] for _ in anchors]
        for rule in self._rules:
            needy = rule.detector.needs_context  # without a word nothing of its kind is believed: look where they are
            at = rule.words if needy else anchors.setdefault(anchor_of(rule.detector), len(anchors))
            by_anchor += [[] for _ in range(at + 1 - len(by_anchor))]
            by_anchor[at].append(rule)
        self._gates = tuple((anchors.setdefault(a, len(anchors)), 2 << i) for i, a in enumerate(disguises.GATES))
        self._by_anchor = tuple(map(tuple, by_anchor))
        self._with_keywords = tuple(r for r in self._rules if r.keywords)
        self._keywords = word_pattern(sorted({w for d in self.detectors for w in d.keywords}))
        gates = ((number, plant) for (number, _), plant in zip(self._gates, disguises.PLANTS, strict=True))
        plants = [*_plants(self._by_anchor, self._rules), *gates]
        self._letters = Automaton(
            (disguises.LETTERS,), ((0, disguises.LETTERS_PLANT),), cache, once=(disguises.LETTERS,)
        )
        expressions = tuple(a if isinstance(a, bytes) else b"" for a in anchors)
        self.automaton = Automaton(expressions, plants, cache, once=disguises.GATES, words=_words(anchors))

    def scan(self, parts: Sequence[TextPart], work: Work | None = None) -> tuple[tuple[Finding, ...], ...]:
        """Findings of each part, in the parts' order. ``work`` counts what verification cost.

        Raises: UnscannableRequest if a text cannot be encoded as UTF-8 (lone surrogates).
        """
        counted = Work() if work is None else work
        return self.across(parts, tuple(self._undisguised(part, counted) for part in parts), counted)

    def across(
        self, parts: Sequence[TextPart], own: tuple[tuple[Finding, ...], ...], work: Work | None = None
    ) -> tuple[tuple[Finding, ...], ...]:
        """What was found in each part by itself, and what is cut over neighbouring parts."""
        edges = disguises.seams(parts) if len(parts) > 1 else None
        if edges is None:
            return own
        crossing = self._undisguised(TextPart(edges.text, ""), Work() if work is None else work)
        more: dict[int, list[Finding]] = {}
        for i, finding in edges.findings(parts, crossing, own):
            more.setdefault(i, []).append(finding)
        return tuple(_joined(found, more[i]) if i in more else found for i, found in enumerate(own))

    def _undisguised(
        self, part: TextPart, work: Work, depth: int = disguises.DEPTH, allowance: disguises.Allowance | None = None
    ) -> tuple[Finding, ...]:
        """What a text says as it is written, and what it says once its disguises are undone."""
        found, data, seen = self._scan(part, work)
        if not seen and depth == disguises.DEPTH:
            return found
        left = disguises.Allowance.of(len(data)) if allowance is None else allowance
        more: list[Finding] = []
        for view in disguises.views(part.text, seen, left, depth):
            if isinstance(view, disguises.Beyond):
                more.append(disguises.evasion(view.start, view.end))
                continue
            for f in self._undisguised(replace(part, text=view.text), work, depth - 1, left):
                start, end = view.span(f.start, f.end)
                more.append(replace(f, start=start, end=end))
        return _joined(found, more)

    def _scan(self, part: TextPart, work: Work) -> tuple[tuple[Finding, ...], bytes, int]:
        try:
            data = part.text.encode()
        except UnicodeEncodeError:
            raise UnscannableRequest("a text holds a lone surrogate; send well-formed Unicode") from None
        label = _label(part.label) if part.label else b""
        runs = self.automaton.scan(label + data if label else data)
        seen = 1 if len(data) > len(part.text) and self._letters.scan(data) else 0
        for number, bit in self._gates if runs else ():
            if number in runs:
                del runs[number]
                seen |= bit
        value = bool(label) and len(part.text) <= MAX_LABELLED and "\n" not in part.text
        matched = self._matcher.find(part.text) if self._matcher is not None else ()
        if not runs and not value and not matched:
            return (), data, seen
        text = Text(label + data, len(label), runs, work)
        found = self._believed(text, part.label if value else "")
        findings = self._findings(part.text, data, len(label), found, matched) if found or matched else ()
        return findings, data, seen

    def _believed(self, text: Text, label: str) -> list[Hit]:
        """What rules believe; under a ``label``, the whole text may be a value."""
        found: list[Hit] = []
        for anchor, ends in text.runs.items():
            for rule in self._by_anchor[anchor]:
                rule.look(text, ends, found)
        if label:
            self._whole(label, text, found)
        return found

    def _whole(self, label: str, text: Text, found: list[Hit]) -> None:
        """Asks the rules that have a keyword which the label is."""
        words = _CAMEL.sub(" ", label[:_MAX_LABEL]).encode("utf-8", "replace")
        if self._keywords is None or not self._keywords.found(words):
            return
        for rule in self._with_keywords:
            if rule.keywords is not None and rule.keywords.found(words):
                rule.whole(text, found)

    def explain(self, text: str) -> list[Explanation]:
        """What every rule that looked at ``text`` as it is written thought of it, in the text's order.

        A rule whose anchor hit without its pattern is told once, where it hit last. Raises: UnscannableRequest.
        """
        part = TextPart(text, "text")
        findings, data, _ = self._scan(part, Work())
        runs = self.automaton.scan(data)
        for number, _ in self._gates:
            runs.pop(number, None)
        notes: list[Note] = []
        looked = Text(data, 0, runs, Work(), notes=notes)
        self._believed(looked, "")
        judged = {n.rule for n in notes}
        for anchor, ends in runs.items():
            rules = (r for r in self._by_anchor[anchor] if r.order not in judged)
            notes += [Note(ends[-1], ends[-1], r.order, Verdict.SHAPE) for r in rules if not r.detector.needs_context]
        place = _code_points(data, {b for n in notes for b in n[:2]})
        return sorted(
            (_explained(n, place[n.start], place[n.end], self.detectors[n.rule], findings) for n in notes),
            key=lambda e: (e.start, e.end, e.detector),
        )

    def _findings(
        self, text: str, data: bytes, shift: int, hits: Sequence[Hit], matched: Sequence[tuple[Finding, int]] = ()
    ) -> tuple[Finding, ...]:
        """Hits of ``shift`` bytes further right become findings in code points; overlaps are resolved, also with those
        of the matcher."""
        place = None
        if len(text) != len(data):
            place = _code_points(data, {b - shift for hit in hits for b in hit[:2]})
        candidates = [Candidate(f, Rank.VALIDATED, self._ruled + number) for f, number in matched]
        for start, end, confidence, rank, order in hits:
            low, high = (start - shift, end - shift) if place is None else (place[start - shift], place[end - shift])
            d = self.detectors[order]
            finding = Finding(low, high, d.type, d.category, confidence, d.id, d.severity)
            candidates.append(Candidate(finding, rank, order))
        return resolve(candidates) if len(candidates) > 1 else (candidates[0].finding,)


@dataclass(frozen=True, slots=True)
class Explanation:
    """What one detector thought of a span (code points). ``covered_by`` names the detector whose finding stands there
    instead, where this one was believed and lost.
    """

    start: int
    end: int
    detector: str
    verdict: Verdict
    confidence: float
    validator: str | None
    proved: bool | None
    context: bool
    covered_by: str = ""

    @property
    def why(self) -> str:
        """In words: what was decided, and what it was decided from."""
        if self.covered_by:
            return f"found, but {self.covered_by} stands there"
        proof = {True: "proves it", False: "refuses it", None: "cannot say"}[self.proved]
        pieces = [str(self.verdict)]
        if self.verdict is Verdict.FOUND:
            pieces.append(f"confidence {self.confidence:.2f}")
            pieces += [f"validator {self.validator} {proof}"] if self.validator else []
            pieces += ["a context word is near"] if self.context else []
        elif self.proved is False:
            pieces.append(f"validator {self.validator}")
        return ", ".join(pieces)


def _explained(note: Note, start: int, end: int, detector: Detector, findings: Sequence[Finding]) -> Explanation:
    winner = next((f.detector for f in findings if f.start < end and start < f.end), "")
    lost = note.verdict is Verdict.FOUND and winner != detector.id
    return Explanation(
        start,
        end,
        detector.id,
        note.verdict,
        note.confidence,
        detector.validator,
        note.proved,
        note.context,
        winner if lost else "",
    )


def _joined(found: tuple[Finding, ...], more: Sequence[Finding]) -> tuple[Finding, ...]:
    """What was found, and what was found beneath it: that is a guess where both overlap."""
    if not more:
        return found
    plain = [Candidate(f, Rank.MATCHED) for f in found]
    return resolve([*plain, *(Candidate(f, Rank.GUESSED) for f in set(more) - set(found))])


_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[_\-./]+")


def _label(text: str) -> bytes:
    """What is scanned before a text that stood under a key, so that its pattern and context words count."""
    return text[:_MAX_LABEL].replace("\n", " ").encode("utf-8", "replace") + b": "


Anchor = bytes | tuple[bytes, ...]
"""An expression of the automaton, or context words."""


def _words(anchors: Mapping[Anchor, int]) -> dict[bytes, tuple[int, ...]]:
    """Each context word with the anchors that it belongs to."""
    words: dict[bytes, tuple[int, ...]] = {}
    for anchor, number in anchors.items():
        for word in () if isinstance(anchor, bytes) else anchor:
            words[word] = (*words.get(word, ()), number)
    return words


def _words_of(detector: Detector, anchors: dict[Anchor, int]) -> int:
    """The number of the anchor for a detector's context words, -1 if it has none."""
    return anchors.setdefault(context_words(detector.context), len(anchors)) if detector.context else -1


def _code_points(data: bytes, offsets: set[int]) -> dict[int, int]:
    """Byte offset → code point offset. One pass, however many offsets."""
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
