"""Exceptions: findings that were marked wrong. Adding one is an approval by somebody else, removing needs nobody."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from llmguard import identity
from llmguard.approvals import exceptions
from llmguard.approvals.exceptions import LEAST, LONGEST, MAX_REASON, MAX_VALUE, Scope
from llmguard.config import Settings
from llmguard.errors import InvalidRequest, NotAllowed, NotFound
from llmguard.identity import Person, Session
from llmguard.model import Approval
from llmguard.proxy.control import http
from llmguard.proxy.control.endpoints import BOOLEAN, ID, NOTHING, Endpoint, Fields, number, pattern, text
from llmguard.proxy.control.powers import PAGES, asked_page
from llmguard.proxy.control.schemas import of, page
from llmguard.proxy.control.units import Done, Table, Units
from llmguard.store import Transaction

_ONCE = ("Idempotency-Key",)
_SCOPE = ("principal", "operation", "destination", "detector")
_WHERE = {name: text(200, f"only for this {name}") for name in _SCOPE}
_WHAT = {
    "type": pattern("[A-Z][A-Z0-9_]{0,63}", "a type of findings"),
    "value": text(MAX_VALUE, "what is no such data", least=1),
    "approval": ID,
    "placeholder": text(200, "a placeholder in that held call, instead of type and value", least=1),
}
EXCEPTION = Fields(
    {
        **_WHAT,
        **_WHERE,
        "everywhere": BOOLEAN,
        "secret": BOOLEAN,
        "reason": text(MAX_REASON, least=1),
        "seconds": number(LEAST, LONGEST),
    },
    frozenset({*_WHAT, *_WHERE, "everywhere", "secret"}),
)


class ExceptionDesk:
    """Endpoints of exceptions."""

    def __init__(self, units: Units, settings: Settings) -> None:
        self._units = units
        self._settings = settings

    def table(self) -> Table:
        return (
            Endpoint(
                "GET",
                "/exceptions",
                self.list_exceptions,
                "Which findings were marked wrong, where and until when. Their values are not kept.",
                {200: page("exceptions", of("Exception"))},
                query=PAGES,
            ),
            Endpoint(
                "POST",
                "/exceptions",
                self.add,
                "Asks that a value is no finding of a type any more, in a scope and for a time.",
                {200: of("Proposed"), 202: of("Proposed")},
                body=EXCEPTION,
                headers=_ONCE,
                refusals=(404, 409),
            ),
            Endpoint(
                "POST",
                "/exceptions/{id}/remove",
                self.remove,
                "Ends it at once.",
                {200: of("Exception")},
                body=NOTHING,
                headers=_ONCE,
            ),
        )

    async def list_exceptions(self, request: Request) -> Response:
        cursor, limit = asked_page(request)

        def work(tx: Transaction, who: Person) -> dict[str, Any]:
            found, following = exceptions.of(tx, self._units.vault, who.tenant, cursor, limit)
            return {"exceptions": [asdict(e) for e in found], "next": following}

        return http.json(200, await self._units.show(request, work))

    async def add(self, request: Request) -> Response:
        body = await http.form(request, EXCEPTION)
        allowed(self._settings, body["seconds"], body.get("secret", False))
        if ({"type", "value"} <= set(body)) == ({"approval", "placeholder"} <= set(body)):
            raise InvalidRequest("an exception names type and value, or an approval and a placeholder in it")

        def work(tx: Transaction, session: Session) -> Done:
            return self._asked(tx, session.person, body)

        return await self._units.act_once(request, work)

    def _asked(self, tx: Transaction, who: Person, body: dict[str, Any]) -> Done:
        vault, approvals = self._units.vault, self._units.approvals
        type_, value, category = body.get("type", ""), body.get("value", ""), ""
        like: Approval | None = None
        if "approval" in body:
            like = approvals.get(tx, who.tenant, body["approval"].upper())
            if like.subject != "call" or not approvals.may_see(tx, like, who):
                raise NotFound("there is no such held call: llmguard approvals list shows them")
            entry = approvals.value(tx, like, body["placeholder"])
            type_, value, category = entry.type, entry.value, entry.category
        secret = body.get("secret", False)
        if category == "secret" and not secret:
            raise InvalidRequest("a detector of secrets found it: say so (secret), and two people approve")
        scope = _scope(body, like)
        change = exceptions.asked(tx, vault, who.tenant, type_, value, scope, body["reason"], body["seconds"], secret)
        human = like.human if like else self._human(tx, who.tenant, scope.principal)
        written = json.dumps({"value": value, "exception": asdict(change)}).encode()
        return self._units.proposed(tx, approvals.propose(tx, who, change, human=human, written=written))

    def _human(self, tx: Transaction, tenant: str, principal: str) -> str | None:
        """Who is behind the only key that an exception is for."""
        if not principal.startswith("key:"):
            return None
        return identity.key(tx, self._units.vault, tenant, principal.removeprefix("key:")).human

    async def remove(self, request: Request) -> Response:
        await http.form(request, NOTHING)

        def work(tx: Transaction, session: Session) -> Done:
            who = session.person
            if not who.groups:
                raise NotAllowed("exceptions are removed by people of a group")
            gone = exceptions.remove(tx, self._units.vault, who.tenant, http.id_of(request), who.email)
            return Done(asdict(gone))

        return await self._units.act_once(request, work)


def allowed(settings: Settings, seconds: int, secret: bool) -> None:
    """Raises InvalidRequest for what the settings do not allow."""
    if seconds > settings.longest_exception:
        raise InvalidRequest(f"an exception lasts {int(settings.longest_exception)} seconds at most here")
    if secret and not settings.secret_exceptions:
        raise InvalidRequest("secrets are never excepted here (secret_exceptions = false)")


def _scope(body: dict[str, Any], like: Approval | None) -> Scope:
    """As asked for; what is not said is as in the held call, unless it is for everywhere."""
    asked = {name: body.get(name, "") for name in _SCOPE}
    if like is not None and not body.get("everywhere"):
        held = {"principal": like.principal, "operation": like.operation, "destination": like.destination}
        asked |= {name: value for name, value in held.items() if not asked[name]}
    return Scope(**asked)
