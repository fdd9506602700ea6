"""Calls as they are kept when they were decided, made by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from llmguard.effects import Record
from llmguard.facts import Facts, Found
from llmguard.model import Body, Call, Destination, Operation, Principal, new_id
from llmguard.policy import Policy
from llmguard.store import calls
from llmguard.store.calls import Kept
from tests.desks import START, TENANT, Desk

EMAIL = Found("EMAIL", "pii", "medium", 0.9, identity="e1")
CARD = Found("CREDIT_CARD", "pii", "high", 1.0, identity="c1")
OLD = Policy()
HOLD_CARDS = {
    "name": "cards",
    "when": 'findings.exists(f, f.type == "CREDIT_CARD")',
    "verdict": "require_approval",
    "quorum": 2,
}


def facts(*found: Found, at: int = START, kind: Any = "inference", **more: Any) -> Facts:
    """Of a call that Ann's key made."""
    told = {"characters": 400, "size": 500, "principal": "key:1", "principal_name": "app", "human": "ann@example.com"}
    return Facts(**{"operation": "chat.completions.create", "kind": kind, "trust": "public", "found": found,
                    "destination": "openai", "received": at, **told, **more})  # fmt: skip


def kept(known: Facts, policy: Policy = OLD, **decided: Any) -> Kept:
    """As it was decided by ``policy``, or as it is said."""
    risk = policy.risk(known)
    decision = policy.decide(known, risk)
    whole = Kept(
        new_id(known.received), known.principal, decision.verdict, decision.rule, decision.policy_version,
        risk.inherent, risk.residual, decision.shadow, known.encode(),
    )  # fmt: skip
    return replace(whole, **decided)


def keep(desk: Desk, known: Facts, policy: Policy = OLD, *, tenant: str = TENANT, id_: str = "") -> str:
    """Stores a call as the guard does when it was decided; its id."""
    principal = Principal(known.principal, tenant, "service", known.principal_name, known.human or None)
    operation = Operation(known.operation, "POST", "/chat/completions", known.kind)
    to = Destination(known.destination, "https://api.example/v1", known.trust)
    id_ = id_ or new_id(known.received)
    call = Call(id_, principal, operation, to, "POST", "/x", "", (), Body("empty", b"", ""), "", known.received)
    risk = policy.risk(known)
    record = Record(known, policy.decide(known, risk), risk)
    desk.store.transact(lambda tx: calls.keep(tx, call, record))
    return id_
