"""Changes of people and keys: as canonical JSON that reviewers are shown, and carried out."""

from __future__ import annotations

import json
from dataclasses import asdict

from llmguard.identity.keys import KeyChange, apply_key
from llmguard.identity.people import PersonChange, apply_person
from llmguard.identity.rows import Cause
from llmguard.store import Transaction
from llmguard.vault import Vault

Change = PersonChange | KeyChange


def encode(change: Change) -> bytes:
    """Canonical JSON: what reviewers of a change are shown, and what is carried out."""
    word = "person" if isinstance(change, PersonChange) else "key"
    return json.dumps({"change": word, **asdict(change)}, sort_keys=True, separators=(",", ":")).encode()


def decode(content: bytes) -> Change:
    """The reverse of ``encode``."""
    fields = json.loads(content)
    if fields.pop("change") == "person":
        return PersonChange(**{**fields, "groups": tuple(fields["groups"])})
    return KeyChange(**{**fields, "scopes": tuple(fields["scopes"])})


def apply(tx: Transaction, vault: Vault, tenant: str, change: Change, cause: Cause) -> None:
    """Carries a change out and writes it to the log. Raises Conflict, NotFound or InvalidRequest before it writes."""
    if isinstance(change, PersonChange):
        apply_person(tx, vault, tenant, change, cause)
    else:
        apply_key(tx, vault, tenant, change, cause)
