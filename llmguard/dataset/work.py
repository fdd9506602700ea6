"""Work: the folder beside an output in which it is made, and from which a killed run goes on.

Owns the lock, what was written and how far it counts. Never holds a byte of the input: what lies there is cleaned
already, digests are keyed. Invariant: ``state`` is replaced after everything that it speaks of has reached the disk,
so that what a kill left behind it is cut off.

========== ===========================================================================================
``lock``   taken by ``flock`` for as long as the run lives; the system frees it when a process dies
``job``    what is done, of which file: another job does not go on here
``state``  how far the others count, tally and census so far
``index``  a row for every cleaned block: where it stands in the others
``part``   cleaned blocks; where none was done twice, this becomes the output
``seen``   digests of the values that were found   ``drawn``  of the surrogates that were written
``bad``    numbers and reasons of bad records
========== ===========================================================================================
"""

from __future__ import annotations

import errno
import fcntl
import io
import os
import pickle
import shutil
import stat
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from llmguard.errors import DatasetError
from llmguard.sifting import Problem

FILES = ("index", "part", "seen", "drawn", "bad")
"""Files that only grow."""
_SUFFIX = ".sanitizing"
_ROW = struct.Struct("<9Q")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Row(NamedTuple):
    """Where a block stands in the files: offsets and sizes in bytes; ``records`` from ``first`` on in the input."""

    number: int
    first: int
    records: int
    part: int
    part_size: int
    seen: int
    seen_size: int
    drawn: int
    drawn_size: int


class Work:
    """The open folder of one output. Raises DatasetError."""

    def __init__(self, output: Path) -> None:
        self.output = output
        self.folder = output.with_name(f".{output.name}{_SUFFIX}")
        self._lock = _locked(self.folder, output)
        self._files: dict[str, io.BufferedRandom] = {}
        self.state: Mapping[str, Any] = {}
        """As of the last commit; empty if there was none."""

    # ------------------------------------------------------------------ what a run left

    def peek(self) -> Mapping[str, Any]:
        """The state that a run left, whatever its job was."""
        state: Mapping[str, Any] = _unpickled(self.folder / "state") or {}
        return state

    def left_by(self, job: Mapping[str, Any]) -> bool:
        """Whether what is there was left by this job."""
        return bool(_unpickled(self.folder / "job") == job)

    def resume(self, job: Mapping[str, Any]) -> str:
        """Opens what a run of the same job left, or begins anew; says why it began anew, if it could have gone on."""
        before = _unpickled(self.folder / "job")
        state = _unpickled(self.folder / "state") if before == job else None
        if state is None:
            why = _difference(before, job) if before and (self.folder / "state").exists() else ""
            self.restart(job)
            return why
        with told(self.folder):
            self._open()
            for name in FILES:
                if self._size(name) < state["sizes"][name]:
                    self.restart(job)
                    return "what an earlier run left is not whole"
                self._files[name].truncate(state["sizes"][name])
                self._files[name].seek(0, os.SEEK_END)
        self.state = state
        return ""

    def restart(self, job: Mapping[str, Any]) -> None:
        """Begins anew, whatever is there."""
        self._close()
        self.state = {}
        with told(self.folder):
            (self.folder / "state").unlink(missing_ok=True)
            for name in FILES:
                (self.folder / name).unlink(missing_ok=True)
            _replace(self.folder / "job", job)
            self._open()

    # ------------------------------------------------------------------ writing

    def add(self, number: int, first: int, records: int, parts: tuple[bytes, bytes, bytes]) -> None:
        """A cleaned block: its bytes, the digests that were seen and those that were drawn."""
        with told(self.folder):
            places: list[int] = []
            for name, data in zip(("part", "seen", "drawn"), parts, strict=True):
                file = self._files[name]
                places += (file.tell(), len(data))
                file.write(data)
            self._files["index"].write(_ROW.pack(number, first, records, *places))

    def note(self, problem: Problem) -> None:
        """A bad record."""
        with told(self.folder):
            self._files["bad"].write(f"{problem.record}\t{problem.reason}\n".encode())

    def commit(self, **state: Any) -> None:
        """From now on everything that was added counts, also after a kill or a power failure."""
        with told(self.folder):
            for file in self._files.values():
                file.flush()
                os.fdatasync(file.fileno())
            sizes = {name: self._files[name].tell() for name in FILES}
            whole = {**state, "sizes": sizes}
            _replace(self.folder / "state", whole)
        self.state = whole

    # ------------------------------------------------------------------ reading

    def rows(self) -> Iterator[Row]:
        """Of every block, in the order in which they were done; a later one of the same number counts."""
        self._files["index"].flush()
        with open(self.folder / "index", "rb") as file:
            while row := file.read(_ROW.size):
                yield Row(*_ROW.unpack(row))

    def bad(self) -> Iterator[Problem]:
        """Every bad record."""
        with open(self.path("bad"), encoding="utf-8") as file:
            for line in file:
                number, _, reason = line.rstrip("\n").partition("\t")
                yield Problem(int(number), reason)

    def path(self, name: str) -> Path:
        """One of the files, with all that was added so far in it."""
        if name in self._files:
            self._files[name].flush()
        return self.folder / name

    # ------------------------------------------------------------------ ends

    def remove(self) -> None:
        """Takes the folder away. The lock is free from then on."""
        self._close()
        with suppress(OSError):
            # The lock goes last: who takes a new one must not lose what he then writes.
            for name in sorted(os.listdir(self.folder), key="lock".__eq__):
                _unlink(self.folder / name)
            self.folder.rmdir()
        os.close(self._lock)

    def leave(self) -> None:
        """Closes the folder for a later run to go on; without anything to go on from, it is removed."""
        if not self.peek():
            self.remove()
            return
        self._close()
        os.close(self._lock)

    def _open(self) -> None:
        for name in FILES:
            with suppress(FileNotFoundError):
                os.chmod(self.folder / name, 0o600)  # it may have been about to become the output
            fd = os.open(self.folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            self._files[name] = os.fdopen(fd, "r+b")
            self._files[name].seek(0, os.SEEK_END)

    def _size(self, name: str) -> int:
        return os.fstat(self._files[name].fileno()).st_size

    def _close(self) -> None:
        for file in self._files.values():
            with suppress(OSError):  # a full disk: what is not written yet does not count
                file.close()
        self._files = {}


def _unlink(path: Path) -> None:
    """Also a folder, into which an output of several files was written."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


@contextmanager
def told(place: Path) -> Iterator[None]:
    """Errors of the disk as ours. Raises DatasetError."""
    try:
        yield
    except OSError as e:
        if e.errno in _FULL:
            raise DatasetError(
                f"no room is left in {place.parent} ({e.strerror}): make room, and run the same command again; "
                "it goes on where it stopped"
            ) from None
        raise DatasetError(f"{place} cannot be written: {e.strerror or type(e).__name__}") from None


def sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _replace(path: Path, content: Any) -> None:
    """Writes a file whole, or leaves the former one."""
    new = path.with_name(f"{path.name}.new")
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "wb") as file:
        pickle.dump(content, file, pickle.HIGHEST_PROTOCOL)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)
    sync_folder(path.parent)


def _unpickled(path: Path) -> Any:
    """What ``_replace`` wrote, in a folder that is ours alone. None if there is nothing that can be read."""
    try:
        with open(path, "rb") as file:
            return pickle.load(file)  # noqa: S301  ``_private`` has seen to it that nobody else can write there
    except (OSError, EOFError, pickle.UnpicklingError, AttributeError, ImportError, ValueError, TypeError):
        return None


def _locked(folder: Path, output: Path) -> int:
    """The descriptor of the lock of a folder that nobody else can write into."""
    while True:
        with told(folder):
            with suppress(FileExistsError):
                folder.mkdir(mode=0o700)
            try:
                _private(folder)
                lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            except FileNotFoundError:  # the run before us has just removed the folder
                continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise DatasetError(
                f"another run is writing {output} at this moment: wait for it, or name another output"
            ) from None
        if _same(lock, folder / "lock"):
            return lock
        os.close(lock)


def _same(fd: int, path: Path) -> bool:
    """Whether the path still names the file that was opened."""
    try:
        there = os.stat(path)
    except OSError:
        return False
    return os.path.samestat(os.fstat(fd), there)


def _private(folder: Path) -> None:
    status = os.lstat(folder)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise DatasetError(f"{folder} is not a folder of ours alone (0700): move it away")


def _difference(before: Mapping[str, Any], job: Mapping[str, Any]) -> str:
    """What another job has otherwise, by its names."""
    names = sorted(name for name in {*before, *job} if before.get(name) != job.get(name))
    if not names:
        return "what an earlier run left cannot be read"
    return f"not the same as in the run that was interrupted: {', '.join(names)}"
