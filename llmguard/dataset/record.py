"""Record: what the installation keeps of a cleaned data set: placeholders with their originals, and a line in the log.

Owns what is written into the database. Never does: hold a text longer than until it is sealed. Invariant: the original
behind a placeholder is on the disk before the placeholder is.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterable, Mapping
from typing import Any

from llmguard import audit, identity
from llmguard.config import DATABASE, Settings
from llmguard.errors import DatasetError, LLMGuardError
from llmguard.model import AuditEntry, Grant, Principal, VaultEntry
from llmguard.store import Store, Transaction, placeholders
from llmguard.vault import Keyring, Vault


class Record:
    """The installation's database. Raises GuardUnavailable, ConfigError, Unauthenticated where it cannot be used."""

    def __init__(self, settings: Settings) -> None:
        self._vault = Vault(Keyring.open(settings.data / "keys"))
        self._store = Store(settings.data / DATABASE, timeout=settings.lock_timeout)
        token = settings.key
        if token is None:
            self._principal = Principal(f"local:{os.getuid()}", settings.tenant, "service", getpass.getuser())
        else:
            self._principal = self._store.read(lambda tx: identity.authenticate(tx, self._vault, token))

    def keep(self, entries: Iterable[VaultEntry]) -> None:
        """Stores what comes back in the place of placeholders, for this principal. Raises DatasetError."""
        entries = tuple(entries)
        principal = self._principal

        def work(tx: Transaction) -> None:
            if taken := placeholders.put(tx, self._vault, principal.tenant, entries):
                raise DatasetError(f"{len(taken)} placeholders belong to other values already: use another style")
            scope = f"principal:{principal.id}"
            placeholders.grant(tx, principal, [Grant(scope, e.placeholder, e.origin) for e in entries])

        self._store.transact(work, durable=True)

    def log(self, details: Mapping[str, Any]) -> None:
        """Appends ``dataset.sanitized``."""
        principal = self._principal
        entry = AuditEntry("dataset.sanitized", principal.tenant, {"principal": principal.id, **details})
        self._store.transact(lambda tx: audit.append(tx, (entry,)), durable=True)

    def close(self) -> None:
        self._store.close()


def logged(settings: Settings, details: Mapping[str, Any]) -> str:
    """Writes the log's entry; what is wrong, where it cannot be written: a cleaned file is not lost for that."""
    try:
        record = Record(settings)
        try:
            record.log(details)
        finally:
            record.close()
    except (LLMGuardError, OSError) as e:
        why = e.message if isinstance(e, LLMGuardError) else e.strerror or type(e).__name__
        return f"this run is not in the audit log: {why}"
    return ""
