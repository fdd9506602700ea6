"""Approvals: one state machine per held call, action or change, bound to an egress digest.

It owns holding, voting, claiming, settling and expiry. It never sends anything, never decides policy and never believes
a row: approval, votes and people are verified at each use. Invariant: what leaves under an approval are exactly the
bytes that enough of the right people approved, none of them behind the request, and they leave once.

A refusal that is raised rolls its unit of work back. So ``hold``, ``review`` and ``claim`` return an approval that was
found expired, short of votes or decided more strictly, for what they found to be written; ``outcome`` refuses.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import replace
from typing import Any, Literal, get_args

from llmguard import identity
from llmguard.approvals import changes, quorum, record
from llmguard.approvals.outcomes import OUTCOMES, TICKET
from llmguard.approvals.owners import gone
from llmguard.approvals.states import JOINED, MAX_RETURNS, TOLD, TOLD_MS, WAITING
from llmguard.errors import (
    AlreadyExecuted,
    Conflict,
    GuardUnavailable,
    InvalidRequest,
    LLMGuardError,
    NotAllowed,
    NotFound,
)
from llmguard.identity import Change, Person, same_human
from llmguard.model import Answer, Approval, Decision, Egress, Hold, Principal, State, Vote, new_id
from llmguard.store import Transaction, placeholders
from llmguard.vault import Vault

MAX_PENDING_BYTES = 256 * 1024 * 1024
"""Sealed bytes that one principal may have waiting."""
MAX_REASON = 2000
Ballot = Literal["approve", "deny", "request_changes"]
_VERDICT_STATE: dict[Ballot, State] = {"deny": "DENIED", "request_changes": "CHANGES_REQUESTED"}


class Approvals:
    """The approvals of one installation. ``url``: base of links; ``advisory``: requesters could write the database.

    ``max_waiting`` approvals may wait for one principal; for ``replay_window`` seconds an answer is kept for retries.
    """

    def __init__(
        self,
        vault: Vault,
        *,
        advisory: bool = False,
        url: str | None = None,
        max_waiting: int = 200,
        replay_window: float = 600,
    ) -> None:
        self._vault = vault
        self._advisory = advisory
        self._url = url.rstrip("/") if url else None
        self._max_waiting = max_waiting
        self._replay_ms = int(replay_window * 1000)

    # ----------------------------------------------------------------- asking

    def hold(self, tx: Transaction, hold: Hold, *, revises: str | None = None) -> Approval:
        """Joins the newest approval of the same request, or asks anew. ``revises``: an approval whose changes this has.

        Raises ApprovalImpossible if too few people could vote, GuardUnavailable if the principal's queue is full.
        """
        joined = self._joined(tx, hold)
        if joined is not None:
            return self.review(tx, joined.tenant, joined.id, hold.decision)
        approval = self._new(tx, hold)
        quorum.ensure_possible(tx, self._vault, approval.tenant, approval.requirement, approval.human)
        self._room(tx, approval, hold)
        record.seal(tx, self._vault, approval, hold.egress, hold.original, secrets.token_bytes(32))
        record.insert(tx, self._vault, approval)
        scope = f"approval:{approval.id}"
        placeholders.grant(tx, hold.principal, [replace(g, scope=scope) for g in hold.grants])
        details = {
            "principal": approval.principal,
            "human": approval.human,
            "call": hold.call,
            "subject": approval.subject,
            "operation": approval.operation,
            "destination": approval.destination,
            "rule": approval.rule,
            "policy_version": approval.policy_version,
            "group": approval.requirement.group,
            "quorum": approval.requirement.quorum,
            "expires": approval.expires,
            "risk": {"inherent": approval.risk.inherent, "residual": approval.risk.residual},
            "findings": dict(approval.findings),
            "advisory": approval.advisory,
        }
        record.log(tx, self._vault, approval, "approval.held", details)
        if revises is not None:
            self._supersede(tx, approval, revises)
        return approval

    def _joined(self, tx: Transaction, hold: Hold) -> Approval | None:
        """Open ones of the same request, and those that ended a moment ago, so that a retry learns how."""
        row = tx.one(
            "SELECT * FROM approvals WHERE tenant = ? AND principal = ? AND request_key = ?"
            " ORDER BY created DESC, id DESC LIMIT 1",
            *(hold.principal.tenant, hold.principal.id, hold.request_key),
        )
        if row is None:
            return None
        approval = record.from_row(tx, self._vault, row)
        told = TOLD_MS + (self._replay_ms if approval.state == "EXECUTED" else 0)
        recent = approval.state in TOLD and approval.updated > tx.now - told
        return approval if approval.state in JOINED or recent else None

    def _new(self, tx: Transaction, hold: Hold) -> Approval:
        requirement = quorum.required(hold.decision.requirement, hold.principal.human)
        return Approval(
            id=new_id(tx.now),
            tenant=hold.principal.tenant,
            state="PENDING",
            version=1,
            subject=hold.subject,
            operation=hold.operation,
            destination=hold.egress.destination,
            principal=hold.principal.id,
            human=hold.principal.human,
            request_key=hold.request_key,
            egress_digest=hold.egress.digest(),
            policy_version=hold.decision.policy_version,
            rule=hold.decision.rule,
            requirement=requirement,
            risk=hold.risk,
            findings=hold.findings,
            advisory=self._advisory,
            created=tx.now,
            expires=tx.now + requirement.expires_in * 1000,
            updated=tx.now,
        )

    def _room(self, tx: Transaction, approval: Approval, hold: Hold) -> None:
        row = tx.one(
            "SELECT count(*) AS n, coalesce(sum(length(p.egress) + length(p.original)), 0) AS size"
            " FROM approvals a JOIN approval_payloads p USING (tenant, id)"
            " WHERE a.tenant = ? AND a.principal = ? AND a.state IN ('PENDING', 'APPROVED', 'CHANGES_REQUESTED')",
            approval.tenant,
            approval.principal,
        )
        size = len(hold.egress.body) + len(hold.original)
        if row is not None and (row["n"] >= self._max_waiting or row["size"] + size > MAX_PENDING_BYTES):
            raise GuardUnavailable(
                "too much of this caller waits for approval already: decide or cancel some of it first"
            )

    def _supersede(self, tx: Transaction, new: Approval, old_id: str) -> None:
        old = record.load(tx, self._vault, new.tenant, old_id)
        if old.principal != new.principal or old.operation != new.operation:
            raise NotFound("only the same principal's request of the same operation can be revised")
        record.transition(tx, self._vault, old, "SUPERSEDED", by=new.principal)

    def propose(self, tx: Transaction, person: Person, change: Change) -> Approval | None:
        """What a person asks to change about people or keys: None if it took effect at once, else its approval.

        Deactivating oneself and a key for oneself need nobody; everything else needs somebody else.
        """
        if changes.alone(tx, self._vault, person, change):
            identity.apply(tx, self._vault, person.tenant, change, identity.Cause(person.email))
            return None
        return self.hold(tx, changes.asked(self._vault, person, change))

    # ----------------------------------------------------------------- what it is worth

    def review(self, tx: Transaction, tenant: str, id_: str, decision: Decision | None = None) -> Approval:
        """The approval as it stands at this moment: expired, quorum lost or decided more strictly is written down."""
        return self._review(tx, record.load(tx, self._vault, tenant, id_), decision, None)

    def _review(self, tx: Transaction, a: Approval, decision: Decision | None, human: str | None) -> Approval:
        if a.state in WAITING and a.expires <= tx.now:
            return record.transition(tx, self._vault, a, "EXPIRED", by="guard")
        if a.state == "APPROVED":
            a = self._still_approved(tx, a, decision, human)
        if a.state == "PENDING" and decision is not None and decision.verdict == "block":
            return record.transition(
                tx, self._vault, a, "DENIED", by="guard", stricter=decision, why="policy blocks it now"
            )
        return a

    def _still_approved(self, tx: Transaction, a: Approval, decision: Decision | None, human: str | None) -> Approval:
        if decision is not None and decision.verdict == "block":
            return record.transition(tx, self._vault, a, "PENDING", by="guard", why="policy blocks it now")
        needed = quorum.stricter(a, decision) if decision is not None else a.requirement
        have = quorum.supporters(tx, self._vault, a, needed.group, human)
        if len(have) >= needed.quorum:
            return a
        changed = replace(decision, requirement=needed) if decision is not None and needed != a.requirement else None
        return record.transition(tx, self._vault, a, "PENDING", by="guard", stricter=changed, why="quorum lost")

    def outcome(self, approval: Approval, *, ticket: bool = False) -> None:
        """Returns if the approval may be claimed, else raises what its caller is told: with a ``ticket`` or without."""
        if approval.state != "APPROVED":
            error, message = TICKET if ticket and approval.state == "PENDING" else OUTCOMES[approval.state]
            raise error(message, approval_id=approval.id, approval_url=self.link(approval))

    def link(self, approval: Approval) -> str | None:
        return f"{self._url}/guard/v1/approvals/{approval.id}" if self._url else None

    # ----------------------------------------------------------------- spending

    def claim(
        self, tx: Transaction, tenant: str, id_: str, principal: Principal, decision: Decision, owner: str
    ) -> Egress | Approval:
        """Spends an approval: one compare-and-set APPROVED → EXECUTING. Returns the bytes that may leave, once; or the
        approval as it stands, if it cannot be spent now.

        ``decision`` was made anew by the caller; ``owner`` is this process.
        """
        approval = record.load(tx, self._vault, tenant, id_)
        if principal.tenant != tenant or principal.id != approval.principal:
            raise NotFound("there is no such approval of this caller")
        approval = self._review(tx, approval, decision, principal.human)
        if approval.state != "APPROVED":
            return approval
        content = record.egress(tx, self._vault, approval)
        record.transition(tx, self._vault, approval, "EXECUTING", by=principal.id, owner=owner)
        return content

    def settle(
        self,
        tx: Transaction,
        tenant: str,
        id_: str,
        state: Literal["EXECUTED", "FAILED", "INDETERMINATE", "APPROVED"],
        answer: Answer | None = None,
    ) -> Approval:
        """Records how an execution ended. One that was given up for lost stays INDETERMINATE; the log has both.

        APPROVED: the provider was too busy and nothing is spent, unless that happened too often. ``answer``: what a
        retry of the same request receives, if it is a success and not too large.
        """
        approval = record.load(tx, self._vault, tenant, id_)
        if state == "APPROVED" and approval.returned >= MAX_RETURNS:
            state = "EXECUTED"
        if approval.state == "INDETERMINATE":
            record.log(tx, self._vault, approval, "approval.late_outcome", {"by": "guard", "outcome": state})
            return approval
        if answer and state == "EXECUTED" and answer.status // 100 == 2 and self._replay_ms:
            record.wipe_answers(tx)  # in a process that never sweeps, too
            record.keep_answer(tx, self._vault, approval, answer, tx.now + self._replay_ms)
        return record.transition(tx, self._vault, approval, state, by="guard")

    def recall(self, tx: Transaction, tenant: str, id_: str, principal: Principal) -> Answer:
        """What the provider answered to the request that this principal sends again. Raises AlreadyExecuted."""
        approval = record.load(tx, self._vault, tenant, id_)
        if principal.tenant != tenant or principal.id != approval.principal:
            raise NotFound("there is no such approval of this caller")
        found = record.answer(tx, self._vault, approval)
        if found is None:
            _, message = OUTCOMES["EXECUTED"]
            raise AlreadyExecuted(message, approval_id=approval.id, approval_url=self.link(approval))
        return found

    def withdraw(self, tx: Transaction, tenant: str, id_: str, principal: Principal) -> None:
        """Cancels what waits for a caller who is gone; what does not wait any more stays as it is."""
        approval = self.review(tx, tenant, id_)
        if approval.state in WAITING and (principal.tenant, principal.id) == (tenant, approval.principal):
            record.transition(tx, self._vault, approval, "CANCELLED", by=principal.id, why="its caller hung up")

    def sweep(self, tx: Transaction) -> int:
        """Expires by time, answers too; gives up executions whose process is gone. Skips altered rows.

        Returns how many approvals changed.
        """
        due = tx.all(
            "SELECT * FROM approvals WHERE state IN ('PENDING', 'APPROVED', 'CHANGES_REQUESTED') AND expires <= ?"
            " UNION ALL SELECT * FROM approvals WHERE state = 'EXECUTING'",
            tx.now,
        )
        moved = 0
        for row in due:
            if not record.genuine(self._vault, row) or (row["state"] == "EXECUTING" and not gone(row["owner"])):
                continue
            target: State = "INDETERMINATE" if row["state"] == "EXECUTING" else "EXPIRED"
            record.transition(tx, self._vault, record.from_row(tx, self._vault, row), target, by="guard")
            moved += 1
        record.wipe_answers(tx)
        identity.forget_expired(tx)
        return moved

    # ----------------------------------------------------------------- people decide

    def vote(  # noqa: PLR0913  one argument for each thing that a vote says
        self,
        tx: Transaction,
        tenant: str,
        id_: str,
        person: Person,
        verdict: Ballot,
        digest: str,
        reason: str = "",
        version: int | None = None,
    ) -> Approval:
        """Casts one person's vote on the egress of ``digest``, the one that was shown. ``version``: only if it is that.

        Raises NotFound, NotAllowed, Conflict, InvalidRequest.
        """
        if verdict not in get_args(Ballot) or len(reason) > MAX_REASON:
            raise InvalidRequest(
                f"a vote is {', '.join(get_args(Ballot))}, with a reason of up to {MAX_REASON} characters"
            )
        approval, who = self._ballot(tx, tenant, id_, person)
        self._eligible(approval, who)
        if version is not None and version != approval.version:
            raise Conflict("the approval has changed since it was shown: look at it again", approval_id=id_)
        if approval.state != "PENDING":
            raise Conflict(f"this approval is {approval.state}: nothing is left to vote on", approval_id=id_)
        if not hmac.compare_digest(digest.encode(), approval.egress_digest.encode()):
            raise Conflict("the vote is for other bytes than these: look at the approval again", approval_id=id_)
        vote = Vote(who.email, verdict, reason, approval.egress_digest, tx.now, "")
        record.cast_vote(tx, self._vault, approval, vote)
        return self._count(tx, record.load(tx, self._vault, tenant, id_), who, verdict)

    def _ballot(self, tx: Transaction, tenant: str, id_: str, person: Person) -> tuple[Approval, Person]:
        if person.tenant != tenant:
            raise NotFound("there is no such approval: llmguard approvals list shows them")
        who = identity.active_person(tx, self._vault, tenant, person.email)
        if who is None:
            raise NotAllowed("this person is not active, or the entry was altered in the database")
        return self.review(tx, tenant, id_), who

    def _eligible(self, approval: Approval, who: Person) -> None:
        if same_human(who.email, approval.human):
            raise NotAllowed("you are the one behind this request: somebody else decides", approval_id=approval.id)
        if approval.requirement.group not in who.groups:
            raise NotAllowed(f"only the group {approval.requirement.group!r} decides this", approval_id=approval.id)

    def _count(self, tx: Transaction, a: Approval, who: Person, verdict: Ballot) -> Approval:
        if verdict != "approve":
            return record.transition(tx, self._vault, a, _VERDICT_STATE[verdict], by=who.email)
        if quorum.missing(tx, self._vault, a):
            return a
        a = record.transition(tx, self._vault, a, "APPROVED", by=who.email)
        return self._carry_out(tx, a) if a.subject == "change" else a

    def _carry_out(self, tx: Transaction, a: Approval) -> Approval:
        """An approved change takes effect in the unit of work of the vote that approved it."""
        change = identity.decode(record.egress(tx, self._vault, a).body)
        a = record.transition(tx, self._vault, a, "EXECUTING", by="guard")
        proposer = a.human or a.principal
        try:
            identity.apply(tx, self._vault, a.tenant, change, identity.Cause(proposer, approval=a.id))
        except LLMGuardError as e:  # it raises before it writes
            return record.transition(tx, self._vault, a, "FAILED", by="guard", why=type(e).__name__)
        return record.transition(tx, self._vault, a, "EXECUTED", by="guard")

    def cancel(self, tx: Transaction, tenant: str, id_: str, person: Person) -> Approval:
        """The human behind a request withdraws it. Raises NotAllowed for anybody else."""
        approval, who = self._ballot(tx, tenant, id_, person)
        if not same_human(who.email, approval.human):
            raise NotAllowed("only the human behind a request cancels it; reviewers deny or revoke", approval_id=id_)
        return record.transition(tx, self._vault, approval, "CANCELLED", by=who.email)

    def revoke(self, tx: Transaction, tenant: str, id_: str, person: Person) -> Approval:
        """A reviewer of the group takes an approval back that was not spent yet."""
        approval, who = self._ballot(tx, tenant, id_, person)
        self._eligible(approval, who)
        return record.transition(tx, self._vault, approval, "REVOKED", by=who.email)

    # ----------------------------------------------------------------- looking

    def get(self, tx: Transaction, tenant: str, id_: str) -> Approval:
        """Raises NotFound, or GuardUnavailable if the row was altered in the database."""
        return record.load(tx, self._vault, tenant, id_)

    def may_see(self, approval: Approval, person: Person) -> bool:
        """Reviewers of the group, and the human behind the request."""
        return person.tenant == approval.tenant and (
            approval.requirement.group in person.groups or same_human(person.email, approval.human)
        )

    def list(
        self,
        tx: Transaction,
        tenant: str,
        *,
        person: Person | None = None,
        state: str | None = None,
        cursor: str | None = None,
        prefix: str = "",
        limit: int = 50,
    ) -> tuple[tuple[Approval, ...], str | None]:
        """Newest first, and the next page's cursor. ``person``: only what that one may see. Leaves out altered rows."""
        sql = ["SELECT * FROM approvals WHERE tenant = ? AND id < ? AND id >= ? AND id < ?"]
        params: list[Any] = [tenant, cursor or "~", prefix.upper(), prefix.upper() + "~"]
        if state is not None:
            sql.append("AND state = ?")
            params.append(state)
        if person is not None:
            groups = ", ".join("?" * len(person.groups))
            sql.append(f"AND (human = ? OR json_extract(requirement, '$.group') IN ({groups}))")
            params += [person.email, *person.groups]
        sql.append("ORDER BY id DESC LIMIT ?")
        rows = tx.all(" ".join(sql), *params, limit + 1)
        page = [record.from_row(tx, self._vault, r) for r in rows[:limit] if record.genuine(self._vault, r)]
        return tuple(page), rows[limit - 1]["id"] if len(rows) > limit else None

    def egress(self, tx: Transaction, approval: Approval) -> Egress:
        """What would leave, redacted as it is."""
        return record.egress(tx, self._vault, approval)

    def missing(self, tx: Transaction, approval: Approval) -> int:
        """How many approvals are still wanting."""
        return quorum.missing(tx, self._vault, approval)

    def supporters(self, tx: Transaction, approval: Approval) -> tuple[str, ...]:
        """Whose approval counts at this moment."""
        return quorum.supporters(tx, self._vault, approval, approval.requirement.group)

    def payload(self, tx: Transaction, tenant: str, id_: str, *, by: Person) -> tuple[Egress, bytes]:
        """What would leave and what was written, raw. That somebody looked is in the log. Raises NotAllowed."""
        approval = record.load(tx, self._vault, tenant, id_)
        if not self.may_see(approval, by):
            raise NotFound("there is no such approval: llmguard approvals list shows them")
        content, written = record.egress(tx, self._vault, approval), record.original(tx, self._vault, approval)
        record.log(tx, self._vault, approval, "approval.raw_view", {"by": by.email})
        return content, written
