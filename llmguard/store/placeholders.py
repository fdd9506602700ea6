"""Vault entries and grants at rest: values sealed, every row bound to its tenant.

A grant belongs to the accountable human behind a principal, or to the principal itself where there is none; nobody
else can open it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence

from llmguard.model import Grant, Principal, VaultEntry
from llmguard.store.transaction import Transaction
from llmguard.vault import TAG_LENGTH, Vault

_PURPOSE = "placeholder"
_GRANTED = """
SELECT g.placeholder, g.origin, p.sealed FROM grants g JOIN placeholders p USING (tenant, placeholder)
WHERE g.tenant = ? AND g.principal = ? AND g.scope IN (SELECT value FROM json_each(?)) AND (? IS NULL OR
  substr(g.placeholder, length(rtrim(g.placeholder, 'abcdefghijklmnopqrstuvwxyz234567]')) + 1, ?)
  IN (SELECT value FROM json_each(?)))
"""
_ISSUED = """
SELECT placeholder FROM grants WHERE tenant = ? AND principal = ? AND scope IN (SELECT value FROM json_each(?))
"""


def put(tx: Transaction, vault: Vault, tenant: str, entries: Iterable[VaultEntry]) -> frozenset[str]:
    """Stores what is new. Returns the placeholders that already belong to another value."""
    taken = set()
    for e in entries:
        digest = vault.digest(tenant, e.type, e.value)
        row = tx.one("SELECT digest FROM placeholders WHERE tenant = ? AND placeholder = ?", tenant, e.placeholder)
        if row is None:
            sealed = vault.seal(tenant, _PURPOSE, e.placeholder, json.dumps([e.type, e.category, e.value]).encode())
            tx.run(
                "INSERT INTO placeholders VALUES (?, ?, ?, ?, ?, ?, ?)",
                *(tenant, e.placeholder, e.type, e.category, digest, sealed, tx.now),
            )
        elif bytes(row["digest"]) != digest:
            taken.add(e.placeholder)
    return frozenset(taken)


def owner(principal: Principal) -> str:
    """Who a grant belongs to."""
    return f"human:{principal.human}" if principal.human else principal.id


def grant(tx: Transaction, principal: Principal, grants: Iterable[Grant]) -> None:
    tx.many(
        "INSERT OR IGNORE INTO grants VALUES (?, ?, ?, ?, ?, ?)",
        [(principal.tenant, g.scope, g.placeholder, owner(principal), g.origin, tx.now) for g in grants],
    )


def granted(
    tx: Transaction, vault: Vault, principal: Principal, scopes: Sequence[str], tags: Collection[str] | None = None
) -> tuple[VaultEntry, ...]:
    """Opens what ``principal`` was granted under ``scopes``; of these only placeholders whose tag begins so, if given.

    Raises GuardUnavailable if a sealed row was altered or moved.
    """
    rows = tx.all(
        _GRANTED,
        *(principal.tenant, owner(principal), json.dumps(list(scopes))),
        *((None, 0, None) if tags is None else (1, TAG_LENGTH, json.dumps(sorted(tags)))),
    )
    return tuple(_opened(vault, principal.tenant, *row) for row in rows)


def issued(
    tx: Transaction, tenant: str, principal: str, human: str | None, approvals: Collection[str]
) -> dict[str, str]:
    """Placeholder → type of those that the guard put into held calls. Nothing is opened: a look-alike is not there."""
    own = f"human:{human}" if human else principal
    scopes = json.dumps([f"approval:{id_}" for id_ in approvals])
    rows = tx.all(_ISSUED, tenant, own, scopes)
    found = [str(row["placeholder"]) for row in rows]
    return {placeholder: placeholder.strip("[]").rpartition("_")[0] for placeholder in found}


def _opened(vault: Vault, tenant: str, placeholder: str, origin: str, sealed: bytes) -> VaultEntry:
    type_, category, value = json.loads(vault.open(tenant, _PURPOSE, placeholder, sealed))
    return VaultEntry(placeholder, value, type_, category, origin)  # type: ignore[arg-type]
