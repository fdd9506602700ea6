"""Draws: endless numbers from a key, and characters of the same kind as others.

The same seed draws the same. Nothing here is drawn from a clock or from the system.
"""

from __future__ import annotations

import hmac
import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeVar

T = TypeVar("T")
_LOWER, _UPPER, _DIGITS = "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789"
_CONSONANTS, _VOWELS = "bdfgklmnprstvz", "aeiou"
_BLOCK = 32
_WORD = re.compile(r"[^\W\d_]+")
_LOWERED = bytes(range(256)).lower()
_BETWEEN = bytes(c for c in range(128) if not chr(c).isalnum())


class Draw:
    """Numbers that follow from a seed of secret bytes, and tell nothing of it (HMAC-SHA256 in counter mode)."""

    __slots__ = ("_count", "_left", "_pool", "_seed")

    def __init__(self, seed: bytes) -> None:
        self._seed, self._count, self._pool, self._left = seed, 0, 0, 0

    def below(self, bound: int) -> int:
        """A number from 0 to ``bound`` - 1; 32 bits are drawn, so the bias is below ``bound`` in 2^32."""
        if not self._left:
            block = hmac.digest(self._seed, self._count.to_bytes(8, "big"), "sha256")
            self._pool, self._left, self._count = int.from_bytes(block, "big"), 8, self._count + 1
        word = self._pool & 0xFFFFFFFF
        self._pool >>= 32
        self._left -= 1
        return word % bound

    def pick(self, choices: Sequence[T]) -> T:
        return choices[self.below(len(choices))]

    def digits(self, count: int) -> str:
        return "".join([_DIGITS[self.below(10)] for _ in range(count)])

    def alike(self, char: str) -> str:
        """A letter for a letter of the same script and case, a digit for a digit, anything else as it is."""
        choices = _alike(char)
        return choices[self.below(len(choices))] if choices else char

    def shaped(self, value: str) -> str:
        """``value`` with other letters and digits of the same kinds in the same places."""
        return "".join([self.alike(c) for c in value])

    def word(self, word: str) -> str:
        """A word that can be spoken, as long as ``word`` and in its case; shaped if it is not of plain letters."""
        if not (word.isascii() and word.isalpha()):
            return self.shaped(word)
        start = self.below(2)
        letters = [self.pick(_VOWELS if (i + start) % 2 else _CONSONANTS) for i in range(len(word))]
        return "".join(c.upper() if was.isupper() else c for c, was in zip(letters, word, strict=True))


@lru_cache(maxsize=4096)
def _alike(char: str) -> str:
    """What ``char`` may become; "" if it stays: separators, and marks that belong to a letter before them."""
    if char.isascii():
        return _LOWER if char.islower() else _UPPER if char.isupper() else _DIGITS if char.isdigit() else ""
    start = ord(char) // _BLOCK * _BLOCK
    if char.isdecimal():
        zero = ord(char) - int(char)
        return "".join(map(chr, range(zero, zero + 10)))
    if not char.isalpha():
        return ""
    same = [c for c in map(chr, range(start, start + _BLOCK)) if c.isalpha() and c.islower() == char.islower()]
    return "".join(c for c in same if c.isupper() == char.isupper())


def says(value: str, known: frozenset[str]) -> bool:
    """Whether every word of ``value`` is ``known``. If not, it may be a value in disguise (base64, hexadecimal, digits
    spelled out), and none of its letters may stay.
    """
    return all(word.casefold() in known for word in _WORD.findall(value))


def overlaid(value: str, characters: str) -> str:
    """``value`` with its letters and digits, in order, replaced by ``characters``; separators stay.

    ``characters`` are as many as there are places.
    """
    rest = iter(characters)
    return "".join(next(rest) if c.isalnum() else c for c in value)


def bare(value: str) -> str:
    """The letters and digits of ``value``."""
    return "".join([c for c in value if c.isalnum()])


def folded(value: str) -> str:
    """What two values are compared by: letters and digits in one case, however they are composed (NFKC). All of it,
    where it has neither.
    """
    if value.isascii():
        return value.encode().translate(_LOWERED, _BETWEEN).decode() or value
    value = composed(value)
    return (bare(value) or value).casefold()


def composed(value: str) -> str:
    """``value`` in NFKC: one spelling of each letter."""
    return value if value.isascii() else unicodedata.normalize("NFKC", value)
