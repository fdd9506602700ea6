"""Together: many short texts looked through at once, as one buffer. What a call of the automaton costs is paid once.

Owns the databases for that and the way from a hit in the buffer back to its text. Never does: deciding what a hit is
worth. Invariant: each text gets every hit that the automaton finds in it alone. It may get hits besides, that reach
over the line feed between two texts; a rule looks at its own text only, so these show it nothing.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from itertools import accumulate
from typing import Any

import hyperscan

from llmguard.detection.automaton import Databases, Words, by_demand, compiled, note
from llmguard.detection.demands import ALPHABET, DIGITS, TOKEN, Demand

MOST = 16 * 1024
"""Bytes of the longest text that is looked through with others; a longer one is worth a call of its own."""
_SPANS = re.compile(rb"\\[AzZG]")
"""Beginning and end of a text, where a line's would not do."""
_NO_DIGITS = bytes(c for c in range(256) if c not in b"0123456789")
_TOKENS = bytes(ord("a") if c in ALPHABET else ord(" ") for c in range(256))
_LONG = b"a" * TOKEN
Runs = dict[int, list[int]]


def possible(anchors: Sequence[bytes]) -> bool:
    """Whether texts can be looked through together: not if an anchor asks for the beginning or end of all text."""
    return not any(_SPANS.search(anchor) for anchor in anchors)


class Together:
    """The databases of an automaton once more, for buffers of many texts. ``letters`` is the gate of text beyond ASCII,
    whose number is one past the last of the ``anchors``.
    """

    def __init__(self, anchors: Sequence[bytes], words: Words, word_databases: Databases, letters: bytes) -> None:
        self._databases = by_demand(anchors, lines=True)
        self._words, self._word_databases = words, word_databases
        self._letters = compiled((letters,), lines=True)
        self.letters = len(anchors)
        self._scratch: Any = None

    def scan(self, texts: Sequence[bytes]) -> list[Runs | None]:
        """For each text its runs, as the automaton tells them, or None if there are none.

        Each has at most ``MOST`` bytes and no NUL. Not for two threads at once.
        """
        found: list[Runs | None] = [None] * len(texts)
        every = range(len(texts))
        pile = _Pile(texts, every)
        hits = pile.hits(self._databases[Demand.NOTHING])
        hits += self._of_words(pile)
        _told(pile, hits, found)
        for demand, held in (
            (Demand.FIGURES, [i for i in every if len(texts[i].translate(None, _NO_DIGITS)) >= DIGITS]),
            (Demand.LENGTH, [i for i in every if _LONG in texts[i].translate(_TOKENS)]),
        ):
            if held:
                pile = _Pile(texts, held)
                _told(pile, pile.hits(self._databases[demand]), found)
        beyond = [i for i in every if not texts[i].isascii()]
        if beyond:
            pile = _Pile(texts, beyond)
            hits = pile.hits(self._databases[Demand.BEYOND]) + self._of_short_words(pile)
            hits += [(end, self.letters) for end, _ in pile.hits(self._letters)]
            _told(pile, hits, found)
        return found

    def _of_words(self, pile: _Pile) -> list[tuple[int, int]]:
        numbers = self._words.numbers
        literals = pile.hits(self._word_databases[0]) if self._words.literals else []
        return [(end, anchor) for end, word in literals for anchor in numbers[word]]

    def _of_short_words(self, pile: _Pile) -> list[tuple[int, int]]:
        words, data = self._words, pile.data
        if not words.short:
            return []
        ends = [end for end, _ in pile.hits(self._word_databases[1])]
        return [
            (end, anchor)
            for end in ends
            for length in words.lengths
            for anchor in words.short.get(data[end - length : end].lower(), ())
        ]


_SCRATCH: dict[int, Any] = {}


class _Pile:
    """Some texts in one buffer, a line feed before each. ``starts`` and ``which`` by text: where, and its number."""

    def __init__(self, texts: Sequence[bytes], which: Sequence[int]) -> None:
        self.which = which
        chosen = [texts[i] for i in which]
        self.data = b"\n" + b"\n".join(chosen) + b"\n"
        self.starts = [1, *accumulate([len(text) + 1 for text in chosen], initial=1)][1:]

    def hits(self, database: Any) -> list[tuple[int, int]]:
        """Ends and numbers of what hit."""
        found: list[tuple[int, int]] = []
        database.scan(self.data, match_event_handler=_note, context=found)
        return found


def _note(number: int, _start: int, end: int, _flags: int, found: list[tuple[int, int]]) -> None:
    found.append((end, number))


def _told(pile: _Pile, hits: list[tuple[int, int]], found: list[Runs | None]) -> None:
    """Adds the hits to the runs of the texts that they end in; one that ends behind a text's line feed is its own."""
    hits.sort()
    starts, which = pile.starts, pile.which
    at, low, high = -1, 0, 0
    runs: Runs = {}
    for end, number in hits:
        if end > high:
            while end > high:
                at += 1
                low = starts[at]
                high = starts[at + 1] if at + 1 < len(which) else len(pile.data)
            known = found[which[at]]
            runs = known if known is not None else {}
            found[which[at]] = runs
        note(number, 0, min(end, high - 1) - low, 0, runs)


def dense(anchors: Collection[bytes]) -> bool:
    return bool(anchors)
