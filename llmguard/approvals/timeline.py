"""Timeline: what happened to one approval, as its log tells it, in the order it happened. Never text of a request.

It owns which details of the log's entries are for people. Reminders are no entries: they are told from how often the
guard has reminded by now.
"""

from __future__ import annotations

from typing import Any

from llmguard import audit
from llmguard.model import Approval
from llmguard.store import Transaction

MOST = 500
"""Events that are told: the first, and then the newest. The log has all of them."""
_TOLD = ("by", "why", "verdict", "to", "outcome", "payload", "state")


def timeline(tx: Transaction, approval: Approval) -> list[dict[str, Any]]:
    """Oldest first: ``index`` in the log (-1: a reminder), ``time`` (UTC ms), ``kind`` without its prefix, details."""
    entries = [e for e in audit.about(tx, approval.id) if e.tenant == approval.tenant]
    told = [*entries[:1], *entries[1:][-MOST:]]
    events = [_event(e.index, e.time, e.kind.removeprefix("approval."), e.details) for e in told]
    return sorted([*events, *_reminders(tx, approval)], key=lambda e: (e["time"], e["index"] < 0, e["index"]))


def _event(index: int, time: int, kind: str, details: dict[str, Any]) -> dict[str, Any]:
    known = {name: str(details[name]) if name in details else "" for name in _TOLD}
    return {"index": index, "time": time, "kind": kind, **known}


def _reminders(tx: Transaction, approval: Approval) -> list[dict[str, Any]]:
    """One event for all of them: a guard that slept reminds once for several, so only the newest has a known time."""
    row = tx.one("SELECT reminded FROM approvals WHERE tenant = ? AND id = ?", approval.tenant, approval.id)
    count = int(row["reminded"]) if row is not None else 0
    due = approval.created + approval.requirement.remind_after * 1000 * count
    return [_event(-1, due, "reminder", {"why": count})] if count else []
