"""The other servers of the benchmarks, each a process of its own: ``upstream PORT``, ``bare PORT URL``, ``files PORT``.

``upstream`` answers chat calls with what the last message said, as one body or as a stream of ``EVENTS`` events.
``bare`` forwards bytes with the same parts that the guard uses (uvicorn, aiohttp) and looks at nothing.
``files`` takes files, at once and in parts, counts their bytes and keeps none.
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


def files(port: int) -> None:
    """Runs until it is killed."""
    app = web.Application(client_max_size=1 << 40)
    app["sizes"] = {}
    app.router.add_post("/v1/chat/completions", _answer)
    app.router.add_post("/v1/files", _file)
    app.router.add_post("/v1/uploads", _upload)
    app.router.add_post("/v1/uploads/{id}/parts", _part)
    app.router.add_post("/v1/uploads/{id}/complete", _complete)
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=None)


async def _counted(request: web.Request) -> int:
    """Bytes of the file of a form."""
    size = 0
    async for part in await request.multipart():
        while piece := await part.read_chunk(1 << 18):  # type: ignore[union-attr]
            size += len(piece) if part.filename is not None else 0
    return size


def _told(size: int) -> dict[str, Any]:
    told = {"id": f"file-{size}", "object": "file", "bytes": size, "created_at": 1, "filename": "x.jsonl"}
    return {**told, "purpose": "user_data", "status": "processed"}


async def _file(request: web.Request) -> web.StreamResponse:
    return web.json_response(_told(await _counted(request)))


async def _upload(request: web.Request) -> web.StreamResponse:
    asked = await request.json()
    return web.json_response({**asked, "id": "upload_1", "object": "upload", "status": "pending", "created_at": 1})


async def _part(request: web.Request) -> web.StreamResponse:
    sizes = request.app["sizes"]
    id_ = f"part_{len(sizes)}"
    sizes[id_] = await _counted(request)
    return web.json_response({"id": id_, "object": "upload.part", "upload_id": "upload_1", "created_at": 1})


async def _complete(request: web.Request) -> web.StreamResponse:
    size = sum(request.app["sizes"][id_] for id_ in (await request.json())["part_ids"])
    told = {"id": "upload_1", "object": "upload", "bytes": size, "created_at": 1, "expires_at": 2, "filename": "x"}
    return web.json_response({**told, "purpose": "user_data", "status": "completed", "file": _told(size)})


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
    elif sys.argv[1] == "files":
        files(int(sys.argv[2]))
    else:
        bare(int(sys.argv[2]), sys.argv[3])
