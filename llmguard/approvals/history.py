"""History: what kept calls and the decisions of people say, for replays and suggestions. It reads, and never writes.

Its figures decide nothing. Approvals and exceptions that were altered in the database are left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

from llmguard.approvals import exceptions, quorum, record, rules
from llmguard.model import Approval, Requirement, new_id
from llmguard.policy import Policy
from llmguard.policy.replay import CHANGED, EFFECTS, Report, replay
from llmguard.policy.suggest import Evidence, Outcome, Suggestion, Use, Wrong, suggest, uses
from llmguard.store import Transaction, calls
from llmguard.vault import Vault

WEEK_MS = 7 * 86_400_000
ASSUMED = 300.0
"""Seconds that a decision is taken to need where fewer than ``ENOUGH`` were timed. A guess of ours."""
ENOUGH = 10
PROPOSED = 20_000
"""The newest calls that the replay of a proposal and suggestions look at."""
OUTCOMES = 2000
"""The newest approvals that suggestions look at."""
_TIMED = 1000
_APPROVED = ("APPROVED", "EXECUTING", "EXECUTED", "FAILED", "INDETERMINATE")


@dataclass(frozen=True, slots=True)
class Reviewing:
    """What deciding costs here. ``seconds``: the median from a hold to a vote on it, over ``votes`` votes, else what is
    ``assumed``. ``held``: calls that were held, retries too; ``approvals``: what they came to for people.
    """

    seconds: float
    votes: int
    assumed: bool
    held: int
    approvals: int

    def minutes(self, people: int) -> float:
        """For calls that need so many votes in all, if they are sent again as often as those before."""
        share = min(1.0, self.approvals / self.held) if self.held and self.approvals else 1.0
        return people * share * self.seconds / 60


@dataclass(frozen=True, slots=True)
class Advice:
    """Suggestions, and what they are made from. ``first``, ``last``: when its calls came (UTC ms)."""

    first: int
    last: int
    calls: int
    approvals: int
    exceptions: int
    suggestions: tuple[Suggestion, ...]
    types: tuple[Use, ...]


def begins(moment: int) -> str:
    """An id that is smaller than all that are made from a moment (UTC ms) on."""
    return f"{new_id(max(0, moment))[:10]}{'0' * 16}"


def needs(requirement: Requirement, human: str) -> int:
    """How many people decide on a call with such a human behind it."""
    return quorum.required(requirement, human or None).quorum


def reviewing(tx: Transaction, tenant: str, since: int) -> Reviewing:
    """How long decisions took since a moment, the newest 1,000 of them, and how many of the newest calls were held and
    came to how many approvals."""
    after = begins(since)
    sql = (
        "SELECT v.time - a.created AS taken FROM votes v JOIN approvals a ON a.tenant = v.tenant AND a.id = v.approval"
        " WHERE v.tenant = ? AND v.approval > ? AND a.subject IN ('call', 'action') ORDER BY v.approval DESC LIMIT ?"
    )
    taken = [max(0, row["taken"]) / 1000 for row in tx.all(sql, tenant, after, _TIMED)]
    after = max(after, calls.newest(tx, tenant, PROPOSED))
    held = "SELECT count(*) AS n FROM calls WHERE tenant = ? AND id > ? AND verdict = 'require_approval'"
    asked = "SELECT count(*) AS n FROM approvals WHERE tenant = ? AND id > ? AND subject IN ('call', 'action')"
    counts = [tx.one(sql, tenant, after) for sql in (held, asked)]
    n = [int(row["n"]) if row else 0 for row in counts]
    known = len(taken) >= ENOUGH
    return Reviewing(median(taken) if known else ASSUMED, len(taken), not known, n[0], n[1])


def at_a_glance(tx: Transaction, vault: Vault, tenant: str, new: Policy) -> str:
    """One sentence for the reviewers of a proposed policy: what it would have changed of the newest calls of a week."""
    source = rules.in_force(tx, vault, tenant)
    if source is None:
        return ""
    after = max(begins(tx.now - WEEK_MS), calls.newest(tx, tenant, PROPOSED))
    return told(replay(_from(tx, tenant, after), rules.parsed(source), new, needs))


def told(report: Report) -> str:
    """A replay in one sentence."""
    if not report.calls:
        return "no call of the last 7 days is kept: what it would have changed is not known"
    changed = [f"{n:,} {EFFECTS[what]}" for what, n in report.effects.items() if what in CHANGED]
    days = max(1, -(-(report.last - report.first) // 86_400_000))
    over = (
        f"of {report.calls:,} calls of the last {days} days: " if days > 1 else f"of {report.calls:,} calls of a day: "
    )
    return over + (", ".join(changed) or "none is decided otherwise")


def _from(tx: Transaction, tenant: str, after: str) -> Iterator[calls.Kept]:
    while page := calls.page(tx, tenant, after):
        yield from page
        after = page[-1].id


# --------------------------------------------------------------------------- suggestions


def advice(tx: Transaction, vault: Vault, tenant: str, policy: Policy, since: int) -> Advice:
    """What the time since a moment suggests for ``policy``: of the newest calls and approvals, a bounded number."""
    after = begins(since)
    counted = _Counted(policy)
    types = uses(counted.each(_from(tx, tenant, max(after, calls.newest(tx, tenant, PROPOSED)))))
    found = _approvals(tx, vault, tenant, after)
    wrong = [e for e in exceptions.of(tx, vault, tenant, limit=exceptions.MOST)[0] if e.created >= since]
    evidence = Evidence(
        counted.calls, [_outcome(a) for a in found], _wrong(wrong), types, counted.tried, counted.shadow
    )
    suggestions = suggest(policy, evidence)
    return Advice(counted.first, counted.last, counted.calls, len(found), len(wrong), suggestions, types)


class _Counted:
    """Counts calls as they pass."""

    def __init__(self, policy: Policy) -> None:
        self._version = policy.version
        self.calls = self.tried = self.first = self.last = 0
        self.shadow: dict[str, Counter[str]] = {}

    def each(self, kept: Iterator[calls.Kept]) -> Iterator[calls.Kept]:
        for call in kept:
            self.calls += 1
            self.first, self.last = self.first or call.facts.received, call.facts.received
            if call.policy == self._version:
                self.tried += 1
                for rule, would in call.shadow:
                    self.shadow.setdefault(rule, Counter())[would] += 1
            yield call


def _approvals(tx: Transaction, vault: Vault, tenant: str, after: str) -> tuple[Approval, ...]:
    sql = "SELECT * FROM approvals WHERE tenant = ? AND id > ? AND subject = 'call' ORDER BY id DESC LIMIT ?"
    return record.from_rows(tx, vault, tenant, tx.all(sql, tenant, after, OUTCOMES))


def _outcome(a: Approval) -> Outcome:
    by_people = bool(a.votes) and not a.standing and all(v.verdict != "break_glass" for v in a.votes)
    ended = {"DENIED": "denied", "EXPIRED": "" if a.votes else "expired"}
    verdict = "approved" if a.state in _APPROVED and by_people else ended.get(a.state, "")
    taken = max((v.time for v in a.votes), default=None)
    seconds = None if taken is None else max(0, taken - a.created) / 1000
    by = frozenset(v.human for v in a.votes)
    return Outcome(a.rule, a.operation, verdict, a.risk.residual, frozenset(a.findings), by, seconds)


def _wrong(found: list[Any]) -> list[Wrong]:
    times: Counter[tuple[str, bool]] = Counter((e.type, bool(e.secret)) for e in found)
    types = sorted({type_ for type_, _ in times})
    return [Wrong(t, times[t, False] + times[t, True], times[t, True]) for t in types]
