"""HTTP of the control plane: who may speak, strict bodies, problem details (RFC 9457). It decides nothing."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llmguard.errors import InvalidRequest, LLMGuardError, NotFound, RequestTooLarge, Unauthenticated
from llmguard.payload import json as strict_json
from llmguard.proxy.gate import host_allowed, origin_allowed

log = logging.getLogger("llmguard")
MAX_BODY = 64 * 1024
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


async def body(request: Request, fields: set[str], *, optional: Iterable[str] = ()) -> dict[str, Any]:
    """A bounded JSON object with exactly these fields. Raises RequestTooLarge, InvalidRequest, UnscannableRequest."""
    received = bytearray()
    async for chunk in request.stream():
        received += chunk
        if len(received) > MAX_BODY:
            raise RequestTooLarge(f"a body of the control plane has at most {MAX_BODY} bytes")
    if not received and not fields:
        return {}
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise InvalidRequest("send JSON, with Content-Type: application/json")
    value = strict_json.parse(bytes(received)).value
    if not isinstance(value, dict) or set(value) - fields or fields - set(value) - set(optional):
        raise InvalidRequest(f"the body is a JSON object with the fields {', '.join(sorted(fields)) or 'none'}")
    return value


def text(body: dict[str, Any], name: str, longest: int) -> str:
    value = body.get(name) or ""
    if type(value) is not str or len(value) > longest:
        raise InvalidRequest(f"{name} is a text of up to {longest} characters")
    return value


def texts(body: dict[str, Any], name: str) -> list[str]:
    value = body.get(name)
    if not isinstance(value, list) or not all(type(x) is str for x in value):
        raise InvalidRequest(f"{name} is a list of texts")
    return value


def query(request: Request, known: set[str]) -> dict[str, str]:
    pairs = request.query_params.multi_items()
    if len({k for k, _ in pairs}) != len(pairs) or {k for k, _ in pairs} - known:
        raise InvalidRequest(f"the query has {', '.join(sorted(known))}, each once")
    return dict(pairs)


def number(text: str, least: int, most: int) -> int:
    if not re.fullmatch(r"[0-9]{1,6}", text) or not least <= int(text) <= most:
        raise InvalidRequest(f"a number from {least} to {most} is wanted")
    return int(text)


def is_id(text: str) -> bool:
    """An id, or the beginning of one."""
    return _ID.fullmatch(text) is not None


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


# --------------------------------------------------------------------------- what goes out


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
    """Refuses unknown Host names and foreign Origins (DNS rebinding, browsers) and forbids caching of every answer."""

    def __init__(self, app: ASGIApp, allowed: tuple[str, ...]) -> None:
        self._app = app
        self._allowed = allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
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
