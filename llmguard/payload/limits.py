"""Limits: how long a string of a body may be, and which pattern it has to keep, so that an edited body still fits.

Owns ``limits.json``: words of the API, and an automaton over the steps of an address, made from the API description
by ``python -m benchmarks.egress.limits`` (the description's MIT licence stands beside that script). What the
description says in prose only stands here, by hand: ``metadata`` and ``attributes`` (keys of 64 characters, values of
512) and names of functions.

A place may have several schemas. Whichever the old text kept, the new text has to keep.
"""

from __future__ import annotations

import importlib.resources
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

DATA = Path(__file__).with_name("limits.json")
ITEM, OTHER = "*", "+"
"""Steps of the automaton: any item of a list, any property without a name of its own."""
URI = r"^[^\s\[\]<>\"{}|\\^`]*$"
"""What can stand in a URI (RFC 3986), near enough: none of our brackets."""
GROWTH = 32
"""A text may grow by this factor when it is redacted: a placeholder has up to 48 characters, a finding at least 2."""


@dataclass(frozen=True, slots=True)
class Limit:
    """``most``: characters, 0 for any number. ``pattern`` is searched, as JSON Schema does; "" for none."""

    most: int
    pattern: str = ""

    def keeps(self, text: str) -> bool:
        return (not self.most or len(text) <= self.most) and (not self.pattern or _compiled(self.pattern)(text))


KEY = Limit(64)
_VALUE = (Limit(512),)
MAPS = ("metadata", "attributes")
NAME = (Limit(64, "^[a-zA-Z0-9_-]+$"),)
NAMED = frozenset(("function", "functions", "json_schema", "tools", "format"))
"""Keys and types of objects whose ``name`` is a function's or a schema's."""


@cache
def _compiled(pattern: str) -> Any:
    compiled = re.compile(pattern.replace("$", r"\Z"))
    return lambda text: compiled.search(text) is not None


def fits(limits: Sequence[Limit], old: str, new: str) -> bool:
    """Whether the new text keeps every limit that the old one kept."""
    return all(limit.keeps(new) for limit in limits if limit.keeps(old))


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one operation's body. ``watched``: by key, from which length on a string may be near a limit."""

    start: int | None
    watched: Mapping[str, int]

    def at(self, address: str) -> tuple[Limit, ...]:
        """What limits the string at an address (a JSON pointer into the body)."""
        steps = [s.replace("~1", "/").replace("~0", "~") for s in address.split("/")[1:]]
        if len(steps) >= 2 and steps[-2] in MAPS:
            return _VALUE
        by_hand = NAME if len(steps) >= 2 and steps[-1] == "name" and _named(steps) else ()
        return by_hand + _reached(self.start, steps)


def _named(steps: Sequence[str]) -> bool:
    above = steps[-2] if not steps[-2].isdecimal() else steps[-3] if len(steps) > 2 else ""
    return above in NAMED


def _reached(start: int | None, steps: Sequence[str]) -> tuple[Limit, ...]:
    states, at = data()["states"], start
    for step in steps:
        if at is None:
            return ()
        ways = states[at][0]
        at = ways.get(step, ways.get(ITEM) if step.isdecimal() else None)
        if at is None:
            at = ways.get(OTHER)
    if at is None or len(states[at]) < 2:
        return ()
    return tuple(Limit(most, pattern) for most, pattern in states[at][1])


def of(method: str, path: str) -> Limits:
    """The limits of an operation (its template; an Azure deployment's is that of what it serves)."""
    start = data()["operations"].get(f"{method} {described(path)}")
    watched = {"name": 0} | _watched(start, "", set())
    return Limits(start, watched)


def described(path: str) -> str:
    """The template under which the description knows an operation: an Azure deployment's is that of what it serves."""
    return path.removeprefix("/deployments/{deployment}")


def _watched(at: int | None, key: str, seen: set[tuple[int, str]]) -> dict[str, int]:
    """By nearest key, the shortest length from which a limit matters; 0 where there is a pattern."""
    if at is None or (at, key) in seen:
        return {}
    seen.add((at, key))
    steps, *limits = data()["states"][at]
    found: dict[str, int] = {}
    for most, pattern in limits[0] if limits else ():
        found[key] = min(found.get(key, most), 0 if pattern else most // GROWTH)
    for step, to in steps.items():
        for name, least in _watched(to, key if step in (ITEM, OTHER) else step, seen).items():
            found[name] = min(found.get(name, least), least)
    return found


@cache
def data() -> Any:
    return json.loads(importlib.resources.files("llmguard.payload").joinpath("limits.json").read_text())


def written(made: Mapping[str, Any]) -> str:
    """The file of this data: one row a line where there are many."""
    rows = []
    for name, value in made.items():
        if isinstance(value, list):
            inner = ",\n".join(_compact(row) for row in value)
            rows.append(f"{_compact(name)}:[\n{inner}\n]")
        elif isinstance(value, dict):
            inner = ",\n".join(f"{_compact(k)}:{_compact(v)}" for k, v in value.items())
            rows.append(f"{_compact(name)}:{{\n{inner}\n}}")
        else:
            rows.append(f"{_compact(name)}:{_compact(value)}")
    return "{" + ",\n".join(rows) + "}\n"


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
