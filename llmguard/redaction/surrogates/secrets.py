"""Secrets: never realistic. Something of the same length that says that it is fake, and that no check accepts."""

from __future__ import annotations

from llmguard.redaction.surrogates.draw import Draw

_FAKE = "fake-"
_LEAST = 6
"""Characters behind the prefix: what is shorter could be guessed, or be another's."""


def secret(value: str, draw: Draw) -> str:
    """``fake-`` and letters and digits for letters and digits of what stood behind; lines stay lines."""
    rest = draw.shaped(value[len(_FAKE) :])
    return _FAKE + rest + draw.word("x" * (_LEAST - len(rest)))
