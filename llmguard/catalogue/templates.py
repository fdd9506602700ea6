"""Templates: the examples of a catalogue, written so that no look-alike of a live secret is ever committed.

Owns: ``{alnum:24}`` holes and ``«»`` marks. Never does: running an example. Invariant: one template and one seed give
one text.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

ALPHABETS: Mapping[str, str] = {
    "alnum": "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
    "alpha": "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
    "base32": "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567",
    "base64": "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    "digits": "0123456789",
    "hex": "0123456789abcdef",
    "lower": "abcdefghijklmnopqrstuvwxyz",
    "upper": "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "urlsafe": "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-",
}
_HOLE = re.compile(r"\{(" + "|".join(ALPHABETS) + r"):(\d{1,4})\}")


def fill(template: str, seed: int) -> str:
    """Replaces ``{alnum:24}`` and its kin by characters drawn from ``seed``; the same seed gives the same text."""
    holes = iter(range(1_000_000))

    def drawn(m: re.Match[str]) -> str:
        alphabet, length = ALPHABETS[m[1]], int(m[2])
        stream = hashlib.shake_128(f"{seed}/{next(holes)}".encode()).digest(length * 2)
        numbers = (int.from_bytes(stream[i : i + 2], "big") for i in range(0, length * 2, 2))
        return "".join(alphabet[n % len(alphabet)] for n in numbers)

    return _HOLE.sub(drawn, template)


def spans(example: str) -> tuple[str, tuple[tuple[int, int], ...]]:
    """An example without its ``«»``, and the spans (code points, half-open) that they marked."""
    text, marked, start = "", [], 0
    for piece in re.split("([«»])", example):
        if piece == "«":
            start = len(text)
        elif piece == "»":
            marked.append((start, len(text)))
        else:
            text += piece
    return text, tuple(marked)
