"""Office: what stands in a Word, Excel, PowerPoint or OpenDocument file, shown or not.

Owns the walk over such a zip: every XML part is text (bodies, headers, footers, notes, comments, hidden sheets and
slides, tracked deletions, properties, alternative texts, links, formulas), rows of sheets are put together from shared
strings. Pictures count as images, macros and OLE objects as files that nobody looked into, embedded files are looked
into. Never uses relations between parts: a part that nothing points at is read too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from xml.parsers import expat

from llmguard.payload.files import xmls
from llmguard.payload.files.kinds import HEAD, kind_of
from llmguard.payload.files.looking import Looking, shown
from llmguard.payload.files.zips import Member

_XML = (".xml", ".rels", ".vml", ".rdf", ".xhtml", ".opf", ".ncx")
_SHEET = re.compile(r"xl/worksheets/[^/]+\.xml$", re.I)
_SHARED = re.compile(r"xl/sharedStrings\.xml$", re.I)
_PRINTER = re.compile(r"printerSettings/[^/]+\.bin$", re.I)
_WIDE = re.compile(rb"(?:[\x20-\x7e]\0){4,}")
REPEATED = 256
"""Characters of a shared string that are written out in every row; a longer one stands once, for itself."""


def is_office(names: Sequence[str]) -> bool:
    """Told by the parts that such a file must have, not by what it is called."""
    return "[Content_Types].xml" in names or ("mimetype" in names and "META-INF/manifest.xml" in names)


def look(looking: Looking, members: Iterable[Member], names: Sequence[str], address: str) -> None:
    """Raises Spent."""
    odd = [n for n in names if not n.endswith((*_XML, ".bin")) and n != "mimetype"]
    looking.text("\n".join(odd), f"{address}#names")
    sheets: list[Member] = []
    strings: _Strings | None = None
    for member in members:
        if not member.whole:
            looking.blind("file")
        if _SHARED.search(member.name):
            strings = _Strings(looking, member.name)
            _parsed(looking, strings, member, address)
        elif _SHEET.search(member.name):
            sheets.append(member)  # together no more than ``unpacked``
        else:
            _part(looking, member, address)
    for sheet in sheets:
        reader = _Sheet(looking, sheet.name, strings)
        _parsed(looking, reader, sheet, address)
        looking.text("\n".join(reader.rows), f"{address}#{shown(sheet.name)}")
    if strings is not None:
        looking.text("\n".join(strings.left()), f"{address}#xl/sharedStrings.xml")


def _part(looking: Looking, member: Member, address: str) -> None:
    where = f"{address}#{shown(member.name)}"
    if member.name == "mimetype":
        looking.text(member.data.decode("utf-8", "replace") if len(member.data) > 80 else "", where)
    elif member.name.lower().endswith(_XML):
        _document(looking, member, where)
    elif _PRINTER.search(member.name):
        words = [w.decode("utf-16-le") for w in _WIDE.findall(member.data)]
        looking.text("\n".join(words), where)  # the name of somebody's printer, among numbers
    else:
        looking.member(member.data, member.name, where)


def _document(looking: Looking, member: Member, where: str) -> None:
    if b"encryption-data" in member.data:
        looking.blind("file")
    try:
        xmls.parts(looking, member.data, where, member.name)
    except (expat.ExpatError, xmls.Unsafe, ValueError):
        looking.blind("file")
        if kind_of(member.data[:HEAD], "", "") not in ("text", "empty", "foreign"):
            looking.member(member.data, member.name, where)


def _parsed(looking: Looking, reader: xmls.Reader, member: Member, address: str) -> None:
    try:
        reader.read(member.data)
    except (expat.ExpatError, xmls.Unsafe, ValueError):
        looking.blind("file")
    where = f"{address}#{shown(member.name)}"
    looking.text("\n".join(reader.comments), f"{where}#comments")
    looking.text("\n".join(reader.attributes), f"{where}#attributes")


class _Strings(xmls.Reader):
    """The shared strings of a workbook, by number, and which of them a sheet shows."""

    def __init__(self, looking: Looking, name: str) -> None:
        super().__init__(looking, name)
        self._strings: list[str] = []
        self._text: list[str] = []
        self._used = bytearray()

    def started(self, name: str, attributes: dict[str, str]) -> None:
        if name == "si":
            self._text = []

    def characters(self, text: str) -> None:
        self._text.append(text)

    def ended(self, name: str) -> None:
        if name == "si":
            self._strings.append("".join(self._text).strip("\n"))
            self._used.append(0)

    def shown(self, number: str) -> str:
        """The string of a cell that names it by number; nothing for a long one, and for one that is not there."""
        index = int(number) if number.isdecimal() and len(number) < 10 else -1
        if not 0 <= index < len(self._strings) or len(self._strings[index]) > REPEATED:
            return ""
        self._used[index] = 1
        return self._strings[index]

    def left(self) -> Iterator[str]:
        """Strings that no sheet showed."""
        return (s for s, used in zip(self._strings, self._used, strict=True) if not used)


class _Sheet(xmls.Reader):
    """The rows of a sheet: cells one behind another, with their formulas."""

    def __init__(self, looking: Looking, name: str, strings: _Strings | None) -> None:
        super().__init__(looking, name)
        self.rows: list[str] = []
        self._strings = strings
        self._cells: list[str] = []
        self._text: list[str] = []
        self._shared = False

    def started(self, name: str, attributes: dict[str, str]) -> None:
        if name == "c":
            self._shared = attributes.get("t") == "s"
        if name in ("c", "v", "f"):
            self._text = []

    def characters(self, text: str) -> None:
        self._text.append(text)

    def ended(self, name: str) -> None:
        if name in ("v", "f", "is", "c") and self._text:
            text, self._text = "".join(self._text).strip("\n"), []
            if name == "v" and self._shared and self._strings is not None:
                text = self._strings.shown(text)
            if text:
                self._cells.append(text)
        elif name not in ("t", "r", "rPr", "c", "row") and "".join(self._text).strip():
            self.rows.append("".join(self._text))  # headers, footers, rules of validation
            self._text = []
        if name == "row" and self._cells:
            self.rows.append("\t".join(self._cells))
            self._cells = []
