"""Exceptions: findings that people marked wrong, at rest. Adding one is a change that somebody else approves.

It owns the table exceptions and never believes it: an altered entry excepts nothing. An entry holds a keyed digest of
the value and a sealed reason; log and outbox hold neither. Rows are never deleted and never come back into force, so
that their numbers tell whether anything changed.
"""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import Collection
from dataclasses import dataclass
from dataclasses import fields as fields_of
from typing import Any

from llmguard.errors import Conflict, GuardUnavailable, InvalidRequest, NotFound
from llmguard.excepted import Exceptions, FindingException
from llmguard.identity import Cause
from llmguard.identity.rows import fields, genuine, log, page
from llmguard.model import new_id
from llmguard.store import Transaction
from llmguard.vault import Vault

LEAST, LONGEST = 60, 366 * 86400
"""Seconds that an exception lasts; the settings may want less."""
MOST = 1000
"""Exceptions that are in force in one tenant at a time."""
MAX_VALUE, MAX_REASON = 4096, 2000
SECRET_QUORUM = 2
"""People who have to approve that a secret is none."""
_COLUMNS = (
  "tenant", "id", "tag", "type", "detector", "principal", "operation", "destination", "secret", "ends", "approval",
  "by", "reason", "created", "removed",
)  # fmt: skip
_SAYS = tuple(f.name for f in fields_of(FindingException))


@dataclass(frozen=True, slots=True)
class Scope:
    """Where an exception counts; "" means anywhere. ``detector``: only for what that one found."""

    principal: str = ""
    operation: str = ""
    destination: str = ""
    detector: str = ""


@dataclass(frozen=True, slots=True)
class ExceptionChange:
    """From its approval on, for ``seconds``, the value behind ``tag`` is no data of ``type`` in this scope.

    ``secret``: also where a detector of secrets found it, which two people approve.
    """

    id: str
    tag: str
    type: str
    detector: str
    principal: str
    operation: str
    destination: str
    secret: bool
    seconds: int
    reason: str

    def __repr__(self) -> str:
        return f"ExceptionChange({self.id}, {self.type})"


@dataclass(frozen=True, slots=True)
class Stored:
    """An exception as people are shown it. Times are UTC milliseconds; ``approval`` is "" for one of the set-up."""

    tenant: str
    id: str
    type: str
    detector: str
    principal: str
    operation: str
    destination: str
    secret: bool
    ends: int
    approval: str
    by: str
    reason: str
    created: int
    removed: int | None


def asked(  # noqa: PLR0913  one argument for each thing that is said
    tx: Transaction,
    vault: Vault,
    tenant: str,
    type_: str,
    value: str,
    scope: Scope,
    reason: str,
    seconds: int,
    secret: bool,
) -> ExceptionChange:
    """The change that excepts ``value``, of which it holds a digest alone. Raises InvalidRequest."""
    if not value or len(value) > MAX_VALUE:
        raise InvalidRequest(f"the value has 1 to {MAX_VALUE} characters")
    mark = vault.exception(tenant, type_, value)
    where = (scope.detector, scope.principal, scope.operation, scope.destination)
    change = ExceptionChange(new_id(tx.now), mark, type_, *where, secret, seconds, reason.strip())
    _possible(change)
    return change


def _possible(change: ExceptionChange) -> None:
    if not LEAST <= change.seconds <= LONGEST:
        raise InvalidRequest("an exception lasts from a minute to a year")
    if not change.type or not 1 <= len(change.reason) <= MAX_REASON:
        raise InvalidRequest(f"an exception is for a type of findings, with a reason of up to {MAX_REASON} characters")


def apply(tx: Transaction, vault: Vault, tenant: str, change: ExceptionChange, cause: Cause) -> None:
    """Its time begins now. Raises InvalidRequest or Conflict before it writes."""
    _possible(change)
    if cause.approval is None and (change.secret or not cause.bootstrap):
        raise InvalidRequest("an exception is made by an approval; one for a secret, also while one sets up alone")
    if _count(tx, tenant) >= MOST:
        raise Conflict(f"{MOST} exceptions are in force: remove some first")
    ends = tx.now + change.seconds * 1000
    scope = [change.detector, change.principal, change.operation, change.destination]
    reason = base64.b64encode(vault.seal(tenant, "exception", change.id, change.reason.encode())).decode()
    values = [tenant, change.id, change.tag, change.type, *scope, int(change.secret), ends, cause.approval or ""]
    _put(tx, vault, [*values, cause.by, reason, tx.now, None])
    details = {"exception": change.id, "type": change.type, "secret": change.secret, "ends": ends}
    told = zip(("detector", "principal", "operation", "destination"), scope, strict=True)
    log(tx, tenant, "exception.added", {**details, **dict(told)}, cause)


def _count(tx: Transaction, tenant: str) -> int:
    sql = "SELECT count(*) AS n FROM exceptions WHERE tenant = ? AND removed IS NULL AND ends > ?"
    row = tx.one(sql, tenant, tx.now)
    return int(row["n"]) if row else 0


def current(tx: Transaction, tenant: str) -> str:
    """What changes whenever an exception is added or removed."""
    row = tx.one("SELECT count(*) AS n, count(removed) AS gone FROM exceptions WHERE tenant = ?", tenant)
    return f"{row['n']}.{row['gone']}" if row else "0.0"


def in_force(tx: Transaction, vault: Vault, tenant: str, *, secrets: bool = True) -> Exceptions:
    """Every genuine one that is not over. ``secrets``: whether those for secrets count."""
    rows = tx.all("SELECT * FROM exceptions WHERE tenant = ? AND removed IS NULL AND ends > ?", tenant, tx.now)
    kept = (row for row in rows if _genuine(vault, row) and (secrets or not row["secret"]))
    return Exceptions.of(current(tx, tenant), [FindingException(**{c: row[c] for c in _SAYS}) for row in kept])


def still(tx: Transaction, vault: Vault, tenant: str, ids: Collection[str], *, secrets: bool = True) -> bool:
    """Whether all of these are in force at this moment. ``secrets``: whether those for secrets count."""
    rows = [tx.one("SELECT * FROM exceptions WHERE tenant = ? AND id = ?", tenant, id_) for id_ in ids]
    return all(
        r is not None
        and r["removed"] is None
        and r["ends"] > tx.now
        and (secrets or not r["secret"])
        and _genuine(vault, r)
        for r in rows
    )


def of(
    tx: Transaction, vault: Vault, tenant: str, after: str | None = None, limit: int | None = None
) -> tuple[tuple[Stored, ...], str | None]:
    """The genuine ones that are not over yet, oldest first, and where the next page begins."""
    rows, following = page(tx, "exceptions", "id", tenant, after, limit, current=True)
    return tuple(_stored(vault, row) for row in rows if _genuine(vault, row)), following


def remove(tx: Transaction, vault: Vault, tenant: str, id_: str, by: str) -> Stored:
    """Ends one at once, which needs nobody else. Raises NotFound, GuardUnavailable if it was altered."""
    row = _row(tx, tenant, id_)
    if not _genuine(vault, row):
        raise GuardUnavailable("this exception was altered in the database and excepts nothing: restore a backup")
    if row["removed"] is None:
        _put(tx, vault, [*(row[c] for c in _COLUMNS[:-1]), tx.now])
        log(tx, tenant, "exception.removed", {"exception": id_}, Cause(by))
    return _stored(vault, _row(tx, tenant, id_))


def _row(tx: Transaction, tenant: str, id_: str) -> sqlite3.Row:
    row = tx.one("SELECT * FROM exceptions WHERE tenant = ? AND id = ?", tenant, id_)
    if row is None:
        raise NotFound("there is no such exception: llmguard exceptions list shows them")
    return row


def _put(tx: Transaction, vault: Vault, values: list[Any]) -> None:
    places = ", ".join("?" * (len(_COLUMNS) + 1))
    attestation = vault.attest("exception", fields(values))
    tx.run(f"INSERT OR REPLACE INTO exceptions VALUES ({places})", *values, attestation)  # noqa: S608  question marks


def _genuine(vault: Vault, row: sqlite3.Row) -> bool:
    return genuine(vault, "exception", row, _COLUMNS)


def _stored(vault: Vault, row: sqlite3.Row) -> Stored:
    values = {c: row[c] for c in _COLUMNS if c != "tag"}
    reason = vault.open(row["tenant"], "exception", row["id"], base64.b64decode(row["reason"])).decode()
    return Stored(**{**values, "reason": reason, "secret": bool(row["secret"])})
