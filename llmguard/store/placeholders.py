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
MAX_LINKS = 4
"""How many links lead from a scope to what it stands for: of a file that a batch wrote to the parts that were sent."""
MAX_SCOPES = 4096
"""Scopes that one scope may stand for."""
_REACHED = f"""
WITH RECURSIVE reached(scope, links) AS (
  SELECT value, 0 FROM json_each(?3)
  UNION
  SELECT l.of, links + 1 FROM reached r
  JOIN grant_links l ON l.tenant = ?1 AND l.principal = ?2 AND l.scope = r.scope
  WHERE links < {MAX_LINKS} LIMIT {MAX_SCOPES}
)
"""  # noqa: S608  two numbers of ours
_OPENED = "SELECT DISTINCT g.placeholder, g.origin, p.sealed FROM (SELECT DISTINCT scope FROM reached) r"
_TO = "JOIN placeholders p ON p.tenant = g.tenant AND p.placeholder = g.placeholder WHERE g.principal = ?2"
_GRANTED = f"{_REACHED} {_OPENED} JOIN grants g ON g.tenant = ?1 AND g.scope = r.scope {_TO}"
_GRANTED_OF = f"""
{_REACHED} {_OPENED} CROSS JOIN json_each(?4) t
CROSS JOIN grants g ON g.tenant = ?1 AND g.scope = r.scope AND g.tag = t.value {_TO}
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
    own = owner(principal)
    tx.many(
        "INSERT OR IGNORE INTO grants VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(principal.tenant, g.scope, tag_of(g.placeholder), g.placeholder, own, g.origin, tx.now) for g in grants],
    )


def link(tx: Transaction, principal: Principal, links: Iterable[tuple[str, str]]) -> None:
    """Of each pair: what ``principal`` was, or will be, granted under the second is granted under the first too.

    Followed over at most ``MAX_LINKS`` links, of one owner. Loops are harmless.
    """
    own = owner(principal)
    tx.many(
        "INSERT OR IGNORE INTO grant_links VALUES (?, ?, ?, ?, ?)",
        [(principal.tenant, own, scope, of, tx.now) for scope, of in links if scope != of],
    )


def granted(
    tx: Transaction, vault: Vault, principal: Principal, scopes: Sequence[str], tags: Collection[str] | None = None
) -> tuple[VaultEntry, ...]:
    """Opens what ``principal`` was granted under ``scopes``; of these only placeholders whose tag begins so, if given.

    Raises GuardUnavailable if a sealed row was altered or moved.
    """
    if tags is not None and not tags:
        return ()
    rows = tx.all(
        _GRANTED if tags is None else _GRANTED_OF,
        *(principal.tenant, owner(principal), json.dumps(list(scopes))),
        *(() if tags is None else (json.dumps(sorted(tags)),)),
    )
    return tuple(_opened(vault, principal.tenant, *row) for row in rows)


def tag_of(placeholder: str) -> str:
    """The beginning of a placeholder's tag."""
    return placeholder.rpartition("_")[2][:TAG_LENGTH]


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
