"""Spelled: values that are written letter by letter, or digit by digit in words.

Owns runs of single characters with blanks between them (``s k - l i v e``; two blanks part words), and runs of seven or
more English words for digits. Shorter runs are prose.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from llmguard.detection.disguises.view import Edit, View, edited

_ONE = "[A-Za-z0-9@._+/=:-]"
SPACED = b" [A-Za-z0-9@._-]" * 6 + b" "
SPACED_PLANT = b"a b c d e f g h i j k"
_WORDS = {
    "zero": "0", "one": "1", "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7",
    "eight": "8", "nine": "9", "oh": "0",
}  # fmt: skip
_WORD = "(?:" + "|".join(_WORDS) + ")"
WORDS = f"(?i:(?:{_WORD}[ ,.-]{{1,2}}){{6}}{_WORD})".encode()
WORDS_PLANT = b"one two three four five six seven"

_SPACED = re.compile(rf"(?<![^\s\"'`(<\[]){_ONE}(?:[ \t\n]{{1,4}}{_ONE}){{9,}}(?![^\s\"'`)>\],;!?])")
_SPOKEN = re.compile(rf"(?i)\b{_WORD}(?:[ ,.-]{{1,2}}{_WORD}){{6,}}\b")
_GAP = re.compile(r"[ \t\n]+")
_EACH = re.compile(rf"(?i){_WORD}|[ ,.-]+")


def spots(text: str, spaced: bool, spoken: bool) -> Iterator[tuple[int, int]]:
    """Where values may be spelled."""
    for pattern in (*(_SPACED,) * spaced, *(_SPOKEN,) * spoken):
        for match in pattern.finditer(text):
            yield match.span()


def unspaced(text: str, under: View | None) -> View | None:
    """The text with spaced-out values drawn together; None if it has none."""
    edits: list[Edit] = []
    for match in _SPACED.finditer(text):
        if sum(map(str.isalpha, match[0])) >= 2:  # digits alone are tables, and rules for numbers allow blanks
            edits += _drawn(match)
    return edited(text, edits, under)


def _drawn(match: re.Match[str]) -> list[Edit]:
    gaps = list(_GAP.finditer(match[0]))
    usual = min(len(gap[0]) for gap in gaps)
    base = match.start()
    return [Edit(base + g.start(), base + g.end(), "" if len(g[0]) == usual else " ") for g in gaps]


def unspoken(text: str, under: View | None) -> View | None:
    """The text with digits for their words; None if no number is spoken."""
    edits = [
        Edit(match.start() + m.start(), match.start() + m.end(), _WORDS.get(m[0].lower(), ""))
        for match in _SPOKEN.finditer(text)
        for m in _EACH.finditer(match[0])
    ]
    return edited(text, edits, under)
