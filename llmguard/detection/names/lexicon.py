"""The lexicon: words that are common, words that are somebody's name, towns, countries, words of countries' names.

Read from ``lexicon.txt.gz``; ``build`` makes it and names its sources. Words are case-folded.
"""

from __future__ import annotations

import functools
import gzip
import importlib.resources
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, repr=False)
class Lexicon:
    """Five sets of case-folded words; a word may be in several (``rose``, ``jordan``)."""

    common: frozenset[str]
    people: frozenset[str]
    towns: frozenset[str]
    countries: frozenset[str]
    lands: frozenset[str]


@functools.cache
def lexicon() -> Lexicon:
    """The shipped one, read once a process (50 ms)."""
    packed = importlib.resources.files(__package__).joinpath("lexicon.txt.gz").read_bytes()
    lines = (line.split(" ") for line in gzip.decompress(packed).decode().splitlines())
    return Lexicon(**{kind: frozenset(words) for kind, *words in lines})
