"""Records: what stands in a block, and the way back into its bytes.

Owns the readers of the layouts: a line or a document of JSON, a row of CSV, a passage of text. Never does: look for
anything. Invariant: a record that is rebuilt without new texts is the bytes that came; a record that cannot be read
exactly is a Problem.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from llmguard.errors import CallRefused, UnscannableRequest
from llmguard.model import Origin, TextPart, hidden
from llmguard.payload.extract import NUMBERS, PLAIN, Extract, Shape, extract_line
from llmguard.payload.json import MAX_DEPTH, Document, Number, parse_many
from llmguard.payload.lines import LineKind, kind_of, operation_of, problem
from llmguard.sifting import passages, rows
from llmguard.sifting.blocks import Block, Layout

BOM = rows.BOM
GROUP = 96 * 1024
"""Bytes of records that are read together."""
_WHITE = b" \t\r\n"
"""White space of JSON."""
_NO: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Problem:
    """A bad record, which is left out of what leaves. ``record`` counts from 0; ``reason`` holds no content."""

    record: int
    reason: str


@dataclass(slots=True)
class Record(ABC):
    """A record as it came: its bytes, and what text stands in it. Nobody changes it."""

    number: int
    raw: bytes
    parts: tuple[TextPart, ...]

    @property
    def unscanned(self) -> tuple[str, ...]:
        return ()

    @abstractmethod
    def rebuild(self, texts: Mapping[int, str]) -> bytes:
        """The bytes with the parts of these indices replaced."""

    def misfits(self, texts: Mapping[int, str]) -> frozenset[int]:
        """Of these edits, those that their slot does not take."""
        return _NO

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.number}, {hidden(self.raw)})"


def read(block: Block, layout: Layout, kind: LineKind | None) -> Iterator[Record | Problem]:
    """The records of a block, in order; blank lines and a byte order mark are records without parts and number -1.

    ``kind``: what the lines have to be; None: whatever they look like.
    """
    if layout == "csv":
        return _rows(block)
    if layout == "text":
        return _passages(block)
    return _documents(block, kind) if layout == "json" else _lines(block, kind)


@dataclass(slots=True, repr=False)
class Between(Record):
    """Bytes that are no record: a blank line, a byte order mark."""

    def rebuild(self, texts: Mapping[int, str]) -> bytes:
        return self.raw


def between(raw: bytes) -> Between:
    return Between(-1, raw, ())


def _marked(block: Block) -> bytes:
    return BOM if block.first == 0 and block.data.startswith(BOM) else b""


# --------------------------------------------------------------------------- JSON


@dataclass(slots=True, repr=False)
class Line(Record):
    """One JSON document, with the white space around it."""

    content: Extract
    text: bytes

    @property
    def unscanned(self) -> tuple[str, ...]:
        return self.content.unscanned

    def rebuild(self, texts: Mapping[int, str]) -> bytes:
        if not texts:
            return self.raw
        before, _, after = self.raw.partition(self.text)
        return b"".join((before, self.content.rebuild(texts), after))

    def misfits(self, texts: Mapping[int, str]) -> frozenset[int]:
        return self.content.misfits(texts)


_CHAT: Mapping[str, Origin] = {
    "messages": "user",
    "input": "user",
    "tools": "system",
    "functions": "system",
    "response_format": "system",
    "preferred_output": "assistant",
    "non_preferred_output": "assistant",
}
_SHAPES: Mapping[LineKind, Shape] = {
    "sft": Shape(_CHAT),
    "dpo": Shape(_CHAT),
    "rft": Shape(_CHAT),
    "prompt": PLAIN,
    "eval": PLAIN,
    "plain": PLAIN,
}


def shape_of(kind: LineKind, value: Any) -> Shape:
    """How a line of a kind is walked."""
    return Shape({}, operation_of(value)) if kind == "batch" else _SHAPES[kind]


def _lines(block: Block, kind: LineKind | None) -> Iterator[Record | Problem]:
    mark = _marked(block)
    if mark:
        yield between(mark)
    data, number, start = block.data, block.first, len(mark)
    while start < len(data):
        end = data.find(b"\n", start + GROUP) + 1 or len(data)
        lines = list(_split(data[start:end], 0))
        texts = [line.strip(_WHITE) for line in lines]
        documents = iter(parse_many([text for text in texts if text]))
        for raw, text in zip(lines, texts, strict=True):
            yield _line(number, raw, text, next(documents), kind) if text else between(raw)
            number += 1
        start = end


def _split(data: bytes, start: int) -> Iterator[bytes]:
    while start < len(data):
        end = data.find(b"\n", start) + 1 or len(data)
        yield data[start:end]
        start = end


def _documents(block: Block, kind: LineKind | None) -> Iterator[Record | Problem]:
    mark = _marked(block)
    if mark:
        yield between(mark)
    raw = block.data[len(mark) :]
    text = raw.strip(_WHITE)
    if text:
        yield _line(0, raw, text, parse_many([text])[0], kind or "plain", what="document")
    elif raw:
        yield between(raw)


def _line(
    number: int,
    raw: bytes,
    text: bytes,
    document: Document | UnscannableRequest,
    kind: LineKind | None,
    *,
    what: str = "line",
) -> Record | Problem:
    if isinstance(document, UnscannableRequest):
        return _refused(number, document, what)
    if kind is not None and (wrong := problem(kind, document.value)):
        return Problem(number, wrong)
    try:
        content = extract_line(document, shape_of(kind or kind_of("", document.value), document.value))
    except CallRefused as e:
        return _refused(number, e, what)
    return Line(number, raw, content.parts, content, text)


def _refused(number: int, error: CallRefused, what: str) -> Problem:
    return Problem(number, error.message.replace("the body", f"the {what}"))


# --------------------------------------------------------------------------- CSV


@dataclass(slots=True, repr=False)
class Row(Record):
    """``places``: where the cell of each part stands in ``raw``."""

    places: tuple[tuple[int, int], ...]
    by: bytes

    def rebuild(self, texts: Mapping[int, str]) -> bytes:
        pieces, end = [], 0
        for i in sorted(texts):
            low, high = self.places[i]
            pieces += [self.raw[end:low], rows.written(texts[i], self.raw[low:high], self.by)]
            end = high
        return b"".join([*pieces, self.raw[end:]])


def _rows(block: Block) -> Iterator[Record | Problem]:
    mark = _marked(block)
    if mark:
        yield between(mark)
    data = block.data[len(mark) :]
    head = block.head or rows.first_row(data)
    by = rows.delimiter(head)
    try:
        labels = rows.names([rows.said(head[a:b]).decode() for a, b in rows.cells(head, by)])
    except UnicodeDecodeError:
        labels = ()
    start, number = 0, block.first
    for end in rows.ends(data, head):
        raw = data[start:end]
        header = not block.head and number == block.first
        yield _row(number, raw, by, () if header else labels) if raw.strip() else between(raw)
        start, number = end, number + 1


def _row(number: int, raw: bytes, by: bytes, labels: Sequence[str]) -> Record | Problem:
    parts, places = [], []
    try:
        for i, (low, high) in enumerate(rows.cells(raw, by)):
            text = rows.said(raw[low:high]).decode()
            if text and not text.isspace():
                label = labels[i] if i < len(labels) else ""
                parts.append(TextPart(text, f"/{number}/{i}", "user", label))
                places.append((low, high))
    except UnicodeDecodeError:
        return Problem(number, "the row is not UTF-8; save the file as UTF-8")
    return Row(number, raw, tuple(parts), tuple(places), by)


# --------------------------------------------------------------------------- text


@dataclass(slots=True, repr=False)
class Passage(Record):
    """Some lines of a text, as one part. ``number`` is that of the first."""

    def rebuild(self, texts: Mapping[int, str]) -> bytes:
        return texts[0].encode() if texts else self.raw

    @property
    def lines(self) -> int:
        """How many lines are not blank."""
        return sum(1 for line in self.raw.split(b"\n") if line and not line.isspace())


def _passages(block: Block) -> Iterator[Record | Problem]:
    mark = _marked(block)
    if mark:
        yield between(mark)
    data = block.data[len(mark) :]
    start, number = 0, block.first
    for end in passages.ends(data, final=True):
        raw = data[start:end]
        yield from _passage(number, raw)
        start, number = end, number + raw.count(b"\n")


def _passage(number: int, raw: bytes) -> Iterator[Record | Problem]:
    """A passage; lines that are not UTF-8 are problems, and left out of it."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        run = b""
        for i, line in enumerate(_split(raw, 0)):
            try:
                line.decode()
                run += line
            except UnicodeDecodeError:
                if run:
                    yield from _passage(number + i - run.count(b"\n"), run)
                yield Problem(number + i, "the line is not UTF-8; save the file as UTF-8")
                run = b""
        if run:
            yield from _passage(number + raw.count(b"\n") - run.count(b"\n"), run)
        return
    yield between(raw) if text.isspace() else Passage(number, raw, (TextPart(text, "text"),))


# --------------------------------------------------------------------------- values


@dataclass(frozen=True, slots=True)
class Value:
    """A Python value that is no file's: dict, list or str."""

    content: Extract
    value: Any = field(repr=False)

    def edited(self, texts: Mapping[int, str]) -> Any:
        """The value with the parts of these indices replaced; containers are new, all else is what came."""
        literals = self.content.literals(texts)
        return _Editor(literals).value(self.value)


def value_of(value: Any, kind: LineKind | None) -> Value:
    """Raises UnscannableRequest for what is no JSON."""
    tree = _tree(value, 0)
    content = extract_line(Document(b"", tree), shape_of(kind or kind_of("", tree), tree))
    return Value(content, value)


def _tree(value: Any, depth: int) -> Any:
    """The value as ``payload.json`` would have read it. What is no text and no number says nothing."""
    if depth > MAX_DEPTH:
        raise UnscannableRequest(f"the record nests deeper than {MAX_DEPTH} levels; flatten it")
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Mapping):
        return {str(k): _tree(v, depth + 1) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_tree(v, depth + 1) for v in value]
    return Number(repr(value)) if _is_number(value) else None


def _is_number(value: Any) -> bool:
    """Whether it is a number of JSON: finite, and neither true nor false."""
    return (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, float) and isfinite(value))


class _Editor:
    """Strings are numbered as the walk numbers them: keys included, in order."""

    def __init__(self, literals: Mapping[int, str]) -> None:
        self._literals, self._next, self._numbers = literals, -1, NUMBERS + 1

    def value(self, value: Any) -> Any:
        if isinstance(value, str):
            self._next += 1
            return self._literals.get(self._next, value)
        if isinstance(value, Mapping):
            return {self._key(k): self.value(v) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(v) for v in value]
        if _is_number(value):
            self._numbers -= 1
            new = self._literals.get(self._numbers)
            return value if new is None else int(new) if new.isdecimal() and new[0] != "0" else new
        return value

    def _key(self, key: Any) -> Any:
        self._next += 1
        return self._literals.get(self._next, key)
