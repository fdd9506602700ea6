"""The provider over aiohttp: sends a frozen egress, yields content-decoded bytes, believes nothing.

The credential joins here and nowhere else; it is not part of what is stored or approved. Redirects are not followed,
cookies not kept, decompression is bounded by what is read.
"""

from __future__ import annotations

import asyncio
import zlib
from typing import Any

import aiohttp
import yarl

from llmguard.config import Settings
from llmguard.errors import UpstreamError
from llmguard.model import Egress
from llmguard.payload.headers import Pairs
from llmguard.pipeline import Head

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
        self._decoder: Any = None

    async def send(self, egress: Egress) -> Head:
        """Raises UpstreamError; ``sent`` is false where no connection was made."""
        headers = [*egress.headers, *self._credential, ("accept-encoding", "identity")]
        try:
            self._response = await self._http.request(
                egress.method,
                yarl.URL(egress.url, encoded=True),
                headers=headers,
                data=egress.body or None,
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
        self._decoder = _decoder(dict(pairs).get("content-encoding", "identity"))
        return Head(self._response.status, pairs)

    async def next_chunk(self) -> bytes | None:
        """Decoded bytes as they arrive, None at the end. Raises UpstreamError if the provider breaks off."""
        assert self._response is not None, "next_chunk follows send"  # noqa: S101  an order of our own driver
        while True:
            if self._decoder is not None and self._decoder.unconsumed_tail:
                return self._decompressed(self._decoder.unconsumed_tail)
            try:
                chunk = await self._response.content.readany()
            except (aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError, ConnectionError) as e:
                raise UpstreamError(f"the provider broke off within its answer ({type(e).__name__})") from None
            if not chunk:
                return None
            decoded = chunk if self._decoder is None else self._decompressed(chunk)
            if decoded:
                return decoded

    def _decompressed(self, data: bytes) -> bytes:
        try:
            out: bytes = self._decoder.decompress(data, CHUNK)
        except zlib.error:
            raise UpstreamError("the provider's compressed answer is damaged") from None
        return out

    def close(self) -> None:
        """Drops the connection if the answer was not read to its end."""
        if self._response is not None:
            self._response.close()


def _decoder(encoding: str) -> Any:
    if encoding in ("", "identity"):
        return None
    if encoding in ("gzip", "deflate", "x-gzip"):
        return zlib.decompressobj(wbits=47 if encoding != "deflate" else zlib.MAX_WBITS)
    raise UpstreamError(f"the provider answered with content-encoding {encoding!r}, which was not asked for")
