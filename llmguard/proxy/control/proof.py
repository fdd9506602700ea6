"""Proof: what the log says of this tenant, the checkpoints that sign it, and the proofs that tie one to the other."""

from __future__ import annotations

import base64
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from llmguard import audit
from llmguard.approvals import evidence
from llmguard.errors import InvalidRequest, NotAllowed, NotFound
from llmguard.identity import Person
from llmguard.proxy.control import http
from llmguard.proxy.control.endpoints import FLAG, LIMIT, Endpoint, Fields, fits, number, text
from llmguard.proxy.control.schemas import HASH, HEX, INTEGER, STRING, TIME, maybe, of, record, several
from llmguard.proxy.control.units import Table, Units
from llmguard.store import Transaction

PAGE = 100
_INDEX = number(0, 2**53 - 1, "of an entry, from 0")
_SIZE = number(1, 2**53 - 1, "how many entries of the log")
_LOOKED_FOR = {
    "kind": text(64, "how the kind begins"),
    "since": number(0, 2**53 - 1, "UTC milliseconds"),
    "who": text(320, "a value in the entry, such as an address or an id"),
}
ENTRIES = Fields(
    {
        "after": _INDEX,
        "limit": LIMIT,
        "newest": {**FLAG, "description": "1: newest first, and what is looked for"},
        "before": _INDEX,
        **_LOOKED_FOR,
    },
    frozenset({"after", "limit", "newest", "before", *_LOOKED_FOR}),
)
_CHECKPOINT = record(size=INTEGER, root=HEX, note=STRING, created=TIME, published=maybe(TIME))
_PLACED = record(checkpoint=_CHECKPOINT, leaf_hash=HEX, proof=several(HASH))
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
                "What was logged of this tenant, oldest first, for people of a group; with `newest` the other way.",
                {200: record(entries=several(of("Entry")), next=maybe(INTEGER))},
                query=ENTRIES,
            ),
            Endpoint(
                "GET",
                "/audit/entries/{index}",
                self.entry,
                "One entry, and its proof under the newest checkpoint that left the host; else under the newest.",
                {200: record(entry=of("Entry"), placed=maybe(_PLACED), key=STRING)},
            ),
            Endpoint(
                "GET",
                "/audit/state",
                self.state,
                "How long the log is, the newest checkpoint, the newest that left the host, and the key that signs.",
                {200: record(entries=INTEGER, newest=maybe(_CHECKPOINT), outside=maybe(_CHECKPOINT), key=STRING)},
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
        after, limit, newest = query.get("after", -1), query.get("limit", PAGE), query.get("newest", 0)
        wanted = {name: query[name] for name in _LOOKED_FOR if name in query}
        if ((wanted or "before" in query) and not newest) or (newest and "after" in query):
            raise InvalidRequest("newest goes with before, kind, since and who; without it there is after alone")

        def work(tx: Transaction, who: Person) -> dict[str, Any]:
            _of_a_group(who)
            if newest:
                found, following = audit.search(tx, who.tenant, limit, query.get("before"), **wanted)
            else:
                found, following = audit.entries_of(tx, who.tenant, after, limit)
            return {"entries": [_shown(e) for e in found], "next": following}

        return http.json(200, await self._units.show(request, work))

    async def entry(self, request: Request) -> Response:
        http.query(request)
        index = _index(request)

        def work(tx: Transaction, who: Person) -> dict[str, Any]:
            _of_a_group(who)
            found = audit.entries(tx, index, index + 1)
            if not found or found[0].tenant != who.tenant:
                raise NotFound("that is not the index of an entry")
            head = audit.covering(tx, index)
            placed = None
            if head is not None:
                proof = _told(audit.inclusion(tx, index, head.size))
                leaf = audit.leaf_hash_at(tx, index).hex()
                placed = {"checkpoint": _noted(head), "leaf_hash": leaf, "proof": proof}
            return {"entry": _shown(found[0]), "placed": placed, "key": self._key()}

        return http.json(200, await self._units.show(request, work))

    async def state(self, request: Request) -> Response:
        http.query(request)

        def work(tx: Transaction, who: Person) -> dict[str, Any]:
            newest, outside = audit.checkpoint_last(tx), audit.covering(tx)
            outside = outside if outside is not None and outside.published is not None else None
            told = {"newest": _noted(newest) if newest else None, "outside": _noted(outside) if outside else None}
            return {"entries": audit.size(tx), **told, "key": self._key()}

        return http.json(200, await self._units.show(request, work))

    def _key(self) -> str:
        """The verifier key of the log."""
        vault = self._units.vault
        return str(audit.Verifier.of(evidence.origin(vault), vault.keyring.signer()))

    async def inclusion(self, request: Request) -> Response:
        wanted, index = http.query(request, INCLUSION).get("size"), _index(request)

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


def _of_a_group(who: Person) -> None:
    """Raises NotAllowed."""
    if not who.groups:
        raise NotAllowed("the log is for people of a group")


def _index(request: Request) -> int:
    """The index of an entry that the path names. Raises NotFound."""
    told = request.path_params["index"]
    index = int(told) if told.isascii() and told.isdecimal() and len(told) < 17 else None
    if index is None or not fits(index, _INDEX):
        raise NotFound("that is not the index of an entry")
    return index


def _shown(e: audit.LoggedEntry) -> dict[str, Any]:
    return {"index": e.index, "id": e.id, "time": e.time, "kind": e.kind, "leaf": e.leaf.decode()}


def _noted(c: audit.Checkpoint) -> dict[str, Any]:
    root = c.root.hex()
    return {"size": c.size, "root": root, "note": c.note, "created": c.created, "published": c.published}


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
