"""Changes of who may call, who may decide and what the policy says, as approvals by somebody else.

It owns what reviewers of a change are asked, which changes need nobody, and their carrying out. Whoever gains by a
change does not approve it: not its proposer, nor the person who gets a group, a key or a vote by it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import Any

from llmguard import identity
from llmguard.approvals import delegations, exceptions, rules, standing
from llmguard.approvals.delegations import DelegationChange
from llmguard.approvals.exceptions import SECRET_QUORUM, ExceptionChange
from llmguard.approvals.rules import PolicyChange
from llmguard.approvals.standing import StandingChange
from llmguard.errors import InvalidRequest
from llmguard.identity import Cause, KeyChange, Person, PersonChange
from llmguard.model import Approval, Decision, Egress, Hold, Principal, Reason, Requirement, Risk
from llmguard.store import Transaction
from llmguard.vault import Vault

Change = identity.Change | DelegationChange | StandingChange | PolicyChange | ExceptionChange
REQUIREMENT = Requirement(((identity.DEFAULT_GROUP, 1),), expires_in=24 * 3600)
RULE = "membership"
OWN_KEYS = 20
"""Valid keys that somebody makes for oneself alone."""
_WORDS: dict[str, type[Any]] = {
    "person": PersonChange,
    "key": KeyChange,
    "delegation": DelegationChange,
    "standing_grant": StandingChange,
    "policy": PolicyChange,
    "exception": ExceptionChange,
}


def word(change: Change) -> str:
    """What kind of change it is: ``person``, ``key``, ``delegation``, ``standing_grant``, ``policy``, ``exception``."""
    return next(name for name, kind in _WORDS.items() if type(change) is kind)


def encode(change: Change) -> bytes:
    """Canonical JSON: what reviewers of a change are shown, and what is carried out."""
    return json.dumps({"change": word(change), **asdict(change)}, sort_keys=True, separators=(",", ":")).encode()


def decode(content: bytes) -> Change:
    """The reverse of ``encode``. Raises InvalidRequest for anything else."""
    try:
        values = json.loads(content)
        kind = _WORDS[values.pop("change")]
        if not set(values) <= {f.name for f in fields(kind)}:
            raise InvalidRequest("this change has a field that no change has")
        change: Change = kind(**{name: _frozen(value) for name, value in values.items()})
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InvalidRequest("this is no change of people, keys, delegations, grants, policy or exceptions") from None
    return change


def _frozen(value: Any) -> Any:
    return tuple(_frozen(v) for v in value) if isinstance(value, list) else value


def alone(tx: Transaction, vault: Vault, person: Person, change: Change) -> bool:
    """A key for oneself and deactivating oneself need nobody. A linked key may be anybody's.

    Each key has a queue of its own for what waits, so more than ``OWN_KEYS`` of them need somebody else too.
    """
    if isinstance(change, KeyChange):
        own = change.human == person.email and not change.linked
        return own and identity.keys_of(tx, person.tenant, person.email) < OWN_KEYS
    if not isinstance(change, PersonChange):
        return False
    before = identity.person(tx, vault, person.tenant, person.email)
    return change.email == person.email and before is not None and not change.active and change.groups == before.groups


def asked(
    vault: Vault,
    person: Person,
    change: Change,
    human: str | None = None,
    written: bytes | None = None,
    summary: str = "",
) -> Hold:
    """What ``person`` asks somebody else to approve: the change itself. ``human``: who is behind its gainer.

    ``written`` is what reviewers see raw, if that says more than the change. ``summary``: what it would do, in a
    sentence of ours.
    """
    body = encode(change)
    principal = Principal(f"person:{person.email}", person.tenant, "human", person.email, person.email)
    groups = change.groups if isinstance(change, StandingChange) else REQUIREMENT.groups
    if isinstance(change, ExceptionChange) and change.secret:
        groups = ((identity.DEFAULT_GROUP, SECRET_QUORUM),)
    needed = Requirement(groups, expires_in=REQUIREMENT.expires_in)
    return Hold(
        principal=principal,
        subject="change",
        operation=f"{word(change)}.change",
        request_key=vault.request_key(person.tenant, [b"change", principal.id.encode(), body]),
        egress=Egress("llmguard", "", person.tenant, "CHANGE", (), body),
        original=body if written is None else written,
        decision=Decision(
            "require_approval", RULE, "built-in", "what may be called and decided changes by two", needed
        ),
        risk=Risk(0, 0, (Reason("change", 0, "changes who may call or approve, or what needs it"),), summary),
        kind="administration",
        excluded=tuple(e for e in (_gains(change), human) if e),
    )


def _gains(change: Change) -> str | None:
    match change:
        case PersonChange(email=email, active=True):
            return email
        case KeyChange(human=human):
            return human
        case DelegationChange(receiver=receiver):
            return receiver
    return None


def compared(tx: Transaction, vault: Vault, tenant: str, change: Change) -> tuple[bytes | None, bytes]:
    """What is in force of what a change is about, and what it would be, as JSON. None: there is no such thing yet."""
    match change:
        case PolicyChange(source=source):
            known = rules.in_force(tx, vault, tenant)
            return (None if known is None else known.encode()), source.encode()
        case PersonChange(email=email):
            person = identity.person(tx, vault, tenant, email)
            if person is None:
                return None, encode(change)
            before = {f.name: getattr(person, f.name) for f in fields(PersonChange)}
            after = asdict(change) | {"source": change.source or person.source}
            return json.dumps(before).encode(), json.dumps(after).encode()
    return None, encode(change)


def carry_out(tx: Transaction, vault: Vault, approval: Approval, change: Change) -> None:
    """Raises before it writes if the change is not possible any more."""
    cause = Cause(approval.human or approval.principal, approval=approval.id)
    match change:
        case DelegationChange():
            delegations.apply(tx, vault, approval.tenant, change, cause)
        case StandingChange():
            standing.apply(tx, vault, approval.tenant, change, cause)
        case PolicyChange():
            rules.apply(tx, vault, approval.tenant, change, cause)
        case ExceptionChange():
            exceptions.apply(tx, vault, approval.tenant, change, cause)
        case _:
            identity.apply(tx, vault, approval.tenant, change, cause)
