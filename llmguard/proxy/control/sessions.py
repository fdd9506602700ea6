"""Sessions: people log in and out of the control plane."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from llmguard import identity
from llmguard.config import Settings
from llmguard.errors import InvalidRequest, NotFound
from llmguard.identity import Session, passwords
from llmguard.identity.oidc import Provider
from llmguard.proxy.control import http
from llmguard.proxy.control.attempts import Attempts
from llmguard.proxy.control.endpoints import NOTHING, Endpoint, Fields, text
from llmguard.proxy.control.passwords import PASSWORD, Passwords
from llmguard.proxy.control.people import shown_person
from llmguard.proxy.control.schemas import LOGIN, ME, OWN_SESSION, STRING, maybe, record, several
from llmguard.proxy.control.units import Table, Units
from llmguard.store import Transaction

_LOGIN = Fields(
    {"code": text(200), "verifier": text(200), "email": text(320), "password": text(passwords.LONGEST)},
    frozenset({"code", "verifier", "email", "password"}),
)


class Sessions:
    """Endpoints of logins."""

    def __init__(self, units: Units, settings: Settings, providers: Mapping[str, Provider]) -> None:
        self._units = units
        self._providers = providers
        self._idle_ms = int(settings.session_idle * 1000)
        self._attempts = Attempts()
        self._passwords = Passwords(units, settings.tenant, self._idle_ms)

    def table(self) -> Table:
        return (
            Endpoint(
                "POST",
                "/login",
                self.login,
                "Trades a one-time code, or an address and its password, for a session.",
                {200: LOGIN},
                body=_LOGIN,
                refusals=(401, 429),
                open=True,
            ),
            Endpoint(
                "POST",
                "/logout",
                self.logout,
                "Ends the session, and says where the one at the identity provider ends.",
                {200: record(end_session=maybe(STRING))},
                body=NOTHING,
            ),
            Endpoint("GET", "/me", self.me, "Who is logged in, how and until when.", {200: ME}),
            Endpoint(
                "GET",
                "/sessions",
                self.own,
                "Where the person is logged in, newest first.",
                {200: record(sessions=several(OWN_SESSION))},
            ),
            Endpoint(
                "POST",
                "/sessions/{id}/end",
                self.end,
                "Ends one of the person's own sessions.",
                {204: None},
                body=NOTHING,
            ),
            Endpoint(
                "POST",
                "/password",
                self._passwords.change,
                "Sets one's own password, soon after a login.",
                {204: None},
                body=PASSWORD,
            ),
        )

    async def login(self, request: Request) -> Response:
        """Trades a one-time code, with its verifier if a browser brought it; or an address and its password.

        A session that is shown ends with it, if it is of the same person.
        """
        body = await http.form(request, _LOGIN)
        replaces = http.bearer(request) if "authorization" in request.headers else None
        if "password" in body:
            return await self._with_password(request, body, replaces)
        code, verifier = body.get("code", ""), body.get("verifier", "")
        address = request.client.host if request.client else ""
        self._attempts.take(address)

        def work(tx: Transaction) -> identity.Login:
            vault, idle = self._units.vault, self._idle_ms
            return identity.login(tx, vault, code, verifier=verifier, idle_ms=idle, replaces=replaces)

        login = await asyncio.wrap_future(self._units.store.submit(work, durable=True))
        self._attempts.forgive(address)
        return JSONResponse({"token": login.token, "expires": login.expires, **shown_person(login.person)})

    async def _with_password(self, request: Request, body: dict[str, Any], replaces: str | None) -> Response:
        if set(body) != {"email", "password"}:
            raise InvalidRequest("a login is a code, or email and password")
        email, password = body["email"], body["password"]
        address = request.client.host if request.client else ""
        self._attempts.take(address)
        login = await self._passwords.login(email, password, replaces)
        self._attempts.forgive(address)
        return JSONResponse({"token": login.token, "expires": login.expires, **shown_person(login.person)})

    async def logout(self, request: Request) -> Response:
        """Ends the session, and says where the browser ends the one at the identity provider."""
        await http.form(request, NOTHING)
        token = http.bearer(request)
        ended = await self._units.act(request, lambda tx, _: identity.logout(tx, self._units.vault, token))
        found = [p for p in self._providers.values() if p.settings.issuer == ended.how.issuer]
        url = await asyncio.to_thread(found[0].end_session) if found else None
        return JSONResponse({"end_session": url})

    async def own(self, request: Request) -> Response:
        http.query(request)
        vault, token = self._units.vault, http.bearer(request)
        found = await self._units.look(request, lambda tx, who: identity.sessions_of(tx, vault, who, token))
        return JSONResponse({"sessions": [asdict(one) for one in found]})

    async def end(self, request: Request) -> Response:
        await http.form(request, NOTHING)
        id_ = request.path_params["id"]
        if not re.fullmatch("[0-9A-Za-z_-]{1,16}", id_):
            raise NotFound("that is not an id of a session")
        await self._units.act(request, lambda tx, who: identity.end_own(tx, self._units.vault, who, id_))
        return Response(status_code=204)

    async def me(self, request: Request) -> Response:
        http.query(request)

        def work(_: Transaction, session: Session) -> dict[str, Any]:
            how = {"method": session.how.method, "auth_time": session.auth_time, "amr": list(session.how.amr)}
            return {**shown_person(session.person), "session": {**how, "expires": session.expires}}

        return JSONResponse(await self._units.look_in_session(request, work))
