"""Passwords of local accounts: argon2id over a keyed digest, for people whose groups are kept here.

It owns the table passwords; each row is attested and bound to its person. Hashing takes memory and tens of milliseconds
and is never done inside a unit of work: ``stored`` reads, ``check`` and ``hashed`` compute, ``login_with`` and
``set_password`` write. Invariant: a wrong password and an unknown person cost the same work and hear the same words.
"""

from __future__ import annotations

import hmac
import secrets
import sqlite3
from dataclasses import dataclass

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from llmguard.errors import GuardUnavailable, InvalidRequest, NotAllowed, Unauthenticated
from llmguard.identity.names import normal_email
from llmguard.identity.people import Person, active_person
from llmguard.identity.rows import Cause, fields, genuine, log
from llmguard.identity.sessions import IDLE_MS, Authentication, Login, end_others, open_session
from llmguard.store import Transaction
from llmguard.vault import Vault

MEMORY_KIB, ITERATIONS, LANES = 19 * 1024, 2, 1
"""OWASP Password Storage Cheat Sheet, "Argon2id"."""
SHORTEST, LONGEST = 8, 200
"""Characters of a password (NIST SP 800-63B §3.1.1.2: at least 8, and long ones accepted)."""
_PARAMETERS = f"$argon2id$v=19$m={MEMORY_KIB},t={ITERATIONS},p={LANES}$"
_NOBODY = _PARAMETERS + "AAAAAAAAAAAAAAAAAAAAAA$" + "A" * 43
"""What the password of somebody unknown is compared with."""
_COLUMNS = ("tenant", "email", "phc", "changed")
_WRONG = "wrong address or password; or log in with a code: llmguard users code EMAIL on the guard's host makes one"


@dataclass(frozen=True, slots=True)
class Proof:
    """Somebody knew the password behind ``phc``. ``anew``: what to store instead, if the parameters have changed."""

    tenant: str
    email: str
    phc: str
    anew: str | None


def acceptable(email: str, password: str) -> None:
    """Raises InvalidRequest for what cannot be a new password."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise InvalidRequest(f"a password has {SHORTEST} to {LONGEST} characters")
    if password.strip().lower() in (email, email.partition("@")[0]):
        raise InvalidRequest("the password is the address: choose another one")
    if len(set(password)) < 4:
        raise InvalidRequest("the password repeats the same few characters: choose another one")


# --------------------------------------------------------------------------- slow: outside units of work


def hashed(vault: Vault, tenant: str, email: str, password: str) -> str:
    """The PHC text of a password. Takes tens of milliseconds and 19 MiB."""
    kdf = Argon2id(salt=secrets.token_bytes(16), length=32, iterations=ITERATIONS, lanes=LANES, memory_cost=MEMORY_KIB)
    return kdf.derive_phc_encoded(_peppered(vault, tenant, email, password))


def check(vault: Vault, tenant: str, email: str, password: str, phc: str | None) -> Proof:
    """Compares with what is stored, as slowly for nobody (None). Raises Unauthenticated."""
    try:
        Argon2id.verify_phc_encoded(_peppered(vault, tenant, email, password), phc or _NOBODY)
    except InvalidKey:
        raise Unauthenticated(_WRONG) from None
    if phc is None:
        raise Unauthenticated(_WRONG)
    anew = None if phc.startswith(_PARAMETERS) else hashed(vault, tenant, email, password)
    return Proof(tenant, email, phc, anew)


def _peppered(vault: Vault, tenant: str, email: str, password: str) -> bytes:
    """Without the guard's session key, a stolen table cannot be tried; nor does a row fit another person."""
    return vault.attest("password", tenant, email, password).encode()


# --------------------------------------------------------------------------- units of work


def stored(tx: Transaction, vault: Vault, tenant: str, email: str) -> str | None:
    """The PHC text of somebody who may log in with a password. Raises GuardUnavailable if the entry was altered."""
    row = tx.one("SELECT * FROM passwords WHERE tenant = ? AND email = ?", tenant, email)
    who = active_person(tx, vault, tenant, email)
    if row is None or who is None or who.source != "guard":
        return None
    _genuine(vault, row)
    return str(row["phc"])


def login_with(
    tx: Transaction, vault: Vault, proof: Proof, *, idle_ms: int = IDLE_MS, replaces: str | None = None
) -> Login:
    """A session for whoever proved a password, if that still is the one. Raises Unauthenticated."""
    kept = stored(tx, vault, proof.tenant, proof.email)
    who = active_person(tx, vault, proof.tenant, proof.email)
    if who is None or kept is None or not hmac.compare_digest(kept, proof.phc):
        raise Unauthenticated(_WRONG)
    if proof.anew is not None:
        _put(tx, vault, proof.tenant, proof.email, proof.anew)
    how = Authentication("password", tx.now, ("pwd",))
    return open_session(tx, vault, who, how, idle_ms=idle_ms, replaces=replaces)


def set_password(tx: Transaction, vault: Vault, who: Person, phc: str, *, keep: str) -> None:
    """A person's own new password; every session but ``keep``, the one that asks, ends. Raises NotAllowed."""
    if who.source != "guard":
        raise NotAllowed("you log in at your identity provider: the password is kept there")
    _put(tx, vault, who.tenant, who.email, phc)
    end_others(tx, vault, who, keep)
    log(tx, who.tenant, "password.changed", {"email": who.email}, Cause(who.email))


def address(text: str) -> str:
    """The address that somebody logs in with. Raises Unauthenticated: what is no address is nobody's."""
    try:
        return normal_email(text)
    except InvalidRequest:
        raise Unauthenticated(_WRONG) from None


def _put(tx: Transaction, vault: Vault, tenant: str, email: str, phc: str) -> None:
    values = [tenant, email, phc, tx.now]
    tx.run(
        "INSERT OR REPLACE INTO passwords VALUES (?, ?, ?, ?, ?)", *values, vault.attest("password row", fields(values))
    )


def _genuine(vault: Vault, row: sqlite3.Row) -> None:
    if not genuine(vault, "password row", row, _COLUMNS):
        raise GuardUnavailable("this person's password entry was altered in the database: log in with a code")
