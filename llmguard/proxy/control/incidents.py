"""After an incident: where a value went, and what today's detectors find in what was held. Each look is in the log."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from time import monotonic
from typing import Any, get_args

from starlette.requests import Request
from starlette.responses import Response

from llmguard.approvals import history, incidents
from llmguard.approvals.incidents import Find, Left, Missed
from llmguard.errors import InvalidRequest, LLMGuardError, NotAllowed, NotFound
from llmguard.identity import Person
from llmguard.proxy.control import http
from llmguard.proxy.control.endpoints import CURSOR, Endpoint, Fields, as_json, number, pattern, text
from llmguard.proxy.control.schemas import (
    COUNTS,
    EMPTY_OR_ULID,
    HEX,
    INTEGER,
    STRING,
    TIME,
    ULID,
    maybe,
    record,
    several,
)
from llmguard.proxy.control.units import Table, Units
from llmguard.store import Transaction

MAX_VALUE = 4096
PAGE, MOST = 100, 200
RESCAN, MOST_RESCANNED = 50, 200
MAX_BYTES = 16 * 1024 * 1024
"""Bytes of sealed bodies after which one request has looked through enough."""
MAX_SECONDS = 2.0
"""Seconds after which it has, too."""
WHERE = Fields(
    {
        "value": text(MAX_VALUE, "what is looked for", least=1),
        "type": pattern("[A-Z][A-Z0-9_]{0,63}", "a type of findings; all, if it is not said"),
        "cursor": CURSOR,
        "limit": number(1, MOST),
    },
    frozenset({"type", "cursor", "limit"}),
)
RESCANNED = Fields(
    {"since": number(0, 2**53 - 1, "UTC milliseconds"), "cursor": CURSOR, "limit": number(1, MOST_RESCANNED)},
    frozenset({"since", "cursor", "limit"}),
)
_STOOD = record(
    call=ULID,
    time=TIME,
    types=several(STRING),
    principal=STRING,
    human=STRING,
    operation=STRING,
    destination=STRING,
    verdict=STRING,
    rule=STRING,
    left={"type": "string", "enum": list(get_args(Left))},
    approval=EMPTY_OR_ULID,
    state=STRING,
)
_WHERE = record(
    calls=several(_STOOD),
    next=maybe(STRING),
    types={**INTEGER, "description": "types that were looked for"},
    salt={**HEX, "description": "opens the commitment of the log; kept nowhere else"},
    commitment=HEX,
)
_RESCANNED = record(
    approvals=several(
        record(approval=ULID, created=TIME, operation=STRING, state=STRING, missed=COUNTS, left=COUNTS, problem=STRING)
    ),
    looked={**INTEGER, "description": "held calls that were looked through"},
    next=maybe(STRING),
)


@dataclass(frozen=True, slots=True)
class Detectors:
    """Those of today: the types that they know, and what they find in the body of a held call (``Guard.sight``)."""

    types: frozenset[str]
    find: Find


class IncidentDesk:
    """Endpoints of incidents. Without ``detectors`` (nothing is scanned here) a type has to be named."""

    def __init__(self, units: Units, detectors: Detectors | None = None) -> None:
        self._units = units
        self._detectors = detectors
        self._free = asyncio.Semaphore(1)

    def table(self) -> Table:
        return (
            Endpoint(
                "POST",
                "/incidents/where",
                self.where,
                "Which calls a value stood in, newest first. The look is in the log, with a commitment of the value.",
                {200: _WHERE},
                body=WHERE,
            ),
            Endpoint(
                "POST",
                "/incidents/rescan",
                self.rescan,
                "What today's detectors find in held calls and was not found then, in counts. The look is in the log.",
                {200: _RESCANNED},
                body=RESCANNED,
                refusals=(404,),
            ),
        )

    async def where(self, request: Request) -> Response:
        body = await http.form(request, WHERE)
        value, before, limit = body["value"], body.get("cursor", "~").upper(), body.get("limit", PAGE)
        types = self._types(body.get("type"))
        units = self._units

        def logged(tx: Transaction, who: Person) -> tuple[str, str]:
            _of_a_group(who)
            return incidents.looked(tx, who, value, len(types))

        salt, commitment = await units.act(request, logged)

        def work(tx: Transaction, who: Person) -> dict[str, Any]:
            found, more = incidents.where(tx, units.vault, who.tenant, types, value, before, limit)
            following = found[-1].call if more and found else None
            told = {"types": len(types), "salt": salt, "commitment": commitment}
            return {"calls": [asdict(stood) for stood in found], "next": following, **told}

        async with self._free:
            return http.json(200, await units.show(request, work))

    def _types(self, asked: str | None) -> list[str]:
        if asked is not None:
            return [asked]
        if self._detectors is None:
            raise InvalidRequest("nothing is scanned here: say which type")
        return sorted(self._detectors.types)

    async def rescan(self, request: Request) -> Response:
        body = await http.form(request, RESCANNED)
        after, limit = (
            max(history.begins(body.get("since", 0)), body.get("cursor", "").upper()),
            body.get("limit", RESCAN),
        )
        detectors, units = self._detectors, self._units
        if detectors is None:
            raise NotFound("nothing is scanned here, so nothing can be looked through again")

        def logged(tx: Transaction, who: Person) -> tuple[str, list[str]]:
            _of_a_group(who)
            incidents.rescanned(tx, who, after, limit)
            return who.tenant, incidents.sealed(tx, who.tenant, after, limit + 1)

        async with self._free:
            tenant, ids = await units.act(request, logged)
            found = await asyncio.to_thread(lambda: list(self._looked_through(tenant, ids[:limit], detectors.find)))
        more = len(ids) > len(found)
        told = [asdict(m) for _, m in found if m and (m.missed or m.left or m.problem)]
        following = found[-1][0] if more and found else None
        return http.json(200, as_json({"approvals": told, "looked": len(found), "next": following}))

    def _looked_through(self, tenant: str, ids: list[str], find: Find) -> Iterator[tuple[str, Missed | None]]:
        """At least one; no more once it was enough."""
        end, left, vault = monotonic() + MAX_SECONDS, MAX_BYTES, self._units.vault
        for id_ in ids:
            try:
                one = self._units.store.read(lambda tx, id_=id_: incidents.opened(tx, vault, tenant, id_))  # type: ignore[misc]
            except LLMGuardError as e:
                yield id_, incidents.unreadable(id_, e)
                continue
            yield id_, incidents.missed(one, find)
            left -= len(one.original) + len(one.egress.body)
            if left <= 0 or monotonic() >= end:
                return


def _of_a_group(who: Person) -> None:
    """As the log. Raises NotAllowed."""
    if not who.groups:
        raise NotAllowed("incidents are looked into by people of a group")
