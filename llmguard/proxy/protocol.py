"""Protocol: HTTP/1.1 as both planes read it: uvicorn's, with bounds, and nothing that two servers read differently.

Owns what an application never sees: targets of another form than ``/path?query``, trailers, framing without end, and
clients that begin a request and do not go on. A request that is refused here is answered in the API's own words, and
its connection closed. Never cuts an answer that is under way by words of its own.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from llmguard.errors import LLMGuardError, UnscannableRequest

MAX_HEAD = 64 * 1024
"""Bytes of a request that are not its body: target, headers, trailers, extensions of chunks."""
_FRAMING = 16
"""Bytes of framing that a client may spend for each byte of a body."""
PATIENCE = 30.0
"""Seconds in which a request's head must come, and in which a body must go on by ``PROGRESS`` bytes."""
PROGRESS = 1024


class _HeadTooLong(LLMGuardError):
    """The request's head, or the framing of its body, is longer than any application's."""

    status = 431
    code = "request_too_large"


class Protocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head = self._in_request = True
        self._spare = MAX_HEAD
        self._came = 0
        self._look: asyncio.TimerHandle | None = None

    # ----------------------------------------------------------------- time

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._look = self.loop.call_later(PATIENCE, self._looked)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._look:
            self._look.cancel()
        super().connection_lost(exc)

    def _looked(self) -> None:
        """Ends the connection of a client that has begun a request and does not go on, though we listen."""
        if self._in_request and self._came < PROGRESS and not self.flow.read_paused:
            self.transport.abort()
            return
        self._came = 0
        self._look = self.loop.call_later(PATIENCE, self._looked)

    # ----------------------------------------------------------------- framing

    def data_received(self, data: bytes) -> None:
        self._spare -= len(data)
        super().data_received(data)
        if self._spare < 0 and self.parser and not self.transport.is_closing():
            self._refuse(_HeadTooLong("the head or the framing of the request is too long"))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = self._in_request = True
        self._spare, self._came = MAX_HEAD, PROGRESS

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # a trailer is none: it would change a request that is already being read
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if len(self.url) + sum(len(n) + len(v) for n, v in self.headers) > MAX_HEAD:
            self._spare = -1
        if self._spare < 0 or not self._plain():
            raise ValueError  # the parser stops, and uvicorn calls send_400_response
        self._in_head = False
        super().on_headers_complete()

    def _plain(self) -> bool:
        """Whether every server reads target and framing the same way (RFC 9112 §3.2, §6.1)."""
        names = [name for name, _ in self.headers]
        version = self.parser.get_http_version()
        codings = [value.lower() for name, value in self.headers if name == b"transfer-encoding"]
        target = self.url.startswith(b"/") and self.url.isascii() and b"#" not in self.url
        framed = not codings or (version == "1.1" and codings == [b"chunked"])
        return target and framed and version in ("1.0", "1.1") and names.count(b"host") <= 1

    def on_body(self, body: bytes) -> None:
        self._spare += _FRAMING * len(body)
        self._came += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_request = False
        super().on_message_complete()

    # ----------------------------------------------------------------- refusals

    def send_400_response(self, msg: str) -> None:
        """What uvicorn calls when the parser, or one of the callbacks above, gives up."""
        if self._spare < 0:
            self._refuse(_HeadTooLong("the head or the framing of the request is too long"))
        else:
            self._refuse(
                UnscannableRequest("the bytes on this connection are no HTTP/1.1 that can be read one way only")
            )

    def _refuse(self, error: LLMGuardError) -> None:
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            body = json.dumps(error.body()).encode()
            pairs = [("content-type", "application/json"), ("content-length", str(len(body))), ("connection", "close")]
            lines = "".join(f"{name}: {value}\r\n" for name, value in (*pairs, *error.headers()))
            self.transport.write(f"HTTP/1.1 {error.status} Refused\r\n{lines}\r\n".encode("latin-1") + body)
        self.transport.close()
