"""Server-sent events: a byte stream into events that remember the bytes they came in.

Owns framing only (WHATWG HTML §9.2.6): lines end at LF, CRLF or CR, also across chunks. The bytes of all events,
joined, are the bytes of the stream. Comments between events come out at once, so that keep-alives keep alive.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from llmguard.errors import UpstreamError
from llmguard.model import hidden

MAX_EVENT = 32 * 1024 * 1024
"""Bytes of one event, and so of one line."""

_LINE_END = re.compile(rb"\r\n|\n|\r")
_DATA = re.compile(rb"(?:\xef\xbb\xbf)?data(?:: ?|(?=[\r\n]|\Z))")


@dataclass(frozen=True, slots=True)
class Event:
    """One event with its blank line, or bytes between events (then ``data`` is None). Lines keep their ends."""

    lines: tuple[bytes, ...]
    data: bytes | None

    @property
    def raw(self) -> bytes:
        return b"".join(self.lines)

    def with_data(self, data: bytes) -> bytes:
        """The event with other data, its other lines and its line ends as they came. Always ends with a blank line."""
        out: list[bytes] = []
        written = False
        for line in self.lines:
            prefix = _DATA.match(line)
            if prefix is None:
                out.append(line)
            elif not written:
                written, end = True, _end(line) or b"\n"
                out += [
                    (prefix[0] if prefix[0].rstrip(b" ")[-1:] == b":" else b"data: ") + x + end
                    for x in data.split(b"\n")
                ]
        if not _is_blank(out[-1]):
            out.append(_end(out[-1]) or b"\n")
        return b"".join(out)

    def __repr__(self) -> str:
        return f"Event({hidden(self.raw)})"


class Decoder:
    """``feed`` returns the events that a chunk completes; ``finish`` what is left without its blank line."""

    __slots__ = ("_after_cr", "_begun", "_held", "_lines", "_size")

    def __init__(self) -> None:
        self._begun: list[bytes] = []  # pieces of the line that has no end yet: joined once, when it ends
        self._held = 0
        self._lines: list[bytes] = []
        self._size = 0
        self._after_cr = False

    def feed(self, chunk: bytes) -> list[Event]:
        """Raises UpstreamError for an event above the limit."""
        events = list(self._feed(chunk)) if chunk else []
        if self._size + self._held > MAX_EVENT:
            raise UpstreamError("the provider sent an event above the limit; the stream was ended")
        return events

    def finish(self) -> list[Event]:
        lines = [*self._lines, b"".join(self._begun)] if self._begun else self._lines
        self._begun, self._held, self._lines, self._size = [], 0, [], 0
        return [_event(lines)] if lines else []

    def _feed(self, chunk: bytes) -> Iterator[Event]:
        if self._after_cr and chunk[:1] == b"\n":
            # The second half of a CRLF whose first half already ended its line.
            yield from self._line(b"\n", half=True)
            chunk = chunk[1:]
        self._after_cr = False
        at = 0
        for match in _LINE_END.finditer(chunk):
            line = b"".join((*self._begun, chunk[at : match.end()]))
            self._begun.clear()
            at = match.end()
            yield from self._line(line)
        if at and at == len(chunk):
            self._after_cr = chunk.endswith(b"\r")
        if at < len(chunk):
            self._begun.append(chunk[at:])
        self._held = self._held + len(chunk) - at if not at else len(chunk) - at

    def _line(self, line: bytes, half: bool = False) -> Iterator[Event]:
        if half:
            if self._lines:
                self._lines[-1] += line
            else:
                yield Event((line,), None)
        elif not self._lines and (line[:1] == b":" or _is_blank(line)):
            yield Event((line,), None)
        else:
            self._lines.append(line)
            self._size += len(line)
            if _is_blank(line):
                lines, self._lines, self._size = self._lines, [], 0
                yield _event(lines)


def _event(lines: list[bytes]) -> Event:
    data = [line[prefix.end() : len(line) - len(_end(line))] for line in lines if (prefix := _DATA.match(line))]
    return Event(tuple(lines), b"\n".join(data) if data else None)


def _end(line: bytes) -> bytes:
    return line[len(line.rstrip(b"\r\n")) :]


def _is_blank(line: bytes) -> bool:
    return line in (b"\n", b"\r\n", b"\r")
