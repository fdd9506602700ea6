"""The API description that requests are generated from, beside the operations table."""

from __future__ import annotations

import re
from random import Random

import jsonschema_rs
import pytest

from benchmarks.egress.bodies import Bodies
from benchmarks.egress.describe import described
from benchmarks.egress.description import Described, description
from benchmarks.egress.planting import clean, planted
from llmguard.model import Operation
from llmguard.payload import operations

ALL = description().operations
WITH_BODY = [o for o in ALL.values() if o.body is not None]
NOT_JSON = {
    "createTranscription",
    "createTranslation",
    "createVoice",
    "createVoiceConsent",
    "createFile",
    "createImageVariation",
    "addUploadPart",
    "CreateVideoCharacter",
    "Createcontentprovenancecheck",  # these take files, as multipart
    "create-realtime-call",  # takes SDP
}
STRICT = 0.98
"""Of the generated bodies, how many fit to the letter. The others fit two alternatives that exclude each other."""


def _row(operation: Described) -> Operation | None:
    found = operations.find(operation.method, re.sub(r"\{\w+\}", "x1", operation.path))
    return found and found[0]


def test_the_description_is_whole() -> None:
    assert len(ALL) == 288
    assert len(WITH_BODY) == 100
    assert {o.id for o in ALL.values() if o.media and o.body is None} == NOT_JSON


@pytest.mark.parametrize("operation", ALL.values(), ids=lambda o: o.id)
def test_every_operation_of_the_api_is_in_the_table(operation: Described) -> None:
    row = _row(operation)
    assert row is not None, f"{operation.method} {operation.path} is not in the operations table"
    assert operation.body is None or row.body == "json"
    assert operation.id not in NOT_JSON or row.body in ("multipart", "other")


def test_the_table_names_nothing_that_the_api_does_not_have() -> None:
    known = {(row.method, row.path) for o in ALL.values() if (row := _row(o))}
    extra = [r for r in operations.TABLE if (r.method, r.path) not in known]
    assert [r for r in extra if "**" not in r.path and not r.path.startswith("/deployments/")] == []


def test_generated_bodies_fit_their_schemas() -> None:
    made = fitting = 0
    for operation in WITH_BODY:
        validator = jsonschema_rs.Draft202012Validator({**operation.body, "$defs": description().defs})
        for number in range(10):
            value = Bodies(description(), Random(f"{operation.id}/{number}")).value(operation.body)
            made += 1
            fitting += validator.is_valid(value)
    assert fitting / made >= STRICT


def test_alternatives_that_exclude_each_other_are_the_only_reason_not_to_fit() -> None:
    loose = {name: _loose(schema) for name, schema in description().defs.items()}
    for operation in WITH_BODY:
        validator = jsonschema_rs.Draft202012Validator({**_loose(operation.body), "$defs": loose})
        for number in range(10):
            value = Bodies(description(), Random(f"{operation.id}/{number}")).value(operation.body)
            errors = [str(e).splitlines()[0][:200] for e in validator.iter_errors(value)]
            assert errors == [], operation.id


def test_a_call_is_the_same_whenever_it_is_made() -> None:
    for operation in WITH_BODY:
        assert planted(operation, 3, 5) == planted(operation, 3, 5)
        assert clean(operation, 3, 5) == clean(operation, 3, 5)
        assert planted(operation, 3, 5) != planted(operation, 4, 5)


def test_a_description_is_cut_down_to_what_decides_what_fits() -> None:
    tree = {
        "type": "object",
        "properties": {"next": {"$recursiveRef": "#"}, "pattern": {"type": "string", "nullable": True}},
    }
    body = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Tree"}}}}
    operation = {"operationId": "plant", "description": "long", "requestBody": body, "responses": {"200": {}}}
    document = {
        "info": {"title": "T", "version": "1", "license": {"name": "MIT"}},
        "paths": {"/trees": {"post": operation}},
        "components": {"schemas": {"Tree": tree | {"x-note": 1, "description": "long"}, "Unused": {}}},
    }
    data = described(document)
    assert data["operations"][0]["bodies"] == {"application/json": {"$ref": "#/$defs/Tree"}}
    assert data["$defs"] == {
        "Tree": {
            "type": "object",
            "properties": {"next": {"$ref": "#/$defs/Tree"}, "pattern": {"type": ["string", "null"]}},
        }
    }


def _loose(schema):  # type: ignore[no-untyped-def]
    """The schema with ``oneOf`` read as ``anyOf``."""
    if isinstance(schema, dict):
        return {"anyOf" if key == "oneOf" else key: _loose(child) for key, child in schema.items()}
    return [_loose(child) for child in schema] if isinstance(schema, list) else schema
