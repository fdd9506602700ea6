"""Zip: the members of a zip archive, read by ourselves, so that what its directory says and what it holds must agree.

Owns finding the directory and giving out members' bytes, bounded. Never trusts a size: a member is unpacked to its end
or to the bound, whatever is claimed (APPNOTE.TXT 6.3.10). Raises Unreadable for an archive without a usable directory.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from llmguard.payload.files.looking import HOSTILE, Looking

MAX_DIRECTORY = 16 << 20
"""Bytes of a central directory, which is read at once."""
_TAIL = 22 + (1 << 16)
"""The end record stands this far before the end at most: itself and its comment."""
_SLACK = 1024
"""Bytes between members that nobody needs to account for: data descriptors, alignment."""
_STORED, _DEFLATED = 0, 8


class Unreadable(ValueError):
    """No directory, or one that cannot be read."""


@dataclass(frozen=True, slots=True)
class Member:
    """One file of an archive. ``whole``: these are all its bytes, and what the directory says of them is true."""

    name: str
    data: bytes
    whole: bool

    def __repr__(self) -> str:
        return f"Member(<{len(self.data)} bytes>, whole={self.whole})"


def directory(file: BinaryIO) -> tuple[list[zipfile.ZipInfo], bytes]:
    """The members that the directory names, and the archive's comment. Raises Unreadable."""
    _, size = _end(file)
    if size > MAX_DIRECTORY:
        raise Unreadable
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, *HOSTILE):
        raise Unreadable from None
    return archive.infolist(), archive.comment


def ends_like_zip(file: BinaryIO) -> bool:
    """Whether a file of any kind would also open as a zip: readers of zip look at its end only."""
    try:
        _, size = _end(file)
    except Unreadable:
        return False
    return size > 0


def regular(infos: Sequence[zipfile.ZipInfo], file: BinaryIO) -> bool:
    """Whether members lie one behind another, without overlap and without room for what the directory hides."""
    end = hidden = 0
    for info in sorted(infos, key=lambda i: i.header_offset):
        if info.header_offset < end:
            return False
        hidden += max(0, info.header_offset - end - 24)
        name = len(info.orig_filename.encode("utf-8", "replace"))
        end = info.header_offset + 30 + name + info.compress_size
    at, size = _end(file)
    return hidden + max(0, at - size - end - _SLACK) <= _SLACK + 64 * len(infos)


def members(looking: Looking, file: BinaryIO, infos: Sequence[zipfile.ZipInfo]) -> Iterator[Member]:
    """Every member but folders, one after another. Raises Spent."""
    for info in infos:
        looking.spend("entries", 1)
        if info.is_dir() and not info.file_size and not info.compress_size:
            continue
        data, whole = _unpacked(looking, file, info)
        yield Member(info.filename, data, whole)


def _unpacked(looking: Looking, file: BinaryIO, info: zipfile.ZipInfo) -> tuple[bytes, bool]:
    try:
        file.seek(info.header_offset)
        header = file.read(30)
        signature, _, flags, method, *_, name, extra = struct.unpack("<4sHHHHHLLLHH", header)
    except (struct.error, OSError, ValueError):
        return b"", False
    encrypted = (flags | info.flag_bits) & 1
    if signature != b"PK\3\4" or encrypted or method != info.compress_type or method not in (_STORED, _DEFLATED):
        return b"", False
    file.seek(info.header_offset + 30 + name + extra)
    room = looking.room()
    if method == _STORED:
        data = file.read(min(info.compress_size, room))
        ended = len(data) == info.compress_size
    else:
        data, ended = inflated(file.read(min(info.compress_size, looking.limits.held)), -zlib.MAX_WBITS, room)
    looking.spend("unpacked", len(data))
    return data, ended and len(data) == info.file_size


def inflated(packed: bytes, wbits: int, room: int) -> tuple[bytes, bool]:
    """At most ``room`` bytes, and whether that is all there is and nothing stands behind it."""
    engine = zlib.decompressobj(wbits)
    try:
        data = engine.decompress(packed, room + 1)
    except zlib.error:
        return b"", False
    return data[:room], engine.eof and len(data) <= room and not engine.unused_data


def _end(file: BinaryIO) -> tuple[int, int]:
    """Where the end record (or, in zip64, its longer form) stands, and the size of the directory before it."""
    size = file.seek(0, 2)
    start = max(0, size - _TAIL)
    file.seek(start)
    tail = file.read(_TAIL)
    at = tail.rfind(b"PK\5\6")
    if at < 0 or len(tail) - at < 22:
        raise Unreadable
    _, _, _, _, entries, length, offset, _ = struct.unpack("<4sHHHHLLH", tail[at : at + 22])
    if length == 0xFFFFFFFF or offset == 0xFFFFFFFF or entries == 0xFFFF:
        locator = tail[at - 20 : at] if at >= 20 else b""
        if locator[:4] == b"PK\6\7":
            where = struct.unpack("<Q", locator[8:16])[0]
            file.seek(min(where, size))
            record = file.read(56)
            if record[:4] == b"PK\6\6" and len(record) == 56:
                return where, struct.unpack("<Q", record[40:48])[0]
        raise Unreadable
    if length > start + at or (entries and length < 46):
        raise Unreadable
    return start + at, length
