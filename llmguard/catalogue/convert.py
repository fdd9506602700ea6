"""Convert: an expression of Python's ``re`` or ``regex`` as RE2, as a template of an example, and as texts that fit it.

Owns: the walk over a parsed expression. Never does: running one over other people's text. Invariant: what the original
matches, the converted one matches with the same value, if both of its neighbours are text: a look-around inside a value
is dropped (it can only narrow), one at its edge becomes a group beside the value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from random import Random
from typing import Any

from llmguard.catalogue.templates import ALPHABETS

_parser: Any = import_module("re._parser")
_c: Any = import_module("re._constants")

Nodes = Sequence[tuple[Any, Any]]
_IGNORECASE = re.compile(r"\(\?i\)")
_MORE = 3
"""Repeats drawn beyond the least where there is no end."""
_CLASSES = {"CATEGORY_DIGIT": r"\d", "CATEGORY_SPACE": r"\s", "CATEGORY_WORD": r"\w"}
_CLASSES |= {f"CATEGORY_NOT_{k[9:]}": v.upper() for k, v in _CLASSES.items()}
_MEMBERS = {r"\d": "0123456789", r"\s": " ", r"\w": "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"}
_PRINTABLE = "".join(map(chr, range(33, 127)))


class NotConvertible(ValueError):
    """An expression that uses what RE2 has no word for, and what that is."""


@dataclass(frozen=True, slots=True)
class Converted:
    """RE2 text of what stands before a value, of the value and of what stands behind it; empty for nothing."""

    before: str
    value: str
    after: str
    caseless: bool

    @property
    def pattern(self) -> str:
        flag = "(?i)" if self.caseless else ""
        return f"{flag}{self.before}(?P<value>{self.value}){self.after}"


def parsed(expression: str, flags: int) -> tuple[Nodes, bool]:
    """The parsed expression and whether case is ignored. Raises: NotConvertible.

    ``flags`` are those of ``re``: IGNORECASE, MULTILINE, DOTALL and VERBOSE are the ones that count.
    """
    plain = _IGNORECASE.sub("", expression)
    caseless = bool(flags & re.IGNORECASE) or plain != expression
    try:
        tree = _parser.parse(plain, flags & (re.VERBOSE | re.DOTALL | re.MULTILINE))
    except re.error as e:
        raise NotConvertible(str(e)) from None
    return _unwrapped(list(tree)), caseless


def _unwrapped(nodes: Nodes) -> Nodes:
    """Without a group around the whole: its edges are the expression's."""
    while len(nodes) == 1 and nodes[0][0] is _c.SUBPATTERN:
        nodes = list(nodes[0][1][3])
    return nodes


def converted(expression: str, flags: int, group: int = 0) -> Converted:
    """The expression in RE2's dialect; ``group``: the numbered group that is the value, 0 for all of it.

    Raises: NotConvertible.
    """
    nodes, caseless = parsed(expression, flags)
    emit = _Emitter(nodes, bool(flags & re.DOTALL))
    if group:
        at = next((i for i, n in enumerate(nodes) if n[0] is _c.SUBPATTERN and n[1][0] == group), None)
        if at is None:
            raise NotConvertible(f"group {group} does not stand at the top")
        before, value, after = nodes[:at], nodes[at][1][3], nodes[at + 1 :]
        before, left = _edge(before, 0)
        tail, right = _edge(value, -1)
        behind = emit.around(right, -1) + emit.all(after)
        return Converted(emit.around(left, 0) + emit.all(before), emit.all(tail), behind, caseless)
    middle, left = _edge(nodes, 0)
    middle, right = _edge(middle, -1)
    return Converted(emit.around(left, 0), emit.all(middle), emit.around(right, -1), caseless)


def _edge(nodes: Nodes, side: int) -> tuple[Nodes, Nodes]:
    """What is left without the look-around at one ``side`` (0 or -1), and that look-around."""
    rest, taken = list(nodes), []
    while rest and _outward(rest[side], side):
        taken.append(rest.pop(side))
    return rest, taken


def _outward(node: tuple[Any, Any], side: int) -> bool:
    """Whether a node takes nothing, and looks away from what stands on its other side."""
    op, value = node
    if op is _c.BRANCH:
        return all(len(branch) == 1 and _outward(branch[0], side) for branch in value[1])
    return op is _c.AT or (op in (_c.ASSERT, _c.ASSERT_NOT) and (value[0] < 0) is (side == 0))


class _Emitter:
    """Writes nodes in RE2's syntax. Back-references are written as what their group may be."""

    def __init__(self, nodes: Nodes, dotall: bool) -> None:
        self._any = "(?s:.)" if dotall else "."
        self._groups = dict(_groups(nodes))

    def all(self, nodes: Nodes) -> str:
        return "".join(map(self.one, nodes))

    def around(self, nodes: Nodes, side: int) -> str:
        """Look-around at an edge, as boundaries and groups that stand outside of the value."""
        ordered = nodes if side == 0 else list(reversed(nodes))
        return "".join(self._beside(node, side) for node in ordered)

    def _beside(self, node: tuple[Any, Any], side: int) -> str:
        op, value = node
        if op is _c.AT:
            return self.one(node)
        if op is _c.BRANCH:
            return "(?:" + "|".join(self.around(branch, side) for branch in value[1]) + ")"
        inner = list(value[1])
        if op is _c.ASSERT:
            return f"(?:{self.all(inner)})"
        members = _members(inner)
        if members is None:
            return ""  # more than one character: dropping it can only widen
        edge = "^" if side == 0 else "$"
        other = f"(?:{edge}|[^{members}])"
        return other if side == 0 else f"(?:[^{members}]|{edge})"

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
            _c.LITERAL,
            _c.NOT_LITERAL,
            _c.IN,
            _c.ANY,
            _c.SUBPATTERN,
            _c.BRANCH,
        )
        return (body if single else f"(?:{body})") + _count(low, high) + lazy


def _count(low: int, high: Any) -> str:
    if high is _c.MAXREPEAT or high > 255:  # RE2 leaves its fast path for large counts; the value is as long as it is
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
    _c.LITERAL: _Emitter.literal,
    _c.NOT_LITERAL: _Emitter.not_literal,
    _c.ANY: _Emitter.any,
    _c.IN: _Emitter.inside,
    _c.AT: _Emitter.at,
    _c.BRANCH: _Emitter.branch,
    _c.SUBPATTERN: _Emitter.group,
    _c.GROUPREF: _Emitter.reference,
    _c.ASSERT: _Emitter.dropped,
    _c.ASSERT_NOT: _Emitter.dropped,
    _c.MAX_REPEAT: _Emitter.repeat,
    _c.MIN_REPEAT: _Emitter.lazy,
}


def _item(node: tuple[Any, Any]) -> str:
    op, value = node
    if op is _c.NEGATE:
        return "^"
    if op is _c.LITERAL:
        return _inside(value)
    if op is _c.RANGE:
        return f"{_inside(value[0])}-{_inside(value[1])}"
    return _CLASSES[str(value)]


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
    if op is _c.LITERAL:
        return _inside(value)
    if op is _c.IN and value[0][0] is not _c.NEGATE:
        return "".join(map(_item, value))
    if op is _c.BRANCH:
        return "".join(filter(None, (_members(branch) for branch in value[1]))) or None
    return None


def _groups(nodes: Nodes) -> Iterator[tuple[int, Nodes]]:
    for op, value in nodes:
        if op is _c.SUBPATTERN:
            if value[0] is not None:
                yield value[0], value[3]
            yield from _groups(value[3])
        elif op is _c.BRANCH:
            for branch in value[1]:
                yield from _groups(branch)
        elif op in (_c.MAX_REPEAT, _c.MIN_REPEAT):
            yield from _groups(value[2])


# --------------------------------------------------------------------------- texts that fit


def drawn(nodes: Nodes, random: Random) -> str:
    """A text that the expression may match: look-around is not regarded, so that the caller asks the original."""
    return _Drawing(random).all(nodes)


class _Drawing:
    def __init__(self, random: Random) -> None:
        self._random = random
        self._said: dict[int, str] = {}

    def all(self, nodes: Nodes) -> str:
        return "".join(map(self.one, nodes))

    def one(self, node: tuple[Any, Any]) -> str:
        op, value = node
        if op is _c.LITERAL:
            return chr(value)
        if op is _c.BRANCH:
            return self.all(self._random.choice(value[1]))
        if op is _c.SUBPATTERN:
            text = self.all(value[3])
            self._said[value[0]] = text
            return text
        if op is _c.GROUPREF:
            return self._said.get(value, "")
        if op in (_c.MAX_REPEAT, _c.MIN_REPEAT):
            return self._repeated(*value)
        if op in (_c.AT, _c.ASSERT, _c.ASSERT_NOT):
            return self.all(value[1]) if op is _c.ASSERT and value[0] < 0 else ""
        return self._random.choice(members(node))

    def _repeated(self, low: int, high: Any, inner: Nodes) -> str:
        most = low + _MORE if high is _c.MAXREPEAT else min(high, low + 24)
        return "".join(self.all(inner) for _ in range(self._random.randint(low, most)))


def members(node: tuple[Any, Any]) -> str:
    """The printable ASCII characters that a node of one character allows."""
    op, value = node
    if op is _c.LITERAL:
        return chr(value)
    if op is _c.ANY:
        return _PRINTABLE
    if op is _c.NOT_LITERAL:
        return _PRINTABLE.replace(chr(value), "")
    listed = "".join(_listed(item) for item in value if item[0] is not _c.NEGATE)
    if value[0][0] is _c.NEGATE:
        return "".join(c for c in _PRINTABLE if c not in listed)
    return listed


def _listed(item: tuple[Any, Any]) -> str:
    op, value = item
    if op is _c.LITERAL:
        return chr(value)
    if op is _c.RANGE:
        return "".join(map(chr, range(value[0], value[1] + 1)))
    return _MEMBERS.get(_CLASSES[str(value)], _PRINTABLE)


# --------------------------------------------------------------------------- templates

_SETS = sorted(ALPHABETS, key=lambda name: (-len(ALPHABETS[name]), name))


def template(expression: str, flags: int, group: int = 0) -> str:
    """An example with the value marked by «», its characters as holes: ``ab-«{digits:6}»``. Raises: NotConvertible."""
    nodes, _ = parsed(expression, flags)
    if group:
        at = next(i for i, n in enumerate(nodes) if n[0] is _c.SUBPATTERN and n[1][0] == group)
        pieces = (nodes[:at], nodes[at : at + 1], nodes[at + 1 :])
    else:
        middle, left = _edge(nodes, 0)
        middle, _ = _edge(middle, -1)
        pieces = ([n for n in left if n[0] is _c.ASSERT], middle, [])
    before, value, after = ("".join(_hole(c) for c in _merged(_holes(p))) for p in pieces)
    return f"{before}«{value}»{after}"


def width(expression: str, flags: int) -> int:
    """The greatest length in characters of what an expression matches; bounded where it has no end."""
    nodes, _ = parsed(expression, flags)
    return sum(_width(n) for n in nodes)


def _width(node: tuple[Any, Any]) -> int:
    op, value = node
    if op is _c.AT or op is _c.ASSERT_NOT:
        return 0
    if op is _c.ASSERT:
        return sum(map(_width, value[1]))
    if op is _c.BRANCH:
        return max(sum(map(_width, branch)) for branch in value[1])
    if op is _c.SUBPATTERN:
        return sum(map(_width, value[3]))
    if op in (_c.MAX_REPEAT, _c.MIN_REPEAT):
        low, high, inner = value
        return (low + 8 if high is _c.MAXREPEAT else int(high)) * sum(map(_width, inner))
    return 1


Piece = tuple[str, int]
"""An alphabet's name and a length, or a text and 0."""


def _holes(nodes: Nodes) -> Iterator[Piece]:
    for op, value in nodes:
        if op is _c.BRANCH:
            yield from _holes(max(value[1], key=lambda branch: sum(map(_width, branch))))
        elif op is _c.SUBPATTERN:
            yield from _holes(value[3])
        elif op in (_c.MAX_REPEAT, _c.MIN_REPEAT):
            low, high, inner = value
            yield from list(_holes(inner)) * (low or (1 if high == 1 and _wide(inner) else 0))
        elif op is _c.ASSERT and value[0] < 0:
            yield from _holes(value[1])
        elif op not in (_c.AT, _c.ASSERT, _c.ASSERT_NOT):
            allowed = members((op, value))
            name = next((s for s in _SETS if set(ALPHABETS[s]) <= set(allowed)), "")
            yield (name, 1) if name else (allowed[len(allowed) // 2], 0)


def _wide(nodes: Nodes) -> bool:
    """Whether an optional piece is more than a separator."""
    return sum(map(_width, nodes)) > 1


def _merged(pieces: Iterator[Piece]) -> Iterator[Piece]:
    last: Piece | None = None
    for name, length in pieces:
        if last is not None and length and last[1] and last[0] == name:
            last = (name, last[1] + length)
            continue
        if last is not None:
            yield last
        last = (name, length)
    if last is not None:
        yield last


def _hole(piece: Piece) -> str:
    return f"{{{piece[0]}:{piece[1]}}}" if piece[1] else piece[0]
