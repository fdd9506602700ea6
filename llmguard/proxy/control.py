"""The control plane: people log in, look and decide, under ``/guard/v1``. Sessions only; data-plane keys get 401.

It owns HTTP: who may speak (``Host``, ``Origin``), bounded and strict bodies, problem details (RFC 9457). It decides
nothing itself: each request is one unit of work that begins with the session, so that a person who was deactivated a
moment ago does nothing more. A GET changes nothing; looking at raw values is a POST, and in the log.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llmguard import identity
from llmguard.approvals import STATES, Approvals, view
from llmguard.config import Settings
from llmguard.errors import (
    InvalidRequest,
    LLMGuardError,
    NotAllowed,
    NotFound,
    RequestTooLarge,
    TooManyAttempts,
    Unauthenticated,
)
from llmguard.identity import Person, PersonChange
from llmguard.model import Approval
from llmguard.payload import json as strict_json
from llmguard.proxy.gate import host_allowed, origin_allowed
from llmguard.store import Store, Transaction
from llmguard.vault import Vault

T = TypeVar("T")
log = logging.getLogger("llmguard")
MAX_BODY = 64 * 1024
PAGE = 50
_ID = re.compile(r"[0-9A-HJKMNP-TV-Z]{1,26}")
_HEADERS = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)


def control_app(store: Store, vault: Vault, approvals: Approvals, settings: Settings) -> Starlette:
    """The ASGI application of the control plane."""
    control = _Control(store, vault, approvals)
    return Starlette(
        routes=control.routes(),
        middleware=[Middleware(_Door, allowed=settings.allowed_hosts)],
        exception_handlers={LLMGuardError: _refused, HTTPException: _http, Exception: _crashed},
    )


class _Control:
    """The endpoints. Each method named like its route."""

    def __init__(self, store: Store, vault: Vault, approvals: Approvals) -> None:
        self._store = store
        self._vault = vault
        self._approvals = approvals
        self._attempts = Attempts()

    def routes(self) -> list[Route]:
        table: Sequence[tuple[str, str, Callable[[Request], Awaitable[Response]]]] = (
            ("GET", "/healthz", self.healthz),
            ("POST", "/guard/v1/login", self.login),
            ("POST", "/guard/v1/logout", self.logout),
            ("GET", "/guard/v1/me", self.me),
            ("GET", "/guard/v1/approvals", self.list_approvals),
            ("GET", "/guard/v1/approvals/{id}", self.show_approval),
            ("POST", "/guard/v1/approvals/{id}/votes", self.vote),
            ("POST", "/guard/v1/approvals/{id}/cancel", self.cancel),
            ("POST", "/guard/v1/approvals/{id}/payload", self.payload),
            ("GET", "/guard/v1/people", self.list_people),
            ("POST", "/guard/v1/people", self.change_person),
            ("POST", "/guard/v1/people/{email}/deactivate", self.deactivate),
            ("GET", "/guard/v1/keys", self.list_keys),
            ("POST", "/guard/v1/keys", self.add_key),
            ("POST", "/guard/v1/keys/{id}/revoke", self.revoke_key),
            ("GET", "/guard/v1/audit/checkpoint", self.checkpoint),
        )
        return [Route(path, endpoint, methods=[method]) for method, path, endpoint in table]

    # ----------------------------------------------------------------- units of work

    async def _look(self, request: Request, work: Callable[[Transaction, Person], T]) -> T:
        """Runs ``work`` on a snapshot, as the person of the session."""
        token = _bearer(request)
        return await asyncio.to_thread(self._store.read, lambda tx: work(tx, identity.session(tx, self._vault, token)))

    async def _act(self, request: Request, work: Callable[[Transaction, Person], T]) -> T:
        """Runs ``work`` as one unit of work that begins with the session, and waits until it is on the disk."""
        token = _bearer(request)
        future = self._store.submit(lambda tx: work(tx, identity.session(tx, self._vault, token)), durable=True)
        return await asyncio.wrap_future(future)

    # ----------------------------------------------------------------- sessions

    async def healthz(self, _: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def login(self, request: Request) -> Response:
        body = await _body(request, {"code"})
        code = _text(body, "code", 200)
        address = request.client.host if request.client else ""
        self._attempts.take(address)
        login = await asyncio.wrap_future(
            self._store.submit(lambda tx: identity.login(tx, self._vault, code), durable=True)
        )
        self._attempts.forgive(address)
        return JSONResponse({"token": login.token, "expires": login.expires, **_person(login.person)})

    async def logout(self, request: Request) -> Response:
        token = _bearer(request)
        await self._act(request, lambda tx, _: identity.logout(tx, self._vault, token))
        return Response(status_code=204)

    async def me(self, request: Request) -> Response:
        return JSONResponse(await self._look(request, lambda _, who: _person(who)))

    # ----------------------------------------------------------------- approvals

    async def list_approvals(self, request: Request) -> Response:
        query = _query(request, {"state", "cursor", "prefix", "limit"})
        state, cursor, prefix = query.get("state"), query.get("cursor"), query.get("prefix", "").upper()
        if state is not None and state not in STATES:
            raise InvalidRequest(f"state is one of {', '.join(STATES)}")
        if not all(_ID.fullmatch(x) for x in (cursor, prefix) if x):
            raise InvalidRequest("cursor and prefix are ids of approvals, or the beginning of one")
        limit = _number(query.get("limit", str(PAGE)), 1, 200)

        def work(tx: Transaction, who: Person) -> dict[str, Any]:
            page, following = self._approvals.list(
                tx, who.tenant, person=who, state=state, cursor=cursor, prefix=prefix, limit=limit
            )
            names = view.names(tx, self._vault, who.tenant)
            return {"approvals": [view.summary(tx, self._approvals, a, names) for a in page], "next": following}

        return JSONResponse(await self._look(request, work))

    async def show_approval(self, request: Request) -> Response:
        def work(tx: Transaction, who: Person) -> dict[str, Any]:
            approval = self._visible(tx, who, _id(request))
            return view.full(tx, self._approvals, approval, view.names(tx, self._vault, who.tenant))

        shown = await self._look(request, work)
        return JSONResponse(shown, headers={"etag": f'"{shown["version"]}"'})

    async def vote(self, request: Request) -> Response:
        body = await _body(request, {"verdict", "digest", "reason"}, optional={"reason"})
        verdict, digest = _text(body, "verdict", 20), _text(body, "digest", 64)
        reason, version = _text(body, "reason", 2000), _if_match(request)

        def work(tx: Transaction, who: Person) -> dict[str, Any]:
            seen = self._visible(tx, who, _id(request))
            after = self._approvals.vote(tx, who.tenant, seen.id, who, verdict, digest, reason, version)  # type: ignore[arg-type]
            return self._summary(tx, who, after)

        return JSONResponse(await self._act(request, work))

    async def cancel(self, request: Request) -> Response:
        """The human behind a request withdraws it; for a reviewer, taking back what was approved and not spent."""
        await _body(request, set())

        def work(tx: Transaction, who: Person) -> dict[str, Any]:
            seen = self._visible(tx, who, _id(request))
            own = identity.same_human(who.email, seen.human)
            end = self._approvals.cancel if own else self._approvals.revoke
            return self._summary(tx, who, end(tx, who.tenant, seen.id, who))

        return JSONResponse(await self._act(request, work))

    async def payload(self, request: Request) -> Response:
        await _body(request, set())

        def work(tx: Transaction, who: Person) -> dict[str, Any]:
            egress, original = self._approvals.payload(tx, who.tenant, _id(request), by=who)
            return {"egress": view.leaving(egress), "original": view.text(original)}

        return JSONResponse(await self._act(request, work))

    def _visible(self, tx: Transaction, who: Person, id_: str) -> Approval:
        approval = self._approvals.get(tx, who.tenant, id_)
        if not self._approvals.may_see(approval, who):
            raise NotFound("there is no such approval: llmguard approvals list shows them")
        return approval

    def _summary(self, tx: Transaction, who: Person, approval: Approval) -> dict[str, Any]:
        return view.summary(tx, self._approvals, approval, view.names(tx, self._vault, who.tenant))

    # ----------------------------------------------------------------- people and keys

    async def list_people(self, request: Request) -> Response:
        def work(tx: Transaction, who: Person) -> list[dict[str, Any]]:
            return [_person(p) for p in identity.people(tx, self._vault, who.tenant)]

        return JSONResponse({"people": await self._look(request, work)})

    async def change_person(self, request: Request) -> Response:
        body = await _body(request, {"email", "groups"})
        change = PersonChange(
            identity.normal_email(_text(body, "email", 320)), identity.normal_groups(_texts(body, "groups"))
        )
        return _proposed(await self._act(request, lambda tx, who: self._propose(tx, who, change)))

    async def deactivate(self, request: Request) -> Response:
        await _body(request, set())
        email = identity.normal_email(request.path_params["email"])

        def work(tx: Transaction, who: Person) -> dict[str, Any]:
            person = identity.person(tx, self._vault, who.tenant, email)
            if person is None:
                raise NotFound("there is no person of that address: llmguard users list shows them")
            return self._propose(tx, who, PersonChange(email, person.groups, active=False))

        return _proposed(await self._act(request, work))

    async def list_keys(self, request: Request) -> Response:
        def work(tx: Transaction, who: Person) -> list[dict[str, Any]]:
            return [_key(k) for k in identity.keys(tx, self._vault, who.tenant)]

        return JSONResponse({"keys": await self._look(request, work)})

    async def add_key(self, request: Request) -> Response:
        body = await _body(request, {"name", "human"}, optional={"human"})
        name, human = _text(body, "name", 64), _text(body, "human", 320) or None

        def work(tx: Transaction, who: Person) -> dict[str, Any]:
            token, change = identity.new_key(tx, self._vault, name, human)
            return {**self._propose(tx, who, change), "id": change.id, "token": token}

        return _proposed(await self._act(request, work))

    async def revoke_key(self, request: Request) -> Response:
        await _body(request, set())

        def work(tx: Transaction, who: Person) -> dict[str, Any]:
            key = identity.key(tx, self._vault, who.tenant, _id(request))
            if not who.groups and not identity.same_human(who.email, key.human):
                raise NotAllowed("only the human behind a key, or somebody in a group, revokes it")
            return _key(identity.revoke_key(tx, self._vault, who.tenant, key.id, who.email))

        return JSONResponse(await self._act(request, work))

    def _propose(self, tx: Transaction, who: Person, change: identity.Change) -> dict[str, Any]:
        approval = self._approvals.propose(tx, who, change)
        return {"applied": approval is None, "approval": approval and self._summary(tx, who, approval)}

    # ----------------------------------------------------------------- proof

    async def checkpoint(self, request: Request) -> Response:
        """The newest signed checkpoint of the log (C2SP tlog-checkpoint)."""

        def work(tx: Transaction, _: Person) -> str:
            row = tx.one("SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1")
            if row is None:
                raise NotFound("no checkpoint was made yet: the first one comes within a minute")
            return str(row["note"])

        return PlainTextResponse(await self._look(request, work))


# --------------------------------------------------------------------------- what comes in


class Attempts:
    """Login attempts of each address: ten a minute, for at most 1,024 addresses at a time. A success forgives."""

    LIMIT, SECONDS, ADDRESSES = 10, 60.0, 1024

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def take(self, address: str) -> None:
        """Counts an attempt before it is made. Raises TooManyAttempts."""
        begun, count = self._seen.pop(address, (self._clock(), 0))
        if self._clock() - begun >= self.SECONDS:
            begun, count = self._clock(), 0
        self._seen[address] = (begun, count + 1)
        if len(self._seen) > self.ADDRESSES:
            self._seen.popitem(last=False)
        if count >= self.LIMIT:
            raise TooManyAttempts("too many logins failed from this address: wait a minute")

    def forgive(self, address: str) -> None:
        self._seen.pop(address, None)

    def __len__(self) -> int:
        return len(self._seen)


def _bearer(request: Request) -> str:
    headers = request.headers.getlist("authorization")
    scheme, _, token = headers[0].partition(" ") if len(headers) == 1 else ("", "", "")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated("a session is needed: llmguard login --code CODE")
    return token.strip()


async def _body(request: Request, fields: set[str], *, optional: Iterable[str] = ()) -> dict[str, Any]:
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


def _text(body: dict[str, Any], name: str, longest: int) -> str:
    value = body.get(name) or ""
    if type(value) is not str or len(value) > longest:
        raise InvalidRequest(f"{name} is a text of up to {longest} characters")
    return value


def _texts(body: dict[str, Any], name: str) -> list[str]:
    value = body.get(name)
    if not isinstance(value, list) or not all(type(x) is str for x in value):
        raise InvalidRequest(f"{name} is a list of texts")
    return value


def _query(request: Request, known: set[str]) -> dict[str, str]:
    pairs = request.query_params.multi_items()
    if len({k for k, _ in pairs}) != len(pairs) or {k for k, _ in pairs} - known:
        raise InvalidRequest(f"the query has {', '.join(sorted(known))}, each once")
    return dict(pairs)


def _number(text: str, least: int, most: int) -> int:
    if not re.fullmatch(r"[0-9]{1,6}", text) or not least <= int(text) <= most:
        raise InvalidRequest(f"a number from {least} to {most} is wanted")
    return int(text)


def _id(request: Request) -> str:
    id_: str = request.path_params["id"].upper()
    if not _ID.fullmatch(id_):
        raise NotFound("that is not an id")
    return id_


def _if_match(request: Request) -> int | None:
    value = request.headers.get("if-match")
    if value is None:
        return None
    match = re.fullmatch(r'"([0-9]{1,9})"', value)
    if not match:
        raise InvalidRequest('If-Match holds the version in quotes, as in "3"')
    return int(match[1])


# --------------------------------------------------------------------------- what goes out


def _person(person: Person) -> dict[str, Any]:
    return {
        "email": person.email,
        "tenant": person.tenant,
        "groups": list(person.groups),
        "active": person.active,
        "created": person.created,
    }


def _key(key: identity.Key) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "kind": key.kind,
        "human": key.human,
        "created": key.created,
        "revoked": key.revoked,
    }


def _proposed(result: dict[str, Any]) -> Response:
    return JSONResponse(result, status_code=200 if result["applied"] else 202)


def _problem(status: int, code: str, detail: str, headers: dict[str, str] | None = None, **more: str) -> Response:
    """RFC 9457. The code is the last part of ``type``."""
    body = {"type": f"urn:llmguard:problem:{code}", "title": code.replace("_", " "), "status": status, "detail": detail}
    return JSONResponse(body | more, status, headers, media_type="application/problem+json")


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, LLMGuardError)  # noqa: S101  registered for this type
    code = "unauthenticated" if isinstance(error, Unauthenticated) else error.code
    headers = {"www-authenticate": "Bearer"} if isinstance(error, Unauthenticated) else {}
    if error.retry_after is not None:
        headers["retry-after"] = str(error.retry_after)
    more = {"approval_id": error.approval_id} if error.approval_id else {}
    return _problem(error.status, code, error.message, headers, **more)


async def _http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  registered for this type
    words = {404: "not_found", 405: "method_not_allowed"}
    return _problem(error.status_code, words.get(error.status_code, "http"), error.detail, dict(error.headers or {}))


async def _crashed(_: Request, error: Exception) -> Response:
    log.error("the control plane failed: %s", type(error).__name__)
    return _problem(500, "internal_error", "a part of the guard failed; its log names which")


class _Door:
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
            return _problem(421, "unknown_host", "this Host name is not ours: name it in allowed_hosts")
        if len(origins) > 1 or not origin_allowed(origins[0] if origins else None, hosts[0]):
            return _problem(403, "foreign_origin", "requests from pages of other sites are refused")
        return None
