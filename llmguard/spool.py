"""Spools: uploads on disk while they are looked through, and while people decide about them. Sealed, bounded, wiped.

Owns a private folder (0700) of sealed files. A file is a row of frames, each sealed for its own place in its own file,
so that an altered, moved or cut one does not open. What is small stays in memory. A file lives as long as its request
(``release``), or as long as an approval refers to it (``keep``); what a killed process left is wiped by ``sweep``.

Invariant: nothing is on disk in the clear, and never more than ``limit`` bytes.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import io
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from llmguard.errors import GuardUnavailable, RequestTooLarge
from llmguard.model import Payload, pieces_of, window
from llmguard.vault import Vault

FRAME = 256 * 1024
"""Bytes of a frame."""
MEMORY = 1024 * 1024
"""Bytes up to which a content stays in memory."""
ABANDONED = 3600.0
"""Seconds after which a kept file that nothing refers to is wiped."""
LONGEST = 86400.0
"""Seconds that a request can take, at most."""
_OVERHEAD = 30
"""Bytes that a seal adds: number of the key, nonce, tag."""
_PURPOSE = "spool"
_HELD, _PASSING = "held", "passing"


def _place(id_: str, index: int) -> str:
    return f"{id_}:{index}"


@dataclass(frozen=True, slots=True)
class Spooled:
    """A file in a spool: its size in bytes and its SHA-256, in the clear."""

    id: str
    tenant: str
    size: int
    digest: str
    path: Path = field(repr=False)
    vault: Vault = field(repr=False, compare=False)

    def __len__(self) -> int:
        return self.size

    def pieces(self, start: int = 0) -> Iterator[bytes]:
        """Frames in the clear, from an offset on. Raises GuardUnavailable."""
        first, inside = divmod(start, FRAME)
        left = self.size - first * FRAME
        if left <= 0:
            return
        try:
            with open(self.path, "rb") as f:
                f.seek(first * (FRAME + _OVERHEAD))
                index = first
                while left > 0:
                    sealed = f.read(min(left, FRAME) + _OVERHEAD)
                    piece = self.vault.open(self.tenant, _PURPOSE, _place(self.id, index), sealed)
                    left -= len(piece)
                    index += 1
                    yield piece[inside:] if inside else piece
                    inside = 0
        except OSError as e:
            raise GuardUnavailable(f"a spooled upload cannot be read any more ({e.strerror}): send it again") from None


@dataclass(frozen=True, slots=True)
class Joined:
    """Contents one behind the other, as one; with the SHA-256 and the MD5 of the whole."""

    contents: tuple[Payload, ...]
    digest: str
    md5: str

    def __len__(self) -> int:
        return sum(len(c) for c in self.contents)

    def pieces(self, start: int = 0) -> Iterator[bytes]:
        """From an offset on. Raises GuardUnavailable."""
        for content in self.contents:
            if start < len(content):
                yield from pieces_of(content, start)
            start = max(0, start - len(content))


class Writer:
    """Bytes on their way into a spool. ``close`` gives what they became; ``abort`` leaves nothing behind."""

    def __init__(self, spools: Spools, tenant: str, limit: int) -> None:
        self._spools, self._tenant, self._limit = spools, tenant, limit
        self._hash = hashlib.sha256()
        self._buffer = bytearray()
        self._file: int | None = None
        self._frames = 0
        self.size = 0
        self.id = secrets.token_hex(16)

    def write(self, data: bytes) -> None:
        """Raises RequestTooLarge, GuardUnavailable where the disk is full."""
        self.size += len(data)
        if self.size > self._limit:
            self.abort()
            raise RequestTooLarge(f"the upload is larger than max_upload_bytes ({self._limit})")
        self._hash.update(data)
        self._buffer += data
        if self.size > MEMORY:
            self._flush(FRAME)

    def _flush(self, least: int) -> None:
        view = memoryview(bytes(self._buffer))
        at = 0
        while len(view) - at >= least and at < len(view):
            self._frame(bytes(view[at : at + FRAME]))
            at += FRAME
        del self._buffer[:at]

    def _frame(self, piece: bytes) -> None:
        try:
            if self._file is None:
                self._file = self._spools.create(self.id)
            self._spools.take(len(piece) + _OVERHEAD)
            sealed = self._spools.vault.seal(self._tenant, _PURPOSE, _place(self.id, self._frames), piece)
            view = memoryview(sealed)
            while view:
                view = view[os.write(self._file, view) :]
        except OSError as e:
            self.abort()
            word = "is full" if e.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else f"failed ({e.strerror})"
            raise GuardUnavailable(f"the spool's disk {word}: nothing was sent") from None
        except BaseException:
            self.abort()
            raise
        self._frames += 1

    def close(self) -> Payload:
        """What was written: bytes where it is small."""
        if self._file is None and self.size <= MEMORY:
            return bytes(self._buffer)
        if self._buffer:
            self._flush(1)
        assert self._file is not None  # noqa: S101  more than MEMORY has been written
        os.close(self._file)
        self._file = None
        path = self._spools.folder / _PASSING / self.id
        return Spooled(self.id, self._tenant, self.size, self._hash.hexdigest(), path, self._spools.vault)

    def abort(self) -> None:
        """Wipes what was written."""
        begun = self._file is not None or self._frames > 0  # also one whose first frame had no room
        if self._file is not None:
            os.close(self._file)
            self._file = None
        if begun:
            self._spools.wipe(self.id)
        self._buffer.clear()


class Spools:
    """The spools of one installation. ``limit``: bytes on disk; ``largest``: bytes of one content. Safe for threads."""

    def __init__(self, vault: Vault, *, limit: int = 1 << 35, largest: int = 1 << 33) -> None:
        self.vault = vault
        self.folder = folder_of(vault)
        self._limit, self._largest = limit, largest
        self._lock = threading.Lock()
        self._alive: int | None = None
        self._used = 0
        self._process = 0

    def writer(self, tenant: str) -> Writer:
        return Writer(self, tenant, self._largest)

    def create(self, id_: str) -> int:
        """A new file of this process."""
        with self._lock:
            if self._process != os.getpid():
                self._begin()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        return os.open(self.folder / _PASSING / id_, flags, 0o600)

    def _begin(self) -> None:
        """Says that this process is alive, by a lock that the system drops with it."""
        for name in (_HELD, _PASSING):
            (self.folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        path = self.folder / f"alive-{os.getpid()}-{secrets.token_hex(4)}"
        self._alive = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(self._alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._process, self._used = os.getpid(), self._measured()

    def _measured(self) -> int:
        return sum(size for _, size, _ in _files(self.folder))

    def take(self, size: int) -> None:
        """Room for so many bytes. Raises GuardUnavailable."""
        with self._lock:
            if self._used + size > self._limit:
                self._used = self._measured()  # other processes wipe too
            if self._used + size > self._limit:
                raise GuardUnavailable("too many uploads lie here or wait for approval (spool_bytes): try again later")
            self._used += size

    def wipe(self, id_: str) -> None:
        """Removes a file of a request that is over. What was kept stays for whom it was kept."""
        self._unlink(self.folder / _PASSING / id_)

    def release(self, content: Payload) -> None:
        """A request is over: what is not kept is wiped."""
        for spooled in inside(content):
            self.wipe(spooled.id)

    def _unlink(self, path: Path) -> None:
        with contextlib.suppress(OSError):
            size = path.stat().st_size if path.stat().st_nlink == 1 else 0
            path.unlink()
            with self._lock:
                self._used = max(0, self._used - size)

    def sweep(self, referred: Callable[[str], bool]) -> int:
        """Wipes what ended requests and dead processes left, and kept files that nothing refers to any more."""
        if not self.folder.is_dir():
            return 0
        gone = 0
        alone = not any(_locked(path) for path in self.folder.glob("alive-*") if not self._ours(path))
        now = time.time()
        for path, _, changed in _files(self.folder):
            age = now - changed
            if path.parent.name == _HELD:
                orphan = age > ABANDONED and not referred(path.name)
            else:
                orphan = (alone and self._alive is None) or age > LONGEST
            if orphan:
                self._unlink(path)
                gone += 1
        return gone

    def _ours(self, path: Path) -> bool:
        return self._alive is not None and os.fstat(self._alive).st_ino == path.stat().st_ino


def folder_of(vault: Vault) -> Path:
    """Where an installation's spools lie: beside its keys. Raises GuardUnavailable for one that is not on disk."""
    if vault.keyring.folder is None:
        raise GuardUnavailable("an installation in memory has no spool")
    return vault.keyring.folder.parent / "spool"


def inside(content: object) -> Iterator[Spooled]:
    """The spooled files that a content is made of."""
    if isinstance(content, Spooled):
        yield content
    for one in getattr(content, "contents", ()):
        yield from inside(one)


def keep(content: Payload) -> None:
    """Gives the files of a content a second name that outlives the request, and makes them durable.

    Before the unit of work that refers to them is committed. Raises GuardUnavailable.
    """
    for spooled in inside(content):
        held = spooled.path.parent.parent / _HELD / spooled.id
        try:
            if spooled.path != held:
                with contextlib.suppress(FileExistsError):
                    os.link(spooled.path, held)
            for path in (held, held.parent):
                handle = os.open(path, os.O_RDONLY)
                try:
                    os.fsync(handle)
                finally:
                    os.close(handle)
        except OSError as e:
            raise GuardUnavailable(f"an upload cannot be kept for its reviewers ({e.strerror})") from None


def drop(vault: Vault, id_: str) -> None:
    """Wipes a kept file."""
    with contextlib.suppress(OSError):
        (folder_of(vault) / _HELD / id_).unlink()


def kept(vault: Vault, tenant: str, id_: str, size: int, digest: str) -> Spooled:
    """A file that was kept."""
    return Spooled(id_, tenant, size, digest, folder_of(vault) / _HELD / id_, vault)


def _files(folder: Path) -> Iterator[tuple[Path, int, float]]:
    """Path, bytes and time of change of every spooled file; what vanishes meanwhile is not there."""
    for name in (_HELD, _PASSING):
        if not (folder / name).is_dir():
            continue
        for path in (folder / name).iterdir():
            with contextlib.suppress(OSError):
                status = path.stat()
                yield path, status.st_size, status.st_mtime


def _locked(path: Path) -> bool:
    """Whether the process of a life sign lives. The sign of a dead one is removed."""
    try:
        handle = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
        return False
    except OSError:
        return True
    finally:
        os.close(handle)


class _File(io.RawIOBase):
    """A payload as a file that can be read and sought."""

    def __init__(self, payload: Payload) -> None:
        self._payload, self._at = payload, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._payload)}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        piece = window(self._payload, self._at, self._at + len(buffer))
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)


def opened(payload: Payload) -> BinaryIO:
    """A payload as a seekable binary file."""
    if isinstance(payload, bytes):
        return io.BytesIO(payload)
    return io.BufferedReader(_File(payload), FRAME)
