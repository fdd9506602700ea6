"""People and keys: most changes of them are approvals by somebody else."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from llmguard import identity
from llmguard.errors import NotAllowed, NotFound
from llmguard.identity import Person, PersonChange
from llmguard.proxy.control import http
from llmguard.proxy.control.units import Table, Units
from llmguard.store import Transaction


class PeopleDesk:
    """Endpoints of people and keys."""

    def __init__(self, units: Units) -> None:
        self._units = units

    def table(self) -> Table:
        return (
            ("GET", "/people", self.list_people),
            ("POST", "/people", self.change_person),
            ("POST", "/people/{email}/deactivate", self.deactivate),
            ("GET", "/keys", self.list_keys),
            ("POST", "/keys", self.add_key),
            ("POST", "/keys/{id}/revoke", self.revoke_key),
        )

    async def list_people(self, request: Request) -> Response:
        def work(tx: Transaction, who: Person) -> list[dict[str, Any]]:
            return [shown_person(p) for p in identity.people(tx, self._units.vault, who.tenant)]

        return JSONResponse({"people": await self._units.look(request, work)})

    async def change_person(self, request: Request) -> Response:
        body = await http.body(request, {"email", "groups"})
        change = PersonChange(
            identity.normal_email(http.text(body, "email", 320)), identity.normal_groups(http.texts(body, "groups"))
        )
        return proposed(await self._units.act(request, lambda tx, who: self._propose(tx, who, change)))

    async def deactivate(self, request: Request) -> Response:
        await http.body(request, set())
        email = identity.normal_email(request.path_params["email"])

        def work(tx: Transaction, who: Person) -> dict[str, Any]:
            person = identity.person(tx, self._units.vault, who.tenant, email)
            if person is None:
                raise NotFound("there is no person of that address: llmguard users list shows them")
            return self._propose(tx, who, PersonChange(email, person.groups, active=False))

        return proposed(await self._units.act(request, work))

    async def list_keys(self, request: Request) -> Response:
        def work(tx: Transaction, who: Person) -> list[dict[str, Any]]:
            return [shown_key(k) for k in identity.keys(tx, self._units.vault, who.tenant)]

        return JSONResponse({"keys": await self._units.look(request, work)})

    async def add_key(self, request: Request) -> Response:
        body = await http.body(request, {"name", "human"}, optional={"human"})
        name, human = http.text(body, "name", 64), http.text(body, "human", 320) or None

        def work(tx: Transaction, who: Person) -> dict[str, Any]:
            token, change = identity.new_key(tx, self._units.vault, name, human)
            return {**self._propose(tx, who, change), "id": change.id, "token": token}

        return proposed(await self._units.act(request, work))

    async def revoke_key(self, request: Request) -> Response:
        await http.body(request, set())

        def work(tx: Transaction, who: Person) -> dict[str, Any]:
            key = identity.key(tx, self._units.vault, who.tenant, http.id_of(request))
            if not who.groups and not identity.same_human(who.email, key.human):
                raise NotAllowed("only the human behind a key, or somebody in a group, revokes it")
            return shown_key(identity.revoke_key(tx, self._units.vault, who.tenant, key.id, who.email))

        return JSONResponse(await self._units.act(request, work))

    def _propose(self, tx: Transaction, who: Person, change: identity.Change) -> dict[str, Any]:
        approval = self._units.approvals.propose(tx, who, change)
        return {"applied": approval is None, "approval": approval and self._units.summary(tx, who, approval)}


def shown_person(person: Person) -> dict[str, Any]:
    return {
        "email": person.email,
        "tenant": person.tenant,
        "groups": list(person.groups),
        "active": person.active,
        "created": person.created,
    }


def shown_key(key: identity.Key) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "kind": key.kind,
        "human": key.human,
        "created": key.created,
        "revoked": key.revoked,
    }


def proposed(result: dict[str, Any]) -> Response:
    return JSONResponse(result, status_code=200 if result["applied"] else 202)
