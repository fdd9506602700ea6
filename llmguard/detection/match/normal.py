"""Normal forms: what two spellings of one record have in common.

Owns: where units (words and groups of digits) begin and end in a text, how a unit is folded, and which values are
records. Invariant: the same code folds records when a file is built and text when it is scanned, unit by unit, so that
offsets stay those of the text.

Folding: compatibility forms and case (NFKC and case folding), accents of Latin, Greek and Cyrillic letters, decimal
digits of any script. Between units anything that is no letter or digit counts as one blank; a possessive ``'s`` counts
for nothing. A letter of a script without blanks, and a syllable of Hangul, is a unit of its own.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

MAX_WORDS = 8
"""Words of a record; ``MAX_UNITS`` where letters are units."""
MAX_UNITS = 32
MAX_UNIT = 64
"""Characters of one unit, and of a whole code."""
LEAD = 3
"""Units without a digit that a code may begin with."""
MAX_GROUPS = 12
"""Units of a code, as it is written in a text."""
LONG_WORD = 5
"""Letters from which on a word makes a value with digits in it words rather than a code: ``Hauptstrasse 12``."""
SHORTEST = 4
"""Characters; a letter of a script without blanks says more, so three of them do."""
SHORTEST_NUMBER = 5

_INDIC = "".join(
    f"{chr(b)}-{chr(b + 3)}{chr(b + 0x3A)}-{chr(b + 0x3C)}{chr(b + 0x3E)}-{chr(b + 0x5F)}{chr(b + 0x62)}{chr(b + 0x63)}"
    for b in range(0x0900, 0x0E00, 0x80)
)
_MARKS = (
    "\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670"
    "\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f" + _INDIC
)
_UNSPACED = (
    "\u0e00-\u0e7f\u0e80-\u0eff\u0f40-\u0fbc\u1000-\u103f\u1050-\u108f\u1780-\u17d3\u3005-\u3007\u3021-\u3029"
    "\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff"
    "\uff66-\uff9f\U00020000-\U0003fffd"
)
"""Thai, Lao, Tibetan, Burmese, Khmer, Japanese, Han; and Hangul, where particles stand right behind a name."""
_JOINED = (
    _MARKS + "\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ece\u102b-\u103e\u17b4-\u17d3\u3099\u309a"
)
_POSSESSIVE = r"(?!(?<=[^\W\d_]['\u2019\u02bc\uff07])[sS](?![^\W_]))"
UNITS = re.compile(
    rf"{_POSSESSIVE}(?:[^\W_{_UNSPACED}]|[{_MARKS}])+"
    rf"|[{_UNSPACED}][{_JOINED}]*|[\u1100-\u115f][\u1160-\u11a7]+[\u11a8-\u11ff]*"
)
_LETTERS_WITHOUT_BLANKS = re.compile(rf"[{_UNSPACED}\u1100-\u11ff]")
_FOLDED = {i: None for i in range(0x0300, 0x0370)} | str.maketrans(
    {"ł": "l", "ø": "o", "đ": "d", "æ": "ae", "œ": "oe", "ı": "i", "ð": "d", "þ": "th"}
)
_DIGIT = re.compile(r"\d")


def folded(raw: str) -> str:
    """A unit of a text in its normal form."""
    if raw.isascii():
        return raw.lower()
    text = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", raw).casefold()).translate(_FOLDED)
    return text if text.isascii() else "".join(_plain(c) for c in text)


def _plain(character: str) -> str:
    return str(unicodedata.decimal(character)) if character.isdecimal() else character


def has_digit(unit: str) -> bool:
    return _DIGIT.search(unit) is not None


@dataclass(frozen=True, slots=True, repr=False)
class Form:
    """A record: what is hashed, and by which of its units it is found.

    Words are looked for around their ``anchor``, the unit of number ``index`` out of ``count``. A code is looked for
    around digits; ``index`` is how many units may stand before the first digit at most, ``count`` its length.
    """

    kind: Literal["words", "code"]
    key: str
    anchor: str
    index: int
    count: int


def form(value: str, common: Collection[str] = (), *, short: bool = False) -> Form | str:
    """The normal form of a record, or in words why it is none. ``short`` takes what is too short or too common."""
    raws = UNITS.findall(value)
    units = [folded(raw) for raw in raws]
    if not units:
        return "without a letter or digit"
    digits = [has_digit(u) for u in units]
    if any(digits) and not any(len(u) >= LONG_WORD for u, d in zip(units, digits, strict=True) if not d):
        return _code(units, digits.index(True), short)
    return _words(raws, units, digits, common, short)


def _code(units: list[str], lead: int, short: bool) -> Form | str:
    key = "".join(units)
    if len(key) > MAX_UNIT or lead > LEAD or len(units) > MAX_GROUPS:
        return f"longer than {MAX_UNIT} characters"
    if key.isdecimal() and len(key) < SHORTEST_NUMBER and not short:
        return f"numbers of fewer than {SHORTEST_NUMBER} digits"
    if len(key) < SHORTEST and not short:
        return f"shorter than {SHORTEST} characters"
    letters = _DIGIT.search(key)
    return Form("code", key, "", min(LEAD, letters.start() if letters else 0), len(key))


def _words(raws: list[str], units: list[str], digits: list[bool], common: Collection[str], short: bool) -> Form | str:
    dense = sum(_LETTERS_WITHOUT_BLANKS.match(r) is not None for r in raws)
    if len(units) - dense > MAX_WORDS or len(units) > MAX_UNITS or any(len(r) > MAX_UNIT for r in raws):
        return f"longer than {MAX_WORDS} words"
    if sum(map(len, units)) < SHORTEST and dense < SHORTEST - 1 and not short:
        return f"shorter than {SHORTEST} characters"
    if len(units) == 1 and units[0] in common and not short:
        return "a single common word"
    anchors = [i for i, digit in enumerate(digits[:MAX_WORDS]) if not digit]
    if not anchors:
        return f"longer than {MAX_WORDS} words"
    index = max(anchors, key=lambda i: (units[i] not in common, len(units[i]), -i))
    return Form("words", " ".join(units), units[index], index, len(units))
