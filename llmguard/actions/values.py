"""Values: what people pass to functions as JSON for a reviewer, and back again where that is exact.

``plain`` loses types on purpose, for people read it; ``kind`` names the type that got lost, so that ``rebuilt`` gives
back the same value or nothing. Invariant: ``rebuilt(plain(v), kind(v)) == v`` with the same type, unless the kind is
``other``; the keys of dicts come back in order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

OTHER = "other"
"""The kind of a value that cannot be made again from what was written down."""
EXACT = 2**53
"""Integers below it are the same in every JSON reader (RFC 8785)."""

_REBUILT: Mapping[str, tuple[type, Callable[[Any], Any]]] = {
    "float": (float, float),
    "integer": (int, int),
    "path": (type(Path()), Path),
    "datetime": (datetime, datetime.fromisoformat),
    "date": (date, date.fromisoformat),
    "time": (time, time.fromisoformat),
    "tuple": (tuple, tuple),
}


def plain(value: Any) -> Any:
    """JSON of a value. Bytes as their digest, big numbers, paths, dates and classes as text. Raises TypeError."""
    match value:
        case None | bool() | str():
            return value
        case int() | float():
            whole = isinstance(value, int) or value.is_integer()
            return str(value) if whole and abs(value) >= EXACT else value
        case Path():
            return str(value)
        case datetime() | date() | time():
            return value.isoformat()
        case bytes() | bytearray():
            return {"bytes": len(value), "sha256": hashlib.sha256(value).hexdigest()}
        case list() | tuple():
            return [plain(v) for v in value]
        case dict():
            return {k: plain(v) for k, v in value.items()}
        case type():
            return f"{value.__module__}.{value.__qualname__}"
    raise TypeError


def kind(value: Any) -> str:
    """Empty for what JSON says as it is, the name of a type that can be rebuilt, or ``other``."""
    if _native(value):
        return ""
    for name, (made, build) in _REBUILT.items():
        if type(value) is made and _same(build, value):
            return name
    return OTHER


def rebuilt(value: Any, kind: str) -> Any:
    """The value of a plain one. Raises ValueError if it is none of that kind."""
    if kind == "":
        return value
    if kind not in _REBUILT:
        raise ValueError("this value was not written down whole")
    try:
        return _REBUILT[kind][1](value)
    except TypeError:
        raise ValueError(f"not the {kind} that it should be") from None


def _native(value: Any) -> bool:
    if value is None or type(value) in (bool, str):
        return True
    if type(value) is int:
        return abs(value) < EXACT
    if type(value) is float:
        return not value.is_integer()
    if type(value) is list:
        return all(map(_native, value))
    return type(value) is dict and all(type(k) is str and _native(v) for k, v in value.items())


def _same(build: Callable[[Any], Any], value: Any) -> bool:
    """Whether what was written down makes the value again, its sign and its time zone's offset too."""
    if type(value) is tuple:
        return all(map(_native, value))
    try:
        again = build(plain(value))
    except (TypeError, ValueError):
        return False
    return (
        bool(again == value)
        and repr(again) == repr(value)
        and (type(value) is not float or value != 0 or repr(value) == "0.0")
    )
