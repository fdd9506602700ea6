"""Spans: what names and addresses have in common: judged words, found spans, what code explains.

Never does: deciding what is a name (``people``) or an address (``addresses``). Offsets are code points, half-open.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from llmguard.detection.names.lexicon import Lexicon
from llmguard.detection.names.lines import Line, Look
from llmguard.detection.names.model import Scores, Span

COMMON = 0.97
"""The least probability of a common word, and of any word of prose between code."""
_CODE_SHARE, _CODE_LINES = 0.3, 5
_BEFORE_IDENTIFIER = frozenset("_$\\`@")
_QUOTES = frozenset("\"'")
_AFTER_IDENTIFIER = frozenset("_(=\\`")


_ELIDED = re.compile(r"(?:d|l|dell|dall)['’][A-ZÀ-Þ]")
SURNAME = re.compile(
    r".{2,}(?:sson|dóttir|dottir|ðason|ović|ević|escu|enko|chuk|ński|ńska|ska|wicz|czyk|shvili|oğlu|opoulos|idis|"
    r"[dtklr]akis|[bdgklmnrstvz]ova|[aeiy]eva|[bdgklmnrstvz]ov|[aeiy]ev|chev|nen)"
)
"""Endings that family names have in languages whose names no list holds whole."""


@dataclass(frozen=True, slots=True)
class Found:
    """A name or an address, before rules have their say."""

    start: int
    end: int
    type: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Word:
    """One word with its probabilities, and what its line asks of it: 0, or COMMON between code."""

    start: int
    end: int
    scores: Scores
    least: float


def words_of(lines: Sequence[Line], scores: dict[Span, Scores]) -> Iterator[Word]:
    """The words of all lines that are not code."""
    looks = [line.look for line in lines if line.words]
    code = looks.count(Look.CODE) + sum(line.literal for line in lines if line.look != Look.CODE)
    strict = COMMON if len(looks) >= _CODE_LINES and code >= _CODE_SHARE * len(looks) else 0.0
    for line in lines:
        if line.look != Look.CODE:
            for span in line.words:
                yield Word(*span, scores.get(span, (0.0, 0.0, 0.0)), strict)


def identifier(text: str, word: Word) -> bool:
    """Whether a word is part of an identifier: ``camelCase``, ``JWKs``, ``snake_case``, ``call(``, ``obj.attr``,
    ``"literal"`` in lower case, ``@mention``."""
    surface = text[word.start : word.end]
    before, after = text[max(0, word.start - 1) : word.start], text[word.end : word.end + 1]
    if before in _BEFORE_IDENTIFIER or after in _AFTER_IDENTIFIER:
        return True
    if before in _QUOTES and before == after and surface.islower():
        return True
    if before == "." and word.start >= 2 and text[word.start - 2].islower() and surface[0].islower():
        return True
    return _camel(surface)


def _camel(surface: str) -> bool:
    humps = sum(a.islower() and b.isupper() for a, b in pairwise(surface))
    if humps == 0:
        return len(surface) > 2 and surface[:2].isupper() and not surface.isupper() and "'" not in surface[:3]
    return humps > 1 or not surface.startswith(("Mc", "Mac", "De", "Di", "Da", "Du", "La", "Le", "Van", "Von", "Fitz"))


def titled(surface: str) -> bool:
    """Whether a word is written like a name: ``Alice``, ``d'Adda``."""
    return (surface[0].isupper() and not surface.isupper()) or _ELIDED.match(surface) is not None


def bare(surface: str) -> str:
    """Without the ending of a possessive."""
    return surface[:-2] if surface[-2:] in ("'s", "’s") else surface


def certain(surface: str, folded: str, lexicon: Lexicon) -> bool:
    """Whether a word in title case is a name and no ordinary word, town or country."""
    if not titled(surface) or folded in lexicon.common or folded in lexicon.towns or folded in lexicon.lands:
        return False
    if folded in lexicon.proper:
        return False
    return folded in lexicon.people or SURNAME.fullmatch(folded) is not None


def start_of(found: Found) -> int:
    return found.start


def without(found: Iterable[Found], taken: Sequence[Found]) -> list[Found]:
    """Those that overlap none of ``taken``, in order."""
    edges = sorted((t.start, t.end) for t in taken)
    kept, at = [], 0
    for f in sorted(found, key=start_of):
        while at < len(edges) and edges[at][1] <= f.start:
            at += 1
        if at == len(edges) or edges[at][0] >= f.end:
            kept.append(f)
    return kept
