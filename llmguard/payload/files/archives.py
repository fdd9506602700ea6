"""Archive: what stands in zip, tar, gzip, zstd, bzip2 and xz, looked into by what looks into files.

Owns opening containers and telling which members nobody could read. Names of members are text, and nothing else: no
file is ever written. 7z, rar, cab, lz4 and ar are told, not opened.
"""

from __future__ import annotations

import bz2
import io
import lzma
from collections.abc import Callable, Iterator
from typing import BinaryIO, Protocol

import llmguard.payload.files.office as office
from llmguard.payload.coding import Decoder
from llmguard.payload.files import zips
from llmguard.payload.files.looking import Looking, shown

_XZ_MEMORY = 64 << 20
_STEP = 1 << 16
_BLOCK = 512
_FILES = (b"0", b"\0", b"7")
_RECORDS = 1 << 20
"""Bytes behind the end of a tar, above which they are more than the zeros that fill a record."""
_LONG = 1 << 16
"""Bytes of a name or of a member's attributes that are read."""


def look(looking: Looking, file: BinaryIO, address: str) -> None:
    """Raises Spent."""
    file.seek(0)
    head = file.read(_BLOCK)
    if not looking.deeper("archive"):
        return
    try:
        if head[:2] == b"PK":
            _zip(looking, file, address)
        elif head[257:262] == b"ustar":
            _tar(looking, file, address)
        else:
            _compressed(looking, file, head, address)
    finally:
        looking.up()


def behind(looking: Looking, file: BinaryIO, address: str) -> None:
    """The zip that stands behind something else. Raises Unreadable, Spent."""
    if looking.deeper("archive"):
        try:
            _zip(looking, file, address)
        finally:
            looking.up()


def _zip(looking: Looking, file: BinaryIO, address: str) -> None:
    """A zip, whatever it calls itself: an office file is told by what stands in it."""
    infos, comment = zips.directory(file)
    names = [i.filename for i in infos]
    if comment:
        looking.text(comment.decode("utf-8", "replace"), f"{address}#comment")
    looking.text("\n".join(i.comment.decode("utf-8", "replace") for i in infos if i.comment), f"{address}#comments")
    if not zips.regular(infos, file):
        looking.blind("archive")
    if office.is_office(names):
        office.look(looking, zips.members(looking, file, infos), names, address)
        return
    looking.text("\n".join(names), f"{address}#names")
    for member in zips.members(looking, file, infos):
        if not member.whole:
            looking.blind("archive")
        looking.member(member.data, member.name, f"{address}!{shown(member.name)}")


# --------------------------------------------------------------------------- one file, compressed


class _Unpacker(Protocol):
    def __call__(self, file: BinaryIO) -> Iterator[bytes]: ...


def _compressed(looking: Looking, file: BinaryIO, head: bytes, address: str) -> None:
    name, unpack = next(((n, u) for magic, n, u in _UNPACKERS if head.startswith(magic)), ("", None))
    if unpack is None:
        looking.blind("archive")
        return
    if name == "gzip":
        _named(looking, head, address)
    file.seek(0)
    looking.spend("entries", 1)
    pieces, size, room = [], 0, looking.room()
    try:
        for piece in unpack(file):
            looking.spend("unpacked", len(piece))
            pieces.append(piece)
            size += len(piece)
            if size >= room:
                looking.blind("archive")
                break
    except (ValueError, EOFError, OSError, lzma.LZMAError, MemoryError):
        looking.blind("archive")  # what came out before the damage is looked into
    looking.member(b"".join(pieces)[:room], "", f"{address}!")


def _named(looking: Looking, head: bytes, address: str) -> None:
    """The name and the comment that a gzip file carries (RFC 1952 §2.3)."""
    flags, rest = head[3], head[10:]
    if flags & 4:
        rest = rest[2 + int.from_bytes(rest[:2], "little") :]
    for bit in (8, 16):
        if flags & bit:
            text, _, rest = rest.partition(b"\0")
            looking.text(text.decode("latin-1"), f"{address}#names")


def _coded(coding: str) -> _Unpacker:
    def unpack(file: BinaryIO) -> Iterator[bytes]:
        decoder = Decoder(coding)
        while data := file.read(_STEP):
            decoder.feed(data)
            while piece := decoder.next():
                yield piece
        decoder.finish()

    return unpack


def _engine(make: Callable[[], bz2.BZ2Decompressor | lzma.LZMADecompressor]) -> _Unpacker:
    """Streams may follow one another."""

    def unpack(file: BinaryIO) -> Iterator[bytes]:
        engine, rest = make(), b""
        while data := rest or file.read(_STEP):
            rest = b""
            if engine.eof:
                engine = make()
            yield engine.decompress(data, 1 << 20)
            while not engine.eof and not engine.needs_input:
                yield engine.decompress(b"", 1 << 20)
            rest = engine.unused_data if engine.eof else b""
        if not engine.eof:
            raise EOFError

    return unpack


_UNPACKERS: tuple[tuple[bytes, str, _Unpacker], ...] = (
    (b"\x1f\x8b", "gzip", _coded("gzip")),
    (b"(\xb5/\xfd", "zstd", _coded("zstd")),
    (b"BZh", "bzip2", _engine(bz2.BZ2Decompressor)),
    (b"\xfd7zXZ\0", "xz", _engine(lambda: lzma.LZMADecompressor(memlimit=_XZ_MEMORY))),
)


# --------------------------------------------------------------------------- tar


def _tar(looking: Looking, file: BinaryIO, address: str) -> None:
    """POSIX.1-2001 and GNU. Links have a name and a target; what is sparse is not put together."""
    at, size = 0, file.seek(0, io.SEEK_END)
    names: list[str] = []
    override, ended = "", False
    while at + _BLOCK <= size:
        file.seek(at)
        header = file.read(_BLOCK)
        if not header.strip(b"\0"):
            ended = True
            break
        looking.spend("entries", 1)
        length, at = _octal(header[124:136]), at + _BLOCK
        if length < 0 or not _summed(header):
            looking.blind("archive")
            break
        kind = header[156:157]
        if kind in (b"x", b"g", b"L", b"K", b"N"):
            raw = file.read(min(length, _LONG, size - at))
            if length > _LONG:
                looking.blind("archive")
            text = raw.rstrip(b"\0").decode("utf-8", "replace")
            looking.text(text, f"{address}#attributes")
            override = text if kind == b"L" else override
        else:
            name = override or _name(header)
            names.append(name)
            override = ""
            _member(looking, file, (kind, name, min(length, size - at), length), address)
        at += -(-length // _BLOCK) * _BLOCK
    if not ended or size - at > _RECORDS:
        looking.blind("archive")
    looking.text("\n".join(names), f"{address}#names")


def _member(looking: Looking, file: BinaryIO, entry: tuple[bytes, str, int, int], address: str) -> None:
    kind, name, there, length = entry
    if kind in (b"5", b"1", b"2", b"3", b"4", b"6") and not length:
        return
    room = looking.room()
    data = file.read(min(there, room))
    looking.spend("unpacked", len(data))
    if len(data) < length or kind not in _FILES:
        looking.blind("archive")
    looking.member(data, name, f"{address}!{shown(name)}")


def _name(header: bytes) -> str:
    parts = (header[345:500] if header[257:263] == b"ustar\0" else b"", header[:100], header[157:257])
    prefix, name, target = (p.partition(b"\0")[0].decode("utf-8", "replace") for p in parts)
    whole = f"{prefix}/{name}" if prefix else name
    return f"{whole} -> {target}" if target else whole


def _octal(field: bytes) -> int:
    if field[:1] == b"\x80":
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b"\0 ")
    return int(digits, 8) if digits.isdigit() and not digits.strip(b"01234567") else 0 if not digits else -1


def _summed(header: bytes) -> bool:
    return _octal(header[148:156]) == sum(header) - sum(header[148:156]) + 8 * 32
