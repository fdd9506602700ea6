"""Asked: what a requester itself may read of its own approvals. Never anybody else's, and nothing is changed here.

The principal behind a request wrote it, so it reads it back without a raw view in the log; the reviewers' words are
meant for it.
"""

from __future__ import annotations

from llmguard.approvals import record
from llmguard.errors import NotFound
from llmguard.model import Approval, Principal, in_memory
from llmguard.store import Transaction
from llmguard.vault import Vault


def own(tx: Transaction, vault: Vault, principal: Principal, id_: str) -> Approval:
    """Raises NotFound for an approval of anybody else, GuardUnavailable if the row was altered."""
    approval = record.load(tx, vault, principal.tenant, id_)
    if approval.principal != principal.id:
        raise NotFound("there is no such approval of this caller")
    return approval


def written(tx: Transaction, vault: Vault, principal: Principal, id_: str) -> bytes:
    """The request as it was written, before redaction. Raises NotFound if it was erased."""
    return in_memory(record.original(tx, vault, own(tx, vault, principal, id_)))


def waiting(tx: Transaction, vault: Vault, principal: Principal, operation: str) -> tuple[Approval, ...]:
    """What this principal asked for of one operation and is neither refused nor spent, oldest first."""
    rows = tx.all(
        "SELECT * FROM approvals WHERE tenant = ? AND principal = ? AND operation = ? AND expires > ?"
        " AND state IN ('PENDING', 'APPROVED', 'CHANGES_REQUESTED') ORDER BY id",
        *(principal.tenant, principal.id, operation, tx.now),
    )
    return tuple(record.from_row(tx, vault, row) for row in rows if record.genuine(vault, row))


def why_changes(tx: Transaction, vault: Vault, principal: Principal, id_: str) -> str:
    """Why reviewers ask for changes, in their words."""
    approval = own(tx, vault, principal, id_)
    return "\n".join(v.reason for v in approval.votes if v.verdict == "request_changes")
