"""Deliveries: what of the outbox is still to reach which channel. SQL alone; nothing is sent here.

It owns the tables deliveries, channels and cards, and marks what it took from the outbox. A channel is served by one
process at a time, which holds its lease; what was not settled before the lease ended is delivered again. Invariants:
per channel and topic one delivery waits at most; a channel that fails is left alone for a while, and only it.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmguard import audit
from llmguard.approvals import record
from llmguard.channels import CALLS, Channel
from llmguard.errors import GuardUnavailable, NotFound
from llmguard.model import Approval, AuditEntry
from llmguard.notify.failure import Undelivered
from llmguard.store import Transaction
from llmguard.vault import Vault

LEASE_MS = 60 * 1000
BATCH = 20
FAN_OUT = 200
"""Rows of the outbox that one unit of work takes."""
MAX_WAITING = 1000
"""Deliveries that may wait for one channel; further ones are lost, which the log and doctor say."""
MAX_AGE_MS = 24 * 3600 * 1000
MAX_ATTEMPTS = 12
KEPT_MS = 7 * 86400 * 1000
"""How long what was handed over stays in the outbox."""
CARDS_MS = 30 * 86400 * 1000
FIRST_PAUSE, LONGEST_PAUSE = 5, 3600
"""Seconds."""
URGENT = frozenset({"escalated", "break_glass"})
"""What goes through in quiet hours."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message to one channel. ``event`` names it: a second try has the same. ``kind`` is without prefix."""

    tenant: str
    channel: str
    topic: str
    event: str
    kind: str
    approval: str
    body: Mapping[str, Any]
    created: int
    attempts: int


@dataclass(frozen=True, slots=True)
class Health:
    """How a channel does. Times are UTC ms, 0 for never. ``lost``: messages that were given up in the last week."""

    failures: int = 0
    resumes: int = 0
    problem: str = ""
    delivered: int = 0
    lost: int = 0
    waiting: int = 0


# --------------------------------------------------------------------------- from the outbox


def news(tx: Transaction) -> bool:
    """Whether something was announced that no channel has been told of."""
    return tx.one("SELECT 1 FROM outbox WHERE sent IS NULL LIMIT 1") is not None


def fan_out(tx: Transaction, vault: Vault, tenant: str, channels: Sequence[Channel]) -> int:
    """Hands what was announced to the channels that hear it; returns how many rows. Other tenants have no channels."""
    rows = tx.all("SELECT * FROM outbox WHERE sent IS NULL ORDER BY id LIMIT ?", FAN_OUT)
    seen: dict[str, Approval | None] = {}
    room = {c.name: MAX_WAITING - _waiting(tx, tenant, c.name) for c in channels}
    for row in rows:
        if row["tenant"] != tenant or row["approval"] is None or not channels:
            continue
        if row["approval"] not in seen:
            seen[row["approval"]] = _load(tx, vault, tenant, row["approval"])
        approval, kind = seen[row["approval"]], row["kind"].removeprefix("approval.")
        for channel in channels:
            if approval is not None and concerns(channel, approval, kind):
                _put(tx, channel, row, kind, room)
    tx.many("UPDATE outbox SET sent = ? WHERE id = ?", [(tx.now, row["id"]) for row in rows])
    return len(rows)


def concerns(channel: Channel, approval: Approval, kind: str) -> bool:
    """Whether a channel is told of an event. Slack's cards follow every state, whatever it hears."""
    if kind not in channel.hears and (channel.kind != "slack" or kind in CALLS):
        return False
    if kind != "break_glass" and approval.risk.inherent < channel.min_risk:
        return False
    need = approval.requirement
    asked = {name for name, _ in need.groups} | ({need.escalate_to} if approval.escalated is not None else set())
    if kind == "break_glass":
        asked |= set(need.audience)
    return not channel.groups or bool(asked & set(channel.groups))


def _load(tx: Transaction, vault: Vault, tenant: str, id_: str) -> Approval | None:
    try:
        return record.load(tx, vault, tenant, id_)
    except (NotFound, GuardUnavailable):  # erased, or altered in the database: nobody is sent to look at that
        return None


def _put(tx: Transaction, channel: Channel, row: Any, kind: str, room: dict[str, int]) -> None:
    """A chat needs the newest word of a topic alone; a program hears everything."""
    approval = row["approval"]
    topic = row["id"] if channel.kind == "webhook" else f"{_theme(channel, kind)}:{approval}"
    known = tx.one(
        "SELECT 1 FROM deliveries WHERE tenant = ? AND channel = ? AND topic = ?", row["tenant"], channel.name, topic
    )
    if known is None and room[channel.name] <= 0:
        return give_up(tx, row["tenant"], channel.name, kind, approval, "queue_full")
    room[channel.name] -= known is None
    tx.run(
        "INSERT INTO deliveries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0)"
        " ON CONFLICT (tenant, channel, topic) DO UPDATE SET event = excluded.event, kind = excluded.kind,"
        " body = excluded.body, created = excluded.created, attempts = 0",
        *(row["tenant"], channel.name, topic, row["id"], kind, approval, row["body"], row["created"], tx.now),
    )
    return None


def _theme(channel: Channel, kind: str) -> str:
    """Slack keeps one card for each approval; elsewhere each kind of event is a message."""
    return "card" if channel.kind == "slack" and (kind == "pending" or kind not in CALLS) else kind


def _waiting(tx: Transaction, tenant: str, channel: str) -> int:
    row = tx.one("SELECT count(*) AS n FROM deliveries WHERE tenant = ? AND channel = ?", tenant, channel)
    return int(row["n"]) if row else 0


# --------------------------------------------------------------------------- to the channels


def due(tx: Transaction, tenant: str, channel: str) -> bool:
    """Whether something is to be sent now, as far as one can see without taking the lease."""
    row = tx.one("SELECT lease, resumes FROM channels WHERE tenant = ? AND name = ?", tenant, channel)
    if row is not None and max(row["lease"], row["resumes"]) > tx.now:
        return False
    sql = "SELECT 1 FROM deliveries WHERE tenant = ? AND channel = ? AND due <= ? LIMIT 1"
    return tx.one(sql, tenant, channel, tx.now) is not None


def claim(tx: Transaction, tenant: str, channel: str, owner: str) -> tuple[Delivery, ...]:
    """Takes the channel's lease and its next deliveries; none if another process has it, or it is left alone."""
    tx.run("INSERT OR IGNORE INTO channels VALUES (?, ?, '', 0, 0, 0, '', 0, 0, 0)", tenant, channel)
    taken = tx.run(
        "UPDATE channels SET owner = ?, lease = ? WHERE tenant = ? AND name = ? AND lease <= ? AND resumes <= ?",
        *(owner, tx.now + LEASE_MS, tenant, channel, tx.now, tx.now),
    )
    if not taken:
        return ()
    _forget_old(tx, tenant, channel)
    rows = tx.all(
        "SELECT * FROM deliveries WHERE tenant = ? AND channel = ? AND due <= ? ORDER BY due, event LIMIT ?",
        *(tenant, channel, tx.now, BATCH),
    )
    return tuple(_delivery(row) for row in rows)


def _forget_old(tx: Transaction, tenant: str, channel: str) -> None:
    where = "tenant = ? AND channel = ? AND created <= ?"
    old = tx.all(f"SELECT kind, approval FROM deliveries WHERE {where}", tenant, channel, tx.now - MAX_AGE_MS)  # noqa: S608
    for row in old:
        give_up(tx, tenant, channel, row["kind"], row["approval"], "too_late")
    if old:
        tx.run(f"DELETE FROM deliveries WHERE {where}", tenant, channel, tx.now - MAX_AGE_MS)  # noqa: S608


def settle(tx: Transaction, d: Delivery, owner: str, failure: Undelivered | None = None) -> bool:
    """Writes down how a delivery ended. Returns whether the channel is still ours and can take another."""
    if failure is None:
        _drop(tx, d)
        tx.run(
            "UPDATE channels SET failures = 0, resumes = 0, problem = '', delivered = ? WHERE tenant = ? AND name = ?",
            *(tx.now, d.tenant, d.channel),
        )
    else:
        _failed(tx, d, failure)
    sql = "UPDATE channels SET lease = ? WHERE tenant = ? AND name = ? AND owner = ? AND resumes <= ?"
    return bool(tx.run(sql, tx.now + LEASE_MS, d.tenant, d.channel, owner, tx.now))


def _failed(tx: Transaction, d: Delivery, failure: Undelivered) -> None:
    """A message that can never arrive is given up; anything else is the channel's trouble, and is tried again."""
    if failure.permanent or d.attempts + 1 >= MAX_ATTEMPTS:
        if _drop(tx, d):
            give_up(tx, d.tenant, d.channel, d.kind, d.approval, failure.code)
        if failure.permanent:
            return
    row = tx.one("SELECT failures FROM channels WHERE tenant = ? AND name = ?", d.tenant, d.channel)
    failures: int = row["failures"] if row else 0
    resumes = tx.now + (failure.after * 1000 if failure.after else pause_ms(failures))
    tx.run(
        "UPDATE channels SET failures = failures + 1, resumes = ?, problem = ? WHERE tenant = ? AND name = ?",
        *(resumes, failure.code, d.tenant, d.channel),
    )
    again = tx.now + pause_ms(d.attempts) if d.attempts else 0  # who fails twice lets the others go first
    tx.run(
        "UPDATE deliveries SET attempts = attempts + 1, due = max(due, ?)"
        " WHERE tenant = ? AND channel = ? AND topic = ? AND event = ?",
        *(again, d.tenant, d.channel, d.topic, d.event),
    )


def pause_ms(failures: int) -> int:
    """Twice as long each time, up to an hour, and between half of that and all: processes do not come back at once."""
    longest: int = min(FIRST_PAUSE * 2 ** min(failures, 20), LONGEST_PAUSE) * 1000
    return longest // 2 + secrets.randbelow(longest // 2 + 1)


def put_off(tx: Transaction, d: Delivery, until: int) -> None:
    """Not now, through nobody's fault: it is quiet."""
    sql = "UPDATE deliveries SET due = ? WHERE tenant = ? AND channel = ? AND topic = ?"
    tx.run(sql, until, d.tenant, d.channel, d.topic)


def release(tx: Transaction, tenant: str, channel: str, owner: str) -> None:
    """Gives the lease back."""
    tx.run("UPDATE channels SET lease = 0 WHERE tenant = ? AND name = ? AND owner = ?", tenant, channel, owner)


def _drop(tx: Transaction, d: Delivery) -> int:
    """Not if a newer word of the topic came meanwhile: that is still to be delivered."""
    sql = "DELETE FROM deliveries WHERE tenant = ? AND channel = ? AND topic = ? AND event = ?"
    return tx.run(sql, d.tenant, d.channel, d.topic, d.event)


def give_up(tx: Transaction, tenant: str, channel: str, kind: str, approval: str, code: str) -> None:
    """A message that nobody gets: the log says so, and doctor. The approval itself waits in the inbox."""
    tx.run("INSERT OR IGNORE INTO channels VALUES (?, ?, '', 0, 0, 0, '', 0, 0, 0)", tenant, channel)
    tx.run(
        "UPDATE channels SET lost = CASE WHEN lost_at > ? THEN lost + 1 ELSE 1 END, lost_at = ?, problem = ?"
        " WHERE tenant = ? AND name = ?",
        *(tx.now - KEPT_MS, tx.now, code, tenant, channel),
    )
    details = {"channel": channel, "event": kind, "approval": approval, "why": code}
    audit.append(tx, [AuditEntry("notification.failed", tenant, details)])


def _delivery(row: Any) -> Delivery:
    body = json.loads(row["body"])
    plain = {
        name: row[name] for name in ("tenant", "channel", "topic", "event", "kind", "approval", "created", "attempts")
    }
    return Delivery(body=body, **plain)


# --------------------------------------------------------------------------- cards, health, age


def message_of(tx: Transaction, d: Delivery) -> str:
    """The message that a card is, or "". Only an address."""
    sql = "SELECT message FROM cards WHERE tenant = ? AND channel = ? AND approval = ?"
    row = tx.one(sql, d.tenant, d.channel, d.approval)
    return "" if row is None else str(row["message"])


def keep_message(tx: Transaction, d: Delivery, message: str) -> None:
    """``message`` "": there is none any more."""
    where = (d.tenant, d.channel, d.approval)
    tx.run("DELETE FROM cards WHERE tenant = ? AND channel = ? AND approval = ?", *where)
    if message:
        tx.run("INSERT INTO cards VALUES (?, ?, ?, ?, ?)", *where, message, tx.now)


def health(tx: Transaction, tenant: str, channel: str) -> Health:
    row = tx.one("SELECT * FROM channels WHERE tenant = ? AND name = ?", tenant, channel)
    waiting = _waiting(tx, tenant, channel)
    if row is None:
        return Health(waiting=waiting)
    lost = row["lost"] if row["lost_at"] > tx.now - KEPT_MS else 0
    return Health(row["failures"], row["resumes"], row["problem"], row["delivered"], lost, waiting)


def forget(tx: Transaction) -> None:
    """Drops what was handed over long ago, what belongs to it, and what waits for a channel that is gone."""
    tx.run("DELETE FROM outbox WHERE sent <= ?", tx.now - KEPT_MS)
    tx.run("DELETE FROM deliveries WHERE created <= ?", tx.now - KEPT_MS)
    tx.run("DELETE FROM cards WHERE created <= ?", tx.now - CARDS_MS)
    tx.run("DELETE FROM callbacks WHERE until <= ?", tx.now)
