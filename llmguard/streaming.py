"""StreamRestorer: an answer that is restored as it passes.

Owns the fragments of a stream. Each belongs to a channel (a choice, a tool call, an item); of a channel only a tail
that could still become a placeholder is held back, and it leaves before the event that finishes the channel. Events
that need no change pass as the bytes they came in, and the number of events stays the same unless a tail is left
over when nothing of its channel follows.

Invariant: the joined fragments of a channel are the restored whole text, for any chunking of the bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from llmguard.errors import UnscannableRequest
from llmguard.payload import json
from llmguard.payload.sse import Decoder, Event
from llmguard.redaction import Budget, Passage, Restorer, Sink

_NO_FRAGMENT = frozenset(("role", "type", "id", "name", "object", "status"))
_BINARY = ("audio.delta", "image.delta", "partial_image")
_ENDINGS = (".done", ".completed", ".failed", ".incomplete", ".cancelled", ".expired")
_MAX_CHANNELS = 10_000

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class _Fragment:
    """A piece of a channel's text, at ``path`` in its event."""

    channel: Path
    path: Path
    text: str = field(repr=False)
    sink: Sink = "text"
    tool: str | None = None


@dataclass(slots=True)
class _Channel:
    """A text on its way, and the last event that carried a piece of it."""

    passage: Passage
    event: Event
    document: json.Document
    fragment: _Fragment


class StreamRestorer:
    """``feed`` the bytes of a stream of ``operation_name``, write what it returns, and ``finish`` at its end."""

    def __init__(self, restorer: Restorer, operation_name: str = "") -> None:
        self._restorer = restorer
        self.operation = operation_name
        self._decoder = Decoder()
        self._budget = Budget()
        self._channels: dict[Path, _Channel] = {}
        self._names: dict[str, str] = {}

    def feed(self, chunk: bytes) -> bytes:
        """What can be written now. Raises UpstreamError for events or growth without bounds."""
        events = self._decoder.feed(chunk)
        return b"".join([self._event(event) for event in events] if self._restorer else [e.raw for e in events])

    def finish(self) -> bytes:
        """The rest of a stream that ended, however it did."""
        out = [self._event(event) for event in self._decoder.finish()]
        if self._channels:
            tails = self._flush(list(self._channels))
            if tails and out and not out[-1].endswith((b"\n\n", b"\r\r", b"\r\n\r\n")):
                out.append(b"\n\n")
            out.append(tails)
        return b"".join(out)

    def abort(self) -> bytes:
        """The tails of a stream that broke off; an event that was cut in the middle is dropped."""
        return self._flush(list(self._channels))

    def _event(self, event: Event) -> bytes:
        if event.data is None or not self._restorer:
            return event.raw
        if event.data.strip() == b"[DONE]":
            return self._flush(list(self._channels)) + event.raw
        try:
            document = json.parse(event.data)
        except UnscannableRequest:
            return event.raw
        return self._restored(event, document)

    def _restored(self, event: Event, document: json.Document) -> bytes:
        self._learn(document.value)
        fragments = list(_fragments(document.value, self._names))
        ending = self._ending(document.value)
        own = {fragment.channel for fragment in fragments}
        before = self._flush([key for key in ending if key not in own])
        texts = {}
        for fragment in fragments:
            text = self._pass(event, document, fragment, fragment.channel in ending)
            if text != fragment.text:
                texts[fragment.path] = text
        changed = self._changed(document, fragments, texts)
        if not changed:
            return before + event.raw
        return before + event.with_data(self._restorer.splice(document, changed))

    def _pass(self, event: Event, document: json.Document, fragment: _Fragment, last: bool) -> str:
        channel = self._channels.get(fragment.channel)
        if channel is None:
            if len(self._channels) >= _MAX_CHANNELS:
                return fragment.text
            passage = self._restorer.passage(fragment.sink, fragment.tool, nested=True, budget=self._budget)
            channel = self._channels[fragment.channel] = _Channel(passage, event, document, fragment)
        channel.event, channel.document, channel.fragment = event, document, fragment
        text = channel.passage.feed(fragment.text)
        if last:
            text += channel.passage.finish()
            del self._channels[fragment.channel]
        return text

    def _changed(self, document: json.Document, fragments: list[_Fragment], texts: dict[Path, str]) -> dict[int, str]:
        """New texts by number of the string: fragments, and whole strings that stand beside them."""
        raw = document.raw.decode()
        whole = (
            self._restorer.replacements(document.value, self._budget, self._names)
            if self._restorer.touches(raw)
            else {}
        )
        if not whole and not texts:
            return {}
        numbers = _numbers(document.value)
        for fragment in fragments:
            whole.pop(numbers[fragment.path], None)
        return whole | {numbers[path]: text for path, text in texts.items()}

    def _flush(self, keys: list[Path]) -> bytes:
        """Ends channels. A tail that is left goes into a copy of the channel's last event."""
        out = []
        for key in keys:
            channel = self._channels.pop(key)
            if tail := channel.passage.finish():
                numbers = _numbers(channel.document.value)
                fragments = _fragments(channel.document.value, self._names)
                texts = {numbers[f.path]: "" for f in fragments} | {numbers[channel.fragment.path]: tail}
                out.append(channel.event.with_data(channel.document.splice(texts)))
        return b"".join(out)

    def _learn(self, value: Any) -> None:
        """Names of tool calls: later events name the item only."""
        item = value.get("item") if type(value) is dict else None
        if len(self._names) >= _MAX_CHANNELS:
            return
        if type(item) is dict and type(item.get("id")) is str and type(item.get("name")) is str:
            self._names[item["id"]] = item["name"]
        for choice, call in _tool_calls(value):
            name = (call.get("function") or {}).get("name")
            if type(name) is str and name:
                self._names[_call_key(choice, call)] = name

    def _ending(self, value: Any) -> list[Path]:
        """The channels that nothing follows after this event."""
        if type(value) is not dict or not self._channels:
            return []
        if type(value.get("choices")) is list:
            ended = {
                str(c.get("index", 0))
                for c in value["choices"]
                if type(c) is dict and c.get("finish_reason") is not None
            }
            return [key for key in self._channels if key[0] == "choice" and key[1] in ended]
        kind = value.get("type")
        if type(kind) is not str:
            # Events of assistants: whatever is no delta of an object ends it.
            return [] if "delta" in value else [key for key in self._channels if key[0] == "object"]
        if kind == "error" or (kind.startswith("response.") and kind.count(".") == 1 and kind.endswith(_ENDINGS)):
            return list(self._channels)
        if not kind.endswith(_ENDINGS):
            return []
        return [key for key in self._channels if key[0] == "item" and _ends(key, kind, value)]


# --------------------------------------------------------------------------- fragments of an event


def _fragments(value: Any, names: dict[str, str]) -> Iterator[_Fragment]:
    if type(value) is not dict:
        return
    if type(choices := value.get("choices")) is list:
        for i, choice in enumerate(choices):
            if type(choice) is dict:
                yield from _choice(choice, i, names)
    elif type(delta := value.get("delta")) is str:
        kind = value.get("type")
        if type(kind) is str and kind.endswith(".delta") and not kind.endswith(_BINARY):
            yield _item_fragment(value, kind, delta, names)
    elif type(delta) is dict:
        start: Path = ("object", str(value.get("id")))
        for path, channel, text in _strings(delta, (), ()):
            yield _Fragment(start + channel, ("delta", *path), text, *_called(delta, path, names, ""))


def _choice(choice: dict[str, Any], i: int, names: dict[str, str]) -> Iterator[_Fragment]:
    index = str(choice.get("index", 0))
    if type(text := choice.get("text")) is str:
        yield _Fragment(("choice", index, "text"), ("choices", i, "text"), text)
    if type(delta := choice.get("delta")) is dict:
        for path, channel, piece in _strings(delta, (), ()):
            sink = _called(delta, path, names, index)
            yield _Fragment(("choice", index, *channel), ("choices", i, "delta", *path), piece, *sink)


def _strings(value: Any, path: Path, channel: Path) -> Iterator[tuple[Path, Path, str]]:
    """Every string of a delta that is text. An element of an array is known by its own ``index``."""
    if type(value) is dict:
        for key, child in value.items():
            if type(child) is str:
                if key not in _NO_FRAGMENT and not (key == "data" and path[-1:] == ("audio",)):
                    yield (*path, key), (*channel, key), child
            else:
                yield from _strings(child, (*path, key), (*channel, key))
    elif type(value) is list:
        for i, child in enumerate(value):
            index = child.get("index", i) if type(child) is dict else i
            yield from _strings(child, (*path, i), (*channel, str(index)))


def _called(delta: dict[str, Any], path: Path, names: dict[str, str], choice: str) -> tuple[Sink, str | None]:
    """Whether a fragment is a tool's argument, and of which tool."""
    if path[-1] not in ("arguments", "input"):
        return "text", None
    if path[0] == "function_call":
        return "tool_argument", names.get(f"{choice}/function_call") or delta["function_call"].get("name")
    if path[0] == "tool_calls" and len(path) > 2:
        return "tool_argument", names.get(_call_key(choice, delta["tool_calls"][path[1]]))
    return "tool_argument", None


def _tool_calls(value: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    for choice in value.get("choices") or () if type(value) is dict else ():
        delta = choice.get("delta") if type(choice) is dict else None
        if type(delta) is not dict:
            continue
        index = str(choice.get("index", 0))
        for call in delta.get("tool_calls") or ():
            if type(call) is dict:
                yield index, call if "function" in call else {**call, "function": call.get("custom")}
        if type(delta.get("function_call")) is dict:
            yield index, {"index": "function_call", "function": delta["function_call"]}


def _call_key(choice: str, call: dict[str, Any]) -> str:
    return f"{choice}/{call.get('index', 0)}"


def _item_fragment(value: dict[str, Any], kind: str, delta: str, names: dict[str, str]) -> _Fragment:
    channel = ("item", kind, *_item(value), *(str(value.get(k)) for k in ("content_index", "summary_index")))
    called = kind.endswith(("arguments.delta", "_input.delta"))
    tool = names.get(str(value.get("item_id"))) if called else None
    return _Fragment(channel, ("delta",), delta, "tool_argument" if called else "text", tool)


def _item(value: dict[str, Any]) -> tuple[str, str]:
    item = value.get("item")
    known = value.get("item_id") or (item.get("id") if type(item) is dict else None)
    return str(known), str(value.get("output_index"))


def _ends(channel: Path, kind: str, value: dict[str, Any]) -> bool:
    """Whether an event such as ``response.output_text.done`` finishes a channel of the same item."""
    item, output = _item(value)
    if item not in ("None", channel[2]) or output not in ("None", channel[3]):
        return False
    stem = kind.rpartition(".")[0]
    if stem.endswith("output_item"):
        return True
    content = str(value.get("content_index")) == channel[4]
    if stem.endswith("content_part"):
        return content
    return content and str(value.get("summary_index")) == channel[5] and channel[1] == f"{stem}.delta"


def _numbers(value: Any) -> dict[Path, int]:
    """The number of every string of an event that is a value, by its path."""
    numbers: dict[Path, int] = {}
    counter = iter(range(1 << 62))

    def walk(node: Any, path: Path) -> None:
        if type(node) is str:
            numbers[path] = next(counter)
        elif type(node) is dict:
            for key, child in node.items():
                next(counter)
                walk(child, (*path, key))
        elif type(node) is list:
            for i, child in enumerate(node):
                walk(child, (*path, i))

    walk(value, ())
    return numbers
