"""Rows: CSV as it stands in a file. Quoted line ends, and cells that are rewritten without touching their neighbours.

Owns where rows and cells end, and how a new cell is quoted. Kept simple: the delimiter is the one of ``DELIMITERS``
that stands most often in the first row, quotes are ``"`` and doubled inside. Invariant: the cells and what stands
between them, put together, are the row.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

DELIMITERS = (b",", b";", b"\t", b"|")
BOM = b"\xef\xbb\xbf"
_FIRST = re.compile(rb'(?:"[^"]*+(?:""[^"]*+)*+"|[^"\r\n])*+"?[^\r\n]*+(?:\r\n|\n|\r|\Z)')
_QUOTED = re.compile(rb'"[^"]*+(?:""[^"]*+)*+"')
_CELL = rb'(?:"[^"]*+(?:""[^"]*+)*+(?:"[^%b\r\n]*+|\Z)|[^%b\r\n]*+)'
"""A quote that nobody closes goes on to the end."""
_NAME = re.compile(r"[^\W\d][\w .:/()#%-]{0,63}")


def first_row(data: bytes) -> bytes:
    """The first row, without a byte order mark."""
    match = _FIRST.match(data, len(BOM) if data.startswith(BOM) else 0)
    return match[0] if match else b""


@lru_cache(maxsize=64)
def delimiter(head: bytes) -> bytes:
    """What stands most often between the cells of the first row."""
    plain = _QUOTED.sub(b"", head)
    return max(DELIMITERS, key=plain.count)


@lru_cache(maxsize=8)
def _row(by: bytes) -> re.Pattern[bytes]:
    d = re.escape(by)
    cell = _CELL % (d, d)
    return re.compile(rb"%b(?:%b%b)*+(?:\r\n|\n|\r)?" % (cell, d, cell))


@lru_cache(maxsize=8)
def _cell(by: bytes) -> re.Pattern[bytes]:
    d = re.escape(by)
    return re.compile(_CELL % (d, d))


def ends(data: bytes | bytearray, head: bytes) -> Iterator[int]:
    """Where rows end."""
    match, at = _row(delimiter(head or first_row(bytes(data)))).match, 0
    while at < len(data):
        found = match(data, at)
        end = found.end() if found else at
        if end == at:  # cannot be: every byte belongs to a row
            end = len(data)
        yield end
        at = end


def cut(held: bytearray, size: int, head: bytes, *, final: bool) -> int:
    """Bytes of whole rows, about ``size``; 0 if the first one has not ended yet."""
    last = 0
    for end in ends(held, head):
        if end == len(held) and not final:  # a quote may go on, and \\n may follow \\r
            break
        last = end
        if end >= size:
            break
    return last


def count(data: bytes, head: bytes) -> int:
    return sum(1 for _ in ends(data, head))


def cells(row: bytes, by: bytes) -> list[tuple[int, int]]:
    """Where the cells of a row stand, quotes included, its line end not."""
    match, at, found = _cell(by).match, 0, []
    while True:
        cell = match(row, at)
        end = cell.end() if cell else at
        found.append((at, end))
        if row[end : end + 1] != by:
            return found
        at = end + 1


def said(cell: bytes) -> bytes:
    """What a cell says."""
    if cell[:1] == b'"':
        quoted = _QUOTED.match(cell)
        if quoted:
            return cell[1 : quoted.end() - 1].replace(b'""', b'"') + cell[quoted.end() :]
    return cell


def written(text: str, old: bytes, by: bytes) -> bytes:
    """A cell that says ``text``, quoted where it has to be or the old one was."""
    new = text.encode()
    if old[:1] == b'"' or any(mark in new for mark in (b'"', b"\n", b"\r", by)):
        return b'"' + new.replace(b'"', b'""') + b'"'
    return new


def names(head: Sequence[str]) -> tuple[str, ...]:
    """The column names, or nothing if the first row does not look as if it had any."""
    plain = tuple(name.strip() for name in head)
    named = all(_NAME.fullmatch(name) and "@" not in name for name in plain)
    return plain if named and len(set(plain)) == len(plain) else ()
