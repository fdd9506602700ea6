"""Quorum: whose approval counts. Accountable humans are compared, never ids, and nobody is exempt.

A vote counts if its person is active, in the required group, not the human behind the request, and if it was cast
on exactly the digest that would leave. This is asked anew at each use, not only when the vote is cast.
"""

from __future__ import annotations

import hmac

from llmguard import identity
from llmguard.errors import ApprovalImpossible
from llmguard.identity import Person, mailbox, same_human
from llmguard.model import Approval, Decision, Requirement
from llmguard.store import Transaction
from llmguard.vault import Vault

UNACCOUNTABLE_QUORUM = 2
"""Distinct people that a request needs whose credential resolves to no human."""


def required(requirement: Requirement | None, human: str | None) -> Requirement:
    """The requirement as it applies to a requester: two people where nobody is accountable."""
    asked = requirement or Requirement()
    least = 1 if human else UNACCOUNTABLE_QUORUM
    return Requirement(max(asked.quorum, least), asked.group, asked.expires_in)


def stricter(approval: Approval, decision: Decision) -> Requirement:
    """What an approval needs under a decision that was made anew: never less than it needed before."""
    if decision.verdict != "require_approval":
        return approval.requirement
    asked = required(decision.requirement, approval.human)
    return Requirement(max(asked.quorum, approval.requirement.quorum), asked.group, approval.requirement.expires_in)


def eligible(tx: Transaction, vault: Vault, tenant: str, group: str, human: str | None) -> tuple[Person, ...]:
    """Who could vote: active, in the group, not the requester's human; one for each mailbox."""
    could = {mailbox(p.email): p for p in identity.people(tx, vault, tenant) if p.active and group in p.groups}
    return tuple(p for p in could.values() if not same_human(p.email, human))


def ensure_possible(tx: Transaction, vault: Vault, tenant: str, requirement: Requirement, human: str | None) -> None:
    """Raises ApprovalImpossible if too few people could ever vote; the message names the commands that fix it."""
    have = len(eligible(tx, vault, tenant, requirement.group, human))
    if have >= requirement.quorum:
        return
    fix = f"on the guard's host: llmguard users add EMAIL --group {requirement.group}"
    if human is None:
        fix += "; or make somebody accountable for the key: llmguard keys add NAME --human EMAIL"
    needs = f"{requirement.quorum} of the group {requirement.group!r} other than the requester"
    raise ApprovalImpossible(f"this needs {needs}, and there are {have}; {fix}")


def supporters(
    tx: Transaction, vault: Vault, approval: Approval, group: str, human: str | None = None
) -> tuple[str, ...]:
    """The distinct people whose approval counts at this moment. ``human``: a further one who must not have voted."""
    found = {}
    for vote in approval.votes:
        if vote.verdict != "approve" or not hmac.compare_digest(vote.digest.encode(), approval.egress_digest.encode()):
            continue
        who = identity.active_person(tx, vault, approval.tenant, vote.human)
        if who is None or group not in who.groups:
            continue
        if not same_human(who.email, approval.human) and not same_human(who.email, human):
            found[mailbox(who.email)] = who.email
    return tuple(sorted(found.values()))


def missing(tx: Transaction, vault: Vault, approval: Approval) -> int:
    """How many approvals are still wanting; 0 once nobody is asked any more."""
    if approval.state != "PENDING":
        return 0
    return max(0, approval.requirement.quorum - len(supporters(tx, vault, approval, approval.requirement.group)))
