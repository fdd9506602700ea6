"""Restore: granted values back into text and answers, where a value may return.

Owns the table of places where a value may return. Restored text is never looked at again. One pass over a text,
whatever the number of entries; what is written is the same for every chunking.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from llmguard.errors import UnscannableRequest, UpstreamError
from llmguard.model import VaultEntry
from llmguard.payload import offsets
from llmguard.payload.json import Document, parse
from llmguard.payload.nesting import Nesting
from llmguard.payload.offsets import Shift
from llmguard.redaction.grammar import BOUNDARY, CANONICAL, LEFT, LEGAL, TAG, Granted, Hit, before_tag, hit_at, reach
from llmguard.redaction.mint import TRUST
from llmguard.redaction.places import Sink, places
from llmguard.redaction.retold import Retold, retold
from llmguard.vault import TAG_LENGTH

_TOLD = re.compile(rb'"(?:token|annotation)|\\u00')
"""Whether an answer may say something of its own text."""
MAX_GROWTH = 64 * 1024 * 1024
"""Characters by which restoring may lengthen one answer."""


def may_return(entry: VaultEntry, sink: Sink, tool: str | None, tools_with_secrets: frozenset[str]) -> bool:
    """The table. Nothing goes into URLs; secrets from system or tool text only into arguments of configured tools."""
    if sink == "url":
        return False
    if entry.category != "secret" or entry.origin in ("user", "assistant"):
        return True
    return sink == "tool_argument" and tool in tools_with_secrets


class Budget:
    """How much restoring may still add to one answer."""

    __slots__ = ("_left",)

    def __init__(self, limit: int = MAX_GROWTH) -> None:
        self._left = limit

    def spend(self, characters: int) -> None:
        """Raises UpstreamError once an answer repeats placeholders to grow without bounds."""
        self._left -= characters
        if self._left < 0:
            raise UpstreamError("the answer grows beyond bounds when restored; it was cut")


class Restorer:
    """Puts granted values back. ``tools`` are names of tools that may receive secrets from system and tool text."""

    def __init__(self, entries: Iterable[VaultEntry], tools: frozenset[str] = frozenset()) -> None:
        self.entries = tuple(entries)
        self.tools = tools
        by_tag: dict[str, list[Granted]] = {}
        patterns: dict[str, re.Pattern[str]] = {}
        keys = []
        self._reach = 0
        for entry in sorted(self.entries, key=lambda e: (-len(e.placeholder), TRUST.index(e.origin))):
            type_, _, tag = entry.placeholder[1:-1].rpartition("_")
            pattern = patterns.setdefault(type_, before_tag(type_))
            by_tag.setdefault(tag[:TAG_LENGTH].upper(), []).append(Granted(entry, tag.lower(), pattern))
            keys.append((type_ + tag).translate(CANONICAL).upper())
            self._reach = max(self._reach, reach(type_, tag))
        self._by_tag = by_tag
        self._keys = sorted(keys)

    def __bool__(self) -> bool:
        return bool(self._keys)

    def passage(
        self, sink: Sink | None = "text", tool: str | None = None, *, nested: bool = False, budget: Budget | None = None
    ) -> Passage:
        """A text on its way, piece by piece. ``nested``: JSON inside it is restored as JSON."""
        return Passage(self, sink, tool, nested, budget or Budget())

    def text(self, s: str, sink: Sink | None = "text", tool: str | None = None, before: str = "") -> str:
        """A whole plain text. ``before``: what stands in front of it, as far as that decides about URLs.

        ``sink=None`` restores everything, in URLs too: only for text that no model wrote.
        """
        if not self.touches(s):
            return s
        passage = self.passage(sink, tool)
        passage.nesting.trail.add(before)
        return passage.feed(s) + passage.finish()

    def json(self, raw: bytes) -> bytes:
        """An answer: restored in every string, in JSON inside strings too; unchanged if it is not strict JSON."""
        if not self:
            return raw
        try:
            document = parse(raw)
        except UnscannableRequest:
            return raw
        budget = Budget()
        texts = self.replacements(document.value, budget)
        if not texts:
            return raw
        told = retold(document.value, self, budget) if _TOLD.search(raw) else Retold()
        return self.rewritten(document, texts, told)

    def rewritten(self, document: Document, texts: dict[int, str], told: Retold) -> bytes:
        """The answer with these strings, by number, and with what speaks about them."""
        if not told.texts and not told.numbers:
            return self.splice(document, texts)
        numbers = offsets.ordinals(document.value)
        texts = texts | {numbers[path]: text for path, text in told.texts.items()}
        spliced = self.splice(document, texts)
        return offsets.patched(spliced, {numbers[path] - 1: new for path, new in told.numbers.items()})

    def splice(self, document: Document, texts: Mapping[int, str]) -> bytes:
        """Keys that would become equal stay placeholders."""
        try:
            return document.splice(texts)
        except UnscannableRequest:
            keys = {place.number for place in places(document.value) if place.is_key}
            return document.splice({k: text for k, text in texts.items() if k not in keys})

    def replacements(self, value: Any, budget: Budget, names: Mapping[str, str] | None = None) -> dict[int, str]:
        """The strings of a tree that change when they are restored, by number."""
        changed = {}
        for place in places(value, names, self.touches):
            passage = self.passage(place.sink, place.tool, nested=True, budget=budget)
            text = passage.feed(place.text) + passage.finish()
            if text != place.text:
                changed[place.number] = text
        return changed

    def touches(self, text: str) -> bool:
        """Whether a granted tag stands anywhere in the text: a cheap no for nearly all text."""
        if len(text) <= TAG_LENGTH:
            return False
        return any(tag[:TAG_LENGTH].upper() in self._by_tag for tag in TAG.findall(text))

    def hits(self, text: str, start: int, final: bool) -> Iterator[Hit]:
        """Placeholders from ``start`` on; the last may have no entry: it depends on what follows."""
        for match in TAG.finditer(text, start):
            granted = self._by_tag.get(match[1][:TAG_LENGTH].upper())
            hit = granted and hit_at(text, match, granted, final)
            if hit:
                yield hit
                if hit.entry is None:
                    return

    def unfinished(self, text: str, start: int) -> int:
        """Where the tail begins that could still become a placeholder; the length of the text if there is none."""
        start = max(start, len(text) - self._reach, len(text.rstrip(LEGAL)))
        for match in BOUNDARY.finditer(text, start):
            tail = text[match.start() :].translate(CANONICAL).upper()
            if self._begins(tail) or (tail.endswith("S") and self._is(tail[:-1])):
                return match.start()
        return len(text)

    def _is(self, tail: str) -> bool:
        at = bisect_left(self._keys, tail)
        return at < len(self._keys) and self._keys[at] == tail

    def _begins(self, tail: str) -> bool:
        at = bisect_left(self._keys, tail)
        return at < len(self._keys) and self._keys[at].startswith(tail)


class Passage:
    """One text that is restored as it passes. What ``feed`` returns, joined, is the same for every chunking."""

    __slots__ = (
        "_budget",
        "_held",
        "_left",
        "_nested",
        "_read",
        "_restorer",
        "_sink",
        "_tool",
        "nesting",
        "shifts",
        "written",
    )

    def __init__(self, restorer: Restorer, sink: Sink | None, tool: str | None, nested: bool, budget: Budget) -> None:
        self._restorer, self._sink, self._tool, self._nested, self._budget = restorer, sink, tool, nested, budget
        self.nesting = Nesting()
        self._left = self._held = ""
        self._read = self.written = 0
        self.shifts: list[Shift] = []
        """What was replaced so far, in order."""

    @property
    def held(self) -> str:
        """What is held back: it could still become a placeholder."""
        return self._held

    @property
    def longer(self) -> int:
        """By how many characters what was written is longer than what came."""
        return self.written - self._read - len(self._held)

    def feed(self, text: str) -> str:
        """What can be written now. At most one mangled placeholder's length is held back."""
        return self._run(text, False)

    def finish(self) -> str:
        """What was held back; nothing comes after it."""
        return self._run("", True)

    def _run(self, new: str, final: bool) -> str:
        text = self._left + self._held + new
        at = len(self._left)
        end = len(text)
        out = []
        for hit in self._restorer.hits(text, at, final):
            if hit.entry is None:
                end = min(end, hit.start)
            elif hit.start >= at:
                out += [self._keep(text[at : hit.start]), self._put(text[hit.start : hit.end], hit.entry)]
                at = hit.end
        if not final:
            end = max(at, min(end, self._restorer.unfinished(text, at)))
        out.append(self._keep(text[at:end]))
        self._left, self._held = text[max(0, end - LEFT) : end], text[end:]
        return "".join(out)

    def _keep(self, raw: str) -> str:
        if self._nested:
            self.nesting.advance(raw)
        else:
            self.nesting.trail.add(raw)
        self._read += len(raw)
        self.written += len(raw)
        return raw

    def _put(self, raw: str, entry: VaultEntry) -> str:
        if self._sink and not self._may_return(entry, self._sink):
            return self._keep(raw)
        value = self.nesting.escape(entry.value)
        self._budget.spend(len(value))
        self.nesting.insert(raw, value)
        start, new_start = self._read, self.written
        self._read, self.written = start + len(raw), new_start + len(value)
        self.shifts.append(Shift(start, self._read, new_start, self.written))
        return value

    def _may_return(self, entry: VaultEntry, sink: Sink) -> bool:
        inside = self.nesting.trail.inside(self.nesting.depth)
        return may_return(entry, "url" if inside else sink, self._tool, self._restorer.tools)
