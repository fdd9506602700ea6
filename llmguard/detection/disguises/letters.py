"""Letters: characters that look like others, or like nothing.

Owns what is read as a plain letter, digit or blank (full-width, mathematical and enclosed letters, digits of any
script, look-alikes of other alphabets inside Latin words, typographic blanks and hyphens between digits), and what is
passed over (zero-width and direction marks, soft hyphens, variation selectors, combining marks). Text that is hidden in
tag characters or variation selectors is read too. Never touches words of one alphabet.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

from llmguard.detection.disguises.view import PLAIN, Edit, Piece, View, edited

_ZEROS = (
    *(0x660, 0x6F0, 0x7C0, 0x966, 0x9E6, 0xA66, 0xAE6, 0xB66, 0xBE6, 0xC66, 0xCE6, 0xD66, 0xDE6, 0xE50, 0xED0, 0xF20),
    *(0x1040, 0x1090, 0x17E0, 0x1810, 0x1946, 0x19D0, 0x1A80, 0x1A90, 0x1B50, 0x1BB0, 0x1C40, 0x1C50, 0xA620, 0xA8D0),
    *(0xA900, 0xA9D0, 0xA9F0, 0xAA50, 0xABF0),
)
"""Zeros of the scripts of the basic plane (Unicode, general category Nd); full-width ones are compatible letters."""
_COMPATIBLE = (
    *((0xAA, 0xBB), (0x2B0, 0x2B9), (0x1D2C, 0x1DBF), (0x2070, 0x20A0), (0x2100, 0x2190), (0x2460, 0x2500)),
    *((0xFE50, 0xFE70), (0xFF01, 0xFF5F), (0x1D400, 0x1D800), (0x1F130, 0x1F150)),
)
"""Ranges in which characters are compatible with one of ASCII (Unicode, NFKC)."""
_LOOKALIKES = {
    "а": "a", "в": "b", "е": "e", "к": "k", "м": "m", "н": "h", "о": "o", "р": "p", "с": "c", "т": "t", "у": "y",
    "х": "x", "ѕ": "s", "і": "i", "ј": "j", "ԁ": "d", "ԛ": "q", "ԝ": "w", "һ": "h", "ѵ": "v", "ӏ": "l", "ɡ": "g",
    "А": "A", "В": "B", "Е": "E", "К": "K", "М": "M", "Н": "H", "О": "O", "Р": "P", "С": "C", "Т": "T", "У": "Y",
    "Х": "X", "Ѕ": "S", "І": "I", "Ј": "J", "Ԛ": "Q", "Ԝ": "W", "Ү": "Y", "Ӏ": "I", "З": "3", "з": "3", "б": "6",
    "α": "a", "ο": "o", "ν": "v", "ρ": "p", "ι": "i", "κ": "k", "υ": "u", "χ": "x", "γ": "y", "η": "n", "τ": "t",
    "Α": "A", "Β": "B", "Ε": "E", "Ζ": "Z", "Η": "H", "Ι": "I", "Κ": "K", "Μ": "M", "Ν": "N", "Ο": "O", "Ρ": "P",
    "Τ": "T", "Υ": "Y", "Χ": "X", "օ": "o", "ս": "u", "ո": "n", "հ": "h", "ց": "g", "ı": "i", "ⅼ": "l",
}  # fmt: skip
"""Letters of other alphabets that fonts draw like Latin ones (after Unicode Technical Standard 39, confusables)."""


def _fold() -> dict[int, str]:
    fold = {zero + i: str(i) for zero in _ZEROS for i in range(10)}
    for low, high in _COMPATIBLE:
        for code in range(low, high):
            plain = unicodedata.normalize("NFKC", chr(code))
            if len(plain) == 1 and " " < plain < "\x7f":
                fold[code] = plain
    for low in (0x1F150, 0x1F170):  # negative letters are compatible with nothing
        fold |= {low + i: chr(65 + i) for i in range(26)}
    fold |= {0x2776 + i: str(i + 1) for i in range(9)}
    fold |= {0xE0000 + i: chr(i) for i in range(0x20, 0x7F)}
    return fold


FOLD = _fold()
"""Code point → the character of ASCII that it is read as. One for one."""
_LATIN = {ord(c): plain for c, plain in _LOOKALIKES.items()}
_ALIKE = "".join(_LOOKALIKES)
_MIXED = re.compile(rf"(?:(?<=[A-Za-z0-9@._-])[{_ALIKE}]+|[{_ALIKE}]+(?=[A-Za-z0-9@_-]))[{_ALIKE}A-Za-z0-9]*")
_BETWEEN_DIGITS = re.compile(r"(?<=\d)[\u00a0\u2000-\u200a\u2010-\u2015\u202f\u205f\u2212\u3000](?=[\d(])")
_SELECTED = re.compile(r"[\ufe00-\ufe0f\U000e0100-\U000e01ef]{6,}")
_COMBINING = ((0x300, 0x36F), (0x483, 0x489), (0x1AB0, 0x1AFF), (0x1DC0, 0x1DFF), (0x20D0, 0x20FF))
_RANGES = (
    *((0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F)),
    *((0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF)),
    *((0xFFA0, 0xFFA0), (0xFFF9, 0xFFFB), (0xE0000, 0xE001F), (0xE007F, 0xE01EF), (0x1D173, 0x1D17A), *_COMBINING),
)
"""What is passed over: invisible characters anywhere, combining ones behind a character of ASCII."""


def _class(ranges: Iterable[tuple[int, int]]) -> str:
    return "".join(f"{chr(low)}-{chr(high)}" for low, high in ranges)


_MARKS = _class(_COMBINING)
INVISIBLE = _class(r for r in _RANGES if r not in _COMBINING)
_UNSEEN = re.compile(rf"(?<=[ -~])[{_MARKS}{INVISIBLE}]+|[{INVISIBLE}]+")

_DIGIT = frozenset("0123456789(")
_BEYOND = re.compile(r"[^\x00-\x7f]+")
_LIKE = frozenset(_LOOKALIKES)
_BLANKS = frozenset(map(chr, (0xA0, *range(0x2000, 0x200B), *range(0x2010, 0x2016), 0x202F, 0x205F, 0x2212, 0x3000)))
_ODD = frozenset(chr(code) for code, plain in FOLD.items() if plain.isalnum() or plain == "@") | frozenset(
    chr(code) for low, high in _RANGES for code in range(low, high + 1)
)


def _bytes(low: str, high: str) -> str:
    """A class of Hyperscan's for UTF-8 sequences of one length that differ in their last byte."""
    first, last = low.encode(), high.encode()
    head = "".join(rf"\x{b:02x}" for b in first[:-1])
    return rf"{head}[\x{first[-1]:02x}-\x{last[-1]:02x}]"


def _any(characters: Iterable[str]) -> str:
    return "|".join("".join(rf"\x{b:02x}" for b in c.encode()) for c in characters)


_HIDDEN = "|".join(
    (
        r"\xc2\xad|\xcd\x8f|\xd8\x9c|\xe1\xa0[\x8b-\x8f]|\xe2\x80[\x8b-\x8f\xaa-\xae]|\xe2\x81[\xa0-\xaf]",
        r"\xe3\x85\xa4|\xe1\x85[\x9f\xa0]|\xef\xb8[\x80-\x8f]|\xef\xbb\xbf|\xef\xbe\xa0|\xf3\xa0[\x80-\x87][\x80-\xbf]",
        r"(?:[\xcc\xcd]|\xd2[\x83-\x89]|\xe2\x83|\xe1\xb7|\xe1\xaa)[\x80-\xbf]",
    )
)
_DIGITS = "|".join(_bytes(chr(zero), chr(zero + 9)) for zero in _ZEROS if (zero & 63) + 9 < 64)
_SOME_LOOKALIKES = _any(c for c in _LOOKALIKES if c.isalpha() and ord(c) > 0x2FF)
_BLANK = r"\xc2\xa0|\xe2\x80[\x80-\x8a\x90-\x95\xaf]|\xe2\x81\x9f|\xe2\x88\x92|\xe3\x80\x80"
ANCHOR = "|".join(
    (
        rf"[A-Za-z0-9@:=._+-](?:{_HIDDEN})+[A-Za-z0-9@:=._+-]",
        r"(?:\xef\xbc[\x90-\x99\xa0-\xba]|\xef\xbd[\x81-\x9a])",  # full-width digits, @, letters
        r"\xf0\x9d[\x90-\x9f]|\xe2\x93[\x80-\xbf]|\xe2\x92[\xb6-\xbf]|\xf0\x9f\x84[\xb0-\xbf]|\xf0\x9f\x85",
        rf"(?:{_DIGITS}|\xe2\x91[\xa0-\xa8]|\xe2\x9d[\xb6-\xbe]|\xe2\x93\xaa){{3}}",
        rf"[A-Za-z](?:{_SOME_LOOKALIKES})|(?:{_SOME_LOOKALIKES})[A-Za-z]",
        rf"[0-9](?:{_BLANK})[(0-9]{{1,6}}\)?(?:{_BLANK})[0-9]",
        r"(?:\xf3\xa0[\x80\x81][\x80-\xbf]){8}|(?:\xef\xb8[\x80-\x8f]|\xf3\xa0[\x84-\x87][\x80-\xbf]){6}",
    )
).encode()
PLANT = " раssword".encode()


def spots(text: str) -> Iterator[tuple[int, int]]:
    """Where such characters stand that ``read`` may read otherwise."""
    for match in _BEYOND.finditer(text):
        start, end = match.span()
        run, before, after = match[0], text[start - 1 : start], text[end : end + 1]
        mixed = (before.isalpha() and run[0] in _LIKE) or (after.isalpha() and run[-1] in _LIKE)
        if mixed or not _ODD.isdisjoint(run) or (run in _BLANKS and before.isdigit() and after in _DIGIT):
            yield start, end


def read(text: str, under: View | None) -> View | None:
    """The text in plain letters; None if it is in plain letters."""
    plain = _BETWEEN_DIGITS.sub(_separator, text.translate(FOLD))
    plain = _MIXED.sub(lambda match: match[0].translate(_LATIN), plain)
    plain = _SELECTED.sub(_carried, plain)
    view = edited(plain, _unseen(plain), under)
    if view is not None or plain == text:
        return view
    return View(plain, (0,), (Piece(0, len(text), PLAIN),), under)


def _unseen(text: str) -> Iterator[Edit]:
    for match in _UNSEEN.finditer(text):
        yield Edit(*match.span(), "")


def _separator(match: re.Match[str]) -> str:
    return "-" if "\u2010" <= match[0] <= "\u2015" or match[0] == "\u2212" else " "


def _carried(match: re.Match[str]) -> str:
    """Bytes of ASCII that variation selectors carry: 0-15 in the first sixteen, the others behind them."""
    said = [code - 0xFE00 if (code := ord(c)) < 0xFE10 else code - 0xE0100 + 16 for c in match[0]]
    return "".join(map(chr, said)) if all(x < 0x7F and (x >= 0x20 or x in (9, 10, 13)) for x in said) else match[0]
