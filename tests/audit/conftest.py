"""A log in a real file, as an auditor finds it: database, published checkpoints, key."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from llmguard import audit
from llmguard.audit import merkle
from llmguard.model import AuditEntry
from llmguard.store import Store
from llmguard.vault import Keyring


def entry(n: int) -> AuditEntry:
    return AuditEntry("decision", "default", {"number": n, "verdict": "redact"})


@dataclass
class Installation:
    """One guard's store, keys and the place its checkpoints go to."""

    root: Path
    keyring: Keyring
    store: Store
    written: int = 0
    origin: str = "llmguard.example/log"

    @classmethod
    def at(cls, root: Path, keyring: Keyring | None = None) -> Installation:
        return cls(root, keyring or Keyring.generate(), Store(root / "data" / "guard.db"))

    @property
    def database(self) -> Path:
        return self.store.path

    @property
    def outside(self) -> Path:
        return self.root / "outside"

    @property
    def checkpoints(self) -> Path:
        return self.outside / "log.checkpoints"

    @property
    def key(self) -> str:
        return (self.outside / "log.vkey").read_text()

    def append(self, count: int) -> None:
        entries = [entry(self.written + i) for i in range(count)]
        self.store.transact(lambda tx: audit.append(tx, entries))
        self.written += count

    def checkpoint(self) -> audit.Checkpoint:
        return audit.checkpoint(self.store, self.keyring, self.origin, self.outside)

    def verify(self) -> audit.Report:
        return audit.verify(self.database, self.checkpoints, self.key)

    def sql(self, *statements: str) -> None:
        """What somebody who can write the database may do."""
        with closing(sqlite3.connect(self.database, isolation_level=None)) as connection:
            connection.create_function("leaf_hash", 1, merkle.leaf_hash)
            for statement in statements:
                connection.execute(statement)


def filled(root: Path) -> Installation:
    """Twelve entries, checkpoints at 5 and 12."""
    found = Installation.at(root)
    found.append(5)
    found.checkpoint()
    found.append(7)
    found.checkpoint()
    return found


@pytest.fixture
def guard(tmp_path: Path) -> Iterator[Installation]:
    """Twelve entries, checkpoints at 5 and 12."""
    found = filled(tmp_path)
    yield found
    found.store.close()


@pytest.fixture(scope="module")
def forgeable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """The same, shared by the examples of a property, which leave it as it was."""
    found = filled(tmp_path_factory.mktemp("forgeable"))
    yield found
    found.store.close()
