"""Blocks: a file as pieces that are sifted apart from each other. Every cut is where the next record begins.

Owns where records end: lines of JSONL, rows of CSV with quoted line ends, passages of text. Never does: decode, parse
or change a byte; the blocks' data put together is the file. Invariant: a record is never cut, whatever the size of
blocks and of the chunks that come in; a passage of text begins and ends at the same places whatever these sizes are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from llmguard.errors import UnscannableRequest
from llmguard.model import hidden
from llmguard.sifting import passages, rows

Layout = Literal["jsonl", "json", "csv", "text"]
SIZE = 1 << 20
"""Bytes of a block, unless a record is larger."""
MAX_RECORD = 64 << 20
"""Bytes of the largest record that is taken: a line, a row, or the whole of a JSON file."""


@dataclass(frozen=True, slots=True)
class Block:
    """Whole records of a file as they stand in it. ``first``: number of its first record (a line of a JSONL or text
    file, a row of CSV), from 0. ``head``: the first row of a CSV file, which later blocks need to know.
    """

    first: int
    data: bytes
    head: bytes = b""

    def __repr__(self) -> str:
        return f"Block({self.first}, {hidden(self.data)})"


def blocks(chunks: Iterable[bytes], layout: Layout, size: int = SIZE) -> Iterator[Block]:
    """Blocks of about ``size`` bytes, at least one record each. Raises UnscannableRequest for a record that is larger
    than ``MAX_RECORD``, naming it.
    """
    cutter = _CUTTERS[layout]()
    held, first = bytearray(), 0
    looked = 0
    for chunk in chunks:
        held += chunk
        while len(held) >= max(size, looked):
            cut = cutter.cut(held, size, final=False)
            if not cut:
                _bounded(len(held), first, layout)
                looked = 2 * len(held)
                break
            looked = 0
            block = cutter.block(first, bytes(held[:cut]))
            _largest(block.data, first, layout)
            del held[:cut]
            yield block
            first += cutter.counted(block)
    while held:
        cut = cutter.cut(held, size, final=True)
        block = cutter.block(first, bytes(held[:cut]))
        _largest(block.data, first, layout)
        del held[:cut]
        yield block
        first += cutter.counted(block)


def _bounded(length: int, first: int, layout: Layout) -> None:
    if length > MAX_RECORD:
        what = {"csv": "row", "json": "document"}.get(layout, "line")
        raise UnscannableRequest(
            f"{what} {first + 1} has more than {MAX_RECORD >> 20} MB; split it, or leave it out of the file"
        )


def _largest(data: bytes, first: int, layout: Layout) -> None:
    """A block is larger than a record may be only if one record is."""
    if len(data) > MAX_RECORD:
        _bounded(len(data), first, layout)


class _Lines:
    def cut(self, held: bytearray, size: int, *, final: bool) -> int:
        """Bytes of whole records at the start, about ``size``; 0 if the first one has not ended yet."""
        if final and len(held) <= size:
            return len(held)
        end = held.rfind(b"\n", 0, size) + 1 or held.find(b"\n", size) + 1
        return end or (len(held) if final else 0)

    def block(self, first: int, data: bytes) -> Block:
        return Block(first, data)

    def counted(self, block: Block) -> int:
        """How many records are numbered in a block: blank lines have numbers too."""
        return block.data.count(b"\n")


class _Document(_Lines):
    def cut(self, held: bytearray, size: int, *, final: bool) -> int:
        return len(held) if final else 0


class _Rows(_Lines):
    def __init__(self) -> None:
        self._head = b""

    def cut(self, held: bytearray, size: int, *, final: bool) -> int:
        return rows.cut(held, size, self._head, final=final)

    def block(self, first: int, data: bytes) -> Block:
        block = Block(first, data, self._head)
        if not self._head:
            self._head = rows.first_row(data)
        return block

    def counted(self, block: Block) -> int:
        return rows.count(block.data, block.head)


class _Passages(_Lines):
    def cut(self, held: bytearray, size: int, *, final: bool) -> int:
        return passages.cut(held, size, final=final)


_CUTTERS: dict[Layout, type[_Lines]] = {"jsonl": _Lines, "json": _Document, "csv": _Rows, "text": _Passages}
