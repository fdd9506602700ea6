"""Keys of the data plane: who calls. It owns the table api_keys and stores keyed hashes only.

A key is one that the guard made (``lg_…``), or a provider's own key that was linked to somebody. There is no edit:
another scope, human or end is another key.
"""

from __future__ import annotations

import re
import secrets
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from llmguard.errors import Conflict, GuardUnavailable, InvalidRequest, NotFound, Unauthenticated
from llmguard.identity.names import normal_email
from llmguard.identity.people import accountable_person
from llmguard.identity.rows import Cause, fields, genuine, log, page
from llmguard.model import Principal, new_id
from llmguard.store import Transaction
from llmguard.vault import Vault

KEY_PREFIX = "lg_"
Kind = Literal["human", "service", "agent"]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}")
_SCOPE = re.compile(r"[a-z0-9*][a-z0-9*._-]{0,63}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_PASSED, _KEY = "pass:", "key:"
MAX_SCOPES = 32
LONGEST = 10 * 366 * 86400
"""Seconds that a key may live."""
_COLUMNS = tuple(["tenant", "id", "name", "hash", "kind", "human", "scopes", "expires", "linked", "created", "revoked"])


@dataclass(frozen=True, slots=True)
class Key:
    """A key of the data plane without its secret. ``human`` is who is accountable for it, or None.

    ``scopes`` as in Principal; ``expires`` and ``revoked`` in UTC milliseconds, or None; ``linked``: a provider's key.
    """

    tenant: str
    id: str
    name: str
    kind: Kind
    human: str | None
    scopes: tuple[str, ...]
    expires: int | None
    linked: bool
    created: int
    revoked: int | None


@dataclass(frozen=True, slots=True)
class KeyChange:
    """Adds a key of the data plane; ``hash`` is keyed, so the change can be shown to reviewers.

    ``linked``: the key is a provider's own, which is known by its digest alone.
    """

    id: str
    name: str
    hash: str
    kind: Kind
    human: str | None
    scopes: tuple[str, ...] = ()
    expires: int | None = None
    linked: bool = False


# --------------------------------------------------------------------------- making


def new_key(
    tx: Transaction,
    vault: Vault,
    name: str,
    human: str | None,
    *,
    agent: bool = False,
    scopes: Sequence[str] = (),
    lifetime: int | None = None,
) -> tuple[str, KeyChange]:
    """A fresh secret and the change that would make it valid. The secret is shown once and stored nowhere.

    ``agent``: the key is an agent's, who acts for ``human``. ``lifetime`` in seconds; None: until it is revoked.
    Raises InvalidRequest.
    """
    if not _NAME.fullmatch(name):
        raise InvalidRequest("a key's name has up to 64 letters, digits, spaces, dots, dashes and underscores")
    if agent and human is None:
        raise InvalidRequest("an agent acts for somebody: --agent --human EMAIL")
    token = KEY_PREFIX + secrets.token_urlsafe(32)
    human = None if human is None else normal_email(human)
    kind: Kind = "agent" if agent else "service" if human is None else "human"
    change = KeyChange(new_id(tx.now), name, _hash(vault, token), kind, human, _scopes(scopes), _end(tx, lifetime))
    return token, change


def link_key(
    tx: Transaction, digest: str, human: str, *, scopes: Sequence[str] = (), lifetime: int | None = None
) -> KeyChange:
    """The change that makes ``human`` accountable for a provider's key, known by its digest. Raises InvalidRequest."""
    if not _DIGEST.fullmatch(digest):
        raise InvalidRequest("a digest has 64 hex digits: the guard names it when it refuses a key")
    return KeyChange(
        id=new_id(tx.now),
        name=f"provider key {digest[:8]}",
        hash=digest,
        kind="human",
        human=normal_email(human),
        scopes=_scopes(scopes),
        expires=_end(tx, lifetime),
        linked=True,
    )


def _scopes(scopes: Sequence[str]) -> tuple[str, ...]:
    names = tuple(sorted(set(scopes)))
    if len(names) > MAX_SCOPES or not all(_SCOPE.fullmatch(s) for s in names):
        raise InvalidRequest("a scope is a kind or a pattern of operations, as in inference, chat.*, action.db.export")
    return names


def _end(tx: Transaction, lifetime: int | None) -> int | None:
    if lifetime is None:
        return None
    if not 0 < lifetime <= LONGEST:
        raise InvalidRequest("a key lives for at least a second and at most ten years")
    return tx.now + lifetime * 1000


def apply_key(tx: Transaction, vault: Vault, tenant: str, change: KeyChange, cause: Cause) -> None:
    if change.human is not None and accountable_person(tx, vault, tenant, change.human) is None:
        raise NotFound("the accountable human of a key must be an active person: llmguard users add EMAIL first")
    if change.expires is not None and change.expires <= tx.now:
        raise Conflict("the key would be expired already: ask for a new one")
    values: list[Any] = [tenant, change.id, change.name, change.hash, change.kind, change.human]
    values += [" ".join(change.scopes), change.expires, int(change.linked), tx.now, None]
    try:
        tx.run(
            "INSERT INTO api_keys VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(*values, vault.attest("api key", fields(values))),
        )
    except sqlite3.IntegrityError:
        raise Conflict("that key exists already: llmguard keys list shows it") from None
    details = {"key": change.id, "name": change.name, "kind": change.kind, "human": change.human}
    limits = {"scopes": list(change.scopes), "expires": change.expires, "linked": change.linked}
    log(tx, tenant, "key.added", details | limits, cause)


# --------------------------------------------------------------------------- who calls


def authenticate(tx: Transaction, vault: Vault, token: str) -> Principal:
    """Who calls on the data plane with an ``lg_`` key. Raises Unauthenticated."""
    if not token.startswith(KEY_PREFIX) or not token.isascii():
        raise Unauthenticated("this is no key of this guard: llmguard keys add NAME makes one")
    found = _holder(tx, vault, _hash(vault, token), linked=False)
    if found is None:
        raise Unauthenticated(
            "unknown key: llmguard keys add NAME makes one; a new one may still wait for its approval"
        )
    return found


def passed_through(tx: Transaction, vault: Vault, token: str) -> Principal:
    """Who calls with a provider's own key: whoever it is linked to, else a tenant of its own, accountable to nobody.

    Raises Unauthenticated.
    """
    digest = _hash(vault, token)
    name = _PASSED + digest
    return _holder(tx, vault, digest, linked=True) or Principal(name, name, "service", name)


def ensure_in_force(tx: Transaction, vault: Vault, principal: Principal) -> None:
    """Whether a caller who was let in a while ago would be let in now. Raises Unauthenticated."""
    if principal.id.startswith(_KEY):
        id_ = principal.id.removeprefix(_KEY)
        row = tx.one("SELECT * FROM api_keys WHERE tenant = ? AND id = ?", principal.tenant, id_)
        if row is None or not _genuine(vault, row):
            raise Unauthenticated("this key's entry was altered in the database: add a new one")
        _ensure(tx, vault, row)
    elif principal.human is not None and accountable_person(tx, vault, principal.tenant, principal.human) is None:
        raise Unauthenticated("the accountable human of this caller is not active any more")


def unlinked(tenant: str) -> str | None:
    """The digest of the provider's key whose tenant this is, as ``llmguard keys link`` takes it; None for any other."""
    return tenant.removeprefix(_PASSED) if tenant.startswith(_PASSED) else None


def _holder(tx: Transaction, vault: Vault, hash_: str, *, linked: bool) -> Principal | None:
    row = tx.one("SELECT * FROM api_keys WHERE hash = ? AND revoked IS NULL", hash_)
    if row is None:  # one that was revoked is not unknown: a provider key would be anybody's again
        row = tx.one("SELECT * FROM api_keys WHERE hash = ? LIMIT 1", hash_)
    if row is None:
        return None
    if not _genuine(vault, row) or bool(row["linked"]) is not linked:
        raise Unauthenticated("this key's entry was altered in the database: revoke the key and add a new one")
    _ensure(tx, vault, row)
    scopes = tuple(row["scopes"].split())
    return Principal(f"{_KEY}{row['id']}", row["tenant"], row["kind"], row["name"], row["human"], scopes)


def _ensure(tx: Transaction, vault: Vault, row: sqlite3.Row) -> None:
    """Raises Unauthenticated."""
    if row["revoked"] is not None:
        raise Unauthenticated("this key is revoked: llmguard keys add NAME makes a new one")
    if row["expires"] is not None and row["expires"] <= tx.now:
        raise Unauthenticated("this key is expired: llmguard keys add NAME makes a new one")
    if row["human"] is not None and accountable_person(tx, vault, row["tenant"], row["human"]) is None:
        raise Unauthenticated("the accountable human of this key is not active any more: add a key for somebody who is")


# --------------------------------------------------------------------------- looking after them


def keys(tx: Transaction, vault: Vault, tenant: str) -> tuple[Key, ...]:
    """Every key whose entry is genuine, oldest first."""
    return keys_page(tx, vault, tenant)[0]


def keys_page(
    tx: Transaction, vault: Vault, tenant: str, after: str | None = None, limit: int | None = None
) -> tuple[tuple[Key, ...], str | None]:
    """The same from an id on, at most ``limit``, and where the next page begins."""
    rows, following = page(tx, "api_keys", "id", tenant, after, limit)
    return tuple(_key(row) for row in rows if _genuine(vault, row)), following


def keys_of(tx: Transaction, tenant: str, human: str) -> int:
    """How many keys a person is accountable for that are neither revoked nor expired."""
    row = tx.one(
        "SELECT count(*) AS n FROM api_keys WHERE tenant = ? AND human = ? AND revoked IS NULL"
        " AND (expires IS NULL OR expires > ?)",
        *(tenant, human, tx.now),
    )
    return int(row["n"]) if row is not None else 0


def key(tx: Transaction, vault: Vault, tenant: str, id_: str) -> Key:
    """Raises NotFound, or GuardUnavailable if the entry was altered."""
    return _key(_row(tx, vault, tenant, id_))


def revoke_key(tx: Transaction, vault: Vault, tenant: str, id_: str, by: str) -> Key:
    """Ends a key, at once. Revoking twice changes nothing."""
    row = _row(tx, vault, tenant, id_)
    if row["revoked"] is not None:
        return _key(row)
    values = [row[c] for c in _COLUMNS[:-1]] + [tx.now]
    tx.run(
        "UPDATE api_keys SET revoked = ?, attestation = ? WHERE tenant = ? AND id = ?",
        *(tx.now, vault.attest("api key", fields(values)), tenant, id_),
    )
    log(tx, tenant, "key.revoked", {"key": id_, "name": row["name"]}, Cause(by))
    return key(tx, vault, tenant, id_)


def _row(tx: Transaction, vault: Vault, tenant: str, id_: str) -> sqlite3.Row:
    row = tx.one("SELECT * FROM api_keys WHERE tenant = ? AND id = ?", tenant, id_)
    if row is None:
        raise NotFound("there is no such key: llmguard keys list shows them")
    if not _genuine(vault, row):
        raise GuardUnavailable(
            "this key's entry was altered in the database; it is refused everywhere: delete the entry"
        )
    return row


def _key(row: sqlite3.Row) -> Key:
    return Key(
        tenant=row["tenant"],
        id=row["id"],
        name=row["name"],
        kind=row["kind"],
        human=row["human"],
        scopes=tuple(row["scopes"].split()),
        expires=row["expires"],
        linked=bool(row["linked"]),
        created=row["created"],
        revoked=row["revoked"],
    )


def _hash(vault: Vault, token: str) -> str:
    return vault.attest("api key hash", token)


def _genuine(vault: Vault, row: sqlite3.Row) -> bool:
    return genuine(vault, "api key", row, _COLUMNS)
