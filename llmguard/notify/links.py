"""Links: which account of a chat is which person here. One account of a workspace, one person, both ways.

A link begins with a one-time code that its person made in a session, and ends at once. It owns the tables links and
link_codes. Invariant: a row that was edited in the database links nobody.
"""

from __future__ import annotations

import base64
import re
import secrets
import sqlite3
from dataclasses import dataclass

from llmguard import identity
from llmguard.errors import Conflict, NotAllowed, NotFound
from llmguard.identity import Cause, Person
from llmguard.identity.rows import fields, genuine, log
from llmguard.model import new_id
from llmguard.store import Transaction
from llmguard.vault import Vault

CODE_MS = 10 * 60 * 1000
"""Life of a code."""
_COLUMNS = ("tenant", "id", "email", "team", "account", "created")
_CODE = ("hash", "tenant", "email", "expires")


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody in a chat: the workspace, and who there."""

    team: str
    id: str


@dataclass(frozen=True, slots=True)
class Link:
    """``created``: UTC ms."""

    id: str
    email: str
    account: Account
    created: int


def code(tx: Transaction, vault: Vault, who: Person) -> tuple[str, int]:
    """A one-time code for this person, and when it ends (UTC ms); an earlier one ends now."""
    plain = base64.b32encode(secrets.token_bytes(10)).decode().lower()
    values = [_hash(vault, plain), who.tenant, who.email, tx.now + CODE_MS]
    tx.run("DELETE FROM link_codes WHERE (tenant = ? AND email = ?) OR expires <= ?", who.tenant, who.email, tx.now)
    attestation = vault.attest("link code", fields(values))
    tx.run("INSERT INTO link_codes VALUES (?, ?, ?, ?, ?)", *values, attestation)
    log(tx, who.tenant, "link.code", {"email": who.email}, Cause(who.email))
    return "-".join(plain[i : i + 4] for i in range(0, len(plain), 4)), tx.now + CODE_MS


def link(tx: Transaction, vault: Vault, tenant: str, plain: str, account: Account) -> Link:
    """Trades a code for a link, once. Raises NotAllowed or Conflict."""
    who = _of_code(tx, vault, tenant, plain)
    for row in tx.all("SELECT * FROM links WHERE tenant = ? AND team = ?", tenant, account.team):
        if account.id != row["account"] and who.email != row["email"]:
            continue
        if genuine(vault, "link", row, _COLUMNS):
            raise Conflict("this account, or this person's, is linked already: unlink it first")
        tx.run("DELETE FROM links WHERE tenant = ? AND id = ?", tenant, row["id"])
    values = [tenant, new_id(tx.now), who.email, account.team, account.id, tx.now]
    tx.run("INSERT INTO links VALUES (?, ?, ?, ?, ?, ?, ?)", *values, vault.attest("link", fields(values)))
    made = Link(str(values[1]), who.email, account, tx.now)
    _log(tx, tenant, "link.added", made, who.email)
    return made


def _of_code(tx: Transaction, vault: Vault, tenant: str, plain: str) -> Person:
    wrong = NotAllowed("this code is wrong, used or too old: make a new one in the inbox, on the account page")
    plain = plain.replace("-", "").strip().lower()
    if not re.fullmatch("[a-z2-7]{16}", plain):
        raise wrong
    row = tx.one("SELECT * FROM link_codes WHERE hash = ? AND tenant = ?", _hash(vault, plain), tenant)
    if row is None or not genuine(vault, "link code", row, _CODE) or row["expires"] <= tx.now:
        raise wrong
    who = identity.active_person(tx, vault, tenant, row["email"])
    if who is None or not tx.run("DELETE FROM link_codes WHERE hash = ?", row["hash"]):
        raise wrong
    return who


def person(tx: Transaction, vault: Vault, tenant: str, account: Account) -> Person:
    """Who that is here, at this moment. Raises NotAllowed."""
    row = tx.one("SELECT * FROM links WHERE tenant = ? AND team = ? AND account = ?", tenant, account.team, account.id)
    if row is None or not genuine(vault, "link", row, _COLUMNS):
        raise NotAllowed("this account is nobody's here: make a code in the inbox and send /llmguard link CODE")
    who = identity.active_person(tx, vault, tenant, row["email"])
    if who is None:
        raise NotAllowed("this person is not active, or has to log in at the identity provider again")
    return who


def of(tx: Transaction, vault: Vault, who: Person) -> tuple[Link, ...]:
    """The accounts of a person, oldest first."""
    rows = tx.all("SELECT * FROM links WHERE tenant = ? AND email = ? ORDER BY id", who.tenant, who.email)
    return tuple(_link(row) for row in rows if genuine(vault, "link", row, _COLUMNS))


def remove(tx: Transaction, who: Person, id_: str) -> Link:
    """A person ends a link of their own. Raises NotFound."""
    row = tx.one("SELECT * FROM links WHERE tenant = ? AND id = ? AND email = ?", who.tenant, id_, who.email)
    if row is None:
        raise NotFound("you have no such link")
    return _end(tx, who.tenant, row, who.email)


def unlink(tx: Transaction, tenant: str, account: Account) -> Link:
    """The same from the account's side. Raises NotFound."""
    sql = "SELECT * FROM links WHERE tenant = ? AND team = ? AND account = ?"
    row = tx.one(sql, tenant, account.team, account.id)
    if row is None:
        raise NotFound("this account is nobody's here")
    return _end(tx, tenant, row, row["email"])


def _end(tx: Transaction, tenant: str, row: sqlite3.Row, by: str) -> Link:
    ended = _link(row)
    tx.run("DELETE FROM links WHERE tenant = ? AND id = ?", tenant, ended.id)
    _log(tx, tenant, "link.removed", ended, by)
    return ended


def _log(tx: Transaction, tenant: str, kind: str, one: Link, by: str) -> None:
    details = {"link": one.id, "email": one.email, "team": one.account.team, "account": one.account.id}
    log(tx, tenant, kind, details, Cause(by))


def _link(row: sqlite3.Row) -> Link:
    return Link(row["id"], row["email"], Account(row["team"], row["account"]), row["created"])


def _hash(vault: Vault, plain: str) -> str:
    return vault.attest("link code hash", plain)
