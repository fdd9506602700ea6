"""Checkpoints: signed heads of the log, first a row in the store, then a note outside of the host's reach.

A row is written by a commit that reaches the disk, so a checkpoint covers only entries that did. Publishing may fail:
the row stays unpublished and goes out with the next call; traffic never waits for it. Invariant: no checkpoint is
published that does not continue the last published one.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from llmguard.audit import log, merkle
from llmguard.audit.note import Head, Verifier, read, sign
from llmguard.audit.publication import Notes, Publication
from llmguard.errors import AuditError, LLMGuardError
from llmguard.store import Store, Transaction
from llmguard.vault import Keyring

_FILL = 8192
"""Entries whose nodes are filled in one transaction: it bounds how long other writers wait."""
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A signed head. ``created`` and ``published`` are UTC milliseconds; ``published`` is None while it is in-house."""

    size: int
    root: bytes
    note: str
    created: int
    published: int | None


def checkpoint(store: Store, keyring: Keyring, origin: str, destination: Path | None = None) -> Checkpoint:
    """Signs the log as it stands and publishes what is unpublished; without news, returns the last checkpoint.

    ``destination`` is a folder outside of the data folder; without one nothing is published. Raises AuditError if the
    log does not continue what was published (nothing is signed then), or if publishing failed (it is tried again).
    """
    publication = Publication(destination, store.path.parent) if destination else None
    signer = keyring.signer()
    size = _filled(store)

    def write() -> Checkpoint:
        return store.transact(lambda tx: _write(tx, size, lambda head: sign(head, signer), origin), durable=True)

    if publication is None:
        return write()
    try:
        with publication.open(Verifier.of(origin, signer)) as notes:
            store.read(lambda tx: _continues(tx, notes.last, size))
            made = write()
            _publish(store, notes)
    except OSError as e:
        made = write()
        reason = f"could not be published to {destination}: {e.strerror or type(e).__name__}; it is tried again"
        raise AuditError(f"the checkpoint of {made.size} entries {reason}") from e
    return store.read(last) or made


def last(tx: Transaction) -> Checkpoint | None:
    """The newest checkpoint in the store."""
    row = tx.one("SELECT size, root, note, created, published FROM checkpoints ORDER BY size DESC LIMIT 1")
    return Checkpoint(*row) if row else None


def covering(tx: Transaction, index: int = -1) -> Checkpoint | None:
    """The newest checkpoint that left the host and covers the entry ``index`` (-1: any); else the newest that does."""
    sql = "SELECT size, root, note, created, published FROM checkpoints WHERE size > ? AND size > 0"
    row = tx.one(f"{sql} ORDER BY published IS NULL, size DESC LIMIT 1", index)
    return Checkpoint(*row) if row else None


class Checkpointer:
    """A thread that makes a checkpoint every ``interval`` seconds, and one more when it is closed.

    ``failed`` is called with what went wrong, if anything did, in the thread that made the checkpoint; it is logged
    too. A fork does not take the thread along: checkpoints stay with the process that started it.
    """

    def __init__(
        self,
        store: Store,
        keyring: Keyring,
        origin: str,
        destination: Path | None = None,
        *,
        interval: float = 60.0,
        failed: Callable[[LLMGuardError], None] | None = None,
    ) -> None:
        self._make: Callable[[], Checkpoint] = lambda: checkpoint(store, keyring, origin, destination)
        self._interval = interval
        self._failed = failed
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="llmguard-checkpoints", daemon=True)

    def start(self) -> Checkpointer:
        self._thread.start()
        return self

    def close(self) -> None:
        """Stops, after a last checkpoint. To be called before the store is closed. Idempotent."""
        if not self._stop.is_set():
            self._stop.set()
            if self._thread.ident is not None:
                self._thread.join()
            self._once()

    def __enter__(self) -> Checkpointer:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _run(self) -> None:
        while not self._stop.wait(self._interval):
            self._once()

    def _once(self) -> None:
        try:
            self._make()
        except LLMGuardError as e:
            _logger.error("no checkpoint: %s", e.message)
            if self._failed is not None:
                self._failed(e)


def _filled(store: Store) -> int:
    """Fills interior nodes step by step and returns the size that they cover."""
    size = store.read(log.size)
    while store.transact(lambda tx: log.fill(tx, _FILL)) < size:
        pass
    return size


def _write(tx: Transaction, size: int, signed: Callable[[Head], str], origin: str) -> Checkpoint:
    newest = last(tx)
    if newest is not None and newest.size >= size:
        return newest  # nothing new, or another process was faster
    head = Head(origin, size, log.root(tx, size))
    made = Checkpoint(size, head.root, signed(head), tx.now, None)
    sql = "INSERT INTO checkpoints (size, root, note, created) VALUES (?, ?, ?, ?)"
    tx.run(sql, made.size, made.root, made.note, made.created)
    return made


def _publish(store: Store, notes: Notes) -> None:
    pending = store.read(lambda tx: _pending(tx, notes.last))
    if pending:
        notes.append([row.note for row in pending])
    if pending or notes.last:  # the latter: a crash between publishing and marking
        size = pending[-1].size if pending else notes.last.size if notes.last else 0
        store.transact(lambda tx: _mark(tx, size))


def _pending(tx: Transaction, published: Head | None) -> list[Checkpoint]:
    """Unpublished checkpoints in order, each shown to continue the one before."""
    after = -1 if published is None else published.size
    sql = "SELECT size, root, note, created, published FROM checkpoints WHERE size > ? ORDER BY size"
    rows = [Checkpoint(*row) for row in tx.all(sql, after)]
    for row in rows:
        head = read(row.note)
        if (head.size, head.root) != (row.size, row.root) or head.root != log.root(tx, row.size):
            raise AuditError(f"the checkpoint of {row.size} entries does not fit the log; run: llmguard audit verify")
    return rows


def _mark(tx: Transaction, size: int) -> None:
    tx.run("UPDATE checkpoints SET published = ? WHERE published IS NULL AND size <= ?", tx.now, size)


def _continues(tx: Transaction, published: Head | None, size: int) -> None:
    """Raises AuditError unless the log of ``size`` entries continues what was published."""
    if published is None:
        return
    held = log.size(tx)
    if published.size > held:
        raise AuditError(
            f"the log holds {held} entries, but a checkpoint of {published.size} was published: its end was cut off, "
            "or an old backup was restored; nothing is signed"
        )
    if published.size == 0 or published.size > size:
        return
    proof = log.consistency(tx, published.size, size)
    if not merkle.extends(published.size, size, published.root, log.root(tx, size), proof):
        raise AuditError(
            f"the log does not continue the published checkpoint of {published.size} entries: an entry before "
            "it was changed; nothing is signed; run: llmguard audit verify"
        )
