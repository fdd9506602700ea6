"""Sessions: people log in and out of the control plane."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from llmguard import identity
from llmguard.errors import TooManyAttempts
from llmguard.proxy.control import http
from llmguard.proxy.control.people import shown_person
from llmguard.proxy.control.units import Table, Units


class Sessions:
    """Endpoints of logins."""

    def __init__(self, units: Units) -> None:
        self._units = units
        self._attempts = Attempts()

    def table(self) -> Table:
        return (
            ("POST", "/login", self.login),
            ("POST", "/logout", self.logout),
            ("GET", "/me", self.me),
        )

    async def login(self, request: Request) -> Response:
        body = await http.body(request, {"code"})
        code = http.text(body, "code", 200)
        address = request.client.host if request.client else ""
        self._attempts.take(address)
        login = await asyncio.wrap_future(
            self._units.store.submit(lambda tx: identity.login(tx, self._units.vault, code), durable=True)
        )
        self._attempts.forgive(address)
        return JSONResponse({"token": login.token, "expires": login.expires, **shown_person(login.person)})

    async def logout(self, request: Request) -> Response:
        token = http.bearer(request)
        await self._units.act(request, lambda tx, _: identity.logout(tx, self._units.vault, token))
        return Response(status_code=204)

    async def me(self, request: Request) -> Response:
        return JSONResponse(await self._units.look(request, lambda _, who: shown_person(who)))


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
