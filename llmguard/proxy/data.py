"""The data plane: the OpenAI API as a thin ASGI application.

It authenticates, reads one bounded body, makes a Call, and hands the answer of the pipeline back as it comes. Errors
are OpenAI-shaped. A caller that hangs up cancels the call; the pipeline still records its outcome.
"""

from __future__ import annotations

import asyncio
import json
import logging
import zlib
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import aclosing
from typing import Any

import aiohttp

from llmguard import identity
from llmguard.effects import Head
from llmguard.errors import (
    CallBlocked,
    ConfigError,
    GuardUnavailable,
    LLMGuardError,
    RequestTooLarge,
    Unauthenticated,
    UnscannableRequest,
)
from llmguard.guard import Guard, Request, adrive
from llmguard.model import Principal
from llmguard.payload import headers as header_rules
from llmguard.payload.headers import Pairs
from llmguard.proxy.gate import LOOPBACK, host_allowed, origin_allowed
from llmguard.proxy.upstream import AiohttpUpstream

log = logging.getLogger("llmguard")
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Sender = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ROOT = "/v1"


class _HungUp(Exception):
    """The caller went away before its request was complete."""


class DataPlane:
    """``await plane(scope, receive, send)``. ``http`` is the pool of connections to the provider."""

    def __init__(self, guard: Guard, http: aiohttp.ClientSession) -> None:
        self._guard = guard
        self._http = http

    async def __call__(self, scope: Scope, receive: Receive, send: Sender) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": "blocked: WebSockets are not guarded"})
            return
        answer = _Answer(send)
        try:
            await self._serve(scope, receive, answer)
        except _HungUp:
            return
        except LLMGuardError as e:
            await answer.error(e)
        except Exception as e:  # noqa: BLE001  the edge of the process: it lives on, the caller gets a typed error
            log.error("a request failed: %s", type(e).__name__)
            await answer.error(GuardUnavailable("a part of the guard failed; nothing more was sent"))

    async def _serve(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        headers: Pairs = tuple((k.decode("latin-1"), v.decode("latin-1")) for k, v in scope["headers"])
        first = dict(reversed(headers))
        self._gate(first)
        path: str = scope["raw_path"].decode("latin-1") if scope.get("raw_path") else scope["path"]
        if path in ("/healthz", "/readyz"):
            ready = path == "/healthz" or self._guard.scanner.ready
            await answer.json(200 if ready else 503, {"status": "ok" if ready else "names are loading"})
            return
        principal, credential = self._authenticated(first)
        if not path.startswith(ROOT + "/"):
            raise CallBlocked("the guard serves the OpenAI API below /v1 only")
        body = await _read(receive, first, self._guard.settings.max_json_bytes)
        query = scope["query_string"].decode("latin-1")
        request = Request(scope["method"], path.removeprefix(ROOT), query, headers, body)
        await self._forward(request, principal, credential, receive, answer)

    def _gate(self, headers: dict[str, str]) -> None:
        host = headers.get("host", "")
        if not host_allowed(host, self._guard.settings.allowed_hosts):
            raise CallBlocked("unknown Host; add the name that callers use to allowed_hosts")
        if not origin_allowed(headers.get("origin"), host):
            raise CallBlocked("requests from web pages are refused")

    def _authenticated(self, headers: dict[str, str]) -> tuple[Principal, str]:
        """The principal, and the provider's key that pays for its call."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        token = token.strip() if scheme.lower() == "bearer" else headers.get("api-key", "")
        if not token:
            raise Unauthenticated("send an lg_ key as the API key; make one with: llmguard keys add NAME")
        settings = self._guard.settings
        if settings.pass_through and not token.startswith("lg_"):
            return self._passed_through(token), token
        principal = self._guard.store.read(lambda tx: identity.authenticate(tx, self._guard.vault, token))
        if not settings.upstream_key:
            raise NoProviderKey(
                "the guard has no provider key; set LLMGUARD_UPSTREAM_KEY, or start with --pass-through"
            )
        return principal, settings.upstream_key

    def _passed_through(self, token: str) -> Principal:
        """A caller known by its own provider key alone: a tenant of its own, accountable to nobody; loopback only."""
        if self._guard.settings.host not in LOOPBACK:
            raise Unauthenticated("provider keys are passed through on loopback only; make an lg_ key for this caller")
        name = "pass:" + self._guard.account(token)
        return Principal(name, name, "service", name)

    async def _forward(
        self, request: Request, principal: Principal, credential: str, receive: Receive, answer: _Answer
    ) -> None:
        guard = self._guard
        call = guard.call(request, principal, guard.settings.destination, guard.account(credential))
        answer.call_id = call.id
        upstream = AiohttpUpstream(self._http, (("authorization", f"Bearer {credential}"),))

        async def exchange() -> None:
            try:
                async with aclosing(adrive(guard, guard.flow(call), upstream)) as items:  # type: ignore[type-var]
                    async for item in items:
                        await answer.give(item)
                await answer.end()
            finally:
                upstream.close()

        await _until_gone(exchange, receive)


class NoProviderKey(GuardUnavailable, ConfigError):
    """The guard has no key to pay the provider with: a retry does not help before the operator acts."""

    retry = False


async def _until_gone(exchange: Callable[[], Awaitable[None]], receive: Receive) -> None:
    """Runs ``exchange``; a caller that disconnects cancels it, and its clean-up is awaited."""
    working = asyncio.ensure_future(exchange())
    watching = asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            working.cancel()
            await asyncio.wait({working})
        if working.cancelled():
            raise _HungUp
        working.result()
    finally:
        watching.cancel()
        if not working.done():  # this very task was cancelled: the server shuts down
            working.cancel()
            await asyncio.wait({working})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _read(receive: Receive, headers: dict[str, str], limit: int) -> bytes:
    """The whole body, content-decoded. Raises RequestTooLarge, UnscannableRequest."""
    declared = headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise RequestTooLarge(f"the body is larger than max_json_bytes ({limit})")
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _HungUp
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        if size > limit:
            raise RequestTooLarge(f"the body is larger than max_json_bytes ({limit})")
        if not message.get("more_body"):
            return _decoded(b"".join(pieces), headers.get("content-encoding", ""), limit)


def _decoded(body: bytes, encoding: str, limit: int) -> bytes:
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "deflate"):
        raise UnscannableRequest(f"content-encoding {encoding[:20]!r} is not understood; send gzip, deflate or none")
    decoder = zlib.decompressobj(wbits=zlib.MAX_WBITS | (32 if encoding == "gzip" else 0))
    try:
        plain = decoder.decompress(body, limit + 1)
    except zlib.error:
        raise UnscannableRequest("the compressed body is damaged") from None
    if len(plain) > limit:
        raise RequestTooLarge(f"the body is larger than max_json_bytes ({limit}) when decompressed")
    if not decoder.eof or decoder.unused_data:
        raise UnscannableRequest("the compressed body is cut, or has more behind its end")
    return plain


class _Answer:
    """What goes back on one request: a head once, then bytes, then an end."""

    def __init__(self, send: Sender) -> None:
        self._send = send
        self._started = False
        self._stream = False
        self.call_id = ""

    async def give(self, item: Head | bytes) -> None:
        if isinstance(item, Head):
            self._started = True
            self._stream = header_rules.media_type(item.headers) == "text/event-stream"
            headers = [(k.encode("latin-1"), v.encode("latin-1")) for k, v in item.headers]
            await self._send({"type": "http.response.start", "status": item.status, "headers": headers})
        else:
            await self._send({"type": "http.response.body", "body": item, "more_body": True})

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def json(self, status: int, value: Any, headers: Pairs = ()) -> None:
        body = json.dumps(value).encode()
        pairs = (("content-type", "application/json"), ("content-length", str(len(body))), *headers)
        await self.give(Head(status, pairs))
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    async def error(self, error: LLMGuardError) -> None:
        """A typed error. Where bytes are out already, a stream was ended by the pipeline; other answers are cut, by
        returning without an end: a clean end would make half an answer look whole."""
        if not self._started:
            ours = (("x-llmguard-call", self.call_id),) if self.call_id else ()
            await self.json(error.status, error.body(), (*error.headers(), *ours))
        elif self._stream:
            await self.end()
