"""Secrets: never realistic. Something of the same length that says that it is fake, and that no check accepts."""

from __future__ import annotations

import re

from llmguard.redaction.surrogates.draw import Draw

_FAKE = "fake-"
_WORD = re.compile(r"[^\s\"':,{}\[\]]+")
"""What a secret of several lines consists of."""
_LONG = 10
"""Characters of a word that could be a secret by itself."""
_LEAST = 6
"""Characters behind the prefix: what is shorter could be guessed, or be another's."""


def secret(value: str, draw: Draw) -> str:
    """``fake-``, then letters and digits for letters and digits of what stood behind; in each long word of a value
    that has several, whose lines and quotes stay.
    """

    def word(match: re.Match[str]) -> str:
        return _faked(match[0], draw) if len(match[0]) >= _LONG else draw.shaped(match[0])

    new = _WORD.sub(word, value)
    return new if _FAKE in new else _faked(value, draw)


def _faked(word: str, draw: Draw) -> str:
    rest = draw.shaped(word[len(_FAKE) :])
    return _FAKE + rest + draw.word("x" * (_LEAST - len(rest)))
