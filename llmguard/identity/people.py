"""People: who can log in and, in the right group, vote. It owns the table people and never believes a row of it."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass

from llmguard.errors import Conflict, GuardUnavailable, NotFound
from llmguard.identity.names import normal_email, normal_groups, same_human
from llmguard.identity.rows import Cause, fields, genuine, log
from llmguard.store import Transaction
from llmguard.vault import Vault

DEFAULT_GROUP = "reviewers"
BOOTSTRAP_UNTIL = 2
"""Active people from whom on a change needs somebody else's approval."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who can log in and, in the right group, vote. ``created`` is UTC milliseconds."""

    tenant: str
    email: str
    groups: tuple[str, ...]
    active: bool
    created: int


@dataclass(frozen=True, slots=True)
class PersonChange:
    """Sets a person's groups and whether the person is active; creates the person if there is none."""

    email: str
    groups: tuple[str, ...]
    active: bool = True


def people(tx: Transaction, vault: Vault, tenant: str) -> tuple[Person, ...]:
    """Everybody whose entry is genuine, by address; altered entries are left out."""
    rows = tx.all("SELECT * FROM people WHERE tenant = ? ORDER BY email", tenant)
    return tuple(_person(row) for row in rows if _genuine_person(vault, row))


def person(tx: Transaction, vault: Vault, tenant: str, email: str) -> Person | None:
    """Raises GuardUnavailable if the entry was altered in the database."""
    row = tx.one("SELECT * FROM people WHERE tenant = ? AND email = ?", tenant, email)
    if row is None:
        return None
    if not _genuine_person(vault, row):
        raise GuardUnavailable(
            f"the entry of {email} was altered in the database: restore a backup, or delete it and add the person anew"
        )
    return _person(row)


def active_person(tx: Transaction, vault: Vault, tenant: str, email: str) -> Person | None:
    """The person, if the entry is genuine and active; nobody otherwise."""
    row = tx.one("SELECT * FROM people WHERE tenant = ? AND email = ?", tenant, email)
    return _person(row) if row is not None and row["active"] == 1 and _genuine_person(vault, row) else None


def bootstrapping(tx: Transaction, vault: Vault, tenant: str) -> bool:
    """Whether fewer than two people are active, so that changes take effect alone.

    Raises GuardUnavailable if any entry was altered: editing the table must not bring bootstrap back.
    """
    rows = tx.all("SELECT * FROM people WHERE tenant = ?", tenant)
    if not all(_genuine_person(vault, row) for row in rows):
        raise GuardUnavailable(
            "an entry of a person was altered in the database; restore a backup: nothing changes until then"
        )
    return sum(1 for row in rows if row["active"]) < BOOTSTRAP_UNTIL


def _person(row: sqlite3.Row) -> Person:
    return Person(row["tenant"], row["email"], tuple(json.loads(row["groups"])), bool(row["active"]), row["created"])


def _genuine_person(vault: Vault, row: sqlite3.Row) -> bool:
    return genuine(vault, "person", row, ("tenant", "email", "groups", "active", "created"))


def _put_person(tx: Transaction, vault: Vault, p: Person) -> None:
    groups = json.dumps(list(p.groups), separators=(",", ":"))
    values = [p.tenant, p.email, groups, int(p.active), p.created]
    tx.run(
        "INSERT OR REPLACE INTO people (tenant, email, groups, active, created, attestation) VALUES (?, ?, ?, ?, ?, ?)",
        *values,
        vault.attest("person", fields(values)),
    )


def apply_person(tx: Transaction, vault: Vault, tenant: str, change: PersonChange, cause: Cause) -> None:
    email = normal_email(change.email)
    before = person(tx, vault, tenant, email)
    if before is None and not change.active:
        raise NotFound("there is no person of that address: llmguard users list shows them")
    if before is None:
        _refuse_second_self(tx, tenant, email)
    after = Person(tenant, email, normal_groups(change.groups), change.active, before.created if before else tx.now)
    _put_person(tx, vault, after)
    if not after.active:
        tx.run(
            "UPDATE sessions SET revoked = ? WHERE tenant = ? AND email = ? AND revoked IS NULL", tx.now, tenant, email
        )
        tx.run("DELETE FROM login_codes WHERE tenant = ? AND email = ?", tenant, email)
    kind = "person.added" if before is None else "person.changed" if after.active else "person.deactivated"
    details = {"email": email, "groups": list(after.groups), "active": after.active}
    if before:
        details |= {"groups_before": list(before.groups), "active_before": before.active}
    log(tx, tenant, kind, details, cause)


def _refuse_second_self(tx: Transaction, tenant: str, email: str) -> None:
    for row in tx.all("SELECT email FROM people WHERE tenant = ?", tenant):
        if same_human(row["email"], email):
            raise Conflict("that address is the same mailbox as a person's who is here already: one person, one vote")
