"""What comes back from chats, and whose account there is whose here.

Slack's requests have no session: they count for who signed them, when, and once. What is done with them is done by
``llmguard.notify.interactions``, the same for Socket Mode. A link begins here, in a person's own session.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import parse_qsl

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response

from llmguard.channels import Channel
from llmguard.config import Settings
from llmguard.errors import InvalidRequest, LoginTooOld, RequestTooLarge
from llmguard.identity import Person, Session
from llmguard.notify import callers, links
from llmguard.notify.interactions import Interactions, Reply, follow_up
from llmguard.proxy.control import http
from llmguard.proxy.control.endpoints import NOTHING, Endpoint, as_json
from llmguard.proxy.control.passwords import RECENT_MS
from llmguard.proxy.control.schemas import STRING, TIME, of, record, several
from llmguard.proxy.control.units import Done, Table, Units
from llmguard.store import Transaction

MAX_CALLBACK = 256 * 1024
"""Bytes of a request of Slack: it repeats the whole message that a button is on."""


class CallbackDesk:
    """Endpoints of Slack and of linked accounts."""

    def __init__(self, units: Units, settings: Settings) -> None:
        self._units = units
        self._channels = settings.channels
        self._acts = Interactions(units.store, units.vault, units.approvals, settings.tenant)

    def table(self) -> Table:
        return (
            Endpoint(
                "POST",
                "/slack",
                self.slack,
                "What people do in Slack: buttons, windows and /llmguard, as a form that Slack signed.",
                {200: {"type": "object"}},
                refusals=(401, 413),
                open=True,
            ),
            Endpoint(
                "GET",
                "/links",
                self.list_links,
                "The accounts in chats that are the person's own, and the workspaces where one can be linked.",
                {200: record(links=several(of("Link")), teams=several(STRING))},
            ),
            Endpoint(
                "POST",
                "/links",
                self.begin,
                "A one-time code for /llmguard link CODE in Slack, soon after a login; an earlier one ends.",
                {200: record(code=STRING, expires=TIME)},
                body=NOTHING,
            ),
            Endpoint(
                "POST",
                "/links/{id}/remove",
                self.remove,
                "Ends a link of one's own at once.",
                {200: of("Link")},
                body=NOTHING,
                headers=("Idempotency-Key",),
            ),
        )

    # ----------------------------------------------------------------- Slack

    async def slack(self, request: Request) -> Response:
        """Answers within the three seconds that Slack waits; what takes longer is done after that."""
        body = await _received(request)
        stamps = request.headers.getlist("x-slack-request-timestamp")
        given = request.headers.getlist("x-slack-signature")
        channels = callers.signed_by(self._channels, stamps, given, body)

        def first(tx: Transaction) -> None:
            callers.fresh(tx, int(stamps[0]), f"{stamps[0]} {given[0]}")

        await asyncio.wrap_future(self._units.store.submit(first, durable=True))
        reply = await self._acted(_form(body), channels)
        content = b"" if reply.content is None else as_json(reply.content)
        later = BackgroundTask(follow_up, reply.then) if reply.then else None
        return Response(content, media_type="application/json", background=later)

    async def _acted(self, form: dict[str, str], channels: tuple[Channel, ...]) -> Reply:
        if "payload" not in form:
            return await self._acts.command(form, channels)
        try:
            payload = json.loads(form["payload"])
        except (ValueError, RecursionError):
            raise InvalidRequest("the payload is not JSON") from None
        if not isinstance(payload, dict):
            raise InvalidRequest("the payload is no object")
        return await self._acts.interaction(payload, channels)

    # ----------------------------------------------------------------- links

    async def list_links(self, request: Request) -> Response:
        http.query(request)

        def work(tx: Transaction, who: Person) -> dict[str, Any]:
            teams = sorted({c.team for c in self._channels if c.team})
            return {"links": [shown(one) for one in links.of(tx, self._units.vault, who)], "teams": teams}

        return http.json(200, await self._units.show(request, work))

    async def begin(self, request: Request) -> Response:
        """Not repeatable under a key: the answer holds a secret, and is kept nowhere."""
        await http.form(request, NOTHING)

        def work(tx: Transaction, session: Session) -> tuple[str, int]:
            if session.auth_time + RECENT_MS < tx.now:  # a session that was left behind lends nobody a vote
                raise LoginTooOld("log in again first: linking an account needs a login of the last 15 minutes")
            return links.code(tx, self._units.vault, session.person)

        code, expires = await self._units.act_in_session(request, work)
        return http.json(200, as_json({"code": code, "expires": expires}))

    async def remove(self, request: Request) -> Response:
        await http.form(request, NOTHING)

        def work(tx: Transaction, session: Session) -> Done:
            return Done(shown(links.remove(tx, session.person, http.id_of(request))))

        return await self._units.act_once(request, work)


def shown(link: links.Link) -> dict[str, Any]:
    return {"id": link.id, "team": link.account.team, "account": link.account.id, "created": link.created}


async def _received(request: Request) -> bytes:
    """Bounded, as it came: the signature is over these bytes. Raises RequestTooLarge."""
    received = bytearray()
    async for chunk in request.stream():
        received += chunk
        if len(received) > MAX_CALLBACK:
            raise RequestTooLarge(f"a request of Slack has at most {MAX_CALLBACK} bytes here")
    return bytes(received)


def _form(body: bytes) -> dict[str, str]:
    """The fields of a form, each once. Raises InvalidRequest."""
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=50)
    except ValueError:
        raise InvalidRequest("this is no form") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise InvalidRequest("each field of the form comes once")
    return fields
