"""Files of the store: private modes, opening with the right pragmas, migrating.

Invariant: the folder is made 0700, every file 0600 whatever the umask (SQLite gives ``-wal`` and ``-shm`` the mode of
the database).
"""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
import time
from pathlib import Path

from llmguard.errors import ConfigError, GuardUnavailable
from llmguard.store import schema
from llmguard.store.failures import unavailable

_PRAGMAS = """
PRAGMA synchronous=NORMAL; PRAGMA secure_delete=ON; PRAGMA temp_store=MEMORY; PRAGMA trusted_schema=OFF;
PRAGMA journal_size_limit=67108864
"""
"""``secure_delete``: what is erased is overwritten, in the database itself."""


def prepare(path: Path, timeout: float) -> None:
    """Creates folder, file and tables as needed. Raises ConfigError, GuardUnavailable. ``timeout`` in seconds."""
    try:
        _private_file(path)
    except OSError as e:
        raise GuardUnavailable(f"{path} cannot be created or opened: {e.strerror}") from e
    try:
        connection = _connect(path, timeout)
        try:
            _use_wal(connection, timeout)
            _migrate(connection, path)
        finally:
            connection.close()
    except sqlite3.Error as e:
        raise unavailable(e) from None


def open_session(path: Path, timeout: float, *, writes: bool) -> Session:
    """A connection to an existing database. Raises sqlite3.Error, ConfigError."""
    connection = _connect(path, timeout)
    try:
        if not _current(connection, path):
            raise GuardUnavailable(f"{path} was replaced by a database without the guard's tables; restart the guard")
        connection.executescript(_PRAGMAS)
        if not writes:
            connection.execute("PRAGMA query_only=ON")
        return Session(connection, path, timeout)
    except BaseException:
        connection.close()
        raise


class Session:
    """One connection, and the file that it was opened on."""

    __slots__ = ("_identity", "_path", "_timeout_ms", "connection", "durable")

    def __init__(self, connection: sqlite3.Connection, path: Path, timeout: float) -> None:
        self.connection = connection
        self.durable = False
        self._path = path
        self._timeout_ms = round(timeout * 1000)
        self._identity = _identity(path)

    def synchronize(self, durable: bool) -> None:
        """Commits reach the disk before they return (FULL), or survive a killed process only (NORMAL)."""
        if durable != self.durable:
            self.connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            self.durable = durable

    def begin(self, patient: bool = True) -> bool:
        """Starts a writing transaction. Who is not ``patient`` gets False at once where another process is writing."""
        if patient:
            self.connection.execute("BEGIN IMMEDIATE")
            return True
        self.connection.execute("PRAGMA busy_timeout=0")
        try:
            self.connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as e:
            if e.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            return False
        finally:
            self.connection.execute(f"PRAGMA busy_timeout={self._timeout_ms}")
        return True

    def stale(self) -> bool:
        """Whether the path now names another file, or none: what is written here would be lost."""
        return self._identity != _identity(self._path)

    def close(self) -> None:
        self.connection.close()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _connect(path: Path, timeout: float) -> sqlite3.Connection:
    # mode=rw: a file that vanished while the guard runs must not come back as an empty one.
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=timeout,
        isolation_level=None,
        check_same_thread=False,  # the gate sees to it that one thread at a time uses it
        cached_statements=512,
    )
    connection.row_factory = sqlite3.Row
    return connection


def _private_file(path: Path) -> None:
    folder = path.parent
    if not folder.is_dir():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    mode = folder.stat().st_mode
    if mode & 0o022 and not mode & stat.S_ISVTX:
        raise ConfigError(f"others can replace the files in {folder}; run: chmod 700 {folder}")
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        _sync_folder(folder)
    except FileExistsError:
        # An existing database is not opened here: closing it would drop the locks of this process's other connections,
        # and another process could then take away the write-ahead log under them (sqlite.org/howtocorrupt.html §2.2).
        mode = os.lstat(path).st_mode
        if not stat.S_ISREG(mode):
            raise OSError(errno.ELOOP, "it is not a plain file; move it away") from None
        if stat.S_IMODE(mode) != 0o600:
            os.chmod(path, 0o600)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _use_wal(connection: sqlite3.Connection, timeout: float) -> None:
    # The switch does not wait for the busy timeout, so that two first starts at once need this loop.
    deadline = time.monotonic() + timeout
    while True:
        try:
            if connection.execute("PRAGMA journal_mode=WAL").fetchone()[0] == "wal":
                return
        except sqlite3.OperationalError as e:
            if e.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        if time.monotonic() > deadline:
            raise ConfigError("the database cannot use a write-ahead log here; move it to a local disk")
        time.sleep(0.01)


def _current(connection: sqlite3.Connection, path: Path) -> bool:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > schema.VERSION:
        raise ConfigError(
            f"{path} was written by a newer llmguard (schema {version}, known here: {schema.VERSION}); update llmguard"
        )
    return version == schema.VERSION


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    if _current(connection, path):
        return
    from llmguard.store.migrations import apply  # half a second, needed once in the life of a database

    connection.execute("BEGIN IMMEDIATE")  # of two processes, one migrates and the other finds it done
    try:
        if not _current(connection, path):
            apply(connection)
            connection.execute(f"PRAGMA user_version = {schema.VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
