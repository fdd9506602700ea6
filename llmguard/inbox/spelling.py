"""Spelling: JSON as people read it, with every number and every name as it was written.

Numbers keep their digits (``1e5`` is not ``100000.0``), an object with a name twice has no meaning and is refused.
"""

from __future__ import annotations

import json
import re
from typing import Any

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+', re.S)
_INDENT = "  "
_DEEPEST = 200
_LINE = 60
"""Characters of a list that stays on its line."""


class Number(str):
    """The digits of a number."""

    __slots__ = ()


def loads(text: str) -> Any:
    """JSON with numbers as ``Number``. Raises ValueError for what is none, or can be read in two ways."""
    return json.loads(text, object_pairs_hook=_unique, parse_float=Number, parse_int=Number, parse_constant=_refused)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("an object has a name twice")
    return made


def _refused(_: str) -> Any:
    raise ValueError("no JSON has this")


def spelled(value: Any, deep: int = 0) -> str:
    """A value as JSON on lines of its own, with the characters themselves and not their escapes."""
    if deep > _DEEPEST:
        raise RecursionError("JSON inside JSON inside JSON")
    if isinstance(value, Number):
        return str(value)
    inner = "\n" + _INDENT * (deep + 1)
    if isinstance(value, dict) and value:
        members = [f"{_quoted(k)}: {spelled(v, deep + 1)}" for k, v in value.items()]
        return "{" + inner + f",{inner}".join(members) + "\n" + _INDENT * deep + "}"
    if isinstance(value, list) and value:
        if all(isinstance(v, Number) for v in value) or _short(value):
            return "[" + ", ".join(spelled(v, deep + 1) for v in value) + "]"
        items = [spelled(v, deep + 1) for v in value]
        return "[" + inner + f",{inner}".join(items) + "\n" + _INDENT * deep + "]"
    return _quoted(value)


def _short(value: list[Any]) -> bool:
    """Whether it is read at a glance on one line."""
    simple = not any(isinstance(v, dict | list) for v in value)
    return simple and sum(len(str(v)) + 4 for v in value) <= _LINE


def _quoted(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def spaced(text: str) -> str:
    """JSON text with every token as it came, on lines of its own; what is no JSON, or has lines already, as it is."""
    if "\n" in text or text[:1] not in ("{", "["):
        return text
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return text
    made: list[str] = []
    deep = 0
    lexemes = _TOKEN.findall(text)
    for at, lexeme in enumerate(lexemes):
        following = lexemes[at + 1] if at + 1 < len(lexemes) else ""
        if lexeme in "{[":
            deep += 1
            made.append(lexeme if following in ("}", "]") else f"{lexeme}\n{_INDENT * deep}")
        elif lexeme in "}]":
            deep -= 1
            empty = at > 0 and lexemes[at - 1] in ("{", "[")
            made.append(lexeme if empty else f"\n{_INDENT * deep}{lexeme}")
        elif lexeme == ",":
            made.append(f",\n{_INDENT * deep}")
        else:
            made.append(": " if lexeme == ":" else lexeme)
    return "".join(made)
