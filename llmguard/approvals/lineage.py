"""Lineage: where a file, a job or a batch of the provider comes from: what it was made of, what was known of that, and
who approved it. It reads, and never writes.

Invariant: somebody learns of a step only what that person may see; what is not there and what is not theirs look alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from llmguard import audit, identity
from llmguard.approvals import training
from llmguard.approvals.approvals import Approvals
from llmguard.errors import GuardUnavailable, NotFound
from llmguard.identity import Person
from llmguard.model import Approval
from llmguard.store import Transaction, produced
from llmguard.store.produced import Origin

LONGEST = 200
"""Characters of an id."""


def steps(tx: Transaction, approvals: Approvals, who: Person, name: str) -> list[dict[str, Any]]:
    """``name`` and what it was made from, itself first; of an approval, what it let through first.

    Raises NotFound, in the same words for what is not there and for what is not this person's to see.
    """
    found = [_step(tx, approvals, who, o, a) for o, a in _origins(tx, approvals, who, name)]
    if not found and (approval := _approval(tx, approvals, who, name.upper())) is not None:
        found = [_held(tx, approvals, approval)]
    if not found:
        raise NotFound("no such file, job, batch or approval passed this guard")
    return found


def _origins(tx: Transaction, approvals: Approvals, who: Person, name: str) -> Iterable[tuple[Origin, Approval | None]]:
    vault = approvals.vault
    first = [name] if len(name) <= LONGEST else []
    first += [o.id for o in produced.by_approval(tx, vault, who.tenant, name.upper())] if len(name) == 26 else []
    told: set[str] = set()
    for id_ in first:
        for origin in produced.lineage(tx, vault, who.tenant, id_):
            approval = _approval(tx, approvals, who, origin.approval)
            if origin.id not in told and (approval is not None or _own(tx, approvals, who, origin)):
                told.add(origin.id)
                yield origin, approval


def _approval(tx: Transaction, approvals: Approvals, who: Person, id_: str) -> Approval | None:
    with suppress(NotFound, GuardUnavailable):
        approval = approvals.get(tx, who.tenant, id_)
        if who.groups or approvals.may_see(tx, approval, who):
            return approval
    return None


def _own(tx: Transaction, approvals: Approvals, who: Person, origin: Origin) -> bool:
    """People of a group see what calls made, as they see calls; others what their own keys did."""
    if who.groups:
        return True
    with suppress(NotFound, GuardUnavailable):
        key = identity.key(tx, approvals.vault, who.tenant, origin.principal.removeprefix("key:"))
        return identity.same_human(who.email, key.human)
    return False


def _step(
    tx: Transaction, approvals: Approvals, who: Person, origin: Origin, approval: Approval | None
) -> dict[str, Any]:
    plain = ("id", "kind", "operation", "principal", "call", "digest", "created")
    return {
        **{name: getattr(origin, name) for name in plain},
        "sources": list(origin.sources),
        "known": sorted(produced.known(tx, approvals.vault, who.tenant, origin.sources)),
        "report": dict(origin.report),
        "approval": None if approval is None else _told(tx, approvals, approval),
        "log": _log(tx, who.tenant, (f"produced:{origin.id}", approval.id if approval else "")),
    }


def _held(tx: Transaction, approvals: Approvals, a: Approval) -> dict[str, Any]:
    """An approval that let nothing through that has a name, or not yet."""
    return {
        "id": a.id,
        "kind": "approval",
        "operation": a.operation,
        "principal": a.principal,
        "call": a.call,
        "digest": a.egress_digest,
        "created": a.created,
        "sources": [],
        "known": [],
        "report": {"findings": dict(a.findings), "unscanned": list(a.unscanned)},
        "approval": _told(tx, approvals, a),
        "log": _log(tx, a.tenant, (a.id,)),
    }


def _told(tx: Transaction, approvals: Approvals, a: Approval) -> dict[str, Any]:
    """Who asked and who decided; of training data, what was decided of its records and how they were labelled."""
    review: training.Review | None = None
    with suppress(NotFound):
        review = training.read(tx, approvals.vault, a)
    return {
        "id": a.id,
        "state": a.state,
        "operation": a.operation,
        "rule": a.rule,
        "requester": a.human or a.principal,
        "digest": a.egress_digest,
        "revision": a.revision,
        "revises": a.revises,
        "approvers": [{"human": v.human, "verdict": v.verdict, "time": v.time} for v in a.votes],
        "decided": dict(review.met) if review else {},
        "labels": dict(Counter(label for label, _ in review.labels.values())) if review else {},
        "records": review.report.records if review else None,
    }


def _log(tx: Transaction, tenant: str, subjects: Iterable[str]) -> list[int]:
    """Indices of the log's entries that speak of these."""
    return sorted({e.index for subject in subjects if subject for e in audit.about(tx, subject) if e.tenant == tenant})
