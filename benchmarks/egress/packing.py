"""Packing: files of every kind, made at run time around a text, so that a canary stands where such a file has text.

Owns the bytes of each kind: lines of JSON for every purpose, tables, markup, office files, PDF, mail, archives, and
the texts that pictures and sound carry. ``REWRITABLE`` names the kinds that a guard can redact; the rest it can read.
"""

from __future__ import annotations

import base64
import csv
import gzip
import io
import json
import quopri
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any
from xml.sax.saxutils import escape


@dataclass(frozen=True, slots=True)
class Packed:
    """A file as a form carries it."""

    data: bytes
    extension: str
    media_type: str

    def __repr__(self) -> str:
        return f"Packed(<{len(self.data)} bytes>, {self.extension!r})"


Packer = Callable[[Random, str], Packed]
"""Makes a file around a text."""

PROSE = "The north grew by a tenth, the south by half of that.\n"


def text(random: Random, told: str) -> Packed:
    extension, media = random.choice((("txt", "text/plain"), ("md", "text/markdown"), ("log", "text/plain")))
    return Packed(f"# Notes\n\n{PROSE * random.randint(0, 3)}{told}\n{PROSE}".encode(), extension, media)


def markup(_: Random, told: str) -> Packed:
    page = f"<!doctype html>\n<title>Notes</title>\n<p>{PROSE}</p>\n<p>{escape(told)}</p>\n"
    return Packed(page.encode(), "html", "text/html")


def json_file(random: Random, told: str) -> Packed:
    value = random.choice(({"note": told, "n": 1}, [{"a": [told]}], {"rows": [{"text": told}, {"text": PROSE}]}))
    written = json.dumps(value, ensure_ascii=random.random() < 0.5, indent=random.choice((None, 2)))
    return Packed(written.encode(), "json", "application/json")


def table(random: Random, told: str) -> Packed:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=random.choice(",;"), lineterminator=random.choice(("\n", "\r\n")))
    writer.writerows([("city", "note"), ("Paris", told), ("Oslo", "fine")])
    return Packed(out.getvalue().encode(), "csv", "text/csv")


def _lines(*values: Any) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def training(random: Random, told: str) -> Packed:
    """Lines of a fine-tuning file, the text in a message, in a call of a tool or in a preference."""
    tool = [{"id": "call_1", "type": "function", "function": {"name": "send", "arguments": json.dumps({"to": told})}}]
    asked = {"role": "user", "content": "please help"}
    lines: tuple[Any, ...] = (
        {"messages": [{"role": "user", "content": told}, {"role": "assistant", "content": "done", "weight": 1}]},
        {"messages": [asked, {"role": "assistant", "tool_calls": tool}]},
        {
            "input": {"messages": [asked]},
            "preferred_output": [{"role": "assistant", "content": told}],
            "non_preferred_output": [{"role": "assistant", "content": "no"}],
        },
        {"messages": [asked], "reference": {"answer": told, "checked": True}},
        {"prompt": told, "completion": "done"},
    )
    return Packed(_lines(random.choice(lines)), "jsonl", "application/jsonl")


def requests(random: Random, told: str) -> Packed:
    """Lines of a batch, the text in a body or in the name of the line."""
    bodies: tuple[tuple[str, Any], ...] = (
        ("/v1/chat/completions", {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": told}]}),
        ("/v1/responses", {"model": "gpt-4o-mini", "input": told}),
        ("/v1/embeddings", {"model": "text-embedding-3-small", "input": [told, "x"]}),
    )
    url, body = random.choice(bodies)
    return Packed(
        _lines({"custom_id": "a-1", "method": "POST", "url": url, "body": body}), "jsonl", "application/jsonl"
    )


def items(random: Random, told: str) -> Packed:
    line = random.choice(({"item": {"question": told, "answer": "x"}}, {"note": told}, {"item": {"a": {"b": [told]}}}))
    return Packed(_lines(line, {"item": {"question": "which?"}}), "jsonl", random.choice(("application/jsonl", "")))


# --------------------------------------------------------------------------- what can only be read


def other_charset(random: Random, told: str) -> Packed:
    charset = random.choice(("utf-16", "utf-16-le", "utf-16-be", "utf-32"))
    marks = {"utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}
    return Packed(marks.get(charset, b"") + f"{PROSE}{told}\n".encode(charset), "txt", "text/plain")


def pdf(random: Random, told: str) -> Packed:
    """One page, its text in one string or in pieces, packed or not; or the text is its title."""
    shown = told.encode("latin-1", "replace")
    in_title = random.random() < 0.3
    page = b"The weather is fine" if in_title else shown
    drawn = _string(page) + b" Tj"
    if random.random() < 0.4:
        cut = len(page) // 2
        drawn = b"[" + _string(page[:cut]) + b" -10 " + _string(page[cut:]) + b"] TJ"
    content = b"BT /F1 12 Tf 72 700 Td " + drawn + b" ET"
    packed = random.random() < 0.6
    stream = zlib.compress(content) if packed else content
    length = b"<< /Length %d%s >>" % (len(stream), b" /Filter /FlateDecode" if packed else b"")
    font = b"<< /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >>"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources " + font + b" >>",
        length + b"\nstream\n" + stream + b"\nendstream",
        b"<< /Title " + _string(shown if in_title else b"Notes") + b" >>",
    ]
    return Packed(_numbered(objects), "pdf", "application/pdf")


def _string(raw: bytes) -> bytes:
    for c in b"\\()":
        raw = raw.replace(bytes([c]), b"\\" + bytes([c]))
    return b"(" + raw.replace(b"\n", b"\\n").replace(b"\r", b"\\r") + b")"


def _numbered(objects: list[bytes]) -> bytes:
    out, places = bytearray(b"%PDF-1.4\n"), []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer\n<< /Size %d /Root 1 0 R /Info 5 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    return bytes(out)


def _zipped(members: Mapping[str, bytes], *, comment: bytes = b"") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data)
        archive.comment = comment
    return out.getvalue()


_WORD = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
_SHEET = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
_TYPES = b'<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>'


def document(random: Random, told: str) -> Packed:
    """The text in one run or in two, or in the properties."""
    cut = random.choice((0, len(told) // 2))
    runs = "".join(f"<w:r><w:t>{escape(piece)}</w:t></w:r>" for piece in (told[:cut], told[cut:]))
    space = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    written = f"<?xml version='1.0'?><w:document {space}><w:body><w:p>{runs}</w:p></w:body></w:document>"
    members = {"[Content_Types].xml": _TYPES, "word/document.xml": written.encode()}
    if random.random() < 0.25:
        title = f'<cp:p xmlns:cp="x" xmlns:dc="y"><dc:title>{escape(told)}</dc:title></cp:p>'
        plain = f"<?xml version='1.0'?><w:document {space}><w:body/></w:document>".encode()
        members |= {"word/document.xml": plain, "docProps/core.xml": title.encode()}
    return Packed(_zipped(members), "docx", _WORD)


def workbook(random: Random, told: str) -> Packed:
    space = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    book = f'<workbook {space}><sheets><sheet name="A" sheetId="1"/></sheets></workbook>'
    cell = f"<c r='A1' t='inlineStr'><is><t>{escape(told)}</t></is></c>"
    shared = f"<sst {space}><si><t>{escape(told)}</t></si></sst>"
    inline = random.random() < 0.5
    cell = cell if inline else "<c r='A1' t='s'><v>0</v></c>"
    sheet = f"<worksheet {space}><sheetData><row r='1'>{cell}</row></sheetData></worksheet>"
    members = {"[Content_Types].xml": _TYPES, "xl/workbook.xml": book.encode()}
    members |= {"xl/worksheets/sheet1.xml": sheet.encode()} | (
        {} if inline else {"xl/sharedStrings.xml": shared.encode()}
    )
    return Packed(_zipped(members), "xlsx", _SHEET)


def mail(random: Random, told: str) -> Packed:
    coding = random.choice(("7bit", "base64", "quoted-printable"))
    coded = {"7bit": told.encode(), "base64": base64.encodebytes(told.encode()).rstrip()}
    body = coded.get(coding) or quopri.encodestring(told.encode())
    head = 'Subject: notes\nMIME-Version: 1.0\nContent-Type: text/plain; charset="utf-8"\n'
    head += f"Content-Transfer-Encoding: {coding}\n"
    return Packed(head.encode() + b"\n" + body + b"\n", "eml", "message/rfc822")


def archive(random: Random, told: str) -> Packed:
    """A text in a zip, in a zip in a zip, as a member's name or as its comment."""
    inner = f"{PROSE}{told}\n".encode()
    pick = random.random()
    if pick < 0.5:
        return Packed(_zipped({"notes.txt": inner}), "zip", "application/zip")
    if pick < 0.7:
        return Packed(_zipped({"inner.zip": _zipped({"a/notes.txt": inner})}), "zip", "application/zip")
    if pick < 0.85:
        return Packed(_zipped({"notes.txt": b"x"}, comment=told.encode()[:2000]), "zip", "application/zip")
    name = "".join(c for c in told if c.isprintable() and c not in '/\\:"')[:180]
    return Packed(_zipped({f"{name}.txt": b"x"}), "zip", "application/zip")


def compressed(_: Random, told: str) -> Packed:
    return Packed(gzip.compress(f"{PROSE}{told}\n".encode(), mtime=0), "gz", "application/gzip")


def picture(random: Random, told: str) -> Packed:
    """A PNG with a chunk of text: plain, packed, or international."""
    raw = told.encode("latin-1", "replace")
    chunk = random.choice(
        (
            _chunk(b"tEXt", b"Comment\0" + raw),
            _chunk(b"zTXt", b"Comment\0\0" + zlib.compress(raw)),
            _chunk(b"iTXt", b"Comment\0\0\0\0\0" + told.encode()),
        )
    )
    return Packed(_png(chunk), "png", "image/png")


def _png(extra: bytes = b"") -> bytes:
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + extra + _chunk(b"IDAT", zlib.compress(b"\0\x80")) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def sound(random: Random, told: str) -> Packed:
    """An MP3 whose title is the text (ID3v2.3), in Latin-1 or UTF-16."""
    wide = random.random() < 0.5
    said = b"\1" + told.encode("utf-16") if wide else b"\0" + told.encode("latin-1", "replace")
    frame = b"TIT2" + struct.pack(">I", len(said)) + b"\0\0" + said
    size = len(frame)
    synchsafe = bytes((size >> shift) & 0x7F for shift in (21, 14, 7, 0))
    return Packed(b"ID3\3\0\0" + synchsafe + frame + b"\xff\xfb\x90\0" + bytes(413), "mp3", "audio/mpeg")


REWRITABLE: Mapping[str, Packer] = {
    "text": text,
    "markup": markup,
    "json": json_file,
    "csv": table,
    "training": training,
    "batch": requests,
    "items": items,
}
READ: Mapping[str, Packer] = {
    "other charset": other_charset,
    "pdf": pdf,
    "docx": document,
    "xlsx": workbook,
    "mail": mail,
    "zip": archive,
    "gzip": compressed,
    "png": picture,
    "mp3": sound,
}
PACKERS: Mapping[str, Packer] = {**REWRITABLE, **READ}


def blank(random: Random) -> Packed:
    """A file in which nothing is anybody's: what most are, and now and then a picture."""
    if random.random() < 0.2:
        return Packed(_png(), "png", "image/png")
    return text(random, "All is well.")
