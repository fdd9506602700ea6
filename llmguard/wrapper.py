"""``wrap(client)``: an OpenAI client whose every request goes through the guard, in this process.

The wrapped client is a copy of the original's class: a transport in the client's own family (httpx or httpx2) stands
around every way out, ``_transport`` and ``_mounts``. The subclass guards again in ``__init__``, so that
``with_options(http_client=…)`` cannot drop the guard. The original stays untouched and keeps its connections.

Refusals are raised as types that are both ours and the SDK's (``ApprovalPending`` is an ``openai.ConflictError``).
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from functools import cache
from types import ModuleType, SimpleNamespace
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

from llmguard.errors import ConfigError, LLMGuardError, UpstreamError
from llmguard.guard import Guard, Request, adrive, drive
from llmguard.model import Destination, Egress
from llmguard.payload.headers import CREDENTIALS, Pairs
from llmguard.pipeline import Flow, Head

Client = TypeVar("Client")


def wrap(client: Client, guard: Guard | None = None) -> Client:
    """A guarded copy of an ``openai.OpenAI`` or ``AsyncOpenAI`` client. Raises ConfigError for anything else.

    ``guard`` defaults to one with the user's configuration that all wrapped clients of the process share.
    """
    import openai

    if not isinstance(client, openai.OpenAI | openai.AsyncOpenAI):
        raise ConfigError("wrap() takes an openai.OpenAI or openai.AsyncOpenAI client")
    guarded = client.copy(http_client=_around(client, guard or _shared_guard()))
    guarded.__class__ = cast(Any, _guarded_class)(type(client))
    guarded._llmguard_original = client  # type: ignore[union-attr]  # the original owns the connections
    return guarded  # type: ignore[return-value]


@cache
def _shared_guard() -> Guard:
    return Guard()


@cache
def _guarded_class(cls: Any) -> Any:
    """A subclass whose every instance is guarded, however the SDK makes it."""

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        cls.__init__(self, *args, **kwargs)
        if not _is_guarded(self._client):
            self._client = _around(self, _shared_guard())

    return type(f"Guarded{cls.__name__}", (cls,), {"__init__": __init__, "__module__": cls.__module__})


def _is_guarded(http: Any) -> bool:
    return all(getattr(t, "llmguard", None) is not None for t in (http._transport, *http._mounts.values()) if t)


def _around(client: Any, guard: Guard) -> Any:
    """A copy of the client's HTTP client with every transport guarded; the original object is not changed."""
    http = client._client
    family = _family(_module(http))
    root = str(client.base_url).rstrip("/")
    base: Any = next(c for c in type(http).__mro__ if c.__module__.partition(".")[0] == family.module.__name__)
    copy = base.__new__(base)  # the plain class: the SDK's subclass closes its connections when it is collected
    copy.__dict__.update(http.__dict__)
    copy._transport = family.transport(http._transport, guard, root)
    copy._mounts = {k: t and family.transport(t, guard, root) for k, t in http._mounts.items()}
    copy._llmguard_keeps = http
    return copy


def _module(http: Any) -> ModuleType:
    """httpx or httpx2: the package that the client's class comes from."""
    for cls in type(http).__mro__:
        name = cls.__module__.partition(".")[0]
        if name in ("httpx", "httpx2"):
            return sys.modules[name]
    raise ConfigError(f"the HTTP client {type(http).__name__} is neither of httpx nor of httpx2")


# --------------------------------------------------------------------------- one exchange


def _request(request: Any, root: str) -> tuple[Request, str]:
    """The request as the guard reads it, and the root of the API that it goes to."""
    url = f"{request.url.scheme}://{request.url.netloc.decode()}{request.url.raw_path.decode()}"
    if not url.startswith(root + "/"):
        root = f"{request.url.scheme}://{request.url.netloc.decode()}"
    path, _, query = url[len(root) :].partition("?")
    pairs = tuple((k.decode("latin-1").lower(), v.decode("latin-1")) for k, v in request.headers.raw)
    return Request(request.method, path, query, pairs, request.content), root


def _flow(guard: Guard, request: Any, root: str) -> tuple[Flow, Pairs]:
    """The pipeline's flow of a request, and the credentials that join it at the provider."""
    seen, root = _request(request, root)
    known = guard.settings.destination
    destination = known if known.base_url == root else Destination(urlsplit(root).hostname or "", root)
    credentials = tuple((n, v) for n, v in seen.headers if n in CREDENTIALS)
    account = guard.account(" ".join(v for n, v in credentials if not n.startswith("cookie")))
    return guard.flow(guard.call(seen, guard.local_principal(), destination, account)), credentials


def _rebuilt(module: Any, request: Any, egress: Egress, credentials: Pairs) -> Any:
    headers = [*egress.headers, *credentials, ("accept-encoding", "identity")]
    return module.Request(
        egress.method, egress.url, headers=headers, content=egress.body, extensions=request.extensions
    )


def _lost(module: Any, error: Any) -> UpstreamError:
    """A transport's error as ours; the caller of the SDK gets the transport's own back (``__cause__``)."""
    unsent = (module.ConnectError, module.ConnectTimeout, module.PoolTimeout, module.UnsupportedProtocol)
    ours = UpstreamError(f"the provider broke off ({type(error).__name__})", sent=not isinstance(error, unsent))
    ours.__cause__ = error
    return ours


def _raised(module: Any, error: LLMGuardError, request: Any) -> Exception:
    """What the SDK is to see of an error: the transport's own, or one that is both ours and the SDK's."""
    if error.__cause__ is not None and isinstance(error.__cause__, module.TransportError):
        return cast(Exception, error.__cause__)
    import openai

    by_status: dict[int, type[openai.APIStatusError]] = {
        400: openai.BadRequestError,
        401: openai.AuthenticationError,
        403: openai.PermissionDeniedError,
        409: openai.ConflictError,
    }
    theirs = by_status.get(error.status, openai.InternalServerError if error.status >= 500 else openai.APIStatusError)
    make: Any = _both
    cls = make(type(error), theirs)
    response = module.Response(error.status, headers=list(error.headers()), json=error.body(), request=request)
    both: Any = cls.__new__(cls)
    theirs.__init__(both, error.message, response=response, body=error.body()["error"])
    both.__dict__.update(error.__dict__)
    return both  # type: ignore[no-any-return]


@cache
def _both(ours: Any, theirs: Any) -> Any:
    return type(ours.__name__, (ours, theirs), {"__module__": ours.__module__})


@cache
def _family(module: ModuleType) -> SimpleNamespace:  # noqa: C901  four small classes that need the module's bases
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
            self._chunks = self._response.iter_bytes()
            return Head(self._response.status_code, tuple(self._response.headers.multi_items()))

        def next_chunk(self) -> bytes | None:
            try:
                return next(self._chunks, None)
            except (m.TransportError, m.DecodingError) as e:
                raise _lost(m, e) from e

        def close(self) -> None:
            if self._response is not None:
                self._response.close()

    class AsyncUpstream:
        def __init__(self, inner: Any, request: Any, credentials: Pairs) -> None:
            self._inner, self._request, self._credentials = inner, request, credentials
            self._response: Any = None
            self._chunks: Any = None

        async def send(self, egress: Egress) -> Head:
            rebuilt = _rebuilt(m, self._request, egress, self._credentials)
            try:
                self._response = await self._inner.handle_async_request(rebuilt)
            except m.TransportError as e:
                raise _lost(m, e) from e
            self._chunks = self._response.aiter_bytes()
            return Head(self._response.status_code, tuple(self._response.headers.multi_items()))

        async def next_chunk(self) -> bytes | None:
            try:
                return await anext(self._chunks, None)
            except (m.TransportError, m.DecodingError) as e:
                raise _lost(m, e) from e

        async def close(self) -> None:
            if self._response is not None:
                await self._response.aclose()

    class SyncStream(m.SyncByteStream):  # type: ignore[misc]
        def __init__(self, items: Any, upstream: SyncUpstream, request: Any) -> None:
            self._items, self._upstream, self._request = items, upstream, request

        def __iter__(self) -> Iterator[bytes]:
            try:
                yield from self._items
            except LLMGuardError as e:
                raise _raised(m, e, self._request) from None

        def close(self) -> None:
            self._items.close()
            self._upstream.close()

    class AsyncStream(m.AsyncByteStream):  # type: ignore[misc]
        def __init__(self, items: Any, upstream: AsyncUpstream, request: Any) -> None:
            self._items, self._upstream, self._request = items, upstream, request

        async def __aiter__(self) -> AsyncIterator[bytes]:
            try:
                async for item in self._items:
                    yield item
            except LLMGuardError as e:
                raise _raised(m, e, self._request) from None

        async def aclose(self) -> None:
            await self._items.aclose()
            await self._upstream.close()

    class SyncTransport(m.BaseTransport):  # type: ignore[misc]
        def __init__(self, inner: Any, guard: Guard, root: str) -> None:
            self._inner, self.llmguard, self._root = inner, guard, root

        def handle_request(self, request: Any) -> Any:
            request.read()
            upstream = None
            try:
                flow, credentials = _flow(self.llmguard, request, self._root)
                upstream = SyncUpstream(self._inner, request, credentials)
                items = drive(self.llmguard, flow, upstream)
                head: Any = next(items)
            except LLMGuardError as e:
                if upstream:
                    upstream.close()
                raise _raised(m, e, request) from None
            return m.Response(head.status, headers=list(head.headers), stream=SyncStream(items, upstream, request))

        def close(self) -> None:
            self._inner.close()

    class AsyncTransport(m.AsyncBaseTransport):  # type: ignore[misc]
        def __init__(self, inner: Any, guard: Guard, root: str) -> None:
            self._inner, self.llmguard, self._root = inner, guard, root

        async def handle_async_request(self, request: Any) -> Any:
            await request.aread()
            upstream = None
            try:
                flow, credentials = _flow(self.llmguard, request, self._root)
                upstream = AsyncUpstream(self._inner, request, credentials)
                items = adrive(self.llmguard, flow, upstream)
                head: Any = await anext(items)
            except LLMGuardError as e:
                if upstream:
                    await upstream.close()
                raise _raised(m, e, request) from None
            return m.Response(head.status, headers=list(head.headers), stream=AsyncStream(items, upstream, request))

        async def aclose(self) -> None:
            await self._inner.aclose()

    def transport(inner: Any, guard: Guard, root: str) -> Any:
        if getattr(inner, "llmguard", None) is not None:
            return inner
        return (SyncTransport if isinstance(inner, m.BaseTransport) else AsyncTransport)(inner, guard, root)

    return SimpleNamespace(module=module, transport=transport)
