"""Changes of people and keys as approvals: which need nobody, and what reviewers of the others are asked."""

from __future__ import annotations

from llmguard import identity
from llmguard.identity import Change, KeyChange, Person, PersonChange
from llmguard.model import Decision, Egress, Hold, Principal, Reason, Requirement, Risk
from llmguard.store import Transaction
from llmguard.vault import Vault

REQUIREMENT = Requirement(quorum=1, group=identity.DEFAULT_GROUP, expires_in=24 * 3600)
RULE = "membership"


def alone(tx: Transaction, vault: Vault, person: Person, change: Change) -> bool:
    """A key for oneself and deactivating oneself need nobody."""
    if isinstance(change, KeyChange):
        return change.human == person.email
    before = identity.person(tx, vault, person.tenant, person.email)
    return change.email == person.email and before is not None and not change.active and change.groups == before.groups


def asked(vault: Vault, person: Person, change: Change) -> Hold:
    """What ``person`` asks somebody else to approve: the change itself, as canonical JSON."""
    body = identity.encode(change)
    principal = Principal(f"person:{person.email}", person.tenant, "human", person.email, person.email)
    word = "person" if isinstance(change, PersonChange) else "key"
    return Hold(
        principal=principal,
        subject="change",
        operation=f"{word}.change",
        request_key=vault.request_key(person.tenant, [b"change", principal.id.encode(), body]),
        egress=Egress("llmguard", "", person.tenant, "CHANGE", (), body),
        original=body,
        decision=Decision("require_approval", RULE, "built-in", "people and keys change by two", REQUIREMENT),
        risk=Risk(0, 0, (Reason("change", 0, "changes who may call or approve"),)),
    )
