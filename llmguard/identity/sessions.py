"""One-time codes and sessions of people. A session is worth nothing on the data plane.

It owns the tables login_codes and sessions: keyed hashes only, each with a MAC over its person inside the secret.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from dataclasses import dataclass

from llmguard.errors import NotFound, Unauthenticated
from llmguard.identity.people import Person, active_person
from llmguard.identity.rows import Cause, log
from llmguard.store import Transaction
from llmguard.vault import Vault

CODE_MS = 15 * 60 * 1000
SESSION_MS = 12 * 3600 * 1000
SESSION_PREFIX = "lgs_"
_CODE_BYTES = (8, 7)
_SESSION_BYTES = (20, 20)


@dataclass(frozen=True, slots=True)
class Login:
    """A fresh session. ``expires`` is UTC milliseconds."""

    token: str
    person: Person
    expires: int

    def __repr__(self) -> str:
        return f"Login({self.person.email})"


def issue_code(tx: Transaction, vault: Vault, tenant: str, email: str, cause: Cause) -> str:
    """A one-time code for an active person, good for 15 minutes; earlier unused ones end. Raises NotFound."""
    if active_person(tx, vault, tenant, email) is None:
        raise NotFound("there is no active person of that address: llmguard users add EMAIL first")
    tx.run("DELETE FROM login_codes WHERE tenant = ? AND email = ? AND used IS NULL", tenant, email)
    expires = tx.now + CODE_MS
    code = _mint(vault, "login code", _CODE_BYTES, tenant, email, str(expires))
    hash_ = vault.attest("login code hash", code)
    tx.run("INSERT INTO login_codes VALUES (?, ?, ?, ?, NULL)", hash_, tenant, email, expires)
    log(tx, tenant, "login.code", {"email": email}, cause)
    return "-".join(code[i : i + 4] for i in range(0, len(code), 4))


def login(tx: Transaction, vault: Vault, code: str) -> Login:
    """Trades a code for a session, once. Raises Unauthenticated."""
    plain = code.replace("-", "").strip().lower()
    wrong = Unauthenticated("this code is wrong, used or older than 15 minutes: ask the guard's operator for a new one")
    if not plain.isascii():
        raise wrong
    hash_ = vault.attest("login code hash", plain)
    row = tx.one("SELECT * FROM login_codes WHERE hash = ?", hash_)
    if row is None or not _minted(
        vault, "login code", plain, _CODE_BYTES, row["tenant"], row["email"], str(row["expires"])
    ):
        raise wrong
    if not tx.run(
        "UPDATE login_codes SET used = ? WHERE hash = ? AND used IS NULL AND expires > ?", tx.now, hash_, tx.now
    ):
        raise wrong
    who = active_person(tx, vault, row["tenant"], row["email"])
    if who is None:
        raise wrong
    return _open_session(tx, vault, who)


def _open_session(tx: Transaction, vault: Vault, who: Person) -> Login:
    expires = tx.now + SESSION_MS
    body = _mint(vault, "session", _SESSION_BYTES, who.tenant, who.email, str(tx.now), str(expires))
    token = SESSION_PREFIX + body
    tx.run(
        "INSERT INTO sessions VALUES (?, ?, ?, ?, ?, NULL)",
        *(vault.attest("session hash", token), who.tenant, who.email, tx.now, expires),
    )
    log(tx, who.tenant, "login", {"email": who.email}, Cause(who.email))
    return Login(token, who, expires)


def session(tx: Transaction, vault: Vault, token: str) -> Person:
    """Who acts on the control plane. Only sessions count here. Raises Unauthenticated."""
    if not token.startswith(SESSION_PREFIX) or not token.isascii():
        raise Unauthenticated("the control plane takes sessions of people only: llmguard login --code CODE")
    over = Unauthenticated("the session is over: llmguard login --code CODE")
    row = tx.one("SELECT * FROM sessions WHERE hash = ?", vault.attest("session hash", token))
    if row is None or row["revoked"] is not None or row["expires"] <= tx.now:
        raise over
    bound = (row["tenant"], row["email"], str(row["created"]), str(row["expires"]))
    if not _minted(vault, "session", token.removeprefix(SESSION_PREFIX), _SESSION_BYTES, *bound):
        raise Unauthenticated("this session's entry was altered in the database: log in again")
    who = active_person(tx, vault, row["tenant"], row["email"])
    if who is None:
        raise Unauthenticated("this person is not active, or the entry was altered in the database")
    return who


def logout(tx: Transaction, vault: Vault, token: str) -> None:
    """Ends a session. Raises Unauthenticated if it was none."""
    who = session(tx, vault, token)
    tx.run("UPDATE sessions SET revoked = ? WHERE hash = ?", tx.now, vault.attest("session hash", token))
    log(tx, who.tenant, "logout", {"email": who.email}, Cause(who.email))


def forget_expired(tx: Transaction) -> None:
    """Drops codes and sessions that ended more than a day ago."""
    before = tx.now - 24 * 3600 * 1000
    tx.run("DELETE FROM login_codes WHERE expires < ?", before)
    tx.run("DELETE FROM sessions WHERE expires < ?", before)


def _mint(vault: Vault, purpose: str, sizes: tuple[int, int], *bound: str) -> str:
    """Random bytes and a MAC that ties them to ``bound``: a stored row that names another person does not fit."""
    secret = secrets.token_bytes(sizes[0])
    raw = secret + _mac(vault, purpose, secret, *bound)[: sizes[1]]
    return base64.b32encode(raw).decode().lower().rstrip("=")


def _minted(vault: Vault, purpose: str, text: str, sizes: tuple[int, int], *bound: str) -> bool:
    try:
        raw = base64.b32decode(text.upper() + "=" * (-len(text) % 8))
    except ValueError:
        return False
    secret, mac = raw[: sizes[0]], raw[sizes[0] :]
    return hmac.compare_digest(mac, _mac(vault, purpose, secret, *bound)[: sizes[1]])


def _mac(vault: Vault, purpose: str, secret: bytes, *bound: str) -> bytes:
    return bytes.fromhex(vault.attest(purpose, secret.hex(), *bound))
