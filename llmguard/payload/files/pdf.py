"""PDF: the texts of its pages, and every string outside them: annotations, fields, bookmarks, properties, scripts.

Owns bounding pypdf, and what counts as not looked into: encryption, pictures, fonts that do not say which letters they
draw, pages drawn without letters. Earlier revisions that still stand in the file are looked into as well: what was
deleted there leaves with it. Never follows an action or a link.
"""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, BinaryIO

import pypdf
from pypdf import apply_configuration
from pypdf.errors import PyPdfError
from pypdf.generic import (
    ArrayObject,
    ByteStringObject,
    DictionaryObject,
    IndirectObject,
    NameObject,
    StreamObject,
    TextStringObject,
)

from llmguard.payload.files import xmls
from llmguard.payload.files.looking import HOSTILE, Looking

_repaired: ContextVar[bool] = ContextVar("repaired", default=False)
"""Whether pypdf left something out or guessed, since the look began."""
_HARMLESS = (
    "Ignoring wrong pointing object %(id)d %(gen)d (offset 0)",
    "Object %(idnum)d %(generation)d not defined",
    "Object ID %(idnum)d,%(generation)d ref repaired",
    "incorrect startxref pointer",
    "CAUTION: startxref found",
    "EOF marker not at start of line",
    "Duplicate %%EOF",
    "Superfluous whitespace",
    "Found trailing newline",
    "Limiting excessive",
    "Xref table not zero-indexed",
    "Rotated text",
    "Optional font table",
    "Invalid font width",
    "Expected numeric value for width",
    "Ignoring invalid character codes",
    "Ignoring invalid /FirstChar",
)
"""What pypdf says of files whose text it reads all the same."""


class _Warnings(logging.Handler):
    """pypdf reads on where it can and says so in the log: that is what we need to know, and it quotes the file."""

    def emit(self, record: logging.LogRecord) -> None:
        said = str(record.msg)
        if isinstance(record.args, dict) and record.args.get("offset") == 0:
            said = said.replace("%(offset)d", "0")
        if not said.startswith(_HARMLESS):
            _repaired.set(True)


_log = logging.getLogger("pypdf")
_log.addHandler(_Warnings(logging.WARNING))
_log.propagate = False

MAX_SIZE = 128 << 20
MAX_REVISIONS = 4
MAX_STREAM = 16 << 20
"""Bytes of a page's drawing, unpacked. The parsed form takes some twenty times that."""
_BOUNDS: dict[str, Any] = {
    "zlib_maximum_output_length": MAX_STREAM,
    "lzw_maximum_output_length": MAX_STREAM,
    "run_length_maximum_output_length": MAX_STREAM,
    "brotli_maximum_output_length": MAX_STREAM,
    "array_based_stream_maximum_output_length": MAX_STREAM,
    "stream_decoding_work_maximum_length": 4 * MAX_STREAM,
    "stream_parsing_work_maximum_count": 600_000,
    "stream_filters_maximum_length": 4,
    "page_tree_maximum_entries": 50_000,
    "page_tree_maximum_page_entries": 500_000,
    "xform_maximum_invocations_per_extraction": 300,
    "jbig2dec_binary": None,
}
_KEPT = 5000
"""Parsed objects that are kept at a time."""
_PAINTED = 200
"""Lines and curves of a page without a letter, above which they may be letters."""
_TINY = 32 * 32
MAX_OBJECT = 1 << 20
"""Bytes of one object without its stream, as it stands in the file: pypdf cannot be interrupted within one."""
_OBJECT = re.compile(rb"\bobj\b|\bendobj\b|\bstream\r?\n")
_EOF = re.compile(rb"%%EOF")
_LOST = re.compile(r"(?:/\w{1,12}){6}|[\x00-\x08\x0e-\x1f\ue000-\uf8ff\ufffd]")
_DATE = re.compile(r"D:\d{4,14}[Z+\-\d']*")
_STRUCTURE = frozenset(
    ("/ID", "/Registry", "/Ordering", "/O", "/U", "/OE", "/UE", "/Perms", "/Lang", "/ByteRange", "/DA")
)
_TEXTS = frozenset(("/JS", "/XFA", "/RC"))
"""Keys whose value may be a stream that is text."""
_PAINTS = frozenset((b"l", b"c", b"v", b"y", b"re"))


class _Page:
    """What a page drew, told by its operators."""

    def __init__(self, looking: Looking) -> None:
        self.painted = 0
        self.images = False
        self._looking = looking

    def drawn(self, operator: Any, *_: Any) -> None:
        self._looking.spend("operators", 1)
        if operator in _PAINTS:
            self.painted += 1
        elif operator == b"INLINE IMAGE":
            self.images = True


def look(looking: Looking, file: BinaryIO, address: str) -> None:
    """Raises Spent."""
    size = file.seek(0, 2)
    if size > MAX_SIZE:
        looking.blind("pdf")
        return
    if _sprawls(file):
        looking.blind("pdf")
        return
    if not looking.deeper("pdf"):
        return
    try:
        with apply_configuration(**_BOUNDS):
            _revision(looking, file, address)
            for number, end in enumerate(_revisions(looking, file), 1):
                file.seek(0)
                _revision(looking, io.BytesIO(file.read(end)), f"{address}#revision={number}")
    finally:
        looking.up()


def _revision(looking: Looking, file: BinaryIO, address: str) -> None:
    _repaired.set(False)
    try:
        reader = pypdf.PdfReader(file, root_object_recovery_limit=2000, xref_stream_maximum_entries=500_000)
        if reader.is_encrypted and not reader.decrypt(""):
            looking.blind("pdf")
            return
    except (PyPdfError, *HOSTILE):
        looking.blind("pdf")
        return
    shown: set[int] = set()
    for step in (_pages, _objects):
        try:
            step(looking, reader, address, shown)
        except (PyPdfError, *HOSTILE):
            looking.blind("pdf")
    if _repaired.get() or not shown:
        looking.blind("pdf")


def _sprawls(file: BinaryIO) -> bool:
    """Whether an object is longer than anybody writes."""
    file.seek(0)
    data = file.read()
    start = 0
    for found in _OBJECT.finditer(data):
        if start and found.start() - start > MAX_OBJECT:
            return True
        start = found.end() if found[0] == b"obj" else 0
    return bool(start) and len(data) - start > MAX_OBJECT


def _revisions(looking: Looking, file: BinaryIO) -> list[int]:
    """Where earlier revisions end, latest first. The first end of a linearised file is none (ISO 32000-2 annex F)."""
    file.seek(0)
    data = file.read()
    ends = [m.end() for m in _EOF.finditer(data)]
    if b"/Linearized" in data[:2048]:
        ends = ends[1:]
    earlier = ends[:-1][::-1]
    if len(earlier) > MAX_REVISIONS:
        looking.blind("pdf")
    return earlier[:MAX_REVISIONS]


# --------------------------------------------------------------------------- pages


def _pages(looking: Looking, reader: pypdf.PdfReader, address: str, shown: set[int]) -> None:
    for number, page in enumerate(reader.pages, 1):
        looking.hurry()
        if number > looking.limits.pages:
            looking.blind("pdf")
            return
        shown.add(page.indirect_reference.idnum if page.indirect_reference is not None else 0)
        _page(looking, page, f"{address}#page={number}")
        if len(reader.resolved_objects) > _KEPT:
            reader.resolved_objects.clear()


def _page(looking: Looking, page: Any, address: str) -> None:
    drawn = _Page(looking)
    try:
        text = page.extract_text(visitor_operand_before=drawn.drawn)
    except (PyPdfError, *HOSTILE):
        looking.blind("pdf")
        return
    looking.text(text, address)
    bare = text.strip()
    if drawn.images:
        looking.blind("image")
    if len(_LOST.findall(text)) * 20 > len(bare) or (not bare and drawn.painted > _PAINTED):
        looking.blind("pdf")


# --------------------------------------------------------------------------- everything else


def _objects(looking: Looking, reader: pypdf.PdfReader, address: str, shown: set[int]) -> None:
    """Every object of the file, whether a page shows it or not. Pages that nobody leafs to are read as well."""
    numbers = {(number, generation) for generation, table in reader.xref.items() for number in table}
    numbers |= {(number, 0) for number in reader.xref_objStm}
    for count, (number, generation) in enumerate(sorted(numbers)):
        looking.hurry()
        if count >= looking.limits.objects:
            looking.blind("pdf")
            return
        try:
            value = reader.get_object(IndirectObject(number, generation, reader))
            _object(looking, reader, value, address)
            if number not in shown and isinstance(value, DictionaryObject) and value.get("/Type") == "/Page":
                shown.add(number)
                _hidden(looking, reader, value, len(shown), address)
        except (PyPdfError, *HOSTILE):
            looking.blind("pdf")
        if len(reader.resolved_objects) > _KEPT:
            reader.resolved_objects.clear()
    looking.text("\n".join(_strings(looking, reader.trailer)), f"{address}#trailer")


def _hidden(looking: Looking, reader: pypdf.PdfReader, value: DictionaryObject, count: int, address: str) -> None:
    if count > looking.limits.pages:
        looking.blind("pdf")
        return
    page = pypdf.PageObject(reader)
    page.update(value)
    _page(looking, page, f"{address}#objects")


def _object(looking: Looking, reader: pypdf.PdfReader, value: Any, address: str) -> None:
    if isinstance(value, StreamObject) and _stream(looking, value, address):
        return
    where = f"{address}#{_place(value)}"
    looking.text("\n".join(_strings(looking, value)), where)
    if isinstance(value, DictionaryObject):
        _appearance(looking, reader, value, where)
        if _unreadable(value):
            looking.blind("pdf")
    for stream in _texts_of(value):
        looking.text(stream.get_data().decode("utf-8", "replace"), where)


def _place(value: Any) -> str:
    if not isinstance(value, DictionaryObject):
        return "objects"
    if "/FT" in value:
        return "fields"
    if value.get("/Type") == "/Annot" or "/Rect" in value:
        return "annotations"
    return "metadata" if "/Producer" in value or "/Creator" in value else "objects"


def _stream(looking: Looking, value: StreamObject, address: str) -> bool:
    """Whether a stream was dealt with whole: its dictionary holds no text."""
    kind, subtype = value.get("/Type"), value.get("/Subtype")
    if subtype == "/Image":
        if not _tiny(value):
            looking.blind("image")
        return True
    if kind in ("/XRef", "/ObjStm"):
        return True
    if kind == "/Metadata" or subtype == "/XML":
        xmls.parts(looking, value.get_data(), f"{address}#metadata", "")
        return True
    if kind == "/EmbeddedFile" or "/Params" in value:
        with apply_configuration(
            zlib_maximum_output_length=looking.room(), stream_decoding_work_maximum_length=1 << 28
        ):
            data = value.get_data()
        looking.spend("unpacked", len(data))
        looking.member(data, "", f"{address}!")
        return True
    return False


def _tiny(image: StreamObject) -> bool:
    """A bullet or a pixel that fills an area, in which nobody could read anything."""
    width, height = image.get("/Width"), image.get("/Height")
    return isinstance(width, int) and isinstance(height, int) and width * height <= _TINY


def _strings(looking: Looking, value: Any, depth: int = 0) -> Iterator[str]:
    """Strings that stand in an object itself. Names and numbers are structure, what it points at has its own turn."""
    if depth > 100:
        raise RecursionError
    if isinstance(value, TextStringObject):
        if not _DATE.fullmatch(value):
            yield str(value)
    elif isinstance(value, ByteStringObject):
        yield bytes(value).decode("latin-1")
    elif isinstance(value, (ArrayObject, DictionaryObject)):
        looking.hurry()
        for child in _children(value):
            yield from _strings(looking, child, depth + 1)


def _children(value: ArrayObject | DictionaryObject) -> Iterator[Any]:
    """What stands in it as it is written, but for a table of colours, a signature's bytes and other structure."""
    if isinstance(value, ArrayObject):
        if not value or list.__getitem__(value, 0) != "/Indexed":
            yield from list.__iter__(value)
        return
    for key, child in dict.items(value):
        if key not in _STRUCTURE and not (key == "/Contents" and "/ByteRange" in value):
            yield child


def _texts_of(value: Any) -> Iterator[StreamObject]:
    if not isinstance(value, DictionaryObject):
        return
    for key in _TEXTS & value.keys():
        child = value[key]
        for one in child if isinstance(child, ArrayObject) else [child]:
            if isinstance(found := one.get_object(), StreamObject):
                yield found


def _appearance(looking: Looking, reader: pypdf.PdfReader, value: DictionaryObject, address: str) -> None:
    """What an annotation or a field draws, which no page's own drawing holds."""
    found = value.get("/AP")
    normal = found.get_object().get("/N") if found is not None else None
    normal = normal.get_object() if normal is not None else None
    forms = [normal] if isinstance(normal, StreamObject) else list(normal.values()) if normal else []
    for form in forms[:100]:
        if isinstance(stream := form.get_object(), StreamObject):
            drawn = _Page(looking)
            page = pypdf.PageObject(reader)
            looking.text(page.extract_xform_text(stream, visitor_operand_before=drawn.drawn), address)  # type: ignore[arg-type]


def _unreadable(font: DictionaryObject) -> bool:
    """A font whose numbers of glyphs say nothing of letters, unless it brings a table of them (ISO 32000-2 §9.10)."""
    if font.get("/Type") != "/Font" or "/ToUnicode" in font:
        return False
    subtype, encoding = font.get("/Subtype"), font.get("/Encoding")
    if subtype == "/Type3":
        return True
    return subtype == "/Type0" and isinstance(encoding, NameObject) and encoding in ("/Identity-H", "/Identity-V")
