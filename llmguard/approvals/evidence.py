"""Evidence: one approval as an auditor takes it away: who asked, who decided, what left, and the proofs of all of it.

It is checked without the guard and its keys (``llmguard.audit.verify_evidence``). It discloses the salt of this
approval's commitments, so taking it is in the log; without being asked to, it holds nothing that was written or sent.
"""

from __future__ import annotations

import base64
from dataclasses import asdict
from pathlib import Path
from typing import Any

from llmguard import audit
from llmguard.approvals import record
from llmguard.audit.evidence import CONTROLS, KIND, VERSION
from llmguard.errors import AuditError, GuardUnavailable, NotFound
from llmguard.identity import Person
from llmguard.model import Approval
from llmguard.store import Store, Transaction
from llmguard.vault import Vault


def requested(tx: Transaction, vault: Vault, approval: Approval, by: Person, *, payload: bool) -> None:
    """Writes down who takes it, and that it holds what was sent."""
    record.log(tx, vault, approval, "approval.evidence", {"by": by.email, "payload": payload})
    if payload:
        record.log(tx, vault, approval, "approval.raw_view", {"by": by.email})


def cover(store: Store, vault: Vault, destination: Path) -> None:
    """Signs and publishes the log as it stands at this moment. Raises GuardUnavailable if that is not possible."""
    try:
        audit.checkpoint(store, vault.keyring, origin(vault), destination)
    except AuditError as e:
        raise GuardUnavailable(e.message) from None


def pack(tx: Transaction, vault: Vault, approval: Approval, *, payload: bool) -> dict[str, Any]:
    """The document, under the newest checkpoint. Raises NotFound if there is none, or if the payload was erased."""
    checkpoint = audit.checkpoint_last(tx)
    if checkpoint is None:
        raise NotFound("no checkpoint was made yet: ask again")
    entries = [e for e in audit.about(tx, approval.id) if e.tenant == approval.tenant and e.index < checkpoint.size]
    made = {
        "kind": KIND,
        "version": VERSION,
        "approval": _facts(approval),
        "votes": [_vote(approval, i) for i in range(len(approval.votes))],
        "revisions": _revisions(tx, vault, approval, checkpoint.size),
        "salt": record.salt(tx, vault, approval).hex(),
        "entries": [_entry(tx, e, checkpoint.size) for e in entries],
        "checkpoint": checkpoint.note,
        "continues": _continues(tx, checkpoint.size),
        "key": str(audit.Verifier.of(origin(vault), vault.keyring.signer())),
        "controls": {control: list(fields) for control, fields in CONTROLS.items()},
    }
    return made | ({"payload": _payload(tx, vault, approval)} if payload else {})


def origin(vault: Vault) -> str:
    """The name of this installation's log."""
    return f"llmguard/{vault.keyring.log_id()}"


def _facts(a: Approval) -> dict[str, Any]:
    """Everything that the log says of an approval, too: nothing here stands on the guard's word alone."""
    return {
        "id": a.id,
        "tenant": a.tenant,
        "state": a.state,
        "version": a.version,
        "subject": a.subject,
        "kind": a.kind,
        "operation": a.operation,
        "destination": a.destination,
        "principal": a.principal,
        "human": a.human,
        "excluded": list(a.excluded),
        "call": a.call,
        "digest": a.egress_digest,
        "rule": a.rule,
        "policy_version": a.policy_version,
        "requirement": record.needs(a.requirement),
        "risk": {"inherent": a.risk.inherent, "residual": a.risk.residual},
        "findings": dict(a.findings),
        "unscanned": list(a.unscanned),
        "revises": a.revises,
        "revision": a.revision,
        "standing": a.standing,
        "exceptions": list(a.exceptions),
        "advisory": a.advisory,
        "created": a.created,
        "updated": a.updated,
    }


def _vote(approval: Approval, index: int) -> dict[str, Any]:
    told = asdict(approval.votes[index])
    del told["attestation"]  # a MAC of the guard's own
    return told


def _revisions(tx: Transaction, vault: Vault, approval: Approval, size: int) -> dict[str, Any]:
    """How those before and after it began, in order, as far as the checkpoint covers them."""

    def beginnings(ids: list[str]) -> list[dict[str, Any]]:
        held = (next(e for e in audit.about(tx, id_) if e.kind == "approval.held") for id_ in ids)
        return [_entry(tx, entry, size) for entry in held if entry.index < size]

    return {"before": beginnings(_before(tx, vault, approval)), "after": beginnings(_after(tx, approval))}


def _before(tx: Transaction, vault: Vault, approval: Approval) -> list[str]:
    found: list[str] = []
    while approval.revises and approval.revises not in found:
        found.insert(0, approval.revises)
        approval = record.load(tx, vault, approval.tenant, approval.revises)
    return found


def _after(tx: Transaction, approval: Approval) -> list[str]:
    found: list[str] = []
    id_ = record.successor(tx, approval.tenant, approval.id)
    while id_ and id_ not in found:
        found.append(id_)
        id_ = record.successor(tx, approval.tenant, id_)
    return found


def _entry(tx: Transaction, entry: audit.LoggedEntry, size: int) -> dict[str, Any]:
    proof = audit.inclusion(tx, entry.index, size)
    return {"index": entry.index, "leaf": entry.leaf.decode(), "proof": [_base64(step) for step in proof]}


def _continues(tx: Transaction, size: int) -> dict[str, Any] | None:
    """That this checkpoint continues the newest one that left the host."""
    sql = "SELECT size, note FROM checkpoints WHERE published IS NOT NULL AND size BETWEEN 1 AND ?"
    row = tx.one(f"{sql} ORDER BY size DESC LIMIT 1", size)
    if row is None:
        return None
    proof = [] if row["size"] == size else audit.consistency(tx, row["size"], size)
    return {"checkpoint": row["note"], "proof": [_base64(step) for step in proof]}


def _payload(tx: Transaction, vault: Vault, approval: Approval) -> dict[str, Any]:
    """The frozen egress, from which its digest follows."""
    egress = record.egress(tx, vault, approval)
    told: dict[str, Any] = {
        "destination": egress.destination,
        "url": egress.url,
        "account": egress.account,
        "method": egress.method,
    }
    told["headers"] = [list(pair) for pair in egress.headers]
    if isinstance(egress.body, bytes):
        return {**told, "body": _base64(egress.body)}
    return {**told, "body_digest": egress.body.digest, "bytes": len(egress.body)}  # too large to be told


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
