"""Nesting: how often a place in a growing text is encoded as a JSON string.

Owns a lexer over text that may be JSON, with JSON inside its strings, and so on. It looks at quotes and backslashes
only, so it works on text that is not finished yet and needs no decoding: a quote behind ``k`` backslashes belongs to
the level that is left after halving ``k`` while it is odd. For valid JSON the depth is exact; text that merely looks
like JSON at first counts as plain from the place where it stops doing so.
"""

from __future__ import annotations

import json
import re

from llmguard.payload.urls import Trail

MAX_LEVELS = 6

_QUOTE = re.compile(r'\\*"')
_BLANK = r"(?:[ \t\r\n]|\\+[nrt])*"
_START = re.compile(rf'{_BLANK}(?:\{{{_BLANK}(?:\\*"|\}})|\[{_BLANK}(?:\\*"|[\[{{\]\d-]|true|false|null))')
_MAYBE = re.compile(rf"{_BLANK}(?:\\+\Z|\{{{_BLANK}\\*\Z|\[{_BLANK}(?:\\*|t|tr|tru|f|fa|fal|fals|n|nu|nul)\Z|\Z)")
_GAP = re.compile(r"(?:[ \t\r\n0-9\[\]{},:.+E-]|[truefalsn]|\\+[nrt])*\\*")
_HEAD = 256


class _Level:
    """The content of one open string (or the whole text): JSON, plain, or not known yet (None)."""

    __slots__ = ("balance", "head", "is_json")

    def __init__(self) -> None:
        self.is_json: bool | None = None
        self.head = ""
        self.balance = 0

    def see(self, text: str) -> None:
        """Text of this level that stands in no deeper string."""
        if self.is_json is None:
            self.head += text
            if _START.match(self.head):
                self.is_json = True
                text = self.head
            elif len(self.head) > _HEAD or not _MAYBE.match(self.head):
                self.is_json = False
        if self.is_json:
            self._check(text)

    def _check(self, text: str) -> None:
        if not _GAP.fullmatch(text):
            self.is_json = False
        elif self.balance or "[" in text or "{" in text:
            self.balance += text.count("[") + text.count("{") - text.count("]") - text.count("}")
            if self.balance <= 0 and re.sub(r"\\+[nrt]?|\s", "", text)[-1:] not in "]}":
                self.is_json = False
        elif re.sub(r"\\+[nrt]?|\s", "", text):
            self.is_json = False

    def opens(self, quote: str) -> bool:
        """Whether a quote at this level begins a string."""
        if self.is_json is None:
            self.is_json = _START.match(self.head + quote) is not None
            if self.is_json:
                self._check(self.head)
        return self.is_json and self.balance > 0


class Nesting:
    """Fed with a text in pieces, it knows the depth at the end and keeps the trail of the innermost string."""

    __slots__ = ("_levels", "_slashes", "trail")

    def __init__(self) -> None:
        self._levels = [_Level()]
        self._slashes = 0
        self.trail = Trail()

    @property
    def depth(self) -> int:
        """How many strings are open: how often a value has to be escaped here."""
        return len(self._levels) - 1

    @property
    def plain(self) -> bool:
        """Whether the whole text is known to be no JSON."""
        return self._levels[0].is_json is False and len(self._levels) == 1

    def advance(self, text: str) -> None:
        """Text that was written as it came."""
        if self.plain:
            self.trail.add(text)
            return
        at = 0
        for match in _QUOTE.finditer(text):
            self._content(text[at : match.start()])
            at = match.end()
            carried = self._slashes if match.start() == 0 else 0
            self._slashes = 0
            self._quote(match[0], len(match[0]) - 1 + carried)
        self._content(text[at:])
        bare = text[at:].rstrip("\\")
        tail = len(text) - at - len(bare)
        self._slashes = tail if bare or at else self._slashes + tail

    def insert(self, raw: str, written: str) -> None:
        """A piece that came as ``raw`` and was written as ``written``, which opens and closes no string."""
        level = self._levels[-1]
        if level.is_json is None:
            level.see(raw)
        self._slashes = 0
        self.trail.add(written)

    def escape(self, value: str) -> str:
        """The value as it must be written here."""
        for _ in range(self.depth):
            value = json.dumps(value, ensure_ascii=False)[1:-1]
        return value

    def _content(self, text: str) -> None:
        if text:
            level = self._levels[-1]
            if level.is_json is not False:
                level.see(text)
            self.trail.add(text)

    def _quote(self, quote: str, slashes: int) -> None:
        level = 0
        while slashes % 2:
            slashes //= 2
            level += 1
        if level < self.depth:
            del self._levels[level + 1 :]
            self.trail.reset()
        elif level == self.depth < MAX_LEVELS and self._levels[level].opens(quote):
            self._levels.append(_Level())
            self.trail.reset()
        else:
            self._content(quote)
