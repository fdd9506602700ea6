"""Demands: what every match of an expression must hold, told from the expression itself.

Most texts hold few digits and no long token. What can only match where there are some is not looked for elsewhere.
Invariant: a demand that is told is held by every match; whatever is not understood demands nothing.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from enum import IntEnum
from importlib import import_module
from typing import Any, NamedTuple

DIGITS = 4
TOKEN = 12
LONG = 16
ALPHABET = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/_-=.")
_FIGURES = frozenset(b"0123456789")
NO_DIGITS = bytes(c for c in range(256) if c not in _FIGURES)
"""What is deleted from a text to count its digits."""
TOKENS = bytes(ord("a") if c in ALPHABET else ord(" ") for c in range(256))
"""What a text is translated by to see its tokens, as runs of ``a``."""
_LITERAL = 3
"""Letters in a row from which on an expression is looked for nearly for nothing."""
_codes: Any = import_module("re._constants")
_parser: Any = import_module("re._parser")
_CATEGORIES = {_codes.CATEGORY_DIGIT: _FIGURES, _codes.CATEGORY_WORD: ALPHABET}
_REPEATS = (_codes.MAX_REPEAT, _codes.MIN_REPEAT)
_EMPTY = (_codes.AT, _codes.ASSERT, _codes.ASSERT_NOT)

Nodes = Sequence[tuple[Any, Any]]
Belongs = Callable[[Any, Any], bool]
"""Whether a node is one character of a kind."""


class Demand(IntEnum):
    """What a text must hold for an expression to be looked for in it."""

    NOTHING = 0
    FIGURES = 1
    """``DIGITS`` digits."""
    LENGTH = 2
    """``TOKEN`` bytes of ``ALPHABET`` without anything between them."""
    LONG = 3
    """``LONG`` bytes of ``ALPHABET``: longer than nearly all words."""
    BEYOND = 4
    """A byte beyond ASCII."""


TRIGGERS = {
    Demand.FIGURES: rb"[0-9][^0-9]*[0-9][^0-9]*[0-9][^0-9]*[0-9]",
    Demand.LENGTH: rb"[A-Za-z0-9+/_=.-]{%d}" % TOKEN,
    Demand.LONG: rb"[A-Za-z0-9+/_=.-]{%d}" % LONG,
}
"""What says that a text holds it (Hyperscan's syntax); what is beyond ASCII a text says itself."""


def of(expression: bytes) -> Demand:
    """The demand of an expression in Hyperscan's syntax."""
    try:
        tree = _parsed(expression.decode("utf-8"))
    except UnicodeDecodeError:
        return Demand.NOTHING
    if tree is None:
        return Demand.NOTHING
    if _held(tree, _is_literal).run >= _LITERAL:
        return Demand.NOTHING
    if _digits(tree) >= DIGITS:
        return Demand.FIGURES
    run = _held(tree, _is_token).run
    if run >= TOKEN:
        return Demand.LONG if run >= LONG else Demand.LENGTH
    return Demand.BEYOND if _held(tree, _is_beyond).run else Demand.NOTHING


def figures(pattern: str) -> int:
    """Digits that every match of a pattern (RE2's syntax) holds, wherever they stand; 0 if that is not known."""
    return _digits(tree) if (tree := _parsed(pattern)) is not None else 0


def token(pattern: str) -> int:
    """Bytes of ``ALPHABET`` in a row that every match of a pattern holds; 0 if that is not known. Where case does not
    matter, ``k`` and ``s`` have forms beyond ASCII.
    """
    return 0 if "(?i" in pattern or (tree := _parsed(pattern)) is None else _held(tree, _is_token).run


def _parsed(pattern: str) -> Nodes | None:
    if "[:" in pattern:  # POSIX classes, which Python reads as something else
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree: Nodes = _parser.parse(pattern)
    except (re.error, ValueError, RecursionError, OverflowError):
        return None
    return tree


def branches(expression: bytes) -> list[bytes]:
    """The alternatives of an expression that is nothing but alternatives, each with the flags at its head."""
    flags = b"(?i)" if expression.startswith(b"(?i)") else b""
    found, start, depth, at = [], len(flags), 0, len(flags)
    while at < len(expression):
        character = expression[at : at + 1]
        if character == b"\\":
            at += 1
        elif character == b"[":
            at = _behind_class(expression, at) - 1
        elif character in b"()":
            depth += 1 if character == b"(" else -1
        elif character == b"|" and not depth:
            found.append(flags + expression[start:at])
            start = at + 1
        at += 1
    return [*found, flags + expression[start:]]


def _behind_class(expression: bytes, at: int) -> int:
    """Where a class of characters that begins at ``at`` has ended. A bracket at its head is a member of it."""
    at += 2 if expression[at + 1 : at + 2] == b"^" else 1
    at += expression[at : at + 1] == b"]"
    while at < len(expression) and expression[at : at + 1] != b"]":
        at += 2 if expression[at : at + 1] == b"\\" else 1
    return at + 1


class _Held(NamedTuple):
    """``whole``: nothing but characters of the kind; ``least``: how many then; ``run``: how many of them in a row."""

    whole: bool
    least: int
    run: int


def _held(nodes: Nodes, belongs: Belongs) -> _Held:
    """What every match of ``nodes`` holds of one kind of characters."""
    whole, total, current, best = True, 0, 0, 0
    for node, value in nodes:
        if node in _EMPTY:
            continue
        item = _item(node, value, belongs)
        if item.whole:
            current += item.least
            total += item.least
        else:
            whole, current = False, 0
        best = max(best, current, item.run)
    return _Held(whole, total, best)


def _item(node: Any, value: Any, belongs: Belongs) -> _Held:
    if node is _codes.SUBPATTERN:
        return _held(value[3], belongs)
    if node is _codes.BRANCH:
        branches = [_held(b, belongs) for b in value[1]]
        return _Held(all(b.whole for b in branches), min(b.least for b in branches), min(b.run for b in branches))
    if node in _REPEATS:
        inner = _held(value[2], belongs)
        if inner.whole:
            return _Held(True, value[0] * inner.least, value[0] * inner.least)
        return _Held(False, 0, inner.run if value[0] else 0)
    one = belongs(node, value)
    return _Held(one, int(one), int(one))


def _digits(nodes: Nodes) -> int:
    """Digits that every match holds, wherever they stand."""
    count = 0
    for node, value in nodes:
        if node is _codes.SUBPATTERN:
            count += _digits(value[3])
        elif node is _codes.BRANCH:
            count += min(map(_digits, value[1]))
        elif node in _REPEATS:
            count += value[0] * _digits(value[2])
        elif node not in _EMPTY:
            count += _within(node, value, _FIGURES)
    return count


def _is_literal(node: Any, value: Any) -> bool:
    return bool(node is _codes.LITERAL and value in ALPHABET - _FIGURES)


def _is_beyond(node: Any, value: Any) -> bool:
    if node is _codes.IN:
        return all(
            (kind is _codes.LITERAL and member > 0x7F) or (kind is _codes.RANGE and member[0] > 0x7F)
            for kind, member in value
        )
    return bool(node is _codes.LITERAL and value > 0x7F)


def _is_token(node: Any, value: Any) -> bool:
    return _within(node, value, ALPHABET)


def _within(node: Any, value: Any, alphabet: frozenset[int]) -> bool:
    """Whether a node is one character of ``alphabet`` and no other."""
    if node is _codes.LITERAL:
        return value in alphabet
    if node is not _codes.IN:
        return False
    for kind, member in value:
        if kind is _codes.LITERAL:
            right = member in alphabet
        elif kind is _codes.RANGE:
            right = alphabet.issuperset(range(member[0], member[1] + 1))
        else:
            right = kind is _codes.CATEGORY and _CATEGORIES.get(member, _OTHER) <= alphabet
        if not right:
            return False
    return True


_OTHER = frozenset([-1])
