"""BrowserLogin: from the command line or a page of ours through the browser to an identity provider, and back.

The command line opens the start with a challenge and its port, a page without one; the provider sends the browser to
the callback, and that sends it back with a one-time code that only the holder of the challenge's verifier can trade.
It keeps nothing: a login under way lies sealed in the browser's cookie, bound to its ``state``, so an answer that
another browser asked for, or another provider gives, is refused. Invariant: a browser is only ever sent to a configured
provider, to its own machine or to our own page.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import TypeVar
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from llmguard import identity
from llmguard.config import Settings
from llmguard.errors import GuardUnavailable, InvalidRequest, LLMGuardError, NotFound
from llmguard.identity import Authentication, vouching
from llmguard.identity.oidc import CALLBACK, Provider, Started
from llmguard.identity.vouching import Word
from llmguard.proxy.control import http
from llmguard.proxy.control.attempts import Attempts
from llmguard.proxy.control.endpoints import Endpoint, Fields, number, pattern, text
from llmguard.proxy.control.schemas import STRING, record, several
from llmguard.proxy.control.units import Table, Units
from llmguard.store import Transaction

COOKIE = "llmguard_login"
PAGE = "/inbox/login/return"
"""Where a login that began on a page ends."""
LOGIN_MS = 10 * 60 * 1000
"""How long a person may take at the provider."""
_THREADS = 4
"""Providers are asked by these, so that a slow one keeps nobody from looking at approvals."""
_START = Fields(
    {
        "port": number(1024, 65535, "where the command line listens on this machine; without, back to the inbox"),
        "challenge": pattern("[A-Za-z0-9_-]{43}", "the S256 challenge of the command line: llmguard login"),
        "provider": text(32),
        "max_age": number(0, 12 * 3600, "seconds since the oldest login there that counts"),
    },
    frozenset({"port", "provider", "max_age"}),
)
_ANSWER = {name: text(4096) for name in ("code", "state", "iss", "error")}
_BACK = Fields(_ANSWER, frozenset(_ANSWER))
T = TypeVar("T")


class BrowserLogin:
    """Endpoints that a browser walks through."""

    def __init__(self, units: Units, settings: Settings, providers: Mapping[str, Provider]) -> None:
        self._units = units
        self._tenant = settings.tenant
        self._secure = settings.control_url.startswith("https:")
        self._ttl_ms = int(settings.membership_ttl * 1000)
        self._providers = providers
        self._attempts = Attempts()
        self._threads = ThreadPoolExecutor(_THREADS, "oidc")

    def table(self) -> Table:
        return (
            Endpoint(
                "GET",
                "/login/providers",
                self.providers,
                "Where people can log in.",
                {200: record(providers=several(STRING))},
                open=True,
            ),
            Endpoint(
                "GET",
                "/login/start",
                self.start,
                "Sends a browser to an identity provider, for the command line at `port`, or for the inbox.",
                {303: None},
                query=_START,
                refusals=(404,),
                open=True,
            ),
            Endpoint(
                "GET",
                "/login/callback/{provider}",
                self.callback,
                "Where the identity provider sends the browser back to.",
                {303: None},
                query=_BACK,
                open=True,
            ),
        )

    async def providers(self, request: Request) -> Response:
        """Where people can log in, as the command line asks before it opens a browser."""
        http.query(request)
        return JSONResponse({"providers": sorted(self._providers)})

    async def start(self, request: Request) -> Response:
        """Sends the browser to the provider. ``max_age``: the oldest login there that counts, 0 for a new one."""
        query = http.query(request, _START)
        port, challenge, max_age = query.get("port"), query["challenge"], query.get("max_age")
        provider, now = self._provider(query.get("provider")), await self._now()
        url, begun = await self._ask(lambda: provider.start(now, max_age))
        answer = _to(url)
        kept = json.dumps({**asdict(begun), "port": port, "challenge": challenge}).encode()
        sealed = self._units.vault.seal(self._tenant, "login", begun.state, kept)
        value = base64.urlsafe_b64encode(sealed).decode()
        answer.set_cookie(COOKIE, value, LOGIN_MS // 1000, path=CALLBACK, secure=self._secure, httponly=True)
        return answer

    async def callback(self, request: Request) -> Response:
        """The browser comes back. What went wrong at the provider is told to the command line or page that waits."""
        begun, port, challenge = await self._begun(request)
        try:
            word = await self._word(request, begun)
            told = {"code": await self._handed_over(word, challenge)}
        except LLMGuardError as e:
            told = {"error": e.message}
        back = PAGE if port is None else f"http://127.0.0.1:{port}/"
        answer = _to(f"{back}?{urlencode({**told, 'challenge': challenge})}")
        answer.delete_cookie(COOKIE, path=CALLBACK, secure=self._secure, httponly=True)
        return answer

    async def _word(self, request: Request, begun: Started) -> Word:
        """What the provider says. Raises InvalidRequest, TooManyAttempts and what ``Provider.redeem`` raises."""
        query = request.query_params
        refusal, code = query.get("error"), query.get("code", "")
        if refusal is not None:
            named = refusal if re.fullmatch(r"[a-z_]{1,40}", refusal) else "an error"
            raise InvalidRequest(f"the identity provider says {named}: log in again")
        if not 0 < len(code) <= 4096:
            raise InvalidRequest("the identity provider sent no code: log in again")
        address = request.client.host if request.client else ""
        self._attempts.take(address)
        now = await self._now()
        word = await self._ask(lambda: self._providers[begun.provider].redeem(begun, code, now, query.get("iss")))
        self._attempts.forgive(address)
        return word

    async def _handed_over(self, word: Word, challenge: str) -> str:
        """A one-time code of the person that the provider speaks of."""
        settings = self._providers[word.provider].settings

        def work(tx: Transaction) -> str:
            vault = self._units.vault
            who = vouching.welcome(tx, vault, self._tenant, word, provision=settings.provision, ttl_ms=self._ttl_ms)
            how = Authentication("oidc", word.auth_time, word.amr, word.issuer, word.subject)
            return identity.hand_over(tx, vault, who, how, challenge)

        return await asyncio.wrap_future(self._units.store.submit(work, durable=True))

    async def _begun(self, request: Request) -> tuple[Started, int | None, str]:
        """The login that this browser began, if the answer is to it. Raises InvalidRequest."""
        state = request.query_params.get("state", "")
        unknown = InvalidRequest("this browser began no such login, or more than ten minutes ago: llmguard login")
        try:
            sealed = base64.urlsafe_b64decode(request.cookies.get(COOKIE, ""))
            kept = json.loads(self._units.vault.open(self._tenant, "login", state, sealed))
        except (ValueError, GuardUnavailable):
            raise unknown from None
        port, challenge = kept.pop("port"), str(kept.pop("challenge"))
        begun = Started(**kept)
        if begun.provider != request.path_params["provider"] or begun.provider not in self._providers:
            raise unknown
        if begun.begun + LOGIN_MS < await self._now():
            raise unknown
        return begun, port, challenge

    def _provider(self, name: str | None) -> Provider:
        if not self._providers:
            raise NotFound("no identity provider is configured: llmguard login --code CODE")
        if name is None and len(self._providers) == 1:
            [name] = self._providers
        if name is None or name not in self._providers:
            raise InvalidRequest(f"provider is one of {', '.join(sorted(self._providers))}")
        return self._providers[name]

    async def _ask(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def _now(self) -> int:
        return await asyncio.to_thread(self._units.store.read, lambda tx: tx.now)


def _to(url: str) -> Response:
    return Response(status_code=303, headers={"location": url, "referrer-policy": "no-referrer"})
