"""What waits for people: they look, wait for news, and decide."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from starlette.requests import Request
from starlette.responses import Response

from llmguard import identity
from llmguard.approvals import STATES, ballots, evidence, record, standing, timeline, view
from llmguard.approvals.approvals import MAX_PROPOSAL, MAX_REASON, Ballot
from llmguard.approvals.listing import MOST_COUNTED
from llmguard.errors import NotFound
from llmguard.identity import Person, Session
from llmguard.model import Approval, Payload
from llmguard.proxy.control import http
from llmguard.proxy.control.endpoints import (
    BOOLEAN,
    FLAG,
    ID,
    LIMIT,
    NOTHING,
    Endpoint,
    Fields,
    as_json,
    number,
    pattern,
    text,
    word,
)
from llmguard.proxy.control.polls import Polls
from llmguard.proxy.control.schemas import BOOL, EVIDENCE, INTEGER, STRING, maybe, of, several
from llmguard.proxy.control.schemas import record as schema
from llmguard.proxy.control.units import Done, Table, Units
from llmguard.store import Transaction

Revise = Callable[[Person, str, str, bytes], Approval]
"""``Guard.revise``, which blocks."""
PAGE = 50
LONGEST_WAIT = 30
MAX_REVISION = 8 * 1024 * 1024
"""Bytes of the body of a request that revises."""
_DIGEST = pattern("[0-9a-f]{64}", "the egress digest that was shown: 64 hex digits")
_REASON = text(MAX_REASON, "why; the requester can read it")
_WAIT = number(0, LONGEST_WAIT, "seconds to wait for news")
_LIST = {
    "state": word(*STATES),
    "subject": word("call", "action", "change", "review"),
    "mine": FLAG,
    "waiting": {**FLAG, "description": "only what waits for this person's vote"},
    "open": {**FLAG, "description": "only what people can still change"},
    "closed": {**FLAG, "description": "only what nobody votes on any more"},
    "operation": text(100, "a part of the operation's name"),
    "requester": text(320, "a part of the name of the human, the key or the caller"),
    "type": text(64, "a part of the name of a type that was found"),
    "risk": number(0, 100, "at least, as written or as it would leave"),
    "text": text(200, "words that all occur in id, digest, operation, destination, rule or requester"),
    "counts": {**FLAG, "description": "also how many wait for this person's vote"},
    "prefix": ID,
    "cursor": ID,
    "limit": LIMIT,
    "wait": _WAIT,
}
LIST = Fields(_LIST, frozenset(_LIST))
_FILTERS = ("state", "subject", "prefix", "operation", "requester", "type", "risk", "text")
"""Parameters of a list that are passed on as they are."""
LISTED = schema(
    approvals=several(of("Summary")),
    next=maybe(STRING),
    counts=maybe(schema(waiting=INTEGER, more={**BOOL, "description": "there are more than were counted"})),
)
_RANGE = {"full": FLAG, "offset": number(0, 2**31), "length": number(1, 4 * view.SHOWN)}
SHOW = Fields(_RANGE, frozenset(_RANGE))
NEWS = Fields({"wait": _WAIT}, frozenset({"wait"}))
WAIT = Fields({"version": number(0, 10**9), "timeout": _WAIT}, frozenset({"timeout"}))
VOTE = Fields(
    {
        "verdict": word("approve", "deny", "request_changes"),
        "digest": _DIGEST,
        "reason": _REASON,
        "proposal": text(MAX_PROPOSAL, "what would be approved instead, with request_changes"),
    },
    frozenset({"reason", "proposal"}),
    most=2 * 1024 * 1024,
)
EMERGENCY = Fields({"digest": _DIGEST, "reason": _REASON})
REVISION = Fields({"body": text(MAX_REVISION, "what is sent instead", least=1), "digest": _DIGEST}, most=MAX_REVISION)
STANDING = Fields({"seconds": number(60, standing.LONGEST)})
PAYLOAD = Fields({"full": BOOLEAN}, frozenset({"full"}))
PACK = Fields({"payload": BOOLEAN}, frozenset({"payload"}))
_ONCE = ("Idempotency-Key",)
_ON_VERSION = ("If-Match", *_ONCE)
_CONFLICT = (409,)
_RAW = schema(egress=of("Egress"), original=of("Content"))


class ApprovalDesk:
    """Endpoints of approvals. ``checkpoints``: the folder that they leave the host to.

    ``revise`` is missing where nothing could be sent.
    """

    def __init__(self, units: Units, polls: Polls, checkpoints: Path, revise: Revise | None = None) -> None:
        self._units = units
        self._polls = polls
        self._checkpoints = checkpoints
        self._revise = revise

    def table(self) -> Table:
        one, summary, proposed = "/approvals/{id}", {200: of("Summary")}, {200: of("Proposed"), 202: of("Proposed")}
        listed = {200: LISTED, 304: None}
        looks = (
            Endpoint(
                "GET",
                "/approvals",
                self.list_approvals,
                "What the person may see, newest first; with `wait` and `If-None-Match`, once it is something else.",
                listed,
                query=LIST,
                headers=("If-None-Match",),
                refusals=(429,),
            ),
            Endpoint(
                "GET",
                one,
                self.show,
                "All of an approval, and what the person may do; of the body, 256 KB or what is asked for.",
                {200: of("Approval")},
                query=SHOW,
            ),
            Endpoint(
                "GET",
                f"{one}/timeline",
                self.timeline,
                "What happened to an approval, oldest first; with `wait` and `If-None-Match`, once that changes.",
                {200: schema(approval=of("Summary"), events=several(of("Event"))), 304: None},
                query=NEWS,
                headers=("If-None-Match",),
                refusals=(429,),
            ),
            Endpoint(
                "GET",
                f"{one}/wait",
                self.wait,
                "An approval as soon as its version is not this one any more, or at the end of the time as it is.",
                summary,
                query=WAIT,
                refusals=(429,),
            ),
        )
        acts = (
            Endpoint(
                "POST",
                f"{one}/votes",
                self.vote,
                "Votes on what was shown.",
                summary,
                body=VOTE,
                headers=_ON_VERSION,
                refusals=_CONFLICT,
            ),
            Endpoint(
                "POST",
                f"{one}/break-glass",
                self.break_glass,
                "Lets it through alone in an emergency; everybody is told, and others review it.",
                summary,
                body=EMERGENCY,
                headers=_ON_VERSION,
                refusals=_CONFLICT,
            ),
            Endpoint(
                "POST",
                f"{one}/cancel",
                self.cancel,
                "The human behind it withdraws it; for a reviewer the same as revoke.",
                summary,
                body=NOTHING,
                headers=_ONCE,
                refusals=_CONFLICT,
            ),
            Endpoint(
                "POST",
                f"{one}/revoke",
                self.revoke,
                "A reviewer takes back what was approved and not spent.",
                summary,
                body=NOTHING,
                headers=_ONCE,
                refusals=_CONFLICT,
            ),
            Endpoint(
                "POST",
                f"{one}/revise",
                self.revise,
                "The human behind a call puts another body in its place; it is voted on anew.",
                summary,
                body=REVISION,
                refusals=_CONFLICT,
            ),
            Endpoint(
                "POST",
                f"{one}/payload",
                self.payload,
                "What would leave and what was written, raw. The look is in the log.",
                {200: _RAW},
                body=PAYLOAD,
            ),
            Endpoint(
                "POST",
                f"{one}/evidence",
                self.evidence,
                "What an auditor needs to check it without the guard. The export is in the log.",
                {200: EVIDENCE},
                body=PACK,
            ),
            Endpoint(
                "POST",
                f"{one}/standing",
                self.standing,
                "Asks that calls like this one are approved in advance for a while.",
                proposed,
                body=STANDING,
                headers=_ONCE,
                refusals=_CONFLICT,
            ),
        )
        return (*looks, *acts)

    # ----------------------------------------------------------------- looking

    async def list_approvals(self, request: Request) -> Response:
        query = http.query(request, LIST)
        seconds = query.pop("wait", 0)
        return await self._news(request, None, seconds, lambda tx, who: self._page(tx, who, query))

    async def timeline(self, request: Request) -> Response:
        seconds = http.query(request, NEWS).get("wait", 0)

        def happened(tx: Transaction, who: Person) -> dict[str, Any]:
            approval = self._visible(tx, who, request)
            return {"approval": self._units.summary(tx, approval), "events": timeline.timeline(tx, approval)}

        return await self._news(request, http.id_of(request), seconds, happened)

    async def _news(
        self, request: Request, approval: str | None, seconds: float, work: Callable[[Transaction, Person], Any]
    ) -> Response:
        """What ``work`` finds as soon as it is not what the client has; 304 if it still is after ``seconds``."""
        who = (await self._units.admit(request)).person
        shown: tuple[str, bytes] = ("", b"")

        async def look() -> tuple[str, bytes] | None:
            nonlocal shown
            content = await self._units.show(request, work)
            shown = f'"{hashlib.sha256(content).hexdigest()[:32]}"', content
            return None if http.none_match(request, shown[0]) else shown

        news = await self._polls.until(request, who, approval, seconds, look) if seconds else await look()
        headers = {"etag": shown[0]}
        return http.json(200, news[1], headers) if news else Response(status_code=304, headers=headers)

    def _page(self, tx: Transaction, who: Person, query: dict[str, Any]) -> dict[str, Any]:
        approvals = self._units.approvals
        wanted: dict[str, Any] = {name: query[name] for name in _FILTERS if name in query}
        wanted |= {"cursor": query.get("cursor", "").upper() or None, "limit": query.get("limit", PAGE)}
        wanted |= {name: tx.now for name in ("open", "closed") if query.get(name)}
        if query.get("waiting"):
            found, following = approvals.waiting(tx, who, **wanted)
        else:
            found, following = approvals.list(tx, who.tenant, person=who, mine=bool(query.get("mine")), **wanted)
        names = view.names(tx, self._units.vault, found)
        shown = [view.summary(tx, approvals, a, names) for a in found]
        return {"approvals": shown, "next": following, "counts": self._counts(tx, who) if query.get("counts") else None}

    def _counts(self, tx: Transaction, who: Person) -> dict[str, Any]:
        waiting = self._units.approvals.count_waiting(tx, who)
        return {"waiting": waiting, "more": waiting >= MOST_COUNTED}

    async def show(self, request: Request) -> Response:
        query = http.query(request, SHOW)
        part = view.Part(query.get("offset", 0), None if query.get("full") else query.get("length", view.SHOWN))

        def work(tx: Transaction, who: Person) -> tuple[int, bytes]:
            approval, units = self._visible(tx, who, request), self._units
            names = view.names(tx, units.vault, [approval])
            shown = view.full(tx, units.approvals, approval, names, part)
            proposal = record.proposal(tx, units.vault, approval)
            more = {"may": view.may(tx, units.approvals, approval, who), "proposal": proposal and proposal.decode()}
            return approval.version, as_json({**shown, **more})

        version, content = await self._units.look(request, work)
        return http.json(200, content, {"etag": f'"{version}"'})

    async def wait(self, request: Request) -> Response:
        query = http.query(request, WAIT)
        who, id_ = (await self._units.admit(request)).person, http.id_of(request)
        shown: dict[str, Any] = {}

        async def look() -> dict[str, Any] | None:
            nonlocal shown
            shown = await self._units.look(
                request, lambda tx, who: self._units.summary(tx, self._visible(tx, who, request))
            )
            return shown if shown["version"] != query["version"] else None

        await self._polls.until(request, who, id_, query.get("timeout", LONGEST_WAIT), look)
        return http.json(200, as_json(shown), {"etag": f'"{shown["version"]}"'})

    # ----------------------------------------------------------------- deciding

    async def vote(self, request: Request) -> Response:
        body = await http.form(request, VOTE)
        proposal = body["proposal"].encode() if "proposal" in body else None
        return await self._vote(request, body["verdict"], body, proposal)

    async def break_glass(self, request: Request) -> Response:
        return await self._vote(request, "break_glass", await http.form(request, EMERGENCY), None)

    async def _vote(self, request: Request, verdict: Ballot, body: dict[str, Any], proposal: bytes | None) -> Response:
        version = http.if_match(request)

        def work(tx: Transaction, session: Session) -> Done:
            said = ballots.Ballot(verdict, body["digest"], body.get("reason", ""), version, proposal, session.auth_time)
            after = ballots.cast(tx, self._units.approvals, session.person, http.id_of(request), said)
            return Done(self._units.summary(tx, after))

        return await self._units.act_once(request, work)

    async def cancel(self, request: Request) -> Response:
        return await self._end(request, "cancel")

    async def revoke(self, request: Request) -> Response:
        return await self._end(request, "revoke")

    async def _end(self, request: Request, how: Literal["cancel", "revoke"]) -> Response:
        await http.form(request, NOTHING)

        def work(tx: Transaction, session: Session) -> Done:
            who, approvals = session.person, self._units.approvals
            seen = self._visible(tx, who, request)
            own = how == "cancel" and identity.same_human(who.email, seen.human)
            end = approvals.cancel if own else approvals.revoke
            return Done(self._units.summary(tx, end(tx, who.tenant, seen.id, who)))

        return await self._units.act_once(request, work)

    async def revise(self, request: Request) -> Response:
        body = await http.form(request, REVISION)
        revise = self._revise
        if revise is None:
            raise NotFound("nothing is sent from here, so nothing can be revised")
        session = await self._units.admit(request)
        id_, new = http.id_of(request), body["body"].encode()
        after = await asyncio.to_thread(revise, session.person, id_, body["digest"], new)
        return http.json(200, await self._units.show(request, lambda tx, _: self._units.summary(tx, after)))

    async def standing(self, request: Request) -> Response:
        body = await http.form(request, STANDING)

        def work(tx: Transaction, session: Session) -> Done:
            who = session.person
            like = self._visible(tx, who, request)
            change = standing.asked(like, tx.now, body["seconds"])
            return self._units.proposed(tx, self._units.approvals.propose(tx, who, change, human=like.human))

        return await self._units.act_once(request, work)

    # ----------------------------------------------------------------- taking out

    async def payload(self, request: Request) -> Response:
        body = await http.form(request, PAYLOAD)
        part = view.WHOLE if body.get("full") else view.Part()

        def work(tx: Transaction, who: Person) -> tuple[Any, Payload]:
            return self._units.approvals.payload(tx, who.tenant, http.id_of(request), by=who)

        egress, original = await self._units.act(request, work)

        def shown() -> bytes:
            return as_json({"egress": view.leaving(egress, part), "original": view.text(original, part)})

        return http.json(200, await asyncio.to_thread(shown))

    async def evidence(self, request: Request) -> Response:
        """In three steps: the export is logged, a checkpoint covers that, and then everything is read at one moment."""
        body = await http.form(request, PACK)
        whole, units = bool(body.get("payload")), self._units

        def logged(tx: Transaction, who: Person) -> None:
            evidence.requested(tx, units.vault, self._visible(tx, who, request), who, payload=whole)

        def packed(tx: Transaction, who: Person) -> dict[str, Any]:
            return evidence.pack(tx, units.vault, self._visible(tx, who, request), payload=whole)

        await units.act(request, logged)
        await asyncio.to_thread(evidence.cover, units.store, units.vault, self._checkpoints)
        return http.json(200, await units.show(request, packed))

    def _visible(self, tx: Transaction, who: Person, request: Request) -> Approval:
        return ballots.visible(tx, self._units.approvals, who, http.id_of(request))
