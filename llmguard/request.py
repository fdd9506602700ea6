"""Request: what arrived over HTTP, and the Call that it becomes. It decides nothing and does no I/O.

Headers of ours (``x-llmguard-*``) are read here, and never forwarded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from llmguard.config import Settings
from llmguard.errors import RequestTooLarge
from llmguard.model import Body, Call, Destination, FormField, Operation, Principal, hidden, new_id
from llmguard.payload import headers as header_rules
from llmguard.payload import multipart, operations
from llmguard.store import wall_ms

MARGIN = 5.0
"""Seconds before a client's read timeout at which a held call has its answer."""
PULSE = 5.0
"""Seconds between signs of life of a held stream."""
REVISES = "x-llmguard-revises"
"""Header that names the approval whose changes a request has."""
JUSTIFICATION = "x-llmguard-justification"
"""Header that says why, for the reviewers of a held call."""
LONGEST_JUSTIFICATION = 2000
"""Characters of it that are read."""
UNKNOWN = Operation("unknown", "", "", "unknown")


@dataclass(frozen=True, slots=True)
class Request:
    """What arrived: raw path below the API's root (percent-encoding kept), header pairs, content-decoded body.

    ``form``: the fields of a multipart body, which are all there is of it.
    """

    method: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    form: tuple[FormField, ...] = ()

    def __repr__(self) -> str:
        return f"Request({self.method}, {hidden(self.body)})"


def called(settings: Settings, request: Request, principal: Principal, destination: Destination, account: str) -> Call:
    """The Call of a request. Raises RequestTooLarge."""
    if len(request.body) > settings.max_json_bytes:
        raise RequestTooLarge(f"the body is larger than max_json_bytes ({settings.max_json_bytes})")
    known = operations.find(request.method, request.path)
    operation, params = known or (UNKNOWN, ())
    kept = header_rules.outgoing(request.headers)
    if request.form:
        operation = operations.purposed(operation, multipart.value(request.form, "purpose"))
    now = wall_ms()
    return Call(
        id=new_id(now),
        principal=principal,
        operation=operation,
        destination=destination,
        method=request.method,
        path=request.path,
        query=request.query,
        headers=kept,
        body=_body(request, header_rules.media_type(kept)),
        account=account,
        received=now,
        path_params=tuple(params),
        revises=_named(request.headers, REVISES).upper(),
        justification=_words(_named(request.headers, JUSTIFICATION))[:LONGEST_JUSTIFICATION],
        **_form(settings, dict(reversed(request.headers))),
    )


def _form(settings: Settings, headers: Mapping[str, str]) -> dict[str, Any]:
    """How a call waits for people: what the settings say, and what its client says of its own patience."""
    ticket = headers.get("x-llmguard-mode", "").lower() == "ticket"
    theirs = _seconds(headers.get("x-stainless-read-timeout", ""))
    silent = settings.hold_wait if theirs is None else min(settings.hold_wait, theirs - MARGIN)
    pulse = PULSE if theirs is None else min(PULSE, max(0.1, theirs / 3))
    return {"ticket": ticket, "patience": max(0.0, silent), "pulse": pulse}


def _named(headers: Sequence[tuple[str, str]], name: str) -> str:
    return next((value.strip() for key, value in headers if key == name), "")


def _words(value: str) -> str:
    """A header in the caller's language: percent-encoded UTF-8, or UTF-8 that HTTP hands over as Latin-1."""
    try:
        return unquote(value.encode("latin-1").decode(), errors="strict")
    except UnicodeError:
        return value


def _seconds(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if value >= 0 else None  # NaN is not


def _body(request: Request, media_type: str) -> Body:
    if request.form:
        return Body("form", b"", media_type, request.form)
    if not request.body:
        return Body("empty", b"", media_type)
    json = media_type == "application/json" or media_type.endswith("+json")
    return Body("json" if json else "other", request.body, media_type)
