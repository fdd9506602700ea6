"""One caller for every way in: the SDK's generation that is installed, sync and async, through proxy and wrapper."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest

import llmguard
from llmguard.guard import Guard
from llmguard.testing import EchoUpstream, LocalGuard

GENERATION = int(openai.__version__.partition(".")[0])
FAMILIES = ["default"] + (["httpx"] if GENERATION >= 3 and importlib.util.find_spec("httpx") else [])
WAYS = [(way, kind, family) for way in ("proxy", "wrapper") for kind in ("sync", "async") for family in FAMILIES]


class Caller:
    """Calls chat completions of one client; the async client runs in a loop of its own."""

    def __init__(self, make: Callable[[], Any], is_async: bool) -> None:
        self._make = make
        self._async = is_async

    def do(self, work: Callable[[Any], Any]) -> Any:
        """``work(client)``, awaited where the client is async."""
        if not self._async:
            with self._make() as client:
                return work(client)

        async def run() -> Any:
            async with self._make() as client:
                return await work(client)

        return asyncio.run(run())

    def chat(self, **asked: Any) -> Any:
        return self.do(lambda client: client.chat.completions.create(model="m", **asked))

    def stream(self, **asked: Any) -> list[Any]:
        def sync(client: Any) -> list[Any]:
            return list(client.chat.completions.create(model="m", stream=True, **asked))

        async def asynchronous(client: Any) -> list[Any]:
            return [c async for c in await client.chat.completions.create(model="m", stream=True, **asked)]

        return self.do(asynchronous if self._async else sync)  # type: ignore[no-any-return]


def _http(family: str, is_async: bool) -> Any:
    if family == "default":
        return None
    import httpx

    return httpx.AsyncClient() if is_async else httpx.Client()


@pytest.fixture(params=WAYS, ids="-".join)
def caller(request: pytest.FixtureRequest, local: LocalGuard, upstream: EchoUpstream) -> Iterator[Caller]:
    way, kind, family = request.param
    is_async = kind == "async"
    cls = openai.AsyncOpenAI if is_async else openai.OpenAI
    if way == "proxy":
        local.person("ann@example.org")
        key = local.key("app", "ann@example.org")
        yield Caller(
            lambda: cls(base_url=local.url, api_key=key, max_retries=0, http_client=_http(family, is_async)), is_async
        )
        return
    with Guard(local.settings) as guard:

        def make() -> Any:
            http = _http(family, is_async)
            client = cls(base_url=upstream.url + "/v1", api_key="own-key", max_retries=0, http_client=http)
            return llmguard.wrap(client, guard)

        yield Caller(make, is_async)
