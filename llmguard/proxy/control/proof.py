"""Proof: what the log says, signed."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from llmguard.errors import NotFound
from llmguard.identity import Person
from llmguard.proxy.control.units import Table, Units
from llmguard.store import Transaction


class ProofDesk:
    """Endpoints of the log."""

    def __init__(self, units: Units) -> None:
        self._units = units

    def table(self) -> Table:
        return (("GET", "/audit/checkpoint", self.checkpoint),)

    async def checkpoint(self, request: Request) -> Response:
        """The newest signed checkpoint of the log (C2SP tlog-checkpoint)."""

        def work(tx: Transaction, _: Person) -> str:
            row = tx.one("SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1")
            if row is None:
                raise NotFound("no checkpoint was made yet: the first one comes within a minute")
            return str(row["note"])

        return PlainTextResponse(await self._units.look(request, work))
