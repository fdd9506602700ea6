"""Front: what answers on a socket while the plane behind it is not open yet, and what ends a plane's failure.

An exception that a plane lets out ends here, by its type alone: its text, and the lines of its traceback, may hold what
somebody wrote. The server answers 500 if nothing was answered yet.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from llmguard.errors import GuardUnavailable

log = logging.getLogger("llmguard")
Scope = MutableMapping[str, Any]
Plane = Callable[[Scope, Any, Any], Awaitable[None]]


class Front:
    """An ASGI application that stands before its ``plane`` while that is not open."""

    plane: Plane | None = None

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if self.plane is not None:
            try:
                await self.plane(scope, receive, send)
            except Exception as e:  # noqa: BLE001  the edge of the process
                log.error("a plane failed: %s", type(e).__name__)
            return
        error = GuardUnavailable("the guard is starting; try again in a second")
        healthy = scope["type"] == "http" and scope["path"] == "/healthz"
        body = json.dumps({"status": "ok"} if healthy else error.body()).encode()
        pairs = [("content-type", "application/json"), ("content-length", str(len(body)))]
        pairs += [] if healthy else error.headers()
        headers = [(name.encode(), value.encode()) for name, value in pairs]
        status = 200 if healthy else error.status
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
