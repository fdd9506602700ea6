"""Passwords of local accounts over HTTP: logging in with one, and setting one's own.

Hashing happens beside the event loop, before the unit of work, two at a time: each takes 19 MiB.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from llmguard import identity
from llmguard.errors import GuardUnavailable, LoginTooOld
from llmguard.identity import Login, Person, Session, passwords
from llmguard.proxy.control import http
from llmguard.proxy.control.attempts import Attempts
from llmguard.proxy.control.endpoints import Fields, text
from llmguard.proxy.control.units import Units
from llmguard.store import Transaction

P = ParamSpec("P")
T = TypeVar("T")
AT_ONCE, WAITING = 2, 32
PASSWORD = Fields({"password": text(4 * passwords.LONGEST)})
RECENT_MS = 15 * 60 * 1000
"""How recent a login must be to set a password: a session that was left behind does not."""


class Passwords:
    """Endpoints of passwords. ``tenant``: whose people log in here."""

    def __init__(self, units: Units, tenant: str, idle_ms: int = identity.IDLE_MS) -> None:
        self._units = units
        self._tenant = tenant
        self._idle_ms = idle_ms
        self._accounts = Attempts()
        self._room = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    async def login(self, email: str, password: str, replaces: str | None = None) -> Login:
        """A session for an address and its password; one that it ``replaces`` ends.

        Raises Unauthenticated, TooManyAttempts.
        """
        vault, tenant, who = self._units.vault, self._tenant, passwords.address(email)
        self._accounts.take(who)
        stored = await asyncio.to_thread(self._units.store.read, lambda tx: passwords.stored(tx, vault, tenant, who))
        proof = await self._slowly(passwords.check, vault, tenant, who, password, stored)
        opened = self._units.store.submit(
            lambda tx: passwords.login_with(tx, vault, proof, idle_ms=self._idle_ms, replaces=replaces), durable=True
        )
        login = await asyncio.wrap_future(opened)
        self._accounts.forgive(who)
        return login

    async def change(self, request: Request) -> Response:
        """A person's own new password, within a session that was opened a moment ago."""
        body = await http.form(request, PASSWORD)
        password, token = body["password"], http.bearer(request)
        vault = self._units.vault
        who = await self._units.look_in_session(request, _recent)
        passwords.acceptable(who.email, password)
        phc = await self._slowly(passwords.hashed, vault, who.tenant, who.email, password)

        def work(tx: Transaction, session: Session) -> None:
            passwords.set_password(tx, vault, _recent(tx, session), phc, keep=token)

        await self._units.act_in_session(request, work)
        return Response(status_code=204)

    async def _slowly(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._waiting >= WAITING:
            raise GuardUnavailable("too many people log in at once; try again")
        self._waiting += 1
        try:
            async with self._room:
                return await asyncio.to_thread(work, *args, **kwargs)
        finally:
            self._waiting -= 1


def _recent(tx: Transaction, session: Session) -> Person:
    """Whoever logged in lately. Raises LoginTooOld."""
    if session.auth_time + RECENT_MS < tx.now:
        raise LoginTooOld("log in again first: setting a password needs a login of the last 15 minutes")
    return session.person
