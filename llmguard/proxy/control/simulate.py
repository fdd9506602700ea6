"""What another policy would have decided of kept calls, and what experience suggests. Nothing is changed by looking."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from llmguard.approvals import history, rules
from llmguard.errors import NotAllowed
from llmguard.identity import Person
from llmguard.policy import Policy
from llmguard.policy.file import PolicyFile
from llmguard.policy.replay import BINS, EFFECTS, replay
from llmguard.proxy.control import http
from llmguard.proxy.control.endpoints import CURSOR, Endpoint, Fields, Schema, as_json, number, word
from llmguard.proxy.control.schemas import (
    BOOL,
    COUNTS,
    HEX,
    INTEGER,
    NUMBER,
    STRING,
    TIME,
    maybe,
    record,
    several,
)
from llmguard.proxy.control.units import Table, Units
from llmguard.store import Transaction, calls

MOST = 5_000
"""Calls that one request decides anew."""
AT_ONCE = 1
"""Requests that decide anew at a time in this process: calls on their way come first."""
_TABLE: Schema = {"type": "object"}
_MOMENT = number(0, 2**53 - 1, "UTC milliseconds")
SIMULATE = Fields(
    {"policy": _TABLE, "since": _MOMENT, "until": _MOMENT, "cursor": CURSOR, "limit": number(1, MOST, "calls")},
    frozenset({"since", "until", "cursor", "limit"}),
    most=4 * rules.MAX_SOURCE,
)
SINCE = Fields({"since": _MOMENT}, frozenset({"since"}))
_COUNTED: Schema = {"type": "object", "additionalProperties": COUNTS}
_REPORT = record(
    calls=INTEGER,
    first=TIME,
    last=TIME,
    anew={**INTEGER, "description": "calls that a former policy decided: what stands before is decided anew"},
    partial={**INTEGER, "description": "calls of which more was found than is kept"},
    rows=several(
        record(
            effect=word(*EFFECTS),
            before=STRING,
            before_rule=STRING,
            after=STRING,
            after_rule=STRING,
            calls=INTEGER,
            examples=several(STRING),
        )
    ),
    by={"type": "object", "additionalProperties": _COUNTED},
    names={"type": "object", "additionalProperties": STRING},
    days={"type": "object", "additionalProperties": several(INTEGER)},
    risks={"type": "array", "items": several(INTEGER), "minItems": BINS, "maxItems": BINS},
    people=several(INTEGER),
    moved=several(INTEGER),
    shadow=_COUNTED,
    effects=COUNTS,
)
_REVIEWING = record(seconds=NUMBER, votes=INTEGER, assumed=BOOL, held=INTEGER, approvals=INTEGER)
_SIMULATED = record(
    version=HEX,
    against={**HEX, "description": "the policy in force, which it is compared with"},
    since=TIME,
    until=TIME,
    report=_REPORT,
    reviewing=maybe(_REVIEWING),
    left={**maybe(INTEGER), "description": "calls that are not counted yet; null behind the first page"},
    next=maybe(STRING),
)
_SUGGESTION = record(
    kind=word("always_approved", "mostly_denied", "unanswered", "slow", "shadow", "uncertain"),
    title=STRING,
    evidence={"type": "object", "additionalProperties": NUMBER},
    place={**STRING, "description": "where the TOML goes"},
    toml=STRING,
    risk=STRING,
)
_ADVICE = record(
    first=TIME,
    last=TIME,
    calls=INTEGER,
    approvals=INTEGER,
    exceptions=INTEGER,
    suggestions=several(_SUGGESTION),
    types=several(record(type=STRING, calls=INTEGER, findings=INTEGER, guesses=INTEGER)),
)


class SimulationDesk:
    """Endpoints of replays and suggestions. ``file``: the policy of the configuration."""

    def __init__(self, units: Units, file: PolicyFile) -> None:
        self._units = units
        self._file = file
        self._free = asyncio.Semaphore(AT_ONCE)

    def table(self) -> Table:
        return (
            Endpoint(
                "POST",
                "/policies/simulate",
                self.simulate,
                f"What a policy would have decided of the kept calls since a moment, {MOST:,} at a time.",
                {200: _SIMULATED},
                body=SIMULATE,
            ),
            Endpoint(
                "GET",
                "/policies/suggestions",
                self.suggestions,
                "What findings marked wrong, decisions of people and rules in shadow mode say of the policy in force.",
                {200: _ADVICE},
                query=SINCE,
            ),
        )

    async def simulate(self, request: Request) -> Response:
        body = await http.form(request, SIMULATE)
        source = json.dumps(body["policy"])
        await self._units.look(request, lambda _, who: _of_a_group(who))
        async with self._free:
            new = await asyncio.to_thread(rules.parsed, source)
            read = await self._units.look(request, lambda tx, who: self._read(tx, who, body))
            content = await asyncio.to_thread(_simulated, new, *read)
        return http.json(200, content)

    def _read(self, tx: Transaction, who: Person, body: dict[str, Any]) -> tuple[str, list[calls.Kept], dict[str, Any]]:
        since, until = body.get("since", max(0, tx.now - history.WEEK_MS)), body.get("until", tx.now + 1)
        after, before = max(history.begins(since), body.get("cursor", "").upper()), history.begins(until)
        limit = body.get("limit", MOST)
        found = calls.page(tx, who.tenant, after, limit + 1, before)
        more, found = len(found) > limit, found[:limit]
        told: dict[str, Any] = {"since": since, "until": until, "next": found[-1].id if more else None}
        first = "cursor" not in body  # the others cost what they decide, and no more
        told["left"] = calls.count(tx, who.tenant, found[-1].id, before) if first and more else 0 if first else None
        month = min(since, max(0, tx.now - 4 * history.WEEK_MS))
        told["reviewing"] = asdict(history.reviewing(tx, who.tenant, month)) if first else None
        return rules.in_force(tx, self._units.vault, who.tenant) or self._file.policy.source, found, told

    async def suggestions(self, request: Request) -> Response:
        since = http.query(request, SINCE).get("since")

        def work(tx: Transaction, who: Person) -> dict[str, Any]:
            _of_a_group(who)
            source = rules.in_force(tx, self._units.vault, who.tenant) or self._file.policy.source
            begin = max(0, tx.now - 4 * history.WEEK_MS) if since is None else since
            return asdict(history.advice(tx, self._units.vault, who.tenant, rules.parsed(source), begin))

        async with self._free:
            return http.json(200, await self._units.show(request, work))


def _of_a_group(who: Person) -> None:
    """As the log. Raises NotAllowed."""
    if not who.groups:
        raise NotAllowed("what was decided is for people of a group")


def _simulated(new: Policy, source: str, found: list[calls.Kept], told: dict[str, Any]) -> bytes:
    old = rules.parsed(source)
    report = replay(found, old, new, history.needs)
    return as_json({"version": new.version, "against": old.version, "report": report.as_json(), **told})
