"""One-time codes and sessions of people. A session is worth nothing on the data plane.

It owns the tables login_codes and sessions: keyed hashes of the secrets, each row attested over every field. A row that
is over is deleted, so nothing can be brought back to life. Invariant: a session says how and when its person logged in,
and says so of nobody else.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import sqlite3
from dataclasses import dataclass, field
from typing import Any, Literal

from llmguard.errors import Conflict, NotFound, Unauthenticated
from llmguard.identity.people import Person, accountable_person, active_person
from llmguard.identity.rows import Cause, fields, genuine, log
from llmguard.store import Transaction
from llmguard.vault import Vault

Method = Literal["code", "oidc", "password"]
CODE_MS = 15 * 60 * 1000
"""Life of a code that the operator made."""
HANDOVER_MS = 2 * 60 * 1000
"""Life of a code that carries a login from the browser to the command line."""
SESSION_MS = 12 * 3600 * 1000
IDLE_MS = 3600 * 1000
TOUCH_MS = 60 * 1000
"""How coarsely a session's last use is known."""
SESSION_PREFIX = "lgs_"
_CODE = ("hash", "tenant", "email", "expires", "method", "auth_time", "amr", "issuer", "subject", "challenge")
_SESSION = (
    *("hash", "tenant", "email", "method", "auth_time", "amr", "issuer", "subject"),
    *("created", "expires", "idle", "seen"),
)


@dataclass(frozen=True, slots=True)
class Authentication:
    """How somebody proved who they are. ``auth_time``: when, UTC ms; 0 if that is unknown, which is never fresh.

    ``amr``: by what means (RFC 8176). ``issuer`` and ``subject``: who they are at an identity provider.
    """

    method: Method
    auth_time: int
    amr: tuple[str, ...] = ()
    issuer: str | None = None
    subject: str | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """Who acts, and how they logged in. Times are UTC milliseconds."""

    person: Person
    how: Authentication
    expires: int
    seen: int

    @property
    def auth_time(self) -> int:
        return self.how.auth_time


@dataclass(frozen=True, slots=True)
class Login:
    """A fresh session. ``expires`` is UTC milliseconds."""

    token: str = field(repr=False)
    person: Person
    expires: int


@dataclass(frozen=True, slots=True)
class OwnSession:
    """Where somebody is logged in, as that person is told. Times are UTC milliseconds."""

    id: str
    method: Method
    created: int
    seen: int
    expires: int
    current: bool


# --------------------------------------------------------------------------- codes


def issue_code(tx: Transaction, vault: Vault, tenant: str, email: str, cause: Cause) -> str:
    """A one-time code for an active person, good for 15 minutes; earlier unused ones end. Raises NotFound, Conflict."""
    who = accountable_person(tx, vault, tenant, email)
    if who is None:
        raise NotFound("there is no active person of that address: llmguard users add EMAIL first")
    if who.source == "provider":
        raise Conflict("this person logs in at the identity provider: llmguard login")
    tx.run("DELETE FROM login_codes WHERE tenant = ? AND email = ? AND method = 'code'", tenant, email)
    code = _new_code(tx, vault, who, tx.now + CODE_MS, Authentication("code", 0, ("otp",)), "")
    log(tx, tenant, "login.code", {"email": email}, cause)
    return "-".join(code[i : i + 4] for i in range(0, len(code), 4))


def hand_over(tx: Transaction, vault: Vault, who: Person, how: Authentication, challenge: str) -> str:
    """A one-time code that carries a login to whoever holds the verifier of ``challenge`` (S256), for two minutes."""
    return _new_code(tx, vault, who, tx.now + HANDOVER_MS, how, challenge)


def _new_code(tx: Transaction, vault: Vault, who: Person, expires: int, how: Authentication, challenge: str) -> str:
    code = base64.b32encode(secrets.token_bytes(15)).decode().lower()
    values = [_hash(vault, "login code", code), who.tenant, who.email, expires, *_told(how), challenge]
    marks = ", ".join("?" * (len(_CODE) + 1))
    tx.run(f"INSERT INTO login_codes VALUES ({marks})", *values, vault.attest("login code", fields(values)))  # noqa: S608
    return code


def login(
    tx: Transaction,
    vault: Vault,
    code: str,
    *,
    verifier: str = "",
    idle_ms: int = IDLE_MS,
    replaces: str | None = None,
) -> Login:
    """Trades a code for a session, once. ``verifier``: of the challenge that the code was made for.

    ``replaces``: an earlier session of the same person, which ends. Raises Unauthenticated.
    """
    plain = code.replace("-", "").strip().lower()
    wrong = Unauthenticated(
        "this code is wrong, used or too old: ask the guard's operator for a new one, or log in anew"
    )
    if not plain.isascii() or not verifier.isascii():
        raise wrong
    hash_ = _hash(vault, "login code", plain)
    row = tx.one("SELECT * FROM login_codes WHERE hash = ?", hash_)
    if row is None or not genuine(vault, "login code", row, _CODE) or row["expires"] <= tx.now:
        raise wrong
    if not hmac.compare_digest(row["challenge"].encode(), (s256(verifier) if verifier else "").encode()):
        raise wrong
    who = active_person(tx, vault, row["tenant"], row["email"])
    if who is None or not tx.run("DELETE FROM login_codes WHERE hash = ?", hash_):
        raise wrong
    how = _how(row)
    if how.method == "code":
        how = Authentication("code", tx.now, how.amr)
    return open_session(tx, vault, who, how, idle_ms=idle_ms, replaces=replaces)


def s256(verifier: str) -> str:
    """The challenge of a verifier (RFC 7636 §4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


# --------------------------------------------------------------------------- sessions


def open_session(
    tx: Transaction,
    vault: Vault,
    who: Person,
    how: Authentication,
    *,
    idle_ms: int = IDLE_MS,
    replaces: str | None = None,
) -> Login:
    """A session of 12 hours, which ends after ``idle_ms`` of no use. ``replaces``: as for ``login``."""
    if replaces is not None and replaces.isascii():
        old = _hash(vault, "session", replaces)
        tx.run("DELETE FROM sessions WHERE hash = ? AND tenant = ? AND email = ?", old, who.tenant, who.email)
    token = SESSION_PREFIX + secrets.token_urlsafe(32)
    expires = tx.now + SESSION_MS
    values = [_hash(vault, "session", token), who.tenant, who.email, *_told(how), tx.now, expires, idle_ms, tx.now]
    marks = ", ".join("?" * (len(_SESSION) + 1))
    tx.run(f"INSERT INTO sessions VALUES ({marks})", *values, vault.attest("session", fields(values)))  # noqa: S608
    details: dict[str, Any] = {"email": who.email, "method": how.method, "amr": list(how.amr)}
    log(tx, who.tenant, "login", {**details, "auth_time": how.auth_time, "issuer": how.issuer}, Cause(who.email))
    return Login(token, who, expires)


def session(tx: Transaction, vault: Vault, token: str) -> Session:
    """Who acts on the control plane. Only sessions count here. Raises Unauthenticated."""
    row = _row(tx, vault, token)
    if accountable_person(tx, vault, row["tenant"], row["email"]) is None:
        raise Unauthenticated("this person is not active, or the entry was altered in the database")
    who, how = active_person(tx, vault, row["tenant"], row["email"]), _how(row)
    if who is None:
        raise Unauthenticated("the identity provider has not confirmed this person for too long: llmguard login")
    if how.issuer is not None and (how.issuer, how.subject) != (who.issuer, who.subject):
        raise Unauthenticated("the session is of another subject of the identity provider: llmguard login")
    return Session(who, how, row["expires"], row["seen"])


def touch(tx: Transaction, vault: Vault, token: str) -> None:
    """Notes that a session was used. Raises Unauthenticated."""
    row = _row(tx, vault, token)
    if row["seen"] + TOUCH_MS > tx.now:
        return
    values = [tx.now if name == "seen" else row[name] for name in _SESSION]
    attestation = vault.attest("session", fields(values))
    tx.run("UPDATE sessions SET seen = ?, attestation = ? WHERE hash = ?", tx.now, attestation, row["hash"])


def logout(tx: Transaction, vault: Vault, token: str) -> Session:
    """Ends a session, and says which. Raises Unauthenticated if it was none."""
    ended = session(tx, vault, token)
    tx.run("DELETE FROM sessions WHERE hash = ?", _hash(vault, "session", token))
    log(tx, ended.person.tenant, "logout", {"email": ended.person.email}, Cause(ended.person.email))
    return ended


def sessions_of(tx: Transaction, vault: Vault, who: Person, token: str) -> tuple[OwnSession, ...]:
    """Where a person is logged in now, newest first. ``token``: of the session that asks."""
    mine, now = _hash(vault, "session", token), tx.now
    sql = (
        "SELECT * FROM sessions WHERE tenant = ? AND email = ? AND min(expires, seen + idle) > ? ORDER BY created DESC"
    )
    return tuple(
        OwnSession(_name(row), row["method"], row["created"], row["seen"], row["expires"], row["hash"] == mine)
        for row in tx.all(sql, who.tenant, who.email, now)
        if _genuine(vault, row)
    )


def end_own(tx: Transaction, vault: Vault, who: Person, id_: str) -> None:
    """Ends one of a person's sessions, by its id. Raises NotFound."""
    rows = tx.all("SELECT * FROM sessions WHERE tenant = ? AND email = ?", who.tenant, who.email)
    found = [row["hash"] for row in rows if hmac.compare_digest(_name(row), id_)]
    if not found:
        raise NotFound("there is no such session of yours: it may be over already")
    tx.run("DELETE FROM sessions WHERE hash = ?", found[0])
    log(tx, who.tenant, "logout", {"email": who.email}, Cause(who.email))


def _name(row: sqlite3.Row) -> str:
    """What a session is called: a part of its hash, which opens nothing."""
    return str(row["hash"])[:16]


def end_others(tx: Transaction, vault: Vault, who: Person, token: str) -> None:
    """Ends what a person is logged in with, and may still log in with, but for this one session."""
    mine = (who.tenant, who.email)
    tx.run("DELETE FROM sessions WHERE tenant = ? AND email = ? AND hash <> ?", *mine, _hash(vault, "session", token))
    tx.run("DELETE FROM login_codes WHERE tenant = ? AND email = ?", *mine)


def live(tx: Transaction, vault: Vault) -> set[tuple[str, str]]:
    """Tenant and address of everybody who has a session, or is on the way to one."""
    rows = tx.all("SELECT * FROM sessions WHERE min(expires, seen + idle) > ?", tx.now)
    codes = tx.all("SELECT * FROM login_codes WHERE expires > ? AND method = 'oidc'", tx.now)
    found = {(r["tenant"], r["email"]) for r in rows if _genuine(vault, r)}
    return found | {(r["tenant"], r["email"]) for r in codes if genuine(vault, "login code", r, _CODE)}


def forget_expired(tx: Transaction) -> None:
    """Drops codes and sessions that are over."""
    tx.run("DELETE FROM login_codes WHERE expires < ?", tx.now)
    tx.run("DELETE FROM sessions WHERE min(expires, seen + idle) < ?", tx.now)


def _row(tx: Transaction, vault: Vault, token: str) -> sqlite3.Row:
    if not token.startswith(SESSION_PREFIX) or not token.isascii():
        raise Unauthenticated("the control plane takes sessions of people only: llmguard login")
    row = tx.one("SELECT * FROM sessions WHERE hash = ?", _hash(vault, "session", token))
    if row is None or min(row["expires"], row["seen"] + row["idle"]) <= tx.now:
        raise Unauthenticated("the session is over: llmguard login")
    if not _genuine(vault, row):
        raise Unauthenticated("this session's entry was altered in the database: log in again")
    return row


def _genuine(vault: Vault, row: sqlite3.Row) -> bool:
    return genuine(vault, "session", row, _SESSION)


def _hash(vault: Vault, purpose: str, secret: str) -> str:
    return vault.attest(f"{purpose} hash", secret)


def _told(how: Authentication) -> list[Any]:
    return [how.method, how.auth_time, json.dumps(list(how.amr)), how.issuer, how.subject]


def _how(row: sqlite3.Row) -> Authentication:
    return Authentication(row["method"], row["auth_time"], tuple(json.loads(row["amr"])), row["issuer"], row["subject"])
