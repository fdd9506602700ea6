"""Convert: an expression of Python's ``re`` or ``regex`` as RE2.

Owns: the writing of RE2. Never does: running an expression over other people's text. Invariant: what the original
matches, the converted one matches with the same value, if both of its neighbours are text: a look-around inside a value
is dropped (it can only narrow), one at its edge becomes a group beside the value.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llmguard.catalogue.expressions import (
    Nodes,
    NotConvertible,
    class_of,
    codes,
    edge,
    groups,
    parsed,
)


@dataclass(frozen=True, slots=True)
class Converted:
    """RE2 text of what stands before a value, of the value and of what stands behind it; empty for nothing."""

    before: str
    value: str
    after: str
    caseless: bool
    core: str
    """What is left without the edges: an anchor, for it hits wherever the pattern does."""

    @property
    def pattern(self) -> str:
        flag = "(?i)" if self.caseless else ""
        return f"{flag}{self.before}(?P<value>{self.value}){self.after}"


def converted(expression: str, flags: int, group: int = 0) -> Converted:
    """The expression in RE2's dialect; ``group``: the numbered group that is the value, 0 for all of it.

    Raises: NotConvertible.
    """
    nodes, caseless = parsed(expression, flags)
    emit = _Emitter(nodes, bool(flags & re.DOTALL))
    if group:
        at = next(
            (i for i, n in enumerate(nodes) if n[0] is codes.SUBPATTERN and n[1][0] == group),
            None,
        )
        if at is None:
            raise NotConvertible(f"group {group} does not stand at the top")
        before, value, after = nodes[:at], nodes[at][1][3], nodes[at + 1 :]
        before, left = edge(before, 0)
        tail, right = edge(value, -1)
        behind = emit.around(right, -1) + emit.all(after)
        head, inner = emit.all(before), emit.all(tail)
        return Converted(emit.around(left, 0) + head, inner, behind, caseless, head + inner)
    middle, left = edge(nodes, 0)
    middle, right = edge(middle, -1)
    inner = emit.all(middle)
    head = emit.around([n for n in left if n[0] is codes.ASSERT], 0)  # words that have to stand before a value
    return Converted(emit.around(left, 0), inner, emit.around(right, -1), caseless, head + inner)


class _Emitter:
    """Writes nodes in RE2's syntax. Back-references are written as what their group may be."""

    def __init__(self, nodes: Nodes, dotall: bool) -> None:
        self._any = "(?s:.)" if dotall else "."
        self._groups = dict(groups(nodes))

    def all(self, nodes: Nodes) -> str:
        return "".join(map(self.one, nodes))

    def around(self, nodes: Nodes, side: int) -> str:
        """Look-around at an edge, as boundaries and groups that stand outside of the value."""
        ordered = nodes if side == 0 else list(reversed(nodes))
        return "".join(self._beside(node, side) for node in ordered)

    def _beside(self, node: tuple[Any, Any], side: int) -> str:
        op, value = node
        if op is codes.AT:
            return self.one(node)
        if op is codes.BRANCH:
            return "(?:" + "|".join(self.around(branch, side) for branch in value[1]) + ")"
        inner = list(value[1])
        if op is codes.ASSERT:
            return f"(?:{self.all(inner)})"
        members = _members(inner)
        if members is None:
            return ""  # more than one character: dropping it can only widen
        rim = "^" if side == 0 else "$"
        other = f"(?:{rim}|[^{members}])"
        return other if side == 0 else f"(?:[^{members}]|{rim})"

    def one(self, node: tuple[Any, Any]) -> str:
        op, value = node
        written = _WRITE.get(op)
        if written is None:
            raise NotConvertible(f"{str(op).lower()} is not known to RE2")
        return written(self, value)

    def literal(self, value: int) -> str:
        return re.escape(chr(value)) if value < 128 else chr(value)

    def not_literal(self, value: int) -> str:
        return f"[^{_inside(value)}]"

    def any(self, _: Any) -> str:
        return self._any

    def inside(self, value: Nodes) -> str:
        return "[" + "".join(map(_item, value)) + "]"

    def at(self, value: Any) -> str:
        return str(_AT[str(value)])

    def branch(self, value: Any) -> str:
        return "(?:" + "|".join(self.all(branch) for branch in value[1]) + ")"

    def group(self, value: Any) -> str:
        return f"(?:{self.all(value[3])})"

    def reference(self, value: int) -> str:
        return f"(?:{self.all(self._groups[value])})"

    def dropped(self, _: Any) -> str:
        return ""

    def repeat(self, value: Any) -> str:
        return self._repeat(value, "")

    def lazy(self, value: Any) -> str:
        return self._repeat(value, "?")

    def _repeat(self, value: Any, lazy: str) -> str:
        low, high, inner = value
        body = self.all(inner)
        single = len(inner) == 1 and inner[0][0] in (
            codes.LITERAL,
            codes.NOT_LITERAL,
            codes.IN,
            codes.ANY,
            codes.SUBPATTERN,
            codes.BRANCH,
        )
        return (body if single else f"(?:{body})") + _count(low, high) + lazy


def _count(low: int, high: Any) -> str:
    if (
        high is codes.MAXREPEAT or high > 255
    ):  # RE2 leaves its fast path for large counts; the value is as long as it is
        return {0: "*", 1: "+"}.get(low, f"{{{low},}}")
    short = {(0, 1): "?", (1, 1): ""}.get((low, high))
    return short if short is not None else f"{{{low}}}" if low == high else f"{{{low},{high}}}"


_AT = {
    "AT_BEGINNING": "^",
    "AT_BEGINNING_STRING": "^",
    "AT_BOUNDARY": r"\b",
    "AT_NON_BOUNDARY": r"\B",
    "AT_END": "$",
    "AT_END_STRING": "$",
}
_WRITE: dict[Any, Callable[[_Emitter, Any], str]] = {
    codes.LITERAL: _Emitter.literal,
    codes.NOT_LITERAL: _Emitter.not_literal,
    codes.ANY: _Emitter.any,
    codes.IN: _Emitter.inside,
    codes.AT: _Emitter.at,
    codes.BRANCH: _Emitter.branch,
    codes.SUBPATTERN: _Emitter.group,
    codes.GROUPREF: _Emitter.reference,
    codes.ASSERT: _Emitter.dropped,
    codes.ASSERT_NOT: _Emitter.dropped,
    codes.MAX_REPEAT: _Emitter.repeat,
    codes.MIN_REPEAT: _Emitter.lazy,
}


def _item(node: tuple[Any, Any]) -> str:
    op, value = node
    if op is codes.NEGATE:
        return "^"
    if op is codes.LITERAL:
        return _inside(value)
    if op is codes.RANGE:
        return f"{_inside(value[0])}-{_inside(value[1])}"
    return class_of(value)


def _inside(value: int) -> str:
    """A character as part of a class."""
    character = chr(value)
    return f"\\{character}" if character in r"\]^-[" else repr(character)[1:-1] if value < 32 else character


def _members(nodes: Nodes) -> str | None:
    """What one character may be, written as the inside of a class; None for what is no single character.

    Of alternatives those count that are one character long.
    """
    if len(nodes) != 1:
        return None
    op, value = nodes[0]
    if op is codes.LITERAL:
        return _inside(value)
    if op is codes.IN and value[0][0] is not codes.NEGATE:
        return "".join(map(_item, value))
    if op is codes.BRANCH:
        return "".join(filter(None, (_members(branch) for branch in value[1]))) or None
    return None
