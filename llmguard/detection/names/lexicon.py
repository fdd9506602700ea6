"""The lexicon: words that are common, words that are somebody's name, towns, countries, brands, German nouns.

Read from ``lexicon.txt.gz``; ``build`` makes it and names its sources. Words are case-folded.
"""

from __future__ import annotations

import functools
import gzip
import importlib.resources
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, repr=False)
class Sorted:
    """Very many words as one text, sorted, between tabs: a tenth of a set's memory, for words seldom asked for."""

    text: str

    def __contains__(self, word: str) -> bool:
        low, high = 0, len(self.text)
        while low < high:
            start = self.text.rfind("\t", low, (low + high) // 2) + 1 or low
            end = self.text.find("\t", start, high)
            end = high if end < 0 else end
            if (found := self.text[start:end]) == word:
                return True
            low, high = (end + 1, high) if found < word else (low, start - 1)
        return False


@dataclass(frozen=True, slots=True, repr=False)
class Lexicon:
    """Sets of case-folded words; a word may be in several (``rose``, ``jordan``). ``proper``: English words that always
    have a capital; ``given``: which of ``people`` are given names; ``german``: words in no other set."""

    common: frozenset[str]
    people: frozenset[str]
    towns: frozenset[str]
    countries: frozenset[str]
    lands: frozenset[str]
    proper: frozenset[str]
    given: frozenset[str]
    brands: frozenset[str]
    german: Sorted


@functools.cache
def lexicon() -> Lexicon:
    """The shipped one, read once a process (100 ms)."""
    packed = importlib.resources.files(__package__).joinpath("lexicon.txt.gz").read_bytes()
    rows = dict(line.split("\t", 1) for line in gzip.decompress(packed).decode().splitlines())
    german = Sorted(rows.pop("german"))
    return Lexicon(**{kind: frozenset(words.split("\t")) for kind, words in rows.items()}, german=german)
