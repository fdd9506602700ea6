"""People: who can log in and, in the right group, vote. It owns the table people and never believes a row of it.

A person's groups have one source: changes under approval (``guard``), or the identity provider (``provider``), whose
word counts until a time and is renewed at each login and in between. Invariant: the one never writes over the other.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from llmguard.errors import Conflict, GuardUnavailable, NotFound
from llmguard.identity.names import normal_email, normal_groups, same_human
from llmguard.identity.rows import Cause, fields, genuine, log, page
from llmguard.store import Transaction
from llmguard.vault import Vault

Source = Literal["guard", "provider"]
DEFAULT_GROUP = "reviewers"
BOOTSTRAP_UNTIL = 2
"""Active people from whom on a change needs somebody else's approval."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who can log in and, in the right group, vote. Times are UTC milliseconds.

    ``source``: who says which groups. ``issuer`` and ``subject``: who the person is at an identity provider, from the
    first login there on. ``until``: how long the word of the provider counts, if that is the source.
    """

    tenant: str
    email: str
    groups: tuple[str, ...]
    active: bool
    created: int
    source: Source = "guard"
    issuer: str | None = None
    subject: str | None = None
    until: int | None = None


@dataclass(frozen=True, slots=True)
class PersonChange:
    """Sets a person's groups and whether the person is active; creates the person if there is none.

    ``source`` changes who says which groups; without, that stays. Of the provider's people, no groups are set.
    """

    email: str
    groups: tuple[str, ...]
    active: bool = True
    source: Source | None = None


def people(tx: Transaction, vault: Vault, tenant: str) -> tuple[Person, ...]:
    """Everybody whose entry is genuine, by address; altered entries are left out."""
    return people_page(tx, vault, tenant)[0]


def people_page(
    tx: Transaction, vault: Vault, tenant: str, after: str | None = None, limit: int | None = None
) -> tuple[tuple[Person, ...], str | None]:
    """The same from an address on, at most ``limit``, and where the next page begins."""
    rows, following = page(tx, "people", "email", tenant, after, limit)
    return tuple(_person(row) for row in rows if _genuine_person(vault, row)), following


def members(tx: Transaction, vault: Vault, tenant: str, groups: Collection[str]) -> Iterator[Person]:
    """Active people of any of these groups whose entry is genuine and whose groups count now, one by one."""
    rows = tx.all(
        "SELECT * FROM people WHERE tenant = ? AND active = 1"
        " AND EXISTS (SELECT 1 FROM json_each(groups) JOIN json_each(?) USING (value)) ORDER BY email",
        *(tenant, json.dumps(sorted(groups))),
    )
    for row in rows:
        if _genuine_person(vault, row) and _vouched(who := _person(row), tx.now):
            yield who


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


def accountable_person(tx: Transaction, vault: Vault, tenant: str, email: str) -> Person | None:
    """Who answers for keys and calls: the person, if the entry is genuine and active; nobody otherwise.

    Also while the identity provider has not confirmed the groups for a while: those count for nothing here.
    """
    row = tx.one("SELECT * FROM people WHERE tenant = ? AND email = ?", tenant, email)
    return _person(row) if row is not None and row["active"] == 1 and _genuine_person(vault, row) else None


def active_person(tx: Transaction, vault: Vault, tenant: str, email: str) -> Person | None:
    """Who may act and vote: as ``accountable_person``, and what the identity provider says is not too old."""
    who = accountable_person(tx, vault, tenant, email)
    return who if who is not None and _vouched(who, tx.now) else None


def _vouched(who: Person, now: int) -> bool:
    """Whether the groups of a person count: the provider's word does for a while only."""
    return who.source != "provider" or (who.until or 0) > now


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


_COLUMNS = ("tenant", "email", "groups", "active", "created", "source", "issuer", "subject", "until")


def _person(row: sqlite3.Row) -> Person:
    groups, active = tuple(json.loads(row["groups"])), bool(row["active"])
    told = (row["source"], row["issuer"], row["subject"], row["until"])
    return Person(row["tenant"], row["email"], groups, active, row["created"], *told)


def _genuine_person(vault: Vault, row: sqlite3.Row) -> bool:
    return genuine(vault, "person", row, _COLUMNS)


def put_person(tx: Transaction, vault: Vault, p: Person) -> None:
    """Writes a person's row; what may be written is decided by the caller, and logged there."""
    groups = json.dumps(list(p.groups), separators=(",", ":"))
    values = [p.tenant, p.email, groups, int(p.active), p.created, p.source, p.issuer, p.subject, p.until]
    attestation = vault.attest("person", fields(values))
    told = ", ".join(f"{name} = excluded.{name}" for name in (*_COLUMNS[2:], "attestation"))
    sql = "INSERT INTO people VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (tenant, email) DO UPDATE SET "
    tx.run(sql + told, *values, attestation)  # not REPLACE: a subject that is somebody else's already must fail


def apply_person(tx: Transaction, vault: Vault, tenant: str, change: PersonChange, cause: Cause) -> None:
    email = normal_email(change.email)
    before = person(tx, vault, tenant, email)
    if before is None and not change.active:
        raise NotFound("there is no person of that address: llmguard users list shows them")
    if before is None:
        refuse_second_self(tx, tenant, email)
    after = _changed(before or Person(tenant, email, (), True, tx.now), change)
    put_person(tx, vault, after)
    if not after.active:
        end_sessions(tx, tenant, email)
        tx.run("DELETE FROM passwords WHERE tenant = ? AND email = ?", tenant, email)
    kind = "person.added" if before is None else "person.changed" if after.active else "person.deactivated"
    details = {"email": email, "groups": list(after.groups), "active": after.active, "source": after.source}
    if before:
        details |= {"groups_before": list(before.groups), "active_before": before.active}
    log(tx, tenant, kind, details, cause)


def _changed(before: Person, change: PersonChange) -> Person:
    """Raises Conflict if the change would mix up what the guard says and what the provider says."""
    if not change.active:  # whoever comes back is bound to a subject anew
        return replace(before, active=False, issuer=None, subject=None, until=None if before.until is None else 0)
    source = change.source or before.source
    if source == "guard":
        return replace(before, groups=normal_groups(change.groups), active=True, source="guard", until=None)
    if change.groups:
        raise Conflict("the identity provider says which groups this person has; none are set here (--source guard)")
    kept = before.groups if before.source == "provider" else ()
    return replace(before, groups=kept, active=True, source="provider", until=before.until or 0)


def end_sessions(tx: Transaction, tenant: str, email: str) -> None:
    """Ends what a person is logged in with, and may still log in with."""
    for table in ("sessions", "login_codes", "refresh_tokens"):
        tx.run(f"DELETE FROM {table} WHERE tenant = ? AND email = ?", tenant, email)  # noqa: S608  names above


def refuse_second_self(tx: Transaction, tenant: str, email: str) -> None:
    """Raises Conflict if somebody is here already under an address of the same mailbox."""
    for row in tx.all("SELECT email FROM people WHERE tenant = ?", tenant):
        if same_human(row["email"], email):
            raise Conflict("that address is the same mailbox as a person's who is here already: one person, one vote")
