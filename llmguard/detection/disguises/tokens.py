"""Tokens: runs of characters that are text in base64, base32, hexadecimal or lists of numbers, compressed or not.

Owns which runs are tried, and what counts as text: UTF-8 (or UTF-16 of Latin) without control characters. Binary data
stays what it is. Never unpacks more than the allowance has left: what holds more is ``Beyond``.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from llmguard.detection.disguises.view import OPAQUE, Beyond, View, whole

SHORTEST = 12
"""Characters of the shortest base64 that is tried."""
RATIO, FLOOR = 8, 1 << 16
"""Characters of views that one text may have: for each of its own, and in any case."""
_PACKED = 44
"""Characters of the shortest bare deflate that is tried."""
_PROBE = 512
"""Bytes of what is unpacked that are looked at first: whether it is text at all."""

_LOW, _MIDDLE, _HIGH = "[I-Za-f]", "[C-HS-Xi-ny-z0-3]", "[ABEFIJMNQRUVYZcdghklopstwx014589]"
BASE64 = (
    rf"(?:{_LOW}{_MIDDLE}{_HIGH}[A-Za-z0-9+/_-]){{3}}"  # nine bytes of ASCII, wherever they stand in a token
    r"|(?:[I-Za-f][AQgw][AB][A-Za-z0-9+/_-]A[C-H][AEIMQUYcgkosw048]A){2}"  # the same in UTF-16
    r"|H4sI[A-Za-z0-9+/_-]{8}|e(?:J[w-z]|N[o-r]|A[E-H]|F[4-7])[A-Za-z0-9+/_-]{9}"  # gzip (RFC 1952), zlib (RFC 1950)
).encode()
BASE64_PLANT = b" dGhpcyBpcyB0ZXh0 "
DEFLATED = rb"[A-Za-z0-9+/_-]{%d}" % _PACKED
"""Bare deflate (RFC 1951) begins with nothing that it could be told by."""
DEFLATED_PLANT = b" " + b"a" * _PACKED
BASE32 = rb"[A-Z2-7]{16}"
BASE32_PLANT = base64.b32encode(b"this is text too")
HEX = (
    rb"(?:[2-7][0-9A-Fa-f][ :,-]?){9}|1[fF]8[bB]08[0-9a-fA-F]{12}|78(?:01|5[eE]|9[cC]|[dD][aA])[0-9a-fA-F]{16}"
    rb"|(?:0[xX][2-7][0-9A-Fa-f][, \t]{1,3}){8}|(?:(?:3[2-9]|[4-9][0-9]|1[01][0-9]|12[0-6]),[ ]?){10}"
    rb"|[0-9A-Fa-f]{48}|(?:[0-9A-Fa-f]{2}[ :]){24}|(?:0[xX][0-9A-Fa-f]{2}, ?){24}|(?:[0-9]{2,3}, ?){24}"
)
HEX_PLANT = b"7468697320697320746578742e"

_TOKENS = re.compile(rf"[A-Za-z0-9+/_-]{{{SHORTEST},}}={{0,2}}")
_TOKENS32 = re.compile(r"(?<![A-Za-z0-9])[A-Z2-7]{16,}={0,6}(?![A-Za-z0-9])")
_HEX = re.compile(
    r"(?P<plain>(?<![A-Za-z0-9])(?:[0-9A-Fa-f]{2}){8,}(?![A-Za-z0-9]))"
    r"|(?P<spaced>(?<![A-Za-z0-9])[0-9A-Fa-f]{2}(?:[ :,-][0-9A-Fa-f]{2}){7,}(?![A-Za-z0-9]))"
    r"|(?P<listed>0[xX][0-9A-Fa-f]{2}(?:[ \t]?,?\s{0,8}0[xX][0-9A-Fa-f]{2}){7,}(?![A-Za-z0-9]))"
    r"|(?P<decimal>(?<![0-9.])[0-9]{2,3}(?:[ ]?,\s{0,8}[0-9]{2,3}){9,}(?![0-9.]))"
)
_PAIR = re.compile("[0-9A-Fa-f]{2}(?![xX])")
_NUMBER = re.compile("[0-9]+")
_BREAK = re.compile(r"[ \t>*#/]{0,8}\r?\n[ \t>*#/]{0,40}")
_TAIL = re.compile(_BREAK.pattern + rf"([A-Za-z0-9+/_-]{{1,{SHORTEST - 1}}}={{0,2}})(?![A-Za-z0-9])")
_LINE = 16
"""Characters of the shortest line of a token that goes on in the next line."""
_URL_SAFE = str.maketrans("-_", "+/")
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f\ufffd]")
_WBITS = zlib.MAX_WBITS | 32


@dataclass(slots=True)
class Allowance:
    """Characters of views that may still be made of one text."""

    left: int

    @staticmethod
    def of(size: int) -> Allowance:
        return Allowance(RATIO * size + FLOOR)

    def take(self, size: int) -> bool:
        """Whether that much is left; it is spent."""
        self.left -= size
        return self.left >= 0


class _TooMuch(Exception):
    """What is packed is longer than may be unpacked."""


def of_base64(text: str, allowance: Allowance, plain: bool, packed: bool) -> Iterator[View | Beyond]:
    """Texts in base64, in one line or several of one length; short ones if ``plain``; bare deflate if ``packed``."""
    for lines in _paragraphs(text):
        if not plain and lines[0][1] - lines[0][0] < _PACKED:
            continue
        for reading in _readings(text, lines):
            found = [view for some in reading for view in _read64(text, some, allowance, packed)]
            yield from found
            if found:
                break


_Lines = list[tuple[int, int]]


def _readings(text: str, lines: _Lines) -> Iterator[list[_Lines]]:
    """How lines may belong together: all, with a short last one or without, or each for itself."""
    if len(lines) > 1:
        tail = _TAIL.match(text, lines[-1][1])
        if tail:
            yield [[*lines, tail.span(1)]]
        yield [lines]
    yield [[line] for line in lines]


def _read64(text: str, lines: _Lines, allowance: Allowance, packed: bool) -> Iterator[View | Beyond]:
    token = "".join(text[low:high] for low, high in lines)
    bare = token.rstrip("=").translate(_URL_SAFE)
    try:
        raw = binascii.a2b_base64(bare + "=" * (-len(bare) % 4))
    except ValueError:  # of padding that is none
        return
    yield from _read(raw, lines[0][0], lines[-1][1], allowance, packed and len(token) >= _PACKED)


def _paragraphs(text: str) -> Iterator[_Lines]:
    """Tokens; those that stand in lines of one length, but for the last, are one."""
    lines: _Lines = []
    for match in _TOKENS.finditer(text):
        start, end = match.span()
        if lines:
            low, high = lines[0]
            same = lines[-1][1] - lines[-1][0] == high - low and end - start <= high - low >= _LINE
            if same and start - lines[-1][1] < 50 and _BREAK.fullmatch(text, lines[-1][1], start):
                lines.append((start, end))
                continue
            yield lines
        lines = [(start, end)]
    if lines:
        yield lines


def of_base32(text: str, allowance: Allowance) -> Iterator[View | Beyond]:
    """Texts in base32 (RFC 4648 §6)."""
    for match in _TOKENS32.finditer(text):
        bare = match[0].rstrip("=")
        try:
            raw = base64.b32decode(bare + "=" * (-len(bare) % 8))
        except ValueError:
            continue
        yield from _read(raw, *match.span(), allowance, False)


def of_hex(text: str, allowance: Allowance) -> Iterator[View | Beyond]:
    """Texts in hexadecimal digits, plain or with separators, and in lists of numbers."""
    for match in _HEX.finditer(text):
        if match.lastgroup == "decimal":
            numbers = [int(n) for n in _NUMBER.findall(match[0])]
            raw = bytes(numbers) if max(numbers) < 256 else b""
        else:
            raw = bytes(int(pair, 16) for pair in _PAIR.findall(match[0]))
        stride = {"plain": 2, "spaced": 3}.get(match.lastgroup or "", OPAQUE)
        if stride and raw.isascii() and (decoded := _text(raw)) is not None:
            view = whole(decoded, *match.span(), stride, stride - 2)
            yield view if allowance.take(len(decoded)) else Beyond(*match.span())
        else:
            yield from _read(raw, *match.span(), allowance, False)


def _read(raw: bytes, start: int, end: int, allowance: Allowance, packed: bool) -> Iterator[View | Beyond]:
    """What bytes say that stood in [start, end)."""
    try:
        text = _text(raw)
        if text is None:
            text = _unpacked(raw, allowance, packed)
    except _TooMuch:
        yield Beyond(start, end)
        return
    if text:
        yield whole(text, start, end) if allowance.take(len(text)) else Beyond(start, end)


def _text(raw: bytes) -> str | None:
    """Bytes as text; None if they are none."""
    codecs = ["utf-8"]
    if len(raw) % 2 == 0 and raw[1::2].count(0) * 4 > len(raw):
        codecs.append("utf-16-le")
    for codec in codecs:
        try:
            text = raw.decode(codec)
        except UnicodeDecodeError:
            continue
        if not _CONTROLS.search(text):
            return text
    return None


def _unpacked(raw: bytes, allowance: Allowance, packed: bool) -> str | None:
    """Text that was compressed: with a header, or without where ``packed`` says to try. Raises _TooMuch."""
    headed = raw[:2] == b"\x1f\x8b" or (raw[:1] == b"\x78" and len(raw) > 2 and (raw[0] << 8 | raw[1]) % 31 == 0)
    if not headed and not packed:
        return None
    engine = zlib.decompressobj(_WBITS if headed else -zlib.MAX_WBITS)
    try:
        pieces, limit = [engine.decompress(raw, _PROBE)], _PROBE
        if not _begins_text(pieces[0]):
            return None
        while not engine.eof and (engine.unconsumed_tail or len(pieces[-1]) == limit):
            allowance.left -= len(pieces[-1])
            if allowance.left <= 0:
                raise _TooMuch
            limit = min(allowance.left, 1 << 20)
            pieces.append(engine.decompress(engine.unconsumed_tail, limit))
    except zlib.error:
        return None
    return _text(b"".join(pieces)) if engine.eof or headed else None


def _begins_text(piece: bytes) -> bool:
    """Whether bytes are the beginning of a text; their last character may be cut."""
    try:
        text = piece.decode()
    except UnicodeDecodeError as e:
        return e.reason == "unexpected end of data" and _begins_text(piece[: e.start])
    return bool(text) and not _CONTROLS.search(text)
