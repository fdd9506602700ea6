"""How a delivery can fail."""

from __future__ import annotations

import re
from collections.abc import Mapping

LONGEST_PAUSE = 3600


class Undelivered(Exception):
    """``code`` is a word of ours for the log; ``permanent``: trying again is of no use; ``after``: seconds to wait."""

    def __init__(self, code: str, *, permanent: bool = False, after: int | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.permanent = permanent
        self.after = after


_PASSING = frozenset({401, 403, 404, 408, 409, 425, 429})
"""Statuses below 500 that an operator, or time, can change."""


def ensure(status: int, headers: Mapping[str, str]) -> None:
    """Raises Undelivered for everything but success. Redirects are not followed."""
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        raise Undelivered("redirected", permanent=True)
    permanent = status < 500 and status not in _PASSING
    raise Undelivered(f"status_{status}", permanent=permanent, after=pause(headers.get("Retry-After", "")))


def pause(text: str) -> int | None:
    """``Retry-After`` in seconds (RFC 9110 §10.2.3), an hour at most; a date or nonsense is not heeded."""
    return min(int(text), LONGEST_PAUSE) if re.fullmatch(r"[0-9]{1,9}", text) else None
