"""Powers for a time: delegations and standing grants. Giving one is an approval, ending one needs nobody."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from llmguard.approvals import delegations, standing
from llmguard.identity import Person, Session
from llmguard.proxy.control import http
from llmguard.proxy.control.endpoints import CURSOR, LIMIT, NOTHING, Endpoint, Fields, items, number, text
from llmguard.proxy.control.schemas import of, page
from llmguard.proxy.control.units import Done, Table, Units
from llmguard.store import Transaction

PAGE = 50
PAGES = Fields({"cursor": CURSOR, "limit": LIMIT}, frozenset({"cursor", "limit"}))
_MOMENT = number(0, 2**53 - 1, "UTC milliseconds")
DELEGATION = Fields({"receiver": text(320), "groups": items(text(64), 32), "starts": _MOMENT, "ends": _MOMENT})
_ONCE = ("Idempotency-Key",)


class PowerDesk:
    """Endpoints of delegations and standing grants."""

    def __init__(self, units: Units) -> None:
        self._units = units

    def table(self) -> Table:
        return (
            Endpoint(
                "GET",
                "/delegations",
                self.list_delegations,
                "Who votes in whose place, now or later.",
                {200: page("delegations", of("Delegation"))},
                query=PAGES,
            ),
            Endpoint(
                "POST",
                "/delegations",
                self.delegate,
                "Asks that somebody else votes in one's place for a time.",
                {200: of("Proposed"), 202: of("Proposed")},
                body=DELEGATION,
                headers=_ONCE,
                refusals=(409,),
            ),
            Endpoint(
                "POST",
                "/delegations/{id}/revoke",
                self.revoke_delegation,
                "Ends it at once.",
                {200: of("Delegation")},
                body=NOTHING,
                headers=_ONCE,
            ),
            Endpoint(
                "GET",
                "/grants",
                self.list_grants,
                "Which calls are approved in advance, and until when.",
                {200: page("grants", of("Grant"))},
                query=PAGES,
            ),
            Endpoint(
                "POST",
                "/grants/{id}/revoke",
                self.revoke_grant,
                "Ends it at once.",
                {200: of("Grant")},
                body=NOTHING,
                headers=_ONCE,
            ),
        )

    async def list_delegations(self, request: Request) -> Response:
        cursor, limit = asked_page(request)

        def work(tx: Transaction, who: Person) -> dict[str, Any]:
            found, following = delegations.of(tx, self._units.vault, who.tenant, cursor, limit)
            return {"delegations": [asdict(d) for d in found], "next": following}

        return http.json(200, await self._units.show(request, work))

    async def delegate(self, request: Request) -> Response:
        body = await http.form(request, DELEGATION)

        def work(tx: Transaction, session: Session) -> Done:
            who, groups = session.person, tuple(body["groups"])
            change = delegations.asked(tx, who, body["receiver"], groups, body["starts"], body["ends"])
            return self._units.proposed(tx, self._units.approvals.propose(tx, who, change))

        return await self._units.act_once(request, work)

    async def revoke_delegation(self, request: Request) -> Response:
        await http.form(request, NOTHING)

        def work(tx: Transaction, session: Session) -> Done:
            return Done(asdict(delegations.revoke(tx, self._units.vault, session.person, http.id_of(request))))

        return await self._units.act_once(request, work)

    async def list_grants(self, request: Request) -> Response:
        cursor, limit = asked_page(request)

        def work(tx: Transaction, who: Person) -> dict[str, Any]:
            found, following = standing.of(tx, self._units.vault, who.tenant, cursor, limit)
            return {"grants": [asdict(g) for g in found], "next": following}

        return http.json(200, await self._units.show(request, work))

    async def revoke_grant(self, request: Request) -> Response:
        await http.form(request, NOTHING)

        def work(tx: Transaction, session: Session) -> Done:
            return Done(asdict(standing.revoke(tx, self._units.vault, session.person, http.id_of(request))))

        return await self._units.act_once(request, work)


def asked_page(request: Request, fields: Fields = PAGES) -> tuple[str | None, int]:
    """Where a page begins, and how long it is at most."""
    query = http.query(request, fields)
    cursor = query.get("cursor")
    return cursor.upper() if cursor and fields is PAGES else cursor, query.get("limit", PAGE)
