"""Proof: what the log says of this tenant, the checkpoints that sign it, and the proofs that tie one to the other."""

from __future__ import annotations

import base64
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from llmguard import audit
from llmguard.errors import InvalidRequest, NotAllowed, NotFound
from llmguard.identity import Person
from llmguard.proxy.control import http
from llmguard.proxy.control.endpoints import LIMIT, Endpoint, Fields, fits, number
from llmguard.proxy.control.schemas import HASH, HEX, INTEGER, STRING, maybe, of, record, several
from llmguard.proxy.control.units import Table, Units
from llmguard.store import Transaction

PAGE = 100
_INDEX = number(0, 2**53 - 1, "of an entry, from 0")
_SIZE = number(1, 2**53 - 1, "how many entries of the log")
ENTRIES = Fields({"after": _INDEX, "limit": LIMIT}, frozenset({"after", "limit"}))
INCLUSION = Fields({"size": _SIZE}, frozenset({"size"}))
CONSISTENCY = Fields({"old": _SIZE, "new": _SIZE})


class ProofDesk:
    """Endpoints of the log."""

    def __init__(self, units: Units) -> None:
        self._units = units

    def table(self) -> Table:
        proof = several(HASH)
        return (
            Endpoint(
                "GET",
                "/audit/checkpoint",
                self.checkpoint,
                "The newest signed checkpoint of the log (C2SP tlog-checkpoint).",
                {200: STRING},
                refusals=(404,),
                media="text/plain",
            ),
            Endpoint(
                "GET",
                "/audit/entries",
                self.entries,
                "What was logged of this tenant, oldest first, for people of a group.",
                {200: record(entries=several(of("Entry")), next=maybe(INTEGER))},
                query=ENTRIES,
            ),
            Endpoint(
                "GET",
                "/audit/proof/{index}",
                self.inclusion,
                "That an entry is in the log of a size (the newest checkpoint's).",
                {200: record(index=INTEGER, size=INTEGER, leaf_hash=HEX, proof=proof)},
                query=INCLUSION,
            ),
            Endpoint(
                "GET",
                "/audit/consistency",
                self.consistency,
                "That the log of one size continues that of another.",
                {200: record(old=INTEGER, new=INTEGER, proof=proof)},
                query=CONSISTENCY,
                refusals=(404,),
            ),
        )

    async def checkpoint(self, request: Request) -> Response:
        http.query(request)
        return PlainTextResponse(await self._units.look(request, lambda tx, _: _newest(tx).note))

    async def entries(self, request: Request) -> Response:
        query = http.query(request, ENTRIES)
        after, limit = query.get("after", -1), query.get("limit", PAGE)

        def work(tx: Transaction, who: Person) -> dict[str, Any]:
            if not who.groups:
                raise NotAllowed("the log is for people of a group")
            found, following = audit.entries_of(tx, who.tenant, after, limit)
            shown = [
                {"index": e.index, "id": e.id, "time": e.time, "kind": e.kind, "leaf": e.leaf.decode()} for e in found
            ]
            return {"entries": shown, "next": following}

        return http.json(200, await self._units.show(request, work))

    async def inclusion(self, request: Request) -> Response:
        wanted, text = http.query(request, INCLUSION).get("size"), request.path_params["index"]
        index = int(text) if text.isascii() and text.isdecimal() and len(text) < 17 else None
        if index is None or not fits(index, _INDEX):
            raise NotFound("that is not the index of an entry")

        def work(tx: Transaction, _: Person) -> dict[str, Any]:
            size = _covered(tx, wanted)
            if index >= size:
                raise NotFound(f"entry {index} is not among the first {size}: wait for the next checkpoint")
            proof = audit.inclusion(tx, index, size)
            return {
                "index": index,
                "size": size,
                "leaf_hash": audit.leaf_hash_at(tx, index).hex(),
                "proof": _told(proof),
            }

        return http.json(200, await self._units.show(request, work))

    async def consistency(self, request: Request) -> Response:
        query = http.query(request, CONSISTENCY)
        old, new = query["old"], query["new"]
        if old > new:
            raise InvalidRequest("old is not larger than new")

        def work(tx: Transaction, _: Person) -> dict[str, Any]:
            _covered(tx, new)
            return {"old": old, "new": new, "proof": _told(audit.consistency(tx, old, new))}

        return http.json(200, await self._units.show(request, work))


def _newest(tx: Transaction) -> audit.Checkpoint:
    found = audit.checkpoint_last(tx)
    if found is None:
        raise NotFound("no checkpoint was made yet: the first one comes within a minute")
    return found


def _covered(tx: Transaction, size: int | None) -> int:
    """A size up to which a checkpoint was signed: beyond that a proof proves nothing. Raises NotFound."""
    newest = _newest(tx)
    if size is not None and size > newest.size:
        raise NotFound(f"the newest checkpoint covers {newest.size} entries: wait for the next one")
    return newest.size if size is None else size


def _told(proof: tuple[bytes, ...]) -> list[str]:
    return [base64.b64encode(step).decode() for step in proof]
