"""Guarded transports: between an HTTP client of either family (httpx, httpx2) and its ways out.

``around`` copies an HTTP client, with a guarded transport in place of ``_transport`` and of every entry of ``_mounts``
(proxies). Embedded, a transport drives the pipeline and sends the frozen egress through the transport that it stands
around. Remote, it lets nothing through but requests to the guard, paid with the guard's key.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, field
from functools import cache
from types import ModuleType, SimpleNamespace
from typing import Any, cast
from urllib.parse import urlsplit

from llmguard.drivers import adrive, drive
from llmguard.effects import Flow, Head
from llmguard.errors import CallBlocked, ConfigError, LLMGuardError, UpstreamError
from llmguard.guard import Guard
from llmguard.model import Content, Destination, Egress, FormField
from llmguard.payload import coding, multipart
from llmguard.payload import headers as header_rules
from llmguard.payload.headers import CREDENTIALS, Pairs
from llmguard.request import Request
from llmguard.wrapper.refusals import both

ROOT = "llmguard.root"
"""Extension of a request: the root of the API that it goes to, as its client knows it."""
AZURE = "/openai"
"""What Azure's paths stand below."""


@dataclass(frozen=True, slots=True)
class Remote:
    """A guard on another host: its address, without a path, and the ``lg_`` key that it knows the caller by."""

    root: str
    key: str = field(repr=False)

    @classmethod
    def at(cls, url: str, key: str) -> Remote:
        """Raises ConfigError for an address that would be talked to in the clear, and for a key of somebody else."""
        parts = urlsplit(url)
        local = parts.hostname in ("127.0.0.1", "localhost", "::1")
        if not parts.hostname or parts.username or parts.query or parts.fragment:
            raise ConfigError("guard must be the address of a guard, without credentials, query or fragment")
        if parts.scheme != "https" and not (parts.scheme == "http" and local):
            raise ConfigError("a remote guard is reached over https; http is for this host alone")
        if not key.startswith("lg_"):
            raise ConfigError("a remote guard needs an lg_ key: wrap(client, guard=…, key=…) or LLMGUARD_KEY")
        return cls(url.rstrip("/").removesuffix("/v1"), key)


def guard_of(http: Any) -> Any:
    """The guard of an HTTP client all of whose ways out are guarded, else None."""
    guards = [getattr(t, "llmguard", None) for t in (http._transport, *http._mounts.values()) if t]
    return None if None in guards else guards[0]


def around(http: Any, guard: Guard | Remote) -> Any:
    """A guarded copy of an HTTP client. Both are open or closed together; the original object is not changed."""
    family = _family(_module(http))
    cls = cast(Any, _copy_class)(type(http))
    twin = cls.__new__(cls)
    twin.__dict__.update({k: v for k, v in http.__dict__.items() if k != "_state"}, _llmguard_original=http)
    twin._transport = family.transport(http, http._transport, guard)
    twin._mounts = {k: t and family.transport(http, t, guard) for k, t in http._mounts.items()}
    return twin


@cache
def _copy_class(cls: Any) -> Any:
    """``cls`` for copies: the original owns the connections, so they live and end by its state, not by the copy's."""

    def get(self: Any) -> Any:
        return self._llmguard_original._state

    def put(self: Any, value: Any) -> None:
        self._llmguard_original._state = value

    names = {"_state": property(get, put), "__del__": lambda self: None, "__module__": cls.__module__}
    return type(cls.__name__, (cls,), names)


def _module(http: Any) -> ModuleType:
    """httpx or httpx2: the package that the client's class comes from."""
    for cls in type(http).__mro__:
        name = cls.__module__.partition(".")[0]
        if name in ("httpx", "httpx2"):
            return sys.modules[name]
    raise ConfigError(f"the HTTP client {type(http).__name__} is neither of httpx nor of httpx2")


class _Way:
    """A transport that goes on to the network, by this process's own connections: a forked child makes new ones."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._process = os.getpid()

    def __call__(self) -> Any:
        if self._process != os.getpid():
            self._process = os.getpid()
            _leave_connections(self._transport)
        return self._transport


def _leave_connections(transport: Any) -> None:
    """The pool keeps what it was configured with. Inherited connections belong to the parent, who still uses them."""
    pool: Any = getattr(transport, "_pool", None)
    if all(hasattr(pool, name) for name in ("_connections", "_requests", "_optional_thread_lock")):
        own: Any = copy(pool)
        own._connections, own._requests, own._inherited = [], [], pool
        own._optional_thread_lock = type(pool._optional_thread_lock)()
        transport._pool = own


# --------------------------------------------------------------------------- one exchange


def _reader(guard: Guard, request: Any) -> multipart.Reader | None:
    """What reads a form piece by piece, its files into the spool; None for other bodies. Raises UnscannableRequest."""
    media = request.headers.get("content-type", "")
    if header_rules.media_type((("content-type", media),)) != "multipart/form-data":
        return None
    return guard.transfers.reader(guard.settings.tenant, media)


def _form(guard: Guard, request: Any) -> tuple[FormField, ...]:
    """The fields of a form, () for other bodies, which are read."""
    reader = _reader(guard, request)
    if reader is None:
        request.read()
        return ()
    try:
        for piece in request.stream:
            reader.feed(piece)
        return reader.finish()
    except BaseException:
        reader.abort()
        guard.transfers.release(reader.fields)
        raise


async def _aform(guard: Guard, request: Any) -> tuple[FormField, ...]:
    """The same of an async client."""
    reader = _reader(guard, request)
    if reader is None:
        await request.aread()
        return ()
    try:
        async for piece in request.stream:
            reader.feed(piece)
        return reader.finish()
    except BaseException:
        reader.abort()
        guard.transfers.release(reader.fields)
        raise


def _flow(guard: Guard, request: Any, form: tuple[FormField, ...]) -> tuple[Flow, Pairs]:
    """The pipeline's flow of a request, and the credentials that join it at the provider."""
    known = guard.settings.destination
    origin = f"{request.url.scheme}://{request.url.netloc.decode()}"
    url = origin + request.url.raw_path.decode()
    root = next(r for r in (request.extensions.get(ROOT), known.base_url, origin) if r and url.startswith(r + "/"))
    path, _, query = url[len(root) :].partition("?")
    headers = tuple((k.decode("latin-1").lower(), v.decode("latin-1")) for k, v in request.headers.raw)
    destination = known if known.base_url == root else Destination(request.url.host, root)
    credentials = tuple((n, v) for n, v in headers if n in CREDENTIALS)
    account = guard.account(" ".join(v for n, v in credentials if not n.startswith("cookie")))
    body = b"" if form else coding.of_request(request.content, headers, guard.settings.max_json_bytes)
    seen = Request(request.method, path, query, headers, body, form)
    return guard.flow(guard.call(seen, guard.local_principal(), destination, account)), credentials


def _rebuilt(module: Any, request: Any, egress: Egress, credentials: Pairs, *, aio: bool = False) -> Any:
    headers = _bytes([*egress.headers, *credentials, ("accept-encoding", "identity")])
    extensions = {k: v for k, v in request.extensions.items() if k != ROOT}
    content: Any = egress.body
    if not isinstance(egress.body, bytes):
        headers.append((b"content-length", str(len(egress.body)).encode()))
        content = _apieces(egress.body) if aio else egress.body.pieces()
    return module.Request(egress.method, egress.url, headers=headers, content=content, extensions=extensions)


async def _apieces(body: Content) -> AsyncIterator[bytes]:
    for piece in body.pieces():
        yield piece


def _to_guard(remote: Remote, request: Any) -> Any:
    """The request as it goes to a remote guard: the caller's other credentials stay here. Raises CallBlocked."""
    if not str(request.url).startswith((f"{remote.root}/v1/", f"{remote.root}{AZURE}/")):
        raise CallBlocked("this client is wrapped with a remote guard and talks to nobody else; nothing was sent")
    for name in CREDENTIALS:
        request.headers.pop(name, None)
    request.headers["authorization"] = f"Bearer {remote.key}"
    return request


def _bytes(pairs: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """Headers as they stand on the wire: what is no ASCII stays as it was."""
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs]


def _decoded(raw: Iterator[bytes], decoder: coding.Decoder | None) -> Iterator[bytes]:
    """Bounded pieces of an answer, whatever it was packed as. Raises Damaged."""
    for chunk in raw:
        if decoder is None:
            yield chunk
            continue
        decoder.feed(chunk)
        while piece := decoder.next():
            yield piece
    if decoder is not None:
        decoder.finish()


async def _adecoded(raw: AsyncIterator[bytes], decoder: coding.Decoder | None) -> AsyncIterator[bytes]:
    """The same of an async answer."""
    async for chunk in raw:
        if decoder is None:
            yield chunk
            continue
        decoder.feed(chunk)
        while piece := decoder.next():
            yield piece
    if decoder is not None:
        decoder.finish()


def _lost(module: Any, error: Any) -> UpstreamError:
    """A transport's error as ours; the caller of the SDK gets the transport's own back (``__cause__``)."""
    unsent = (module.ConnectError, module.ConnectTimeout, module.PoolTimeout, module.UnsupportedProtocol)
    ours = UpstreamError(f"the provider broke off ({type(error).__name__})", sent=not isinstance(error, unsent))
    ours.__cause__ = error
    return ours


def _answered(module: Any, error: LLMGuardError) -> Any:
    """The HTTP answer of a refusal. A failure of the transport is raised instead, for the SDK to handle as its own."""
    if isinstance(error.__cause__, module.RequestError):
        raise error.__cause__
    return module.Response(error.status, headers=list(error.headers()), json=error.body())


def _broken(module: Any, error: LLMGuardError) -> Exception:
    """What ends an answer that has begun."""
    if isinstance(error.__cause__, module.RequestError):
        return cast(Exception, error.__cause__)
    import openai

    return cast(Exception, both(type(error), openai.OpenAIError)(error.message))


@cache
def _family(module: ModuleType) -> SimpleNamespace:  # noqa: C901  small classes that need the module's bases
    """Transport classes on the bases of ``module`` (httpx or httpx2): sync and async share no base there."""
    m: Any = module

    class SyncUpstream:
        def __init__(self, inner: Any, request: Any, credentials: Pairs) -> None:
            self._inner, self._request, self._credentials = inner, request, credentials
            self._response: Any = None
            self._chunks: Iterator[bytes] = iter(())

        def send(self, egress: Egress) -> Head:
            try:
                self._response = self._inner.handle_request(_rebuilt(m, self._request, egress, self._credentials))
            except m.TransportError as e:
                raise _lost(m, e) from e
            head = header_rules.received(self._response.status_code, self._response.headers.raw)
            self._chunks = _decoded(self._response.iter_raw(), coding.of_answer(head.headers))
            return head

        def next_chunk(self) -> bytes | None:
            try:
                return next(self._chunks, None)
            except m.RequestError as e:
                raise _lost(m, e) from e
            except coding.Damaged:
                raise UpstreamError("the provider's compressed answer is damaged or cut") from None

        def close(self) -> None:
            if self._response is not None:
                self._response.close()

    class AsyncUpstream:
        def __init__(self, inner: Any, request: Any, credentials: Pairs) -> None:
            self._inner, self._request, self._credentials = inner, request, credentials
            self._response: Any = None
            self._chunks: Any = None

        async def send(self, egress: Egress) -> Head:
            rebuilt = _rebuilt(m, self._request, egress, self._credentials, aio=True)
            try:
                self._response = await self._inner.handle_async_request(rebuilt)
            except m.TransportError as e:
                raise _lost(m, e) from e
            head = header_rules.received(self._response.status_code, self._response.headers.raw)
            self._chunks = _adecoded(self._response.aiter_raw(), coding.of_answer(head.headers))
            return head

        async def next_chunk(self) -> bytes | None:
            try:
                return await anext(self._chunks, None)
            except m.RequestError as e:
                raise _lost(m, e) from e
            except coding.Damaged:
                raise UpstreamError("the provider's compressed answer is damaged or cut") from None

        async def close(self) -> None:
            if self._response is not None:
                await self._response.aclose()

    class SyncStream(m.SyncByteStream):  # type: ignore[misc]
        def __init__(self, items: Any, upstream: SyncUpstream) -> None:
            self._items, self._upstream = items, upstream

        def __iter__(self) -> Iterator[bytes]:
            try:
                yield from self._items
            except LLMGuardError as e:
                raise _broken(m, e) from None

        def close(self) -> None:
            with suppress(LLMGuardError):  # the outcome is in the log; the caller is done with the answer
                self._items.close()
            self._upstream.close()

    class AsyncStream(m.AsyncByteStream):  # type: ignore[misc]
        def __init__(self, items: Any, upstream: AsyncUpstream) -> None:
            self._items, self._upstream = items, upstream

        async def __aiter__(self) -> AsyncIterator[bytes]:
            try:
                async for item in self._items:
                    yield item
            except LLMGuardError as e:
                raise _broken(m, e) from None

        async def aclose(self) -> None:
            with suppress(LLMGuardError):
                await self._items.aclose()
            await self._upstream.close()

    class SyncTransport(m.BaseTransport):  # type: ignore[misc]
        def __init__(self, inner: Any, guard: Guard | Remote) -> None:
            self._inner, self.llmguard = _Way(inner), guard

        def handle_request(self, request: Any) -> Any:
            try:
                if isinstance(self.llmguard, Remote):
                    return self._inner().handle_request(_to_guard(self.llmguard, request))
                return self._guarded(self.llmguard, request)
            except LLMGuardError as e:
                return _answered(m, e)

        def _guarded(self, guard: Guard, request: Any) -> Any:
            flow, credentials = _flow(guard, request, _form(guard, request))
            upstream = SyncUpstream(self._inner(), request, credentials)
            items = drive(guard, flow, upstream)
            try:
                head: Any = next(items)
            except BaseException:
                upstream.close()
                raise
            return m.Response(head.status, headers=_bytes(head.headers), stream=SyncStream(items, upstream))

        def close(self) -> None:
            self._inner().close()

    class AsyncTransport(m.AsyncBaseTransport):  # type: ignore[misc]
        def __init__(self, inner: Any, guard: Guard | Remote) -> None:
            self._inner, self.llmguard = _Way(inner), guard

        async def handle_async_request(self, request: Any) -> Any:
            try:
                if isinstance(self.llmguard, Remote):
                    return await self._inner().handle_async_request(_to_guard(self.llmguard, request))
                return await self._guarded(self.llmguard, request)
            except LLMGuardError as e:
                return _answered(m, e)

        async def _guarded(self, guard: Guard, request: Any) -> Any:
            flow, credentials = _flow(guard, request, await _aform(guard, request))
            upstream = AsyncUpstream(self._inner(), request, credentials)
            items = adrive(guard, flow, upstream)
            try:
                head: Any = await anext(items)
            except BaseException:
                await upstream.close()
                raise
            return m.Response(head.status, headers=_bytes(head.headers), stream=AsyncStream(items, upstream))

        async def aclose(self) -> None:
            await self._inner().aclose()

    def transport(http: Any, inner: Any, guard: Guard | Remote) -> Any:
        return (AsyncTransport if isinstance(http, m.AsyncClient) else SyncTransport)(inner, guard)

    return SimpleNamespace(transport=transport)
