"""Quorum: whose approval counts. Accountable humans are compared, never ids, and nobody is exempt.

A vote counts if its person is active, has a place in a required group, is not barred (the human behind the request, or
whoever gains by it), and if it was cast on exactly the digest that would leave. Nobody fills two places. This is asked
anew at each use, not only when the vote is cast.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from llmguard import identity
from llmguard.approvals import delegations, standing
from llmguard.errors import ApprovalImpossible
from llmguard.identity import Person, mailbox
from llmguard.model import Approval, Decision, Requirement, Vote
from llmguard.store import Transaction
from llmguard.vault import Vault

UNACCOUNTABLE_QUORUM = 2
"""Distinct people that a request needs whose credential resolves to no human."""


@dataclass(frozen=True, slots=True)
class Voice:
    """A person and the groups that this person may stand for here, own and lent."""

    email: str
    groups: frozenset[str]


def required(requirement: Requirement | None, human: str | None) -> Requirement:
    """The requirement as it applies to a requester: two people where nobody is accountable."""
    return (requirement or Requirement()).at_least(1 if human else UNACCOUNTABLE_QUORUM)


def stricter(approval: Approval, decision: Decision) -> Requirement:
    """What an approval needs under a decision that was made anew: never less than it needed before."""
    if decision.verdict != "require_approval":
        return approval.requirement
    return approval.requirement.joined(required(decision.requirement, approval.human))


# --------------------------------------------------------------------------- who


def barred(approval: Approval, human: str | None = None) -> frozenset[str]:
    """Mailboxes that never count. ``human``: the one behind the credential by now."""
    return frozenset(mailbox(email) for email in (*approval.barred, *((human,) if human else ())))


def voice(tx: Transaction, vault: Vault, person: Person, shut: frozenset[str]) -> Voice:
    """What a person can stand for; power that is lent by somebody in ``shut`` (mailboxes) is none."""
    lent = delegations.lent(tx, vault, person, shut)
    return Voice(person.email, frozenset(person.groups).union(*lent.values()))


def may_vote(tx: Transaction, vault: Vault, approval: Approval, person: Person) -> bool:
    """Whether this person's approval could count at this moment; barred people's never does."""
    shut = barred(approval)
    groups = voice(tx, vault, person, shut).groups
    return mailbox(person.email) not in shut and bool(groups & _able(approval, approval.requirement))


def _able(approval: Approval, requirement: Requirement) -> frozenset[str]:
    """Groups whose people can fill a place; after the escalation one more."""
    stand_in = {requirement.escalate_to} if approval.escalated is not None else set()
    return frozenset({name for name, _ in requirement.groups} | stand_in) - {""}


def ensure_possible(
    tx: Transaction, vault: Vault, tenant: str, requirement: Requirement, human: str | None, shut: Iterable[str] = ()
) -> None:
    """Raises ApprovalImpossible if too few people could ever vote; the message names the commands that fix it."""
    closed = frozenset(mailbox(email) for email in (*shut, *((human,) if human else ())))
    voices: dict[str, Voice] = {}
    groups = {name for name, _ in requirement.groups} | {requirement.escalate_to}
    for who in identity.members(tx, vault, tenant, groups - {""}):  # those who lend a vote; a stand-in adds nobody
        if mailbox(who.email) in closed:
            continue
        voices[mailbox(who.email)] = Voice(who.email, frozenset(who.groups))
        if not vacant(requirement, list(voices.values()), requirement.escalate_to):
            return
    wanting = vacant(requirement, list(voices.values()), requirement.escalate_to)
    if digest := identity.unlinked(tenant):
        raise ApprovalImpossible(
            f"nobody is accountable for this provider key: llmguard keys link {digest} --human EMAIL"
        )
    fix = "; ".join(f"llmguard users add EMAIL --group {name}" for name in wanting)
    if human is None:
        fix += "; or make somebody accountable for the key: llmguard keys add NAME --human EMAIL"
    needs = " and ".join(f"{count} of the group {name!r}" for name, count in requirement.groups)
    lack = ", ".join(f"{count} of {name!r}" for name, count in wanting.items())
    raise ApprovalImpossible(
        f"this needs {needs}, other than the requester, and there are too few (missing {lack}): {fix}"
    )


# --------------------------------------------------------------------------- counting


def supporters(
    tx: Transaction, vault: Vault, approval: Approval, requirement: Requirement | None = None, human: str | None = None
) -> tuple[Voice, ...]:
    """The distinct people whose approval counts at this moment. ``human``: a further one who must not have voted."""
    needed = requirement or approval.requirement
    votes, digest = _ballots(tx, vault, approval)
    shut = barred(approval, human)
    present: dict[str, Person] = {}
    for vote in votes:
        who = _counting(tx, vault, approval, vote, digest, needed)
        if who is not None and mailbox(who.email) not in shut:
            present[mailbox(who.email)] = who
    voices = _voices(tx, vault, present, shut)
    return tuple(v for v in voices if v.groups & _able(approval, needed))


def _voices(tx: Transaction, vault: Vault, present: Mapping[str, Person], shut: frozenset[str]) -> list[Voice]:
    """What people stand for together: whoever has voted does not vote again through another's mouth, and whoever lent
    a vote to two people lent one."""
    voices, spoken = [], set(shut) | present.keys()
    for who in present.values():
        groups = frozenset(who.groups)
        for giver, loan in sorted(delegations.lent(tx, vault, who, spoken).items()):
            if loan - groups:
                groups |= loan
                spoken.add(giver)
        voices.append(Voice(who.email, groups))
    return voices


def _counting(
    tx: Transaction, vault: Vault, approval: Approval, vote: Vote, digest: str, needed: Requirement
) -> Person | None:
    stale = needed.fresh and vote.time - vote.authenticated > needed.fresh * 1000
    if vote.verdict != "approve" or stale or not hmac.compare_digest(vote.digest.encode(), digest.encode()):
        return None
    return identity.active_person(tx, vault, approval.tenant, vote.human)


def _ballots(tx: Transaction, vault: Vault, approval: Approval) -> tuple[Sequence[Vote], str]:
    """The votes that count here, and the digest that they must be on: its own, or those of its standing grant."""
    if approval.standing and not any(v.verdict == "approve" for v in approval.votes):
        grant = standing.covering(tx, vault, approval)
        return (grant.votes, grant.egress_digest) if grant is not None else ((), "")
    return approval.votes, approval.egress_digest


def broken(tx: Transaction, vault: Vault, approval: Approval, human: str | None = None) -> bool:
    """Whether somebody who may do so let it through in an emergency, alone."""
    shut, group = barred(approval, human), approval.requirement.break_glass
    for vote in approval.votes:
        if vote.verdict == "break_glass" and hmac.compare_digest(vote.digest, approval.egress_digest):
            who = identity.active_person(tx, vault, approval.tenant, vote.human)
            if who is not None and mailbox(who.email) not in shut and group and group in who.groups:
                return True
    return False


def wanting(
    tx: Transaction, vault: Vault, approval: Approval, requirement: Requirement | None = None, human: str | None = None
) -> dict[str, int]:
    """How many people of which group are still missing. Empty: it has what it needs."""
    if broken(tx, vault, approval, human):
        return {}
    needed = requirement or approval.requirement
    stand_in = needed.escalate_to if approval.escalated is not None else ""
    return vacant(needed, supporters(tx, vault, approval, needed, human), stand_in)


def missing(tx: Transaction, vault: Vault, approval: Approval) -> dict[str, int]:
    """The same for an approval that is open; empty once nobody is asked any more."""
    return wanting(tx, vault, approval) if approval.state == "PENDING" else {}


def vacant(requirement: Requirement, voices: Sequence[Voice], stand_in: str = "") -> dict[str, int]:
    """The places that stay empty when as many as possible are filled, one person for each (bipartite matching)."""
    places = [name for name, count in requirement.groups for _ in range(count)]
    seated: dict[int, int] = {}  # place → person

    def seat(who: int, tried: set[int]) -> bool:
        for place, name in enumerate(places):
            groups = voices[who].groups
            if place in tried or not (name in groups or (stand_in and stand_in in groups)):
                continue
            tried.add(place)
            if place not in seated or seat(seated[place], tried):
                seated[place] = who
                return True
        return False

    for who in range(len(voices)):
        seat(who, set())
    empty: dict[str, int] = {}
    for place, name in enumerate(places):
        if place not in seated:
            empty[name] = empty.get(name, 0) + 1
    return empty


def total(counts: Mapping[str, int]) -> int:
    return sum(counts.values())
