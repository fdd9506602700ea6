"""Schemas of what the control plane answers, for its OpenAPI document. Nothing here is looked at while it runs."""

from __future__ import annotations

from typing import Any, get_args

from llmguard.approvals import STATES
from llmguard.approvals.approvals import Ballot
from llmguard.model import Kind, Subject
from llmguard.proxy.control.endpoints import Schema, text, word

STRING: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer"}
BOOL: Schema = {"type": "boolean"}
TIME: Schema = {"type": "integer", "minimum": 0, "description": "UTC milliseconds"}
HEX: Schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
ULID: Schema = {"type": "string", "pattern": "^[0-9A-HJKMNP-TV-Z]{26}$"}
EMPTY_OR_ULID: Schema = {"type": "string", "pattern": "^([0-9A-HJKMNP-TV-Z]{26})?$"}
HASH: Schema = {"type": "string", "contentEncoding": "base64", "description": "a SHA-256 hash"}
COUNTS: Schema = {"type": "object", "additionalProperties": {"type": "integer"}}
PERCENT: Schema = {"type": "integer", "minimum": 0, "maximum": 100}
NUMBER: Schema = {"type": "number"}
RISK = {
    "inherent": PERCENT,
    "residual": PERCENT,
    "summary": {"type": "string", "description": "one sentence for whoever decides"},
}


def record(**members: Schema) -> Schema:
    """An object with exactly these members."""
    return {"type": "object", "properties": members, "required": [*members], "additionalProperties": False}


def several(schema: Schema) -> Schema:
    return {"type": "array", "items": schema}


def maybe(schema: Schema) -> Schema:
    """The same, or null."""
    if "type" in schema and "enum" not in schema:
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def of(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def page(name: str, schema: Schema) -> Schema:
    """One page of a list, and the cursor of the next."""
    return record(**{name: several(schema), "next": maybe(STRING)})


_SUMMARY: dict[str, Schema] = {
    "id": ULID,
    "state": word(*STATES),
    "version": INTEGER,
    "subject": word(*get_args(Subject)),
    "kind": word(*get_args(Kind)),
    "operation": STRING,
    "destination": STRING,
    "requester": record(principal=STRING, name=STRING, human=maybe(STRING)),
    "digest": {**HEX, "description": "the egress digest: what a vote is for"},
    "rule": STRING,
    "policy_version": STRING,
    "requirement": of("Requirement"),
    "missing": {**INTEGER, "description": "people who are still wanting"},
    "missing_of": COUNTS,
    "risk": record(**RISK),
    "findings": COUNTS,
    "unscanned": several(STRING),
    "advisory": {**BOOL, "description": "the requester could write the guard's database"},
    "call": STRING,
    "revises": EMPTY_OR_ULID,
    "revision": INTEGER,
    "standing": {**EMPTY_OR_ULID, "description": "the standing grant whose votes count here"},
    "exceptions": several(ULID),
    "escalated": maybe(TIME),
    "created": TIME,
    "expires": TIME,
    "updated": TIME,
    "decided": {**maybe(TIME), "description": "when people had decided"},
}
_CONTENT = record(
    encoding=word("utf-8", "base64"),
    text=STRING,
    offset={**INTEGER, "description": "where in the whole this begins, in bytes"},
    bytes={**INTEGER, "description": "how many bytes of the whole are shown here"},
    total={**INTEGER, "description": "how many bytes the whole has"},
)
_EGRESS = record(
    digest=HEX,
    destination=STRING,
    url=STRING,
    method=STRING,
    account=STRING,
    headers=several({"type": "array", "items": STRING, "minItems": 2, "maxItems": 2}),
    bytes={**INTEGER, "description": "how many bytes the whole body has"},
    body=of("Content"),
)
_FULL: dict[str, Schema] = {
    **_SUMMARY,
    "risk": record(**RISK, reasons=several(record(term=STRING, points=NUMBER, text=STRING, left=NUMBER))),
    "justification": {**STRING, "description": "why the caller asks, redacted"},
    "votes": several(of("Vote")),
    "excluded": several(STRING),
    "revised_by": EMPTY_OR_ULID,
    "egress": of("Egress"),
    "placeholders": {
        "type": "object",
        "additionalProperties": STRING,
        "description": "those that the guard put in, by their type; whatever else looks like one was written so",
    },
    "because": maybe(record(reason=STRING, when=STRING)),
    "loosens": {
        **maybe(several(STRING)),
        "description": "of a change of the policy: what it lets through that the one in force does not, in lines",
    },
    "changes": {
        **maybe(several(STRING)),
        "description": "a unified diff against the revision before; of a change, against what is in force",
    },
    "report": maybe({**STRING, "description": "what an executed action said of itself, as JSON"}),
    "may": record(vote=BOOL, break_glass=BOOL, cancel=BOOL, revoke=BOOL, revise=BOOL, grant=BOOL, records=BOOL),
    "proposal": maybe({**STRING, "description": "what a reviewer would approve instead"}),
}

COMPONENTS: dict[str, Schema] = {
    "Problem": {
        "type": "object",
        "description": "RFC 9457; the last part of `type` is the code",
        "properties": {
            "type": {"type": "string", "pattern": "^urn:llmguard:problem:[a-z_]+$"},
            "title": STRING,
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "detail": STRING,
            "approval_id": STRING,
        },
        "required": ["type", "title", "status", "detail"],
        "additionalProperties": False,
    },
    "Requirement": record(
        groups=COUNTS,
        expires_in=INTEGER,
        spend_in=INTEGER,
        fresh=INTEGER,
        remind_after=INTEGER,
        escalate_after=INTEGER,
        escalate_to=STRING,
        break_glass=STRING,
        hold=word("", "wait", "ticket"),
        justified=BOOL,
    ),
    "Vote": record(
        human=STRING,
        verdict=word(*get_args(Ballot)),
        reason=STRING,
        time=TIME,
        authenticated=TIME,
        counts=BOOL,
    ),
    "Content": _CONTENT,
    "Egress": _EGRESS,
    "Summary": record(**_SUMMARY),
    "Approval": record(**_FULL),
    "Proposed": record(applied=BOOL, approval=maybe(of("Summary"))),
    "Person": record(
        email=STRING,
        tenant=STRING,
        groups=several(STRING),
        active=BOOL,
        source=word("guard", "provider"),
        created=TIME,
    ),
    "Key": record(
        tenant=STRING,
        id=ULID,
        name=STRING,
        kind=word("human", "service", "agent"),
        human=maybe(STRING),
        scopes=several(STRING),
        expires=maybe(TIME),
        linked=BOOL,
        created=TIME,
        revoked=maybe(TIME),
    ),
    "Delegation": record(
        tenant=STRING,
        id=ULID,
        giver=STRING,
        receiver=STRING,
        groups=several(STRING),
        starts=TIME,
        ends=TIME,
        created=TIME,
        revoked=maybe(TIME),
    ),
    "Grant": record(
        tenant=STRING,
        id=ULID,
        principal=STRING,
        operation=STRING,
        destination=STRING,
        types=several(STRING),
        inherent=PERCENT,
        residual=PERCENT,
        ends=TIME,
        approval=ULID,
        created=TIME,
        revoked=maybe(TIME),
    ),
    "Exception": record(
        tenant=STRING,
        id=ULID,
        type=STRING,
        detector=STRING,
        principal=STRING,
        operation=STRING,
        destination=STRING,
        secret=BOOL,
        ends=TIME,
        approval=EMPTY_OR_ULID,
        by=STRING,
        reason=STRING,
        created=TIME,
        removed=maybe(TIME),
    ),
    "Event": record(
        index={**INTEGER, "description": "of the entry in the log; -1: a reminder"},
        time=TIME,
        kind=STRING,
        by=STRING,
        why=STRING,
        verdict=STRING,
        to=STRING,
        outcome=STRING,
        payload=STRING,
        state=STRING,
    ),
    "Link": record(id=ULID, team=STRING, account=STRING, created=TIME),
    "Entry": record(
        index=INTEGER, id=ULID, time=TIME, kind=STRING, leaf={**STRING, "description": "the leaf: canonical JSON"}
    ),
}


def with_members(name: str, **more: Schema) -> Schema:
    """A component with more members."""
    known: dict[str, Any] = dict(COMPONENTS[name]["properties"])
    return record(**known, **more)


OWN_SESSION = record(
    id=STRING, method=word("code", "oidc", "password"), created=TIME, seen=TIME, expires=TIME, current=BOOL
)
LOGIN = with_members("Person", token=text(200), expires=TIME)
ME = with_members(
    "Person",
    session=record(method=word("code", "oidc", "password"), auth_time=TIME, amr=several(STRING), expires=TIME),
)
NEW_KEY = with_members("Proposed", id=ULID, token=text(200))
LINKED_KEY = with_members("Proposed", id=ULID)

_ENTRY = record(index=INTEGER, leaf=STRING, proof=several(HASH))
EVIDENCE: Schema = {
    "type": "object",
    "description": "What `llmguard audit evidence verify` reads; every field is bound to the signed log.",
    "properties": {
        "kind": {"const": "llmguard evidence"},
        "version": {"const": 1},
        "approval": {"type": "object"},
        "votes": several({"type": "object"}),
        "revisions": record(before=several(_ENTRY), after=several(_ENTRY)),
        "salt": HEX,
        "entries": several(_ENTRY),
        "checkpoint": STRING,
        "continues": maybe(record(checkpoint=STRING, proof=several(HASH))),
        "key": STRING,
        "controls": {"type": "object", "additionalProperties": several(STRING)},
        "payload": {"type": "object"},
    },
    "required": ["kind", "version", "approval", "votes", "salt", "entries", "checkpoint", "key", "controls"],
    "additionalProperties": False,
}
