"""Patterns: RE2 over UTF-8 bytes, and the expressions that the automaton looks for.

Owns: compiling and searching one expression. Never does: printing what it rejects. Invariant: a search is linear in
the bytes that it goes through.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import re2

from llmguard.model import Detector


def anchor_of(detector: Detector) -> bytes:
    """The Hyperscan expression that makes the engine look closer: named groups are plain there. (What needs context is
    looked for around its words instead.)"""
    return re.sub(r"\(\?P?<value\w*>", "(?:", detector.anchor or detector.pattern).encode()


class Pattern:
    """An RE2 expression over UTF-8 bytes that never prints what it rejects. Linear in what it searches."""

    __slots__ = ("match", "values")

    def __init__(self, pattern: str) -> None:
        """Raises re2.error. ``values`` are the numbers of the groups whose names start with ``value``."""
        options = re2.Options()
        options.log_errors = False
        compiled = re2.compile(pattern.encode(), options)
        self.values = tuple(sorted(i for n, i in compiled.groupindex.items() if n.startswith(b"value")))
        self.match = compiled._regexp.Match  # the wrapper around it costs three times the search

    def search(self, data: bytes, start: int, end: int) -> Sequence[tuple[int, int]]:
        """Spans of the leftmost match and its groups in ``data[start:end]``, (-1, -1) for none; no copy is made.

        ``^`` and ``\\b`` look at what stands before ``start``. ``start`` and ``end`` lie inside ``data``.
        """
        spans: Sequence[tuple[int, int]] = self.match(UNANCHORED, data, start, end)
        return spans

    def found(self, data: bytes) -> bool:
        return bool(self.match(UNANCHORED, data, 0, len(data))[0][0] >= 0)


UNANCHORED = re2._Anchor.UNANCHORED
