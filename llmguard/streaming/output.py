"""Output: what a model wrote in one answer, as parts to look through, before anything was put back into it.

Owns the text that was not looked through yet, a bounded amount of it, and the counts of what was found. It never
changes an answer. Placeholders of this very call stand in it, not their values: what the caller said himself is no
finding of the model.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from llmguard.model import Finding, TextPart
from llmguard.payload import slots
from llmguard.payload.offsets import Path
from llmguard.streaming.fragments import fragments

WINDOW = 128 * 1024
"""Characters of new text after which a stream that goes on is looked through."""
OVERLAP = 512
"""Characters that are looked at again with what follows, for a finding may be cut."""
MEMORY = 8192
"""Characters that are looked at again with every new piece, where a finding is to end the answer."""
_BEFORE = 128
"""Characters before them that a finding may depend on."""
_BINARY = frozenset(("b64_json", "data", "encrypted_content", "logprobs", "embedding", "obfuscation", "file_data"))


class Output:
    """``add`` what comes, look through ``parts()``, and ``note`` what was found."""

    def __init__(self, *, ends: bool = False) -> None:
        """``ends``: a finding will end the answer, so all of it is looked at again and again until then."""
        self._before = MEMORY if ends else _BEFORE
        self.goes_on = False
        """Whether more text is to follow: then the last of it is looked at again."""
        self.found: Counter[str] = Counter()
        self.incomplete = False
        """Whether something of it was not looked through."""
        self.size = 0
        """Characters (of events that were not read yet: bytes) that came since the last look."""
        self._texts: dict[Path, list[str]] = {}
        self._seen: dict[Path, int] = {}
        self._events: list[bytes] = []
        self._parts: list[tuple[Path, str, int, int]] = []

    def add(self, channel: Path, text: str) -> None:
        self._texts.setdefault(channel, []).append(text)
        self.size += len(text)

    def event(self, data: bytes) -> None:
        """An event that nobody had to read so far. It is read when it is looked through."""
        self._events.append(data)
        self.size += len(data)

    def whole(self, value: Any) -> None:
        """The parsed JSON of an answer that is no stream."""
        if type(value) is dict:
            value = value.get("choices") or value.get("output") or value
        self._walk(value, "", ())

    def _walk(self, value: Any, key: str, path: Path) -> None:
        if type(value) is str:
            if not slots.structural(key, value):
                self.add(path, value)
        elif type(value) is dict:
            for name, child in value.items():
                if name not in _BINARY:
                    self._walk(child, name, (*path, name))
        elif type(value) is list:
            for i, child in enumerate(value):
                self._walk(child, key, (*path, i))

    def parts(self) -> tuple[TextPart, ...]:
        """What has to be looked through now. ``note`` takes the findings, aligned."""
        self._read()
        self._parts, self.size = [], 0
        for channel, pieces in self._texts.items():
            text, seen = "".join(pieces), self._seen.get(channel, 0)
            if len(text) > seen:
                self._parts.append((channel, text, seen, len(text) - OVERLAP if self.goes_on else len(text)))
        return tuple(TextPart(text, "answer", "assistant") for _, text, _, _ in self._parts)

    def note(self, findings: Sequence[Sequence[Finding]]) -> int:
        """Counts them, and forgets the text that no later finding can begin in. How many were new."""
        new = 0
        for (channel, text, seen, until), found in zip(self._parts, findings, strict=True):
            for finding in found:
                if finding.end > until > finding.start:
                    until = finding.start
            own = [f for f in found if f.end > seen and f.end <= until]
            self.found.update(f.type for f in own)
            new += len(own)
            until = max(seen, until)
            keep = max(0, until - self._before)
            self._texts[channel] = [text[keep:]]
            self._seen[channel] = until - keep
        self._parts = []
        return new

    def _read(self) -> None:
        if not self._events:
            return
        events, self._events = self._events, []
        for value in _parsed(events):
            for fragment in fragments(value, {}):
                if not fragment.token:
                    self.add(fragment.channel, fragment.text)


def _parsed(events: Sequence[bytes]) -> list[Any]:
    """All at once, for that is several times faster; one by one if one of them is no JSON."""
    wanted = [data for data in events if data[:1] == b"{"]
    try:
        return list(json.loads(b"[" + b",".join(wanted) + b"]"))
    except (ValueError, RecursionError):
        return [value for data in wanted if (value := _one(data)) is not None]


def _one(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None
