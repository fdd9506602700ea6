"""Identity: who is behind a credential. People, their one-time codes and sessions, and keys of the data plane.

It owns the tables people, login_codes, sessions and api_keys. It never sees a provider's key, never stores a credential
(keyed hashes only) and never believes a row: each row of people and keys carries an attestation over every field, each
session and code a MAC over its person, so that a row edited in the database by hand stops to count.
Invariant: sessions are worth nothing on the data plane, keys of the data plane nothing on the control plane.
"""

from __future__ import annotations

import base64
import hmac
import json
import re
import secrets
import sqlite3
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from llmguard import audit
from llmguard.errors import Conflict, GuardUnavailable, InvalidRequest, NotFound, Unauthenticated
from llmguard.model import AuditEntry, Principal, new_id
from llmguard.store import Transaction
from llmguard.vault import Vault

CODE_MS = 15 * 60 * 1000
SESSION_MS = 12 * 3600 * 1000
DEFAULT_GROUP = "reviewers"
BOOTSTRAP_UNTIL = 2
"""Active people from whom on a change needs somebody else's approval."""
KEY_PREFIX, SESSION_PREFIX = "lg_", "lgs_"
OPERATOR = "operator"
"""Who acts when a command works on the data folder itself: the owner of the host."""

_EMAIL = re.compile(r"[a-z0-9._%+'-]{1,64}@[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*")
_GROUP = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}")
_CODE_BYTES = (8, 7)
_SESSION_BYTES = (20, 20)


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who can log in and, in the right group, vote. ``created`` is UTC milliseconds."""

    tenant: str
    email: str
    groups: tuple[str, ...]
    active: bool
    created: int


@dataclass(frozen=True, slots=True)
class Key:
    """A key of the data plane without its secret. ``human`` is who is accountable for it, or None."""

    tenant: str
    id: str
    name: str
    kind: Literal["human", "service", "agent"]
    human: str | None
    created: int
    revoked: int | None


@dataclass(frozen=True, slots=True)
class PersonChange:
    """Sets a person's groups and whether the person is active; creates the person if there is none."""

    email: str
    groups: tuple[str, ...]
    active: bool = True


@dataclass(frozen=True, slots=True)
class KeyChange:
    """Adds a key of the data plane; ``hash`` is keyed, so the change can be shown to reviewers."""

    id: str
    name: str
    hash: str
    kind: Literal["human", "service", "agent"]
    human: str | None


Change = PersonChange | KeyChange


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a change takes effect, for the log: who did it, alone in bootstrap or under which approval."""

    by: str
    bootstrap: bool = False
    approval: str | None = None


# --------------------------------------------------------------------------- names


def normal_email(text: str) -> str:
    """The one spelling of an address: NFKC, lower case, ASCII only, so that two look-alikes are never two people.

    Raises InvalidRequest.
    """
    email = unicodedata.normalize("NFKC", text.strip()).lower()
    if len(email) > 254 or not _EMAIL.fullmatch(email):
        raise InvalidRequest("not an e-mail address that can be used: ASCII letters, one @, at most 254 characters")
    return email


def mailbox(email: str) -> str:
    """The address without ``+tag``: who is compared when one person must not act as two."""
    local, _, domain = email.partition("@")
    return f"{local.partition('+')[0] or local}@{domain}"


def same_human(one: str | None, other: str | None) -> bool:
    return one is not None and other is not None and mailbox(one) == mailbox(other)


def normal_groups(groups: Sequence[str]) -> tuple[str, ...]:
    """Sorted, distinct group names. Raises InvalidRequest."""
    names = tuple(sorted({g.strip().lower() for g in groups}))
    if len(names) > 32 or not all(_GROUP.fullmatch(g) for g in names):
        raise InvalidRequest("a group's name has up to 64 of a-z, 0-9, - and _; a person has up to 32 groups")
    return names


# --------------------------------------------------------------------------- people


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
    return _genuine(vault, "person", row, ("tenant", "email", "groups", "active", "created"))


def _genuine(vault: Vault, purpose: str, row: sqlite3.Row, columns: tuple[str, ...]) -> bool:
    return vault.attested(str(row["attestation"]), purpose, _fields([row[c] for c in columns]))


def _fields(values: Sequence[Any]) -> str:
    """One unambiguous text of a row's values, also of None."""
    return json.dumps(list(values), separators=(",", ":"), default=repr)


def _put_person(tx: Transaction, vault: Vault, p: Person) -> None:
    groups = json.dumps(list(p.groups), separators=(",", ":"))
    values = [p.tenant, p.email, groups, int(p.active), p.created]
    tx.run(
        "INSERT OR REPLACE INTO people (tenant, email, groups, active, created, attestation) VALUES (?, ?, ?, ?, ?, ?)",
        *values,
        vault.attest("person", _fields(values)),
    )


# --------------------------------------------------------------------------- changes


def encode(change: Change) -> bytes:
    """Canonical JSON: what reviewers of a change are shown, and what is carried out."""
    word = "person" if isinstance(change, PersonChange) else "key"
    return json.dumps({"change": word, **asdict(change)}, sort_keys=True, separators=(",", ":")).encode()


def decode(content: bytes) -> Change:
    """The reverse of ``encode``."""
    fields = json.loads(content)
    if fields.pop("change") == "person":
        return PersonChange(**{**fields, "groups": tuple(fields["groups"])})
    return KeyChange(**fields)


def apply(tx: Transaction, vault: Vault, tenant: str, change: Change, cause: Cause) -> None:
    """Carries a change out and writes it to the log. Raises Conflict, NotFound or InvalidRequest before it writes."""
    if isinstance(change, PersonChange):
        _apply_person(tx, vault, tenant, change, cause)
    else:
        _apply_key(tx, vault, tenant, change, cause)


def _apply_person(tx: Transaction, vault: Vault, tenant: str, change: PersonChange, cause: Cause) -> None:
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
    _log(tx, tenant, kind, details, cause)


def _refuse_second_self(tx: Transaction, tenant: str, email: str) -> None:
    for row in tx.all("SELECT email FROM people WHERE tenant = ?", tenant):
        if same_human(row["email"], email):
            raise Conflict("that address is the same mailbox as a person's who is here already: one person, one vote")


def _apply_key(tx: Transaction, vault: Vault, tenant: str, change: KeyChange, cause: Cause) -> None:
    if change.human is not None and active_person(tx, vault, tenant, change.human) is None:
        raise NotFound("the accountable human of a key must be an active person: llmguard users add EMAIL first")
    values = [tenant, change.id, change.name, change.hash, change.kind, change.human, tx.now, None]
    try:
        tx.run("INSERT INTO api_keys VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", *values, _attest_key(vault, values))
    except sqlite3.IntegrityError:
        raise Conflict("that key exists already") from None
    _log(
        tx,
        tenant,
        "key.added",
        {"key": change.id, "name": change.name, "kind": change.kind, "human": change.human},
        cause,
    )


def _log(tx: Transaction, tenant: str, kind: str, details: dict[str, Any], cause: Cause) -> None:
    details = {**details, "by": cause.by}
    if cause.bootstrap:
        details["bootstrap"] = True
    if cause.approval:
        details["approval"] = cause.approval
    audit.append(tx, [AuditEntry(kind, tenant, details)])


# --------------------------------------------------------------------------- keys of the data plane


def new_key(tx: Transaction, vault: Vault, name: str, human: str | None) -> tuple[str, KeyChange]:
    """A fresh secret and the change that would make it valid. The secret is shown once and stored nowhere."""
    if not _NAME.fullmatch(name):
        raise InvalidRequest("a key's name has up to 64 letters, digits, spaces, dots, dashes and underscores")
    token = KEY_PREFIX + secrets.token_urlsafe(32)
    human = None if human is None else normal_email(human)
    kind: Literal["human", "service"] = "service" if human is None else "human"
    return token, KeyChange(new_id(tx.now), name, _key_hash(vault, token), kind, human)


def authenticate(tx: Transaction, vault: Vault, token: str) -> Principal:
    """Who calls on the data plane. Only ``lg_`` keys count here. Raises Unauthenticated."""
    if not token.startswith(KEY_PREFIX) or not token.isascii():
        raise Unauthenticated("this is no key of this guard: llmguard keys add NAME makes one")
    row = tx.one("SELECT * FROM api_keys WHERE hash = ?", _key_hash(vault, token))
    if row is None:
        raise Unauthenticated(
            "unknown key: llmguard keys add NAME makes one; a new one may still wait for its approval"
        )
    if not _genuine_key(vault, row):
        raise Unauthenticated("this key's entry was altered in the database: revoke the key and add a new one")
    if row["revoked"] is not None:
        raise Unauthenticated("this key is revoked: llmguard keys add NAME makes a new one")
    if row["human"] is not None and active_person(tx, vault, row["tenant"], row["human"]) is None:
        raise Unauthenticated("the accountable human of this key is not active any more: add a key for somebody who is")
    return Principal(f"key:{row['id']}", row["tenant"], row["kind"], row["name"], row["human"])


def keys(tx: Transaction, vault: Vault, tenant: str) -> tuple[Key, ...]:
    """Every key whose entry is genuine, oldest first."""
    rows = tx.all("SELECT * FROM api_keys WHERE tenant = ? ORDER BY id", tenant)
    return tuple(_key(row) for row in rows if _genuine_key(vault, row))


def key(tx: Transaction, vault: Vault, tenant: str, id_: str) -> Key:
    """Raises NotFound, or GuardUnavailable if the entry was altered."""
    return _key(_key_row(tx, vault, tenant, id_))


def revoke_key(tx: Transaction, vault: Vault, tenant: str, id_: str, by: str) -> Key:
    """Ends a key, at once. Revoking twice changes nothing."""
    row = _key_row(tx, vault, tenant, id_)
    if row["revoked"] is not None:
        return _key(row)
    values = [row[c] for c in _KEY_COLUMNS[:-1]] + [tx.now]
    tx.run(
        "UPDATE api_keys SET revoked = ?, attestation = ? WHERE tenant = ? AND id = ?",
        *(tx.now, _attest_key(vault, values), tenant, id_),
    )
    _log(tx, tenant, "key.revoked", {"key": id_, "name": row["name"]}, Cause(by))
    return key(tx, vault, tenant, id_)


_KEY_COLUMNS = ("tenant", "id", "name", "hash", "kind", "human", "created", "revoked")


def _key_row(tx: Transaction, vault: Vault, tenant: str, id_: str) -> sqlite3.Row:
    row = tx.one("SELECT * FROM api_keys WHERE tenant = ? AND id = ?", tenant, id_)
    if row is None:
        raise NotFound("there is no such key: llmguard keys list shows them")
    if not _genuine_key(vault, row):
        raise GuardUnavailable(
            "this key's entry was altered in the database; it is refused everywhere: delete the entry"
        )
    return row


def _key(row: sqlite3.Row) -> Key:
    return Key(row["tenant"], row["id"], row["name"], row["kind"], row["human"], row["created"], row["revoked"])


def _key_hash(vault: Vault, token: str) -> str:
    return vault.attest("api key hash", token)


def _attest_key(vault: Vault, values: Sequence[Any]) -> str:
    return vault.attest("api key", _fields(values))


def _genuine_key(vault: Vault, row: sqlite3.Row) -> bool:
    return _genuine(vault, "api key", row, _KEY_COLUMNS)


# --------------------------------------------------------------------------- codes and sessions


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
    _log(tx, tenant, "login.code", {"email": email}, cause)
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
    _log(tx, who.tenant, "login", {"email": who.email}, Cause(who.email))
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
    _log(tx, who.tenant, "logout", {"email": who.email}, Cause(who.email))


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
