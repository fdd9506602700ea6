"""Expressions: those of Python's ``re`` and ``regex``, parsed, and what can be said of them without running one.

Owns: the walk over a parsed expression. Never does: matching. Invariant: look-around at an edge is told apart from the
value, look-around inside it is not counted as text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any

codes: Any = import_module("re._constants")
_parser: Any = import_module("re._parser")

Nodes = Sequence[tuple[Any, Any]]
_IGNORECASE = re.compile(r"\(\?i\)")
_CLASSES = {"CATEGORY_DIGIT": r"\d", "CATEGORY_SPACE": r"\s", "CATEGORY_WORD": r"\w"}
_CLASSES |= {f"CATEGORY_NOT_{k[9:]}": v.upper() for k, v in _CLASSES.items()}
_MEMBERS = {
    r"\d": "0123456789",
    r"\s": " ",
    r"\w": "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_",
}
_PRINTABLE = "".join(map(chr, range(33, 127)))


class NotConvertible(ValueError):
    """An expression that uses what RE2 has no word for, and what that is."""


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
    while len(nodes) == 1 and nodes[0][0] is codes.SUBPATTERN:
        nodes = list(nodes[0][1][3])
    return nodes


def edge(nodes: Nodes, side: int) -> tuple[Nodes, Nodes]:
    """What is left without the look-around at one ``side`` (0 or -1), and that look-around."""
    rest, taken = list(nodes), []
    while rest and _outward(rest[side], side):
        taken.append(rest.pop(side))
    return rest, taken


def _outward(node: tuple[Any, Any], side: int) -> bool:
    """Whether a node takes nothing, and looks away from what stands on its other side."""
    op, value = node
    if op is codes.BRANCH:
        return all(len(branch) == 1 and _outward(branch[0], side) for branch in value[1])
    return op is codes.AT or (op in (codes.ASSERT, codes.ASSERT_NOT) and (value[0] < 0) is (side == 0))


def groups(nodes: Nodes) -> Iterator[tuple[int, Nodes]]:
    """Number and content of every group, inner ones too."""
    for op, value in nodes:
        if op is codes.SUBPATTERN:
            if value[0] is not None:
                yield value[0], value[3]
            yield from groups(value[3])
        elif op is codes.BRANCH:
            for branch in value[1]:
                yield from groups(branch)
        elif op in (codes.MAX_REPEAT, codes.MIN_REPEAT):
            yield from groups(value[2])


def width(expression: str, flags: int) -> int:
    """The greatest length in characters of what an expression matches; bounded where it has no end."""
    nodes, _ = parsed(expression, flags)
    return sum(span(n) for n in nodes)


def span(node: tuple[Any, Any]) -> int:
    """The greatest length of what one node matches."""
    op, value = node
    if op is codes.AT or op is codes.ASSERT_NOT:
        return 0
    if op is codes.ASSERT:
        return sum(map(span, value[1]))
    if op is codes.BRANCH:
        return max(sum(map(span, branch)) for branch in value[1])
    if op is codes.SUBPATTERN:
        return sum(map(span, value[3]))
    if op in (codes.MAX_REPEAT, codes.MIN_REPEAT):
        low, high, inner = value
        return (low + 8 if high is codes.MAXREPEAT else int(high)) * sum(map(span, inner))
    return 1


def members(node: tuple[Any, Any]) -> str:
    """The printable ASCII characters that a node of one character allows."""
    op, value = node
    if op is codes.LITERAL:
        return chr(value)
    if op is codes.ANY:
        return _PRINTABLE
    if op is codes.NOT_LITERAL:
        return _PRINTABLE.replace(chr(value), "")
    listed = "".join(_listed(item) for item in value if item[0] is not codes.NEGATE)
    if value[0][0] is codes.NEGATE:
        return "".join(c for c in _PRINTABLE if c not in listed)
    return listed


def _listed(item: tuple[Any, Any]) -> str:
    op, value = item
    if op is codes.LITERAL:
        return chr(value)
    if op is codes.RANGE:
        return "".join(map(chr, range(value[0], value[1] + 1)))
    return _MEMBERS.get(_CLASSES[str(value)], _PRINTABLE)


def class_of(value: Any) -> str:
    """A category as a class of RE2."""
    return _CLASSES[str(value)]
