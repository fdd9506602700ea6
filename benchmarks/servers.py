"""The two other servers of the proxy benchmark, each in a process of its own: ``upstream PORT``, ``bare PORT URL``.

``upstream`` answers chat calls with what the last message said, as one body or as a stream of ``EVENTS`` events.
``bare`` forwards bytes with the same parts that the guard uses (uvicorn, aiohttp) and looks at nothing.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import uvicorn
import yarl
from aiohttp import web

EVENTS = 500
_DROPPED = {b"host", b"content-length", b"transfer-encoding", b"connection", b"date", b"server"}


def upstream(port: int) -> None:
    """Runs until it is killed."""
    app = web.Application(client_max_size=1 << 26)
    app.router.add_post("/v1/chat/completions", _answer)
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=None)


async def _answer(request: web.Request) -> web.StreamResponse:
    asked = json.loads(await request.read())
    said = asked["messages"][-1]["content"]
    if not asked.get("stream"):
        return web.json_response(_completion("chat.completion", {"message": {"role": "assistant", "content": said}}))
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    response.enable_chunked_encoding()
    await response.prepare(request)
    for i in range(EVENTS):
        event = _completion("chat.completion.chunk", {"delta": {"content": said[i * 4 : i * 4 + 4]}})
        await response.write(b"data: " + json.dumps(event).encode() + b"\n\n")
        await asyncio.sleep(0)
    await response.write(b"data: [DONE]\n\n")
    return response


def _completion(kind: str, choice: dict[str, Any]) -> dict[str, Any]:
    choice = {"index": 0, "finish_reason": None, **choice}
    return {"id": "chatcmpl-1", "object": kind, "created": 1, "model": "echo", "choices": [choice]}


class Bare:
    """An ASGI application that forwards."""

    def __init__(self, base: str) -> None:
        self._base = base
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        assert self._session is not None
        body = b"".join([piece async for piece in _pieces(receive)])
        headers = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in scope["headers"] if k not in _DROPPED]
        url = yarl.URL(self._base + scope["raw_path"].decode(), encoded=True)
        async with self._session.request(scope["method"], url, headers=headers, data=body) as answer:
            kept = [(k, v) for k, v in answer.raw_headers if k.lower() not in _DROPPED]
            await send({"type": "http.response.start", "status": answer.status, "headers": kept})
            async for chunk in answer.content.iter_any():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})

    async def _lifespan(self, receive: Any, send: Any) -> None:
        await receive()
        self._session = aiohttp.ClientSession(
            auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar(), connector=aiohttp.TCPConnector(limit=0)
        )
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._session.close()
        await send({"type": "lifespan.shutdown.complete"})


async def _pieces(receive: Any) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        yield message.get("body", b"")
        if not message.get("more_body"):
            return


def bare(port: int, base: str) -> None:
    """Runs until it is killed."""
    uvicorn.run(Bare(base), host="127.0.0.1", port=port, log_level="error", server_header=False, date_header=False)


if __name__ == "__main__":
    if sys.argv[1] == "upstream":
        upstream(int(sys.argv[2]))
    else:
        bare(int(sys.argv[2]), sys.argv[3])
