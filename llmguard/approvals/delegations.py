"""Delegations: somebody votes in another's place, from a day to a day. A change, so a third person approves it.

It owns the table delegations and never believes a row of it. Lent power is never more than the giver's own at the
moment of use, never lent on, and worth nothing where the giver could not vote or has voted.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Set
from dataclasses import dataclass
from typing import Any

from llmguard import identity
from llmguard.errors import GuardUnavailable, InvalidRequest, NotFound
from llmguard.identity import Cause, Person, mailbox, normal_email, normal_groups, same_human
from llmguard.identity.rows import fields, genuine, log, page
from llmguard.model import new_id
from llmguard.store import Transaction
from llmguard.vault import Vault

LONGEST_MS = 90 * 86400 * 1000
_COLUMNS = ("tenant", "id", "giver", "receiver", "groups", "starts", "ends", "created", "revoked")


@dataclass(frozen=True, slots=True)
class DelegationChange:
    """``receiver`` votes for ``giver`` in ``groups`` from ``starts`` to ``ends`` (UTC ms)."""

    id: str
    giver: str
    receiver: str
    groups: tuple[str, ...]
    starts: int
    ends: int


@dataclass(frozen=True, slots=True)
class Delegation:
    """One that was approved. ``revoked``: when it was ended early (UTC ms), or None."""

    tenant: str
    id: str
    giver: str
    receiver: str
    groups: tuple[str, ...]
    starts: int
    ends: int
    created: int
    revoked: int | None


def asked(
    tx: Transaction, giver: Person, receiver: str, groups: tuple[str, ...], starts: int, ends: int
) -> DelegationChange:
    """What a person asks for. Raises InvalidRequest."""
    change = DelegationChange(new_id(tx.now), giver.email, normal_email(receiver), normal_groups(groups), starts, ends)
    if not change.groups or set(change.groups) - set(giver.groups):
        raise InvalidRequest("only groups that you are in yourself can be lent")
    _possible(change, tx.now)
    return change


def _possible(change: DelegationChange, now: int) -> None:
    if same_human(change.giver, change.receiver):
        raise InvalidRequest("nobody votes in their own place: name somebody else")
    if not (change.starts < change.ends and now < change.ends and change.ends - change.starts <= LONGEST_MS):
        raise InvalidRequest("a delegation ends after it starts, in the future, and lasts 90 days at most")


def apply(tx: Transaction, vault: Vault, tenant: str, change: DelegationChange, cause: Cause) -> None:
    """Raises InvalidRequest or NotFound before it writes."""
    _possible(change, tx.now)
    for email in (change.giver, change.receiver):
        if identity.active_person(tx, vault, tenant, email) is None:
            raise NotFound("both sides of a delegation must be active people")
    values = [tenant, change.id, change.giver, change.receiver, json.dumps(list(change.groups))]
    values += [change.starts, change.ends, tx.now, None]  # type: ignore[list-item]
    _put(tx, vault, values)
    details = {"delegation": change.id, "giver": change.giver, "receiver": change.receiver}
    log(tx, tenant, "delegation.added", {**details, "groups": list(change.groups), "ends": change.ends}, cause)


def lent(tx: Transaction, vault: Vault, receiver: Person, shut: Set[str]) -> dict[str, frozenset[str]]:
    """The groups that others have lent to a person for this moment, by the giver; nobody in ``shut`` (mailboxes)."""
    rows = tx.all(
        "SELECT * FROM delegations WHERE tenant = ? AND receiver = ? AND starts <= ? AND ends > ? AND revoked IS NULL",
        *(receiver.tenant, receiver.email, tx.now, tx.now),
    )
    groups: dict[str, frozenset[str]] = {}
    for row in rows:
        box, giver = mailbox(row["giver"]), None
        if _genuine(vault, row) and box not in shut:
            giver = identity.active_person(tx, vault, receiver.tenant, row["giver"])
        if giver is not None:
            groups[box] = groups.get(box, frozenset()) | (set(giver.groups) & set(json.loads(row["groups"])))
    return groups


def of(
    tx: Transaction, vault: Vault, tenant: str, after: str | None = None, limit: int | None = None
) -> tuple[tuple[Delegation, ...], str | None]:
    """The genuine ones that are not over yet, oldest first, and where the next page begins."""
    rows, following = page(tx, "delegations", "id", tenant, after, limit, current=True)
    return tuple(_delegation(row) for row in rows if _genuine(vault, row)), following


def revoke(tx: Transaction, vault: Vault, person: Person, id_: str) -> Delegation:
    """Ends one at once: either side, or anybody in a group. Raises NotFound."""
    row = tx.one("SELECT * FROM delegations WHERE tenant = ? AND id = ?", person.tenant, id_)
    sides = () if row is None else (row["giver"], row["receiver"])
    if row is None or not (person.groups or person.email in sides):
        raise NotFound("there is no such delegation: llmguard delegations list shows them")
    if not _genuine(vault, row):
        raise GuardUnavailable("this delegation was altered in the database and counts for nothing: delete its entry")
    if row["revoked"] is None:
        _put(tx, vault, [*(row[c] for c in _COLUMNS[:-1]), tx.now])
        log(tx, person.tenant, "delegation.revoked", {"delegation": id_}, Cause(person.email))
    found = tx.one("SELECT * FROM delegations WHERE tenant = ? AND id = ?", person.tenant, id_)
    assert found is not None  # noqa: S101  read a moment ago in this unit of work
    return _delegation(found)


def _put(tx: Transaction, vault: Vault, values: list[Any]) -> None:
    places = ", ".join("?" * (len(_COLUMNS) + 1))
    attestation = vault.attest("delegation", fields(values))
    tx.run(f"INSERT OR REPLACE INTO delegations VALUES ({places})", *values, attestation)  # noqa: S608  question marks


def _genuine(vault: Vault, row: sqlite3.Row) -> bool:
    return genuine(vault, "delegation", row, _COLUMNS)


def _delegation(row: sqlite3.Row) -> Delegation:
    values = {c: row[c] for c in _COLUMNS}
    return Delegation(**{**values, "groups": tuple(json.loads(row["groups"]))})
