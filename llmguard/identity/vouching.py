"""Vouching: what an identity provider says of a person, and for how long that counts.

It owns the table refresh_tokens (sealed) and writes of people only what a provider may say: who they are there, from
the first login on, and, of the provider's own people, their groups. It never asks a provider anything; ``oidc`` does.
Invariant: one subject is one person, for good; a word that was not renewed in time stops to count.
"""

from __future__ import annotations

import hmac
import sqlite3
from collections.abc import Collection
from dataclasses import dataclass, field, replace

from llmguard.errors import GuardUnavailable, NotAllowed
from llmguard.identity.people import Person, accountable_person, end_sessions, person, put_person, refuse_second_self
from llmguard.identity.rows import Cause, log
from llmguard.store import Transaction
from llmguard.vault import Vault

BATCH = 8
"""Words that one asker renews at a time."""
_LEASE_MS = 2 * 60 * 1000
"""How long an asker may take for them before another one tries: a refresh token that is used twice is revoked."""


@dataclass(frozen=True, slots=True)
class Word:
    """What a provider says of somebody, checked. ``auth_time`` is UTC ms, 0 if it does not say.

    ``email`` is normal and believed; ``groups`` are ours. ``refresh``: what renews this word.
    """

    provider: str
    issuer: str
    subject: str
    email: str
    groups: tuple[str, ...]
    auth_time: int = 0
    amr: tuple[str, ...] = ()
    refresh: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Renewal:
    """A word that is due to be renewed."""

    person: Person
    provider: str
    refresh: str = field(repr=False)


def welcome(tx: Transaction, vault: Vault, tenant: str, word: Word, *, provision: bool, ttl_ms: int) -> Person:
    """The person who logged in at a provider; the first time, the person of that address, from then on bound to it.

    Raises NotAllowed if there is none, if that person is somebody else at the provider, or is not active.
    """
    bound = tx.one(
        "SELECT email FROM people WHERE tenant = ? AND issuer = ? AND subject = ?", tenant, word.issuer, word.subject
    )
    who = person(tx, vault, tenant, bound["email"] if bound else word.email)
    if who is None:
        who = _provisioned(tx, vault, tenant, word, provision)
    if not who.active:
        raise NotAllowed("this person is not active here: somebody in a group adds them again (llmguard users add)")
    if who.subject is None:
        who = replace(who, issuer=word.issuer, subject=word.subject)
        log(tx, tenant, "person.bound", {"email": who.email, "issuer": word.issuer}, Cause(word.provider))
    if not _same(who.subject, word.subject) or not _same(who.issuer, word.issuer):
        raise NotAllowed("this address belongs to somebody else at the identity provider: an operator looks into it")
    return _confirm(tx, vault, who, word, ttl_ms)


def _provisioned(tx: Transaction, vault: Vault, tenant: str, word: Word, provision: bool) -> Person:
    if not provision:
        raise NotAllowed("nobody of this address is known here: llmguard users add EMAIL --source provider")
    refuse_second_self(tx, tenant, word.email)
    log(tx, tenant, "person.added", {"email": word.email, "source": "provider"}, Cause(word.provider))
    return Person(tenant, word.email, (), True, tx.now, "provider", until=0)


def renew(tx: Transaction, vault: Vault, renewal: Renewal, word: Word, ttl_ms: int) -> None:
    """Writes a renewed word, unless the person was deactivated or bound anew while the provider was asked."""
    who = accountable_person(tx, vault, renewal.person.tenant, renewal.person.email)
    if who is not None and (who.issuer, who.subject) == (word.issuer, word.subject):
        _confirm(tx, vault, who, word, ttl_ms)


def _confirm(tx: Transaction, vault: Vault, who: Person, word: Word, ttl_ms: int) -> Person:
    """Renews what a provider says. The groups of the guard's own people stay what approved changes made them."""
    after = who
    if who.source == "provider":
        after = replace(who, groups=word.groups, until=tx.now + ttl_ms)
        if after.groups != who.groups:
            details = {"email": who.email, "groups": list(after.groups), "groups_before": list(who.groups)}
            log(tx, who.tenant, "person.changed", details, Cause(word.provider))
    put_person(tx, vault, after)
    if word.refresh is not None:
        place = f"{who.email}|{word.issuer}|{word.subject}"
        sealed = vault.seal(who.tenant, "refresh token", place, word.refresh.encode())
        row = (who.tenant, who.email, word.provider, sealed, tx.now + ttl_ms // 2)
        tx.run("INSERT OR REPLACE INTO refresh_tokens VALUES (?, ?, ?, ?, ?)", *row)
    return after


def withdraw(tx: Transaction, vault: Vault, renewal: Renewal) -> None:
    """The provider does not vouch any more: sessions end; of its own people no group is left and no vote counts."""
    tenant, email = renewal.person.tenant, renewal.person.email
    who = person(tx, vault, tenant, email)
    if who is not None and who.source == "provider":
        put_person(tx, vault, replace(who, groups=(), until=0))
        end_sessions(tx, tenant, email)
    for table in ("sessions", "login_codes"):  # other ways to log in are not the provider's to end
        tx.run(f"DELETE FROM {table} WHERE tenant = ? AND email = ? AND method = 'oidc'", tenant, email)  # noqa: S608
    tx.run("DELETE FROM refresh_tokens WHERE tenant = ? AND email = ?", tenant, email)
    details = {"email": email, "groups_before": list(renewal.person.groups)}
    log(tx, tenant, "person.withdrawn", details, Cause(renewal.provider))


def due(tx: Transaction, vault: Vault, needed: Collection[tuple[str, str]]) -> tuple[Renewal, ...]:
    """Up to ``BATCH`` words to renew, each given to one caller for two minutes; what nobody needs is forgotten.

    ``needed``: tenant and address of those whose word matters.
    """
    found: list[Renewal] = []
    for row in tx.all("SELECT * FROM refresh_tokens"):
        renewal = _opened(tx, vault, row)
        place = (row["tenant"], row["email"])
        if renewal is None or place not in needed:
            tx.run("DELETE FROM refresh_tokens WHERE tenant = ? AND email = ?", *place)
        elif row["due"] <= tx.now and len(found) < BATCH:
            tx.run("UPDATE refresh_tokens SET due = ? WHERE tenant = ? AND email = ?", tx.now + _LEASE_MS, *place)
            found.append(renewal)
    return tuple(found)


def _opened(tx: Transaction, vault: Vault, row: sqlite3.Row) -> Renewal | None:
    who = accountable_person(tx, vault, row["tenant"], row["email"])
    if who is None:
        return None
    try:
        place = f"{who.email}|{who.issuer}|{who.subject}"
        return Renewal(who, row["provider"], vault.open(who.tenant, "refresh token", place, row["sealed"]).decode())
    except GuardUnavailable:  # another subject's, or altered: the next login brings a new one
        return None


def _same(one: str | None, other: str) -> bool:
    return one is not None and hmac.compare_digest(one.encode(), other.encode())
