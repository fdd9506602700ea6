"""Keys of the data plane (``lg_…``): who calls. It owns the table api_keys and stores keyed hashes only."""

from __future__ import annotations

import re
import secrets
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from llmguard.errors import Conflict, GuardUnavailable, InvalidRequest, NotFound, Unauthenticated
from llmguard.identity.names import normal_email
from llmguard.identity.people import active_person
from llmguard.identity.rows import Cause, fields, genuine, log
from llmguard.model import Principal, new_id
from llmguard.store import Transaction
from llmguard.vault import Vault

KEY_PREFIX = "lg_"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}")


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
class KeyChange:
    """Adds a key of the data plane; ``hash`` is keyed, so the change can be shown to reviewers."""

    id: str
    name: str
    hash: str
    kind: Literal["human", "service", "agent"]
    human: str | None


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
    log(tx, tenant, "key.revoked", {"key": id_, "name": row["name"]}, Cause(by))
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
    return vault.attest("api key", fields(values))


def _genuine_key(vault: Vault, row: sqlite3.Row) -> bool:
    return genuine(vault, "api key", row, _KEY_COLUMNS)


def apply_key(tx: Transaction, vault: Vault, tenant: str, change: KeyChange, cause: Cause) -> None:
    if change.human is not None and active_person(tx, vault, tenant, change.human) is None:
        raise NotFound("the accountable human of a key must be an active person: llmguard users add EMAIL first")
    values = [tenant, change.id, change.name, change.hash, change.kind, change.human, tx.now, None]
    try:
        tx.run("INSERT INTO api_keys VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", *values, _attest_key(vault, values))
    except sqlite3.IntegrityError:
        raise Conflict("that key exists already") from None
    log(
        tx,
        tenant,
        "key.added",
        {"key": change.id, "name": change.name, "kind": change.kind, "human": change.human},
        cause,
    )
