"""The data plane: the OpenAI API as a thin ASGI application.

It authenticates, reads one bounded body, makes a Call, and hands the answer of the pipeline back as it comes. Errors
are OpenAI-shaped. A caller that hangs up cancels the call; the pipeline still records its outcome.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import aclosing
from typing import Any

import aiohttp

from llmguard import identity
from llmguard.drivers import adrive
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
from llmguard.guard import Guard
from llmguard.identity import tokens
from llmguard.identity.jose import KeyWanted
from llmguard.model import FormField, Principal
from llmguard.payload import coding
from llmguard.payload import headers as header_rules
from llmguard.payload.headers import Pairs
from llmguard.proxy.gate import LOOPBACK, host_allowed, origin_allowed
from llmguard.proxy.upstream import AiohttpUpstream
from llmguard.request import Request

log = logging.getLogger("llmguard")
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Sender = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ROOT = "/v1"
AZURE_ROOT = "/openai"
_ONCE = ("host", "authorization", "api-key", "content-type", "content-length")
"""Headers of which two would mean two things."""


class _HungUp(Exception):
    """The caller went away before its request was complete."""


class DataPlane:
    """``await plane(scope, receive, send)``. ``http`` is the pool of connections to the provider."""

    def __init__(self, guard: Guard, http: aiohttp.ClientSession) -> None:
        self._guard = guard
        self._http = http
        self._tokens = tokens.Tokens(guard.settings.issuers, guard.settings.jwks_max_age)

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
        names = [name for name, _ in headers]
        if any(names.count(name) > 1 for name in _ONCE):
            raise UnscannableRequest(f"each of {', '.join(_ONCE)} is sent once")
        self._gate(first)
        path: str = scope["raw_path"].decode("latin-1") if scope.get("raw_path") else scope["path"]
        if path in ("/healthz", "/readyz"):
            ready = path == "/healthz" or self._guard.scanner.ready
            await answer.json(200 if ready else 503, {"status": "ok" if ready else "names are loading"})
            return
        principal, credential = await self._authenticated(first)
        path = _below_the_root(path, self._guard.settings.azure)
        query = scope["query_string"].decode("latin-1")
        if header_rules.media_type(headers) == "multipart/form-data":
            fields = await self._read_form(receive, headers, first["content-type"], principal.tenant)
            request = Request(scope["method"], path, query, headers, b"", fields)
        else:
            body = await _read(receive, headers, self._guard.settings.max_json_bytes)
            request = Request(scope["method"], path, query, headers, body)
        try:
            await self._forward(request, principal, credential, receive, answer)
        finally:
            self._guard.transfers.release(request.form)

    async def _read_form(
        self, receive: Receive, headers: Pairs, content_type: str, tenant: str
    ) -> tuple[FormField, ...]:
        """A multipart body, its files into the spool. Raises UnscannableRequest, RequestTooLarge, GuardUnavailable."""
        limit = self._guard.settings.max_upload_bytes + coding.PIECE
        declared = dict(headers).get("content-length", "")
        if declared.isdigit() and int(declared) > limit:
            raise RequestTooLarge(f"the body is larger than max_upload_bytes ({self._guard.settings.max_upload_bytes})")
        reader = self._guard.transfers.reader(tenant, content_type)
        decoder = coding.of_upload(headers)
        try:
            async for piece in _received(receive):
                for plain in coding.unpacked(decoder, piece):
                    reader.feed(plain)
            coding.ended(decoder)
            return reader.finish()
        except BaseException:
            reader.abort()
            self._guard.transfers.release(reader.fields)
            raise

    def _gate(self, headers: dict[str, str]) -> None:
        host = headers.get("host", "")
        if not host_allowed(host, self._guard.settings.allowed_hosts):
            raise CallBlocked("unknown Host; add the name that callers use to allowed_hosts")
        if not origin_allowed(headers.get("origin"), host):
            raise CallBlocked("requests from web pages are refused")

    async def _authenticated(self, headers: dict[str, str]) -> tuple[Principal, str]:
        """The principal, and the provider's key that pays for its call."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        token = token.strip() if scheme.lower() == "bearer" else headers.get("api-key", "")
        if not token:
            raise Unauthenticated("send an lg_ key as the API key; make one with: llmguard keys add NAME")
        settings = self._guard.settings
        if self._tokens.takes(token):
            principal = await self._by_token(token)
        elif settings.pass_through and not token.startswith((identity.KEY_PREFIX, identity.SESSION_PREFIX)):
            return self._passed_through(token), token
        else:
            principal = self._guard.store.read(lambda tx: identity.authenticate(tx, self._guard.vault, token))
        if not settings.upstream_key:
            raise NoProviderKey(
                "the guard has no provider key; set LLMGUARD_UPSTREAM_KEY, or start with --pass-through"
            )
        return principal, settings.upstream_key

    async def _by_token(self, token: str) -> Principal:
        """A service or agent with an access token. Its issuer's keys are fetched beside the event loop."""
        guard = self._guard
        try:
            bearer = self._tokens.verified(token, guard.now())
        except KeyWanted as wanted:
            await asyncio.wrap_future(wanted.keys.refresh())
            try:
                bearer = self._tokens.verified(token, guard.now())
            except KeyWanted:
                raise wanted.refusal() from None
        return guard.store.read(lambda tx: tokens.principal(tx, guard.vault, guard.settings.tenant, bearer))

    def _passed_through(self, token: str) -> Principal:
        """A caller known by its own provider key: linked to somebody, else a tenant of its own, on loopback only."""
        principal = self._guard.store.read(lambda tx: identity.passed_through(tx, self._guard.vault, token))
        digest = identity.unlinked(principal.tenant)
        if digest and self._guard.settings.host not in LOOPBACK:
            raise Unauthenticated(
                f"nobody is accountable for this provider key: llmguard keys link {digest} --human EMAIL"
            )
        return principal

    async def _forward(
        self, request: Request, principal: Principal, credential: str, receive: Receive, answer: _Answer
    ) -> None:
        guard = self._guard
        call = guard.call(request, principal, guard.settings.destination, guard.account(credential))
        answer.call_id = call.id
        upstream = AiohttpUpstream(self._http, (self._payment(credential, request.headers),))

        async def exchange() -> None:
            try:
                async with aclosing(adrive(guard, guard.flow(call), upstream)) as items:  # type: ignore[type-var]
                    async for item in items:
                        await answer.give(item)
                await answer.end()
            finally:
                upstream.close()

        await _until_gone(exchange, receive)

    def _payment(self, credential: str, headers: Pairs) -> tuple[str, str]:
        """The header that pays. Azure has its own for keys; tokens of Entra ID, which callers bring, are bearers."""
        brought = any(name == "authorization" and value.endswith(credential) for name, value in headers)
        if self._guard.settings.azure and not brought:
            return "api-key", credential
        return "authorization", f"Bearer {credential}"


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


def _below_the_root(path: str, azure: bool) -> str:
    """A path as it stands below the provider's root. Raises CallBlocked."""
    if path.startswith(f"{ROOT}/"):
        return path if azure else path.removeprefix(ROOT)  # Azure has the same API below /openai/v1
    if not path.startswith(f"{AZURE_ROOT}/"):
        raise CallBlocked("the guard serves the OpenAI API below /v1, and Azure's below /openai, only")
    if not azure:
        raise CallBlocked("these are Azure's paths: set upstream to https://NAME.openai.azure.com/openai")
    return path.removeprefix(AZURE_ROOT)


async def _received(receive: Receive) -> AsyncIterator[bytes]:
    """The pieces of a body as they arrive. Raises _HungUp."""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _HungUp
        if piece := message.get("body", b""):
            yield piece
        if not message.get("more_body"):
            return


async def _read(receive: Receive, headers: Pairs, limit: int) -> bytes:
    """The whole body, content-decoded. Raises RequestTooLarge, UnscannableRequest."""
    declared = dict(headers).get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise RequestTooLarge(f"the body is larger than max_json_bytes ({limit})")
    pieces: list[bytes] = []
    size = 0
    async for piece in _received(receive):
        pieces.append(piece)
        size += len(piece)
        if size > limit:
            raise RequestTooLarge(f"the body is larger than max_json_bytes ({limit})")
    return coding.of_request(b"".join(pieces), headers, limit)


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
