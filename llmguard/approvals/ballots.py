"""Ballot: what one person says of one approval, whichever way it came. ``cast`` is the way of all of them.

Invariant: nobody votes on what they may not see, nor on other bytes or another version than were shown.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from llmguard.approvals.approvals import Approvals
from llmguard.approvals.approvals import Ballot as Verdict
from llmguard.errors import NotFound
from llmguard.identity import Person
from llmguard.model import Approval
from llmguard.store import Transaction


@dataclass(frozen=True, slots=True)
class Ballot:
    """``digest`` and ``version`` are of what was shown; ``authenticated``: when the person logged in (UTC ms), 0 if
    that is unknown, which is never fresh.
    """

    verdict: Verdict
    digest: str
    reason: str = field(default="", repr=False)
    version: int | None = None
    proposal: bytes | None = field(default=None, repr=False)
    authenticated: int = 0


def visible(tx: Transaction, approvals: Approvals, who: Person, id_: str) -> Approval:
    """Raises NotFound, in the same words for what is not there and for what is not this person's to see."""
    approval = approvals.get(tx, who.tenant, id_)
    if not approvals.may_see(tx, approval, who):
        raise NotFound("there is no such approval: llmguard approvals list shows them")
    return approval


def cast(tx: Transaction, approvals: Approvals, who: Person, id_: str, ballot: Ballot) -> Approval:
    """Raises NotFound, NotAllowed, Conflict, InvalidRequest."""
    seen = visible(tx, approvals, who, id_)
    return approvals.vote(
        tx,
        who.tenant,
        seen.id,
        who,
        ballot.verdict,
        ballot.digest,
        ballot.reason,
        ballot.version,
        proposal=ballot.proposal,
        authenticated=ballot.authenticated,
    )
