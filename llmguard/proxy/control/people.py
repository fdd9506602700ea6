"""People and keys: most changes of them are approvals by somebody else."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from llmguard import identity
from llmguard.errors import NotAllowed, NotFound
from llmguard.identity import Person, PersonChange, Session, Source
from llmguard.identity.keys import LONGEST, MAX_SCOPES
from llmguard.proxy.control import http
from llmguard.proxy.control.endpoints import (
    BOOLEAN,
    LIMIT,
    NOTHING,
    Endpoint,
    Fields,
    as_json,
    items,
    number,
    pattern,
    text,
    word,
)
from llmguard.proxy.control.powers import PAGES, asked_page
from llmguard.proxy.control.schemas import LINKED_KEY, NEW_KEY, of, page
from llmguard.proxy.control.units import Done, Table, Units
from llmguard.store import Transaction

_SOURCES: dict[str, Source | None] = {"": None, "guard": "guard", "provider": "provider"}
_ONCE = ("Idempotency-Key",)
_ADDRESS = text(320, "an address of a person")
_LIMITS = {"scopes": items(text(64), MAX_SCOPES), "expires_in": number(1, LONGEST, "seconds")}
PEOPLE = Fields({"cursor": _ADDRESS, "limit": LIMIT}, frozenset({"cursor", "limit"}))
PERSON = Fields({"email": _ADDRESS, "groups": items(text(64), 32), "source": word(*_SOURCES)}, frozenset({"source"}))
KEY = Fields(
    {"name": text(64, least=1), "human": _ADDRESS, "agent": BOOLEAN, **_LIMITS}, frozenset({"human", "agent", *_LIMITS})
)
LINK = Fields({"digest": pattern("[0-9a-f]{64}", "64 hex digits"), "human": _ADDRESS, **_LIMITS}, frozenset(_LIMITS))


class PeopleDesk:
    """Endpoints of people and keys."""

    def __init__(self, units: Units) -> None:
        self._units = units

    def table(self) -> Table:
        proposed = {200: of("Proposed"), 202: of("Proposed")}
        return (
            Endpoint(
                "GET",
                "/people",
                self.list_people,
                "Everybody who can log in, by address.",
                {200: page("people", of("Person"))},
                query=PEOPLE,
            ),
            Endpoint(
                "POST",
                "/people",
                self.change_person,
                "Asks that a person is added, or is in other groups.",
                proposed,
                body=PERSON,
                headers=_ONCE,
                refusals=(409,),
            ),
            Endpoint(
                "POST",
                "/people/{email}/deactivate",
                self.deactivate,
                "Asks that a person may do nothing any more; oneself, at once.",
                proposed,
                body=NOTHING,
                headers=_ONCE,
                refusals=(409,),
            ),
            Endpoint(
                "GET",
                "/keys",
                self.list_keys,
                "Keys of the data plane, without their secrets, oldest first.",
                {200: page("keys", of("Key"))},
                query=PAGES,
            ),
            Endpoint(
                "POST",
                "/keys",
                self.add_key,
                "Makes a key, whose secret is in this answer alone; for anybody but oneself, asks for it.",
                {200: NEW_KEY, 202: NEW_KEY},
                body=KEY,
                refusals=(409,),
            ),
            Endpoint(
                "POST",
                "/keys/link",
                self.link_key,
                "Asks that somebody is accountable for a provider's key, known by its digest.",
                {200: LINKED_KEY, 202: LINKED_KEY},
                body=LINK,
                headers=_ONCE,
                refusals=(404, 409),
            ),
            Endpoint(
                "POST",
                "/keys/{id}/revoke",
                self.revoke_key,
                "Ends a key at once.",
                {200: of("Key")},
                body=NOTHING,
                headers=_ONCE,
            ),
        )

    async def list_people(self, request: Request) -> Response:
        cursor, limit = asked_page(request, PEOPLE)

        def work(tx: Transaction, who: Person) -> dict[str, Any]:
            found, following = identity.people_page(tx, self._units.vault, who.tenant, cursor, limit)
            return {"people": [shown_person(p) for p in found], "next": following}

        return http.json(200, await self._units.show(request, work))

    async def change_person(self, request: Request) -> Response:
        body = await http.form(request, PERSON)
        groups = identity.normal_groups(body["groups"])
        source = _SOURCES[body.get("source", "")]
        change = PersonChange(identity.normal_email(body["email"]), groups, source=source)
        return await self._units.act_once(request, lambda tx, session: self._propose(tx, session.person, change))

    async def deactivate(self, request: Request) -> Response:
        await http.form(request, NOTHING)
        email = identity.normal_email(request.path_params["email"])

        def work(tx: Transaction, session: Session) -> Done:
            who = session.person
            person = identity.person(tx, self._units.vault, who.tenant, email)
            if person is None:
                raise NotFound("there is no person of that address: llmguard users list shows them")
            return self._propose(tx, who, PersonChange(email, person.groups, active=False))

        return await self._units.act_once(request, work)

    async def list_keys(self, request: Request) -> Response:
        cursor, limit = asked_page(request)

        def work(tx: Transaction, who: Person) -> dict[str, Any]:
            found, following = identity.keys_page(tx, self._units.vault, who.tenant, cursor, limit)
            return {"keys": [asdict(k) for k in found], "next": following}

        return http.json(200, await self._units.show(request, work))

    async def add_key(self, request: Request) -> Response:
        """Not repeatable under a key: the answer holds a secret, and is kept nowhere."""
        body = await http.form(request, KEY)
        name, human, limits = body["name"], body.get("human") or None, _limits(body)

        def work(tx: Transaction, who: Person) -> Done:
            token, change = identity.new_key(
                tx, self._units.vault, name, human, agent=body.get("agent", False), **limits
            )
            return self._propose(tx, who, change, id=change.id, token=token)

        done = await self._units.act(request, work)
        return http.json(done.status, as_json(done.content))

    async def link_key(self, request: Request) -> Response:
        body = await http.form(request, LINK)

        def work(tx: Transaction, session: Session) -> Done:
            change = identity.link_key(tx, body["digest"], body["human"], **_limits(body))
            return self._propose(tx, session.person, change, id=change.id)

        return await self._units.act_once(request, work)

    async def revoke_key(self, request: Request) -> Response:
        await http.form(request, NOTHING)

        def work(tx: Transaction, session: Session) -> Done:
            who = session.person
            key = identity.key(tx, self._units.vault, who.tenant, http.id_of(request))
            if not who.groups and not identity.same_human(who.email, key.human):
                raise NotAllowed("only the human behind a key, or somebody in a group, revokes it")
            return Done(asdict(identity.revoke_key(tx, self._units.vault, who.tenant, key.id, who.email)))

        return await self._units.act_once(request, work)

    def _propose(self, tx: Transaction, who: Person, change: identity.Change, **more: Any) -> Done:
        return self._units.proposed(tx, self._units.approvals.propose(tx, who, change), **more)


def shown_person(person: Person) -> dict[str, Any]:
    return {
        "email": person.email,
        "tenant": person.tenant,
        "groups": list(person.groups),
        "active": person.active,
        "source": person.source,
        "created": person.created,
    }


def _limits(body: dict[str, Any]) -> dict[str, Any]:
    """What a key is for, and for how many seconds it lives."""
    return {"scopes": body.get("scopes", ()), "lifetime": body.get("expires_in")}
