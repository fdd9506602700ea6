"""Approvals as a control plane would answer them, with any text in any place."""

from __future__ import annotations

import json
from typing import Any

from llmguard.model import Egress

AT = 1_800_000_000_000
BODY = json.dumps({"model": "m", "input": "Write to [PERSON_abcdefghij]"}).encode()


def answered(number: int = 1, *, body: bytes = BODY, text: str = "", **more: Any) -> dict[str, Any]:
    """``text`` stands in every place that somebody else fills."""
    egress = Egress(
        "openai" + text,
        "https://api.example/v1/responses" + text,
        "acct" + text,
        "POST",
        (("accept", "*/*" + text),),
        body,
    )
    base: dict[str, Any] = {
        "id": f"01M80M8ZG5ZJ3X8Q4T6V7W9Y{number:02d}",
        "state": "PENDING",
        "version": 1,
        "subject": "call",
        "kind": "inference",
        "operation": "responses.create" + text,
        "destination": egress.destination,
        "requester": {"principal": "key:1", "name": "bot" + text, "human": "ann@example.com" + text},
        "digest": egress.digest(),
        "rule": "risky" + text,
        "policy_version": "0" * 64,
        "requirement": {"groups": {"reviewers" + text: 2, "legal": 1}, "fresh": 300, "escalate_to": "heads" + text,
                        "escalate_after": 1800, "break_glass": "oncall" + text},
        "missing": 2,
        "missing_of": {"reviewers" + text: 1, "legal": 1},
        "risk": {"inherent": 80, "residual": 20, "reasons": [{"term": "t", "points": 40.5, "text": "why" + text}]},
        "findings": {"PERSON" + text: 2},
        "unscanned": ["image" + text],
        "advisory": False,
        "revises": "01M80M8ZG5ZJ3X8Q4T6V7W9XXX" + text,
        "revision": 2,
        "standing": "",
        "escalated": None,
        "created": AT - 600_000,
        "expires": AT + 840_000,
        "updated": AT,
        "votes": [{"human": "cy@example.com" + text, "verdict": "approve", "reason": "fine" + text, "time": AT,
                   "authenticated": AT, "counts": True}],
        "excluded": ["dee@example.com" + text],
        "revised_by": "",
        "changes": ["--- before", "+++ now", "+" + text],
        "egress": {"digest": egress.digest(), "destination": egress.destination, "url": egress.url, "method": "POST",
                   "account": egress.account, "headers": [list(pair) for pair in egress.headers], "bytes": len(body),
                   "body": {"encoding": "utf-8", "text": body.decode(), "offset": 0, "bytes": len(body),
                            "total": len(body)}},
        "may": {"vote": True, "break_glass": False, "cancel": False, "revoke": True, "revise": False, "grant": True,
                "records": False},
        "proposal": None,
    }  # fmt: skip
    return {**base, **more}
