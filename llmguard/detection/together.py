"""Together: many short texts looked through at once, as lines of one buffer: what a scan costs is paid once.

Owns the way from a hit in the buffer back to its text. Never does: deciding what a hit is worth. Invariant: each text
gets every hit that the automaton finds in it alone, whatever stands beside it. Of anchors that ask for the beginning or
end of a text it may get more: those are looked for once more in it alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any

from llmguard.detection.automaton import Automaton, note
from llmguard.detection.demands import DIGITS, LONG, NO_DIGITS, TOKEN, TOKENS, Demand

MOST = 16 * 1024
"""Bytes of the longest text that is looked through with others. A longer one is worth a scan of its own."""
_SPANS = re.compile(rb"\\[AzZG]")
"""Beginning and end of a text, where a line's would not do."""
_EDGES = re.compile(rb"(?<!\[)(?<!\\)\^|(?<!\\)\$")
"""Beginning and end of a line."""
_BETWEEN = b"\n\0\n"
"""Hardly anything reaches over that."""
_TOKEN, _LONG = b"a" * TOKEN, b"a" * LONG

Hit = tuple[int, int, int]
"""Number of a text, end of the hit in it, number of the anchor."""
Runs = dict[int, list[int]]


def edged(anchor: bytes) -> bool:
    """Whether an anchor asks for the beginning or end of a text, and so finds more in a buffer of many."""
    return _EDGES.search(anchor) is not None


def weakened(gate: bytes) -> bytes:
    """What hits wherever the gate does, and is looked for faster."""
    return gate.replace(b"){24}", b"){6}")


def possible(anchors: Iterable[bytes]) -> bool:
    """Whether texts can be looked through together: not if an anchor asks for the beginning or end of all text."""
    return not any(_SPANS.search(anchor) for anchor in anchors)


def fits(text: bytes) -> bool:
    """Whether a text may be looked through with others."""
    return len(text) <= MOST and b"\0" not in text


_NO_DIGITS = bytes(c for c in NO_DIGITS if c)
_SHAPES = b"\0" + TOKENS[1:]


class Together:
    """Looks through many texts with an automaton of ``lines``. Safe for threads."""

    def __init__(self, automaton: Automaton, again: Automaton, numbers: Sequence[int]) -> None:
        """``again`` looks through one text for some of the anchors, which have these ``numbers``."""
        self._automaton, self._again, self._numbers = automaton, again, tuple(numbers)
        self._doubtful = frozenset(numbers)

    def scan(self, texts: Sequence[bytes]) -> dict[int, Runs]:
        """By number of the text what ``Automaton.scan`` tells of it, for those with hits. Each text ``fits``."""
        every = range(len(texts))
        whole = b"\0".join(texts)
        digits = whole.translate(None, _NO_DIGITS).split(b"\0")
        figures = [i for i, told in enumerate(digits) if len(told) >= DIGITS]
        tokens = [(i, told) for i, told in enumerate(whole.translate(_SHAPES).split(b"\0")) if _TOKEN in told]
        hits = self._hits(texts, every, Demand.NOTHING)
        hits += self._hits(texts, figures, Demand.FIGURES)
        hits += self._hits(texts, [i for i, _ in tokens], Demand.LENGTH)
        hits += self._hits(texts, [i for i, told in tokens if _LONG in told], Demand.LONG)
        hits += self._hits(texts, [i for i in every if not texts[i].isascii()], Demand.BEYOND)
        hits.sort()
        found: dict[int, Runs] = {}
        doubtful, again = self._doubtful, set()
        for number, end, anchor in hits:
            if anchor in doubtful:
                again.add(number)
                continue
            runs = found.get(number)
            if runs is None:
                runs = found[number] = {}
            note(anchor, 0, end, 0, runs)
        for number in again:
            more = {self._numbers[n]: run for n, run in self._again.scan(texts[number]).items()}
            if more:
                found[number] = {**found.get(number, {}), **more}
        return found

    def _hits(self, texts: Sequence[bytes], which: Sequence[int], demand: Demand) -> list[Hit]:
        """Hits of what demands that, in those of the texts."""
        if not which:
            return []
        chosen = [texts[i] for i in which]
        data = b"\n" + _BETWEEN.join(chosen) + b"\n"
        ends = self._ends(data, demand)
        ends.sort()
        starts = [*accumulate([len(text) + len(_BETWEEN) for text in chosen], initial=1)]
        hits: list[Hit] = []
        at, low, high = -1, 0, 0
        for end, anchor in ends:
            while end > high:
                at += 1
                low, high = starts[at], starts[at + 1] - 2
            if low < end < high:
                hits.append((which[at], end - low, anchor))
        return hits

    def _ends(self, data: bytes, demand: Demand) -> list[tuple[int, int]]:
        """Where something hit, and which anchor it is of."""
        automaton, scratch = self._automaton, self._automaton.scratch()
        words = automaton.words
        ends: list[tuple[int, int]] = []
        automaton.databases[demand].scan(data, match_event_handler=_note, context=ends, scratch=scratch[demand])
        if demand is Demand.NOTHING and words.literals:
            told: list[tuple[int, int]] = []
            automaton.databases[-2].scan(data, match_event_handler=_note, context=told, scratch=scratch[-2])
            ends += [(end, anchor) for end, word in told for anchor in words.numbers[word]]
        elif demand is Demand.BEYOND and words.short:
            said: list[tuple[int, int]] = []
            automaton.databases[-1].scan(data, match_event_handler=_note, context=said, scratch=scratch[-1])
            ends += [(end, anchor) for end, _ in said for anchor in words.ending(data, end)]
        return ends


def _note(number: int, _start: int, end: int, _flags: int, ends: list[tuple[int, int]]) -> Any:
    ends.append((end, number))
