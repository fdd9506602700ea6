"""View: an approval as JSON for its reviewers, the same for command line and pages. Redacted; nothing raw is in it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from llmguard import identity
from llmguard.approvals.approvals import Approvals
from llmguard.approvals.states import WAITING
from llmguard.model import Approval, Egress
from llmguard.store import Transaction
from llmguard.vault import Vault


def summary(tx: Transaction, approvals: Approvals, approval: Approval, names: Mapping[str, str]) -> dict[str, Any]:
    """One row of a list. ``names``: key id → name. A waiting approval that time has ended is shown as EXPIRED."""
    over = approval.state in WAITING and approval.expires <= tx.now
    return {
        "id": approval.id,
        "state": "EXPIRED" if over else approval.state,
        "version": approval.version,
        "subject": approval.subject,
        "operation": approval.operation,
        "destination": approval.destination,
        "requester": {
            "principal": approval.principal,
            "name": names.get(approval.principal.removeprefix("key:"), ""),
            "human": approval.human,
        },
        "digest": approval.egress_digest,
        "rule": approval.rule,
        "policy_version": approval.policy_version,
        "requirement": asdict(approval.requirement),
        "missing": 0 if over else approvals.missing(tx, approval),
        "risk": {"inherent": approval.risk.inherent, "residual": approval.risk.residual},
        "findings": dict(approval.findings),
        "advisory": approval.advisory,
        "created": approval.created,
        "expires": approval.expires,
        "updated": approval.updated,
    }


def full(tx: Transaction, approvals: Approvals, approval: Approval, names: Mapping[str, str]) -> dict[str, Any]:
    """What a reviewer decides on: the summary, why the risk is what it is, the votes, and exactly what leaves."""
    counting = approvals.supporters(tx, approval)
    cast = [
        {
            "human": v.human,
            "verdict": v.verdict,
            "reason": v.reason,
            "time": v.time,
            "counts": v.verdict != "approve" or v.human in counting,
        }
        for v in approval.votes
    ]
    reasons = [asdict(r) for r in approval.risk.reasons]
    shown = summary(tx, approvals, approval, names)
    risk = {**shown["risk"], "reasons": reasons}
    return {**shown, "risk": risk, "votes": cast, "egress": leaving(approvals.egress(tx, approval))}


def leaving(egress: Egress) -> dict[str, Any]:
    """The frozen request, whole."""
    return {
        "digest": egress.digest(),
        "destination": egress.destination,
        "url": egress.url,
        "method": egress.method,
        "account": egress.account,
        "headers": [list(pair) for pair in egress.headers],
        "bytes": len(egress.body),
        "body": text(egress.body),
    }


def text(content: bytes) -> dict[str, str]:
    """Bytes in JSON: as text where they are UTF-8, else as base64."""
    try:
        return {"encoding": "utf-8", "text": content.decode()}
    except UnicodeDecodeError:
        return {"encoding": "base64", "text": base64.b64encode(content).decode()}


def names(tx: Transaction, vault: Vault, tenant: str) -> dict[str, str]:
    """Key id → name, for summaries."""
    return {k.id: k.name for k in identity.keys(tx, vault, tenant)}
