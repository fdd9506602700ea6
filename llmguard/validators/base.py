"""What all validators share: their shape, digits without separators, python-stdnum's registry.

Invariant: True means proved by a checksum or a parser, False drops the finding, None cannot say. Each is linear in the
length of its value, and raises nothing on any text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from types import MappingProxyType

Validator = Callable[[str], bool | None]


def merged(*tables: Mapping[str, Validator]) -> Mapping[str, Validator]:
    """All tables as one. Raises: ValueError, at import, if two validators have the same name."""
    known: dict[str, Validator] = {}
    for table in tables:
        if twice := known.keys() & table.keys():
            raise ValueError(f"validators that are named twice: {', '.join(sorted(twice))}")
        known.update(table)
    return MappingProxyType(known)


_SEPARATORS = dict.fromkeys(map(ord, " .-/()+,:\u00a0\t"))


def digits_of(value: str) -> str:
    """``value`` without what people put between digits."""
    return value.translate(_SEPARATORS)


DATE = re.compile(r"(?:19|20)\d\d[-./ ]\d{1,2}[-./ ]\d{1,2}|\d{1,2}[-./ ]\d{1,2}[-./ ](?:19|20)\d\d")
"""A calendar date in digits."""


@cache
def registry(name: str) -> Callable[[str], bool]:
    """``is_valid`` of a module of python-stdnum: a format and a check digit, each with its source in its docstring."""
    module = import_module(f"stdnum.{name}")  # a few ms each: paid at the first candidate only
    valid: Callable[[str], bool] = module.is_valid
    return valid


def any_of(value: str, names: tuple[str, ...]) -> bool:
    return any(registry(name)(value) for name in names)


def stdnum(*names: str) -> Validator:
    """A validator that believes what one of the named modules of python-stdnum accepts."""

    def check(value: str) -> bool | None:
        return len(set(digits_of(value))) > 2 and any_of(value, names)

    return check
