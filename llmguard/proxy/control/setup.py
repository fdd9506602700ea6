"""Setup: the first person of an installation, made by whoever reads the guard's terminal.

There are no default accounts. ``serve`` prints a token while nobody is active; it makes one person, in bootstrap, and
is worth nothing from then on. Invariant: where somebody is active, or no token was made, nothing is set up here.
"""

from __future__ import annotations

import asyncio
import hmac

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from llmguard import identity
from llmguard.config import Settings
from llmguard.errors import Conflict, Unauthenticated
from llmguard.identity import Authentication, Cause, PersonChange, passwords
from llmguard.proxy.control import http
from llmguard.proxy.control.attempts import Attempts
from llmguard.proxy.control.endpoints import Endpoint, Fields, text
from llmguard.proxy.control.people import shown_person
from llmguard.proxy.control.schemas import BOOL, LOGIN, record
from llmguard.proxy.control.units import Table, Units
from llmguard.store import Transaction

_SETUP = Fields(
    {
        "token": text(200, "what the guard's terminal shows"),
        "email": text(320, "the first person's address"),
        "password": text(4 * passwords.LONGEST, "to log in with later; without, codes of the guard's host do"),
    },
    frozenset({"password"}),
)
_DONE = "somebody is active already: ask them, or on the guard's host: llmguard users code EMAIL"


class Setup:
    """Endpoints of the first person. ``token``: what this process printed; "" makes nobody."""

    def __init__(self, units: Units, settings: Settings, token: str = "") -> None:
        self._units = units
        self._tenant = settings.tenant
        self._idle_ms = int(settings.session_idle * 1000)
        self._token = token
        self._attempts = Attempts()

    def table(self) -> Table:
        return (
            Endpoint(
                "GET",
                "/setup",
                self.needed,
                "Whether the first person can be made here: nobody is active, and the terminal shows a token.",
                {200: record(open=BOOL)},
                open=True,
            ),
            Endpoint(
                "POST",
                "/setup",
                self.set_up,
                "Makes the first person, in bootstrap, and a session of that person.",
                {200: LOGIN},
                body=_SETUP,
                refusals=(401, 409, 429),
                open=True,
            ),
        )

    async def needed(self, request: Request) -> Response:
        http.query(request)
        open_ = bool(self._token) and await asyncio.to_thread(self._units.store.read, self._nobody)
        return JSONResponse({"open": open_})

    async def set_up(self, request: Request) -> Response:
        body = await http.form(request, _SETUP)
        address = request.client.host if request.client else ""
        self._attempts.take(address)
        self._check(body["token"])
        email, password = identity.normal_email(body["email"]), body.get("password", "")
        phc = await asyncio.to_thread(self._hashed, email, password) if password else ""
        work = self._units.store.submit(lambda tx: self._made(tx, email, phc), durable=True)
        login = await asyncio.wrap_future(work)
        self._attempts.forgive(address)
        return JSONResponse({"token": login.token, "expires": login.expires, **shown_person(login.person)})

    def _check(self, token: str) -> None:
        """Raises Unauthenticated."""
        given = token.replace("-", "").strip().lower().encode()
        if not self._token or not hmac.compare_digest(given, self._token.replace("-", "").encode()):
            raise Unauthenticated("this token is wrong: the terminal of llmguard serve shows the one that counts")

    def _nobody(self, tx: Transaction) -> bool:
        return not any(p.active for p in identity.people(tx, self._units.vault, self._tenant))

    def _hashed(self, email: str, password: str) -> str:
        passwords.acceptable(email, password)
        return passwords.hashed(self._units.vault, self._tenant, email, password)

    def _made(self, tx: Transaction, email: str, phc: str) -> identity.Login:
        """Raises Conflict if somebody is active by now."""
        vault = self._units.vault
        identity.bootstrapping(tx, vault, self._tenant)  # an altered entry must not make a first person possible again
        if not self._nobody(tx):
            raise Conflict(_DONE)
        change = PersonChange(email, (identity.DEFAULT_GROUP,))
        identity.apply(tx, vault, self._tenant, change, Cause("setup", bootstrap=True))
        who = identity.active_person(tx, vault, self._tenant, email)
        assert who is not None  # noqa: S101  made above
        how = Authentication("code", tx.now, ("otp",))
        login = identity.open_session(tx, vault, who, how, idle_ms=self._idle_ms)
        if phc:
            passwords.set_password(tx, vault, who, phc, keep=login.token)
        return login
