"""Kind: what a file is, by its first bytes; its name and its declared type only choose between kinds of text.

Owns ``kind_of`` and the tables of signatures. Never says "text" of what could be opened as something else: bytes that
are text *and* carry the signature of an image, a PDF or an archive have the kind of the signature, whose look reads
the text too and keeps the kind as not looked into.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Mapping
from typing import Literal

Kind = Literal[
    "empty",
    "jsonl",
    "json",
    "csv",
    "text",
    "foreign",
    "pdf",
    "docx",
    "xlsx",
    "pptx",
    "odt",
    "ods",
    "odp",
    "rtf",
    "eml",
    "mbox",
    "image",
    "audio",
    "video",
    "archive",
    "parquet",
    "binary",
]
"""``foreign`` is text in another charset than UTF-8. ``binary`` is everything that nothing else is."""

REWRITABLE = frozenset(("jsonl", "json", "csv", "text"))
"""Kinds that are UTF-8 text and can be rewritten; the others can only be looked into."""
ZIPPED = frozenset(("docx", "xlsx", "pptx", "odt", "ods", "odp"))
HEAD = 1 << 16
"""Bytes of a file that ``kind_of`` wants; more are not read, fewer are fine for a shorter file."""

_SIGNATURES: tuple[tuple[bytes, Kind], ...] = (
    (b"{\\rtf", "rtf"),
    (b"\x89PNG\r\n", "image"),
    (b"\xff\xd8\xff", "image"),
    (b"GIF87a", "image"),
    (b"GIF89a", "image"),
    (b"II*\0", "image"),
    (b"MM\0*", "image"),
    (b"8BPS\0", "image"),
    (b"\0\0\1\0", "image"),  # ICO
    (b"\0\0\2\0", "image"),  # CUR
    (b"\0\0\0\x0cjP  ", "image"),  # JPEG 2000
    (b"\0\0\0\x0cJXL ", "image"),
    (b"\xff\x0a", "image"),  # JPEG XL, bare
    (b"\xff\x4f\xff\x51", "image"),
    (b"\x01\0\0\0\x6c\0\0\0", "image"),  # EMF
    (b"\xd7\xcd\xc6\x9a", "image"),  # WMF
    (b"/* XPM */", "image"),
    (b"ID3", "audio"),
    (b"OggS", "audio"),
    (b"fLaC", "audio"),
    (b"#!AMR", "audio"),
    (b"MThd\0\0\0\6", "audio"),
    (b".snd\0", "audio"),
    (b"\x1aE\xdf\xa3", "video"),  # Matroska, WebM
    (b"FLV\1", "video"),
    (b"\0\0\1\xba", "video"),
    (b"\0\0\1\xb3", "video"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "video"),  # ASF
    (b"PK\5\6", "archive"),
    (b"PK\7\b", "archive"),
    (b"\x1f\x8b", "archive"),
    (b"BZh", "archive"),
    (b"\xfd7zXZ\0", "archive"),
    (b"(\xb5/\xfd", "archive"),
    (b"7z\xbc\xaf\x27\x1c", "archive"),
    (b"Rar!\x1a\7", "archive"),
    (b"MSCF\0\0\0\0", "archive"),
    (b"!<arch>\n", "archive"),
    (b"\x04\x22\x4d\x18", "archive"),  # LZ4
    (b"\x5d\0\0\x80\0", "archive"),  # LZMA, bare
    (b"PAR1", "parquet"),
    (b"%!PS", "binary"),  # a program, whose text stands in whatever code it likes
)
_RIFF: Mapping[bytes, Kind] = {b"WEBP": "image", b"WAVE": "audio", b"AVI ": "video"}
_BOMS: tuple[tuple[bytes, str], ...] = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it starts with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CHARSETS: Mapping[str, str] = {
    **dict.fromkeys(("utf-8", "utf8", "us-ascii", "ascii"), "utf-8"),
    **dict.fromkeys(("iso-8859-1", "latin-1", "latin1", "windows-1252", "cp1252"), "cp1252"),
    **{f"iso-8859-{n}": f"iso-8859-{n}" for n in (2, 5, 7, 9, 13, 15)},
    **{f"windows-{n}": f"cp{n}" for n in (1250, 1251, 1253, 1254, 1255, 1256, 1257)},
    **{name: name for name in ("koi8-r", "koi8-u", "shift_jis", "euc-jp", "gb18030", "gbk", "big5", "euc-kr")},
    **{name: name for name in ("utf-16le", "utf-16be")},
}
"""Charsets that may be declared, as Python calls them. As browsers do, Latin-1 is read as Windows-1252."""
_DECLARED = re.compile(
    rb"""<\?xml[^>]{0,80}?encoding=["']([\w-]{1,20})["']|<meta[^>]{0,80}?charset=["']?([\w-]{1,20})""", re.I
)
_PARAMETER = re.compile(r";\s*charset=\"?([\w-]+)", re.I)
_CONTROLS = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
"""What no text holds; a form feed and an escape (logs in colours) may stand in it."""
_PDF = re.compile(rb"\A%PDF|(?:\A|[\r\n])[^\r\n%]{0,8}%PDF-\d")
_PNM = re.compile(rb"P[1-7]\s+(?:#[^\n]*\n\s*)*\d+\s+\d+\s|P7\nWIDTH |P[fF]\n\d+ \d+\n")
_XBM = re.compile(rb"#define \w{0,40}_?width \d+\s+#define \w{0,40}_?height \d+")
_MAIL = re.compile(rb"(?:[!-9;-~]{1,76}:[^\n]*\n(?:[ \t][^\n]*\n)*){2,}", re.S)
_CODED = re.compile(
    rb"(?mi)^content-transfer-encoding:\s*(?:base64|quoted-printable)|^content-type:\s*(?:multipart|message)/"
)
_SENT = re.compile(rb"(?mi)^(?:from|received|return-path|message-id|mime-version|delivered-to|content-type):")
_MBOX = re.compile(rb"From \S+ .{0,20}\d\d:\d\d")
_OPENING = re.compile(r"\s*(?:\[|\{)\s*(?:[\]}\[{\"tfn\d-])|\s*[\[{]\s*$")
_TYPED: tuple[tuple[tuple[str, ...], Kind], ...] = (
    (("wordprocessingml", "ms-word.document.macro"), "docx"),
    (("spreadsheetml", "ms-excel.sheet.macro"), "xlsx"),
    (("presentationml", "ms-powerpoint.presentation.macro"), "pptx"),
    (("opendocument.text",), "odt"),
    (("opendocument.spreadsheet",), "ods"),
    (("opendocument.presentation",), "odp"),
)
_EXTENSIONS: Mapping[str, Kind] = {
    **dict.fromkeys(("docx", "docm", "dotx", "dotm"), "docx"),
    **dict.fromkeys(("xlsx", "xlsm", "xltx", "xlsb"), "xlsx"),
    **dict.fromkeys(("pptx", "pptm", "ppsx", "potx"), "pptx"),
    "odt": "odt",
    "ods": "ods",
    "odp": "odp",
}


def kind_of(head: bytes, filename: str = "", media_type: str = "") -> Kind:
    """What a file is. ``head``: its first ``HEAD`` bytes, all of them if it is shorter."""
    if not head:
        return "empty"
    extension, declared = filename.rpartition(".")[2].lower(), media_type.lower()
    if (kind := _binary(head, extension, declared)) is not None:
        return kind
    if (kind := _mail(head.removeprefix(codecs.BOM_UTF8), extension, declared)) is not None:
        return kind  # whose parts have charsets of their own
    if charset_of(head, media_type) is None:
        return "binary"
    if not _utf8(head):
        return "foreign"
    return _of_text(head.removeprefix(codecs.BOM_UTF8), extension, declared)


def charset_of(head: bytes, media_type: str = "") -> str | None:
    """The charset of a text that starts so, as Python calls it; None if nobody can tell, or if it is no text.

    Raises nothing: what a declared charset does not decode is no text either.
    """
    for mark, charset in _BOMS:
        if head.startswith(mark):
            return charset if _decodes(head, charset) else None
    if _CONTROLS.search(head):
        return None
    if _utf8(head):
        return "utf-8"
    named = _PARAMETER.search(media_type)
    inside = _DECLARED.search(head[:1024])
    word = named[1] if named else (inside[1] or inside[2]).decode("ascii") if inside else ""
    known = _CHARSETS.get(word.lower())
    return known if known and _decodes(head, known) else None


def is_text(data: bytes) -> bool:
    """Whether bytes, perhaps cut at their end, are UTF-8 text."""
    return _utf8(data) and not _CONTROLS.search(data)


def _utf8(head: bytes) -> bool:
    return _decodes(head, "utf-8")


def _decodes(head: bytes, charset: str) -> bool:
    """Whether the bytes are of a charset. The last character may be cut."""
    try:
        codecs.getincrementaldecoder(charset)().decode(head, final=len(head) < HEAD)
    except UnicodeError:
        return False
    return True


def _binary(head: bytes, extension: str, declared: str) -> Kind | None:
    """The kind of the signature that a file carries, None if it carries none."""
    if _PDF.search(head[:1024]):
        return "pdf"
    if head.startswith(b"PK\3\4"):
        return _zip(head, extension, declared)
    for signature, kind in _SIGNATURES:
        if head.startswith(signature):
            return kind
    return _media(head)


def _media(head: bytes) -> Kind | None:
    if head[:4] in (b"RIFF", b"RF64"):
        return _RIFF.get(head[8:12], "binary")
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "audio"
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        images = (b"heic", b"heix", b"mif1", b"msf1", b"avif", b"avis", b"heim", b"crx ")
        return "image" if brand in images else "audio" if brand in (b"M4A ", b"M4B ") else "video"
    if head[257:262] == b"ustar":
        return "archive"
    if head[:2] == b"BM" and head[6:10] == b"\0\0\0\0":
        return "image"
    if _PNM.match(head) or _XBM.match(head):
        return "image"
    if len(head) > 3 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0 and head[1] not in (0xFE, 0xFF):
        return "audio"  # a frame of MPEG audio
    return None


def _zip(head: bytes, extension: str, declared: str) -> Kind:
    """Office files are zips: told by the folders that they hold, else by their name or type."""
    if head[30:38] == b"mimetype":
        inside = head[38:120].decode("latin-1")
        return _typed(inside) or "archive"
    if b"[Content_Types].xml" in head:
        folders: tuple[tuple[bytes, Kind], ...] = ((b"word/", "docx"), (b"xl/", "xlsx"), (b"ppt/", "pptx"))
        for folder, kind in folders:
            if folder in head:
                return kind
    return _typed(declared) or _EXTENSIONS.get(extension, "archive")


def _typed(media_type: str) -> Kind | None:
    return next((kind for words, kind in _TYPED if any(w in media_type for w in words)), None)


def _mail(head: bytes, extension: str, declared: str) -> Kind | None:
    """Mail that is written plainly is text, unless it is named as mail: its encodings are what has to be opened."""
    if _MBOX.match(head):
        return "mbox"
    block = _MAIL.match(head)
    if block is None or not _SENT.search(block[0]):
        return None
    return "eml" if extension == "eml" or declared.startswith("message/") or _CODED.search(head) else None


def _of_text(head: bytes, extension: str, declared: str) -> Kind:
    # What only a program opens stays text: markdown, HTML, XML, source code, logs, subtitles.
    if found := _json(head.decode("utf-8", "ignore"), len(head) >= HEAD - 3, extension, declared):
        return found
    tabular = extension in ("csv", "tsv") or "csv" in declared or "tab-separated" in declared
    return "csv" if tabular else "text"


def _json(text: str, cut: bool, extension: str, declared: str) -> Kind | None:
    """One JSON value is json, one a line is jsonl. A name decides only what the content leaves open."""
    lines = extension in ("jsonl", "ndjson") or any(w in declared for w in ("jsonl", "ndjson", "jsonlines"))
    named: Kind | None = "jsonl" if lines else "json" if extension == "json" or declared.endswith("json") else None
    if not _OPENING.match(text):
        return named
    start = len(text) - len(text.lstrip())
    try:
        _, end = json.JSONDecoder().raw_decode(text, start)
    except RecursionError:
        return named or "json"
    except ValueError:
        first = text[start:].partition("\n")[0].rstrip()
        return named or ("json" if cut or first in ("{", "[") else None)
    rest = text[end:].lstrip(" \t")
    if not rest.strip():
        return named or "json"
    if rest.lstrip("\r")[:1] == "\n" and _OPENING.match(rest):
        return "jsonl"
    return named
