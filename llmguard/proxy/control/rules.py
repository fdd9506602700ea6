"""The policy in force, and asking for another. It takes effect by an approval alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from llmguard.approvals import rules
from llmguard.approvals.rules import MAX_SOURCE, PolicyChange
from llmguard.identity import Person, Session
from llmguard.policy import Policy
from llmguard.proxy.control import http
from llmguard.proxy.control.endpoints import Endpoint, Fields, items
from llmguard.proxy.control.schemas import HEX, maybe, of, record, several
from llmguard.proxy.control.units import Done, Table, Units
from llmguard.store import Transaction

_RULE: Mapping[str, Any] = {"type": "object"}
RULES = Fields({"rules": items(_RULE, 1000)}, most=4 * MAX_SOURCE)


class RulesDesk:
    """Endpoints of the policy. ``file``: the rules of the configuration, None for the shipped ones."""

    def __init__(self, units: Units, file: Sequence[Mapping[str, Any]] | None) -> None:
        self._units = units
        self._file = Policy(file)

    def table(self) -> Table:
        shown = record(version=HEX, rules=several(_RULE), pending=maybe(HEX))
        return (
            Endpoint(
                "GET",
                "/policy",
                self.show,
                "The rules in force, and the version of the configuration's if it is another: that one is pending.",
                {200: shown},
            ),
            Endpoint(
                "POST",
                "/policy",
                self.propose,
                "Asks that other rules are put in force.",
                {200: of("Proposed"), 202: of("Proposed")},
                body=RULES,
                headers=("Idempotency-Key",),
                refusals=(409,),
            ),
        )

    async def show(self, request: Request) -> Response:
        http.query(request)

        def work(tx: Transaction, who: Person) -> dict[str, Any]:
            source = rules.in_force(tx, self._units.vault, who.tenant)
            version = rules.current(tx, who.tenant) if source is not None else self._file.version
            pending = None if version == self._file.version else self._file.version
            return {"version": version, "rules": json.loads(source or self._file.source), "pending": pending}

        return http.json(200, await self._units.show(request, work))

    async def propose(self, request: Request) -> Response:
        body = await http.form(request, RULES)
        policy = rules.parsed(json.dumps(body["rules"]))

        def work(tx: Transaction, session: Session) -> Done:
            return self._units.proposed(
                tx, self._units.approvals.propose(tx, session.person, PolicyChange(policy.source))
            )

        return await self._units.act_once(request, work)
