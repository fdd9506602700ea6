"""Media: what images and sound say in words: EXIF, XMP, IPTC, comments, ID3. Pictures and sound stay unseen.

Owns reading metadata from PNG, JPEG, GIF, WebP, TIFF, any file with an XMP packet, and MP3. Never decodes a pixel or a
sample, so every file here counts as not looked into, whatever was read of it.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from llmguard.payload.files.looking import HOSTILE, Looking
from llmguard.payload.files.zips import inflated

MAX_PIECE = 1 << 20
"""Bytes of one piece of metadata that are read."""
MAX_PIECES = 2000
_SCANNED = 4 << 20
_XMP = re.compile(rb"<x:xmpmeta.{0,1048576}?</x:xmpmeta>|<rdf:RDF.{0,1048576}?</rdf:RDF>", re.S)
_TAG = re.compile(r"<[^>]*>")
_PRINTED = re.compile(rb"[\x20-\x7e\xc2-\xf4\x80-\xbf\t\r\n]{4,}")
_TABLES = (b"ICC_PROFILE\0", b"Adobe\0", b"MPF\0", b"FPXR\0")
"""Segments of a JPEG that hold numbers."""
_TAGS = {
    0x010D: "DocumentName",
    0x010E: "ImageDescription",
    0x010F: "Make",
    0x0110: "Model",
    0x0131: "Software",
    0x013B: "Artist",
    0x013C: "HostComputer",
    0x8298: "Copyright",
    0x9286: "UserComment",
    0x9C9B: "Title",
    0x9C9C: "Comment",
    0x9C9D: "Author",
    0x9C9E: "Keywords",
    0x9C9F: "Subject",
    0xA430: "CameraOwnerName",
    0xA431: "BodySerialNumber",
    0xA435: "LensSerialNumber",
}
_FOLDERS = {0x8769: False, 0x8825: True, 0xA005: False}
"""Tags that point at another directory of tags, and whether it says where the picture was taken."""
_XMP_TAG, _IPTC_TAG = 0x02BC, 0x83BB
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8}
_MAX_TAGS = 1000
_ENCODINGS = ("latin-1", "utf-16", "utf-16-be", "utf-8")


def look(looking: Looking, file: BinaryIO, kind: str, address: str) -> None:
    """Raises Spent."""
    looking.blind(kind)
    file.seek(0)
    head = file.read(16)
    where = f"{address}#metadata"
    for data in _pieces(file, head):
        looking.hurry()
        _piece(looking, data, where)
    file.seek(0)
    for packet in _XMP.findall(file.read(_SCANNED)):
        _words(looking, packet, where)
    if kind == "audio":
        _id3(looking, file, head, where)


def _pieces(file: BinaryIO, head: bytes) -> Iterator[bytes]:
    for magic, walk in ((b"\x89PNG", _png), (b"\xff\xd8", _jpeg), (b"RIFF", _riff), (b"GIF8", _gif), (b"II*\0", _tiff)):
        if head.startswith(magic):
            return walk(file)
    return _tiff(file) if head.startswith(b"MM\0*") else iter(())


def _piece(looking: Looking, data: bytes, address: str) -> None:
    if data.startswith(b"Exif\0\0") or data[:4] in (b"II*\0", b"MM\0*"):
        try:
            looking.text("\n".join(_exif(data.removeprefix(b"Exif\0\0"))), address)
        except HOSTILE:
            looking.text(_printed(data), address)
    elif b"<" in data and b"rdf:" in data:
        _words(looking, data, address)
    else:
        looking.text(_printed(data), address)


def _words(looking: Looking, packet: bytes, address: str) -> None:
    """XMP: the text between its tags, and the tags, whose attributes hold text as well."""
    text = packet.decode("utf-8", "replace")
    looking.text(text, address)


def _printed(data: bytes) -> str:
    return "\n".join(w.decode("utf-8", "replace") for w in _PRINTED.findall(data))


# --------------------------------------------------------------------------- containers


def _png(file: BinaryIO) -> Iterator[bytes]:
    """Text chunks (PNG 3 §11.3.3)."""
    file.seek(8)
    for _ in range(MAX_PIECES):
        header = file.read(8)
        if len(header) < 8 or header[4:] == b"IEND":
            return
        size, kind = struct.unpack(">L4s", header)
        start = file.tell()
        if kind in (b"tEXt", b"eXIf", b"iTXt", b"zTXt"):
            yield _png_text(kind, file.read(min(size, MAX_PIECE)))
        file.seek(start + size + 4)


def _png_text(kind: bytes, data: bytes) -> bytes:
    keyword, _, rest = data.partition(b"\0")
    if kind == b"zTXt":
        return keyword + b": " + inflated(rest[1:], zlib.MAX_WBITS, MAX_PIECE)[0].decode("latin-1").encode()
    if kind == b"iTXt" and rest[:1] == b"\1":
        language, _, body = rest[2:].partition(b"\0")
        title, _, packed = body.partition(b"\0")
        return b"\n".join((keyword, language, title, inflated(packed, zlib.MAX_WBITS, MAX_PIECE)[0]))
    return data if kind in (b"eXIf", b"iTXt") else keyword + b": " + rest.decode("latin-1").encode()


def _jpeg(file: BinaryIO) -> Iterator[bytes]:
    """Application segments and comments before the picture (JPEG, ITU T.81 §B.1.1.4)."""
    file.seek(2)
    for _ in range(MAX_PIECES):
        marker = file.read(2)
        if len(marker) < 2 or marker[0] != 0xFF or marker[1] in (0xD9, 0xDA):
            return
        if marker[1] == 0xFF:
            file.seek(-1, 1)
            continue
        size = int.from_bytes(file.read(2), "big")
        data = file.read(max(0, size - 2))
        if marker[1] == 0xFE or (0xE1 <= marker[1] <= 0xEF and not data.startswith(_TABLES)):
            yield data


def _riff(file: BinaryIO) -> Iterator[bytes]:
    file.seek(12)
    for _ in range(MAX_PIECES):
        header = file.read(8)
        if len(header) < 8:
            return
        kind, size = struct.unpack("<4sL", header)
        start = file.tell()
        if kind in (b"EXIF", b"XMP ", b"LIST", b"bext", b"iXML", b"ID3 ", b"id3 "):
            yield file.read(min(size, MAX_PIECE))
        file.seek(start + size + size % 2)


def _gif(file: BinaryIO) -> Iterator[bytes]:
    """Comment, text and application extensions (GIF89a §24-26)."""
    file.seek(0)
    data = file.read(_SCANNED)
    at = 13 + (3 << ((data[10] & 7) + 1) if data[10] & 0x80 else 0)
    for _ in range(MAX_PIECES):
        opening = data[at : at + 2]
        if opening[:1] == b"!":
            at, body = _blocks(data, at + 2)
            if opening[1:] != b"\xf9":
                yield body
        elif opening[:1] == b"," and len(data) > at + 9:
            flags = data[at + 9]
            at, _pixels = _blocks(data, at + 11 + (3 << ((flags & 7) + 1) if flags & 0x80 else 0))
        else:
            return


def _blocks(data: bytes, at: int) -> tuple[int, bytes]:
    pieces = []
    while at < len(data) and (size := data[at]):
        pieces.append(data[at + 1 : at + 1 + size])
        at += 1 + size
    return at + 1, b"".join(pieces)


def _tiff(file: BinaryIO) -> Iterator[bytes]:
    file.seek(0)
    yield file.read(_SCANNED)


# --------------------------------------------------------------------------- EXIF, ID3


def _exif(data: bytes) -> Iterator[str]:
    """Tags that hold words, and the place (EXIF 2.32 §4.6), as ``name: value``."""
    order = "<" if data[:2] == b"II" else ">"
    folders = [(struct.unpack(f"{order}L", data[4:8])[0], False)]
    seen: set[int] = set()
    count = 0
    while folders:
        at, place = folders.pop()
        if at in seen or not 8 <= at <= len(data) - 2:
            continue
        seen.add(at)
        entries = struct.unpack(f"{order}H", data[at : at + 2])[0]
        for i in range(entries):
            entry = data[at + 2 + 12 * i : at + 14 + 12 * i]
            if len(entry) < 12 or (count := count + 1) > _MAX_TAGS:
                return
            tag, kind, size, value = struct.unpack(f"{order}HHLL", entry)
            if tag in _FOLDERS:
                folders.append((value, _FOLDERS[tag]))
            elif text := _value(data, entry, (order, tag, kind, size, value), place):
                yield text
        after = data[at + 2 + 12 * entries : at + 6 + 12 * entries]
        if len(after) == 4:
            folders.append((struct.unpack(f"{order}L", after)[0], False))


def _value(data: bytes, entry: bytes, field: tuple[str, int, int, int, int], place: bool) -> str:
    order, tag, kind, size, value = field
    length = min(size * _SIZES.get(kind, 0), MAX_PIECE)
    raw = entry[8 : 8 + length] if length <= 4 else data[value : value + length]
    if place:
        return _position(order, tag, kind, raw)
    name = _TAGS.get(tag, f"Tag{tag:04X}")
    if tag in (_XMP_TAG, _IPTC_TAG):
        return _printed(raw)
    if 0x9C9B <= tag <= 0x9C9F:
        return f"{name}: {raw.decode('utf-16-le', 'replace')}"
    if tag == 0x9286:
        wide = raw.startswith(b"UNICODE\0")
        body = raw[8:].decode("utf-16-le" if order == "<" else "utf-16-be", "replace") if wide else _printed(raw[8:])
        return f"{name}: {body}"
    return f"{name}: {raw.rstrip(bytes(1)).decode('utf-8', 'replace')}" if kind == 2 and raw.strip(b"\0 ") else ""


def _position(order: str, tag: int, kind: int, raw: bytes) -> str:
    """Latitude and longitude as degrees in decimals; other tags of the place that hold words as they are."""
    if kind == 2:
        return f"GPS{tag}: {raw.rstrip(bytes(1)).decode('ascii', 'replace')}" if len(raw) > 2 else ""
    if tag not in (2, 4) or len(raw) < 24:
        return ""
    numbers = struct.unpack(f"{order}6L", raw[:24])
    degrees = sum(numbers[2 * i] / max(1, numbers[2 * i + 1]) / 60**i for i in range(3))
    return f"{'latitude' if tag == 2 else 'longitude'}: {degrees:.6f}"


def _id3(looking: Looking, file: BinaryIO, head: bytes, address: str) -> None:
    """ID3v2 text frames (id3.org, 2.3 and 2.4 §4.2) and the older tag at the end."""
    end = file.seek(0, 2)
    if end >= 128:
        file.seek(end - 128)
        if (tag := file.read(128))[:3] == b"TAG":
            looking.text(tag[3:127].decode("latin-1").replace("\0", " "), address)
    if head[:3] != b"ID3":
        return
    file.seek(10)
    size = sum((b & 127) << shift for b, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
    data, at = file.read(min(size, _SCANNED)), 0
    while at + 10 <= len(data) and data[at] > 32:
        raw = data[at + 4 : at + 8]
        length = sum((b & 127) << s for b, s in zip(raw, (21, 14, 7, 0), strict=True))
        length = length if head[3] == 4 else int.from_bytes(raw, "big")
        body = data[at + 10 : at + 10 + length]
        looking.spend("entries", 1)
        if data[at : at + 1] in b"TCUW" and body:
            charset = _ENCODINGS[body[0]] if body[0] < len(_ENCODINGS) else "latin-1"
            looking.text(body[body[0] < len(_ENCODINGS) :].decode(charset, "replace").replace("\0", " "), address)
        at += 10 + length
