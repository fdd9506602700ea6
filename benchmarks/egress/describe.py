"""Describe: makes ``openapi.json.gz``, what the egress benchmark knows of the API, from OpenAI's API description.

  python benchmarks/egress/describe.py openapi.json

Owns what is kept: per operation its method, path, parameters, kinds of bodies and whether it streams, and of the
schemas those that a JSON body or a form reaches, without their prose. The description is at https://github.com/openai/openai-openapi
under the MIT licence (``LICENSE.openapi`` beside the data). Run it on a newer description, look at what
``tests/egress`` says of new operations, and commit the result: neither tests nor benchmarks read anything else.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

DATA = Path(__file__).with_name("openapi.json.gz")
METHODS = ("get", "post", "put", "patch", "delete")
_PLAIN = (
    *("type", "required", "enum", "const", "format", "pattern", "uniqueItems"),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength", "minItems", "maxItems"),
    *("minProperties", "maxProperties"),
)
"""Keywords that are kept as they are. ``default``, ``description`` and all of ``x-…`` say nothing of what fits."""
_HOME = "#/components/schemas/"
JSON = "application/json"
FORM = "multipart/form-data"


def described(document: Mapping[str, Any]) -> dict[str, Any]:
    """The data of a parsed description."""
    operations = [_operation(document, *found) for found in _operations(document)]
    schemas = document["components"]["schemas"]
    defs: dict[str, Any] = {}
    todo = sorted({name for operation in operations for name in _named(operation)})
    while todo:
        name = todo.pop()
        if name not in defs:
            defs[name] = _schema(schemas[name], name)
            todo += sorted(_named(defs[name]))
    return {
        "source": f"{document['info']['title']} {document['info']['version']}, {document['info']['license']['name']}",
        "operations": operations,
        "$defs": dict(sorted(defs.items())),
    }


def _operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for path, item in sorted(document["paths"].items()):
        for method in METHODS:
            if method in item:
                yield path, method, item[method]


def _operation(document: Mapping[str, Any], path: str, method: str, operation: Mapping[str, Any]) -> dict[str, Any]:
    content = operation.get("requestBody", {}).get("content", {})
    answers = (kind for answer in operation["responses"].values() for kind in answer.get("content", {}))
    return {
        "id": operation["operationId"],
        "method": method.upper(),
        "path": path.partition("?")[0],
        "parameters": [_parameter(document, p) for p in operation.get("parameters", ())],
        "bodies": {
            kind: _schema(body["schema"], "") if kind in (JSON, FORM) else None for kind, body in content.items()
        },
        "streams": "text/event-stream" in answers,
    }


def _parameter(document: Mapping[str, Any], parameter: Mapping[str, Any]) -> dict[str, Any]:
    if "$ref" in parameter:
        parameter = document["components"]["parameters"][parameter["$ref"].rpartition("/")[2]]
    schema = _schema(parameter["schema"], "")
    return {"name": parameter["name"], "in": parameter["in"], "required": parameter.get("required", False)} | {
        "schema": schema
    }


def _schema(schema: Any, home: str) -> Any:
    """What of a schema decides what fits, as JSON Schema 2020-12. ``home`` is the named schema that it stands in."""
    if isinstance(schema, bool):
        return schema
    kept = _plain(schema)
    if "$ref" in schema:
        kept["$ref"] = "#/$defs/" + schema["$ref"].removeprefix(_HOME)
    if "$recursiveRef" in schema:
        kept["$ref"] = f"#/$defs/{home}"
    if "properties" in schema:
        kept["properties"] = {name: _schema(child, home) for name, child in schema["properties"].items()}
    for key in ("items", "additionalProperties"):
        if key in schema:
            kept[key] = _schema(schema[key], home)
    for key in ("oneOf", "anyOf", "allOf"):
        if key in schema:
            kept[key] = [_schema(child, home) for child in schema[key]]
    return kept


def _plain(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords without schemas in them."""
    kept = {key: schema[key] for key in _PLAIN if key in schema}
    for key in ("Minimum", "Maximum"):  # of an older draft, in which it says how to read the other one
        if kept.get(f"exclusive{key}") is True:
            kept[f"exclusive{key}"] = kept.pop(key.lower())
    if schema.get("nullable") and "type" in schema:
        kept["type"] = [schema["type"], "null"]
    return kept


def _named(value: Any) -> Iterator[str]:
    """Names of schemas that a value refers to."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"].removeprefix("#/$defs/")
        for child in value.values():
            yield from _named(child)
    elif isinstance(value, list):
        for child in value:
            yield from _named(child)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("description", type=Path, help="the API description, JSON")
    data = described(json.loads(parser.parse_args().description.read_text()))
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
    DATA.write_bytes(gzip.compress(text.encode(), 9, mtime=0))  # the same description gives the same bytes
    print(
        f"{DATA.name}: {len(data['operations'])} operations, {len(data['$defs'])} schemas, {DATA.stat().st_size} bytes"
    )


if __name__ == "__main__":
    main()
