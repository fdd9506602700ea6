"""Drawn: texts that an expression may match, for tests, and templates of them, for examples.

Owns: choosing characters. Never does: asking the original, whose look-around is not regarded here: the caller does.
Invariant: a template holds holes wherever the expression leaves a choice, so that it is a look-alike of nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

from llmguard.catalogue.expressions import Nodes, codes, edge, members, parsed, span
from llmguard.catalogue.templates import ALPHABETS

_MORE = 9
"""Repeats drawn beyond the least where there is no end."""
_SETS = sorted(ALPHABETS, key=lambda name: (-len(ALPHABETS[name]), name))


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
        if op is codes.LITERAL:
            return chr(value)
        if op is codes.BRANCH:
            return self.all(self._random.choice(value[1]))
        if op is codes.SUBPATTERN:
            text = self.all(value[3])
            self._said[value[0]] = text
            return text
        if op is codes.GROUPREF:
            return self._said.get(value, "")
        if op in (codes.MAX_REPEAT, codes.MIN_REPEAT):
            return self._repeated(*value)
        if op in (codes.AT, codes.ASSERT, codes.ASSERT_NOT):
            return self.all(value[1]) if op is codes.ASSERT and value[0] < 0 else ""
        return self._random.choice(members(node))

    def _repeated(self, low: int, high: Any, inner: Nodes) -> str:
        few = self._random.random() < 0.5  # or what repeats inside of a repeat has no end
        most = low + (1 if few else _MORE) if high is codes.MAXREPEAT else min(high, low + 24)
        return "".join(self.all(inner) for _ in range(self._random.randint(low, most)))


def template(expression: str, flags: int, group: int = 0) -> str:
    """An example with the value marked by «», its characters as holes: ``ab-«{digits:6}»``. Raises: NotConvertible."""
    nodes, _ = parsed(expression, flags)
    if group:
        at = next(i for i, n in enumerate(nodes) if n[0] is codes.SUBPATTERN and n[1][0] == group)
        pieces = (edge(nodes[:at], 0)[0], nodes[at : at + 1], nodes[at + 1 :])
    else:
        middle, left = edge(nodes, 0)
        middle, _ = edge(middle, -1)
        pieces = ([n for n in left if n[0] is codes.ASSERT], middle, [])
    before, value, after = ("".join(_hole(c) for c in _merged(_holes(p))) for p in pieces)
    return f"{before}«{value}»{after}"


Piece = tuple[str, int]
"""An alphabet's name and a length, or a text and 0."""


def _holes(nodes: Nodes) -> Iterator[Piece]:
    for op, value in nodes:
        if op is codes.BRANCH:
            yield from _holes(max(value[1], key=lambda branch: sum(map(span, branch))))
        elif op is codes.SUBPATTERN:
            yield from _holes(value[3])
        elif op in (codes.MAX_REPEAT, codes.MIN_REPEAT):
            low, high, inner = value
            yield from list(_holes(inner)) * (low or (1 if high == 1 and _wide(inner) else 0))
        elif op is codes.ASSERT and value[0] < 0:
            yield from _holes(value[1])
        elif op not in (codes.AT, codes.ASSERT, codes.ASSERT_NOT):
            allowed = members((op, value))
            name = next((s for s in _SETS if set(ALPHABETS[s]) <= set(allowed)), "")
            yield (name, 1) if name else (allowed[len(allowed) // 2], 0)


def _wide(nodes: Nodes) -> bool:
    """Whether an optional piece is more than a separator."""
    return sum(map(span, nodes)) > 1


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
