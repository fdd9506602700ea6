"""The policy in force, and asking for another. It takes effect by an approval alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from llmguard.approvals import history, rules
from llmguard.approvals.rules import MAX_SOURCE, PolicyChange
from llmguard.identity import Person, Session
from llmguard.policy import MAX_RULES, MODES
from llmguard.policy.file import PolicyFile
from llmguard.proxy.control import http
from llmguard.proxy.control.endpoints import Endpoint, Fields, items, word
from llmguard.proxy.control.schemas import HEX, STRING, maybe, of, record
from llmguard.proxy.control.units import Done, Table, Units
from llmguard.store import Transaction

_TABLE: Mapping[str, Any] = {"type": "object"}
_MORE = {"styles": _TABLE, "weights": _TABLE, "mode": word(*MODES)}
POLICY = Fields({"rules": items(_TABLE, MAX_RULES), **_MORE}, frozenset(_MORE), most=4 * MAX_SOURCE)


class RulesDesk:
    """Endpoints of the policy. ``file``: the policy of the configuration."""

    def __init__(self, units: Units, file: PolicyFile) -> None:
        self._units = units
        self._file = file

    def table(self) -> Table:
        error = {**maybe(STRING), "description": "why the policy file cannot be used as it stands now"}
        shown = record(version=HEX, policy=_TABLE, pending=maybe(HEX), file_error=error)
        return (
            Endpoint(
                "GET",
                "/policy",
                self.show,
                "The policy in force, and the version of the configuration's if it is another: that one is pending.",
                {200: shown},
            ),
            Endpoint(
                "POST",
                "/policy",
                self.propose,
                "Asks that another policy is put in force.",
                {200: of("Proposed"), 202: of("Proposed")},
                body=POLICY,
                headers=("Idempotency-Key",),
                refusals=(409,),
            ),
        )

    async def show(self, request: Request) -> Response:
        http.query(request)

        def work(tx: Transaction, who: Person) -> dict[str, Any]:
            source, file = rules.in_force(tx, self._units.vault, who.tenant), self._file.policy
            version = rules.current(tx, who.tenant) if source is not None else file.version
            return {
                "version": version,
                "policy": json.loads(source or file.source),
                "pending": None if version == file.version else file.version,
                "file_error": self._file.error or None,
            }

        return http.json(200, await self._units.show(request, work))

    async def propose(self, request: Request) -> Response:
        policy = rules.parsed(json.dumps(await http.form(request, POLICY)))
        vault = self._units.vault
        summary = await self._units.look(request, lambda tx, who: history.at_a_glance(tx, vault, who.tenant, policy))

        def work(tx: Transaction, session: Session) -> Done:
            change = PolicyChange(policy.source)
            return self._units.proposed(tx, self._units.approvals.propose(tx, session.person, change, summary=summary))

        return await self._units.act_once(request, work)
