"""Fragments: where pieces of text stand in the events of a stream, in every dialect of the API.

Owns the channels. A channel is one text that comes in pieces: of a choice, a tool call, an item, or the tokens of
their log probabilities. By default every string of a delta is text; no list of fields says what is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llmguard.payload import offsets
from llmguard.payload.offsets import Path
from llmguard.redaction import Sink

_NO_FRAGMENT = frozenset(("role", "type", "id", "name", "object", "status", "annotations"))
_BINARY = ("audio.delta", "image.delta", "partial_image")
_ENDINGS = (".done", ".completed", ".failed", ".incomplete", ".cancelled", ".expired")
_INDICES = ("content_index", "summary_index", "command_index")


@dataclass(frozen=True, slots=True)
class Fragment:
    """A piece of a channel's text, at ``path`` in its event. ``token``: it is told of, not said."""

    channel: Path
    path: Path
    text: str = field(repr=False)
    sink: Sink = "text"
    tool: str | None = None
    token: bool = False


def fragments(value: Any, names: Mapping[str, str]) -> Iterator[Fragment]:
    """Every piece of text of an event, in order. ``names``: tools by the key of their call."""
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
            if value.get("logprobs"):
                yield from _tokens(value["logprobs"], ("logprobs",), _channel(value, kind))
    elif type(delta) is dict:
        start = _channel(value, str(value.get("type"))) if "id" not in value else ("object", str(value["id"]))
        for path, channel, text in _strings(delta, (), ()):
            called = _called(delta, path, names, str(value.get("id") or ""))
            yield Fragment((*start, *channel), ("delta", *path), text, *called)


def _choice(choice: dict[str, Any], i: int, names: Mapping[str, str]) -> Iterator[Fragment]:
    index = str(choice.get("index", 0))
    if type(text := choice.get("text")) is str:
        yield Fragment(("choice", index, "text"), ("choices", i, "text"), text)
    if type(delta := choice.get("delta")) is dict:
        for path, channel, piece in _strings(delta, (), ()):
            sink = _called(delta, path, names, index)
            yield Fragment(("choice", index, *channel), ("choices", i, "delta", *path), piece, *sink)
    if choice.get("logprobs"):
        yield from _tokens(choice["logprobs"], ("choices", i, "logprobs"), ("choice", index))


def _tokens(value: Any, path: Path, channel: Path) -> Iterator[Fragment]:
    for where, rows in offsets.tokens(value, path):
        own = (*channel, "logprobs", str(where[-1]))
        for at, token in rows:
            yield Fragment(own, at, token, token=True)


def _strings(value: Any, path: Path, channel: Path) -> Iterator[tuple[Path, Path, str]]:
    """Every string of a delta that is text. An element of an array is known by its own ``index``."""
    if type(value) is dict:
        for key, child in value.items():
            if type(child) is str:
                if key not in _NO_FRAGMENT and not (key == "data" and path[-1:] == ("audio",)):
                    yield (*path, key), (*channel, key), child
            elif child and key not in _NO_FRAGMENT:
                yield from _strings(child, (*path, key), (*channel, key))
    elif type(value) is list:
        for i, child in enumerate(value):
            index = child.get("index", i) if type(child) is dict else i
            yield from _strings(child, (*path, i), (*channel, str(index)))


def _called(delta: dict[str, Any], path: Path, names: Mapping[str, str], owner: str) -> tuple[Sink, str | None]:
    """Whether a fragment is a tool's argument, and of which tool. ``owner``: the choice or object of the call."""
    if path[-1] not in ("arguments", "input"):
        return "text", None
    if path[0] == "function_call":
        return "tool_argument", names.get(f"{owner}/function_call") or delta["function_call"].get("name")
    if "tool_calls" in path[:-2]:
        call = offsets.at(delta, path[: path.index("tool_calls") + 2])
        return "tool_argument", names.get(_call_key(owner, call)) if type(call) is dict else None
    return "tool_argument", None


def learn(value: Any, names: dict[str, str]) -> None:
    """Names of tool calls: later events name the item only."""
    item = value.get("item") if type(value) is dict else None
    if type(item) is dict and type(item.get("id")) is str and type(item.get("name")) is str:
        names[item["id"]] = item["name"]
    for owner, call in _tool_calls(value):
        function = call.get("function")
        name = function.get("name") if type(function) is dict else None
        if type(name) is str and name:
            names[_call_key(owner, call)] = name


def _tool_calls(value: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    if type(value) is not dict:
        return
    rows = [value] if type(value.get("delta")) is dict else value.get("choices")
    for row in rows if type(rows) is list else ():
        delta = row.get("delta") if type(row) is dict else None
        if type(delta) is not dict:
            continue
        owner = str(row["id"] if "id" in row else row.get("index", 0))
        calls = delta.get("tool_calls") or offsets.at(delta, ("step_details", "tool_calls"))
        for call in calls if type(calls) is list else ():
            if type(call) is dict:
                yield owner, call if "function" in call else {**call, "function": call.get("custom")}
        if type(delta.get("function_call")) is dict:
            yield owner, {"index": "function_call", "function": delta["function_call"]}


def _call_key(owner: str, call: dict[str, Any]) -> str:
    return f"{owner}/{call.get('index', 0)}"


def _item_fragment(value: dict[str, Any], kind: str, delta: str, names: Mapping[str, str]) -> Fragment:
    called = kind.endswith(("arguments.delta", "_input.delta", "_call_command.delta"))
    tool = names.get(str(value.get("item_id"))) if called else None
    if kind.endswith("_call_command.delta"):
        tool = kind.removeprefix("response.").partition("_call")[0]
    return Fragment(_channel(value, kind), ("delta",), delta, "tool_argument" if called else "text", tool)


def _channel(value: Mapping[str, Any], kind: str) -> Path:
    return ("item", kind, *_item(value), *(str(value.get(k)) for k in _INDICES))


def _item(value: Mapping[str, Any]) -> tuple[str, str]:
    item = value.get("item")
    known = value.get("item_id") or (item.get("id") if type(item) is dict else None)
    return str(known), str(value.get("output_index"))


# --------------------------------------------------------------------------- where channels end


def ending(value: Any, channels: Collection[Path]) -> list[Path]:
    """The channels that nothing follows after this event."""
    if type(value) is not dict or not channels:
        return []
    if type(choices := value.get("choices")) is list:
        if all(type(c) is dict and c.get("finish_reason") is None for c in choices):
            return []
        done = (c for c in choices if type(c) is dict and c.get("finish_reason") is not None)
        ended = {str(c.get("index", 0)) for c in done}
        return [key for key in channels if key[0] == "choice" and key[1] in ended]
    kind = value.get("type")
    if str(value.get("object")).startswith("thread"):
        return _ended_objects(value, channels)
    if type(kind) is not str:
        return []
    if kind == "error" or (kind.startswith("response.") and kind.count(".") == 1 and kind.endswith(_ENDINGS)):
        return list(channels)
    if not kind.endswith(_ENDINGS):
        return []
    return [key for key in channels if key[0] == "item" and _ends(key, kind, value)]


def _ended_objects(value: dict[str, Any], channels: Collection[Path]) -> list[Path]:
    """Events of assistants: a whole object ends its deltas, a run all of them."""
    if "delta" in value:
        return []
    everything = value["object"] == "thread.run"
    return [key for key in channels if key[0] == "object" and (everything or key[1] == value.get("id"))]


def _ends(channel: Path, kind: str, value: dict[str, Any]) -> bool:
    """Whether an event such as ``response.output_text.done`` finishes a channel of the same item."""
    item, output = _item(value)
    if item not in ("None", channel[2]) or output not in ("None", channel[3]):
        return False
    stem = kind.rpartition(".")[0]
    if stem.endswith("output_item"):
        return True
    content, *others = (str(value.get(k)) for k in _INDICES)
    if stem.endswith("content_part"):
        return content == channel[4]
    return channel[1] == f"{stem}.delta" and (content, *others) == channel[4:7]


def cited(value: Any) -> Iterator[tuple[Path, Path, Sequence[Any] | Mapping[str, Any]]]:
    """Annotations that come apart from their text: the channel of that text, and where their list stands."""
    kind = value.get("type")
    if type(kind) is str and kind.endswith(".annotation.added"):
        yield (
            _channel(value, f"{kind.removesuffix('.annotation.added')}.delta"),
            (),
            {"annotation": value.get("annotation")},
        )
    for i, choice in enumerate(value.get("choices") or ()):
        if type(notes := offsets.at(choice, ("delta", "annotations"))) is list:
            yield ("choice", str(choice.get("index", 0)), "content"), ("choices", i, "delta", "annotations"), notes
    for i, part in enumerate(offsets.at(value, ("delta", "content")) or ()):
        if type(notes := offsets.at(part, ("text", "annotations"))) is list:
            said: Path = ("object", str(value.get("id")), "content", str(part.get("index", i)), "text", "value")
            yield said, ("delta", "content", i, "text", "annotations"), notes
