"""Training data that waits for people: its report, decisions about its records, labels of its sample, and lineage."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from llmguard.approvals import ballots, lineage, training
from llmguard.errors import NotFound
from llmguard.identity import Person, Session
from llmguard.model import Approval
from llmguard.proxy.control import http
from llmguard.proxy.control.endpoints import Endpoint, Fields, Schema, number, pattern, word
from llmguard.proxy.control.schemas import (
    COUNTS,
    EMPTY_OR_ULID,
    INTEGER,
    STRING,
    TIME,
    ULID,
    maybe,
    of,
    record,
    several,
)
from llmguard.proxy.control.units import Done, Table, Units
from llmguard.sifting.choices import MAX_RANGES
from llmguard.store import Transaction

DecideRecords = Callable[[Person, str, str, Mapping[str, str], int | None], Approval]
"""``Guard.decide_records``, which blocks while the file is sifted anew."""
_DIGEST = pattern("[0-9a-f]{64}", "the egress digest that was shown: 64 hex digits")
_OBJECT: Schema = {"type": "object"}
DECIDE = Fields(
    {
        "digest": _DIGEST,
        "version": number(1, 10**9, "the approval's version that was shown"),
        "decisions": {
            "type": "object",
            "description": f'by record, or range as in "17-40" (from 1, at most {MAX_RANGES}): keep, drop or redact',
            "additionalProperties": word("keep", "drop", "redact"),
        },
    },
    most=256 * 1024,
)
LABEL = Fields(
    {
        "digest": _DIGEST,
        "labels": {
            "type": "object",
            "description": "by record of the sample, from 1: missed, fine, or none again",
            "additionalProperties": word("missed", "fine", "none"),
        },
    }
)
_REVIEW = record(
    report={**_OBJECT, "description": "what is known of the file, as `llmguard sanitize --report` writes it; redacted"},
    decisions=several(record(records=STRING, choice=word("keep", "drop", "redact"), by=STRING)),
    decided={**COUNTS, "description": "how many records of the file those are"},
    labels={
        **_OBJECT,
        "description": "what reviewers saw in records of the sample",
        "additionalProperties": record(label=word("missed", "fine"), by=STRING),
    },
)
_STEP = record(
    id=STRING,
    kind=word("file", "job", "batch", "approval"),
    operation=STRING,
    principal=STRING,
    call=STRING,
    digest={**STRING, "description": "of what was sent to make it"},
    sources={**several(STRING), "description": "ids that it was made from"},
    known={**several(STRING), "description": "those of them that passed here"},
    created=TIME,
    report={**_OBJECT, "description": "what was known of it, in kinds and counts"},
    approval=maybe(
        record(
            id=ULID,
            state=STRING,
            operation=STRING,
            rule=STRING,
            requester=STRING,
            digest=STRING,
            revision=INTEGER,
            revises=EMPTY_OR_ULID,
            approvers=several(record(human=STRING, verdict=STRING, time=TIME)),
            decided=COUNTS,
            labels=COUNTS,
            records={**maybe(INTEGER), "description": "of the file that it is about"},
        )
    ),
    log={**several(INTEGER), "description": "its entries in the log"},
)
_CONFLICT = (409,)


class TrainingDesk:
    """Endpoints of training data. ``decide`` is missing where nothing could be sent."""

    def __init__(self, units: Units, decide: DecideRecords | None = None) -> None:
        self._units = units
        self._decide = decide

    def table(self) -> Table:
        one = "/approvals/{id}"
        return (
            Endpoint(
                "GET",
                f"{one}/report",
                self.report,
                "What is known of held training data, with a redacted sample, and what people said of its records.",
                {200: _REVIEW},
                refusals=(404,),
            ),
            Endpoint(
                "GET",
                f"{one}/report.html",
                self.page,
                "The report as one page without scripts, to keep.",
                {200: None},
                refusals=(404,),
            ),
            Endpoint(
                "POST",
                f"{one}/records",
                self.decide,
                "Keeps, drops or redacts records of held training data: a revision, which is voted on anew. Whoever"
                " keeps one as it was written does not vote on it.",
                {200: of("Summary")},
                body=DECIDE,
                refusals=_CONFLICT,
            ),
            Endpoint(
                "POST",
                f"{one}/labels",
                self.label,
                "Says of records in the sample whether something was missed in them; gives the bounds of the report.",
                {200: _REVIEW},
                body=LABEL,
                refusals=_CONFLICT,
            ),
            Endpoint(
                "GET",
                "/lineage/{name}",
                self.lineage,
                "Where a file, a job or a batch of the provider comes from, or what an approval let through: for the"
                " human behind it, and for people of a group.",
                {200: record(id=STRING, steps=several(_STEP))},
                refusals=(404,),
            ),
        )

    async def report(self, request: Request) -> Response:
        http.query(request)
        return http.json(200, await self._units.show(request, lambda tx, who: self._review(tx, who, request).as_json()))

    async def page(self, request: Request) -> Response:
        """Shown in no frame and with no rights, and saved by whoever clicks on it: its own style stands in it."""
        http.query(request)
        review = await self._units.look(request, lambda tx, who: self._review(tx, who, request))
        content = await asyncio.to_thread(lambda: review.whole.html())
        name = "".join(c for c in http.id_of(request) if c.isalnum())
        headers = {
            "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
            "content-disposition": f'attachment; filename="report-{name}.html"',
        }
        return Response(content, headers=headers, media_type="text/html")

    def _review(self, tx: Transaction, who: Person, request: Request) -> training.Review:
        seen = ballots.visible(tx, self._units.approvals, who, http.id_of(request))
        return training.read(tx, self._units.vault, seen)

    async def decide(self, request: Request) -> Response:
        body = await http.form(request, DECIDE)
        decide = self._decide
        if decide is None:
            raise NotFound("nothing is sent from here, so nothing can be revised")
        session = await self._units.admit(request)
        told = session.person, http.id_of(request), body["digest"], body["decisions"], body["version"]
        after = await asyncio.to_thread(decide, *told)
        return http.json(200, await self._units.show(request, lambda tx, _: self._units.summary(tx, after)))

    async def label(self, request: Request) -> Response:
        body = await http.form(request, LABEL)

        def work(tx: Transaction, session: Session) -> Done:
            told = session.person, http.id_of(request), body["digest"], body["labels"]
            return Done(training.label(tx, self._units.approvals, *told).as_json())

        return await self._units.act_once(request, work)

    async def lineage(self, request: Request) -> Response:
        http.query(request)
        name = request.path_params["name"]

        def work(tx: Transaction, who: Person) -> dict[str, Any]:
            return {"id": name, "steps": lineage.steps(tx, self._units.approvals, who, name)}

        return http.json(200, await self._units.show(request, work))
