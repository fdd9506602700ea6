"""A call as it was decided, explained from what is kept of it: kinds and counts, never text."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from llmguard import identity
from llmguard.approvals import rules
from llmguard.errors import NotFound
from llmguard.identity import Person
from llmguard.policy.explain import explain
from llmguard.policy.file import PolicyFile
from llmguard.proxy.control import http
from llmguard.proxy.control.endpoints import Endpoint, Schema, word
from llmguard.proxy.control.schemas import (
    BOOL,
    COUNTS,
    INTEGER,
    NUMBER,
    RISK,
    STRING,
    TIME,
    ULID,
    maybe,
    record,
    several,
)
from llmguard.proxy.control.units import Table, Units
from llmguard.store import Transaction, calls

_TABLE: Schema = {"type": "object"}
_STEP = record(
    rule=STRING,
    when=STRING,
    verdict=STRING,
    outcome=word("held", "not", "error", "not reached"),
    shadow=BOOL,
    read={**_TABLE, "description": "the values that the condition read"},
)
_EXPLAINED = record(
    version=STRING,
    mode=STRING,
    risk=record(**RISK, reasons=several(record(term=STRING, points=NUMBER, text=STRING, left=NUMBER))),
    steps=several(_STEP),
    decision=maybe(record(verdict=STRING, rule=STRING, reason=STRING, people=COUNTS)),
    refused={**STRING, "description": "why nothing would be sent, where a rule errs"},
)
_CALL = record(
    id=ULID,
    received=TIME,
    approval=STRING,
    verdict=STRING,
    rule=STRING,
    policy=STRING,
    inherent=INTEGER,
    residual=INTEGER,
    shadow=several({"type": "array", "items": STRING, "minItems": 2, "maxItems": 2}),
    facts={**_TABLE, "description": "kinds and counts, as they are kept"},
    then={**maybe(_EXPLAINED), "description": "by the policy that decided it; null if that is not kept"},
    now={**_EXPLAINED, "description": "by the policy in force"},
)


class CallDesk:
    """Endpoints of decided calls. ``file``: the policy of the configuration."""

    def __init__(self, units: Units, file: PolicyFile) -> None:
        self._units = units
        self._file = file

    def table(self) -> Table:
        return (
            Endpoint(
                "GET",
                "/calls/{id}",
                self.show,
                "What was known of a call, or of an approval's, and what each rule said of it; for the human behind it,"
                " and for people of a group.",
                {200: _CALL},
                refusals=(404,),
            ),
        )

    async def show(self, request: Request) -> Response:
        http.query(request)
        id_ = http.id_of(request)
        return http.json(200, await self._units.show(request, lambda tx, who: self._explained(tx, who, id_)))

    def _explained(self, tx: Transaction, who: Person, id_: str) -> dict[str, Any]:
        kept = self._visible(tx, who, id_)
        vault, then = self._units.vault, None
        try:
            then = explain(rules.version(tx, vault, who.tenant, kept.policy), kept.facts)
        except NotFound:
            if kept.policy == self._file.policy.version:
                then = explain(self._file.policy, kept.facts)
        source = rules.in_force(tx, vault, who.tenant)
        now = explain(self._file.policy if source is None else rules.parsed(source), kept.facts)
        row = tx.one("SELECT id FROM approvals WHERE tenant = ? AND call = ? AND call <> ''", who.tenant, kept.id)
        return {
            "id": kept.id,
            "received": kept.facts.received,
            "approval": "" if row is None else row["id"],
            **{name: getattr(kept, name) for name in ("verdict", "rule", "policy", "inherent", "residual")},
            "shadow": [list(said) for said in kept.shadow],
            "facts": json.loads(kept.facts.encode()),
            "then": then and then.as_json(),
            "now": now.as_json(),
        }

    def _visible(self, tx: Transaction, who: Person, id_: str) -> calls.Kept:
        """Raises NotFound, in the same words for what is not there and for what is not this person's to see."""
        row = tx.one("SELECT call FROM approvals WHERE tenant = ? AND id = ?", who.tenant, id_)
        kept = calls.one(tx, who.tenant, row["call"] if row is not None and row["call"] else id_)
        if kept is None or not (who.groups or identity.same_human(who.email, kept.facts.human or None)):
            raise NotFound("no such call is kept: the log names calls, and calls_kept says for how long they are")
        return kept
