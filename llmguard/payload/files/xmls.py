"""XML: the texts of one document of an office file: running text, what was deleted, comments, attributes.

Owns reading with expat. Never expands an entity and never fetches anything: a document that declares entities is
refused (``Unsafe``), as is one that nests absurdly. Attributes are text by default; only a value that looks like
structure (a short number, an enumeration's word, a colour, an id, a font) is left out.
"""

from __future__ import annotations

import re
from typing import NoReturn
from xml.parsers import expat

from llmguard.payload.files.looking import Looking

MAX_DEPTH = 200
MAX_TOKEN = 8 << 20
"""Bytes of one tag or comment. Expat reads a token again with every megabyte that it grows by."""
_LONG = re.compile(rb"<[^<]{%d}" % MAX_TOKEN)
# fmt: off
_INLINE = frozenset((
    "r", "t", "s", "a", "span", "hyperlink", "proofErr", "bookmarkStart", "bookmarkEnd", "bookmark-start",
    "bookmark-end", "smartTag", "ins", "del", "sdt", "sdtContent", "lastRenderedPageBreak", "noBreakHyphen",
    "softHyphen", "soft-page-break", "fld", "fldSimple", "fldChar", "instrText", "rPh", "rubyBase", "ruby",
    "commentRangeStart", "commentRangeEnd", "commentReference", "bookmark", "permStart", "permEnd",
    "change-start", "change-end", "bdo", "dir", "rt", "reference-mark-start", "reference-mark-end", "annotation",
    "footnoteReference", "endnoteReference", "note", "note-citation",
))
# fmt: on
"""Elements that stand within a word: what they hold continues the text around them. All others end a line."""
_SPACES = {"tab": "\t", "br": "\n", "line-break": "\n", "cr": "\n"}
_DELETED = frozenset(("delText", "delInstrText"))
_PLAIN = re.compile(
    r"[+-]?[\d.]{0,8}(?:pt|in|cm|mm|px|em|pc|%)?|[0-9A-Fa-f]{6,8}|#[0-9A-Fa-f]{3,8}|\{?[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\}?"
    r"|[a-z][A-Za-z]{0,30}\d{0,3}|[A-Za-z]{1,3}\d{1,4}|rId\d{1,6}|[a-z]{2,3}-[A-Z]{2}|\d{4}-\d\d-\d\dT[\d:.]{8,16}Z?|"
    r"https?://(?:schemas\.(?:openxmlformats|microsoft)\.(?:org|com)|www\.w3\.org|purl\.org|docs\.oasis-open\.org)/[\w./#-]*"
    r"|urn:(?:oasis|schemas-microsoft-com):[\w.:-]*|(?:\.\./)?[\w/-]{1,60}\.(?:xml|rels|png|jpe?g|emf|wmf|bin|vml)|dcterms:W3CDTF"
    r"|(?:w\d\d\w{0,5} ?){1,9}"
    r"|application/[\w.+-]+|image/[\w.+-]+|(?:[+-]?[\d.]{1,8}[ ,;]?){2,8}|[A-Z]{1,3}\d{1,7}(?::[A-Z]{1,3}\d{1,7})?"
)
"""Values of attributes that are structure, by their shape."""
_FONTS = frozenset(("typeface", "ascii", "hAnsi", "cs", "eastAsia", "font-name", "font-family", "panose", "script"))
_FONT = re.compile(r"[^\W\d_][^\d@:/]{0,47}|[+@][a-z]{2}-[a-z]{2}|[\w ]{1,31}\d?")
_STYLED = frozenset(("pStyle", "rStyle", "tblStyle", "basedOn", "next", "link", "tableStyleInfo", "sysClr", "font"))
"""Elements that name a style or a font."""
_STYLES = re.compile(
    r"(?:styles?|stylesWithEffects|fontTable|theme\d*|numbering|webSettings|tableStyles|presProps|viewProps)\.xml$"
)
"""Members that hold the names of fonts and styles, which are words of anybody's."""
_NAMED = frozenset(
    ("val", "name", "display-name", "style-name", "parent-style-name", "next-style-name", "styleName", "styleId")
)


class Unsafe(ValueError):
    """A document that declares entities, or nests deeper than anybody writes."""


def parts(looking: Looking, data: bytes, address: str, name: str) -> None:
    """All texts of a document. Raises Unsafe, Spent, expat.ExpatError for what is not well formed."""
    reader = Reader(looking, name)
    try:
        reader.read(data)
    finally:
        # What came before the place where it breaks counts as well.
        looking.text(reader.running(), address)
        looking.text("\n".join(reader.deleted), f"{address}#deleted")
        looking.text("\n".join(reader.comments), f"{address}#comments")
        looking.text("\n".join(reader.attributes), f"{address}#attributes")


class Reader:
    """Reads one document. Subclasses see elements by their local names."""

    def __init__(self, looking: Looking, name: str) -> None:
        self._looking = looking
        self.deleted: list[str] = []
        self.comments: list[str] = []
        self.attributes: dict[str, None] = {}
        self._running: list[str] = []
        self._stack: list[str] = []
        self._broken = False
        self._strict = False
        self._properties = 0
        self._styles = _STYLES.search(name) is not None

    def read(self, data: bytes) -> None:
        """Raises Unsafe, Spent, expat.ExpatError."""
        if _LONG.search(data) or _long_comment(data):
            raise Unsafe
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self.characters
        parser.CommentHandler = self.comments.append
        parser.ProcessingInstructionHandler = lambda target, value: self.comments.append(value)
        parser.EntityDeclHandler = _refuse
        parser.ExternalEntityRefHandler = _refuse
        parser.SkippedEntityHandler = _refuse
        parser.Parse(data, True)

    def running(self) -> str:
        return "".join(self._running)

    def started(self, name: str, attributes: dict[str, str]) -> None: ...

    def ended(self, name: str) -> None: ...

    def characters(self, text: str) -> None:
        if self._stack and self._stack[-1] in _DELETED:
            self.deleted.append(text)
            return
        blank = text.isspace()
        if blank and (self._broken or (self._strict and self._stack[-1:] != ["t"])):
            return  # a line break of the XML
        if self._broken and self._running:
            self._running.append("\n")
        self._running.append(text)
        self._broken = False

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._looking.spend("operators", 1)
        name = tag.rpartition(":")[2]
        if len(self._stack) >= MAX_DEPTH:
            raise Unsafe
        self._stack.append(name)
        # In Word's and PowerPoint's own elements text stands in nothing but ``t``.
        self._strict = self._strict or tag.startswith(("w:", "a:"))
        self._around(name, 1)
        for key, value in attributes.items():
            if not self._structural(name, key.rpartition(":")[2], value):
                self.attributes[value] = None
        self.started(name, attributes)

    def _end(self, tag: str) -> None:
        name = self._stack.pop()
        self.ended(name)
        self._around(name, -1)

    def _around(self, name: str, step: int) -> None:
        """Properties of a run stand in the middle of a word, and hold no text."""
        if name in ("rPr", "delText"):
            self._properties += step
        elif name in _SPACES and not self._properties:
            self._running.append(_SPACES[name] if step > 0 and not self._broken else "")
        elif name not in _INLINE and not self._properties:
            self._broken = True

    def _structural(self, name: str, key: str, value: str) -> bool:
        if _PLAIN.fullmatch(value):
            return True
        word = key in _FONTS or name in _STYLED or (self._styles and key in _NAMED)
        return word and _FONT.fullmatch(value) is not None


def _long_comment(data: bytes) -> bool:
    """Whether a comment, in which anything may stand, is too long to be read."""
    at = 0
    while (start := data.find(b"<!--", at)) >= 0:
        at = data.find(b"-->", start)
        if at < 0 or at - start > MAX_TOKEN:
            return at >= 0 or len(data) - start > MAX_TOKEN
    return False


def _refuse(*_: object) -> NoReturn:
    raise Unsafe
