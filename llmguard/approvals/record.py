"""Rows of approvals and votes, and ``transition``, the only writer of an approval's state.

Every row carries an attestation over all of its columns, refreshed by each transition: an edited row never loads. A
vote whose attestation does not hold is not there. One transition is one compare-and-set on state and version, one audit
entry and one outbox message, in the caller's transaction.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, cast

from llmguard import audit
from llmguard.approvals.states import WAITING, legal
from llmguard.errors import Conflict, GuardUnavailable, NotFound
from llmguard.model import (
    Answer,
    Approval,
    AuditEntry,
    Decision,
    Egress,
    Reason,
    Requirement,
    Risk,
    State,
    Vote,
    new_id,
)
from llmguard.store import Transaction
from llmguard.vault import Vault, commitment

COLUMNS = (
    *("tenant", "id", "state", "version", "subject", "operation", "destination", "principal", "human", "request_key"),
    *("egress_digest", "policy_version", "rule", "requirement", "risk", "findings", "advisory", "owner"),
    *("created", "expires", "updated", "returned"),
)
VOTE_COLUMNS = ("tenant", "approval", "human", "verdict", "reason", "digest", "time")


def compact(value: Any) -> str:
    """Canonical JSON of a column."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


# --------------------------------------------------------------------------- approvals


def load(tx: Transaction, vault: Vault, tenant: str, id_: str) -> Approval:
    """Raises NotFound, or GuardUnavailable if the row was altered in the database."""
    row = tx.one("SELECT * FROM approvals WHERE tenant = ? AND id = ?", tenant, id_)
    if row is None:
        raise NotFound("there is no such approval: llmguard approvals list shows them")
    return from_row(tx, vault, row)


def from_row(tx: Transaction, vault: Vault, row: sqlite3.Row) -> Approval:
    """Raises GuardUnavailable if the row was altered in the database."""
    if not genuine(vault, row):
        raise GuardUnavailable(
            f"approval {row['id']} was altered in the database and decides nothing: restore a backup, verify the log"
        )
    return _approval(row, votes(tx, vault, row["tenant"], row["id"]))


def genuine(vault: Vault, row: sqlite3.Row) -> bool:
    return vault.attested(str(row["attestation"]), "approval", compact([row[c] for c in COLUMNS]))


def insert(tx: Transaction, vault: Vault, approval: Approval) -> None:
    values = _values(approval, None)
    places = ", ".join("?" * (len(COLUMNS) + 1))
    tx.run(
        f"INSERT INTO approvals ({', '.join(COLUMNS)}, attestation) VALUES ({places})",  # noqa: S608  own constants
        *values,
        vault.attest("approval", compact(values)),
    )
    announce(tx, approval)


def transition(  # noqa: PLR0913  each argument is one thing that the step writes
    tx: Transaction,
    vault: Vault,
    approval: Approval,
    target: State,
    *,
    by: str,
    owner: str | None = None,
    stricter: Decision | None = None,
    why: str = "",
) -> Approval:
    """Moves an approval to ``target`` and tells the log and the outbox, or raises Conflict and writes nothing.

    ``owner`` names the process that executes. ``stricter`` replaces requirement, rule and policy version. ``why`` is in
    our own words. What time has ended can only become EXPIRED; that is decided in SQL.
    """
    if not legal(approval.state, target):
        raise Conflict(f"an approval that is {approval.state} cannot become {target}", approval_id=approval.id)
    after = _after(approval, target, tx.now, stricter)
    values = _values(after, owner)
    timed = approval.state in WAITING and target != "EXPIRED"
    changed = tx.run(
        "UPDATE approvals SET state = ?, version = ?, updated = ?, returned = ?, owner = ?, requirement = ?, rule = ?,"
        " policy_version = ?, attestation = ?"
        " WHERE tenant = ? AND id = ? AND state = ? AND version = ? AND (expires > ? OR ?)",
        *(
            after.state,
            after.version,
            after.updated,
            after.returned,
            owner,
            values[COLUMNS.index("requirement")],
            after.rule,
        ),
        *(after.policy_version, vault.attest("approval", compact(values))),
        *(approval.tenant, approval.id, approval.state, approval.version, tx.now, not timed),
    )
    if changed != 1:
        raise Conflict("something else happened to this approval first: look at it again", approval_id=approval.id)
    _record(tx, vault, approval, after, by, why)
    announce(tx, after)
    return after


def _after(approval: Approval, target: State, now: int, stricter: Decision | None) -> Approval:
    unspent = approval.state == "EXECUTING" and target == "APPROVED"
    after = replace(
        approval, state=target, version=approval.version + 1, updated=now, returned=approval.returned + unspent
    )
    if stricter is None:
        return after
    requirement = stricter.requirement or approval.requirement
    return replace(after, requirement=requirement, rule=stricter.rule, policy_version=stricter.policy_version)


def _record(tx: Transaction, vault: Vault, before: Approval, after: Approval, by: str, why: str) -> None:
    word = {"PENDING": "reopened", "EXECUTING": "claimed"}.get(after.state, after.state.lower())
    if before.state == "EXECUTING" and after.state == "APPROVED":
        word = "returned"
    details = {"from": before.state, "by": by, **({"why": why} if why else {})}
    log(tx, vault, after, f"approval.{word}", details)


def log(tx: Transaction, vault: Vault, approval: Approval, kind: str, details: Mapping[str, Any]) -> None:
    """One audit entry about an approval: ids, numbers and a salted commitment to the egress digest, never text."""
    fixed = {
        "approval": approval.id,
        "state": approval.state,
        "version": approval.version,
        "egress": blinded(tx, vault, approval, bytes.fromhex(approval.egress_digest)),
    }
    audit.append(tx, [AuditEntry(kind, approval.tenant, {**fixed, **details})])


def announce(tx: Transaction, approval: Approval) -> None:
    """One outbox message about the state that an approval is in now: types and counts, never text."""
    body = {
        "state": approval.state,
        "subject": approval.subject,
        "operation": approval.operation,
        "destination": approval.destination,
        "group": approval.requirement.group,
        "quorum": approval.requirement.quorum,
        "risk": {"inherent": approval.risk.inherent, "residual": approval.risk.residual},
        "findings": dict(approval.findings),
        "expires": approval.expires,
    }
    tx.run(
        "INSERT INTO outbox (id, tenant, kind, approval, body, created) VALUES (?, ?, ?, ?, ?, ?)",
        *(new_id(tx.now), approval.tenant, f"approval.{approval.state.lower()}", approval.id, compact(body), tx.now),
    )


def _values(a: Approval, owner: str | None) -> list[Any]:
    return [
        *(
            a.tenant,
            a.id,
            a.state,
            a.version,
            a.subject,
            a.operation,
            a.destination,
            a.principal,
            a.human,
            a.request_key,
        ),
        *(a.egress_digest, a.policy_version, a.rule, compact(asdict(a.requirement)), compact(asdict(a.risk))),
        *(compact(dict(a.findings)), int(a.advisory), owner, a.created, a.expires, a.updated, a.returned),
    ]


def _approval(row: sqlite3.Row, cast_votes: tuple[Vote, ...]) -> Approval:
    names = [c for c in COLUMNS if c not in ("owner", "requirement", "risk", "findings", "advisory")]
    risk = json.loads(row["risk"])
    return Approval(
        **{name: row[name] for name in names},
        requirement=Requirement(**json.loads(row["requirement"])),
        risk=Risk(risk["inherent"], risk["residual"], tuple(Reason(**r) for r in risk["reasons"])),
        findings=json.loads(row["findings"]),
        advisory=bool(row["advisory"]),
        votes=cast_votes,
    )


# --------------------------------------------------------------------------- votes


def votes(tx: Transaction, vault: Vault, tenant: str, approval: str) -> tuple[Vote, ...]:
    """The genuine votes of an approval, oldest first. A row that nobody cast through us is not a vote."""
    rows = tx.all("SELECT * FROM votes WHERE tenant = ? AND approval = ? ORDER BY time, human", tenant, approval)
    return tuple(
        Vote(r["human"], r["verdict"], r["reason"], r["digest"], r["time"], r["attestation"])
        for r in rows
        if vault.attested(str(r["attestation"]), "vote", compact([r[c] for c in VOTE_COLUMNS]))
    )


def cast_vote(tx: Transaction, vault: Vault, approval: Approval, vote: Vote) -> None:
    """Writes one person's vote. Raises Conflict if that person has voted already."""
    values = [approval.tenant, approval.id, vote.human, vote.verdict, vote.reason, vote.digest, vote.time]
    try:
        tx.run("INSERT INTO votes VALUES (?, ?, ?, ?, ?, ?, ?, ?)", *values, vault.attest("vote", compact(values)))
    except sqlite3.IntegrityError:
        raise Conflict("you have voted on this already: one person, one vote", approval_id=approval.id) from None
    log(
        tx,
        vault,
        approval,
        "approval.vote",
        {"by": vote.human, "verdict": vote.verdict, "reason": blinded(tx, vault, approval, vote.reason.encode())},
    )


# --------------------------------------------------------------------------- what is sealed


def seal(tx: Transaction, vault: Vault, approval: Approval, egress: Egress, original: bytes, salt: bytes) -> None:
    """Stores what leaves, what was written and the salt of their commitments, sealed to this approval."""
    sealed = [
        vault.seal(approval.tenant, purpose, approval.id, content)
        for purpose, content in (("egress", _pack(egress)), ("original", original), ("salt", salt))
    ]
    tx.run("INSERT INTO approval_payloads VALUES (?, ?, ?, ?, ?)", approval.tenant, approval.id, *sealed)


def egress(tx: Transaction, vault: Vault, approval: Approval) -> Egress:
    """What leaves, as it was approved. Raises GuardUnavailable if it is not that any more, NotFound if erased."""
    content = _unpack(_unsealed(tx, vault, approval, "egress"))
    if content.digest() != approval.egress_digest:
        raise GuardUnavailable("the sealed egress is not the approved one: nothing is sent; ask for a new approval")
    return content


def original(tx: Transaction, vault: Vault, approval: Approval) -> bytes:
    """What was written, before redaction."""
    return _unsealed(tx, vault, approval, "original")


def blinded(tx: Transaction, vault: Vault, approval: Approval, content: bytes) -> str:
    """The log's word for content: a commitment under the approval's salt, meaningless once that is erased."""
    return commitment(_unsealed(tx, vault, approval, "salt"), content)


def _unsealed(tx: Transaction, vault: Vault, approval: Approval, purpose: str) -> bytes:
    row = tx.one("SELECT * FROM approval_payloads WHERE tenant = ? AND id = ?", approval.tenant, approval.id)
    if row is None or row[purpose] is None:
        raise NotFound("what this approval is about was erased", approval_id=approval.id)
    return vault.open(approval.tenant, purpose, approval.id, bytes(row[purpose]))


def _pack(egress: Egress) -> bytes:
    head = [egress.destination, egress.url, egress.account, egress.method, [list(h) for h in egress.headers]]
    return json.dumps(head).encode() + b"\n" + egress.body


def _unpack(content: bytes) -> Egress:
    head, _, body = content.partition(b"\n")
    destination, url, account, method, headers = json.loads(head)
    pairs = tuple((cast(str, k), cast(str, v)) for k, v in headers)
    return Egress(destination, url, account, method, pairs, body)


def keep_answer(tx: Transaction, vault: Vault, approval: Approval, answer: Answer, until: int) -> None:
    """Seals a provider's answer to this approval until a time, for retries of the same request."""
    head = json.dumps([answer.status, [list(h) for h in answer.headers]]).encode()
    sealed = vault.seal(approval.tenant, "answer", approval.id, head + b"\n" + answer.body)
    tx.run("INSERT OR REPLACE INTO approval_answers VALUES (?, ?, ?, ?)", approval.tenant, approval.id, until, sealed)


def answer(tx: Transaction, vault: Vault, approval: Approval) -> Answer | None:
    """The answer that was kept, None if there is none or its time is over. GuardUnavailable if it was altered."""
    row = tx.one(
        "SELECT sealed FROM approval_answers WHERE tenant = ? AND id = ? AND until > ?",
        *(approval.tenant, approval.id, tx.now),
    )
    if row is None:
        return None
    head, _, body = vault.open(approval.tenant, "answer", approval.id, bytes(row["sealed"])).partition(b"\n")
    status, headers = json.loads(head)
    return Answer(cast(int, status), tuple((cast(str, k), cast(str, v)) for k, v in headers), body)


def wipe_answers(tx: Transaction) -> None:
    """Erases the answers whose time is over."""
    tx.run("DELETE FROM approval_answers WHERE until <= ?", tx.now)
