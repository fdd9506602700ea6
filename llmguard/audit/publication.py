"""The file of published checkpoints: notes, each followed by a blank line, in a folder outside of the data folder.

It is only ever appended to, under a lock, and synced. Earlier notes are never rewritten: all that is ever taken away is
the beginning of a note that a crash cut off. Beside it lies ``log.vkey``, the keys to check the notes with, one a line.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from llmguard.audit.note import Head, Verifier, verify
from llmguard.errors import AuditError, ConfigError

CHECKPOINTS = "log.checkpoints"
KEYS = "log.vkey"
_END = b"\n\n"
_MARK = "\N{EM DASH} ".encode()
_TAIL = 65536


class Publication:
    """The folder that checkpoints are published to. Made 0700, its files 0600."""

    def __init__(self, folder: Path, data: Path) -> None:
        """``data`` is the store's folder. Raises ConfigError if ``folder`` lies in it: who can write one can both."""
        if folder.resolve() == data.resolve() or data.resolve() in folder.resolve().parents:
            raise ConfigError(f"checkpoints must leave the data folder; choose another place than {folder}")
        self.folder = folder

    @contextmanager
    def open(self, verifier: Verifier) -> Iterator[Notes]:
        """The notes, locked against other processes. Raises OSError, AuditError."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._add_key(verifier)
        fd = _private(self.folder / CHECKPOINTS)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield Notes(fd, verifier)
        finally:
            os.close(fd)

    def _add_key(self, verifier: Verifier) -> None:
        fd = _private(self.folder / KEYS)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if str(verifier) not in os.pread(fd, os.fstat(fd).st_size, 0).decode().split():
                _append(fd, f"{verifier}\n".encode())
                _sync_folder(self.folder)
        finally:
            os.close(fd)


class Notes:
    """The open, locked file."""

    def __init__(self, fd: int, verifier: Verifier) -> None:
        self._fd = fd
        self._verifier = verifier
        size = os.fstat(fd).st_size
        tail = os.pread(fd, _TAIL, max(0, size - _TAIL))
        start, end = _last(tail)
        self._end = size - len(tail) + end
        self._check_rest(tail[end:])
        self.last: Head | None = None
        if end:
            self.last = self._own(tail[start : end - 1].decode(errors="replace"))

    def append(self, notes: Sequence[str]) -> None:
        """Writes all of ``notes`` and syncs, or leaves the file as it was."""
        if os.fstat(self._fd).st_size != self._end:
            os.ftruncate(self._fd, self._end)
        _append(self._fd, "".join(f"{note}\n" for note in notes).encode())

    def _own(self, note: str) -> Head:
        try:
            return verify(note, (self._verifier,))
        except AuditError as e:
            raise AuditError(f"the last published checkpoint is not ours: {e.message}; look who wrote it") from None

    def _check_rest(self, rest: bytes) -> None:
        begins = f"{self._verifier.name}\n".encode()
        if not begins.startswith(rest[: len(begins)]):
            raise AuditError(f"{CHECKPOINTS} ends in something that is no checkpoint; look who wrote it")


def notes_in(path: Path) -> Iterator[str]:
    """The notes of a file one by one; a last one that was cut off comes as it is. Raises OSError."""
    lines: list[str] = []
    with path.open(encoding="utf-8", errors="replace", newline="\n") as f:
        for line in f:
            if line == "\n" and lines and lines[-1].startswith(_MARK.decode()):
                yield "".join(lines)
                lines = []
            elif len(lines) < 1000:  # a file of something else does not fill the memory
                lines.append(line[:10_000])
    if lines:
        yield "".join(lines)


def keys_beside(checkpoints: Path) -> tuple[Verifier, ...]:
    """The keys that were published with a file of checkpoints, if they were."""
    path = checkpoints.parent / KEYS
    return parse_keys(path.read_text()) if path.exists() else ()


def parse_keys(text: str) -> tuple[Verifier, ...]:
    """Verifier keys, one a line. Raises ConfigError."""
    return tuple(Verifier.parse(line) for line in text.split())


def _last(tail: bytes) -> tuple[int, int]:
    """Where the last complete note starts and ends, with its blank line; (0, 0) if there is none."""
    end = tail.rfind(_END)
    while end >= 0:
        signatures = tail.rfind(_END, 0, end)
        if signatures >= 0 and tail.startswith(_MARK, signatures + 2):
            before = tail.rfind(_END, 0, signatures)
            return (before + 2 if before >= 0 else 0), end + 2
        end = signatures
    return 0, 0


def _private(path: Path) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    os.fchmod(fd, 0o600)
    return fd


def _append(fd: int, content: bytes) -> None:
    before = os.fstat(fd).st_size
    try:
        while content:
            content = content[os.write(fd, content) :]
        os.fsync(fd)
    except OSError:
        os.ftruncate(fd, before)
        raise


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
