"""Transaction: the SQL that one unit of work may run, and the time it runs at.

It is valid only while its work runs and never leaves a cursor open: an unread ``RETURNING`` would hold the lock.
Errors of the database become ``GuardUnavailable``; ``sqlite3.IntegrityError`` passes, since a work may expect it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from llmguard.store.failures import unavailable


class Transaction:
    """One unit of work. ``now`` is UTC milliseconds, never before a time stored earlier, stable for the whole work."""

    __slots__ = ("_connection", "_writes", "now")

    def __init__(self, connection: sqlite3.Connection, now: int, *, writes: bool) -> None:
        self._connection: sqlite3.Connection | None = connection
        self._writes = writes
        self.now = now

    def all(self, sql: str, *params: Any) -> list[sqlite3.Row]:
        """Every row, also of ``… RETURNING``."""
        connection = self._live()
        try:
            return connection.execute(sql, params).fetchall()
        except sqlite3.IntegrityError:
            raise
        except sqlite3.Error as e:
            raise unavailable(e) from None

    def one(self, sql: str, *params: Any) -> sqlite3.Row | None:
        """The first row, or None. The rest is read and dropped: write ``LIMIT 1`` where there may be many."""
        rows = self.all(sql, *params)
        return rows[0] if rows else None

    def run(self, sql: str, *params: Any) -> int:
        """Executes a writing statement; returns how many rows it touched."""
        connection = self._writable()
        try:
            return connection.execute(sql, params).rowcount
        except sqlite3.IntegrityError:
            raise
        except sqlite3.Error as e:
            raise unavailable(e) from None

    def many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Executes a writing statement once for each row."""
        connection = self._writable()
        try:
            connection.executemany(sql, rows)
        except sqlite3.IntegrityError:
            raise
        except sqlite3.Error as e:
            raise unavailable(e) from None

    def end(self) -> None:
        """Called by the store when the work returns; later use raises."""
        self._connection = None

    def _live(self) -> sqlite3.Connection:
        # On some errors (disk full, I/O) SQLite ends the transaction itself; a statement after that would commit alone.
        if self._connection is None or not self._connection.in_transaction:
            raise sqlite3.ProgrammingError("this transaction is over")
        return self._connection

    def _writable(self) -> sqlite3.Connection:
        if not self._writes:
            raise sqlite3.ProgrammingError("a reading transaction cannot write; use transact")
        return self._live()
