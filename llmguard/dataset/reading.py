"""Reading: a data set's file from its beginning to its end, once, and whether it stayed the same meanwhile.

Owns decompression within bounds and the digest of what was read. Never holds more than a chunk. Invariant: bytes are
read in chunks of one size, so that the digest up to a place is the same in every run.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from llmguard.dataset.kinds import HEAD, Coding, Form, Shape, shape
from llmguard.errors import DatasetError
from llmguard.payload.coding import Damaged, Decoder

CHUNK = 1 << 20
EXPANSION = 200
"""How many times its compressed size a file may have, unless its owner says more."""
CHANGED = "{} was changed while it was read; nothing was published. Run it again"
FREE = 256 << 20
"""Decompressed bytes from which on that is looked at."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What tells a file from what it was before: nothing of its content."""

    inode: int
    size: int
    modified: int

    @classmethod
    def of(cls, status: os.stat_result) -> Mark:
        return cls(status.st_ino, status.st_size, status.st_mtime_ns)


@dataclass(frozen=True, slots=True)
class Prefix:
    """So many bytes of a file, and their SHA-256 in hex."""

    size: int
    digest: str


class PrefixChanged(Exception):
    """The file does not begin as it did when the run that is to go on read it."""


class Reader:
    """One reading of a file. Raises DatasetError for what cannot be opened or is no data set."""

    def __init__(self, path: Path, form: Form | None = None, expansion: int = EXPANSION) -> None:
        self.path, self._expansion = path, expansion
        try:
            if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe would wait for ever
                raise DatasetError(f"{path} is no regular file: what is cleaned may have to be read again")
            self._file: IO[bytes] = open(path, "rb", buffering=0)  # noqa: SIM115  closed by ``close``
            status = os.fstat(self._file.fileno())
            head = os.pread(self._file.fileno(), HEAD, 0)
        except OSError as e:
            raise DatasetError(f"{path} cannot be read: {e.strerror or type(e).__name__}") from None
        self.mark, self._changed = Mark.of(status), status.st_ctime_ns
        self.shape: Shape = shape(head, path.name, form)
        self._digest = hashlib.sha256()
        self.read = 0
        """Bytes of the file so far, as they stand on the disk."""

    def prefix(self) -> Prefix:
        """What was read so far."""
        return Prefix(self.read, self._digest.copy().hexdigest())

    def chunks(self, known: Prefix | None = None) -> Iterator[bytes]:
        """The content, decompressed. Raises PrefixChanged where it does not begin with ``known``, DatasetError."""
        raw = self._raw(known)
        return decompressed(raw, self.shape.coding, self) if self.shape.coding else raw

    def _raw(self, known: Prefix | None) -> Iterator[bytes]:
        while piece := self._chunk():
            self._digest.update(piece)
            self.read += len(piece)
            if self.read > self.mark.size:  # somebody appends to it, maybe for ever
                raise DatasetError(CHANGED.format(self.path))
            if known is not None and known.size <= self.read:
                if self.prefix() != known:
                    raise PrefixChanged
                known = None
            yield piece
        if known is not None and self.prefix() != known:
            raise PrefixChanged
        if self.read != self.mark.size:
            raise DatasetError(CHANGED.format(self.path))

    def _chunk(self) -> bytes:
        """Always of one size, but for the last one."""
        pieces, size = [], 0
        try:
            while size < CHUNK and (piece := self._file.read(CHUNK - size)):
                pieces.append(piece)
                size += len(piece)
        except OSError as e:
            raise DatasetError(f"{self.path} cannot be read: {e.strerror or type(e).__name__}") from None
        return b"".join(pieces) if len(pieces) != 1 else pieces[0]

    def bounded(self, out: int) -> None:
        if out > FREE and out > self._expansion * self.read:
            raise DatasetError(
                f"{self.path.name} has become more than {self._expansion} times as large ({self.read >> 20} MB gave "
                f"{out >> 20} MB so far): if that is right, allow more with --max-expansion"
            )

    def unchanged(self) -> None:
        """Raises DatasetError if the file is not what it was when it was opened."""
        try:
            here, there = os.fstat(self._file.fileno()), os.stat(self.path)
        except OSError:
            raise DatasetError(f"{self.path} was removed while it was read; nothing was published") from None
        same = Mark.of(here) == Mark.of(there) == self.mark and here.st_ctime_ns == self._changed
        if not same:
            raise DatasetError(CHANGED.format(self.path))

    def close(self) -> None:
        self._file.close()


def decompressed(raw: Iterator[bytes], coding: Coding, reader: Reader) -> Iterator[bytes]:
    decoder, out = Decoder(coding), 0
    try:
        for piece in raw:
            decoder.feed(piece)
            while more := decoder.next():
                out += len(more)
                reader.bounded(out)
                yield more
        decoder.finish()
    except Damaged:
        raise DatasetError(f"{reader.path.name}: the {coding} is damaged or cut, after {out:,} bytes") from None
