"""Endpoint: one row of the table that the control plane is. Routes and the OpenAPI document are made from nothing else.

It owns what a request may hold (``Fields``), and says no to everything else before any work is done. The words are
those of JSON Schema, of which the few that are used here are checked here. It decides nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from llmguard.errors import InvalidRequest

Schema = Mapping[str, Any]
MAX_BODY = 64 * 1024
"""Bytes of a body, unless its fields say otherwise."""
_KINDS: Mapping[str, type[Any]] = {"string": str, "integer": int, "boolean": bool, "array": list, "object": dict}
_NUMBER = re.compile(r"0|[1-9][0-9]{0,15}")


@dataclass(frozen=True, slots=True)
class Fields:
    """The members of a body, or the parameters of a query. ``most``: bytes of the whole body."""

    schemas: Mapping[str, Schema] = field(default_factory=dict)
    optional: frozenset[str] = frozenset()
    most: int = MAX_BODY

    @property
    def required(self) -> list[str]:
        return sorted(set(self.schemas) - self.optional)

    def check(self, values: Mapping[str, Any]) -> None:
        """Raises InvalidRequest; the message names the field, never its value."""
        if set(values) - set(self.schemas) or set(self.required) - set(values):
            raise InvalidRequest(f"the fields are {', '.join(sorted(self.schemas)) or 'none'}; {self._needed()}")
        for name, value in values.items():
            if not fits(value, self.schemas[name]):
                raise InvalidRequest(f"{name} is {told(self.schemas[name])}")

    def _needed(self) -> str:
        return f"needed: {', '.join(self.required) or 'none'}"

    def read(self, pairs: list[tuple[str, str]]) -> dict[str, Any]:
        """The parameters of a query, typed. Raises InvalidRequest."""
        if len({name for name, _ in pairs}) != len(pairs):
            raise InvalidRequest(f"the query has {', '.join(sorted(self.schemas)) or 'no parameter'}, each once")
        values = {name: _typed(text, self.schemas.get(name, {})) for name, text in pairs}
        self.check(values)
        return values


NOTHING = Fields()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What a method does at a path below ``/guard/v1``, for whom, and what it answers.

    ``answers``: schema by status, None where the answer has no JSON. ``headers``: those of the request that it heeds.
    ``refusals``: statuses of problems besides those that every endpoint can answer. ``open``: needs no session.
    """

    method: str
    path: str
    call: Callable[[Request], Awaitable[Response]]
    summary: str
    answers: Mapping[int, Schema | None]
    query: Fields = NOTHING
    body: Fields | None = None
    headers: tuple[str, ...] = ()
    refusals: tuple[int, ...] = ()
    open: bool = False
    media: str = "application/json"


# --------------------------------------------------------------------------- the words of JSON Schema that are used


def text(longest: int, description: str = "", *, least: int = 0) -> Schema:
    schema: dict[str, Any] = {"type": "string", "maxLength": longest}
    return schema | ({"minLength": least} if least else {}) | ({"description": description} if description else {})


def word(*words: str) -> Schema:
    return {"type": "string", "enum": list(words)}


def pattern(expression: str, description: str) -> Schema:
    """The whole text has to match."""
    return {"type": "string", "pattern": f"^{expression}$", "description": description}


def number(least: int, most: int, description: str = "") -> Schema:
    schema = {"type": "integer", "minimum": least, "maximum": most}
    return schema | ({"description": description} if description else {})


def items(schema: Schema, most: int) -> Schema:
    return {"type": "array", "items": schema, "maxItems": most}


ID = pattern("[0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{1,26}", "an id, or the beginning of one")
LIMIT = number(1, 200, "how many at most")
FLAG = number(0, 1)
BOOLEAN: Schema = {"type": "boolean"}
CURSOR = {**ID, "description": "where the page before ended: its `next`"}


def fits(value: Any, schema: Schema) -> bool:
    """Whether a value is what a schema of these words describes."""
    kind = schema.get("type")
    if kind is not None and type(value) is not _KINDS[kind]:
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if isinstance(value, str):
        return _fits_text(value, schema)
    if type(value) is int:
        return bool(schema.get("minimum", value) <= value <= schema.get("maximum", value))
    if isinstance(value, list):
        return len(value) <= schema["maxItems"] and all(fits(v, schema["items"]) for v in value)
    return True


def _fits_text(value: str, schema: Schema) -> bool:
    expression = schema.get("pattern", "^$")[1:-1]
    shaped = "pattern" not in schema or re.fullmatch(expression, value) is not None
    return shaped and schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value))


def told(schema: Schema) -> str:
    """A schema in words, for whoever sent something else."""
    kind = schema.get("type")
    if "enum" in schema:
        return f"one of {', '.join(schema['enum'])}"
    if "pattern" in schema:
        return str(schema["description"])
    if kind == "string":
        return f"a text of {schema.get('minLength', 0)} to {schema.get('maxLength')} characters"
    if kind == "integer":
        return f"a number from {schema['minimum']} to {schema['maximum']}"
    if kind == "array":
        return f"a list of at most {schema['maxItems']}, each {told(schema['items'])}"
    return {"boolean": "true or false", "object": "an object"}[str(kind)]


def _typed(text: str, schema: Schema) -> Any:
    if schema.get("type") != "integer":
        return text
    return int(text) if _NUMBER.fullmatch(text) else None


def as_json(value: Any) -> bytes:
    """An answer in ASCII, so that no character in it steers a terminal that it is printed on."""
    return json.dumps(value, separators=(",", ":")).encode()
