"""Places: where the strings of an answer stand, and what happens to each once it has arrived."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Sink = Literal["text", "tool_argument", "url"]

_LINKS = frozenset(("url", "uri", "href", "src", "image_url", "audio_url", "video_url", "file_url", "server_url"))
"""Keys of an answer whose value is fetched by whoever shows it."""
_ARGUMENTS = frozenset(("arguments", "input", "action", "command"))
"""Keys of an answer whose value may be a tool's arguments."""


@dataclass(frozen=True, slots=True)
class AnswerPlace:
    """One string of an answer: its number in lexical order, and what happens to it once it has arrived."""

    number: int
    text: str = field(repr=False)
    is_key: bool
    sink: Sink
    tool: str | None


def places(
    value: Any, names: Mapping[str, str] | None = None, wanted: Callable[[str], bool] | None = None
) -> list[AnswerPlace]:
    """The strings of an answer, or those that are ``wanted``.

    ``names``: tool names by item id, for events that name the item only.
    """
    walk = _Places(names or {}, wanted)
    walk.value(value, "text", None)
    return walk.found


class _Places:
    def __init__(self, names: Mapping[str, str], wanted: Callable[[str], bool] | None) -> None:
        self._names = names
        self._wanted = wanted
        self._next = -1
        self.found: list[AnswerPlace] = []

    def value(self, value: Any, sink: Sink, tool: str | None) -> None:
        kind = type(value)
        if kind is str:
            self._string(value, False, sink, tool)
        elif kind is list:
            for child in value:
                self.value(child, sink, tool)
        elif kind is dict:
            for key, child in value.items():
                self._string(key, True, sink, tool)
                if sink == "text" and key in _LINKS:
                    self.value(child, "url", None)
                elif key in _ARGUMENTS:
                    self.value(child, *(self._argument(value, key) or (sink, tool)))
                else:
                    self.value(child, sink, tool)

    def _string(self, text: str, is_key: bool, sink: Sink, tool: str | None) -> None:
        self._next += 1
        if self._wanted is None or self._wanted(text):
            self.found.append(AnswerPlace(self._next, text, is_key, sink, tool))

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
