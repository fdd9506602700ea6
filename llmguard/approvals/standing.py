"""Standing grants: votes that were cast in advance, for what one principal does over and over, for some hours.

A grant is narrow (principal, operation, destination, types of findings, highest risk, at most eight hours) and is made
by an approval of its own. A call that it covers is held as ever and spent as ever; what counts for it are the votes on
the grant, measured by the very requirement of the call's rule. It owns the table standing_grants and never believes it.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from typing import Any

from llmguard.approvals import record
from llmguard.errors import GuardUnavailable, InvalidRequest, NotFound
from llmguard.identity import Cause, Person
from llmguard.identity.rows import fields, genuine, log, page
from llmguard.model import Approval, Hold, new_id
from llmguard.store import Transaction
from llmguard.vault import Vault

LONGEST = 8 * 3600
"""Seconds."""
KINDS = frozenset({"inference", "stored"})
"""What is done with the data of calls that can be granted in advance: never training, administration or actions."""
_COLUMNS = (
  "tenant", "id", "principal", "operation", "destination", "types", "inherent", "residual", "ends", "approval",
  "created", "revoked",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class StandingChange:
    """Calls of ``principal`` to ``operation`` at ``destination`` are approved in advance for ``seconds``.

    Only with findings of ``types`` (``unscanned.KIND`` for what could not be looked into), and up to these risks.
    ``groups``: whose votes the grant collects; it helps where they satisfy the rule that holds the call.
    """

    id: str
    principal: str
    operation: str
    destination: str
    types: tuple[str, ...]
    inherent: int
    residual: int
    seconds: int
    groups: tuple[tuple[str, int], ...] = (("reviewers", 1),)


@dataclass(frozen=True, slots=True)
class Standing:
    """A grant that was approved, by the approval of that id. ``ends``, ``revoked``: UTC ms."""

    tenant: str
    id: str
    principal: str
    operation: str
    destination: str
    types: tuple[str, ...]
    inherent: int
    residual: int
    ends: int
    approval: str
    created: int
    revoked: int | None


def asked(like: Approval, now: int, seconds: int) -> StandingChange:
    """A grant for calls like one that was held: the same route, no other findings, no higher risk.

    Raises InvalidRequest for what cannot be granted in advance.
    """
    if not grantable(like):
        raise InvalidRequest("only calls for inference or stored data can be approved in advance; actions never are")
    change = StandingChange(
        id=new_id(now),
        principal=like.principal,
        operation=like.operation,
        destination=like.destination,
        types=types_of(like),
        inherent=like.risk.inherent,
        residual=like.risk.residual,
        seconds=seconds,
        groups=like.requirement.groups,
    )
    _possible(change)
    return change


def grantable(like: Approval) -> bool:
    """Whether calls like this one can be approved in advance."""
    return like.subject == "call" and like.kind in KINDS


def types_of(held: Approval | Hold) -> tuple[str, ...]:
    """What was found in a call, and what could not be looked into."""
    return tuple(sorted({*held.findings, *(f"unscanned.{kind}" for kind in held.unscanned)}))


def _possible(change: StandingChange) -> None:
    if not 60 <= change.seconds <= LONGEST:
        raise InvalidRequest("a standing grant lasts from a minute to eight hours")


def apply(tx: Transaction, vault: Vault, tenant: str, change: StandingChange, cause: Cause) -> None:
    """Its hours begin with the approval, which it must have. Raises InvalidRequest before it writes."""
    _possible(change)
    if cause.approval is None:
        raise InvalidRequest("a standing grant is made by an approval")
    ends = tx.now + change.seconds * 1000
    values = [tenant, change.id, change.principal, change.operation, change.destination, json.dumps(list(change.types))]
    values += [change.inherent, change.residual, ends, cause.approval, tx.now, None]  # type: ignore[list-item]
    _put(tx, vault, values)
    details = {"grant": change.id, "principal": change.principal, "operation": change.operation, "ends": ends}
    risk = {"inherent": change.inherent, "residual": change.residual}
    log(tx, tenant, "standing.added", {**details, "types": list(change.types), "risk": risk}, cause)


def find(tx: Transaction, vault: Vault, approval: Approval) -> str:
    """The id of a grant that covers an approval at this moment, or "". The one that lasts longest."""
    if not grantable(approval):
        return ""
    rows = tx.all(
        "SELECT * FROM standing_grants WHERE tenant = ? AND principal = ? AND ends > ? ORDER BY ends DESC",
        *(approval.tenant, approval.principal, tx.now),
    )
    return next((row["id"] for row in rows if _covers(tx, vault, row, approval)), "")


def covering(tx: Transaction, vault: Vault, approval: Approval) -> Approval | None:
    """The approval whose votes count for this one, if its grant still covers it."""
    row = tx.one("SELECT * FROM standing_grants WHERE tenant = ? AND id = ?", approval.tenant, approval.standing)
    if row is None or not _covers(tx, vault, row, approval):
        return None
    return record.load(tx, vault, approval.tenant, row["approval"])


def _covers(tx: Transaction, vault: Vault, row: sqlite3.Row, approval: Approval) -> bool:
    if not _genuine(vault, row) or row["revoked"] is not None or row["ends"] <= tx.now:
        return False
    same = all(row[c] == getattr(approval, c) for c in ("principal", "operation", "destination"))
    calm = approval.risk.inherent <= row["inherent"] and approval.risk.residual <= row["residual"]
    return same and calm and set(types_of(approval)) <= set(json.loads(row["types"]))


def of(
    tx: Transaction, vault: Vault, tenant: str, after: str | None = None, limit: int | None = None
) -> tuple[tuple[Standing, ...], str | None]:
    """The genuine ones that are not over yet, oldest first, and where the next page begins."""
    rows, following = page(tx, "standing_grants", "id", tenant, after, limit, current=True)
    return tuple(_standing(row) for row in rows if _genuine(vault, row)), following


def revoke(tx: Transaction, vault: Vault, person: Person, id_: str) -> Standing:
    """Ends one at once, which needs nobody else. Raises NotFound, or NotAllowed outside of every group."""
    row = tx.one("SELECT * FROM standing_grants WHERE tenant = ? AND id = ?", person.tenant, id_)
    if row is None or not person.groups:
        raise NotFound("there is no such standing grant: llmguard grants list shows them")
    if not _genuine(vault, row):
        raise GuardUnavailable("this grant was altered in the database and counts for nothing: delete its entry")
    if row["revoked"] is None:
        _put(tx, vault, [*(row[c] for c in _COLUMNS[:-1]), tx.now])
        log(tx, person.tenant, "standing.revoked", {"grant": id_}, Cause(person.email))
    found = tx.one("SELECT * FROM standing_grants WHERE tenant = ? AND id = ?", person.tenant, id_)
    assert found is not None  # noqa: S101  read a moment ago in this unit of work
    return _standing(found)


def _put(tx: Transaction, vault: Vault, values: list[Any]) -> None:
    places = ", ".join("?" * (len(_COLUMNS) + 1))
    attestation = vault.attest("standing grant", fields(values))
    tx.run(f"INSERT OR REPLACE INTO standing_grants VALUES ({places})", *values, attestation)  # noqa: S608  question marks


def _genuine(vault: Vault, row: sqlite3.Row) -> bool:
    return genuine(vault, "standing grant", row, _COLUMNS)


def _standing(row: sqlite3.Row) -> Standing:
    values = {c: row[c] for c in _COLUMNS}
    return Standing(**{**values, "types": tuple(json.loads(row["types"]))})
