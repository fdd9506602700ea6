"""Literals: what the conditions of a policy compare with what, read from their text.

``check`` looks for words among them that no call can have, and samples are drawn from them. It is a reader, not an
evaluator: a comparison that it does not see is not looked at, nothing more.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

_TOKENS = re.compile(
    r"""(?P<space>\s+|//[^\n]*)
    |(?P<text>[rR]?(?:'''(?:.|\n)*?'''|\"\"\"(?:.|\n)*?\"\"\"|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'))
    |(?P<number>\d+\.\d+(?:[eE][+-]?\d+)?|\d+)
    |(?P<path>[A-Za-z_]\w*(?:\s*\.\s*[A-Za-z_]\w*)*)
    |(?P<sign>==|!=|<=|>=|&&|\|\||.)""",
    re.VERBOSE,
)
_COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")
_TURNED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_MACROS = ("exists", "exists_one", "all", "filter", "map")
_METHODS = ("startsWith", "endsWith", "contains", "matches", "size")

Value = str | int | float
COUNT = "size"
"""Path of whatever stands in brackets, which is a count: ``size(findings.filter(…)) > 3``."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """``path sign value``: ``risk.residual >= 70``, ``findings.type == "EMAIL"``, ``call.unscanned == "image"``.

    ``sign`` is also the name of a method (``startsWith``), and ``==`` for each member of ``in [...]``.
    """

    path: str
    sign: str
    value: Value


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str


def comparisons(source: str) -> tuple[Comparison, ...]:
    """What a condition compares, in its order."""
    tokens = [_Token(m.lastgroup or "", m[0]) for m in _TOKENS.finditer(source) if m.lastgroup != "space"]
    over = _loops(tokens)
    return tuple(
        Comparison(path, c.sign, c.value) for c in _found(tokens) for path in sorted(_paths(c.path, over)) if path
    )


@dataclass(frozen=True, slots=True)
class Conjunction:
    """Comparisons that all have to be true where a condition is. ``whole``: the condition says nothing else."""

    parts: tuple[Comparison, ...]
    whole: bool


def conjunction(source: str) -> Conjunction:
    """Of a condition that is parts joined by ``&&``, those that are a plain comparison each; none of any other one."""
    tokens = [_Token(m.lastgroup or "", m[0]) for m in _TOKENS.finditer(source) if m.lastgroup != "space"]
    found: list[Comparison] = []
    parts = list(_split(tokens))
    for part in parts:
        one = next(iter(_found(part)), None) if len(part) == 3 and part[1].text in _COMPARISONS else None
        found += [one] if one is not None else []
    return Conjunction(tuple(found), len(found) == len(parts))


def words(source: str) -> tuple[str, ...]:
    """A condition without its spaces and comments: two that are the same so are the same."""
    return tuple(m[0] for m in _TOKENS.finditer(source) if m.lastgroup != "space")


def _split(tokens: Sequence[_Token]) -> Iterator[list[_Token]]:
    """At ``&&`` outside of brackets; in one piece where ``||`` or ``?`` stands there too."""
    depth = 0
    part: list[_Token] = []
    parts: list[list[_Token]] = []
    for token in tokens:
        depth += (token.text in "([{") - (token.text in ")]}") if token.kind == "sign" else 0
        if not depth and token.kind == "sign" and token.text in ("||", "?"):
            yield list(tokens)
            return
        if not depth and token.text == "&&":
            parts.append(part)
            part = []
        else:
            part.append(token)
    yield from (*parts, part)


def _loops(tokens: Sequence[_Token]) -> dict[str, set[str]]:
    """What the names of loops stand for: ``f`` → findings."""
    over: dict[str, set[str]] = {}
    for head, opened, name, comma in zip(tokens, tokens[1:], tokens[2:], tokens[3:], strict=False):
        root, _, macro = _path(head).rpartition(".")
        if head.kind == name.kind == "path" and macro in _MACROS and (opened.text, comma.text) == ("(", ","):
            over.setdefault(name.text, set()).add(root)
    return over


def _paths(path: str, over: dict[str, set[str]]) -> set[str]:
    head, _, rest = path.partition(".")
    return {f"{root}.{rest}" if rest else root for root in over[head]} if head in over else {path}


def _found(tokens: Sequence[_Token]) -> Iterator[Comparison]:
    for i, token in enumerate(tokens):
        before, after = tokens[i - 1 : i], tokens[i + 1 : i + 2]
        if token.text in _COMPARISONS and before and after:
            yield from _compared(before[0], token.text, after[0])
        elif token.text == "in" and before and after:
            yield from _among(before[0], tokens[i + 1 :])
        elif token.kind == "path" and after and after[0].text == "(":
            yield from _called(token, tokens[i + 2 : i + 3])


def _compared(left: _Token, sign: str, right: _Token) -> Iterator[Comparison]:
    for path, literal, turned in ((left, right, sign), (right, left, _TURNED.get(sign, sign))):
        value = _value(literal)
        if value is not None and (path.kind == "path" or path.text == ")"):
            yield Comparison(COUNT if path.text == ")" else _path(path), turned, value)


def _among(left: _Token, rest: Sequence[_Token]) -> Iterator[Comparison]:
    """``x in [a, b]``, and ``a in list``."""
    value = _value(left)
    if value is not None and rest[0].kind == "path":
        yield Comparison(_path(rest[0]), "==", value)
    if left.kind == "path" and rest[0].text == "[":
        for token in rest[1:]:
            if token.text == "]":
                break
            member = _value(token)
            if member is not None:
                yield Comparison(_path(left), "==", member)


def _called(token: _Token, argument: Iterable[_Token]) -> Iterator[Comparison]:
    root, _, method = _path(token).rpartition(".")
    for literal in argument:
        value = _value(literal)
        if root and method in _METHODS and isinstance(value, str):
            yield Comparison(root, method, value)


def _path(token: _Token) -> str:
    return re.sub(r"\s+", "", token.text)


def _value(token: _Token) -> Value | None:
    if token.kind == "number":
        return float(token.text) if "." in token.text else int(token.text)
    if token.kind == "text":
        try:
            value = ast.literal_eval(token.text)  # the escapes of CEL that Python lacks are left as they are
        except (ValueError, SyntaxError):
            return None
        return value if isinstance(value, str) else None
    return None
