"""Seen: which parts of what would leave a reviewer has looked at. Approve counts only when that is all of them.

A tick names a stretch of the whole and the digest that it belongs to, so a tick of other bytes, or of an older
revision, is worth nothing. It is the reviewer's own word: the API does not ask for it, and nobody else can give it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable

_TICK = re.compile(r"([0-9]{1,12})-([0-9]{1,12})/([0-9]{1,12})\.([0-9a-f]{16})", re.A)


def tick(digest: str, start: int, end: int, of: int) -> str:
    """What the box of the stretch from ``start`` to ``end`` of ``of`` holds: parts by number, or bytes."""
    told = f"{digest}:{start}-{end}/{of}"
    return f"{start}-{end}/{of}.{hashlib.sha256(told.encode()).hexdigest()[:16]}"


def _stretches(digest: str, ticks: Iterable[str]) -> list[tuple[int, int, int]]:
    """The genuine ones, in order: of how many, start, end."""
    found = []
    for one in ticks:
        if match := _TICK.fullmatch(one):
            start, end, of = int(match[1]), int(match[2]), int(match[3])
            if hmac.compare_digest(tick(digest, start, end, of), one) and start < end <= of:
                found.append((of, start, end))
    return sorted(found)


def reached(digest: str, ticks: Iterable[str], of: int) -> int:
    """How much of the whole was looked at from its beginning without a gap."""
    at = 0
    for whole, start, end in _stretches(digest, ticks):
        if whole == of and start <= at < end:
            at = end
    return at


def complete(digest: str, ticks: Iterable[str]) -> bool:
    """Whether they are all of it."""
    given = list(ticks)
    return any(reached(digest, given, of) == of for of in {of for of, _, _ in _stretches(digest, given)})
