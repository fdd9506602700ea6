"""Statistics: what was decided in the last days, in counts, and how people decided. It shows no text and no value.

People of a group see all of their tenant, everybody else the calls that he answers for.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, get_args

from starlette.requests import Request
from starlette.responses import Response

from llmguard import identity
from llmguard.approvals import STATES
from llmguard.approvals.endings import Endings, endings
from llmguard.config import Settings
from llmguard.identity import Person
from llmguard.model import Verdict
from llmguard.notify.deliveries import health
from llmguard.proxy.control import http
from llmguard.proxy.control.endpoints import Endpoint, Fields, Schema, as_json, number, word
from llmguard.proxy.control.figures import HOUR_MS, OTHERS, Figures, Tally
from llmguard.proxy.control.schemas import BOOL, COUNTS, INTEGER, STRING, TIME, maybe, record, several
from llmguard.proxy.control.units import Table, Units
from llmguard.store import Transaction

DAYS = 30
DAY_MS = 24 * HOUR_MS
ROWS = 50
"""Principals, rules and types that are told, those with the most calls first."""
MINUTE_MS = 60_000
TIMES = tuple(minutes * MINUTE_MS for minutes in (1, 5, 15, 60, 240, 1440))
"""Where the bins of decision times end (ms); the last one has no end."""
_QUERY = Fields({"days": number(1, DAYS, "1: the last 24 hours, by the hour; else days of UTC, today's too")})
_ONE_RULE = record(rule=STRING, verdict=STRING, calls=INTEGER)
_STATISTICS: Schema = record(
    days=INTEGER,
    whose=word("everybody", "own"),
    since=TIME,
    until=TIME,
    complete={**BOOL, "description": "false while earlier calls are still being counted: ask again"},
    kept={**INTEGER, "description": "seconds for which calls are kept; 0: there is nothing to count"},
    calls=INTEGER,
    times=several(record(begin=TIME, calls=INTEGER, verdicts=COUNTS)),
    verdicts=COUNTS,
    types=several(record(type=STRING, found=INTEGER, replaced=INTEGER)),
    risks=several(record(least=INTEGER, most=INTEGER, inherent=INTEGER, residual=INTEGER)),
    rules=several(_ONE_RULE),
    shadow=several(_ONE_RULE),
    principals=several(
        record(id=STRING, name=STRING, human=STRING, calls=INTEGER, held=INTEGER, blocked=INTEGER, findings=INTEGER)
    ),
    groups=several(record(group=STRING, calls=INTEGER, held=INTEGER, blocked=INTEGER, findings=INTEGER)),
    approvals=record(
        states=COUNTS,
        decided=INTEGER,
        median=maybe(INTEGER),
        p90=maybe(INTEGER),
        times=several(record(most=maybe(INTEGER), decided=INTEGER)),
        partial=BOOL,
    ),
    channels=several(
        record(
            name=STRING,
            kind=STRING,
            missing=several(STRING),
            problem=STRING,
            failures=INTEGER,
            waiting=INTEGER,
            lost=INTEGER,
        )
    ),
)


class StatisticsDesk:
    """The endpoint of the dashboard."""

    def __init__(self, units: Units, settings: Settings) -> None:
        self._units = units
        self._kept = int(settings.calls_kept)
        self._channels = settings.channels
        self._tenant = settings.tenant
        self._figures = Figures(units.store, self._kept * 1000)
        self._free = asyncio.Semaphore(1)  # calls on their way come first

    def table(self) -> Table:
        return (
            Endpoint(
                "GET",
                "/statistics",
                self.show,
                "Calls by verdict, type, risk, rule and caller, and how held ones ended; in counts.",
                {200: _STATISTICS},
                query=_QUERY,
            ),
        )

    async def show(self, request: Request) -> Response:
        days = http.query(request, _QUERY)["days"]
        who, now = await self._units.look(request, lambda tx, who: (who, tx.now))
        human = None if who.groups else who.email
        begin = now // HOUR_MS * HOUR_MS - 23 * HOUR_MS if days == 1 else now // DAY_MS * DAY_MS - (days - 1) * DAY_MS
        async with self._free:
            hours, complete = await asyncio.to_thread(self._figures.look, who.tenant, human, now, begin)

        def work(tx: Transaction) -> bytes:
            told = self._told(tx, who, hours, days, begin)
            ended = endings(tx, who.tenant, begin, human)
            about = {"days": days, "whose": "own" if human else "everybody", "since": begin, "until": now}
            return as_json(
                {
                    **about,
                    "complete": complete,
                    "kept": self._kept,
                    **told,
                    "approvals": _decided(ended),
                    "channels": self._heard(tx, who),
                }
            )

        return http.json(200, await asyncio.to_thread(self._units.store.read, work))

    def _told(
        self, tx: Transaction, who: Person, hours: list[tuple[int, Tally]], days: int, begin: int
    ) -> dict[str, Any]:
        step = HOUR_MS if days == 1 else DAY_MS
        times = {begin + i * step: Tally() for i in range(24 if days == 1 else days)}
        whole = Tally()
        for hour, tally in hours:
            whole.merge(tally)
            slot = times.get(begin + (hour - begin) // step * step)
            if slot is not None:
                slot.calls += tally.calls
                slot.verdicts.update(tally.verdicts)
        principals = sorted(whole.principals.items(), key=lambda p: (-p[1][2], p[0]))
        return {
            "calls": whole.calls,
            "times": [{"begin": t, "calls": s.calls, "verdicts": _verdicts(s.verdicts)} for t, s in times.items()],
            "verdicts": _verdicts(whole.verdicts),
            "types": [
                {"type": t, "found": found, "replaced": replaced}
                for t, (found, replaced) in sorted(whole.types.items(), key=lambda t: (-t[1][0], t[0]))[:ROWS]
            ],
            "risks": [
                {"least": i * 10, "most": 100 if i == 9 else i * 10 + 9, "inherent": written, "residual": left}
                for i, (written, left) in enumerate(whole.risks)
            ],
            "rules": _rules(whole.rules),
            "shadow": _rules(whole.shadow),
            "principals": [
                dict(zip(("id", "name", "human", "calls", "held", "blocked", "findings"), (id_, *row), strict=True))
                for id_, row in principals[:ROWS]
            ],
            "groups": self._groups(tx, who, principals),
        }

    def _heard(self, tx: Transaction, who: Person) -> list[dict[str, Any]]:
        """How the channels do that tell of approvals, for people of a group."""
        if not who.groups or who.tenant != self._tenant:
            return []
        told = []
        for channel in self._channels:
            h = health(tx, who.tenant, channel.name)
            plain = {"name": channel.name, "kind": channel.kind, "missing": list(channel.missing), "problem": h.problem}
            told.append(plain | {"failures": h.failures, "waiting": h.waiting, "lost": h.lost})
        return told

    def _groups(self, tx: Transaction, who: Person, principals: list[tuple[str, list[Any]]]) -> list[dict[str, Any]]:
        """Calls by the groups of the people who answer for them, as they are today; who is in two counts in both."""
        humans: dict[str, list[int]] = {}
        for _, (_, human, *counts) in principals:
            row = humans.setdefault(human, [0, 0, 0, 0])
            row[:] = [a + b for a, b in zip(row, counts, strict=True)]
        groups: dict[str, list[int]] = {}
        for human, counts in humans.items():
            person = identity.person(tx, self._units.vault, who.tenant, human) if human else None
            for group in (person.groups if person else ()) or ("",):
                row = groups.setdefault(group, [0, 0, 0, 0])
                row[:] = [a + b for a, b in zip(row, counts, strict=True)]
        names = ("group", "calls", "held", "blocked", "findings")
        listed = sorted(groups.items(), key=lambda g: (-g[1][0], g[0]))[:ROWS]
        return [dict(zip(names, (group, *counts), strict=True)) for group, counts in listed]


def _verdicts(counts: Counter[str]) -> dict[str, int]:
    return {verdict: counts[verdict] for verdict in get_args(Verdict)}


def _rules(counts: Counter[tuple[str, str]]) -> list[dict[str, Any]]:
    listed = sorted(counts.items(), key=lambda r: (r[0][0] == OTHERS, -r[1], r[0]))[:ROWS]
    return [{"rule": rule, "verdict": verdict, "calls": calls} for (rule, verdict), calls in listed]


def _decided(ended: Endings) -> dict[str, Any]:
    bins = [0] * (len(TIMES) + 1)
    for taken in ended.taken:
        bins[next((i for i, most in enumerate(TIMES) if taken < most), len(TIMES))] += 1
    return {
        "states": {state: ended.states[state] for state in STATES if ended.states.get(state)},
        "decided": len(ended.taken),
        "median": ended.quantile(0.5),
        "p90": ended.quantile(0.9),
        "times": [{"most": most, "decided": n} for most, n in zip((*TIMES, None), bins, strict=True)],
        "partial": ended.partial,
    }
