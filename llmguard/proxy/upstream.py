"""The provider over aiohttp: sends a frozen egress, yields content-decoded bytes, believes nothing.

The credential joins here and nowhere else; it is not part of what is stored or approved. Redirects are not followed,
cookies not kept, decompression is bounded by what is read.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import yarl

from llmguard.config import Settings
from llmguard.effects import Head
from llmguard.errors import UpstreamError
from llmguard.model import Egress
from llmguard.payload.headers import Pairs

CHUNK = 1 << 20
_NOT_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL)


def session(settings: Settings) -> aiohttp.ClientSession:
    """The pool of connections to providers."""
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=settings.connect_timeout, sock_read=settings.read_timeout)
    return aiohttp.ClientSession(
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        connector=aiohttp.TCPConnector(limit=0),
        timeout=timeout,
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
    )


class AiohttpUpstream:
    """One exchange. ``credential`` is the header pair that pays for it."""

    def __init__(self, http: aiohttp.ClientSession, credential: Pairs) -> None:
        self._http = http
        self._credential = credential
        self._response: aiohttp.ClientResponse | None = None
        self._decoder: Decoder | None = None

    async def send(self, egress: Egress) -> Head:
        """Raises UpstreamError; ``sent`` is false where no connection was made."""
        headers = [*egress.headers, *self._credential, ("accept-encoding", "identity")]
        if egress.body:
            headers.append(("content-length", str(len(egress.body))))
        try:
            self._response = await self._http.request(
                egress.method,
                yarl.URL(egress.url, encoded=True),
                headers=headers,
                data=_pieces(egress.body) if egress.body else None,
                allow_redirects=False,
            )
        except _NOT_SENT as e:
            raise UpstreamError(
                f"the provider {egress.destination!r} cannot be reached ({type(e).__name__}); nothing was sent",
                sent=False,
            ) from None
        except (aiohttp.ClientError, TimeoutError, ValueError) as e:
            raise UpstreamError(f"the provider {egress.destination!r} broke off ({type(e).__name__})") from None
        pairs = tuple((k.decode("latin-1").lower(), v.decode("latin-1")) for k, v in self._response.raw_headers)
        self._decoder = _decoder([value for name, value in pairs if name == "content-encoding"])
        return Head(self._response.status, pairs)

    async def next_chunk(self) -> bytes | None:
        """Decoded bytes as they arrive, None at the end. Raises UpstreamError if the provider breaks off."""
        assert self._response is not None, "next_chunk follows send"  # noqa: S101  an order of our own driver
        while True:
            if self._decoder is not None and (decoded := self._decoder.next()):
                return decoded
            try:
                chunk = await self._response.content.readany()
            except (aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError, ConnectionError) as e:
                raise UpstreamError(f"the provider broke off within its answer ({type(e).__name__})") from None
            if self._decoder is None:
                return chunk or None
            if not chunk:
                self._decoder.finish()
                return None
            self._decoder.feed(chunk)

    def close(self) -> None:
        """Drops the connection if the answer was not read to its end."""
        if self._response is not None:
            self._response.close()


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(body), CHUNK):
        yield body[at : at + CHUNK]


class Decoder:
    """A compressed answer, a bounded piece at a time. Raises UpstreamError for one that is damaged or cut."""

    def __init__(self, encoding: str) -> None:
        self._gzip = encoding != "deflate"
        self._inflater: Any = None
        self._rest = b""
        self._full = False

    def feed(self, data: bytes) -> None:
        self._rest += data

    def next(self) -> bytes:
        """At most CHUNK bytes of what was fed; empty when more has to be fed."""
        if self._inflater is None:
            if len(self._rest) < 2:
                return b""
            self._inflater = zlib.decompressobj(wbits=self._window())
        while self._rest or self._full:
            if self._inflater.eof and self._gzip:  # members can follow one another (RFC 1952 §2.2)
                self._inflater = zlib.decompressobj(wbits=self._window())
            if decoded := self._inflate():
                return decoded
        return b""

    def finish(self) -> None:
        """Nothing more comes."""
        if self._rest or (self._inflater is not None and not self._inflater.eof):
            raise UpstreamError("the provider's compressed answer is cut")

    def _inflate(self) -> bytes:
        try:
            if self._inflater.eof:
                raise zlib.error("data behind the end")
            out: bytes = self._inflater.decompress(self._rest, CHUNK)
        except zlib.error:
            raise UpstreamError("the provider's compressed answer is damaged") from None
        self._rest = self._inflater.unconsumed_tail or self._inflater.unused_data
        # Output can wait inside although all input is taken: zlib keeps up to a window of it.
        self._full = len(out) == CHUNK and not self._inflater.eof
        return out

    def _window(self) -> int:
        """gzip; or deflate, which some send without the header that it should have (RFC 9110 §8.4.1.2)."""
        if self._gzip:
            return zlib.MAX_WBITS | 16
        first, second = self._rest[:2]
        return zlib.MAX_WBITS if first & 15 == 8 and (first << 8 | second) % 31 == 0 else -zlib.MAX_WBITS


def _decoder(values: list[str]) -> Decoder | None:
    encodings = [e for value in values for e in value.lower().replace(" ", "").split(",") if e not in ("", "identity")]
    if not encodings:
        return None
    if len(encodings) == 1 and encodings[0] in ("gzip", "x-gzip", "deflate"):
        return Decoder(encodings[0])
    raise UpstreamError(f"the provider answered with content-encoding {encodings[0][:20]!r}, which was not asked for")
