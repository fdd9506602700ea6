"""Passages: a text as pieces of which each is scanned by itself.

Owns where a text is cut: at a blank line, else at the end of a line, never inside a line or inside an armoured block
(PEM). Invariant: the cuts depend on the text alone, from its start on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

LEAST = 8 * 1024
"""Bytes from which on a passage ends at the next blank line."""
MOST = 32 * 1024
"""Bytes from which on it ends at the next line end."""
ARMOUR = 64 * 1024
"""Bytes that an armoured block may have; what is longer is none."""

_BLANK = re.compile(rb"\n[ \t\r]*\n")
_BEGIN = re.compile(rb"-----BEGIN [A-Z0-9 ]{1,64}-----")
_END = re.compile(rb"-----END [A-Z0-9 ]{1,64}-----")


def ends(data: bytes | bytearray, *, final: bool) -> Iterator[int]:
    """Where the passages of a text end. Without ``final`` only the ends that more text cannot move."""
    start, size = 0, len(data)
    while start < size:
        end = _end(data, start)
        if end is None or (not final and size - end < ARMOUR):
            if final:
                yield size
            return
        yield end
        start = end


def cut(held: bytearray, size: int, *, final: bool) -> int:
    """Bytes of whole passages, about ``size``; 0 if the first one has not ended yet."""
    last = 0
    for end in ends(held, final=final):
        last = end
        if end >= size:
            break
    return last


def _end(data: bytes | bytearray, start: int) -> int | None:
    """Where the passage that begins at ``start`` ends; None if no line ends behind it."""
    blank = _BLANK.search(data, start + LEAST, start + MOST)
    while blank is not None:
        if not (armour := _armoured(data, start, blank.end())):
            return blank.end()
        blank = _BLANK.search(data, max(armour, blank.end()) - 1, start + MOST)
    at = start + MOST
    while True:
        line = data.find(b"\n", at - 1) + 1
        if not line:
            return None
        armour = _armoured(data, start, line)
        if not armour:
            return line
        at = armour


def _armoured(data: bytes | bytearray, start: int, at: int) -> int:
    """Where the armoured block ends that begins before ``at`` and ends behind it; 0 if there is none."""
    low = max(start, at - ARMOUR)
    begin = data.rfind(b"-----BEGIN ", low, at)
    if begin < 0 or not _BEGIN.match(data, begin) or _END.search(data, begin, at):
        return 0
    end = _END.search(data, at, begin + ARMOUR)
    return end.end() if end else 0
