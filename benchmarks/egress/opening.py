"""Opening: what a provider could read from a form that arrived, by the standard library alone.

Owns taking a form apart with Python's mail parser, which shares nothing with the guard's own, and what stands in its
files: archives, compressed files and PDF streams, XML without its tags, texts of other charsets, one line at a time
where lines are JSON. Never raises at what it cannot open: that is what a provider could not read either.
"""

from __future__ import annotations

import html
import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from email.message import Message
from email.parser import BytesParser

DEPTH = 4
LARGEST = 1 << 22
"""Bytes of a member that are read."""
_STREAM = re.compile(rb"stream\r?\n(.*?)\r?\nendstream", re.S)
_TAG = re.compile(r"<[^<>]{1,400}>")
_CHARSETS = ("utf-16-le", "utf-16-be", "utf-32-le")
_PIECES = re.compile(rb"\)\s*-?\d*\s*\(")


def form_texts(content_type: str, body: bytes) -> Iterator[tuple[str, str]]:
    """(where, text) of everything that a form says."""
    yield "body", body.decode(errors="replace")
    message = BytesParser().parsebytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
    for text in (message.preamble, message.epilogue):
        if isinstance(text, str) and text.strip():
            yield "around", text
    for number, part in enumerate(message.walk() if message.is_multipart() else ()):
        if part.is_multipart():
            continue
        yield f"part {number}, head", _head(part)
        raw = part.get_payload(decode=True)
        if isinstance(raw, bytes):
            for way, text in texts(raw):
                yield f"part {number}{way}", text


def _head(part: Message) -> str:
    values = [f"{name}: {value}" for name, value in part.items()]
    values += [
        f"{key}\n{value}" for name in ("content-disposition", "content-type") for key, value in _pairs(part, name)
    ]
    return "\n".join(values)


def _pairs(part: Message, name: str) -> list[tuple[str, str]]:
    found = part.get_params(None, name) or []
    return [(str(key), value if isinstance(value, str) else str(value)) for key, value in found]


def texts(raw: bytes, way: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    """(how, text) of everything that a file says."""
    plain = raw.decode(errors="replace")
    yield way, plain
    if raw[:1] in (b"{", b"["):
        yield from ((f"{way} > line", line) for line in plain.splitlines()[:200])
    if b"\0" in raw:
        for charset in _CHARSETS:
            for start in (0, 1):
                yield f"{way} > {charset}", raw[start:].decode(charset, "replace")
        yield f"{way} > latin-1", raw.decode("latin-1")
    if "<" in plain and ">" in plain:
        yield f"{way} > without tags", html.unescape(_TAG.sub("", plain))
    if depth < DEPTH:
        for step, data in _inside(raw):
            yield from texts(data, f"{way} > {step}", depth + 1)


def _inside(raw: bytes) -> Iterator[tuple[str, bytes]]:
    """Files in a file."""
    if b"PK\3\4" in raw:
        yield from _members(raw)
    if raw[:2] == b"\x1f\x8b" and (data := _inflated(raw, 31)):
        yield "gzip", data
    if b"%PDF-" in raw[:1024]:
        yield "pieces", _PIECES.sub(b"", raw)
        for match in _STREAM.finditer(raw):
            if data := _inflated(match[1], 15):
                yield "stream", data
    if raw[:4] == b"\x89PNG" and (at := raw.find(b"zTXt")) >= 0 and (end := raw.find(b"\0", at + 4)) >= 0:
        yield "chunk", _inflated(raw[end + 2 :], 15)
    if b"Content-Transfer-Encoding" in raw[:4096]:
        for part in BytesParser().parsebytes(raw).walk():
            coded = part.get_payload(decode=True)
            if isinstance(coded, bytes) and coded != raw:
                yield "mail", coded


def _members(raw: bytes) -> Iterator[tuple[str, bytes]]:
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            yield "zip, comment", archive.comment
            for info in archive.infolist():
                yield "zip, name", info.filename.encode()
                if info.file_size <= LARGEST:
                    yield "zip", archive.read(info)
    # zipfile says RuntimeError of what is encrypted, NotImplementedError of methods that it does not know
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, zlib.error, OSError):
        return


def _inflated(data: bytes, window: int) -> bytes:
    try:
        return zlib.decompressobj(window).decompress(data, LARGEST)
    except zlib.error:
        return b""
