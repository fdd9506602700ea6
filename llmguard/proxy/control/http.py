"""HTTP of the control plane: who may speak, strict bodies, problem details (RFC 9457). It decides nothing."""

from __future__ import annotations

import logging
import re
from json import loads
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llmguard.errors import InvalidRequest, LLMGuardError, NotFound, RequestTooLarge, Unauthenticated
from llmguard.payload import json as strict_json
from llmguard.proxy.control.endpoints import NOTHING, Fields
from llmguard.proxy.gate import host_allowed, origin_allowed

log = logging.getLogger("llmguard")
MAX_QUERY = 8192
BACKGROUND = "x-llmguard-background"
"""Header of a look that no person asked for, such as a page's next long poll: a session is not kept alive by it."""
_ID = re.compile(r"[0-9A-HJKMNP-TV-Z]{1,26}")
_HEADERS = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)


# --------------------------------------------------------------------------- what comes in


def bearer(request: Request) -> str:
    headers = request.headers.getlist("authorization")
    scheme, _, token = headers[0].partition(" ") if len(headers) == 1 else ("", "", "")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated("a session is needed: llmguard login --code CODE")
    return token.strip()


async def form(request: Request, fields: Fields) -> dict[str, Any]:
    """A bounded JSON object with exactly these fields. Raises RequestTooLarge, InvalidRequest, UnscannableRequest.

    The bytes stay in ``request.state.received``.
    """
    received = bytearray()
    async for chunk in request.stream():
        received += chunk
        if len(received) > fields.most:
            raise RequestTooLarge(f"a body has at most {fields.most} bytes here")
    request.state.received = bytes(received)
    if not received and not fields.required:
        return {}
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise InvalidRequest("send JSON, with Content-Type: application/json")
    strict_json.parse(request.state.received)  # its numbers are lexemes: the values come from the plain one
    value = loads(request.state.received)
    if not isinstance(value, dict):
        raise InvalidRequest("the body is a JSON object")
    fields.check(value)
    return value


def query(request: Request, fields: Fields = NOTHING) -> dict[str, Any]:
    """The parameters of the query, typed. Raises InvalidRequest."""
    if len(request.scope["query_string"]) > MAX_QUERY:
        raise InvalidRequest(f"the query has at most {MAX_QUERY} bytes")
    return fields.read(request.query_params.multi_items())


def id_of(request: Request) -> str:
    id_: str = request.path_params["id"].upper()
    if not _ID.fullmatch(id_):
        raise NotFound("that is not an id")
    return id_


def if_match(request: Request) -> int | None:
    value = request.headers.get("if-match")
    if value is None:
        return None
    match = re.fullmatch(r'"([0-9]{1,9})"', value)
    if not match:
        raise InvalidRequest('If-Match holds the version in quotes, as in "3"')
    return int(match[1])


def none_match(request: Request, tag: str) -> bool:
    """Whether the client has exactly this already (RFC 9110 §13.1.2)."""
    listed = ",".join(request.headers.getlist("if-none-match"))
    return tag in {one.strip().removeprefix("W/") for one in listed.split(",")}


# --------------------------------------------------------------------------- what goes out


def json(status: int, content: bytes, headers: dict[str, str] | None = None) -> Response:
    return Response(content, status, headers, media_type="application/json")


def problem(status: int, code: str, detail: str, headers: dict[str, str] | None = None, **more: str) -> Response:
    """RFC 9457. The code is the last part of ``type``."""
    body = {"type": f"urn:llmguard:problem:{code}", "title": code.replace("_", " "), "status": status, "detail": detail}
    return JSONResponse(body | more, status, headers, media_type="application/problem+json")


async def refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, LLMGuardError)  # noqa: S101  registered for this type
    code = "unauthenticated" if isinstance(error, Unauthenticated) else error.code
    headers = {"www-authenticate": "Bearer"} if isinstance(error, Unauthenticated) else {}
    if error.retry_after is not None:
        headers["retry-after"] = str(error.retry_after)
    more = {"approval_id": error.approval_id} if error.approval_id else {}
    return problem(error.status, code, error.message, headers, **more)


async def http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  registered for this type
    words = {404: "not_found", 405: "method_not_allowed"}
    return problem(error.status_code, words.get(error.status_code, "http"), error.detail, dict(error.headers or {}))


async def crashed(_: Request, error: Exception) -> Response:
    log.error("the control plane failed: %s", type(error).__name__)
    return problem(500, "internal_error", "a part of the guard failed; its log names which")


class Door:
    """Refuses unknown Host names and foreign Origins (DNS rebinding, browsers), and forbids caching and all that a
    browser could load or run; pages say themselves what of that they need."""

    def __init__(self, app: ASGIApp, allowed: tuple[str, ...]) -> None:
        self._app = app
        self._allowed = allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                said = {name for name, _ in message.get("headers", ())}
                ours = [pair for pair in _HEADERS if pair[0] not in said]
                message["headers"] = [*message.get("headers", ()), *ours]
            await send(message)

        app = self._refusal(Request(scope)) or self._app
        await app(scope, receive, guarded)

    def _refusal(self, request: Request) -> Response | None:
        hosts, origins = request.headers.getlist("host"), request.headers.getlist("origin")
        if len(hosts) != 1 or not host_allowed(hosts[0], self._allowed):
            return problem(421, "unknown_host", "this Host name is not ours: name it in allowed_hosts")
        if len(origins) > 1 or not origin_allowed(origins[0] if origins else None, hosts[0]):
            return problem(403, "foreign_origin", "requests from pages of other sites are refused")
        return None
