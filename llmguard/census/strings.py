"""Strings that look like canaries: long, drawn by a machine, and in no detector's list.

A model learns by heart what no rule of language explains and what comes back: Carlini et al., "The Secret Sharer:
Evaluating and Testing Unintended Memorization in Neural Networks" (USENIX Security 2019), plant random sequences as
canaries and read them out of models again. So a string counts here if it has ``LEAST`` to ``MOST`` letters, digits and
``-_+/=`` in a row, looks drawn and not written (``validators.shape``), and no finding covers any of it, since what was
found is replaced. It is canary-like if it repeats, or stands alone as a whole text; the others are strings that happen
to be in some text, and are only counted.

Invariant: no string is kept, only its keyed digest, its kind and its length; linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from llmguard.model import Finding
from llmguard.validators.shape import counted, entropy, machine_made

LEAST, MOST = 24, 512
"""Characters. Longer ones are encoded content, such as an image."""
MOST_A_TEXT = 200
"""Strings that are looked at in one text."""
KINDS = ("hex", "digits", "uuid", "mixed")
_LETTERS = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/=")
_CLASS = bytes(ord("a") if i in _LETTERS else ord(" ") for i in range(256))
_RUN = b"a" * LEAST
_STRING = re.compile(rf"(?<![A-Za-z0-9_+/=-])[A-Za-z0-9_+/=-]{{{LEAST},}}")
_HEX = re.compile(r"^(?:[0-9a-f]+|[0-9A-F]+)$")
_UUID = re.compile(r"^[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")
_ENTROPY = 2.6
"""Bits a character, below which a string repeats itself: rulers, filler."""


def any_in(data: bytes) -> bool:
    """Whether UTF-8 text can have such a string: a quick look before the exact one."""
    return _RUN in data.translate(_CLASS)


def strings(text: str, findings: Sequence[Finding]) -> Iterator[tuple[str, str, bool]]:
    """Drawn strings of one text that no finding touches: each with its kind, and whether it is the whole text."""
    for n, match in enumerate(_STRING.finditer(text)):
        if n >= MOST_A_TEXT:
            return
        start, end = match.span()
        if end - start > MOST or any(f.start < end and start < f.end for f in findings):
            continue
        value = match[0].strip("-_+/=")
        if len(value) >= LEAST and (kind := _kind(value)):
            yield value, kind, not text[:start].strip() and not text[end:].strip()


def _kind(value: str) -> str:
    if entropy(value) < _ENTROPY or counted(value):
        return ""
    if value.isdecimal():
        return "digits"
    if not any(map(str.isdigit, value)) or not machine_made(value):
        return ""
    return "uuid" if _UUID.match(value) else "hex" if _HEX.match(value) else "mixed"
