"""Card: what a message says of an approval: who asks for what, types and counts, risk in words, votes, and the link.

It is read from the approval as it stands, never from the outbox, and never holds what leaves; an excerpt comes from
outside. Invariant: every text in it is one bounded line without anything hidden.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from llmguard.approvals import Approvals, view
from llmguard.channels import Channel
from llmguard.model import Approval
from llmguard.notify.text import counted, moment, shown
from llmguard.store import Transaction
from llmguard.vault import Vault

REASONS, VOTES = 3, 10
TITLES: Mapping[str, str] = {
    "PENDING": "Waits for approval",
    "APPROVED": "Approved",
    "DENIED": "Denied",
    "CHANGES_REQUESTED": "Changes requested",
    "EXPIRED": "Expired",
    "CANCELLED": "Withdrawn",
    "SUPERSEDED": "Replaced by a revision",
    "EXECUTING": "Approved, on its way",
    "EXECUTED": "Approved and done",
    "FAILED": "Failed: nothing was sent",
    "INDETERMINATE": "Outcome unknown: bytes may have left",
    "REVOKED": "Approval taken back",
}
_EVENTS: Mapping[str, str] = {
    "reminder": "Still waits for approval",
    "escalated": "Waits too long: more people may decide",
    "break_glass": "Emergency: let through by one person",
}
_VERDICTS: Mapping[str, str] = {
    "approve": "approved",
    "deny": "denied",
    "request_changes": "asked for changes",
    "break_glass": "let it through in an emergency",
}


@dataclass(frozen=True, slots=True)
class Card:
    """``facts`` are pairs of a label and what it says. ``note`` says why it is decided in the inbox alone, or nothing.

    ``digest`` and ``version`` are what a button votes on; ``excerpt`` is of what leaves, redacted.
    """

    approval: str
    title: str
    facts: tuple[tuple[str, str], ...]
    link: str
    note: str
    open: bool
    digest: str
    version: int
    excerpt: str = ""

    @property
    def votable(self) -> bool:
        """Whether a channel with buttons shows them."""
        return self.open and not self.note


def card(tx: Transaction, vault: Vault, approvals: Approvals, a: Approval, channel: Channel, event: str = "") -> Card:
    """``event`` is what is told, without its prefix; by default the state."""
    row = view.summary(tx, approvals, a, view.names(tx, vault, [a]))
    state: str = row["state"]
    asker = row["requester"]
    facts = [
        ("Asks", _asker(asker["human"], asker["name"], asker["principal"])),
        ("Does", f"{shown(a.operation)} ({a.subject}, {a.kind})"),
        ("Sends to", shown(a.destination)),
        ("Found", counted(a.findings)),
        ("Risk", risk(a)),
        ("Held by", f"rule {shown(a.rule)}"),
    ]
    if a.votes:
        facts.append(("Votes", _votes(a)))
    if row["missing_of"]:
        facts.append(("Needs", ", ".join(f"{n} more of {shown(g, 40)}" for g, n in row["missing_of"].items())[:300]))
    if state in ("PENDING", "APPROVED", "CHANGES_REQUESTED"):
        facts.append(("Until", moment(a.expires)))
    title = _EVENTS.get(event, TITLES[state])
    note = elsewhere(a, channel)
    return Card(
        a.id, title, tuple(facts), approvals.link(a) or "", note, state == "PENDING", a.egress_digest, a.version
    )


def elsewhere(a: Approval, channel: Channel) -> str:
    """Why an approval is not decided in a channel but in the inbox; empty: it can be decided there."""
    need = a.requirement
    if a.subject != "call":
        return f"this {a.subject} is read and decided in the inbox"
    if need.fresh:
        return "this needs a fresh login: decide it in the inbox"
    if need.justified:
        return "the caller says why: read it and decide in the inbox"
    if max(a.risk.inherent, a.risk.residual) > channel.notify_only_above:
        return f"its risk is above {channel.notify_only_above}: decide it in the inbox"
    return ""


def risk(a: Approval) -> str:
    """Numbers, a word, and the reasons that weigh most."""
    words = "; ".join(shown(r.text, 120) for r in sorted(a.risk.reasons, key=lambda r: -r.points)[:REASONS] if r.points)
    told = f"{a.risk.inherent} of 100 as written ({_band(a.risk.inherent)}), {a.risk.residual} as it leaves"
    return f"{told}: {words}" if words else told


def _band(points: int) -> str:
    return "high" if points >= 70 else "medium" if points >= 40 else "low"


def _asker(human: str | None, name: str, principal: str) -> str:
    return f"{shown(human or 'nobody is accountable', 120)} ({shown(name or principal, 80)})"


def _votes(a: Approval) -> str:
    told = "; ".join(f"{shown(v.human, 60)} {_VERDICTS[v.verdict]}" for v in a.votes[:VOTES])
    more = len(a.votes) - VOTES
    return told + (f" and {more} more" if more > 0 else "")
