"""Incidents: which calls a value stood in, and what today's detectors find in what was held and not found then.

It reads, and decides nothing. A value is known by its keyed digests alone; what is sealed is opened for the detectors
and for nobody's eyes. Both looks are in the log before anything is told: of the value, a commitment.
"""

from __future__ import annotations

import re
import secrets
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from llmguard import audit
from llmguard.approvals import record
from llmguard.errors import LLMGuardError, NotFound
from llmguard.identity import Person
from llmguard.model import Approval, AuditEntry, Egress, Payload
from llmguard.store import Transaction, calls
from llmguard.store.calls import Kept
from llmguard.vault import Vault, commitment

Found = Mapping[tuple[str, str], int]
"""Findings by type and a digest of their value, and how often."""
Find = Callable[[Approval, Egress, Payload], Found]
"""What today's detectors find in the body of a held call."""
Left = Literal["as_written", "redacted", "partly", "not_sent", "waiting", "joined", "unknown"]
ALTERED = "ALTERED"
"""The state that is told of an approval whose row was altered in the database."""
_SENT = ("EXECUTING", "EXECUTED", "INDETERMINATE")
_OPEN = ("PENDING", "APPROVED", "CHANGES_REQUESTED")
_JOINTS = re.compile(r"[\s\-./()]+")


# --------------------------------------------------------------------------- where a value went


@dataclass(frozen=True, slots=True)
class Stood:
    """A call that a value stood in, as a finding of these ``types``. ``time`` in UTC milliseconds.

    ``left``: as it was written, redacted, in part redacted (of a type that also left as written), not sent, waiting, or
    joined to the approval of the same request; unknown where that was altered.
    ``approval``: its id and state, "" where it opened none.
    """

    call: str
    time: int
    types: tuple[str, ...]
    principal: str
    human: str
    operation: str
    destination: str
    verdict: str
    rule: str
    left: Left
    approval: str
    state: str


def looked(tx: Transaction, by: Person, value: str, types: int) -> tuple[str, str]:
    """Writes down that somebody asks where a value went: salt and commitment, both hexadecimal.

    The salt goes to whoever asked and is kept nowhere: who has it and the value can show later what was asked.
    """
    salt = secrets.token_bytes(32)
    committed = commitment(salt, value.encode())
    details = {"by": by.email, "value": committed, "types": types}
    audit.append(tx, [AuditEntry("incident.where", by.tenant, details)])
    return salt.hex(), committed


def where(
    tx: Transaction, vault: Vault, tenant: str, types: Iterable[str], value: str, before: str, limit: int
) -> tuple[tuple[Stood, ...], bool]:
    """Calls of before an id that the value stood in, newest first; and whether there are more.

    The work for each type is the same whether the value is known or not.
    """
    found: dict[str, set[str]] = {}
    for type_ in types:
        for spelling in spellings(value):
            for digest in vault.digests(tenant, type_, spelling):
                for call in calls.where(tx, tenant, digest, before, limit + 1):
                    found.setdefault(call, set()).add(type_)
    newest = sorted(found, reverse=True)
    kept = ((calls.one(tx, tenant, id_), found[id_]) for id_ in newest[:limit])
    return tuple(_stood(tx, vault, tenant, call, types) for call, types in kept if call), len(newest) > limit


def spellings(value: str) -> tuple[str, ...]:
    """Ways in which a value may have been written: as it is, without blanks around it, composed, in small and capital
    letters, without separators, in groups of four, and as 3-2-4 where it is nine digits. A closed, short list."""
    plain = unicodedata.normalize("NFC", value.strip())
    bare = _JOINTS.sub("", plain)
    ways = [value, value.strip(), plain, plain.lower(), plain.upper(), plain.title()]
    if any(c.isdigit() for c in bare) and len(bare) >= 6:
        ways += [bare, bare.upper(), bare.lower()]
        fours = [bare[i : i + 4] for i in range(0, len(bare), 4)]
        ways += [" ".join(fours), "-".join(fours), " ".join(fours).upper()]
        if bare.isdigit() and len(bare) == 9:
            ways += [f"{bare[:3]}-{bare[3:5]}-{bare[5:]}", f"{bare[:3]} {bare[3:5]} {bare[5:]}"]
    return tuple(dict.fromkeys(way for way in ways if way))


def _stood(tx: Transaction, vault: Vault, tenant: str, call: Kept, types: set[str]) -> Stood:
    approval, state = _approval(tx, vault, tenant, call.id)
    facts = call.facts
    return Stood(
        call=call.id,
        time=facts.received,
        types=tuple(sorted(types)),
        principal=facts.principal,
        human=facts.human,
        operation=facts.operation,
        destination=facts.destination,
        verdict=call.verdict,
        rule=call.rule,
        left=_left(call, types, approval, state),
        approval=approval,
        state=state,
    )


def _approval(tx: Transaction, vault: Vault, tenant: str, call: str) -> tuple[str, str]:
    """Id and state of the newest approval that a call opened; the state of an altered row is that."""
    sql = "SELECT * FROM approvals WHERE tenant = ? AND call = ? AND call <> '' ORDER BY id DESC LIMIT 1"
    row = tx.one(sql, tenant, call)
    if row is None:
        return "", ""
    return str(row["id"]), str(row["state"]) if record.genuine(vault, row) else ALTERED


def _left(call: Kept, types: set[str], approval: str, state: str) -> Left:
    if call.verdict == "block":
        return "not_sent"
    if call.verdict == "allow":
        return "as_written"
    if call.verdict == "require_approval":
        if not approval:
            return "joined"
        if state not in _SENT:
            return "waiting" if state in _OPEN else "unknown" if state == ALTERED else "not_sent"
    whole = all(f.redactable for f in call.facts.found if f.type in types)
    return "redacted" if whole else "partly"


# --------------------------------------------------------------------------- what would be found today


@dataclass(frozen=True, slots=True)
class Missed:
    """A held call in which more is found today. ``missed``: findings by type that were none then; ``left``: how many of
    all that is found left, or would leave, as written, beside those that were known to. ``problem``: why it could not
    be looked through, else "".
    """

    approval: str
    created: int
    operation: str
    state: str
    missed: Mapping[str, int]
    left: Mapping[str, int]
    problem: str = ""


def sealed(tx: Transaction, tenant: str, after: str, limit: int) -> list[str]:
    """Ids of held calls behind an id whose payload is still there, oldest first."""
    sql = (
        "SELECT a.id FROM approvals a JOIN approval_payloads p ON p.tenant = a.tenant AND p.id = a.id"
        " WHERE a.tenant = ? AND a.id > ? AND a.subject = 'call' AND p.original IS NOT NULL ORDER BY a.id LIMIT ?"
    )
    return [str(row["id"]) for row in tx.all(sql, tenant, after, limit)]


def rescanned(tx: Transaction, by: Person, after: str, limit: int) -> None:
    """Writes down that detectors look through what is sealed: for whom, from where on, and how many at most."""
    details = {"by": by.email, "after": after, "limit": limit}
    audit.append(tx, [AuditEntry("incident.rescan", by.tenant, details)])


@dataclass(frozen=True, slots=True)
class Opened:
    """A held call as it was sealed."""

    approval: Approval
    egress: Egress
    original: Payload
    known: Mapping[str, int]
    """Findings by type that were known to leave as written."""

    def __repr__(self) -> str:
        return f"Opened({self.approval.id})"


def opened(tx: Transaction, vault: Vault, tenant: str, id_: str) -> Opened:
    """Raises NotFound once it is erased, GuardUnavailable if it was altered."""
    approval = record.load(tx, vault, tenant, id_)
    egress, original = record.egress(tx, vault, approval), record.original(tx, vault, approval)
    call = calls.one(tx, tenant, approval.call)
    known: Counter[str] = Counter()
    for f in call.facts.found if call else ():
        known[f.type] += 0 if f.redactable else f.times
    return Opened(approval, egress, original, known)


def missed(one: Opened, find: Find) -> Missed:
    """What is found in it today beyond what was found then."""
    a, then = one.approval, Counter(dict(one.approval.findings))
    try:
        written, leaving = find(a, one.egress, one.original), find(a, one.egress, one.egress.body)
    except LLMGuardError as e:
        return Missed(a.id, a.created, a.operation, a.state, {}, {}, e.code)
    still = {key: n for key, n in leaving.items() if key in written}  # what replaced a value is not the value
    return Missed(
        *(a.id, a.created, a.operation, a.state),
        missed=dict(sorted((_by_type(written) - then).items())),
        left=dict(sorted((_by_type(still) - Counter(dict(one.known))).items())),
    )


def unreadable(id_: str, error: LLMGuardError) -> Missed | None:
    """What is said of a held call that does not open; nothing if it was erased meanwhile."""
    return None if isinstance(error, NotFound) else Missed(id_, 0, "", "", {}, {}, error.code)


def _by_type(found: Found) -> Counter[str]:
    counts: Counter[str] = Counter()
    for (type_, _), n in found.items():
        counts[type_] += n
    return counts
