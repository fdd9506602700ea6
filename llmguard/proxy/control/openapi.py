"""The OpenAPI document of the control plane, and its table in the docs: both made from the endpoints alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from typing import Any

from llmguard.proxy.control.endpoints import ID, Endpoint, Fields, Schema, number, pattern, text
from llmguard.proxy.control.schemas import COMPONENTS

BASE = "/guard/v1"
_PATH: dict[str, Schema] = {
    "id": ID,
    "email": pattern("[A-Za-z0-9._%+'-]{1,64}@[A-Za-z0-9.-]{1,189}", "an address of a person"),
    "index": number(0, 2**53 - 1, "of an entry, from 0"),
    "version": pattern("[0-9a-f]{64}", "of a policy: 64 hex digits"),
    "name": text(200, "an id of a file, a job or a batch, or of an approval", least=1),
    "provider": pattern("[a-z0-9][a-z0-9-]{0,31}", "the name of a configured identity provider"),
}
_HEADERS: dict[str, tuple[Schema, str]] = {
    "If-Match": (pattern('"[0-9]{1,9}"', "a version in quotes"), "act only if the approval still has this version"),
    "If-None-Match": (text(200), "the ETag of what the client has already"),
    "Idempotency-Key": (
        pattern("[!-~]{1,128}", "visible ASCII"),
        "sent again within a day, the same request acts once and is answered the same",
    ),
}
_STATUS = {
    200: "done",
    202: "it waits for somebody else's approval",
    204: "done",
    303: "a redirect",
    304: "nothing is new",
    400: "the request cannot be understood",
    401: "no session, or one that is over",
    403: "this person may not do that, or the request came from a page of another site",
    404: "there is no such thing for this person",
    409: "something else happened first",
    413: "the body is too large",
    421: "the Host name is not one of this guard",
    422: "the Idempotency-Key belongs to another request",
    429: "too many at once",
    503: "a part of the guard is down; nothing was done",
}
EVERYWHERE = (400, 403, 421, 503)


def document(endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    """OpenAPI 3.1."""
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(BASE + endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "llmguard control plane",
            "version": version("llmguard"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": "People look at what is held, and decide. Sessions of people only.",
        },
        "paths": paths,
        "components": {
            "schemas": COMPONENTS,
            "securitySchemes": {"session": {"type": "http", "scheme": "bearer"}},
        },
    }


def refusals(endpoint: Endpoint) -> list[int]:
    """The statuses of the problems that an endpoint can answer."""
    found = {*EVERYWHERE, *endpoint.refusals} | (set() if endpoint.open else {401})
    found |= {413} if endpoint.body is not None else set()
    found |= {404} if "{" in endpoint.path else set()
    found |= {422} if "Idempotency-Key" in endpoint.headers else set()
    return sorted(found)


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    parameters = [_parameter("path", n, _PATH[n], True) for n in re.findall(r"{(\w+)}", endpoint.path)]
    parameters += [_parameter("query", n, s, n in endpoint.query.required) for n, s in endpoint.query.schemas.items()]
    parameters += [
        {**_parameter("header", n, _HEADERS[n][0], False), "description": _HEADERS[n][1]} for n in endpoint.headers
    ]
    made: dict[str, Any] = {
        "operationId": _name(endpoint),
        "summary": endpoint.summary,
        "parameters": parameters,
        "responses": _responses(endpoint),
        "security": [] if endpoint.open else [{"session": []}],
    }
    if endpoint.body is not None:
        content = {"application/json": {"schema": _object(endpoint.body)}}
        made["requestBody"] = {"required": bool(endpoint.body.required), "content": content}
    return made


def _responses(endpoint: Endpoint) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for status, schema in endpoint.answers.items():
        found[str(status)] = {"description": _STATUS[status]}
        if schema is not None:
            found[str(status)]["content"] = {endpoint.media: {"schema": schema}}
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return found | {str(s): {"description": _STATUS[s], "content": problem} for s in refusals(endpoint)}


def _parameter(place: str, name: str, schema: Schema, required: bool) -> dict[str, Any]:
    return {"in": place, "name": name, "required": required, "schema": schema}


def _object(fields: Fields) -> Schema:
    return {
        "type": "object",
        "properties": dict(fields.schemas),
        "required": fields.required,
        "additionalProperties": False,
    }


def _name(endpoint: Endpoint) -> str:
    words = re.findall(r"\w+", endpoint.path)
    return "_".join((endpoint.method.lower(), *words))


def table(endpoints: Sequence[Endpoint]) -> str:
    """The endpoints as a table in Markdown."""
    head = "| Method | Path | What it does | Query | Body | Answers |\n|---|---|---|---|---|---|\n"
    return head + "".join(_row(e) for e in endpoints)


def _row(endpoint: Endpoint) -> str:
    body = "" if endpoint.body is None else _listed(endpoint.body)
    statuses = ", ".join(str(s) for s in (*endpoint.answers, *refusals(endpoint)) if s not in EVERYWHERE)
    summary = endpoint.summary + (" No session." if endpoint.open else "")
    cells = (endpoint.method, f"`{endpoint.path}`", summary, _listed(endpoint.query), body, statuses)
    return f"| {' | '.join(cells)} |\n"


def _listed(fields: Fields) -> str:
    return ", ".join(f"`{n}`" + ("?" if n in fields.optional else "") for n in fields.schemas)
