"""Repeats: the same request of the same person under the same ``Idempotency-Key`` acts once, and is answered the same.

It owns the table repeats. What was answered is sealed to its person, key and request in the unit of work of the act, so
there is no act without its answer and none is believed that was altered. After a day it is forgotten.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from starlette.requests import Request

from llmguard.errors import IdempotencyMismatch, InvalidRequest
from llmguard.identity import Person
from llmguard.store import Transaction
from llmguard.vault import Vault

KEPT_MS = 24 * 3600 * 1000
_KEY = re.compile(r"[!-~]{1,128}")


@dataclass(frozen=True, slots=True)
class Repeatable:
    """A request that its sender may send again. ``request`` names method, path and body by a keyed digest."""

    key: str
    request: str

    @classmethod
    def of(cls, vault: Vault, tenant: str, request: Request, body: bytes) -> Repeatable | None:
        """None if the sender named no key. Raises InvalidRequest."""
        keys = request.headers.getlist("idempotency-key")
        if not keys:
            return None
        if len(keys) > 1 or not _KEY.fullmatch(keys[0]):
            raise InvalidRequest("Idempotency-Key is one key of 1 to 128 visible ASCII characters")
        pieces = [request.method.encode(), request.scope["raw_path"], body]
        return cls(keys[0], vault.request_key(tenant, [b"repeat", *pieces]))

    def answered(self, tx: Transaction, vault: Vault, who: Person) -> tuple[int, bytes] | None:
        """What was answered before. Raises IdempotencyMismatch for another request under this key."""
        row = tx.one(
            "SELECT * FROM repeats WHERE tenant = ? AND person = ? AND key = ? AND created > ?",
            *(who.tenant, who.email, self.key, tx.now - KEPT_MS),
        )
        if row is None:
            return None
        if row["request"] != self.request:
            raise IdempotencyMismatch("this Idempotency-Key was used for another request: use a new one")
        status, _, answer = vault.open(who.tenant, "repeat", self._row(who), bytes(row["sealed"])).partition(b"\n")
        return int(status), answer

    def keep(self, tx: Transaction, vault: Vault, who: Person, status: int, answer: bytes) -> None:
        sealed = vault.seal(who.tenant, "repeat", self._row(who), str(status).encode() + b"\n" + answer)
        tx.run(
            "INSERT OR REPLACE INTO repeats VALUES (?, ?, ?, ?, ?, ?)",
            *(who.tenant, who.email, self.key, self.request, sealed, tx.now),
        )

    def _row(self, who: Person) -> str:
        return "\x1f".join((who.email, self.key, self.request))


def forget(tx: Transaction) -> None:
    """Drops what was answered more than a day ago."""
    tx.run("DELETE FROM repeats WHERE created <= ?", tx.now - KEPT_MS)
