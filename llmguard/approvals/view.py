"""View: an approval as JSON for its reviewers, the same for command line and pages. Redacted; nothing raw is in it."""

from __future__ import annotations

import base64
import difflib
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from llmguard import identity
from llmguard.approvals import record, standing
from llmguard.approvals.approvals import Approvals
from llmguard.approvals.loosening import loosened
from llmguard.approvals.states import WAITING
from llmguard.errors import GuardUnavailable, NotFound
from llmguard.identity import Person
from llmguard.model import Approval, Egress, Payload, window
from llmguard.store import Transaction
from llmguard.vault import Vault

MAX_LINES = 5000
"""Lines of a body that are compared, and of a difference that are shown."""
MAX_COMPARED = 256 * 1024
"""Bytes of each body that are compared."""
SHOWN = 256 * 1024
"""Bytes of a body that are shown where no part of it was asked for."""

SPOOLED = 1024 * 1024
"""Bytes of an upload that are shown at once."""


@dataclass(frozen=True, slots=True)
class Part:
    """The bytes of a body that are shown. ``length`` None: to its end."""

    offset: int = 0
    length: int | None = SHOWN


WHOLE = Part(0, None)


def summary(tx: Transaction, approvals: Approvals, approval: Approval, names: Mapping[str, str]) -> dict[str, Any]:
    """One row of a list. ``names``: key id → name. A waiting approval that time has ended is shown as EXPIRED."""
    over = approval.state in WAITING and approval.expires <= tx.now
    wanting = {} if over else approvals.missing(tx, approval)
    return {
        "id": approval.id,
        "state": "EXPIRED" if over else approval.state,
        "version": approval.version,
        "subject": approval.subject,
        "kind": approval.kind,
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
        "requirement": record.needs(approval.requirement),
        "missing": sum(wanting.values()),
        "missing_of": wanting,
        "risk": {
            "inherent": approval.risk.inherent,
            "residual": approval.risk.residual,
            "summary": approval.risk.summary,
        },
        "findings": dict(approval.findings),
        "unscanned": list(approval.unscanned),
        "advisory": approval.advisory,
        "call": approval.call,
        "revises": approval.revises,
        "revision": approval.revision,
        "standing": approval.standing,
        "exceptions": list(approval.exceptions),
        "escalated": approval.escalated,
        "created": approval.created,
        "expires": approval.expires,
        "updated": approval.updated,
        "decided": _decided(approval),
    }


def _decided(approval: Approval) -> int | None:
    """When people had decided (UTC ms): by the newest vote, or in advance. None if they have not, or not in time."""
    if approval.state in ("PENDING", "EXPIRED", "CANCELLED"):
        return None
    if approval.standing:
        return approval.created
    return approval.votes[-1].time if approval.votes else None


def full(
    tx: Transaction, approvals: Approvals, approval: Approval, names: Mapping[str, str], part: Part = WHOLE
) -> dict[str, Any]:
    """What a reviewer decides on: the summary, why the risk is what it is, the votes, exactly what leaves, and how
    that differs from the revision before."""
    counting = approvals.supporters(tx, approval)
    cast = [
        {
            "human": v.human,
            "verdict": v.verdict,
            "reason": v.reason,
            "time": v.time,
            "authenticated": v.authenticated,
            "counts": v.verdict != "approve" or v.human in counting,
        }
        for v in approval.votes
    ]
    reasons = [asdict(r) for r in approval.risk.reasons]
    shown = summary(tx, approvals, approval, names)
    risk = {**shown["risk"], "reasons": reasons}
    egress = approvals.egress(tx, approval)
    return {
        **shown,
        "risk": risk,
        "justification": approvals.justification(tx, approval),
        "votes": cast,
        "excluded": list(approval.excluded),
        "revised_by": approvals.successor(tx, approval),
        "egress": leaving(egress, part),
        "placeholders": approvals.placeholders(tx, approval),
        "because": approvals.because(tx, approval),
        "changes": _changes(tx, approvals, approval, egress),
        "loosens": loosened(tx, approvals.vault, approval, egress),
        "report": _report(tx, approvals, approval),
    }


def _report(tx: Transaction, approvals: Approvals, approval: Approval) -> str | None:
    """What an executed action said of itself, such as an exit code; None for calls, and once it is erased."""
    kept = approvals.report(tx, approval)
    return None if kept is None else kept.body.decode(errors="replace")


def _changes(tx: Transaction, approvals: Approvals, approval: Approval, egress: Egress) -> list[str] | None:
    """A unified diff of what leaves against the revision before, both as they leave; of a change of the guard, against
    what is in force as long as it is not decided. None if there is nothing to compare with.
    """
    if approval.subject == "change" and approval.state in WAITING:
        known, wanted = approvals.compared(tx, approval.tenant, egress)
        return None if known is None else difference(known, wanted)
    if not approval.revises:
        return None
    try:
        before = approvals.egress(tx, approvals.get(tx, approval.tenant, approval.revises))
    except NotFound:
        return None  # what was asked first is erased
    return difference(before.body, egress.body)


def difference(before: Payload, after: Payload) -> list[str]:
    """Lines of a unified diff of the beginnings. JSON is compared member by member, however it was written."""
    return list(difflib.unified_diff(_lines(before), _lines(after), "before", "now", lineterm="", n=2))[:MAX_LINES]


def _lines(body: Payload) -> list[str]:
    begun = window(body, 0, MAX_COMPARED)
    shown = begun.decode(errors="replace")
    if len(body) <= MAX_COMPARED:
        with suppress(ValueError, RecursionError):
            shown = json.dumps(json.loads(begun), indent=2, ensure_ascii=False, sort_keys=True)
    return shown.splitlines()[:MAX_LINES]


def leaving(egress: Egress, part: Part = WHOLE) -> dict[str, Any]:
    """The frozen request; of its body the part that is asked for."""
    return {
        "digest": egress.digest(),
        "destination": egress.destination,
        "url": egress.url,
        "method": egress.method,
        "account": egress.account,
        "headers": [list(pair) for pair in egress.headers],
        "bytes": len(egress.body),
        "body": text(egress.body, part),
    }


def text(content: Payload, part: Part = WHOLE) -> dict[str, Any]:
    """A part of bytes in JSON: as text where it is UTF-8, else as base64. It begins and ends with a whole character."""
    if not isinstance(content, bytes):
        length = SPOOLED if part.length is None else min(part.length, SPOOLED)
        low = min(part.offset, len(content))
        told = text(window(content, low, low + length))
        return {**told, "offset": low + told["offset"], "total": len(content)}
    end = len(content) if part.length is None else min(len(content), part.offset + part.length)
    start = min(part.offset, end)
    piece = memoryview(content)[start:end] if (start, end) != (0, len(content)) else content
    told = {"offset": start, "bytes": end - start, "total": len(content)}
    try:
        return {"encoding": "utf-8", "text": str(piece, "utf-8"), **told}
    except UnicodeDecodeError:
        start, end = _whole(content, start, end)
    piece = content[start:end]
    told = {"offset": start, "bytes": end - start, "total": len(content)}
    try:
        return {"encoding": "utf-8", "text": piece.decode(), **told}
    except UnicodeDecodeError:
        return {"encoding": "base64", "text": base64.b64encode(piece).decode(), **told}


def _whole(content: bytes, start: int, end: int) -> tuple[int, int]:
    """The same part without a character that it cuts, at either side. At most three bytes are given up."""
    for _ in range(3):
        if start < end and start > 0 and content[start] & 0xC0 == 0x80:
            start += 1
    for _ in range(3):
        if start < end < len(content) and content[end] & 0xC0 == 0x80:
            end -= 1
    return start, end


def may(tx: Transaction, approvals: Approvals, approval: Approval, person: Person) -> dict[str, bool]:
    """What a person could do about an approval at this moment. Doing it is what decides."""
    voted = any(identity.same_human(v.human, person.email) for v in approval.votes)
    own = identity.same_human(approval.human, person.email)
    open_ = approval.state in WAITING and approval.expires > tx.now
    return {
        "vote": open_ and not voted and approvals.may_vote(tx, approval, person),
        "break_glass": open_ and not voted and approvals.may_break_glass(approval, person),
        "cancel": open_ and own,
        "revoke": open_ and approvals.may_revoke(tx, approval, person),
        "revise": open_ and own and approval.subject == "call" and approval.state == "CHANGES_REQUESTED",
        "grant": standing.grantable(approval),
        "records": open_ and approvals.may_vote(tx, approval, person) and _reported(tx, approvals, approval),
    }


def _reported(tx: Transaction, approvals: Approvals, approval: Approval) -> bool:
    return approval.kind == "training" and record.report(tx, approvals.vault, approval) is not None


def names(tx: Transaction, vault: Vault, shown: Iterable[Approval]) -> dict[str, str]:
    """Key id → name, of the keys that these were asked with. An altered entry has none."""
    found: dict[str, str] = {}
    for tenant, principal in {(a.tenant, a.principal) for a in shown}:
        id_ = principal.removeprefix("key:")
        if id_ != principal:
            with suppress(NotFound, GuardUnavailable):
                found[id_] = identity.key(tx, vault, tenant, id_).name
    return found
