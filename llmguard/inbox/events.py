"""Events: what happened to an approval, in a reader's words. ``by`` and ``why`` come from the log and hold no text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_VERDICTS = {
    "approve": "approved it",
    "deny": "denied it",
    "request_changes": "asked for changes",
    "break_glass": "let it through alone",
}
_WORDS = {
    "held": "Asked",
    "approved": "Approved",
    "denied": "Denied",
    "changes_requested": "Changes requested",
    "expired": "Expired: its time was over",
    "cancelled": "Withdrawn",
    "superseded": "A revision took its place",
    "revoked": "The approval was taken back",
    "reopened": "Waits for people again",
    "claimed": "Being sent",
    "returned": "Came back unspent: the provider was too busy",
    "executed": "Sent",
    "failed": "Failed",
    "indeterminate": "Unclear: it may have been sent",
    "raw_view": "looked at the raw values",
    "evidence": "took the evidence",
    "break_glass": "Everybody was told of the emergency",
    "late_outcome": "Its outcome came late",
    "records": "decided about its records",
    "labels": "looked at the sample",
}
_ACTS = frozenset({"vote", "raw_view", "evidence", "records", "labels"})
_SIGNS = {
    "approved": "good",
    "executed": "good",
    "denied": "bad",
    "revoked": "bad",
    "failed": "bad",
    "indeterminate": "bad",
    "expired": "bad",
    "raw_view": "look",
    "evidence": "look",
    "reminder": "look",
}


@dataclass(frozen=True, slots=True)
class Event:
    """``words`` are ours; ``who`` and ``more`` are as the log has them. ``acted``: the words go on after ``who``."""

    index: int
    time: int
    words: str
    who: str
    more: str
    sign: str
    acted: bool = False


def told(events: Iterable[Mapping[str, Any]]) -> list[Event]:
    return [_told(e) for e in events]


def _told(event: Mapping[str, Any]) -> Event:
    kind = str(event["kind"])
    words, who, more = _WORDS.get(kind, kind.replace("_", " ").capitalize()), str(event["by"]), str(event["why"])
    if kind == "vote":
        words = _VERDICTS.get(event["verdict"], "voted")
    elif kind == "reminder":
        words, more = f"Reminded, {more} time{'s' * (more != '1')} by now", ""
    elif kind == "escalated":
        words, more = "Escalated", f"now {event['to']} may decide too"
    elif kind == "late_outcome":
        more = str(event["outcome"]).lower()
    return Event(
        event["index"], event["time"], words, "" if who == "guard" else who, more, _SIGNS.get(kind, ""), kind in _ACTS
    )
