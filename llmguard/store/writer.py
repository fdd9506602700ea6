"""Writer: one thread that writes for a whole process. It owns the writing connection and group commit.

It takes every queued work, runs each in a savepoint of one transaction, commits, then resolves the futures: N callers
share one commit. A caller who waits anyway and finds it idle takes its turn and writes in his own thread, which saves
two thread switches (they cost more than the commit). It never dies silently: an error fails the works that it concerns,
drops the connection and goes on. Invariant: one transaction at a time, by whoever has the turn.
"""

from __future__ import annotations

import contextlib
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from llmguard.errors import GuardUnavailable, LLMGuardError
from llmguard.store.failures import unavailable
from llmguard.store.files import Session, open_session
from llmguard.store.gate import Gate
from llmguard.store.transaction import Transaction

T = TypeVar("T")
MAX_BATCH = 256
"""Works in one commit. It bounds how long the first of them waits."""


def wall_ms() -> int:
    """The wall clock in UTC milliseconds."""
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class _Job:
    """One work on its way. ``value`` and ``error`` are its outcome, handed over after the commit."""

    work: Callable[[Transaction], Any]
    durable: bool
    future: Future[Any]
    value: Any = None
    error: BaseException | None = None

    def resolve(self) -> None:
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.value)


class Writer:
    """Serves one process. ``close`` drains the queue."""

    def __init__(self, path: Path, clock: Callable[[], int], timeout: float, gate: Gate) -> None:
        self._path = path
        self._clock = clock
        self._timeout = timeout
        self._gate = gate
        self._session: Session | None = None
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()  # over the five below; never held while a work runs
        self._thread: threading.Thread | None = None
        self._queued = 0
        self._closed = ""
        self._turn = threading.Lock()
        self._writing = 0  # ident of the thread that has the turn

    def submit(self, work: Callable[[Transaction], T], durable: bool) -> Future[T]:
        """Queues the work. One that need not reach the disk is done at once if nobody writes, here or elsewhere: two
        thread switches cost an event loop more than the commit does."""
        job = _Job(work, durable, Future())
        if not durable and self._at_once(job):
            job.resolve()
            return job.future
        with self._lock:
            if self._closed:
                job.future.set_exception(GuardUnavailable(self._closed))
            else:
                self._queued += 1
                self._jobs.put(job)
                if self._thread is None:
                    self._start()
        return job.future

    def _at_once(self, job: _Job) -> bool:
        """Whether the work was done without waiting for anybody. A first work opens the database: that is queued."""
        if self._queued or self._session is None or self._writing == threading.get_ident():
            return False
        if not self._turn.acquire(blocking=False):
            return False
        try:
            return not self._closed and self._perform([job], patient=False)
        finally:
            self._turn.release()

    def transact(self, work: Callable[[Transaction], T], durable: bool) -> T:
        """In the caller's thread if nobody else writes or waits to, else queued."""
        if self._writing == threading.get_ident():
            raise RuntimeError("a work cannot wait for another work; pass its transaction on instead")
        if self._queued or not self._turn.acquire(blocking=False):
            return self.submit(work, durable).result()
        try:
            if self._closed:
                raise GuardUnavailable(self._closed)
            job = _Job(work, durable, Future())
            self._perform([job])
        finally:
            self._turn.release()
        if job.error is not None:
            raise job.error
        value: T = job.value
        return value

    def close(self) -> None:
        """Finishes what is queued, ends the thread, closes the connection. Idempotent. Not to be called by a work."""
        with self._lock:
            self._closed = self._closed or "the store is closed"
            thread = self._thread
            self._jobs.put(None)
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        if self._writing != threading.get_ident():
            with self._turn, self._gate:
                self.drop()

    def drop(self) -> None:
        """Closes the connection; the next work opens another. The caller is inside the gate, or holds it paused."""
        session, self._session = self._session, None
        if session is not None:
            with contextlib.suppress(sqlite3.Error):
                session.close()

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._serve, name="llmguard-store", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        jobs = self._jobs
        try:
            while batch := _take(jobs):
                running = [job for job in batch if job.future.set_running_or_notify_cancel()]
                with self._turn:
                    self._perform(running)
                with self._lock:
                    self._queued -= len(batch)
                for job in running:
                    job.resolve()
        finally:
            self._refuse(jobs)

    def _refuse(self, jobs: queue.SimpleQueue[_Job | None]) -> None:
        with self._lock:
            self._closed = self._closed or "the store's writing thread ended; restart the guard"
        with contextlib.suppress(queue.Empty):
            while True:
                job = jobs.get_nowait()
                if job is not None and job.future.set_running_or_notify_cancel():
                    job.future.set_exception(GuardUnavailable(self._closed))

    def _perform(self, jobs: list[_Job], *, patient: bool = True) -> bool:
        """One transaction over ``jobs``; their outcomes are in them afterwards. The caller has the turn.

        False if somebody who is not ``patient`` would have had to wait for another process: nothing was done.
        """
        self._writing = threading.get_ident()
        try:
            with self._gate:
                try:
                    session = self._open()
                    session.synchronize(any(job.durable for job in jobs))
                    if not session.begin(patient):
                        return False
                    self._commit(session, jobs)
                except BaseException as e:  # noqa: BLE001 - whatever it is, it belongs to the waiting callers
                    self._abandon(jobs, e)
        finally:
            self._writing = 0
        return True

    def _open(self) -> Session:
        if self._session is not None and self._session.stale():
            self.drop()
        if self._session is None:
            self._session = open_session(self._path, self._timeout, writes=True)
        return self._session

    def _commit(self, session: Session, jobs: list[_Job]) -> None:
        connection = session.connection
        last = connection.execute("SELECT last FROM clock").fetchone()[0]
        now = max(self._clock(), last)
        for job in jobs:
            _run(connection, job, now)
        if now > last:
            connection.execute("UPDATE clock SET last = ?", (now,))
        connection.execute("COMMIT")

    def _abandon(self, jobs: list[_Job], cause: BaseException) -> None:
        """The transaction failed as a whole: nothing of it is stored, and each work hears so."""
        for job in jobs:
            if job.error is None:
                job.error = _refusal(cause)
        session = self._session
        if session is not None and session.connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                session.connection.execute("ROLLBACK")
        self.drop()


def _take(jobs: queue.SimpleQueue[_Job | None]) -> list[_Job]:
    """Waits for a work, then takes all that are there. Empty at the end of the queue's life."""
    batch: list[_Job] = []
    job = jobs.get()
    while job is not None:
        batch.append(job)
        if len(batch) == MAX_BATCH:
            return batch
        try:
            job = jobs.get_nowait()
        except queue.Empty:
            return batch
    if batch:
        jobs.put(None)  # what was queued before the end is done first
    return batch


def _run(connection: sqlite3.Connection, job: _Job, now: int) -> None:
    """Raises only if the whole transaction is lost; an error of the work rolls back the work alone."""
    connection.execute("SAVEPOINT work")
    transaction = Transaction(connection, now, writes=True)
    try:
        job.value = job.work(transaction)
    except BaseException as e:  # noqa: BLE001 - the caller who waits for the future gets it
        job.error = e
        if connection.in_transaction:
            connection.execute("ROLLBACK TO work")
    finally:
        transaction.end()
    if not connection.in_transaction:
        raise job.error or GuardUnavailable("the database gave up a transaction; try again")
    connection.execute("RELEASE work")


def _refusal(cause: BaseException) -> BaseException:
    """An exception of its own for each future: raising one in several threads would mix up its traceback."""
    if isinstance(cause, sqlite3.Error):
        return unavailable(cause)
    if isinstance(cause, LLMGuardError):
        return type(cause)(cause.message)
    if not isinstance(cause, Exception):
        return cause  # an interrupt goes to the thread that it hit
    return GuardUnavailable(f"the store failed ({type(cause).__name__}); try again")
