"""An upstream for tests and demonstrations: a real HTTP server on loopback that speaks OpenAI's dialect and echoes.

It keeps what it received, byte for byte, so that a test can look at what a provider would have seen.
``behave`` makes it fail in the ways that providers fail.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from dataclasses import dataclass
from typing import Any, Literal

from aiohttp import web

from llmguard.model import hidden
from llmguard.testing.dialect import DONE, Asked, Dialect, Say, Stream
from llmguard.testing.files import Content, form

Behaviour = Literal["echo", "error", "hangup", "cut_stream", "cut_body", "redirect", "not_json", "wait", "busy_once"]


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it arrived at the provider."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def __repr__(self) -> str:
        return f"Received({self.method} {self.path}, {hidden(self.body)})"


def _dumped(value: Any) -> str:
    """As JSON; of a file of a form, its name."""
    return json.dumps(value, default=lambda file: {"filename": file.name})


class EchoUpstream:
    """``with EchoUpstream() as upstream: … upstream.url, upstream.received``.

    Answers of chat, completions and responses repeat the last words; with ``tools`` or ``functions`` the first one is
    called with ``{"echo": …}``; streams arrive in pieces of ``piece`` characters. ``say`` replaces what is said, as a
    function of the request's JSON.
    """

    def __init__(self, *, port: int = 0, piece: int = 5, say: Say | None = None) -> None:
        self.received: list[Received] = []
        self.behave: Behaviour = "echo"
        self.cancelled = threading.Event()
        """Set when the guard gave up an exchange that was under way (``behave = "wait"``)."""
        self.events = 0
        """Events of streams sent so far, ``[DONE]`` left out."""
        self.split = 0
        """Bytes in one write of a stream; 0: one event in one write, as providers do."""
        self.dialect = Dialect(say, piece)
        self._port = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="echo-upstream", daemon=True)
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Base URL, without ``/v1``."""
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> EchoUpstream:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _start(self) -> None:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def _stop(self) -> None:
        if self._runner:
            await self._runner.cleanup()

    # ----------------------------------------------------------------- answers

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        pairs = tuple((k.decode("latin-1").lower(), v.decode("latin-1")) for k, v in request.raw_headers)
        self.received.append(Received(request.method, request.raw_path, pairs, body))
        if self.behave == "wait":
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
        if self.behave == "busy_once":
            self.behave = "echo"
            error: dict[str, Any] = {"message": "too many requests", "type": "requests", "code": "rate_limit_exceeded"}
            return web.json_response({"error": error}, status=429, headers={"retry-after": "1"})
        if self.behave == "hangup":
            if request.transport:
                request.transport.abort()
            return web.Response()
        if self.behave == "redirect":
            return web.Response(status=307, headers={"location": "http://127.0.0.1:9/elsewhere"})
        if self.behave == "not_json":
            return web.Response(body=b"<html>" + body, content_type="text/html")
        if self.behave == "error":
            error = {"message": f"failed on: {body.decode(errors='replace')}", "type": "server_error", "code": None}
            return web.json_response({"error": error}, status=500)
        return await self._echo(request, body)

    async def _echo(self, request: web.Request, body: bytes) -> web.StreamResponse:
        content_type = request.headers.get("content-type", "")
        asked: Any = {}
        if content_type.startswith("multipart/"):
            asked = form(content_type, body)
        elif body:
            with contextlib.suppress(ValueError):
                asked = json.loads(body)
        asked = asked if isinstance(asked, dict) else {}
        number = len(self.received)
        answer = self.dialect.answer(Asked(request.method, request.path, request.query, asked, number))
        if isinstance(answer, Stream):
            return await self._stream(request, answer)
        if isinstance(answer, Content):
            part = request.http_range if "range" in request.headers else None
            body = answer.data[part] if part else answer.data
            return web.Response(body=body, content_type=answer.media_type, status=206 if part else 200)
        return await self._json(request, answer)

    async def _json(self, request: web.Request, value: Any) -> web.StreamResponse:
        if self.behave != "cut_body":
            return web.json_response(value, dumps=_dumped)
        body = _dumped(value).encode()
        response = web.StreamResponse(headers={"content-type": "application/json", "content-length": str(len(body))})
        await response.prepare(request)
        await response.write(body[: len(body) // 2])
        if request.transport:
            request.transport.close()
        return response

    async def _stream(self, request: web.Request, stream: Stream) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream; charset=utf-8"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        for sent, event in enumerate(stream.events, 1):
            size = self.split or len(event)
            for at in range(0, len(event), size):
                await response.write(event[at : at + size])
                await asyncio.sleep(0)
            self.events += event != DONE
            if self.behave == "cut_stream" and sent == 3:
                await response.write(b'data: {"half": "an ev')
                await asyncio.sleep(0.05)
                if request.transport:
                    request.transport.abort()
                return response
        await response.write_eof()
        return response
