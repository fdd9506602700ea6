"""Limits: makes ``llmguard/payload/limits.json``, what the guard itself knows of the API's schemas.

  python -m benchmarks.egress.limits [openapi.json]

Owns the reduction: of all schemas that a JSON body reaches, the words of the API (names of properties, values of
enumerations), and where a string has a longest length or a pattern, as one automaton over the steps of an address:
a state is the set of schemas that a place may have, equal states are one, and states below which nothing is limited
are left out. Without a path it reads what ``describe`` has kept; both come from the same description (MIT licence,
``LICENSE.openapi`` beside the data).
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.egress.describe import DATA, JSON, described
from llmguard.payload import limits, slots

State = frozenset[str]
"""Schemas that a place may have, as canonical JSON."""


class Automaton:
    """The states that the bodies of a description reach."""

    def __init__(self, defs: Mapping[str, Any]) -> None:
        self._defs = defs
        self._flat: dict[str, tuple[Mapping[str, Any], ...]] = {}
        self.steps: dict[State, dict[str, State]] = {}
        self.limits: dict[State, tuple[tuple[Any, ...], ...]] = {}

    def enter(self, schema: Any) -> State:
        """The state of a body, everything below it included."""
        start = self._state([schema])
        todo = [start]
        while todo:
            state = todo.pop()
            if state not in self.steps:
                self.steps[state] = steps = self._steps(state)
                self.limits[state] = self._limits(state)
                todo += steps.values()
        return start

    def _state(self, schemas: list[Any]) -> State:
        return frozenset(json.dumps(s, sort_keys=True) for s in schemas if isinstance(s, dict))

    def _alternatives(self, state: State) -> Iterator[Mapping[str, Any]]:
        for key in state:
            if key not in self._flat:
                self._flat[key] = tuple(self._flattened(json.loads(key), frozenset()))
            yield from self._flat[key]

    def _flattened(self, schema: Mapping[str, Any], seen: frozenset[str]) -> Iterator[Mapping[str, Any]]:
        """Every schema that speaks for the same place, whichever way it is joined."""
        yield schema
        name = schema.get("$ref", "").removeprefix("#/$defs/")
        if name and name not in seen:
            yield from self._flattened(self._defs[name], seen | {name})
        for key in ("oneOf", "anyOf", "allOf"):
            for branch in schema.get(key, ()):
                if isinstance(branch, dict):
                    yield from self._flattened(branch, seen)

    def _steps(self, state: State) -> dict[str, State]:
        found: dict[str, list[Any]] = {}
        for schema in self._alternatives(state):
            for name, child in schema.get("properties", {}).items():
                found.setdefault(name, []).append(child)
            for key, step in (("items", limits.ITEM), ("additionalProperties", limits.OTHER)):
                if isinstance(schema.get(key), dict):
                    found.setdefault(step, []).append(schema[key])
        return {name: self._state(schemas) for name, schemas in sorted(found.items())}

    def _limits(self, state: State) -> tuple[tuple[Any, ...], ...]:
        """[longest length or 0, pattern] of every schema of a place that limits a string."""
        found = set()
        for schema in self._alternatives(state):
            pattern = schema.get("pattern", limits.URI if schema.get("format") == "uri" else "")
            if schema.get("format") != "binary" and (pattern or "maxLength" in schema):
                found.add((schema.get("maxLength", 0), pattern))
        return tuple(sorted(found))

    def words(self) -> Iterator[str]:
        """Values of enumerations."""
        for state in self.steps:
            for schema in self._alternatives(state):
                yield from (v for v in (*schema.get("enum", ()), schema.get("const")) if isinstance(v, str))

    def numbered(self) -> dict[State, int]:
        """States by number: equal ones share one, those without a limit below have none."""
        live = {s for s in self.steps if self.limits[s]}
        while more := {s for s in self.steps if s not in live and live & set(self.steps[s].values())}:
            live |= more
        colour: dict[State, Any] = {s: self.limits[s] for s in live}
        for _ in live:
            shape = {
                s: (self.limits[s], tuple((n, colour[t]) for n, t in self.steps[s].items() if t in live)) for s in live
            }
            order = {c: i for i, c in enumerate(sorted(set(map(repr, shape.values()))))}
            finer = {s: order[repr(shape[s])] for s in live}
            if len(set(finer.values())) == len(set(map(repr, colour.values()))) and colour == finer:
                break
            colour = finer
        return dict(colour)


def made(data: Mapping[str, Any]) -> dict[str, Any]:
    """The data of what ``describe`` has kept."""
    automaton = Automaton(data["$defs"])
    starts = {
        f"{o['method']} {o['path']}": automaton.enter(o["bodies"][JSON])
        for o in data["operations"]
        if JSON in o["bodies"]
    }
    numbers = automaton.numbered()
    states: dict[int, Any] = {}
    for state, number in numbers.items():
        steps = {name: numbers[to] for name, to in automaton.steps[state].items() if to in numbers}
        states[number] = [steps, *([automaton.limits[state]] if automaton.limits[state] else [])]
    keys = {name for steps in automaton.steps.values() for name in steps} - {limits.ITEM, limits.OTHER}
    return {
        "source": data["source"],
        "keys": " ".join(sorted(k for k in keys if _plain(k))),
        "words": " ".join(sorted({w for w in automaton.words() if _plain(w)})),
        "operations": {name: numbers[start] for name, start in sorted(starts.items()) if start in numbers},
        "states": [states[i] for i in range(len(states))],
        "streams": sorted({f"{o['method']} {o['path']}" for o in data["operations"] if o["streams"]}),
        "slots": {name: _slots(automaton, start) for name, start in sorted(starts.items())},
    }


def _plain(word: str) -> bool:
    """Whether a word of the API can be nothing else: no blanks, no long numbers."""
    return re.fullmatch(r"(?=.*[A-Za-z])[!-~]{1,64}", word) is not None and not re.search(r"\d{9}", word)


def _slots(automaton: Automaton, start: State) -> str:
    """The slots of a body that are never rewritten or hold what no text scan reads, by name."""
    seen, todo, names = {start}, [start], set()
    while todo:
        for name, state in automaton.steps[todo.pop()].items():
            names.add(name)
            if state not in seen:
                seen.add(state)
                todo.append(state)
    return " ".join(sorted(n for n in names if slots.fragile(n)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("description", type=Path, nargs="?", help="the API description, JSON; default: what is kept")
    path = parser.parse_args().description
    data = described(json.loads(path.read_text())) if path else json.loads(gzip.decompress(DATA.read_bytes()))
    limits.DATA.write_text(limits.written(made(data)))
    print(f"{limits.DATA.name}: {limits.DATA.stat().st_size} bytes")


if __name__ == "__main__":
    main()
