"""Held requests as they come in life: a chat with placeholders and tools, an action with evidence, a long body."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from llmguard.model import Approval, Egress, Grant, Reason, Risk, VaultEntry
from llmguard.store import placeholders
from tests.desks import ANN, Desk

CARD = " ".join(["4012", "8888", "8888", "1881"])
VALUES: Mapping[str, str] = {
    "[PERSON_k7q2m4x7ab]": "Jane Roe",
    "[EMAIL_m2c6v5n3qe]": "jane.roe@example.com",
    "[CREDIT_CARD_dddddddddd]": CARD,
}
JANE, MAIL, PAN = VALUES
FAKE = "[PERSON_qqqqqqqqqq]"
"""Looks like a placeholder, and nobody was given it."""
HEADERS = (("accept", "application/json"), ("content-type", "application/json"))
REASONS = (
    Reason("what", 52.0, "1 card number", 2.0),
    Reason("what", 12.0, "1 e-mail address", 0.4),
    Reason("what", 9.0, "1 name", 0.0),
    Reason("evasion", 0.0, "nothing is hidden behind more than is looked through", 0.0),
    Reason("where", 8.0, "sent to a public provider", 1.5),
    Reason("use", -4.0, "it is answered, and not meant to be kept", -0.5),
)
SUMMARY = "1 person with 1 card number and 1 e-mail address, to a public provider; all of it redacted"


def chat(of: Callable[[str], str], more: str = "") -> dict[str, Any]:
    """``of``: how a value stands in it."""
    arguments = json.dumps({"card": of(PAN), "amount": 129})
    function = {"name": "refund", "arguments": arguments}
    return {
        "model": "gpt-5",
        "messages": [
            {"role": "system", "content": "You draft replies for the support desk."},
            {
                "role": "user",
                "content": f"Write to {of(JANE)} <{of(MAIL)}>: her card {of(PAN)} was charged twice.{more}",
            },
            {"role": "assistant", "tool_calls": [{"id": "call_1", "type": "function", "function": function}]},
        ],
    }


def written(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def held(
    desk: Desk,
    *,
    key: str = "k",
    human: str | None = ANN,
    more: str = "",
    body: bytes | None = None,
    original: bytes | None = None,
    entries: Mapping[str, str] = VALUES,
    **wanted: Any,
) -> Approval:
    """A held chat; ``more`` is what the user wrote besides. ``wanted``: as of Desk.request."""
    principal = desk.principal(human)
    leaving = written(chat(lambda p: p, more)) if body is None else body
    hold = desk.request(principal, key=key, body=leaving, **wanted)
    known = [VaultEntry(p, v, p.strip("[]").rpartition("_")[0], "pii", "user") for p, v in entries.items()]
    counts: dict[str, int] = {}
    for entry in known:
        counts[entry.type] = counts.get(entry.type, 0) + 1
    hold = replace(
        hold,
        operation="chat.completions.create",
        kind="inference",
        original=original or (written(chat(VALUES.__getitem__, more)) if body is None else body),
        justification="The customer waits; ticket 4711.",
        egress=replace(hold.egress, url="https://api.example/v1/chat/completions", headers=HEADERS),
        risk=Risk(83, 6, REASONS, SUMMARY),
        findings=counts,
        grants=tuple(Grant("call", entry.placeholder, "user") for entry in known),
    )

    def work(tx: Any) -> Approval:
        placeholders.put(tx, desk.vault, principal.tenant, known)
        return desk.approvals.hold(tx, hold)

    return desk.store.transact(work)


def action(desk: Desk, **more: Any) -> Approval:
    """An action that waits."""
    parts = {
        "action": "db.export",
        "function": "ops.export:run",
        "arguments": {"table": "customers", "command": ["pg_dump", "-t", "prod db"]},
        "description": "Nightly export.\nSee runbook 12.",
        "evidence": [{"country": "DE", "rows": 1200}, {"country": "FR", "rows": 310}],
        **more,
    }
    body = written(parts)
    hold = replace(
        desk.request(key="action", body=body),
        subject="action",
        kind="action",
        operation="action.db.export",
        original=body,
        egress=Egress("action", "action:", "", "RUN", (), body),
        risk=Risk(40, 40, (Reason("use", 40.0, "it is carried out", 40.0),), "nothing found"),
        findings={},
        grants=(),
    )
    return desk.store.transact(lambda tx: desk.approvals.hold(tx, hold))
