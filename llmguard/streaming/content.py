"""ContentRestorer: the content of a file that is restored line by line as it passes, whatever it is called.

Owns what is JSON in a file (each line is parsed by itself, so that values are escaped as they have to be), what is text
(a link may go on behind the end of a line) and what is neither. Which placeholders may return is asked block by block,
by the tags that stand there: a file may hold more of them than fit into memory.

Invariant: what holds no granted placeholder leaves as the bytes that it came in; memory is bounded by ``MAX_LINE``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from llmguard.errors import UnscannableRequest
from llmguard.model import VaultEntry
from llmguard.payload.json import parse
from llmguard.payload.nesting import Nesting
from llmguard.redaction import Restorer, tags

BLOCK = 64 * 1024
"""Bytes that are looked through together."""
MAX_LINE = 16 * 1024 * 1024
"""Bytes of the longest line that is restored. Longer ones pass with their placeholders."""
MAX_MISSED = 200_000
"""Words that look like tags and are none, which are not asked for again."""

_LINES = re.compile(rb"[^\n]*\n|[^\n]+")
_TAG = re.compile(r"[a-z2-7]+")
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Block:
    """Whole lines of a file; or bytes of it that are not looked at."""

    data: bytes = field(repr=False)
    passes: bool = False


class ContentRestorer:
    """Give it chunks, then None: of each block that is ready, ask what is ``wanted`` and have it ``written``.

    ``tools`` are names of tools that may receive secrets from system and tool text.
    """

    def __init__(self, tools: frozenset[str] = frozenset()) -> None:
        self._tools = tools
        self._pieces: list[bytes] = []
        self._size = 0
        self._by_line: bool | None = None
        """Whether lines are JSON, each by itself; not known before the first."""
        self._binary = False
        """Whether nothing that follows is looked at."""
        self._passes = False
        """Whether the rest of a line goes by that is too long."""
        self._missed: set[str] = set()
        self._asked: frozenset[str] = frozenset()
        self._nesting = Nesting()

    def blocks(self, chunk: bytes | None) -> Iterator[Block]:
        """What can be written now. Take them one by one: what a block is decides about the next."""
        if chunk and self._passes:
            over = chunk.find(b"\n") + 1
            self._passes = not over
            yield Block(chunk[:over] if over else chunk, passes=True)
            chunk = chunk[over:] if over else b""
        if chunk:
            self._binary = self._binary or b"\0" in chunk
            self._pieces.append(chunk)
            self._size += len(chunk)
        if chunk is None or self._binary:
            yield from self._taken(self._size)
        elif self._size >= BLOCK and (newline := chunk.rfind(b"\n")) >= 0:
            yield from self._taken(self._size - len(chunk) + newline + 1)
        if self._size > MAX_LINE:
            yield from self._too_long()

    def _taken(self, size: int) -> Iterator[Block]:
        data = b"".join(self._pieces)
        self._pieces, self._size = [data[size:]], len(data) - size
        if size:
            yield Block(data[:size], passes=self._binary)

    def _too_long(self) -> Iterator[Block]:
        """The line passes. Where text goes on behind it, nobody knows whether within a link: so does the rest."""
        yield from self._taken(b"".join(self._pieces).rfind(b"\n") + 1)
        self._passes = True
        self._binary = self._binary or not self._by_line
        for block in self._taken(self._size):
            yield Block(block.data, passes=True)

    def wanted(self, block: Block) -> frozenset[str]:
        """Tags of placeholders that could stand in the block."""
        if block.passes:
            return frozenset()
        found = tags(block.data.decode(errors="replace"))
        self._asked = frozenset(tag for tag in found if tag not in self._missed and _TAG.fullmatch(tag))
        return self._asked

    def written(self, block: Block, entries: Iterable[VaultEntry] = ()) -> bytes:
        """The block with the placeholders of ``entries`` restored: what was granted of the tags that it wanted."""
        if block.passes:
            return block.data
        restorer = Restorer(entries, self._tools)
        if len(self._missed) < MAX_MISSED:
            self._missed |= {tag for tag in self._asked if not restorer.touches(f"_{tag}")}
        if not restorer and self._by_line:
            return block.data
        return b"".join(self._line(line, restorer) for line in _LINES.findall(block.data))

    def _line(self, line: bytes, restorer: Restorer) -> bytes:
        text = line.decode(errors="replace")
        if self._by_line is None and not text.isspace():
            self._by_line = _is_json(line.removeprefix(_BOM))
        touched = restorer.touches(text)
        if self._by_line:
            return restorer.json(line) if touched else line
        if not touched or text.encode() != line:
            self._nesting.advance(text)
            return line
        passage = restorer.passage(nested=True)
        passage.nesting = self._nesting
        return (passage.feed(text) + passage.finish()).encode()


def _is_json(line: bytes) -> bool:
    """Whether the line is an object or a list by itself."""
    try:
        return type(parse(line).value) in (dict, list)
    except UnscannableRequest:
        return False
