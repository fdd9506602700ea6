"""The provider over aiohttp: sends a frozen egress, yields content-decoded bytes, believes nothing.

The credential joins here and nowhere else; it is not part of what is stored or approved. Redirects are not followed,
cookies not kept, nothing is sent twice, and whatever a provider does with an answer is bounded.
"""

from __future__ import annotations

import asyncio
import functools
import ssl
import urllib.request
from collections.abc import AsyncIterator
from typing import Any, cast
from urllib.parse import urlsplit

import aiohttp
import yarl
from aiohttp.client_proto import ResponseHandler

from llmguard.config import Settings
from llmguard.effects import Head
from llmguard.errors import ConfigError, UpstreamError
from llmguard.model import Egress, Payload
from llmguard.payload import coding
from llmguard.payload import headers as header_rules
from llmguard.payload.headers import Pairs
from llmguard.proxy.gate import LOOPBACK

CHUNK = 1 << 20
SLOWEST = 64 * 1024
"""Bytes a second at which a provider has to take a request."""
MAX_INTERIM = 16
"""Interim answers (1xx) to one request."""
_NOT_SENT = (
    aiohttp.ClientConnectorError,
    aiohttp.ClientHttpProxyError,  # a proxy did not open the way
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
)


def session(settings: Settings) -> aiohttp.ClientSession:
    """The pool of connections to the provider. Raises ConfigError for certificates or a proxy that cannot be used."""
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=settings.connect_timeout, sock_read=settings.read_timeout)
    connector = aiohttp.TCPConnector(limit=0, ssl=_tls(settings))
    connector._factory = cast(Any, functools.partial(_Connection, loop=asyncio.get_running_loop()))
    http = aiohttp.ClientSession(
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        connector=connector,
        timeout=timeout,
        proxy=forward_proxy(settings.upstream),
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
    )
    # aiohttp would send a DELETE again when a kept connection breaks, though it may have arrived the first time.
    http._retry_connection = False
    return http


def _tls(settings: Settings) -> ssl.SSLContext:
    """Certificates are always checked: against ``upstream_ca``, else SSL_CERT_FILE, SSL_CERT_DIR or the host's."""
    try:
        context = ssl.create_default_context(cafile=settings.upstream_ca)
        if settings.upstream_cert:
            context.load_cert_chain(settings.upstream_cert)
    except (OSError, ValueError) as e:  # ssl.SSLError is an OSError
        raise ConfigError(f"upstream_ca or upstream_cert cannot be used ({type(e).__name__})") from None
    return context


def forward_proxy(upstream: str) -> str | None:
    """The proxy that HTTPS_PROXY, HTTP_PROXY or ALL_PROXY name for the provider, unless NO_PROXY names the provider.

    Never for this host itself. Raises ConfigError for a proxy that speaks something else than HTTP.
    """
    parts, proxies = urlsplit(upstream), urllib.request.getproxies_environment()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or parts.hostname in LOOPBACK or _bypassed(parts.netloc, proxies):
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if urlsplit(proxy).scheme not in ("http", "https") or not urlsplit(proxy).hostname:
        raise ConfigError(f"the proxy of {parts.scheme.upper()}_PROXY or ALL_PROXY is not an http(s) address")
    return proxy


def _bypassed(host: str, proxies: dict[str, str]) -> bool:
    return bool(urllib.request.proxy_bypass_environment(host, proxies))  # type: ignore[attr-defined]  # typeshed has none


class _Connection(ResponseHandler):
    """One connection to the provider."""

    def is_connected(self) -> bool:
        """Not one on which more came than was asked for: it would be taken for the answer to the next request."""
        return super().is_connected() and not self.should_close

    def close(self) -> None:
        """At once where bytes are left that the provider does not take: they would keep the socket open for ever."""
        if self.transport is not None and self.transport.get_write_buffer_size():
            self.abort()
        else:
            super().close()

    async def read(self) -> Any:
        for _ in range(MAX_INTERIM):
            message, payload = await super().read()
            if not 100 <= message.code < 200 or message.code == 101:
                return message, payload
        raise aiohttp.ServerDisconnectedError("too many interim answers")


class AiohttpUpstream:
    """One exchange. ``credential`` is the header pair that pays for it."""

    def __init__(self, http: aiohttp.ClientSession, credential: Pairs) -> None:
        self._http = http
        self._credential = credential
        self._response: aiohttp.ClientResponse | None = None
        self._decoder: coding.Decoder | None = None

    async def send(self, egress: Egress) -> Head:
        """Raises UpstreamError; ``sent`` is false where no connection was made."""
        headers = [*egress.headers, *self._credential, ("accept-encoding", "identity")]
        if len(egress.body):
            headers.append(("content-length", str(len(egress.body))))
        try:
            async with asyncio.timeout(self._patience(egress)):
                self._response = await self._http.request(
                    egress.method,
                    yarl.URL(egress.url, encoded=True),
                    headers=headers,
                    data=_pieces(egress.body) if len(egress.body) else None,
                    allow_redirects=False,
                )
        except _NOT_SENT as e:
            raise UpstreamError(
                f"the provider {egress.destination!r} cannot be reached ({type(e).__name__}); nothing was sent",
                sent=False,
            ) from None
        except (aiohttp.ClientError, TimeoutError, ValueError) as e:
            raise UpstreamError(f"the provider {egress.destination!r} broke off ({type(e).__name__})") from None
        head = header_rules.received(self._response.status, self._response.raw_headers)
        self._decoder = coding.of_answer(head.headers)
        return head

    def _patience(self, egress: Egress) -> float | None:
        """Seconds until the head of the answer, however the provider fills them."""
        timeout = self._http.timeout
        if timeout.sock_read is None:
            return None
        return (timeout.sock_connect or 0) + timeout.sock_read + len(egress.body) / SLOWEST

    async def next_chunk(self) -> bytes | None:
        """Decoded bytes as they arrive, None at the end. Raises UpstreamError if the provider breaks off."""
        decoder = self._decoder
        if decoder is None:
            return await self._read() or None
        try:
            while not (decoded := decoder.next()):
                if not (chunk := await self._read()):
                    decoder.finish()
                    return None
                decoder.feed(chunk)
        except coding.Damaged:
            raise UpstreamError("the provider's compressed answer is damaged or cut") from None
        return decoded

    async def _read(self) -> bytes:
        assert self._response is not None, "next_chunk follows send"  # noqa: S101  an order of our own driver
        try:
            return await self._response.content.readany()
        except (aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError, ConnectionError) as e:
            raise UpstreamError(f"the provider broke off within its answer ({type(e).__name__})") from None

    def close(self) -> None:
        """Drops the connection if the answer was not read to its end."""
        if self._response is not None:
            self._response.close()


async def _pieces(body: Payload) -> AsyncIterator[bytes]:
    if isinstance(body, bytes):
        for at in range(0, len(body), CHUNK):
            yield body[at : at + CHUNK]
        return
    for piece in body.pieces():  # a frame is opened in less time than a thread is asked
        yield piece
