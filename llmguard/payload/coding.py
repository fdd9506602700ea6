"""Coding: content codings of bodies (RFC 9110 §8.4.1), taken off a bounded piece at a time, both ways.

Owns gzip, deflate, br and zstd. Never takes off more than one coding, and never holds more than a piece of what comes
out, however much a body pretends to be.
"""

from __future__ import annotations

import importlib
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from llmguard.errors import RequestTooLarge, UnscannableRequest, UpstreamError

PIECE = 1 << 20
"""Bytes that one step gives at most (br: up to twice that)."""
_ZSTD_WINDOW = 23
"""Window of 8 MB, the most that HTTP allows (RFC 9659)."""


class UnknownCoding(ValueError):
    """A coding that is not taken off, or more than one; the message names what can be sent."""


class Damaged(ValueError):
    """The coded body is damaged, is cut, or has more behind its end."""


class TooLong(ValueError):
    """More came out than was allowed."""


def named(values: Iterable[str]) -> str:
    """The one coding that ``Content-Encoding`` values name, empty for none. Raises UnknownCoding."""
    codings = [c for value in values for c in value.lower().replace(" ", "").split(",") if c not in ("", "identity")]
    if not codings:
        return ""
    if len(codings) > 1:
        raise UnknownCoding("more than one content-encoding; use one of gzip, deflate, br, zstd, or none")
    if codings[0] not in _ENGINES:
        raise UnknownCoding(f"content-encoding {codings[0][:20]!r} is not understood; use gzip, deflate, br or zstd")
    return codings[0]


def decoded(body: bytes, coding: str, limit: int) -> bytes:
    """The whole body, at most ``limit`` bytes of it. Raises Damaged, TooLong."""
    decoder, pieces, size = Decoder(coding), [], 0
    decoder.feed(body)
    while piece := decoder.next():
        size += len(piece)
        if size > limit:
            raise TooLong
        pieces.append(piece)
    decoder.finish()
    return b"".join(pieces)


class Decoder:
    """``feed`` what arrives, take ``next`` until it is empty, ``finish`` at the end. Raises Damaged."""

    def __init__(self, coding: str) -> None:
        self._make, self._again, self._needs = _ENGINES[coding]
        self._engine: _Engine | None = None
        self._rest = b""

    def feed(self, data: bytes) -> None:
        self._rest += data

    def next(self) -> bytes:
        """A piece; empty when more has to be fed."""
        while self._rest or (self._engine is not None and self._engine.waiting):
            if self._engine is None or (self._engine.ended and self._again):
                if len(self._rest) < self._needs:
                    return b""
                self._engine = self._make(self._rest)
            if self._engine.ended:
                raise Damaged
            out, self._rest = self._engine.step(self._rest)
            if out:
                return out
        return b""

    def finish(self) -> None:
        """Nothing more comes."""
        if self._rest or (self._engine is not None and not self._engine.ended):
            raise Damaged


def of_request(body: bytes, headers: Iterable[tuple[str, str]], limit: int) -> bytes:
    """The body of a request with these headers. Raises UnscannableRequest, RequestTooLarge."""
    try:
        coding = named(value for name, value in headers if name == "content-encoding")
        return decoded(body, coding, limit) if coding and body else body
    except UnknownCoding as e:
        raise UnscannableRequest(str(e)) from None
    except Damaged:
        raise UnscannableRequest("the compressed body is damaged, is cut, or has more behind its end") from None
    except TooLong:
        raise RequestTooLarge(f"the body is larger than max_json_bytes ({limit}) when decompressed") from None


def of_upload(headers: Iterable[tuple[str, str]]) -> Decoder | None:
    """What takes the coding off a request that is read in pieces. Raises UnscannableRequest."""
    try:
        coding = named(value for name, value in headers if name == "content-encoding")
    except UnknownCoding as e:
        raise UnscannableRequest(str(e)) from None
    return Decoder(coding) if coding else None


def unpacked(decoder: Decoder | None, piece: bytes) -> Iterator[bytes]:
    """What is in a piece of a request, in bounded pieces; whoever takes them bounds how many. Raises
    UnscannableRequest."""
    if decoder is None:
        yield piece
        return
    try:
        decoder.feed(piece)
        while plain := decoder.next():
            yield plain
    except Damaged:
        raise UnscannableRequest("the compressed body is damaged") from None


def ended(decoder: Decoder | None) -> None:
    """Nothing more comes. Raises UnscannableRequest for a body that is cut."""
    try:
        if decoder is not None:
            decoder.finish()
    except Damaged:
        raise UnscannableRequest("the compressed body is damaged, is cut, or has more behind its end") from None


def of_answer(headers: Iterable[tuple[str, str]]) -> Decoder | None:
    """What takes the coding off an answer with these headers. Raises UpstreamError."""
    try:
        coding = named(value for name, value in headers if name == "content-encoding")
    except UnknownCoding as e:
        raise UpstreamError(f"the provider's answer, which was asked for plain: {e}") from None
    return Decoder(coding) if coding else None


class _Engine(Protocol):
    ended: bool
    waiting: bool
    """Whether there is more to come out without more going in."""

    def step(self, data: bytes) -> tuple[bytes, bytes]:
        """What came out, and what did not go in."""


class _Zlib:
    ended = waiting = False

    def __init__(self, wbits: int) -> None:
        self._inner = zlib.decompressobj(wbits=wbits)

    def step(self, data: bytes) -> tuple[bytes, bytes]:
        try:
            out = self._inner.decompress(data, PIECE)
        except zlib.error:
            raise Damaged from None
        self.ended = self._inner.eof
        # Output can wait inside although all input is taken: zlib keeps up to a window of it.
        self.waiting = len(out) == PIECE and not self.ended
        return out, self._inner.unconsumed_tail or self._inner.unused_data


class _Zstd:
    ended = waiting = False

    def __init__(self) -> None:
        zstd = importlib.import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
        self._error = zstd.ZstdError
        self._inner = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW})

    def step(self, data: bytes) -> tuple[bytes, bytes]:
        try:
            out: bytes = self._inner.decompress(data, PIECE)
        except self._error:
            raise Damaged from None
        self.ended = self._inner.eof
        self.waiting = not self.ended and not self._inner.needs_input
        return out, self._inner.unused_data if self.ended else b""


class _Brotli:
    ended = waiting = False

    def __init__(self) -> None:
        import brotli

        self._error = brotli.error
        self._inner = brotli.Decompressor()

    def step(self, data: bytes) -> tuple[bytes, bytes]:
        given, rest = (data, b"") if self._inner.can_accept_more_data() else (b"", data)
        try:
            out: bytes = self._inner.process(given, output_buffer_limit=PIECE)
        except self._error:
            raise Damaged from None
        self.ended = self._inner.is_finished()
        self.waiting = not self.ended and (len(out) >= PIECE or not self._inner.can_accept_more_data())
        return out, rest


def _deflate(start: bytes) -> _Engine:
    """Some send deflate without the header that it should have (RFC 9110 §8.4.1.2)."""
    first, second = start[:2]
    headed = first & 15 == 8 and (first << 8 | second) % 31 == 0
    return _Zlib(zlib.MAX_WBITS if headed else -zlib.MAX_WBITS)


def _gzip(_: bytes) -> _Engine:
    return _Zlib(zlib.MAX_WBITS | 16)


_ENGINES: dict[str, tuple[Callable[[bytes], _Engine], bool, int]] = {
    "gzip": (_gzip, True, 1),  # members can follow one another (RFC 1952 §2.2)
    "x-gzip": (_gzip, True, 1),
    "deflate": (_deflate, False, 2),
    "br": (lambda _: _Brotli(), False, 1),
    "zstd": (lambda _: _Zstd(), True, 1),  # so can frames (RFC 8878 §3)
}
"""How to begin, whether another may begin behind an end, and by how many bytes it is known what begins."""
