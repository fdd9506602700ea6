"""Rows of approvals and votes, and ``transition``, the only writer of an approval's state.

Every row carries an attestation over all of its columns, refreshed by each transition: an edited row never loads. A
vote whose attestation does not hold is not there. One transition is one compare-and-set on state and version, one audit
entry and one outbox message, in the caller's transaction.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from typing import Any, cast

from llmguard import audit
from llmguard.approvals import contents
from llmguard.approvals.states import WAITING, legal
from llmguard.errors import Conflict, GuardUnavailable, NotFound
from llmguard.model import (
    Answer,
    Approval,
    AuditEntry,
    Decision,
    Egress,
    Hold,
    Payload,
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
  "tenant", "id", "state", "version", "subject", "kind", "operation", "destination", "principal", "human", "excluded",
  "request_key", "egress_digest", "policy_version", "rule", "requirement", "risk", "findings", "unscanned", "advisory",
  "call", "revises", "revision", "standing", "exceptions", "escalated", "owner", "created", "expires", "updated",
  "returned",
)  # fmt: skip
"""What the attestation covers."""
_CHANGING = ("state", "version", "updated", "returned", "owner", "requirement", "rule", "policy_version", "expires")
"""What a transition writes, besides the attestation and what follows from these."""
_NEEDS = tuple(f.name for f in fields(Requirement))
VOTE_COLUMNS = ("tenant", "approval", "human", "verdict", "reason", "digest", "time", "authenticated")


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


def from_rows(tx: Transaction, vault: Vault, tenant: str, rows: Sequence[sqlite3.Row]) -> tuple[Approval, ...]:
    """The genuine ones of a tenant's rows, in their order, with their votes: two queries, however many there are."""
    kept = [row for row in rows if genuine(vault, row)]
    cast_votes: dict[str, list[Vote]] = {row["id"]: [] for row in kept}
    sql = "SELECT * FROM votes WHERE tenant = ? AND approval IN (SELECT value FROM json_each(?)) ORDER BY time, human"
    for row in tx.all(sql, tenant, compact([*cast_votes])):
        if vote := _vote(vault, row):
            cast_votes[row["approval"]].append(vote)
    return tuple(_approval(row, tuple(cast_votes[row["id"]])) for row in kept)


def genuine(vault: Vault, row: sqlite3.Row) -> bool:
    return vault.attested(str(row["attestation"]), "approval", compact([row[c] for c in COLUMNS]))


def insert(tx: Transaction, vault: Vault, approval: Approval, size: int) -> None:
    """Writes a new approval. ``size``: bytes that are sealed for it."""
    values = _values(approval)
    columns = (*COLUMNS, "attestation", "size", "reminded", "due")
    places = ", ".join("?" * len(columns))
    tx.run(
        f"INSERT INTO approvals ({', '.join(columns)}) VALUES ({places})",  # noqa: S608  own constants
        *values.values(),
        vault.attest("approval", compact([*values.values()])),
        *(size, 0, due(approval, 0)),
    )
    _show_to(tx, approval)
    announce(tx, approval, f"approval.{approval.state.lower()}")


def due(approval: Approval, reminded: int) -> int:
    """When time does something next to an approval that waits: a reminder, an escalation, the end (UTC ms)."""
    need, moments = approval.requirement, [approval.expires]
    if approval.state == "PENDING":
        if need.remind_after:
            moments.append(approval.created + need.remind_after * (reminded + 1) * 1000)
        if need.escalate_to and approval.escalated is None:
            moments.append(approval.created + need.escalate_after * 1000)
    return min(moments)


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
    after = replace(_after(approval, target, tx.now, stricter), owner=owner)
    timed = approval.state in WAITING and target != "EXPIRED"
    _write(tx, vault, approval, after, timed=timed)
    _record(tx, vault, approval, after, by, why)
    announce(tx, after, f"approval.{after.state.lower()}")
    return after


def escalate(tx: Transaction, vault: Vault, approval: Approval) -> Approval:
    """From now on the people of ``escalate_to`` may stand in. Raises Conflict if something else happened first."""
    after = replace(approval, version=approval.version + 1, updated=tx.now, escalated=tx.now)
    _write(tx, vault, approval, after, timed=True)
    log(tx, vault, after, "approval.escalated", {"by": "guard", "to": after.requirement.escalate_to})
    announce(tx, after, "approval.escalated")
    return after


def remind(tx: Transaction, approval: Approval, reminded: int) -> None:
    """Tells the groups once more; ``reminded``: how often by now. Nothing that counts is changed."""
    tx.run(
        "UPDATE approvals SET reminded = ?, due = ? WHERE tenant = ? AND id = ?",
        *(reminded, due(approval, reminded), approval.tenant, approval.id),
    )
    announce(tx, approval, "approval.reminder")


def put_off(tx: Transaction, approval: Approval, reminded: int) -> None:
    """Nothing was to be done yet: it is looked at again when something is."""
    moment = due(approval, reminded)
    tx.run("UPDATE approvals SET due = ? WHERE tenant = ? AND id = ?", moment, approval.tenant, approval.id)


def _write(tx: Transaction, vault: Vault, before: Approval, after: Approval, *, timed: bool) -> None:
    """The compare-and-set on state and version; ``timed``: only while the time of the former state is not over."""
    values = _values(after)
    names = (*_CHANGING, "escalated", "attestation", "due")
    changed = tx.run(
        f"UPDATE approvals SET {', '.join(f'{n} = ?' for n in names)}"  # noqa: S608  own constants
        " WHERE tenant = ? AND id = ? AND state = ? AND version = ? AND (expires > ? OR ?)",
        *(values[name] for name in (*_CHANGING, "escalated")),
        vault.attest("approval", compact([*values.values()])),
        due(after, 0),
        *(before.tenant, before.id, before.state, before.version, tx.now, not timed),
    )
    if changed != 1:
        raise Conflict("something else happened to this approval first: look at it again", approval_id=before.id)
    _show_to(tx, after)


def _show_to(tx: Transaction, approval: Approval) -> None:
    """Files an approval under everybody who may see it, so that lists cost what they show. Only an index."""
    names = [*approval.requirement.audience, *((person_mark(approval.human),) if approval.human else ())]
    rows = [(approval.tenant, name, approval.id, approval.state, approval.subject) for name in names]
    tx.many("INSERT OR REPLACE INTO approval_audience VALUES (?, ?, ?, ?, ?)", rows)


def person_mark(email: str) -> str:
    """The name under which an approval is filed for the human behind it; no group is called so."""
    return f"human:{email}"


def _after(approval: Approval, target: State, now: int, stricter: Decision | None) -> Approval:
    unspent = approval.state == "EXECUTING" and target == "APPROVED"
    after = replace(
        approval, state=target, version=approval.version + 1, updated=now, returned=approval.returned + unspent
    )
    if stricter is not None:
        requirement = stricter.requirement or approval.requirement
        after = replace(after, requirement=requirement, rule=stricter.rule, policy_version=stricter.policy_version)
    return after if unspent else replace(after, expires=_ends(after, now))


def _decided_by(a: Approval) -> tuple[str, str, Requirement]:
    return a.rule, a.policy_version, a.requirement


def needs(requirement: Requirement) -> dict[str, Any]:
    """A requirement as JSON, for people and for the log."""
    plain = {name: getattr(requirement, name) for name in _NEEDS}  # asdict copies deeply, at several times the cost
    return {**plain, "groups": dict(requirement.groups)}


def _ends(approval: Approval, now: int) -> int:
    """Until when the state lasts: the time to decide, or the time to spend."""
    if approval.state == "APPROVED":
        return now + approval.requirement.spend_in * 1000
    if approval.state == "PENDING":
        return approval.created + approval.requirement.expires_in * 1000
    return approval.expires


def _record(tx: Transaction, vault: Vault, before: Approval, after: Approval, by: str, why: str) -> None:
    word = {"PENDING": "reopened", "EXECUTING": "claimed"}.get(after.state, after.state.lower())
    if before.state == "EXECUTING" and after.state == "APPROVED":
        word = "returned"
    details: dict[str, Any] = {"from": before.state, "by": by, **({"why": why} if why else {})}
    if _decided_by(after) != _decided_by(before):
        details |= {"rule": after.rule, "policy_version": after.policy_version, "requirement": needs(after.requirement)}
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


def announce(tx: Transaction, approval: Approval, kind: str) -> None:
    """One outbox message about an approval: types and counts, never text."""
    body = {
        "state": approval.state,
        "subject": approval.subject,
        "operation": approval.operation,
        "destination": approval.destination,
        "groups": dict(approval.requirement.groups),
        "escalated": approval.escalated,
        "risk": {"inherent": approval.risk.inherent, "residual": approval.risk.residual},
        "findings": dict(approval.findings),
        "expires": approval.expires,
    }
    tx.run(
        "INSERT INTO outbox (id, tenant, kind, approval, body, created) VALUES (?, ?, ?, ?, ?, ?)",
        *(new_id(tx.now), approval.tenant, kind, approval.id, compact(body), tx.now),
    )


def _values(a: Approval) -> dict[str, Any]:
    """What is stored, by column, in the order of ``COLUMNS``."""
    json_ = {
        "excluded": compact(a.excluded),
        "requirement": compact(asdict(a.requirement)),
        "risk": compact(asdict(a.risk)),
        "findings": compact(dict(a.findings)),
        "unscanned": compact(a.unscanned),
        "exceptions": compact(a.exceptions),
        "advisory": int(a.advisory),
    }
    return {name: json_[name] if name in json_ else getattr(a, name) for name in COLUMNS}


def _approval(row: sqlite3.Row, cast_votes: tuple[Vote, ...]) -> Approval:
    plain = {c: row[c] for c in COLUMNS if c not in ("requirement", "risk", "findings", "advisory")}
    risk, requirement = json.loads(row["risk"]), json.loads(row["requirement"])
    groups = tuple((name, count) for name, count in requirement["groups"])
    return Approval(
        **{
            **plain,
            "excluded": tuple(json.loads(row["excluded"])),
            "unscanned": tuple(json.loads(row["unscanned"])),
            "exceptions": tuple(json.loads(row["exceptions"])),
            "requirement": Requirement(**{**requirement, "groups": groups}),
            "risk": Risk(**{**risk, "reasons": tuple(Reason(**r) for r in risk["reasons"])}),
            "findings": json.loads(row["findings"]),
            "advisory": bool(row["advisory"]),
        },
        votes=cast_votes,
    )


def successor(tx: Transaction, tenant: str, id_: str) -> str:
    """The id of the revision that took an approval's place, or ""."""
    row = tx.one("SELECT id FROM approvals WHERE tenant = ? AND revises = ? AND revises <> '' LIMIT 1", tenant, id_)
    return "" if row is None else str(row["id"])


# --------------------------------------------------------------------------- votes


def votes(tx: Transaction, vault: Vault, tenant: str, approval: str) -> tuple[Vote, ...]:
    """The genuine votes of an approval, oldest first. A row that nobody cast through us is not a vote."""
    rows = tx.all("SELECT * FROM votes WHERE tenant = ? AND approval = ? ORDER BY time, human", tenant, approval)
    return tuple(vote for row in rows if (vote := _vote(vault, row)))


def _vote(vault: Vault, r: sqlite3.Row) -> Vote | None:
    if not vault.attested(str(r["attestation"]), "vote", compact([r[c] for c in VOTE_COLUMNS])):
        return None
    return Vote(r["human"], r["verdict"], r["reason"], r["digest"], r["time"], r["authenticated"], r["attestation"])


def cast_vote(tx: Transaction, vault: Vault, approval: Approval, vote: Vote) -> None:
    """Writes one person's vote. Raises Conflict if that person has voted already."""
    who, what = (approval.tenant, approval.id, vote.human), (vote.verdict, vote.reason, vote.digest)
    values = [*who, *what, vote.time, vote.authenticated]
    try:
        tx.run("INSERT INTO votes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", *values, vault.attest("vote", compact(values)))
    except sqlite3.IntegrityError:
        raise Conflict("you have voted on this already: one person, one vote", approval_id=approval.id) from None
    log(
        tx,
        vault,
        approval,
        "approval.vote",
        {
            "by": vote.human,
            "verdict": vote.verdict,
            "reason": blinded(tx, vault, approval, vote.reason.encode()),
            "authenticated": vote.authenticated,
        },
    )


# --------------------------------------------------------------------------- what is sealed


def seal(tx: Transaction, vault: Vault, approval: Approval, hold: Hold, salt: bytes) -> None:
    """Stores what leaves, what was written, why, and the salt of their commitments, sealed to this approval."""
    contents.keep(tx, approval.tenant, approval.id, hold.egress.body, hold.original)
    packed = (_pack(hold.egress), contents.pack(hold.original), hold.justification.encode(), salt)
    purposes = ("egress", "original", "justification", "salt")
    sealed = [
        vault.seal(approval.tenant, purpose, approval.id, content)
        for purpose, content in zip(purposes, packed, strict=True)
    ]
    columns = ", ".join(("tenant", "id", *purposes))
    tx.run(
        f"INSERT INTO approval_payloads ({columns}) VALUES (?, ?, ?, ?, ?, ?)",  # noqa: S608  own words
        *(approval.tenant, approval.id, *sealed),
    )
    if hold.report:
        keep_report(tx, vault, approval, hold.report)


def keep_report(tx: Transaction, vault: Vault, approval: Approval, report: Mapping[str, Any]) -> None:
    """Seals what is known of training data, and what people said of its records."""
    sealed = vault.seal(approval.tenant, "report", approval.id, compact(report).encode())
    tx.run("UPDATE approval_payloads SET report = ? WHERE tenant = ? AND id = ?", sealed, approval.tenant, approval.id)


def report(tx: Transaction, vault: Vault, approval: Approval) -> dict[str, Any] | None:
    """The same, None where there is none."""
    row = tx.one("SELECT report FROM approval_payloads WHERE tenant = ? AND id = ?", approval.tenant, approval.id)
    if row is None or row["report"] is None:
        return None
    kept: dict[str, Any] = json.loads(vault.open(approval.tenant, "report", approval.id, bytes(row["report"])))
    return kept


def propose(tx: Transaction, vault: Vault, approval: Approval, content: bytes) -> None:
    """Seals what a reviewer proposes instead, and writes its commitment to the log."""
    sealed = vault.seal(approval.tenant, "proposal", approval.id, content)
    tx.run(
        "UPDATE approval_payloads SET proposal = ? WHERE tenant = ? AND id = ?", sealed, approval.tenant, approval.id
    )
    log(tx, vault, approval, "approval.proposal", {"proposal": blinded(tx, vault, approval, content)})


def proposal(tx: Transaction, vault: Vault, approval: Approval) -> bytes | None:
    """What a reviewer proposed instead, or None."""
    row = tx.one("SELECT proposal FROM approval_payloads WHERE tenant = ? AND id = ?", approval.tenant, approval.id)
    if row is None or row["proposal"] is None:
        return None
    return vault.open(approval.tenant, "proposal", approval.id, bytes(row["proposal"]))


def egress(tx: Transaction, vault: Vault, approval: Approval) -> Egress:
    """What leaves, as it was approved. Raises GuardUnavailable if it is not that any more, NotFound if erased."""
    content = _unpack(vault, approval.tenant, _unsealed(tx, vault, approval, "egress"))
    if content.digest() != approval.egress_digest:
        raise GuardUnavailable("the sealed egress is not the approved one: nothing is sent; ask for a new approval")
    return content


def justification(tx: Transaction, vault: Vault, approval: Approval) -> str:
    """Why the caller asks, redacted; "" if it did not say."""
    return _unsealed(tx, vault, approval, "justification").decode()


def original(tx: Transaction, vault: Vault, approval: Approval) -> Payload:
    """What was written, before redaction."""
    return contents.unpack(vault, approval.tenant, _unsealed(tx, vault, approval, "original"))


def salt(tx: Transaction, vault: Vault, approval: Approval) -> bytes:
    """What opens the commitments of the log. Raises NotFound once it is erased."""
    return _unsealed(tx, vault, approval, "salt")


def blinded(tx: Transaction, vault: Vault, approval: Approval, content: bytes) -> str:
    """The log's word for content: a commitment under the approval's salt, meaningless once that is erased."""
    return commitment(salt(tx, vault, approval), content)


def _unsealed(tx: Transaction, vault: Vault, approval: Approval, purpose: str) -> bytes:
    sql = f"SELECT {purpose} AS sealed FROM approval_payloads WHERE tenant = ? AND id = ?"  # noqa: S608  own words
    row = tx.one(sql, approval.tenant, approval.id)
    if row is None or row["sealed"] is None:
        raise NotFound("what this approval is about was erased", approval_id=approval.id)
    return vault.open(approval.tenant, purpose, approval.id, row["sealed"])


def _pack(egress: Egress) -> bytes:
    head = [egress.destination, egress.url, egress.account, egress.method, [list(h) for h in egress.headers]]
    return json.dumps(head).encode() + b"\n" + contents.pack(egress.body)


def _unpack(vault: Vault, tenant: str, content: bytes) -> Egress:
    head, _, body = content.partition(b"\n")
    destination, url, account, method, headers = json.loads(head)
    pairs = tuple((cast(str, k), cast(str, v)) for k, v in headers)
    return Egress(destination, url, account, method, pairs, contents.unpack(vault, tenant, body))


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
