"""The log: entries become leaves in the same transaction as the state that they speak of.

It owns the tables ``audit_entries``, ``audit_subjects`` and ``audit_nodes``. A leaf is canonical JSON (RFC 8785) and is
never changed.
Interior nodes are a cache, filled at checkpoint time; what is missing is computed from the leaves.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import rfc8785

from llmguard.audit import merkle
from llmguard.errors import AuditError
from llmguard.model import AuditEntry, new_id
from llmguard.store import Transaction

VERSION = 1
"""``v`` of the leaves that are written."""
_LOOKED_AT = 20_000
"""Entries that one look for those of a tenant reads at most."""
_INSERT = "INSERT INTO audit_entries (idx, tenant, id, time, kind, leaf, hash) VALUES (?, ?, ?, ?, ?, ?, ?)"


@dataclass(frozen=True, slots=True)
class LoggedEntry:
    """An entry as it stands in the log. ``index`` counts from 0, ``time`` is UTC milliseconds."""

    index: int
    id: str
    time: int
    tenant: str
    kind: str
    leaf: bytes

    @property
    def details(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.leaf)["details"]
        return found


def append(tx: Transaction, entries: Iterable[AuditEntry]) -> None:
    """Adds ``entries`` in order. Raises AuditError if one has no canonical JSON (ints from 2^53 on, NaN, bytes)."""
    index = size(tx)
    rows: list[tuple[int, str, str, int, str, bytes, bytes]] = []
    subjects: list[tuple[str, int]] = []
    for entry in entries:
        if approval := entry.details.get("approval"):
            subjects.append((approval, index + len(rows)))
        subjects += [(f"produced:{made}", index + len(rows)) for made in entry.details.get("produced", ())]
        id_ = new_id(tx.now)
        leaf = _leaf(id_, tx.now, entry)
        rows.append((index + len(rows), entry.tenant, id_, tx.now, entry.kind, leaf, merkle.leaf_hash(leaf)))
    tx.many(_INSERT, rows)
    if subjects:
        tx.many("INSERT INTO audit_subjects VALUES (?, ?)", subjects)


def about(tx: Transaction, approval: str) -> list[LoggedEntry]:
    """The entries that speak of an approval, or of what a provider made (``produced:ID``), oldest first. Only an index:
    what it names is checked by its proof.
    """
    sql = "SELECT idx, id, time, tenant, kind, leaf FROM audit_subjects JOIN audit_entries USING (idx)"
    return [LoggedEntry(*row) for row in tx.all(f"{sql} WHERE approval = ? ORDER BY idx", approval)]


def size(tx: Transaction) -> int:
    """How many entries the log holds."""
    last = tx.one("SELECT max(idx) FROM audit_entries")
    return 0 if last is None or last[0] is None else int(last[0]) + 1


def entries(tx: Transaction, start: int, end: int) -> list[LoggedEntry]:
    """The entries from ``start`` up to, not including, ``end``."""
    sql = "SELECT idx, id, time, tenant, kind, leaf FROM audit_entries WHERE idx >= ? AND idx < ? ORDER BY idx"
    return [LoggedEntry(*row) for row in tx.all(sql, start, end)]


def entries_of(tx: Transaction, tenant: str, after: int, limit: int) -> tuple[list[LoggedEntry], int | None]:
    """At most ``limit`` entries of a tenant after an index, and where the next page goes on. It looks at a bounded part
    of the log, so a page may be short though there are more.
    """
    end = min(size(tx), after + 1 + _LOOKED_AT)
    sql = "SELECT idx, id, time, tenant, kind, leaf FROM audit_entries WHERE idx > ? AND idx < ? AND tenant = ?"
    rows = tx.all(f"{sql} ORDER BY idx LIMIT ?", after, end, tenant, limit)
    found = [LoggedEntry(*row) for row in rows]
    seen = found[-1].index if len(found) == limit else end - 1
    return found, seen if seen + 1 < size(tx) else None


def search(
    tx: Transaction,
    tenant: str,
    limit: int,
    before: int | None = None,
    *,
    kind: str = "",
    since: int = 0,
    who: str = "",
) -> tuple[list[LoggedEntry], int | None]:
    """At most ``limit`` entries of a tenant, newest first, and before which index the next page goes on.

    ``kind``: how it begins. ``since``: UTC ms. ``who``: a text that is a value somewhere in the entry, such as an
    address. As with ``entries_of``, a page may be short though there are more.
    """
    end = size(tx) if before is None else min(before, size(tx))
    start = max(0, end - _LOOKED_AT)
    sql = "SELECT idx, id, time, tenant, kind, leaf FROM audit_entries WHERE idx >= ? AND idx < ? AND tenant = ?"
    terms: list[tuple[str, Any]] = [(" AND time >= ?", since)]
    terms += [(" AND instr(kind, ?) = 1", kind)] if kind else []
    terms += [(" AND instr(leaf, ?)", _encode(who).encode("utf-8", "replace"))] if who else []
    sql += "".join(term for term, _ in terms)
    rows = tx.all(f"{sql} ORDER BY idx DESC LIMIT ?", start, end, tenant, *(value for _, value in terms), limit)
    found = [LoggedEntry(*row) for row in rows]
    seen = found[-1].index if len(found) == limit else start
    oldest = entries(tx, seen, seen + 1) if since and seen else []
    return found, None if seen == 0 or (oldest and oldest[0].time < since) else seen


def leaf_hash_at(tx: Transaction, index: int) -> bytes:
    """The hash of one entry. Raises AuditError if it is missing."""
    return _nodes(tx)(0, index)


def root(tx: Transaction, size: int) -> bytes:
    """The tree head over the first ``size`` entries."""
    return merkle.root(size, _nodes(tx))


def inclusion(tx: Transaction, index: int, size: int) -> tuple[bytes, ...]:
    """The proof that entry ``index`` is in the tree of ``size`` entries. Raises AuditError outside of the log."""
    _within(tx, size, 0 <= index < size)
    return merkle.inclusion(index, size, _nodes(tx))


def consistency(tx: Transaction, old: int, new: int) -> tuple[bytes, ...]:
    """The proof that the tree of ``new`` entries continues that of ``old``. Raises AuditError outside of the log."""
    _within(tx, new, 0 < old <= new)
    return merkle.consistency(old, new, _nodes(tx))


def fill(tx: Transaction, limit: int) -> int:
    """Stores interior nodes over at most ``limit`` more entries. Returns up to which entry nodes are complete."""
    done = tx.one("SELECT max(idx) FROM audit_nodes WHERE level = 1")
    start = 0 if done is None or done[0] is None else 2 * (int(done[0]) + 1)
    held = size(tx)
    if start > held:
        what = f"the log holds {held} entries, but its tree covers {start}"
        raise AuditError(f"{what}: its end was cut off; run: llmguard audit verify")
    end = min(held, start + limit)
    level = 1
    while end >> level:
        _fill_level(tx, level, start >> level, end >> level)
        level += 1
    return end


def _fill_level(tx: Transaction, level: int, start: int, end: int) -> None:
    if start == end:
        return
    below = _level(tx, level - 1, 2 * start, 2 * end)
    if len(below) != 2 * (end - start):
        raise AuditError(f"the log has a gap among the entries below {end << level}; run: llmguard audit verify")
    rows = [(level, i, merkle.node_hash(*below[2 * (i - start) : 2 * (i - start) + 2])) for i in range(start, end)]
    tx.many("INSERT OR REPLACE INTO audit_nodes (level, idx, hash) VALUES (?, ?, ?)", rows)


def _level(tx: Transaction, level: int, start: int, end: int) -> list[bytes]:
    if level == 0:
        rows = tx.all("SELECT hash FROM audit_entries WHERE idx >= ? AND idx < ? ORDER BY idx", start, end)
    else:
        sql = "SELECT hash FROM audit_nodes WHERE level = ? AND idx >= ? AND idx < ? ORDER BY idx"
        rows = tx.all(sql, level, start, end)
    return [row[0] for row in rows]


def _nodes(tx: Transaction) -> merkle.Nodes:
    def node(level: int, index: int) -> bytes:
        found = _level(tx, level, index, index + 1)
        if found:
            return found[0]
        if level == 0:
            raise AuditError(f"entry {index} is missing from the log; run: llmguard audit verify")
        return merkle.node_hash(node(level - 1, 2 * index), node(level - 1, 2 * index + 1))  # at most 63 deep

    return node


def _within(tx: Transaction, end: int, ordered: bool) -> None:
    held = size(tx)
    if not ordered or end > held:
        raise AuditError(f"no such proof: the log holds {held} entries, and indices count from 0")


_encode = json.JSONEncoder(ensure_ascii=False, check_circular=False, sort_keys=True, separators=(",", ":")).encode
"""The same bytes as RFC 8785 for plain content in ASCII, in a fifth of the time; a test and ``verify`` compare."""


def _plain(value: Any) -> bool:
    """Whether ``value`` is made of strings, safe integers, true, false, null, lists and objects only."""
    kind: type[Any] = type(value)
    if kind is str or kind is bool or value is None:
        return True
    if kind is int:
        return bool(-(2**53) < value < 2**53)
    if kind is dict:
        return all(type(k) is str and _plain(v) for k, v in value.items())
    return kind in (list, tuple) and all(map(_plain, value))


def _leaf(id_: str, time: int, entry: AuditEntry) -> bytes:
    content: dict[str, Any] = {
        "v": VERSION,
        "id": id_,
        "time": time,
        "tenant": entry.tenant,
        "kind": entry.kind,
        "details": dict(entry.details),
    }
    if _plain(content):
        text = _encode(content)
        if text.isascii():
            return text.encode()
    try:
        return rfc8785.dumps(content)
    except rfc8785.CanonicalizationError:
        # Without the cause: its message shows the value.
        raise AuditError(f"an entry of the kind {entry.kind} holds a value without canonical JSON") from None
