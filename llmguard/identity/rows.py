"""Attested rows: a MAC over every field, so that a row that was edited in the database stops to count; and the log."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llmguard import audit
from llmguard.model import AuditEntry
from llmguard.store import Transaction
from llmguard.vault import Vault


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a change takes effect, for the log: who did it, alone in bootstrap or under which approval."""

    by: str
    bootstrap: bool = False
    approval: str | None = None


def genuine(vault: Vault, purpose: str, row: sqlite3.Row, columns: tuple[str, ...]) -> bool:
    return vault.attested(str(row["attestation"]), purpose, fields([row[c] for c in columns]))


def fields(values: Sequence[Any]) -> str:
    """One unambiguous text of a row's values, also of None."""
    return json.dumps(list(values), separators=(",", ":"), default=repr)


def log(tx: Transaction, tenant: str, kind: str, details: dict[str, Any], cause: Cause) -> None:
    details = {**details, "by": cause.by}
    if cause.bootstrap:
        details["bootstrap"] = True
    if cause.approval:
        details["approval"] = cause.approval
    audit.append(tx, [AuditEntry(kind, tenant, details)])


def page(
    tx: Transaction, table: str, by: str, tenant: str, after: str | None, limit: int | None, *, current: bool = False
) -> tuple[list[sqlite3.Row], str | None]:
    """Rows of a tenant in the order of the column ``by``, and after which one the next page begins.

    ``limit`` None: all. ``current``: without those whose time is over. Table and column are names of our own.
    """
    still = " AND ends > ?" if current else ""
    rows = tx.all(
        f"SELECT * FROM {table} WHERE tenant = ? AND {by} > ?{still} ORDER BY {by} LIMIT ?",  # noqa: S608  own names
        *(tenant, after or "", *([tx.now] if current else []), -1 if limit is None else limit + 1),
    )
    if limit is None or len(rows) <= limit:
        return rows, None
    return rows[:limit], str(rows[limit - 1][by])
