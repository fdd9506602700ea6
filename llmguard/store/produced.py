"""Produced: what the provider made of what was sent through here: files, jobs, batches, and from which others.

One row an id, attested, so that nobody who can write the database alone makes a file known. It holds the digest of what
was sent and in kinds and counts what stood in it, never text. The first word stays: an id is not written twice.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from llmguard.model import Produced
from llmguard.store.transaction import Transaction
from llmguard.vault import Vault

_COLUMNS = (
    "tenant", "id", "kind", "operation", "principal", "call", "approval", "digest", "sources", "report", "created",
)  # fmt: skip
MAX_STEPS = 1000
"""Rows of one lineage."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an id comes from. ``digest``: of the egress that made it; ``report``: what was known of a file."""

    id: str
    kind: str
    operation: str
    principal: str
    call: str
    approval: str
    digest: str
    sources: tuple[str, ...]
    created: int
    report: Mapping[str, Any] = field(default_factory=dict)


def keep(tx: Transaction, vault: Vault, tenant: str, made: Iterable[Produced], **of: str) -> None:
    """Writes what an answer names. ``of``: operation, principal, call, approval and digest of what was sent."""
    for one in made:
        sources, report = json.dumps(one.sources), json.dumps(dict(one.report), sort_keys=True)
        told = {"tenant": tenant, "id": one.id, "kind": one.kind, "sources": sources, "report": report, **of}
        values = [*(told[c] for c in _COLUMNS[:-1]), tx.now]
        tx.run(
            "INSERT OR IGNORE INTO produced VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(*values, vault.attest("produced", *map(str, values))),
        )


def known(tx: Transaction, vault: Vault, tenant: str, ids: Collection[str]) -> frozenset[str]:
    """Those of these ids that were produced through here. A row that was altered is not there."""
    return frozenset(id_ for id_ in ids if one(tx, vault, tenant, id_) is not None)


def one(tx: Transaction, vault: Vault, tenant: str, id_: str) -> Origin | None:
    row = tx.one("SELECT * FROM produced WHERE tenant = ? AND id = ?", tenant, id_)
    return None if row is None else _origin(vault, row)


def by_approval(tx: Transaction, vault: Vault, tenant: str, approval: str) -> tuple[Origin, ...]:
    """What was made of what an approval let through."""
    rows = tx.all("SELECT * FROM produced WHERE tenant = ? AND approval = ? ORDER BY created, id", tenant, approval)
    return tuple(origin for row in rows if (origin := _origin(vault, row)))


def lineage(tx: Transaction, vault: Vault, tenant: str, id_: str) -> tuple[Origin, ...]:
    """An id and all that it was made from, itself first; at most ``MAX_STEPS``."""
    found: dict[str, Origin] = {}
    waiting = [id_]
    while waiting and len(found) < MAX_STEPS:
        at = waiting.pop(0)
        if at not in found and (origin := one(tx, vault, tenant, at)):
            found[at] = origin
            waiting += origin.sources
    return tuple(found.values())


def _origin(vault: Vault, row: Any) -> Origin | None:
    if not vault.attested(str(row["attestation"]), "produced", *(str(row[c]) for c in _COLUMNS)):
        return None
    plain = {c: row[c] for c in ("id", "kind", "operation", "principal", "call", "approval", "digest", "created")}
    return Origin(**plain, sources=tuple(json.loads(row["sources"])), report=json.loads(row["report"]))
