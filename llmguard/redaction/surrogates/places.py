"""Postal addresses and coordinates: other numbers and names in the same layout; what says street stays."""

from __future__ import annotations

import re

from llmguard.redaction.surrogates.data import words
from llmguard.redaction.surrogates.draw import Draw, says
from llmguard.redaction.surrogates.scripts import MARKS, TOGETHER, script

_LETTERS = rf"(?:[^\W_][{MARKS}]*)+"
_TOKEN = re.compile(rf"{_LETTERS}(?:['’]{_LETTERS})*")
_WORDS = "n s e w o ne nw se sw lat latitude lon lng long longitude geo deg north south east west"
_BESIDE = frozenset(_WORDS.split())
"""Words of coordinates."""
_NUMBER = re.compile(r"(\d+)(\.\d+)?")
_PLUS_CODE = re.compile(r"[23456789CFGHJMPQRVWX]{4,8}\+[23456789CFGHJMPQRVWX]{2,3}")


def address(value: str, draw: Draw) -> str:
    """Numbers for numbers, names of places for words. States of the US become other ones."""
    known = words()

    def token(match: re.Match[str]) -> str:
        word, folded = match[0], match[0].casefold()
        if word in known.states:
            return draw.pick(known.states)
        if folded in known.kept:
            return word
        of = script(word)
        if of in TOGETHER or of == "kana" or (word[0].isdigit() and script(word[-1]) in TOGETHER):
            return _together(word, draw)
        if of != "latin" and of in known.names:
            return draw.pick(known.names[of].family)
        if not word.isalpha():
            return _number(word, draw)
        if not word.isascii() and not word[0].isupper():
            return draw.shaped(word)
        ending = next((e for e in known.endings if folded.endswith(e) and len(folded) > len(e) + 1), "")
        before = value[: match.start()].rstrip(" ")
        names = known.towns if before[-1:] in (",", "\n") and not ending else known.places
        new = draw.pick(names) + (word[-len(ending) :] if ending else "")
        return new.upper() if word.isupper() else new.lower() if word.islower() else new

    return _TOKEN.sub(token, value)


def _together(run: str, draw: Draw) -> str:
    """Where words are not parted by blanks: what says city, street or flat stays, others become what places are made
    of.
    """
    known = words()

    def other(char: str) -> str:
        pool = known.characters.get(script(char), "")
        return char if char in known.says else draw.pick(pool) if pool else draw.alike(char)

    return "".join(map(other, run))


def _number(token: str, draw: Draw) -> str:
    """A number does not begin with 0, unless it did."""
    new = draw.shaped(token)
    return str(1 + draw.below(9)) + new[1:] if new[0] == "0" and token[0] != "0" else new


def coordinates(value: str, draw: Draw) -> str:
    """Somewhere else, as exact as before: degrees below 60 north and 180 east."""
    if _PLUS_CODE.fullmatch(value):
        return "".join(c if c == "+" else draw.pick("23456789CFGHJMPQRVWX") for c in value)
    if not says(value, _BESIDE):
        return draw.shaped(value)
    if not any(c.isdigit() for c in value):
        return re.sub(r"[^\W\d_]+", lambda m: draw.word(m[0]), value)

    def number(match: re.Match[str]) -> str:
        least, count = {1: (1, 9), 2: (10, 50), 3: (100, 80)}.get(len(match[1]), (0, 0))
        whole = str(least + draw.below(count)) if count else draw.digits(len(match[1]))
        return whole + (f".{draw.digits(len(match[2]) - 1)}" if match[2] else "")

    return _NUMBER.sub(number, value)
