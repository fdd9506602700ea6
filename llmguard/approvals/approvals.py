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
from llmguard.approvals import changes, exceptions, listing, quorum, record, rules, standing
from llmguard.approvals.changes import Change
from llmguard.approvals.listing import Filter
from llmguard.approvals.outcomes import OUTCOMES, TICKET
from llmguard.approvals.owners import gone
from llmguard.approvals.rules import PolicyChange
from llmguard.approvals.states import JOINED, MAX_RETURNS, TOLD, TOLD_MS, WAITING
from llmguard.errors import (
    AlreadyExecuted,
    Conflict,
    GuardUnavailable,
    InvalidRequest,
    LLMGuardError,
    LoginTooOld,
    NotAllowed,
    NotFound,
)
from llmguard.identity import KeyChange, Person, PersonChange, same_human
from llmguard.model import (
    Answer,
    Approval,
    Decision,
    Egress,
    Hold,
    Payload,
    Principal,
    Requirement,
    State,
    VaultEntry,
    Vote,
    in_memory,
    new_id,
)
from llmguard.store import Transaction, placeholders
from llmguard.vault import Vault

REPORT_MS = 30 * 86400 * 1000
"""How long the report of an executed action is kept."""
MAX_REASON = 2000
MAX_PROPOSAL = 256 * 1024
LEAST_REASON = 10
"""Characters that an emergency is explained in, at least."""
REVIEW_DAYS = 7
SWEEP = 500
"""Approvals that one unit of work moves by time, so that nobody waits long for it."""
MAX_FORMER = 50
"""Former revisions whose placeholders are known."""
Ballot = Literal["approve", "deny", "request_changes", "break_glass"]
_VERDICT_STATE: dict[Ballot, State] = {"deny": "DENIED", "request_changes": "CHANGES_REQUESTED"}


class Approvals:
    """The approvals of one installation. ``url``: base of links; ``advisory``: requesters could write the database.

    ``max_waiting`` approvals of ``max_waiting_bytes`` may wait for one principal; for ``replay_window`` seconds an
    answer is kept for retries. Without ``secret_exceptions``, nothing is spent that was held under one for a secret.
    """

    def __init__(
        self,
        vault: Vault,
        *,
        advisory: bool = False,
        url: str | None = None,
        max_waiting: int = 200,
        max_waiting_bytes: int = 256 * 1024 * 1024,
        replay_window: float = 600,
        secret_exceptions: bool = True,
    ) -> None:
        self._vault = vault
        self._advisory = advisory
        self._url = url.rstrip("/") if url else None
        self._max_waiting = max_waiting
        self._max_bytes = max_waiting_bytes
        self._replay_ms = int(replay_window * 1000)
        self._secret_exceptions = secret_exceptions

    @property
    def vault(self) -> Vault:
        return self._vault

    # ----------------------------------------------------------------- asking

    def hold(self, tx: Transaction, hold: Hold) -> Approval:
        """Joins the newest approval of the same request, or asks anew. A standing grant that covers it approves it.

        Raises ApprovalImpossible if too few people could vote, GuardUnavailable if the principal's queue is full,
        NotFound or Conflict if what it ``revises`` is not a request of the same caller whose changes were asked for.
        """
        joined = self._joined(tx, hold)
        if joined is not None and joined.id != hold.revises:
            return self.review(tx, joined.tenant, joined.id, hold.decision)
        former = self._revised(tx, hold)
        approval = self._new(tx, hold, former)
        if not approval.standing:
            need, human = approval.requirement, approval.human
            quorum.ensure_possible(tx, self._vault, approval.tenant, need, human, approval.excluded)
        self._store(tx, approval, hold)
        if former is not None:
            self._superseded(tx, former, approval, hold)
        return self._granted(tx, approval) if approval.standing else approval

    def _superseded(self, tx: Transaction, former: Approval, approval: Approval, hold: Hold) -> None:
        """A revision took its place; where people decided of its records, the log of both says of how many."""
        if not hold.decided_by:
            record.transition(tx, self._vault, former, "SUPERSEDED", by=approval.principal)
            return
        counts = {name: hold.report.get("met", {}).get(name, 0) for name in ("keep", "drop")}
        words = f"{counts['keep']:,} kept as written, {counts['drop']:,} dropped"
        for one in (former, approval):
            record.log(tx, self._vault, one, "approval.records", {"by": hold.decided_by, **counts, "why": words})
        record.transition(tx, self._vault, former, "SUPERSEDED", by=hold.decided_by, why="records were decided")

    def _store(self, tx: Transaction, approval: Approval, hold: Hold) -> None:
        size = sum(len(p) for p in (hold.egress.body, hold.original) if isinstance(p, bytes))
        self._room(tx, approval, size)
        record.seal(tx, self._vault, approval, hold, secrets.token_bytes(32))
        record.insert(tx, self._vault, approval, size)
        scope = f"approval:{approval.id}"
        placeholders.grant(tx, hold.principal, [replace(g, scope=scope) for g in hold.grants])
        record.log(tx, self._vault, approval, "approval.held", _held(approval))

    def _granted(self, tx: Transaction, approval: Approval) -> Approval:
        """Approved in advance, where the votes on its grant are what its own rule wants; else it waits as any other."""
        if quorum.wanting(tx, self._vault, approval):
            need, human = approval.requirement, approval.human
            quorum.ensure_possible(tx, self._vault, approval.tenant, need, human, approval.excluded)
            return approval
        why = f"standing grant {approval.standing}"
        return record.transition(tx, self._vault, approval, "APPROVED", by="guard", why=why)

    def _joined(self, tx: Transaction, hold: Hold) -> Approval | None:
        """Open ones of the same request, and those that ended a moment ago, so that a retry learns how."""
        row = tx.one(
            "SELECT * FROM approvals WHERE tenant = ? AND principal = ? AND request_key = ?"
            " ORDER BY created DESC, state IN ('PENDING', 'APPROVED', 'CHANGES_REQUESTED', 'EXECUTING') DESC, id DESC"
            " LIMIT 1",
            *(hold.principal.tenant, hold.principal.id, hold.request_key),
        )
        if row is None:
            return None
        approval = record.from_row(tx, self._vault, row)
        told = TOLD_MS + (self._replay_ms if approval.state == "EXECUTED" else 0)
        recent = approval.state in TOLD and approval.updated > tx.now - told
        return approval if approval.state in JOINED or recent else None

    def _revised(self, tx: Transaction, hold: Hold) -> Approval | None:
        """The approval that a request takes the place of. Raises NotFound or Conflict."""
        if not hold.revises:
            return None
        former = self.review(tx, hold.principal.tenant, hold.revises)
        if former.principal != hold.principal.id or former.operation != hold.operation:
            raise NotFound("only the same caller's request of the same operation can be revised", approval_id=former.id)
        if former.state != ("PENDING" if hold.decided_by else "CHANGES_REQUESTED"):
            word = "nothing is left to decide" if hold.decided_by else "no changes were asked for"
            raise Conflict(f"{word}: this approval is {former.state}", approval_id=former.id)
        return former

    def _new(self, tx: Transaction, hold: Hold, former: Approval | None) -> Approval:
        requirement = quorum.required(hold.decision.requirement, hold.principal.human)
        approval = Approval(
            id=new_id(tx.now),
            tenant=hold.principal.tenant,
            state="PENDING",
            version=1,
            subject=hold.subject,
            kind=hold.kind,
            operation=hold.operation,
            destination=hold.egress.destination,
            principal=hold.principal.id,
            human=hold.principal.human,
            excluded=hold.excluded,
            request_key=hold.request_key,
            egress_digest=hold.egress.digest(),
            policy_version=hold.decision.policy_version,
            rule=hold.decision.rule,
            requirement=requirement,
            risk=hold.risk,
            findings=hold.findings,
            unscanned=hold.unscanned,
            advisory=self._advisory,
            call=hold.call,
            revises=former.id if former else "",
            revision=former.revision + 1 if former else 1,
            standing="",
            exceptions=hold.exceptions,
            escalated=None,
            created=tx.now,
            expires=tx.now + requirement.expires_in * 1000,
            updated=tx.now,
        )
        return replace(approval, standing=standing.find(tx, self._vault, approval))

    def _room(self, tx: Transaction, approval: Approval, size: int) -> None:
        row = tx.one(
            "SELECT count(*) AS n, coalesce(sum(size), 0) AS size FROM approvals"
            " WHERE tenant = ? AND principal = ? AND state IN ('PENDING', 'APPROVED', 'CHANGES_REQUESTED')",
            approval.tenant,
            approval.principal,
        )
        if row is not None and (row["n"] >= self._max_waiting or row["size"] + size > self._max_bytes):
            raise GuardUnavailable(
                "too much of this caller waits for approval already: decide or cancel some of it first"
            )

    def propose(
        self,
        tx: Transaction,
        person: Person,
        change: Change,
        human: str | None = None,
        written: bytes | None = None,
        summary: str = "",
    ) -> Approval | None:
        """What a person asks to change: None if it took effect at once, else its approval.

        Deactivating oneself and a key for oneself need nobody; everything else needs somebody else. ``human``: who is
        accountable for a principal that gains by it. ``written``: what its reviewers are shown raw, where they ask.
        ``summary``: what it would do, in a sentence of ours.
        """
        if isinstance(change, KeyChange | PersonChange) and changes.alone(tx, self._vault, person, change):
            identity.apply(tx, self._vault, person.tenant, change, identity.Cause(person.email))
            return None
        if isinstance(change, PolicyChange):
            rules.parsed(change.source)
        return self.hold(tx, changes.asked(self._vault, person, change, human, written, summary))

    # ----------------------------------------------------------------- what it is worth

    def review(self, tx: Transaction, tenant: str, id_: str, decision: Decision | None = None) -> Approval:
        """The approval as it stands at this moment: expired, quorum lost or decided more strictly is written down."""
        return self._review(tx, record.load(tx, self._vault, tenant, id_), decision, None)

    def _review(self, tx: Transaction, a: Approval, decision: Decision | None, human: str | None) -> Approval:
        if a.state == "EXECUTING" and gone(a.owner):
            return record.transition(tx, self._vault, a, "INDETERMINATE", by="guard", why="its process is gone")
        if a.state in WAITING and a.exceptions and not self._still_excepted(tx, a):
            why = "an exception is over under which something in it was no finding"
            return record.transition(tx, self._vault, a, "EXPIRED", by="guard", why=why)
        if a.state == "APPROVED" and a.expires > tx.now:
            a = self._still_approved(tx, a, decision, human)
        if a.state in WAITING and a.expires <= tx.now:  # also what is reopened when the time to decide is over
            return record.transition(tx, self._vault, a, "EXPIRED", by="guard")
        if a.state == "PENDING" and decision is not None and decision.verdict == "block":
            return record.transition(
                tx, self._vault, a, "DENIED", by="guard", stricter=decision, why="policy blocks it now"
            )
        return a

    def _still_excepted(self, tx: Transaction, a: Approval) -> bool:
        return exceptions.still(tx, self._vault, a.tenant, a.exceptions, secrets=self._secret_exceptions)

    def _still_approved(self, tx: Transaction, a: Approval, decision: Decision | None, human: str | None) -> Approval:
        if decision is not None and decision.verdict == "block":
            return record.transition(tx, self._vault, a, "PENDING", by="guard", why="policy blocks it now")
        needed = quorum.stricter(a, decision) if decision is not None else a.requirement
        if not quorum.wanting(tx, self._vault, a, needed, human):
            return a
        changed = replace(decision, requirement=needed) if decision is not None and needed != a.requirement else None
        return record.transition(tx, self._vault, a, "PENDING", by="guard", stricter=changed, why="quorum lost")

    def outcome(self, approval: Approval, *, ticket: bool = False) -> None:
        """Returns if the approval may be claimed, else raises what its caller is told: with a ``ticket`` or without."""
        if approval.state != "APPROVED":
            error, message = TICKET if ticket and approval.state == "PENDING" else OUTCOMES[approval.state]
            raise error(message, approval_id=approval.id, approval_url=self.link(approval))

    def justification(self, tx: Transaction, approval: Approval) -> str:
        """Why the caller asks, redacted; "" if it did not say, or once it is erased."""
        try:
            return record.justification(tx, self._vault, approval)
        except NotFound:
            return ""

    def link(self, approval: Approval) -> str | None:
        return f"{self._url}/inbox/approvals/{approval.id}" if self._url else None

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
        if approval.state != "EXECUTING":  # else what waits for people would become APPROVED by an outcome
            raise Conflict(f"an approval that is {approval.state} has no outcome", approval_id=approval.id)
        if answer and state == "EXECUTED" and (kept := self._kept(approval, answer)):
            record.wipe_answers(tx)  # in a process that never sweeps, too
            record.keep_answer(tx, self._vault, approval, answer, tx.now + kept)
        return record.transition(tx, self._vault, approval, state, by="guard")

    def _kept(self, approval: Approval, answer: Answer) -> int:
        """Milliseconds: an action's report is for its reviewers, a provider's answer for retries."""
        if approval.subject == "action":
            return REPORT_MS
        return self._replay_ms if answer.status // 100 == 2 else 0

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
        """Does what time does: expires, reminds, escalates; gives up executions whose process is gone; wipes answers.

        Skips altered rows. Returns how many approvals changed, at most ``SWEEP``: call again if it is that many.
        """
        due = tx.all(
            "SELECT * FROM approvals WHERE state IN ('PENDING', 'APPROVED', 'CHANGES_REQUESTED') AND due <= ?"
            " ORDER BY due LIMIT ?",
            *(tx.now, SWEEP),
        )
        running = tx.all("SELECT * FROM approvals WHERE state = 'EXECUTING'")
        dead = {owner for owner in {row["owner"] for row in running} if gone(owner)}
        due += [row for row in running if row["owner"] in dead][:SWEEP]
        moved = sum(self._by_time(tx, row) for row in due if record.genuine(self._vault, row))
        record.wipe_answers(tx)
        identity.forget_expired(tx)
        return moved

    def _by_time(self, tx: Transaction, row: Any) -> bool:
        a = self._review(tx, record.from_row(tx, self._vault, row), None, None)
        if a.state == "PENDING":
            self._press(tx, a, row["reminded"])
        elif a.state in WAITING:
            record.put_off(tx, a, row["reminded"])
        return True

    def _press(self, tx: Transaction, a: Approval, reminded: int) -> None:
        """An approval that waits too long: more people may decide it, or the same are told again."""
        need, waited = a.requirement, (tx.now - a.created) // 1000
        if need.escalate_to and a.escalated is None and waited >= need.escalate_after:
            a = record.escalate(tx, self._vault, a)
        if need.remind_after and waited // need.remind_after > reminded:
            record.remind(tx, a, waited // need.remind_after)
        else:
            record.put_off(tx, a, reminded)

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
        *,
        proposal: bytes | None = None,
        authenticated: int = 0,
    ) -> Approval:
        """Casts one person's vote on the egress of ``digest``, the one that was shown. ``version``: only if it is that.

        ``proposal``: what whoever requests changes would approve instead. ``authenticated``: when the person logged in
        (UTC ms). Raises NotFound, NotAllowed, Conflict, InvalidRequest.
        """
        _well_formed(verdict, reason, proposal)
        approval, who = self._ballot(tx, tenant, id_, person)
        self._eligible(tx, approval, who, verdict, authenticated)
        if version is not None and version != approval.version:
            raise Conflict("the approval has changed since it was shown: look at it again", approval_id=id_)
        if approval.state != "PENDING":
            raise Conflict(f"this approval is {approval.state}: nothing is left to vote on", approval_id=id_)
        if not hmac.compare_digest(digest.encode(), approval.egress_digest.encode()):
            raise Conflict("the vote is for other bytes than these: look at the approval again", approval_id=id_)
        vote = Vote(who.email, verdict, reason, approval.egress_digest, tx.now, authenticated, "")
        record.cast_vote(tx, self._vault, approval, vote)
        if proposal is not None:
            record.propose(tx, self._vault, approval, proposal)
        return self._count(tx, record.load(tx, self._vault, tenant, id_), who, verdict)

    def _ballot(self, tx: Transaction, tenant: str, id_: str, person: Person) -> tuple[Approval, Person]:
        if person.tenant != tenant:
            raise NotFound("there is no such approval: llmguard approvals list shows them")
        who = identity.active_person(tx, self._vault, tenant, person.email)
        if who is None:
            raise NotAllowed("this person is not active, or the entry was altered in the database")
        return self.review(tx, tenant, id_), who

    def _eligible(self, tx: Transaction, a: Approval, who: Person, verdict: str, authenticated: int) -> None:
        if any(same_human(who.email, barred) for barred in a.barred):
            words = "you are behind this request, gain by it, or kept records of it as written: somebody else decides"
            raise NotAllowed(words, approval_id=a.id)
        need, last_resort = a.requirement, a.requirement.break_glass
        if verdict == "break_glass":
            if not last_resort or last_resort not in who.groups:
                raise NotAllowed("the rule names no group of yours for emergencies: break_glass", approval_id=a.id)
        elif not quorum.may_vote(tx, self._vault, a, who):
            groups = ", ".join(repr(name) for name, _ in need.groups)
            raise NotAllowed(f"only the groups {groups} decide this", approval_id=a.id)
        if need.fresh and verdict in ("approve", "break_glass") and tx.now - authenticated > need.fresh * 1000:
            raise LoginTooOld(f"this needs a login of the last {need.fresh} seconds: llmguard login", approval_id=a.id)

    def _count(self, tx: Transaction, a: Approval, who: Person, verdict: Ballot) -> Approval:
        if verdict in _VERDICT_STATE:
            return record.transition(tx, self._vault, a, _VERDICT_STATE[verdict], by=who.email)
        if verdict == "approve" and quorum.missing(tx, self._vault, a):
            record.announce(tx, a, "approval.vote")
            return a
        a = record.transition(tx, self._vault, a, "APPROVED", by=who.email, why=_why(verdict))
        if verdict == "break_glass":
            self._alert(tx, a, who)
        return self._carry_out(tx, a) if a.subject in ("change", "review") else a

    def _alert(self, tx: Transaction, a: Approval, who: Person) -> None:
        """What one person let through is told to everybody at once, and looked at afterwards by the others."""
        record.log(tx, self._vault, a, "approval.break_glass", {"by": who.email})
        record.announce(tx, a, "approval.break_glass")
        body = record.compact({"approval": a.id, "digest": a.egress_digest, "let_through_by": who.email}).encode()
        principal = Principal(f"person:{who.email}", a.tenant, "human", who.email, who.email)
        need = Requirement(a.requirement.groups, expires_in=REVIEW_DAYS * 86400, remind_after=86400)
        hold = Hold(
            principal=principal,
            subject="review",
            operation=f"review.{a.operation}",
            request_key=self._vault.request_key(a.tenant, [b"review", a.id.encode()]),
            egress=Egress("llmguard", "", a.tenant, "REVIEW", (), body),
            original=body,
            decision=Decision("require_approval", a.rule, a.policy_version, "an emergency is reviewed", need),
            risk=a.risk,
            findings=a.findings,
            kind=a.kind,
            unscanned=a.unscanned,
            excluded=a.barred,
        )
        self._store(tx, self._new(tx, hold, None), hold)

    def _carry_out(self, tx: Transaction, a: Approval) -> Approval:
        """An approved change takes effect in the unit of work of the vote that approved it; a review is done with."""
        content = in_memory(record.egress(tx, self._vault, a).body)
        a = record.transition(tx, self._vault, a, "EXECUTING", by="guard")
        try:
            if a.subject == "change":
                changes.carry_out(tx, self._vault, a, changes.decode(content))
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
        self._eligible(tx, approval, who, "revoke", 0)
        return record.transition(tx, self._vault, approval, "REVOKED", by=who.email)

    # ----------------------------------------------------------------- looking

    def get(self, tx: Transaction, tenant: str, id_: str) -> Approval:
        """Raises NotFound, or GuardUnavailable if the row was altered in the database."""
        return record.load(tx, self._vault, tenant, id_)

    def may_see(self, tx: Transaction, approval: Approval, person: Person) -> bool:
        """People of the groups that may come to decide, also in another's place; and the human behind the request."""
        if person.tenant != approval.tenant:
            return False
        if same_human(person.email, approval.human):
            return True
        return bool(self._sight(tx, person) & set(approval.requirement.audience))

    def _sight(self, tx: Transaction, person: Person) -> frozenset[str]:
        return quorum.voice(tx, self._vault, person, frozenset()).groups

    def list(
        self, tx: Transaction, tenant: str, *, person: Person | None = None, mine: bool = False, **wanted: Any
    ) -> tuple[tuple[Approval, ...], str | None]:
        """Newest first, and the next page's cursor. Leaves out altered rows. ``wanted``: the fields of ``Filter``.

        ``person``: only what that one may see; with ``mine``, only what that one is behind.
        """
        names = None
        if person is not None:
            names = (record.person_mark(person.email), *(() if mine else sorted(self._sight(tx, person))))
        return listing.page(tx, self._vault, tenant, names, Filter(**wanted))

    def waiting(self, tx: Transaction, person: Person, **wanted: Any) -> tuple[tuple[Approval, ...], str | None]:
        """The same of what waits for this person's vote."""
        groups = self._sight(tx, person)
        found, cursor = listing.waiting(tx, self._vault, person.tenant, person.email, groups, Filter(**wanted))
        return tuple(a for a in found if self.may_vote(tx, a, person)), cursor

    def count_waiting(self, tx: Transaction, person: Person) -> int:
        """How many those are, up to ``listing.MOST_COUNTED``."""
        return listing.count_waiting(tx, person.tenant, person.email, self._sight(tx, person))

    def egress(self, tx: Transaction, approval: Approval) -> Egress:
        """What would leave, redacted as it is."""
        return record.egress(tx, self._vault, approval)

    def missing(self, tx: Transaction, approval: Approval) -> dict[str, int]:
        """How many people of which group are still wanting."""
        return quorum.missing(tx, self._vault, approval)

    def supporters(self, tx: Transaction, approval: Approval) -> tuple[str, ...]:
        """Whose approval counts at this moment."""
        return tuple(v.email for v in quorum.supporters(tx, self._vault, approval))

    def may_vote(self, tx: Transaction, approval: Approval, person: Person) -> bool:
        """Whether this person's vote could count at this moment."""
        return approval.state == "PENDING" and quorum.may_vote(tx, self._vault, approval, person)

    def may_revoke(self, tx: Transaction, approval: Approval, person: Person) -> bool:
        """Whether this person could take an approval back that was not spent."""
        return approval.state == "APPROVED" and quorum.may_vote(tx, self._vault, approval, person)

    def may_break_glass(self, approval: Approval, person: Person) -> bool:
        """Whether the rule lets this person decide alone in an emergency."""
        own = any(same_human(person.email, barred) for barred in approval.barred)
        last_resort = approval.requirement.break_glass
        return approval.state == "PENDING" and not own and bool(last_resort) and last_resort in person.groups

    def successor(self, tx: Transaction, approval: Approval) -> str:
        """The id of the revision that took an approval's place, or ""."""
        return record.successor(tx, approval.tenant, approval.id)

    def revisable(self, tx: Transaction, person: Person, id_: str, digest: str) -> tuple[Approval, Egress]:
        """A call that this person may put another body in the place of, and what it was. ``digest``: what was shown.

        Raises NotFound, NotAllowed or Conflict.
        """
        approval, who = self._ballot(tx, person.tenant, id_, person)
        if not self.may_see(tx, approval, who):
            raise NotFound("there is no such approval: llmguard approvals list shows them")
        if approval.subject != "call" or not same_human(who.email, approval.human):
            raise NotAllowed("only the human behind a held call revises it; actions and changes are asked anew")
        if approval.state != "CHANGES_REQUESTED":
            raise Conflict(f"no changes were asked for: this approval is {approval.state}", approval_id=id_)
        if not hmac.compare_digest(digest.encode(), approval.egress_digest.encode()):
            raise Conflict("this revises other bytes than these: look at the approval again", approval_id=id_)
        return approval, record.egress(tx, self._vault, approval)

    def proposal(self, tx: Transaction, tenant: str, id_: str, principal: Principal) -> bytes | None:
        """What a reviewer would approve instead, for the caller himself. Raises NotFound for anybody else's."""
        approval = record.load(tx, self._vault, tenant, id_)
        if (principal.tenant, principal.id) != (tenant, approval.principal):
            raise NotFound("there is no such approval of this caller")
        return record.proposal(tx, self._vault, approval)

    def value(self, tx: Transaction, approval: Approval, placeholder: str) -> VaultEntry:
        """What stands behind a placeholder of a held call. Raises NotFound."""
        caller = Principal(approval.principal, approval.tenant, "human", "", approval.human)
        for entry in placeholders.granted(tx, self._vault, caller, [f"approval:{approval.id}"]):
            if entry.placeholder.strip("[]") == placeholder.strip().strip("[]"):
                return entry
        raise NotFound("there is no such placeholder in this call: copy it from llmguard approvals show")

    def placeholders(self, tx: Transaction, approval: Approval) -> dict[str, str]:
        """Placeholder → type of those that the guard put into a held call, or into what it is a revision of."""
        ids, at = [approval.id], approval
        while at.revises and len(ids) < MAX_FORMER:
            ids.append(at.revises)
            try:
                at = record.load(tx, self._vault, approval.tenant, at.revises)
            except NotFound:
                break
        return placeholders.issued(tx, approval.tenant, approval.principal, approval.human, ids)

    def because(self, tx: Transaction, approval: Approval) -> dict[str, str] | None:
        """What the rule says that holds it: its reason, and its condition. None where no policy of ours has it."""
        return rules.words(tx, self._vault, approval.tenant, approval.policy_version, approval.rule)

    def compared(self, tx: Transaction, tenant: str, content: Egress) -> tuple[bytes | None, bytes]:
        """What is in force of what a change is about, if there is such a thing, and what it would be."""
        return changes.compared(tx, self._vault, tenant, changes.decode(in_memory(content.body)))

    def report(self, tx: Transaction, approval: Approval) -> Answer | None:
        """What an executed action says of itself, for those who may see it; a provider's answer is its caller's."""
        return record.answer(tx, self._vault, approval) if approval.subject == "action" else None

    def payload(self, tx: Transaction, tenant: str, id_: str, *, by: Person) -> tuple[Egress, Payload]:
        """What would leave and what was written, raw. That somebody looked is in the log. Raises NotAllowed."""
        approval = record.load(tx, self._vault, tenant, id_)
        if not self.may_see(tx, approval, by):
            raise NotFound("there is no such approval: llmguard approvals list shows them")
        content, written = record.egress(tx, self._vault, approval), record.original(tx, self._vault, approval)
        record.log(tx, self._vault, approval, "approval.raw_view", {"by": by.email})
        return content, written


def _held(approval: Approval) -> dict[str, Any]:
    """What the log says of a new approval: who, what, where to, why, and what it needs. Never text."""
    return {
        "principal": approval.principal,
        "human": approval.human,
        "excluded": list(approval.excluded),
        "call": approval.call,
        "subject": approval.subject,
        "kind": approval.kind,
        "operation": approval.operation,
        "destination": approval.destination,
        "rule": approval.rule,
        "policy_version": approval.policy_version,
        "requirement": record.needs(approval.requirement),
        "expires": approval.expires,
        "risk": {"inherent": approval.risk.inherent, "residual": approval.risk.residual},
        "findings": dict(approval.findings),
        "unscanned": list(approval.unscanned),
        "revises": approval.revises,
        "revision": approval.revision,
        "standing": approval.standing,
        "exceptions": list(approval.exceptions),
        "advisory": approval.advisory,
    }


def _well_formed(verdict: str, reason: str, proposal: bytes | None) -> None:
    """Raises InvalidRequest."""
    if verdict not in get_args(Ballot) or len(reason) > MAX_REASON:
        raise InvalidRequest(f"a vote is {', '.join(get_args(Ballot))}, with a reason of up to {MAX_REASON} characters")
    if verdict == "break_glass" and len(reason.strip()) < LEAST_REASON:
        raise InvalidRequest(f"an emergency needs its reason, in {LEAST_REASON} characters at least")
    if proposal is not None and (verdict != "request_changes" or len(proposal) > MAX_PROPOSAL):
        raise InvalidRequest(f"a proposal comes with request_changes, and has at most {MAX_PROPOSAL} bytes")


def _why(verdict: str) -> str:
    return "break glass" if verdict == "break_glass" else ""
