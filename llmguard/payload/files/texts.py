"""Text: files that are text in one charset or another, and RTF.

Owns decoding. Never guesses a charset: a byte order mark or a declaration decides, UTF-8 proves itself, and whatever
else is read as Windows-1252 counts as not looked into as well.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import BinaryIO

from llmguard.payload.files.kinds import HEAD, charset_of
from llmguard.payload.files.looking import Looking

_TOKEN = re.compile(
    rb"\\'([0-9a-fA-F]{2})|\\([a-zA-Z]{1,32})(-?\d{1,10})? ?|\\([^a-zA-Z])|([{}])|[\r\n]+|([^\\{}\r\n]+)", re.S
)
_BREAKS = frozenset((b"par", b"line", b"tab", b"cell", b"row", b"sect", b"page", b"column", b"nestcell", b"nestrow"))
_TABLES = frozenset(
    b"fonttbl colortbl stylesheet listtable listoverridetable rsidtbl latentstyles themedata colorschememapping"
    b" xmlnstbl generator pgdsctbl".split()
)
"""Groups of an RTF that hold structure: names of fonts, styles, numbers."""
_APART = frozenset(
    b"info title author subject company manager operator category keywords comment doccomm hlinkbase header headerl"
    b" headerr headerf footer footerl footerr footerf footnote annotation atnid atnauthor field fldinst fldrslt"
    b" bkmkstart shptxt sn sv".split()
)
"""Groups that interrupt the text around them."""
_BLIND = {b"pict": "image", b"objdata": "file", b"bin": "file", b"blipuid": ""}
_MAX_GROUPS = 2000


def look(looking: Looking, file: BinaryIO, address: str, media_type: str = "") -> None:
    """Raises Spent."""
    data = looking.held(file, "file")
    charset = charset_of(data[:HEAD], media_type)
    if charset is None:
        looking.blind("file")
        charset = "cp1252"
    try:
        # Bytes that were cut off at the bound are no reason to see the rest as another charset.
        text = data.decode(charset, "ignore" if len(data) >= looking.limits.held else "strict")
    except UnicodeError:
        looking.blind("file")
        text = data.decode(charset, "replace")
    looking.text(text.removeprefix("\ufeff"), address)


def rtf(looking: Looking, file: BinaryIO, address: str) -> None:
    """The text of an RTF 1.9, hidden text, fields, comments and properties with it. Raises Spent."""
    data = looking.held(file, "file")
    if b"\\bin" in data:
        looking.blind("file")  # raw bytes among the text, which no group ends
    reader = _Rtf()
    for match in _TOKEN.finditer(data):
        reader.token(match)
    if reader.depth:
        looking.blind("file")
    for kind in reader.blind:
        looking.blind(kind)
    looking.text("".join(reader.text), address)


@dataclass(frozen=True, slots=True)
class _Group:
    """``skip``: characters that stand behind a number of a character, for readers that do not know it. ``apart``: what
    interrupts the text around it.
    """

    hidden: bool = False
    skip: int = 1
    apart: bool = False


class _Rtf:
    """The groups that are open, and the text so far."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.blind: set[str] = set()
        self._charset = "cp1252"
        self._groups: list[_Group] = [_Group()]
        self._skip = 0

    @property
    def depth(self) -> int:
        return len(self._groups) - 1

    def token(self, match: re.Match[bytes]) -> None:
        code, word, number, symbol, brace, plain = match.groups()
        if brace:
            self._group(brace)
        elif word:
            self._word(word, int(number) if number else None)
        elif symbol and symbol in b"{}\\~_-":
            self._write({b"~": " ", b"_": "-", b"-": ""}.get(symbol, symbol.decode("latin-1")))
        elif code or plain:
            raw = bytes.fromhex(code.decode()) if code else plain
            skipped = min(self._skip, len(raw))
            self._skip -= skipped
            self._write(raw[skipped:].decode(self._charset, "replace"))

    def _group(self, brace: bytes) -> None:
        self._skip = 0
        if brace == b"{":
            if len(self._groups) >= _MAX_GROUPS:
                raise ValueError
            self._groups.append(replace(self._groups[-1], apart=False))
        elif len(self._groups) > 1 and self._groups.pop().apart:
            self._write("\n")

    def _word(self, word: bytes, number: int | None) -> None:
        group = self._groups[-1]
        if word == b"u" and number is not None:
            self._write(chr(number % 65536))
            self._skip = group.skip
        elif word == b"uc" and number is not None:
            self._groups[-1] = replace(group, skip=max(0, min(number, 8)))
        elif word in _TABLES or word in _BLIND:
            self.blind |= {_BLIND[word]} - {""} if word in _BLIND else set()
            self._groups[-1] = replace(group, hidden=True)
        elif word in _APART:
            self._groups[-1] = replace(group, apart=True)
            self._write("\n")
        elif word == b"ansicpg" and number is not None:
            self._charset = _codepage(number)
        elif word in _BREAKS:
            self._write("\t" if word in (b"tab", b"cell") else "\n")

    def _write(self, text: str) -> None:
        if text and not self._groups[-1].hidden:
            self.text.append(text)


def _codepage(number: int) -> str:
    try:
        "".encode(f"cp{number}")
    except LookupError:
        return "cp1252"
    return f"cp{number}"
