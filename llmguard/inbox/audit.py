"""Audit: what was logged, and for each entry the proof that the signed log holds it, computed here and to take away."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from llmguard.audit import entry, note
from llmguard.errors import AuditError, ConfigError
from llmguard.inbox import proofs
from llmguard.inbox.api import Problem, segment
from llmguard.inbox.pages import Page
from llmguard.inbox.visit import Visit

PAGE = 50
SINCE = {"": "any time", "1": "the last 24 hours", "7": "the last 7 days", "30": "the last 30 days"}
KINDS = (
    "approval.",
    "approval.held",
    "approval.vote",
    "approval.viewed",
    "call.decided",
    "call.refused",
    "exception.",
    "key.",
    "login",
    "person.",
    "policy.changed",
    "text.",
)
"""Beginnings of kinds that are offered."""
BRIEF = 4
"""Details of an entry that its row shows."""
_SHOWN_APART = ("by", "approval")
_DULL = frozenset(("auth_time", "call", "expires", "from", "state", "version", "kind", "subject", "policy", "method"))
_DIGEST = re.compile(r"[0-9a-f]{32,}|no|0")
_YEAR_2001 = 10**12


async def show(visit: Visit) -> Response:
    chosen = {name: visit.query[name].strip() for name in ("kind", "since", "who") if visit.query.get(name, "").strip()}
    if chosen.get("since") not in SINCE:
        chosen.pop("since", None)
    asked: dict[str, str | int | None] = {
        "newest": 1,
        "limit": PAGE,
        "kind": chosen.get("kind"),
        "who": chosen.get("who"),
    }
    if days := chosen.get("since"):
        asked["since"] = int((datetime.now(UTC) - timedelta(days=int(days))).timestamp() * 1000)
    before = visit.query.get("before", "")
    asked["before"] = before if before.isdecimal() else None
    state = await visit.api.get("/audit/state")
    problem: Problem | None = None
    told: dict[str, Any] = {"entries": [], "next": None}
    try:
        told = await visit.api.get("/audit/entries", **asked)
    except Problem as e:
        if e.status != 400 and e.code != "not_allowed":
            raise
        problem = e
    older = urlencode({**chosen, "before": told["next"]}) if told["next"] is not None else ""
    rows = [_row(e) for e in told["entries"]]
    values: dict[str, Any] = {
        "rows": rows,
        "older": older,
        "chosen": chosen,
        "since": SINCE,
        "kinds": KINDS,
        "problem": problem,
    }
    return visit.page("audit.html", state=state, tail=_tail(state), **values)


async def show_entry(visit: Visit) -> Response:
    told = await visit.api.get(f"/audit/entries/{segment(visit.part('index'))}")
    leaf, placed = told["entry"]["leaf"].encode(), told["placed"]
    values: dict[str, Any] = {"placed": placed, "walked": [], "picture": "", "holds": False, "signed": False}
    if placed:
        checkpoint = placed["checkpoint"]
        proof = [base64.b64decode(step) for step in placed["proof"]]
        walked = proofs.steps(leaf, told["entry"]["index"], checkpoint["size"], proof)
        values |= {"walked": walked, "picture": proofs.drawn(walked, leaf, told["entry"]["index"])}
        values |= {"holds": entry.verify_entry(_document(told), told["key"]).ok, "signed": _signed(checkpoint, told)}
    return visit.page("audit_entry.html", row=_row(told["entry"]), entry=told["entry"], key=told["key"], **values)


async def download(visit: Visit) -> Response:
    """The entry with its proof, as a file that ``llmguard audit evidence verify`` reads anywhere."""
    told = await visit.api.get(f"/audit/entries/{segment(visit.part('index'))}")
    if not told["placed"]:
        raise Problem(404, "not_found", "no checkpoint covers this entry yet: the next one comes within a minute")
    content = json.dumps(_document(told), indent=1)
    name = f"entry-{told['entry']['index']}.json"
    headers = {"content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store"}
    return Response(content, media_type="application/json", headers=headers)


def _document(told: Mapping[str, Any]) -> dict[str, Any]:
    placed = told["placed"]
    one = told["entry"]
    return entry.document(one["index"], one["leaf"], placed["proof"], placed["checkpoint"]["note"], told["key"])


def _signed(checkpoint: Mapping[str, Any], told: Mapping[str, Any]) -> bool:
    """Whether the log's key signed the checkpoint, and it says what is shown of it."""
    try:
        head = note.verify(checkpoint["note"], (note.Verifier.parse(told["key"]),))
    except (AuditError, ConfigError):
        return False
    return (head.size, head.root.hex()) == (checkpoint["size"], checkpoint["root"])


def _row(one: Mapping[str, Any]) -> dict[str, Any]:
    details = json.loads(one["leaf"])["details"]
    apart = {name: str(details.get(name) or "") for name in _SHOWN_APART}
    rest = {name: _word(value) for name, value in details.items() if name not in _SHOWN_APART}
    brief = [(n, v) for n, v in rest.items() if v and n not in _DULL and not _DIGEST.fullmatch(v)]
    return {**one, **apart, "details": rest, "brief": brief[:BRIEF]}


def _word(value: Any) -> str:
    """A detail in words; "" for what says nothing."""
    if isinstance(value, str):
        return value
    if type(value) is int and value > _YEAR_2001:
        return datetime.fromtimestamp(value / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    if isinstance(value, Mapping) and not any(isinstance(v, dict | list) for v in value.values()):
        return ", ".join(f"{name} {_word(v)}" for name, v in value.items() if v not in ("", 0, None, False))
    if isinstance(value, list) and all(isinstance(v, str) for v in value):
        return ", ".join(value)
    return {"null": "", "true": "yes", "false": "no"}.get(told := json.dumps(value, ensure_ascii=False), told)


def _tail(state: Mapping[str, Any]) -> dict[str, int]:
    """How many entries are signed and outside, signed and inside, and not signed yet."""
    newest, outside = state["newest"] or {"size": 0}, state["outside"] or {"size": 0}
    signed = max(newest["size"], outside["size"])
    return {"outside": outside["size"], "inside": signed - outside["size"], "open": state["entries"] - signed}


PAGES = (
    Page("GET", "/inbox/audit", show, nav="Audit"),
    Page("GET", "/inbox/audit/{index}", show_entry),
    Page("GET", "/inbox/audit/{index}/download", download),
)
