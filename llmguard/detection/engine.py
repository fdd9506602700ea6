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
from llmguard.detection.together import Together, edged, fits, possible, weakened
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

_LABELS = 4096
"""Labels of which is remembered whose keywords they are."""
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
        self._letter = len(expressions)
        self._for_many = expressions, plants, cache, _words(anchors)
        self._many: Together | None = None
        self._keys: dict[str, tuple[Rule, ...]] = {}

    def scan(self, parts: Sequence[TextPart], work: Work | None = None) -> tuple[tuple[Finding, ...], ...]:
        """Findings of each part, in the parts' order. ``work`` counts what verification cost.

        Raises: UnscannableRequest if a text cannot be encoded as UTF-8 (lone surrogates).
        """
        counted = Work() if work is None else work
        return self.across(parts, tuple(self._undisguised(part, counted) for part in parts), counted)

    def each(self, parts: Sequence[TextPart]) -> list[tuple[Finding, ...]]:
        """Findings of each part by itself, as ``scan`` of that part alone tells them; many parts cost less so.

        Raises: UnscannableRequest if a text cannot be encoded as UTF-8 (lone surrogates).
        """
        work, together = Work(), self._together()
        if together is None:
            return [self._undisguised(part, work) for part in parts]
        pieces = [_piece(part) for part in parts]
        short = [i for i, piece in enumerate(pieces) if fits(piece)]
        hits = together.scan([pieces[i] for i in short])
        found: list[tuple[Finding, ...]] = [()] * len(parts)
        for i in {*range(len(parts))}.difference(short) if len(short) < len(parts) else ():
            found[i] = self._undisguised(parts[i], work)
        for number, i in enumerate(short):
            runs, part = hits.get(number), parts[i]
            if runs is not None:
                seen = self._seen(runs)
                own = self._looked(part, pieces[i], runs, work)
                found[i] = self._revealed(part, own, len(pieces[i]), seen, work) if seen else own
            elif part.label or self._matcher is not None:
                found[i] = self._looked(part, pieces[i], {}, work)
        return found

    def _together(self) -> Together | None:
        """Made when it is first asked for: a single call does without."""
        if self._many is None:
            expressions, plants, cache, words = self._for_many
            if not possible(expressions):
                return None
            gates = {number for number, _ in self._gates}
            letters = len(expressions)
            quick = [weakened(e) if i in gates else e for i, e in enumerate(expressions)]
            planted = (*plants, (letters, disguises.LETTERS_PLANT))
            doubtful = [i for i, e in enumerate(expressions) if i in gates or edged(e)] + [letters]
            again = [(*expressions, disguises.LETTERS)[i] for i in doubtful]
            self._many = Together(
                Automaton((*quick, disguises.LETTERS), planted, cache, words=words, lines=True),
                Automaton(
                    again,
                    [(doubtful.index(i), text) for i, text in planted if i in doubtful],
                    cache,
                    once=(*disguises.GATES, disguises.LETTERS),
                ),
                doubtful,
            )
        return self._many

    def _seen(self, runs: dict[int, list[int]]) -> int:
        """Takes the gates out of the runs; the bits of those that hit."""
        seen = 0 if runs.pop(self._letter, None) is None else 1
        for number, bit in self._gates:
            if number in runs:
                del runs[number]
                seen |= bit
        return seen

    def across(
        self, parts: Sequence[TextPart], own: tuple[tuple[Finding, ...], ...], work: Work | None = None
    ) -> tuple[tuple[Finding, ...], ...]:
        """What was found in each part by itself, and what is cut over neighbouring parts."""
        edges = disguises.seams(parts) if len(parts) > 1 else None
        if edges is None:
            return own
        return _across(edges, parts, self._undisguised(TextPart(edges.text, ""), Work() if work is None else work), own)

    def records(self, records: Sequence[Sequence[TextPart]]) -> list[tuple[tuple[Finding, ...], ...]]:
        """Findings of each record's parts, as ``scan`` of that record alone tells them; many records cost less so, and
        texts that come again are looked through once.

        Raises: UnscannableRequest if a text cannot be encoded as UTF-8 (lone surrogates).
        """
        numbers: dict[tuple[str, str], int] = {}
        wanted: list[TextPart] = []
        own: list[list[int]] = []
        for parts in records:
            mine = []
            for part in parts:
                key = (part.label, part.text)
                number = numbers.get(key)
                if number is None:
                    number = numbers[key] = len(wanted)
                    wanted.append(part)
                mine.append(number)
            own.append(mine)
        edges = [disguises.seams(parts) if len(parts) > 1 else None for parts in records]
        seams = [i for i, e in enumerate(edges) if e is not None]
        found = self.each([*wanted, *(TextPart(e.text, "") for e in edges if e is not None)])
        results = [tuple([found[number] for number in mine]) for mine in own]
        for i, crossing in zip(seams, found[len(wanted) :], strict=True):
            edge = edges[i]
            if crossing and edge is not None:
                results[i] = _across(edge, records[i], crossing, results[i])
        return results

    def _undisguised(
        self, part: TextPart, work: Work, depth: int = disguises.DEPTH, allowance: disguises.Allowance | None = None
    ) -> tuple[Finding, ...]:
        """What a text says as it is written, and what it says once its disguises are undone."""
        found, data, seen = self._scan(part, work)
        if not seen and depth == disguises.DEPTH:
            return found
        return self._revealed(part, found, len(data), seen, work, depth, allowance)

    def _revealed(
        self,
        part: TextPart,
        found: tuple[Finding, ...],
        size: int,
        seen: int,
        work: Work,
        depth: int = disguises.DEPTH,
        allowance: disguises.Allowance | None = None,
    ) -> tuple[Finding, ...]:
        """What was found in a part of ``size`` bytes, and what is once the disguises are undone whose gates were
        ``seen``."""
        left = disguises.Allowance.of(size) if allowance is None else allowance
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
        piece = label + data if label else data
        runs = self.automaton.scan(piece)
        seen = 1 if len(data) > len(part.text) and self._letters.scan(data) else 0
        seen |= self._seen(runs) if runs else 0
        return self._looked(part, piece, runs, work), data, seen

    def _looked(self, part: TextPart, piece: bytes, runs: dict[int, list[int]], work: Work) -> tuple[Finding, ...]:
        """What rules believe of a part, whose bytes stand behind its label in ``piece``, where ``runs`` say."""
        asked = self._asked(part.label) if part.label else ()
        if asked and (len(part.text) > MAX_LABELLED or "\n" in part.text):
            asked = ()
        matched = self._matcher.find(part.text) if self._matcher is not None else ()
        if not runs and not asked and not matched:
            return ()
        prefix = len(_label(part.label)) if part.label else 0
        text = Text(piece, prefix, runs, work)
        found = self._believed(text, asked)
        data = piece[prefix:] if prefix else piece
        return self._findings(part.text, data, prefix, found, matched) if found or matched else ()

    def _believed(self, text: Text, asked: Sequence[Rule]) -> list[Hit]:
        """What rules believe; to those that are ``asked``, the whole text may be a value."""
        found: list[Hit] = []
        for anchor, ends in text.runs.items():
            for rule in self._by_anchor[anchor]:
                rule.look(text, ends, found)
        for rule in asked:
            rule.whole(text, found)
        return found

    def _asked(self, label: str) -> tuple[Rule, ...]:
        """The rules that have a keyword which the label is. Labels come again."""
        known = self._keys.get(label)
        if known is None:
            words = _CAMEL.sub(" ", label[:_MAX_LABEL]).encode("utf-8", "replace")
            some = self._keywords is not None and self._keywords.found(words)
            known = tuple(r for r in self._with_keywords if some and r.keywords is not None and r.keywords.found(words))
            if len(self._keys) >= _LABELS:
                self._keys.clear()
            self._keys[label] = known
        return known

    def explain(self, text: str) -> list[Explanation]:
        """What every rule that looked at ``text`` as it is written thought of it, in the text's order.

        A rule whose anchor hit without its pattern is told once, where it hit last. Raises: UnscannableRequest.
        """
        part = TextPart(text, "text")
        findings, data, _ = self._scan(part, Work())
        runs = self.automaton.scan(data)
        self._seen(runs)
        notes: list[Note] = []
        looked = Text(data, 0, runs, Work(), notes=notes)
        self._believed(looked, ())
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


def _across(
    edges: disguises.Seams, parts: Sequence[TextPart], crossing: Sequence[Finding], own: tuple[tuple[Finding, ...], ...]
) -> tuple[tuple[Finding, ...], ...]:
    more: dict[int, list[Finding]] = {}
    for i, finding in edges.findings(parts, crossing, own):
        more.setdefault(i, []).append(finding)
    return tuple(_joined(found, more[i]) if i in more else found for i, found in enumerate(own))


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


def _piece(part: TextPart) -> bytes:
    """What is scanned of a part."""
    try:
        data = part.text.encode()
    except UnicodeEncodeError:
        raise UnscannableRequest("a text holds a lone surrogate; send well-formed Unicode") from None
    return _label(part.label) + data if part.label else data


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
