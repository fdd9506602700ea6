"""Callers: one for every way in, and what they may not let through."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import re
from collections.abc import Callable
from typing import Any

import openai

from llmguard.testing import EchoUpstream, Received

GENERATION = int(openai.__version__.partition(".")[0])
FAMILIES = ["default"] + (["httpx"] if GENERATION >= 3 and importlib.util.find_spec("httpx") else [])
WAYS = [("proxy", kind, "default") for kind in ("sync", "async")] + [
    (way, kind, family) for way in ("embedded", "remote") for kind in ("sync", "async") for family in FAMILIES
]
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}


class Caller:
    """One client. An async one lives in a loop of its own; ``do`` awaits where that is needed."""

    def __init__(self, make: Callable[[Any], Any], is_async: bool, family: str = "default") -> None:
        self.is_async = is_async
        self._runner = asyncio.Runner() if is_async else None
        self.client = self.do(lambda _: make(_http(family, is_async)))

    def do(self, work: Callable[[Any], Any]) -> Any:
        """``work(client)``, awaited where it has to be."""
        if self._runner is None:
            return work(getattr(self, "client", None))

        async def run() -> Any:
            result = work(getattr(self, "client", None))
            return await result if hasattr(result, "__await__") else result

        return self._runner.run(run())

    def close(self) -> None:
        self.do(lambda client: client.close())
        if self._runner:
            self._runner.close()

    def chat(self, **asked: Any) -> Any:
        return self.do(lambda client: client.chat.completions.create(model="m", **asked))

    def items(self, work: Callable[[Any], Any]) -> list[Any]:
        """Everything of a stream or of all pages that ``work(client)`` gives."""
        if not self.is_async:
            return list(work(self.client))

        async def collect() -> list[Any]:
            stream = work(self.client)
            return [item async for item in (await stream if hasattr(stream, "__await__") else stream)]

        return self.do(lambda _: collect())  # type: ignore[no-any-return]

    def stream(self, **asked: Any) -> list[Any]:
        return self.items(lambda client: client.chat.completions.create(model="m", stream=True, **asked))


def _http(family: str, is_async: bool) -> Any:
    if family == "default":
        return None
    import httpx

    return httpx.AsyncClient() if is_async else httpx.Client()


def user(content: Any) -> list[Any]:
    return [{"role": "user", "content": content}]


def nothing_of(values: list[str], upstream: EchoUpstream) -> None:
    """No request that the provider received holds a value, plain or JSON-escaped, in body, path or headers."""
    assert upstream.received
    for received in upstream.received:
        _nothing_in(values, received)


def _nothing_in(values: list[str], received: Received) -> None:
    everything = received.body.decode() + received.path + repr(received.headers)
    unescaped = re.sub(r"\\u([0-9a-fA-F]{4})", lambda m: chr(int(m[1], 16)), everything)
    for value in values:
        for form in (value, json.dumps(value)[1:-1], json.dumps(json.dumps(value)[1:-1])[1:-1]):
            assert form not in everything
            assert form not in unescaped
