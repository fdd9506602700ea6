"""Addresses: judged words and the grammar's forms become whole addresses.

Owns: thresholds, joining, growth over units, towns, zips and countries. Never does: inference, names. Offsets are code
points, half-open. Invariant: no bare town or country, no code of digits and capitals, is an address.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from llmguard.detection.names import confidence, grammar
from llmguard.detection.names.lexicon import Lexicon
from llmguard.detection.names.lines import Line, Look, base
from llmguard.detection.names.spans import Found, Word, identifier, without
from llmguard.detection.names.terms import FUNCTION_WORDS

ADDRESS, PLACE, WITNESS = 0.2, 0.3, 0.05
"""Least probabilities of a word of a street, of a town beside one, and of a word that bears out a form."""
SMALL = 0.8
"""The least mean probability of an address without a capital."""
FORMED = 0.85
"""What the form of a street counts among the probabilities of its words."""
_REACH = 9
_EDGE = 24
_FIRST = re.compile(r"([a-zà-ÿ]{1,20}) (?!corner |intersection |junction |dit )(?P<head>(?=[\dA-ZÀ-Þ]))?")
_LAST = re.compile(
    r"(?:, (?=[a-zà-ÿ]{1,20}\Z)| (?=(?:se|da|de|di|do|en|et|e|y|und|and|is|est|es|ist)\Z))([a-zà-ÿ]{1,20})\Z"
)
_STOPPED = re.compile(r"(?<=[^\W\d_]{4})\.\Z")
_LETTERS = re.compile(r"[^\W\d_]{3,}")
_VOWEL = re.compile(r"[aeiouyäöüåæøàáâãèéêëìíîïòóôõùúûýœαεηιουω]", re.I)


@dataclass(frozen=True, slots=True)
class Seed:
    """A word or form that may be part of an address. ``plain``: a form that needs no witness."""

    start: int
    end: int
    score: float
    street: bool
    form: bool = False
    plain: bool = False


def addresses(text: str, words: Sequence[Word], lines: Sequence[Line], lexicon: Lexicon) -> list[Found]:
    """The addresses of ``text``, in order."""
    seeds = [
        Seed(start, end, FORMED, True, form=True, plain=plain)
        for line in lines
        if line.look != Look.CODE
        for start, end, plain in grammar.streets(text, line.start, line.end)
    ]
    for word in words:
        street, place = word.scores[1], word.scores[2]
        least = max(ADDRESS, word.least)
        if (street >= least or place >= max(PLACE, word.least)) and not identifier(text, word):
            seeds.append(Seed(word.start, word.end, max(street, place), street >= least))
    witnesses = {
        word.start
        for word in words
        if max(word.scores[1], word.scores[2]) >= WITNESS and text[word.start : word.end].isalpha()
    }
    seeds.sort(key=lambda s: (s.start, s.end))
    found = [f for c in _clusters(text, seeds) if (f := _address(text, c, lexicon, witnesses)) is not None]
    zips = [Found(*m.span(1), "ADDRESS", confidence.FORM) for m in grammar.ZIP_CODE.finditer(text)]
    return found + without(zips, found)


def _clusters(text: str, seeds: Iterable[Seed]) -> Iterator[list[Seed]]:
    cluster: list[Seed] = []
    end = 0
    for seed in seeds:
        if cluster and not _joined(text[end : seed.start]):
            yield cluster
            cluster, end = [], 0
        cluster.append(seed)
        end = max(end, seed.end)
    if cluster:
        yield cluster


def _joined(between: str) -> bool:
    """At most nine separators and one short word, or the word of a unit, between two parts of an address."""
    if len(between) > _REACH + 9 or "\n\n" in between:
        return False
    between = grammar.STOREY.sub("", between)
    inner = re.findall(r"[^\W_]+", between)
    if len(inner) > 1 or len(between) - sum(map(len, inner)) > _REACH:
        return False
    if inner and not grammar.UNIT_WORD.match(inner[0]) and (len(inner[0]) > 3 or inner[0].lower() in _BREAKS):
        return False
    return not re.search(r"[!?;(){}#\"]|\. [A-Z](?!pt|te)", between)


_BREAKS = FUNCTION_WORDS - {"de", "la", "le", "les", "el", "los", "las", "im", "am", "die", "der", "das", "e", "y", "o"}


def _address(text: str, cluster: Sequence[Seed], lexicon: Lexicon, witnesses: set[int]) -> Found | None:
    """One address: it needs a number and a word of a street, or a zip beside its town."""
    start, end = cluster[0].start, max(seed.end for seed in cluster)
    surface = text[start:end]
    streets = [s for s in cluster if s.street]
    lettered = any(_wordy(text[s.start : s.end]) or s.form for s in streets) and bool(re.search(r"\b\d", surface))
    zipped = any(_zip_like(text[s.start : s.end]) for s in streets) and any(
        not s.street and _wordy(text[s.start : s.end]) for s in cluster
    )
    if not (lettered or zipped):
        return None
    left, right = _grown_left(text, start), _grown_right(text, end, lexicon)
    left, right = _trimmed(text, left, right, lexicon)
    borne = any(s.plain or not s.form for s in streets) or any(start <= w < end for w in witnesses)
    if not borne and _wordless(text[end:right]):
        return None
    mean = sum(s.score for s in cluster) / len(cluster)
    if mean < SMALL and not zipped and surface == surface.lower() and not any(s.form for s in streets):
        return None
    sure = confidence.FORM if all(s.form for s in cluster) else confidence.of_address(mean)
    return Found(left, right, "ADDRESS", sure)


def _trimmed(text: str, start: int, end: int, lexicon: Lexicon) -> tuple[int, int]:
    """Without what is no part of it at its edges: an article, a word of the sentence, the full stop."""
    while (edge := _FIRST.match(text, start, end)) and (
        edge[1] in FUNCTION_WORDS or (edge["head"] is not None and _loose(edge[1], lexicon))
    ):
        start = edge.end()
    while (edge := _LAST.search(text, max(start, end - _EDGE), end)) and _loose(edge[1], lexicon):
        end = edge.start()
    stopped = _STOPPED.search(text, start, end)
    return start, stopped.start() if stopped else end


def _loose(word: str, lexicon: Lexicon) -> bool:
    folded = word.casefold()
    return folded in FUNCTION_WORDS or (folded in lexicon.common and not grammar.STREET_WORD.match(word))


def _wordy(surface: str) -> bool:
    """Whether there is a word in it: letters with a vowel, which a code of capitals and digits does not have."""
    return any(
        _VOWEL.search(m.group()) or not m.group().isascii()
        for m in _LETTERS.finditer(surface)
        if not surface[max(0, m.start() - 1) : m.start()].isdigit()
    ) and not (surface.isupper() and any(map(str.isdigit, surface)))


def _zip_like(surface: str) -> bool:
    return surface.isdigit() and len(surface) >= 4


def _wordless(grown: str) -> bool:
    """Whether an address did not grow over a zip or a unit."""
    return not any(map(str.isdigit, grown))


def _grown_left(text: str, start: int) -> int:
    for _ in range(2):
        before = text[max(0, start - 24) : start]
        grown = grammar.LEFT.search(before)
        if grown is None or (grown.group()[-1:].isalpha() and not text[start].isdigit()):
            break
        start -= len(before) - grown.start()
    return start


def _grown_right(text: str, end: int, lexicon: Lexicon) -> int:
    """Over units, states and zips, over a town that is known or beside a zip, and over a country."""
    for _ in range(6):
        grown = _part(text, end, lexicon)
        if grown is None:
            grown = _country(text, end, lexicon)
        if grown is None:
            break
        end = grown
    return end


def _part(text: str, end: int, lexicon: Lexicon) -> int | None:
    """The end of the next part of an address, if one begins at ``end``."""
    if (grown := grammar.TOWN_AND_COUNTRY.match(text, end)) and _lands(grown["country"], lexicon):
        return grown.end()
    if grown := grammar.STATE.match(text, end):
        return grown.end()
    if text[max(0, end - 4) : end].isdigit() and (grown := grammar.DUTCH.match(text, end)):
        return grown.end()
    if (grown := grammar.BARE_TOWN.match(text, end)) and base(grown["town"]) in lexicon.towns:
        return grown.end()
    if (grown := grammar.ZIP_TOWN.match(text, end)) and (town := _town(grown["town"], lexicon)):
        return grown.start("town") + town if town < len(grown["town"]) else grown.end()
    grown = grammar.RIGHT.match(text, end) or grammar.TOWN.match(text, end)
    return grown.end() if grown else None


def _country(text: str, end: int, lexicon: Lexicon) -> int | None:
    """The end of the country behind ``end``, over words with a capital."""
    last = found = None
    for word in grammar.CAPITALS.finditer(text, end, min(len(text), end + 80)):
        if text[last or end : word.start()].strip(" \t\n,>("):
            break
        last = word.end()
        if word.group().casefold() in lexicon.lands:
            found = last
    return found


def _lands(name: str, lexicon: Lexicon) -> bool:
    return all(word.casefold() in lexicon.lands for word in name.split())


def _town(name: str, lexicon: Lexicon) -> int:
    """The length of what is a town at the start of ``name``: no ordinary English word begins it; 0 for none."""
    first = re.split(r"[ -]", name, maxsplit=1)[0].casefold()
    if first in lexicon.common and first not in lexicon.towns:
        return 0
    length = 0
    for part in re.finditer(r"[^ -]+", name):
        folded = part.group().casefold()
        if length and folded in lexicon.common and folded not in lexicon.towns and part.group()[0].isupper():
            break
        length = part.end()
    return length
