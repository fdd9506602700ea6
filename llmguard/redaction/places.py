"""Places: where the strings of an answer stand, and what happens to each once it has arrived."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Sink = Literal["text", "tool_argument", "url"]

_LINKS = frozenset(("url", "uri", "href", "src", "image_url", "audio_url", "video_url", "file_url", "server_url"))
"""Keys of an answer whose value is fetched by whoever shows it."""


@dataclass(frozen=True, slots=True)
class AnswerPlace:
    """One string of an answer: its number in lexical order, and what happens to it once it has arrived."""

    number: int
    text: str = field(repr=False)
    is_key: bool
    sink: Sink
    tool: str | None


def places(value: Any, names: Mapping[str, str] | None = None) -> Iterator[AnswerPlace]:
    """Every string of an answer. ``names``: tool names by item id, for events that name the item only."""
    walk = _Places(names or {})
    return walk.value(value, "text", None)


class _Places:
    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names
        self._next = -1

    def value(self, value: Any, sink: Sink, tool: str | None) -> Iterator[AnswerPlace]:
        if type(value) is str:
            self._next += 1
            yield AnswerPlace(self._next, value, False, sink, tool)
        elif type(value) is list:
            for child in value:
                yield from self.value(child, sink, tool)
        elif type(value) is dict:
            for key, child in value.items():
                self._next += 1
                yield AnswerPlace(self._next, key, True, sink, tool)
                if sink == "text" and key in _LINKS:
                    yield from self.value(child, "url", None)
                else:
                    yield from self.value(child, *(self._argument(value, key) or (sink, tool)))

    def _argument(self, node: Mapping[str, Any], key: str) -> tuple[Sink, str | None] | None:
        """The tool that the value under ``key`` is an argument of."""
        kind = node.get("type")
        called = type(kind) is str and (kind.endswith("_call") or kind == "tool_use")
        if key == "arguments" or (key == "input" and (called or "input" in str(kind))):
            return "tool_argument", self._named(node)
        if key == "action" and called:
            return "tool_argument", str(kind).removesuffix("_call")
        if key == "command" and type(kind) is str and "_call_command." in kind:
            return "tool_argument", kind.removeprefix("response.").partition("_call")[0]
        return None

    def _named(self, node: Mapping[str, Any]) -> str | None:
        name = node.get("name")
        if type(name) is not str:
            name = self._names.get(str(node.get("item_id")))
        return name
