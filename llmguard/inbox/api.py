"""Api: the control plane's endpoints as the person of a session, asked in process by way of ASGI.

It owns how a request is put together and what a refusal (RFC 9457) becomes here. It never sees the store, and adds no
right: host and address are those of the browser that asked, so that the plane's doors and limits hold as for anybody.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.types import ASGIApp, Message

BASE = "/guard/v1"
BACKGROUND = (b"x-llmguard-background", b"1")
"""Marks a look that nobody asked for, such as the next long poll: it does not keep an idle session alive."""


class Problem(Exception):  # the name of RFC 9457
    """The API refused. ``detail`` is written for people, and holds no original text."""

    def __init__(self, status: int, code: str, detail: str, *, approval: str = "", retry_after: int = 0) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.approval = approval
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Answer:
    """What an endpoint said. Header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    def json(self) -> Any:
        return json.loads(self.body) if self.body else None

    @property
    def etag(self) -> str:
        return self.headers.get("etag", "")


class Api:
    """The endpoints, as the person of ``token``, for the browser of ``request``. Without a token, the open ones."""

    def __init__(self, app: ASGIApp, request: Request, token: str = "", *, background: bool = False) -> None:
        self._app = app
        self._request = request
        self._token = token
        self._background = background

    async def get(self, path: str, /, **query: str | int | None) -> Any:
        """The JSON at a path below ``/guard/v1``; parameters that are None or "" are left out. Raises Problem."""
        return (await self.call("GET", path, query=query)).json()

    async def post(
        self, path: str, body: Mapping[str, Any] | None = None, /, *, version: int | None = None, once: str = ""
    ) -> Any:
        """Acts. ``version``: only on this one (``If-Match``). ``once``: an ``Idempotency-Key``. Raises Problem."""
        headers = [("content-type", "application/json")]
        headers += [("if-match", f'"{version}"')] if version is not None else []
        headers += [("idempotency-key", once)] if once else []
        return (await self.call("POST", path, json.dumps(body or {}).encode(), headers=headers)).json()

    async def call(
        self,
        method: str,
        path: str,
        /,
        content: bytes = b"",
        *,
        query: Mapping[str, str | int | None] | None = None,
        headers: list[tuple[str, str]] | None = None,
    ) -> Answer:
        """One request. Raises Problem for everything from 400 on; 304 is an answer."""
        asked = urlencode({name: value for name, value in (query or {}).items() if value not in (None, "")})
        answer = await self._through(self._scope(method, BASE + path, asked, headers or []), content)
        if answer.status < 400:
            return answer
        raise _problem(answer)

    def _scope(self, method: str, path: str, query: str, headers: list[tuple[str, str]]) -> dict[str, Any]:
        pairs = [(b"host", self._request.headers.get("host", "").encode("latin-1"))]
        pairs += [(b"authorization", f"Bearer {self._token}".encode("latin-1"))] if self._token else []
        pairs += [BACKGROUND] if self._background else []
        pairs += [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        outer = self._request.scope
        return {
            "type": "http",
            "asgi": outer["asgi"],
            "http_version": "1.1",
            "method": method,
            "scheme": outer["scheme"],
            "path": path,
            "raw_path": quote(path).encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": pairs,
            "client": outer.get("client"),
            "server": outer.get("server"),
        }

    async def _through(self, scope: dict[str, Any], content: bytes) -> Answer:
        begun: list[Message] = []
        body = bytearray()
        given = False

        async def receive() -> Message:
            """The body, and then what the browser does: whoever waits for news hears that it hung up."""
            nonlocal given
            if given:
                return await self._request.receive()
            given = True
            return {"type": "http.request", "body": content, "more_body": False}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                begun.append(message)
            else:
                body.extend(message.get("body", b""))

        await self._app(scope, receive, send)
        heads = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in begun[0]["headers"]}
        return Answer(begun[0]["status"], heads, bytes(body))


def segment(text: str) -> str:
    """One segment of a path, whatever is in it. The ASGI path is decoded: only what would end the segment is left out.

    Raises Problem for a text that cannot be one.
    """
    if not text or "/" in text or text in (".", ".."):
        raise Problem(404, "not_found", "there is no such thing")
    return text


def _problem(answer: Answer) -> Problem:
    told = json.loads(answer.body) if "json" in answer.headers.get("content-type", "") else {}
    code = str(told.get("type", "")).rpartition(":")[2] or "http"
    seconds = answer.headers.get("retry-after", "0")
    return Problem(
        answer.status,
        code,
        str(told.get("detail", "the guard refused this")),
        approval=str(told.get("approval_id", "")),
        retry_after=int(seconds) if seconds.isdecimal() else 0,
    )
