"""What waits for people: they look, and decide."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from llmguard import identity
from llmguard.approvals import STATES, view
from llmguard.errors import InvalidRequest, NotFound
from llmguard.identity import Person
from llmguard.model import Approval
from llmguard.proxy.control import http
from llmguard.proxy.control.units import Table, Units
from llmguard.store import Transaction

PAGE = 50


class ApprovalDesk:
    """Endpoints of approvals."""

    def __init__(self, units: Units) -> None:
        self._units = units

    def table(self) -> Table:
        return (
            ("GET", "/approvals", self.list_approvals),
            ("GET", "/approvals/{id}", self.show_approval),
            ("POST", "/approvals/{id}/votes", self.vote),
            ("POST", "/approvals/{id}/cancel", self.cancel),
            ("POST", "/approvals/{id}/payload", self.payload),
        )

    async def list_approvals(self, request: Request) -> Response:
        query = http.query(request, {"state", "cursor", "prefix", "limit"})
        state, cursor, prefix = query.get("state"), query.get("cursor"), query.get("prefix", "").upper()
        if state is not None and state not in STATES:
            raise InvalidRequest(f"state is one of {', '.join(STATES)}")
        if not all(http.is_id(x) for x in (cursor, prefix) if x):
            raise InvalidRequest("cursor and prefix are ids of approvals, or the beginning of one")
        limit = http.number(query.get("limit", str(PAGE)), 1, 200)

        def work(tx: Transaction, who: Person) -> dict[str, Any]:
            page, following = self._units.approvals.list(
                tx, who.tenant, person=who, state=state, cursor=cursor, prefix=prefix, limit=limit
            )
            names = view.names(tx, self._units.vault, who.tenant)
            return {"approvals": [view.summary(tx, self._units.approvals, a, names) for a in page], "next": following}

        return JSONResponse(await self._units.look(request, work))

    async def show_approval(self, request: Request) -> Response:
        def work(tx: Transaction, who: Person) -> dict[str, Any]:
            approval = self._visible(tx, who, http.id_of(request))
            return view.full(tx, self._units.approvals, approval, view.names(tx, self._units.vault, who.tenant))

        shown = await self._units.look(request, work)
        return JSONResponse(shown, headers={"etag": f'"{shown["version"]}"'})

    async def vote(self, request: Request) -> Response:
        body = await http.body(request, {"verdict", "digest", "reason"}, optional={"reason"})
        verdict, digest = http.text(body, "verdict", 20), http.text(body, "digest", 64)
        reason, version = http.text(body, "reason", 2000), http.if_match(request)

        def work(tx: Transaction, who: Person) -> dict[str, Any]:
            seen = self._visible(tx, who, http.id_of(request))
            after = self._units.approvals.vote(tx, who.tenant, seen.id, who, verdict, digest, reason, version)  # type: ignore[arg-type]
            return self._units.summary(tx, who, after)

        return JSONResponse(await self._units.act(request, work))

    async def cancel(self, request: Request) -> Response:
        """The human behind a request withdraws it; for a reviewer, taking back what was approved and not spent."""
        await http.body(request, set())

        def work(tx: Transaction, who: Person) -> dict[str, Any]:
            seen = self._visible(tx, who, http.id_of(request))
            own = identity.same_human(who.email, seen.human)
            end = self._units.approvals.cancel if own else self._units.approvals.revoke
            return self._units.summary(tx, who, end(tx, who.tenant, seen.id, who))

        return JSONResponse(await self._units.act(request, work))

    async def payload(self, request: Request) -> Response:
        await http.body(request, set())

        def work(tx: Transaction, who: Person) -> dict[str, Any]:
            egress, original = self._units.approvals.payload(tx, who.tenant, http.id_of(request), by=who)
            return {"egress": view.leaving(egress), "original": view.text(original)}

        return JSONResponse(await self._units.act(request, work))

    def _visible(self, tx: Transaction, who: Person, id_: str) -> Approval:
        approval = self._units.approvals.get(tx, who.tenant, id_)
        if not self._units.approvals.may_see(approval, who):
            raise NotFound("there is no such approval: llmguard approvals list shows them")
        return approval
