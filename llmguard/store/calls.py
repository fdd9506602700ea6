"""Calls that were decided, as facts: what ``policy explain`` and ``policy replay`` read, and where a value went.

They hold no text. ``occurrences`` names values by keyed digest alone. Both are erased when ``calls_kept`` is over, or
with the calls of somebody who is forgotten; the log stays as it is.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from llmguard.effects import Record
from llmguard.facts import Facts
from llmguard.model import Call, new_id
from llmguard.store.transaction import Transaction

PAGE = 500
FORGET = 1000
"""Calls that one unit of work erases."""
_COLUMNS = "id, principal, verdict, rule, policy, inherent, residual, shadow, facts"


@dataclass(frozen=True, slots=True)
class Kept:
    """One call as it was decided. ``shadow``: rules in shadow mode that held, with what they would have said.
    ``kept``: its facts, encoded.
    """

    id: str
    principal: str
    verdict: str
    rule: str
    policy: str
    inherent: int
    residual: int
    shadow: tuple[tuple[str, str], ...]
    kept: bytes

    @property
    def facts(self) -> Facts:
        """Raises ValueError if another version kept them."""
        return Facts.decode(self.kept)


def keep(tx: Transaction, call: Call, record: Record) -> None:
    """Writes what was decided of a call, and which values stand in it."""
    decision, risk = record.decision, record.risk
    shadow = json.dumps(decision.shadow, separators=(",", ":")) if decision.shadow else "[]"
    tx.run(
        "INSERT OR REPLACE INTO calls VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        *(call.tenant, call.id, call.principal.id, decision.verdict, decision.rule, decision.policy_version),
        *(risk.inherent, risk.residual, shadow, record.facts.encode()),
    )
    digests = [(call.tenant, bytes.fromhex(identity), call.id) for identity in record.facts.identities]
    if digests:
        tx.many("INSERT OR IGNORE INTO occurrences VALUES (?, ?, ?)", digests)


def one(tx: Transaction, tenant: str, id_: str) -> Kept | None:
    """A call by its id, or None if it was never decided here or is forgotten."""
    row = tx.one(f"SELECT {_COLUMNS} FROM calls WHERE tenant = ? AND id = ?", tenant, id_)  # noqa: S608  own words
    return None if row is None else _kept(row)


def page(tx: Transaction, tenant: str, after: str = "", limit: int = PAGE, before: str = "~") -> list[Kept]:
    """Calls behind the id ``after``, oldest first. Ids are ULIDs: their order is that of time."""
    sql = f"SELECT {_COLUMNS} FROM calls WHERE tenant = ? AND id > ? AND id < ? ORDER BY id LIMIT ?"  # noqa: S608
    return [_kept(row) for row in tx.all(sql, tenant, after, before, limit)]


def ids(tx: Transaction, tenant: str, after: str, limit: int, before: str = "~", human: str | None = None) -> list[str]:
    """Ids between two others, oldest first; with ``human``, of calls that name this address somewhere."""
    named, who = ("", ()) if human is None else (" AND instr(facts, ?)", (json.dumps(human).encode(),))
    sql = f"SELECT id FROM calls WHERE tenant = ? AND id > ? AND id < ?{named} ORDER BY id LIMIT ?"  # noqa: S608
    return [row["id"] for row in tx.all(sql, tenant, after, before, *who, limit)]


def several(tx: Transaction, tenant: str, wanted: Sequence[str]) -> list[Kept]:
    """The calls of these ids that are kept, oldest first."""
    sql = f"SELECT {_COLUMNS} FROM calls WHERE tenant = ? AND id IN (SELECT value FROM json_each(?)) ORDER BY id"  # noqa: S608
    return [_kept(row) for row in tx.all(sql, tenant, json.dumps(wanted))]


def since(tx: Transaction, tenant: str, moment: int) -> Iterator[Kept]:
    """All calls since a moment (UTC milliseconds), oldest first, a page at a time."""
    after = f"{new_id(max(0, moment))[:10]}{'0' * 16}"
    while found := page(tx, tenant, after):
        yield from found
        after = found[-1].id


def count(tx: Transaction, tenant: str, after: str = "", before: str = "~", most: int = 1_000_000) -> int:
    """How many calls lie between two ids, as far as ``most``."""
    sql = "SELECT count(*) AS n FROM (SELECT 1 FROM calls WHERE tenant = ? AND id > ? AND id < ? LIMIT ?)"
    row = tx.one(sql, tenant, after, before, most)
    return int(row["n"]) if row else 0


def newest(tx: Transaction, tenant: str, most: int) -> str:
    """An id behind which lie the newest ``most`` calls, or all if they are fewer."""
    row = tx.one("SELECT id FROM calls WHERE tenant = ? ORDER BY id DESC LIMIT 1 OFFSET ?", tenant, most)
    return "" if row is None else str(row["id"])


def where(tx: Transaction, tenant: str, digest: bytes, before: str = "~", limit: int = PAGE) -> list[str]:
    """Ids of the calls that a value stood in, newest first, older than the id ``before``."""
    sql = "SELECT call FROM occurrences WHERE tenant = ? AND digest = ? AND call < ? ORDER BY call DESC LIMIT ?"
    return [row["call"] for row in tx.all(sql, tenant, digest, before, limit)]


def forget(tx: Transaction, tenant: str, before: int) -> int:
    """Erases the oldest calls of before a moment (UTC milliseconds), with their occurrences; how many."""
    end = f"{new_id(max(0, before))[:10]}{'0' * 16}"
    sql = "SELECT id FROM calls WHERE tenant = ? AND id < ? ORDER BY id LIMIT ?"
    ids = [row["id"] for row in tx.all(sql, tenant, end, FORGET)]
    if ids:
        listed = json.dumps(ids)
        for table, column in (("occurrences", "call"), ("calls", "id")):
            tx.run(
                f"DELETE FROM {table} WHERE tenant = ? AND {column} IN (SELECT value FROM json_each(?))",  # noqa: S608
                *(tenant, listed),
            )
    return len(ids)


def _kept(row: sqlite3.Row) -> Kept:
    told = row["shadow"]
    shadow = () if told == "[]" else tuple((rule, verdict) for rule, verdict in json.loads(told))
    id_, principal, verdict, rule, policy, inherent, residual = row[:7]
    return Kept(id_, principal, verdict, rule, policy, inherent, residual, shadow, row["facts"])
