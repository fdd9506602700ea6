"""Writes ``lexicon.txt.gz``: words that explain what looks like a name. Run by people, never by the guard.

``python -m llmguard.detection.names.build`` needs the packages of the ``dev`` extra. Sources: pyspellchecker (MIT),
words of seven languages with their frequencies; Faker (MIT), given and family names and countries of its locales. One
line a kind: ``kind word word …``, words case-folded and sorted. The same packages give the same file.
"""

from __future__ import annotations

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
OUTPUT = Path(__file__).with_name("lexicon.txt.gz")


def common() -> Iterator[str]:
    """Frequent words of the model's languages."""
    from spellchecker import SpellChecker

    for language in LANGUAGES:
        counts = SpellChecker(language=language).word_frequency
        least = PER_MILLION.get(language, RARE) * counts.total_words / 1e6
        yield from (word for word, count in counts.dictionary.items() if count >= least)


def people() -> Iterator[str]:
    """Given and family names of Faker's locales."""
    for provider in _providers("person"):
        for name in dir(provider):
            if not name.startswith("_") and ("first_name" in name or "last_name" in name):
                yield from _strings(getattr(provider, name))


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


_KINDS = {"common": common, "people": people, "countries": countries, "lands": lands}

if __name__ == "__main__":
    main()
