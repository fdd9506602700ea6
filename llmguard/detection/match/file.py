"""A match file: records as keyed digests, without the values. It owns the format and its seal.

::

    llmguard match 1\\n · length of the header (4 bytes) · header (JSON, padded to 8 bytes)
    · records: sorted digests (8 bytes each) · anchors: sorted words' digests (6 bytes, and 2 of where they stand)
    · BLAKE2b of all that under the key (32 bytes)

Numbers are little-endian. Digests are BLAKE2b (RFC 7693) under keys derived from one key that is in no match file:
whoever has the file alone can test no guess. Whoever has both can, so they travel and are kept apart.
Invariant: what ``read`` returns is whole and unaltered, or ConfigError was raised.
"""

from __future__ import annotations

import hmac
import json
import os
import sys
import tempfile
from array import array
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from llmguard.errors import ConfigError
from llmguard.model import Category, Severity

MAGIC = b"llmguard match 1\n"
MAX_BYTES = 4 << 30
_SEAL = 32
REBUILD = "build it again: llmguard match build"


@dataclass(frozen=True, slots=True)
class Header:
    """What can be read without the key. ``key`` names the key; ``made`` is UTC milliseconds.

    ``lengths``: of codes, in characters. ``lead``: units without a digit that a code begins with at most. ``numbers``:
    every code is digits alone. ``long``: lengths of records of eight units and more.
    """

    name: str
    type: str
    category: Category
    severity: Severity
    key: str
    made: int
    records: int
    anchors: int
    lengths: tuple[int, ...] = ()
    lead: int = 0
    numbers: bool = False
    long: tuple[int, ...] = ()


class MatchKey:
    """What a match key can do: digests of records and of anchors, seals."""

    __slots__ = ("_anchors", "_records", "_seals", "id")

    def __init__(self, material: bytes) -> None:
        self._records, self._anchors, self._seals, name = (
            blake2b(key=material, person=b"llmguard match", salt=word).digest()
            for word in (b"record", b"anchor", b"seal", b"name")
        )
        self.id = name[:8].hex()

    def record(self, kind: str, key: str) -> int:
        """64 bits of the normal form of a record."""
        digest = blake2b(f"{kind}\x00{key}".encode("utf-8", "replace"), digest_size=8, key=self._records).digest()
        return int.from_bytes(digest, "little")

    def anchor(self, unit: str) -> int:
        """The upper 48 bits of an anchor's entry."""
        digest = blake2b(unit.encode("utf-8", "replace"), digest_size=6, key=self._anchors).digest()
        return int.from_bytes(digest, "little") << 16

    def seal(self, pieces: Sequence[Any]) -> bytes:
        h = blake2b(digest_size=_SEAL, key=self._seals)
        for piece in pieces:
            h.update(piece)
        return h.digest()


@dataclass(frozen=True, slots=True)
class MatchFile:
    """A file that was read: its header, and the two sorted tables of 64-bit numbers."""

    header: Header
    key: MatchKey
    records: Sequence[int]
    anchors: Sequence[int]

    def __repr__(self) -> str:
        return f"MatchFile({self.header.name}, {self.header.records} records)"


def header_of(path: Path) -> Header:
    """What a file says of itself, which nobody has checked. Raises ConfigError."""
    try:
        with path.open("rb") as f:
            return _header(path, f.read(1 << 20))[0]
    except OSError as e:
        raise ConfigError(f"{path} cannot be read ({type(e).__name__})") from None


def read(path: Path, keys: Sequence[MatchKey]) -> MatchFile:
    """Reads a file whole and checks it. Raises ConfigError for a foreign key and for anything altered or cut."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{path} is larger than 4 GiB")
        content = path.read_bytes()
    except OSError as e:
        raise ConfigError(f"{path} cannot be read ({type(e).__name__})") from None
    header, start = _header(path, content)
    key = next((k for k in keys if k.id == header.key), None)
    if key is None:
        known = ", ".join(k.id for k in keys) or "none"
        raise ConfigError(
            f"{path} was built under the key {header.key}, which is not here (here: {known}): set match_key to its "
            f"file, or {REBUILD}"
        )
    view = memoryview(content)
    end = len(content) - _SEAL
    if end < start or not hmac.compare_digest(view[end:], key.seal([view[:end]])):
        raise ConfigError(f"{path} is cut off or was altered: {REBUILD}")
    if end - start != 8 * (header.records + header.anchors):
        raise ConfigError(f"{path} is of another version: {REBUILD}")
    middle = start + 8 * header.records
    return MatchFile(header, key, _numbers(view[start:middle]), _numbers(view[middle:end]))


def _numbers(view: memoryview) -> Sequence[int]:
    if sys.byteorder == "little":
        return view.cast("Q")
    numbers = array("Q", bytes(view))
    numbers.byteswap()
    return numbers


def _header(path: Path, content: bytes) -> tuple[Header, int]:
    """The header, and where it ends. Raises ConfigError."""
    start = len(MAGIC) + 4
    try:
        if not content.startswith(MAGIC):
            raise ValueError
        end = start + int.from_bytes(content[len(MAGIC) : start], "little")
        fields = json.loads(content[start:end])
        lists = {name: tuple(fields[name]) for name in ("lengths", "long")}
        return Header(**{**fields, **lists}), end
    except (ValueError, KeyError, TypeError):
        raise ConfigError(f"{path} is no match file; llmguard match build makes one") from None


def write(path: Path, header: Header, key: MatchKey, tables: Sequence[array[int]]) -> None:
    """Writes a file whole or not at all. Raises ConfigError."""
    told = json.dumps(asdict(header), separators=(",", ":"), sort_keys=True).encode()
    told += b" " * (-(len(MAGIC) + 4 + len(told)) % 8)
    pieces: list[Any] = [MAGIC, len(told).to_bytes(4, "little"), told, *map(_little, tables)]
    try:
        fd, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(fd, "wb") as f:
                for piece in (*pieces, key.seal(pieces)):
                    f.write(piece)
                f.flush()
                os.fsync(f.fileno())
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as e:
        raise ConfigError(f"{path} cannot be written ({type(e).__name__})") from None


def _little(table: array[int]) -> memoryview:
    if sys.byteorder != "little":
        table = array("Q", table)
        table.byteswap()
    return memoryview(table).cast("B")
