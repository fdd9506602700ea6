"""Store: one SQLite file, written by one thread per process, read from any thread.

It owns the connections and their life over forks. It never interprets what is stored. Invariants: a future resolves
after its commit; time never goes back; nothing is written after an error without a new transaction.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

from llmguard.errors import GuardUnavailable
from llmguard.store.failures import unavailable
from llmguard.store.files import Session, open_session, prepare
from llmguard.store.gate import Gate
from llmguard.store.transaction import Transaction
from llmguard.store.writer import Writer, wall_ms

T = TypeVar("T")
_IDLE_READERS = 8


class Store:
    """Opens ``path``, creating it if it is missing. ``clock`` gives UTC milliseconds; ``timeout`` is in seconds.

    Raises ConfigError if the database is newer than this code, GuardUnavailable if it cannot be opened.
    """

    def __init__(self, path: Path, *, clock: Callable[[], int] = wall_ms, timeout: float = 10.0) -> None:
        prepare(path, timeout)
        self._core = _Core(path, clock, timeout)
        # Also runs at exit and when the store is collected; the thread knows the core only, so that it can be.
        self._finalizer = weakref.finalize(self, self._core.close)

    @property
    def path(self) -> Path:
        return self._core.path

    def submit(self, work: Callable[[Transaction], T], *, durable: bool = False) -> Future[T]:
        """Queues a work. The future resolves after the commit; ``durable``: after it has reached the disk.

        An exception of ``work`` rolls that work back and comes out of the future.
        """
        return self._core.writer.submit(work, durable)

    def transact(self, work: Callable[[Transaction], T], *, durable: bool = False) -> T:
        """Runs a work and waits for its commit; uncontended, in the caller's own thread. Errors as with ``submit``."""
        return self._core.writer.transact(work, durable)

    def read(self, work: Callable[[Transaction], T]) -> T:
        """Runs ``work`` on a consistent snapshot, in the caller's thread. Neither waits for writers nor blocks them."""
        return self._core.read(work)

    def close(self) -> None:
        """Finishes what is queued. Later works fail. Idempotent."""
        self._finalizer()


class _Core:
    """What lives in one process: the writer, the idle readers, and the gate that a fork closes."""

    def __init__(self, path: Path, clock: Callable[[], int], timeout: float) -> None:
        self.path = path
        self._clock = clock
        self._timeout = timeout
        self.gate = Gate()
        self.writer = Writer(path, clock, timeout, self.gate)
        self._readers: list[Session] = []
        self._closed = False
        _forks.add(self)

    def read(self, work: Callable[[Transaction], T]) -> T:
        with self.gate:
            if self._closed:
                raise GuardUnavailable("the store is closed")
            try:
                session = self._borrow()
            except sqlite3.Error as e:
                raise unavailable(e) from None
            try:
                return self._snapshot(session.connection, work)
            finally:
                self._give_back(session)

    def close(self) -> None:
        self._closed = True
        self.writer.close()
        with self.gate:
            self._drop_readers()

    def drop(self) -> None:
        """Closes every connection; they open again on use."""
        self.writer.drop()
        self._drop_readers()

    def restart(self) -> None:
        """In a forked child: nothing of the parent's threads and locks is left."""
        self.gate = Gate()
        self.writer = Writer(self.path, self._clock, self._timeout, self.gate)

    def _snapshot(self, connection: sqlite3.Connection, work: Callable[[Transaction], T]) -> T:
        try:
            connection.execute("BEGIN")
            last = connection.execute("SELECT last FROM clock").fetchone()[0]
        except sqlite3.Error as e:
            raise unavailable(e) from None
        transaction = Transaction(connection, max(self._clock(), last), writes=False)
        try:
            return work(transaction)
        finally:
            transaction.end()

    def _borrow(self) -> Session:
        with contextlib.suppress(IndexError):
            session = self._readers.pop()
            if not session.stale():
                return session
            session.close()
        return open_session(self.path, self._timeout, writes=False)

    def _give_back(self, session: Session) -> None:
        try:
            if session.connection.in_transaction:
                session.connection.execute("ROLLBACK")
        except sqlite3.Error:
            session.close()
            return
        if len(self._readers) < _IDLE_READERS and not self._closed:
            self._readers.append(session)
        else:
            session.close()

    def _drop_readers(self) -> None:
        while self._readers:
            with contextlib.suppress(sqlite3.Error):
                self._readers.pop().close()


class _Forks:
    """Every core of this process, so that no connection is open while it forks. Fork hooks cannot be taken back."""

    def __init__(self) -> None:
        self._cores: weakref.WeakSet[_Core] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._paused: list[_Core] = []
        os.register_at_fork(before=self._before, after_in_parent=self._parent, after_in_child=self._child)

    def add(self, core: _Core) -> None:
        with self._lock:
            self._cores.add(core)

    def _before(self) -> None:
        self._lock.acquire()
        self._paused = list(self._cores)
        for core in self._paused:
            if core.gate.pause():
                core.drop()

    def _parent(self) -> None:
        for core in self._paused:
            core.gate.resume()
        self._paused = []
        self._lock.release()

    def _child(self) -> None:
        for core in self._paused:
            core.restart()
        self._paused = []
        self._lock = threading.Lock()


_forks = _Forks()
