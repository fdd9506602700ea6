"""Shape: whether letters and digits stand as in words or as in what a machine drew.

Invariant: linear in the length of the value; depends on nothing but it.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise

_FOLLOWERS = """
abcdefgiklmnprstuvy bacdeilorsu cabcdefhiklorstu dabcdefilorsu eabcdefgilmnopqrstvwxy facefiloru gaehinorsu haeiortu
iabcdefglmnoprstvxz jaou kaeis ladeilostuy mabeilmopsu nacdefgiklnostuv oabcdfgiklmnoprstuvw paehiloprstuy qu
racdegiklmnorstuvy sacehilmopstuy tacefhilorstuy uabcdegilmnprst vaeio waehinors xcept yps zeaoi
"""
_USUAL = frozenset(word[0] + letter for word in _FOLLOWERS.split() for letter in word[1:])
"""Pairs of letters that make up 94 % of the words in source code and prose; 40 % of all pairs there are."""
_PIECE = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[A-Z]|[0-9]+")
_HEX = re.compile(r"^(?:[0-9a-f]+|[0-9A-F]+)$")
_MEAN_PIECE = 2.6
"""Characters. Words and the numbers behind them are longer on average, drawn characters change their kind sooner."""
_WORDLIKE, _USUAL_BY_CHANCE = 0.7, 0.4
"""Shares of usual pairs: of what is read as a word, and of drawn letters."""


def entropy(value: str) -> float:
    """Shannon entropy in bits a character. Shannon 1948, §6."""
    n = len(value)
    return -sum(c / n * math.log2(c / n) for c in Counter(value).values()) if n else 0.0


def machine_made(value: str) -> bool:
    """Whether a value, or a part of it, looks drawn, not written: case and digits change often, or its letters make no
    words. Short parts alone are names (``ECDH-ES+A128KW``, ``x86-64``); counting, alphabets and numbers are not drawn.
    """
    return _looks_drawn(value) and not _NUMBER.match(value) and not counted(value)


_SEPARATOR = re.compile(r"[-_.:+/=,|~]+")
_UUID = re.compile(r"^[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")
_NUMBER = re.compile(r"^(?:0[xX][0-9A-Fa-f]{1,16}|[-+]?\d[\d._]*(?:[eE][-+]?\d+)?)$")
_PART, _GROUPS = 8, 4
"""Characters of a part that counts; parts with digits of which a key printed in groups has as many."""


def _looks_drawn(value: str) -> bool:
    parts = _SEPARATOR.split(value)
    if len(parts) == 1:
        return _drawn(value)
    if _UUID.match(value) or sum(4 <= len(p) < _PART and not p.isalpha() for p in parts) >= _GROUPS:
        return True
    if any(_drawn(p) for p in parts if len(p) >= _PART and (not p.isalpha() or len(p) >= 2 * _PART)):
        return True
    return _jumbled(value)


_RANGE = re.compile(r"[A-Za-z]-[zZ]|0-9|0x")
_MEAN_JUMBLED = 2.2


def _jumbled(value: str) -> bool:
    """Whether separators stand in a drawn value by chance: short pieces all over, of both cases and of digits."""
    pieces = _PIECE.findall(value)
    mixed = value.lower() != value != value.upper() and any(map(str.isdigit, value))
    return mixed and len(value) <= _MEAN_JUMBLED * len(pieces) and not _RANGE.search(value)


def _drawn(value: str) -> bool:
    pieces = _PIECE.findall(value)
    letters = [p for p in pieces if not p[0].isdigit()]
    if _HEX.match(value) and len(value) >= 16:
        return bool(letters) and len(letters) < len(pieces)
    if len(pieces) - len(letters) >= 3 or (pieces and sum(map(len, pieces)) / len(pieces) < _MEAN_PIECE):
        return True
    usual, pairs = _usual(letters)
    return usual < _WORDLIKE * pairs


def worded(text: str) -> bool:
    """Whether the letters of ``text`` make words: four pairs at least, and more usual ones than chance explains."""
    usual, pairs = _usual(p for p in _PIECE.findall(text) if not p[0].isdigit())
    return pairs >= 4 and usual / pairs > max(_WORDLIKE, _USUAL_BY_CHANCE + 1 / math.sqrt(pairs))


def _usual(pieces: Iterable[str]) -> tuple[int, int]:
    """How many pairs of letters within the pieces are usual, and how many there are."""
    pairs = [a + b for p in pieces for a, b in pairwise(p.lower())]
    return sum(pair in _USUAL for pair in pairs), len(pairs)


def counted(value: str) -> bool:
    """Whether twelve characters in a row count up or down: ``123456789012``."""
    run, last = 1, 99
    for a, b in pairwise(value):
        step = 1 if (a, b) == ("9", "0") else ord(b) - ord(a)
        run = run + 1 if step == last and step in (-1, 1) else 2
        last = step
        if run >= 12:
            return True
    return False
