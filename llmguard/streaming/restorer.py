"""StreamRestorer: an answer that is restored as it passes.

Owns the order of a stream. Of a channel only a tail is held back that could still become a placeholder. The event
that ends in such a tail waits, with what comes behind it, until its channel goes on or ends: so no event is ever
added or lost, and their numbers stay the provider's. Events that need no change pass as the bytes they came in.

Invariant: the joined fragments of a channel are the restored whole text, for any chunking of the bytes, as long as no
placeholder is interrupted by more than ``STALL`` events of others; then it stays a placeholder.
"""

from __future__ import annotations

import json as fast_json
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from llmguard.errors import UnscannableRequest
from llmguard.payload import json, offsets
from llmguard.payload.offsets import Path
from llmguard.payload.sse import Decoder, Event
from llmguard.redaction import Budget, Passage, Restorer, Retold, cite, retell, retold
from llmguard.streaming.fragments import Fragment, cited, ending, fragments, learn
from llmguard.streaming.output import Output

STALL = 16
"""Events that may wait for a tail whose channel does not go on; two more for every open channel."""
BATCH = 8
"""Events that are written together."""
MAX_CHANNELS = 10_000
MAX_HELD = 10_000
"""Events that may wait because ``hold`` characters have not followed them yet."""


@dataclass(slots=True)
class _Waiting:
    """An event on its way out: new texts of its fragments, by path."""

    event: Event
    said: dict[Path, str] = field(default_factory=dict, repr=False)
    """The pieces of text that came, and"""
    texts: dict[Path, str] = field(default_factory=dict, repr=False)
    """what they become, where that may be something else."""
    whole: bool = False
    """Whether anything else in it may have to be restored."""
    marks: list[tuple[_Channel, int]] = field(default_factory=list)
    """Channels that have to be as long as this before the event may leave."""
    longer: dict[Path, int] = field(default_factory=dict)
    """By how much the text before a token grew."""


@dataclass(slots=True)
class _Channel:
    """A text on its way, and the last event that carried a piece of it."""

    passage: Passage
    waiting: _Waiting
    path: Path
    length: int = 0
    ended: bool = False


class StreamRestorer:
    """``feed`` the bytes of a stream, write what it returns, and ``finish`` at its end.

    ``output`` receives what the model wrote. ``hold``: characters that have to follow a piece of text before it leaves.
    ``told`` is called with every event that is read: it says which object this is.
    """

    def __init__(
        self,
        restorer: Restorer,
        output: Output | None = None,
        *,
        hold: int = 0,
        told: Callable[[Any], None] | None = None,
    ) -> None:
        self._restorer = restorer
        self._output = output
        self._hold = hold
        self._told = told
        self._reads = bool(restorer) or hold > 0
        self._decoder = Decoder()
        self._budget = Budget()
        self._channels: dict[Path, _Channel] = {}
        self._tails: dict[Path, _Channel] = {}
        self._shifted: dict[Path, Passage] = {}
        self._names: dict[str, str] = {}
        self._queue: deque[_Waiting] = deque()
        self._comment = False

    def feed(self, chunk: bytes) -> bytes:
        """What can be written now. Raises UpstreamError for events or growth without bounds."""
        return b"".join(self.pieces(chunk))

    def pieces(self, chunk: bytes) -> Iterator[bytes]:
        """The same a few events at a time: of many that came at once, the first need not wait for the last."""
        events = self._decoder.feed(chunk)
        size = BATCH if self._reads else max(1, len(events))
        for at in range(0, len(events), size):
            if ready := b"".join([self._event(event) for event in events[at : at + size]]):
                yield ready

    def finish(self) -> bytes:
        """The rest of a stream that ended, however it did."""
        out = [self._event(event) for event in self._decoder.finish()]
        return b"".join(out) + self.abort()

    def abort(self) -> bytes:
        """What waits of a stream that broke off; an event that was cut in the middle is dropped."""
        self._end(list(self._channels))
        return self._leaving()

    def _event(self, event: Event) -> bytes:
        data = event.data
        if data is None:
            # Keep-alives keep alive, whatever waits; blank lines belong to what stood before them.
            self._comment = event.lines[0][:1] == b":" or (self._comment and event.raw.isspace())
            return event.raw if self._comment or not self._queue else self._leave(_Waiting(event))
        self._comment = False
        if not self._reads:
            if self._output is not None:
                self._output.event(data)
            return event.raw
        try:
            text = data.decode()
            if "\\ud" in text or "\\uD" in text:
                json.parse(data)  # half a surrogate pair could not be written again
            value = fast_json.loads(text)
        except (ValueError, RecursionError, UnscannableRequest):
            if data.strip() == b"[DONE]":
                self._end(list(self._channels))
            self._settle(list(self._tails))
            return self._leave(_Waiting(event))
        return self._restored(_Waiting(event), value, text)

    def _restored(self, waiting: _Waiting, value: Any, text: str) -> bytes:
        if self._told is not None:
            self._told(value)
        if '"name"' in text and len(self._names) < MAX_CHANNELS:
            learn(value, self._names)
        for fragment in fragments(value, self._names):
            self._pass(waiting, fragment)
        if self._channels and (over := ending(value, self._channels)):
            self._end(over)
        waiting.whole = self._restorer.touches(text) or (bool(self._shifted) and '"annotation' in text)
        return self._leave(waiting)

    # ----------------------------------------------------------------- channels

    def _pass(self, waiting: _Waiting, fragment: Fragment) -> None:
        if self._output is not None and not fragment.token:
            self._output.add(fragment.channel, fragment.text)
        channel = self._channels.get(fragment.channel)
        if channel is None:
            if len(self._channels) >= MAX_CHANNELS:
                return
            passage = self._restorer.passage(fragment.sink, fragment.tool, nested=True, budget=self._budget)
            channel = self._channels[fragment.channel] = _Channel(passage, waiting, fragment.path)
        passage = channel.passage
        if fragment.token and passage.longer:
            waiting.longer[fragment.path] = passage.longer
        channel.waiting, channel.path = waiting, fragment.path
        waiting.said[fragment.path] = fragment.text
        text = passage.feed(fragment.text)
        if text != fragment.text or passage.held:
            waiting.texts[fragment.path] = text
        if passage.held:
            self._tails[fragment.channel] = channel
        elif self._tails:
            self._tails.pop(fragment.channel, None)
        if passage.shifts and not fragment.token and len(self._shifted) < MAX_CHANNELS:
            self._shifted[fragment.channel] = passage
        if self._hold and fragment.text:
            channel.length += len(fragment.text)
            waiting.marks.append((channel, channel.length + self._hold))

    def _settle(self, keys: list[Path]) -> None:
        """Puts tails where they came: nothing that follows can complete them."""
        for key in keys:
            channel = self._tails.pop(key)
            channel.waiting.texts[channel.path] += channel.passage.finish()
            if channel.passage.shifts and len(self._shifted) < MAX_CHANNELS:
                self._shifted[key] = channel.passage

    def _end(self, keys: list[Path]) -> None:
        self._settle([key for key in keys if key in self._tails])
        for key in keys:
            self._channels.pop(key).ended = True

    # ----------------------------------------------------------------- the way out

    def _leave(self, waiting: _Waiting) -> bytes:
        if not self._queue and not self._tails and not waiting.marks:
            return self._written(waiting)
        self._queue.append(waiting)
        if self._tails and len(self._queue) > STALL + 2 * len(self._channels):
            first = self._queue[0]
            self._settle([key for key, channel in self._tails.items() if channel.waiting is first])
        return self._leaving()

    def _leaving(self) -> bytes:
        out = []
        while self._queue and self._may_leave(self._queue[0]):
            out.append(self._written(self._queue.popleft()))
        return b"".join(out)

    def _may_leave(self, waiting: _Waiting) -> bool:
        if any(channel.waiting is waiting for channel in self._tails.values()):
            return False
        return len(self._queue) > MAX_HELD or all(c.ended or c.length >= mark for c, mark in waiting.marks)

    def _written(self, waiting: _Waiting) -> bytes:
        texts = {path: text for path, text in waiting.texts.items() if text != waiting.said[path]}
        event = waiting.event
        if event.data is None or not (texts or waiting.whole or any(waiting.longer.values())):
            return event.raw
        try:
            document = json.parse(event.data)
        except UnscannableRequest:
            return event.raw
        told = self._retold(waiting, document.value, texts)
        numbers = offsets.ordinals(document.value)
        changed = self._restorer.replacements(document.value, self._budget, self._names) if waiting.whole else {}
        for path in waiting.said:
            changed.pop(numbers[path], None)
        changed |= {numbers[path]: text for path, text in texts.items()}
        if not changed and not told.texts and not told.numbers:
            return event.raw
        return event.with_data(self._restorer.rewritten(document, changed, told))

    def _retold(self, waiting: _Waiting, value: Any, texts: dict[Path, str]) -> Retold:
        """What an event says of its text. A whole text tells all by itself, fragments belong to their channel."""
        data = waiting.event.data or b""
        if type(value) is not dict or (b'"token' not in data and b'"annotation' not in data):
            return Retold()
        told = Retold() if waiting.said else retold(value, self._restorer, self._budget)
        retell(told, value, {p: t for p, t in texts.items() if "logprobs" in p}, waiting.longer)
        for channel, path, notes in cited(value) if self._shifted else ():
            if passage := self._shifted.get(channel):
                cite(told, path, notes, passage.shifts)
        return told
