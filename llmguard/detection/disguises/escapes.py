r"""Escapes: percent-encoding, HTML entities, backslash escapes, quoted-printable, and strings that code joins.

Owns their grammars and what each escape says. Never undoes more than one layer at a time. What is decoded is as long as
its escapes or shorter.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

from llmguard.detection.disguises.view import Edit, View, edited

ANCHOR = (
    rb"%[2-7][0-9A-Fa-f]|%[C-Fc-f][0-9A-Fa-f]%|\\u[0-9A-Fa-f]{4}|\\u\{[0-9A-Fa-f]|\\U000[01eE][0-9A-Fa-f]{4}"
    rb"|\\x[2-7][0-9A-Fa-f]|(?:\\[01][0-7]{2}){4}|&#[0-9xX]|&[A-Za-z]{2,31};"
)
PLANT = b"a%40b"
QUOTED = rb"=(?:3D|40|2E|C3|D0|E2)|[!-<>-~]=\r?\n[!-~]|(?:=[2-7][0-9A-F]){3}"
QUOTED_PLANT = b"a=3Db"
JOINED = rb"""[\w.@-]{2}["'`][ \t]{0,4}(?:[+.&]|\.\.|\|\|)[ \t]{0,4}\\?(?:\r?\n[ \t]{0,40})?["'`][\w.@-]"""
JOINED_PLANT = b'"abc" + "def"'

# A run of backslashes is read from its start only: read from each of them, it would cost the square of its length.
_ESCAPED = re.compile(
    r"(?P<percent>(?:%[0-7][0-9A-Fa-f])+)|(?:%[89A-Fa-f][0-9A-Fa-f])+"
    r"|(?P<unicode>(?:(?<!\\)\\u00[0-7][0-9A-Fa-f])+)|(?P<hex>(?:(?<!\\)\\x[0-7][0-9A-Fa-f])+)"
    r"|(?P<octal>(?:(?<!\\)\\[01][0-7]{2}){2,})"
    r"|(?<!\\)\\+(?:u[dD][89ABab][0-9A-Fa-f]{2}\\+u[dD][C-Fc-f][0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|x[0-9A-Fa-f]{2}"
    r"|u\{[0-9A-Fa-f]{1,6}\}|U[0-9A-Fa-f]{8})"
    r"|&(?:#[0-9]{1,7};?|#[xX][0-9A-Fa-f]{1,6};?|[A-Za-z][A-Za-z0-9]{1,31};)"
)
_STRINGS = re.compile(_ESCAPED.pattern + r"""|(?<!\\)\\+["/nrt]""")
"""In what was encoded also the short escapes of JSON's strings, at whatever level: nobody walked that JSON."""
_SPOTS = re.compile(r"%[0-9A-Fa-f]{2}|&[#A-Za-z]|\\[uUx01]")
_ANY = re.compile(r"%[0-9A-Fa-f]{2}|&[#A-Za-z]|\\+")
_SHORT = {"n": "\n", "r": "\r", "t": "\t"}
_STRIDES = {"percent": (3, 1, 16), "unicode": (6, 2, 16), "hex": (4, 2, 16), "octal": (4, 1, 8)}
"""Characters of one escape, how many of them are its mark, and the base of the rest."""
_QUOTED = re.compile(r"(?:=[0-9A-F]{2})+|=[ \t]{0,4}\r?\n")
_JOINTS = re.compile(
    r"""(?<=[\w.@-]{2})["'`][ \t]{0,4}(?:[+.&]|\.\.|\|\|)[ \t]{0,4}\\?(?:\r?\n[ \t]{0,40})?["'`](?=[\w.@-])"""
)


def spots(text: str, inner: bool) -> Iterator[tuple[int, int]]:
    """Where escapes may stand."""
    return (match.span() for match in (_ANY if inner else _SPOTS).finditer(text))


def quoted_spots(text: str) -> Iterator[tuple[int, int]]:
    """Where quoted-printable may stand."""
    return (match.span() for match in _QUOTED.finditer(text))


def joints(text: str) -> Iterator[tuple[int, int]]:
    """Where code joins string literals."""
    return (match.span() for match in _JOINTS.finditer(text))


def read(text: str, under: View | None, inner: bool) -> View | None:
    """The text with its escapes undone; None if it has none. ``inner``: it was encoded itself."""
    return edited(text, edits(text, inner), under)


def edits(text: str, inner: bool) -> Iterator[Edit]:
    """What each escape says, in order."""
    for match in (_STRINGS if inner else _ESCAPED).finditer(text):
        escaped, name = match[0], match.lastgroup
        if name is not None:
            width, mark, base = _STRIDES[name]
            said = "".join(chr(int(escaped[i + mark : i + width], base)) for i in range(0, len(escaped), width))
            yield Edit(*match.span(), said, width)
        elif (decoded := _piece(escaped)) is not None:
            yield Edit(*match.span(), decoded)


def quoted(text: str, under: View | None) -> View | None:
    """The text with quoted-printable undone (RFC 2045 §6.7); None if it has none."""
    return edited(text, (Edit(*match.span(), _unquoted(match[0])) for match in _QUOTED.finditer(text)), under)


def joined(text: str, under: View | None) -> View | None:
    """The text without what joins string literals in code; None if nothing does."""
    return edited(text, (Edit(*match.span(), "") for match in _JOINTS.finditer(text)), under)


def _unquoted(run: str) -> str:
    return bytes.fromhex(run.replace("=", "")).decode("utf-8", "replace") if run[-1] != "\n" else ""


def _piece(escaped: str) -> str | None:
    """A run of percent-escapes, one escape of a string or one entity, decoded; None if it says nothing else."""
    if escaped[0] == "%":
        return unquote_to_bytes(escaped).decode("utf-8", "replace")
    if escaped[0] == "&":
        decoded = html.unescape(escaped)
        return decoded if decoded != escaped else None
    bare = escaped.lstrip("\\")
    if len(bare) == 1:
        return _SHORT.get(bare, bare)
    units = [piece.strip("\\{}") for piece in re.split("[uUx]", bare)[1:]]
    if len(units) == 2:
        return chr(0x10000 + ((int(units[0], 16) - 0xD800) << 10) + int(units[1], 16) - 0xDC00)
    code = int(units[0], 16)
    return chr(code) if code < 0x110000 and not 0xD800 <= code < 0xE000 else "\ufffd"
