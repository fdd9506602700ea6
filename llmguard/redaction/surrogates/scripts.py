"""Scripts: what letters are of, and where words of them end."""

from __future__ import annotations

import unicodedata

_SCRIPTS = {
    "LATIN": "latin",
    "CYRILLIC": "cyrillic",
    "GREEK": "greek",
    "ARABIC": "arabic",
    "HEBREW": "hebrew",
    "DEVANAGARI": "devanagari",
    "HIRAGANA": "kana",
    "KATAKANA": "kana",
    "CJK": "han",
    "HANGUL": "hangul",
}
TOGETHER = frozenset({"han", "hangul"})
"""Scripts whose names are written without blanks."""
MARKS = "".join(c for c in map(chr, range(0x300, 0x1100)) if unicodedata.category(c) in ("Mn", "Mc"))
"""Accents and vowels that belong to the letter before them, which ``re`` takes for the end of a word."""


def script(word: str) -> str:
    """The script of a word by its first letter; "" if it is none that we draw from."""
    return _SCRIPTS.get(unicodedata.name(word[0], "").partition(" ")[0], "") if word else ""
