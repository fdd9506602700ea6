"""Description: the API's operations and schemas, as ``describe`` has kept them. Read once, never changed.

Owns what a schema comes to: references followed, ``allOf`` merged, alternatives as lists of branches to choose from,
and how deep the smallest value of a schema is, so that whoever makes values can come to an end.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from benchmarks.egress.describe import DATA, FORM, JSON

Schema = Mapping[str, Any]
ENDLESS = 1_000


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a path, query or header."""

    name: str
    place: str
    required: bool
    schema: Schema


@dataclass(frozen=True, slots=True)
class Described:
    """One operation. ``path`` begins below ``/v1``; ``body`` and ``form`` are the schemas of its JSON body and its
    form, if it takes one."""

    id: str
    method: str
    path: str
    parameters: tuple[Parameter, ...]
    media: tuple[str, ...]
    body: Schema | None
    streams: bool
    form: Schema | None = None


@dataclass(slots=True)
class Description:
    """All operations by id, in the order of their paths."""

    source: str
    operations: Mapping[str, Described]
    defs: Mapping[str, Schema]
    _merged: dict[int, tuple[Any, Schema]] = field(default_factory=dict)
    _chosen: dict[tuple[int, int, int], Schema] = field(default_factory=dict)
    _depths: dict[int, int] = field(default_factory=dict)

    def merged(self, schema: Any) -> Schema:
        """The schema without ``$ref`` and ``allOf``. ``choices``: lists of branches, of each of which one holds."""
        known = self._merged.get(id(schema))
        if known is None:
            known = self._merged[id(schema)] = (schema, self._merge(schema))  # kept, so that its id stays its own
        return known[1]

    def _merge(self, schema: Any) -> Schema:
        if isinstance(schema, bool):
            return {}
        if "choices" in schema:
            return dict(schema)
        whole = {k: v for k, v in schema.items() if k not in ("$ref", "allOf", "oneOf", "anyOf")}
        whole["choices"] = [schema[k] for k in ("oneOf", "anyOf") if k in schema]
        parts = [self.defs[schema["$ref"].removeprefix("#/$defs/")]] if "$ref" in schema else []
        for part in (*parts, *schema.get("allOf", ())):
            whole = _both(whole, self.merged(part))
        return whole

    def chosen(self, merged: Schema, choice: int, branch: int) -> Schema:
        """A merged schema with one branch of one of its choices taken; the other choices stay."""
        key = (id(merged), choice, branch)
        if key not in self._chosen:
            rest = dict(merged) | {"choices": [c for i, c in enumerate(merged["choices"]) if i != choice]}
            taken = self.merged(_both(rest, self.merged(merged["choices"][choice][branch])))
            self._merged[id(taken)] = (taken, taken)
            self._chosen[key] = taken
        return self._chosen[key]

    def depth(self, schema: Any) -> int:
        """How deep the smallest value is; ENDLESS while that is being worked out."""
        merged = self.merged(schema)
        key = id(merged)
        if key not in self._depths:
            self._depths[key] = ENDLESS
            self._depths[key] = min(ENDLESS, self._depth(merged))
        return self._depths[key]

    def _depth(self, merged: Schema) -> int:
        if merged["choices"]:
            return min(self.depth(self.chosen(merged, 0, i)) for i in range(len(merged["choices"][0])))
        needed = [c for n, c in merged.get("properties", {}).items() if n in merged.get("required", ())]
        if merged.get("minItems") and "items" in merged:
            needed.append(merged["items"])
        return max((1 + self.depth(child) for child in needed), default=0)


def _both(one: Schema, other: Schema) -> dict[str, Any]:
    """A schema that holds where both hold."""
    whole = {**one, **other}
    properties = dict(one.get("properties", {}))
    for name, schema in other.get("properties", {}).items():
        known = properties.get(name)
        properties[name] = schema if known is None or known == schema else {"allOf": [known, schema]}
    if properties:
        whole["properties"] = properties
    if required := {*one.get("required", ()), *other.get("required", ())}:
        whole["required"] = sorted(required)
    if "enum" in one and "enum" in other:
        whole["enum"] = [x for x in one["enum"] if x in other["enum"]] or other["enum"]
    whole["choices"] = [*one.get("choices", ()), *other.get("choices", ())]
    return whole


def _operations(raw: Mapping[str, Any]) -> Iterator[Described]:
    for row in raw["operations"]:
        parameters = tuple(Parameter(p["name"], p["in"], p["required"], p["schema"]) for p in row["parameters"])
        bodies = row["bodies"]
        json_body, form = bodies.get(JSON), bodies.get(FORM)
        yield Described(
            row["id"], row["method"], row["path"], parameters, tuple(bodies), json_body, row["streams"], form
        )


@cache
def description() -> Description:
    """The committed data."""
    raw = json.loads(gzip.decompress(DATA.read_bytes()))
    return Description(raw["source"], {o.id: o for o in _operations(raw)}, raw["$defs"])
