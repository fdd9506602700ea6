"""Approvals at scale: thousands that wait, in a real store, through the library and through a real ``llmguard serve``.

``spread`` has them from many callers, each with a person; ``one caller`` is the worst case, all of one. A hundredth is
for a group of its own, so that somebody sees a few of many. Then 500 calls are held at once on the data plane.

Every figure is one call after the other in one process. Budget, to compare with and not asserted: list, vote and hold
under 50 ms at the 99th percentile with 10,000 waiting, on an idle machine; pages of the inbox under 300 ms.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import tempfile
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from statistics import median
from time import perf_counter, process_time, sleep
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from benchmarks.report import Row, percentile, say
from benchmarks.site import Site, stop, wait_until_ready
from llmguard import identity
from llmguard.approvals import view
from llmguard.approvals.waiting import PERIOD
from llmguard.config import Settings
from llmguard.effects import Commit
from llmguard.guard import Guard
from llmguard.identity import Person
from llmguard.model import Approval, Decision, Egress, Hold, Principal, new_id
from llmguard.request import Request
from llmguard.store import Transaction, wall_ms
from llmguard.testing import EchoUpstream

PACKAGES = ("llmguard", "uvicorn", "cryptography")
CALLERS = 300
HELD = 500
"""Calls held at once, and waiters in a room."""
MOST = 300
"""Calls of one operation that are timed; fewer if they take longer than ``--seconds``."""
BUDGET_MS, PAGE_MS = 50.0, 300.0
ANN, BO, DEE, EVE = (f"{n}@example.org" for n in ("ann", "bo", "dee", "eve"))
"""Ann asks where there is one caller; Bo reviews and sees all; Dee sees a hundredth; Eve sees nothing."""
RULES = (
    {"name": "few", "when": "call.operation == 'embeddings.create'", "verdict": "require_approval", "group": "few"},
    {"name": "all", "when": "true", "verdict": "require_approval"},
)


def run(options: Namespace) -> list[Row]:
    """One row for each operation, by how many wait and whose they are."""
    sizes = [n for n in (100, 1_000) if n < options.waiting] + [options.waiting]
    rows: list[Row] = []
    for layout, callers in (("spread", CALLERS), ("one caller", 1)):
        with tempfile.TemporaryDirectory() as folder, Site(_settings(Path(folder), "http://127.0.0.1:9")) as site:
            office = Office(site, callers)
            for size in sizes:
                office.fill(size)
                say(f"{layout}: {size} wait")
                rows += measured(office, {"waiting": size, "callers": layout}, options.seconds)
    with (
        EchoUpstream() as upstream,
        tempfile.TemporaryDirectory() as folder,
        Site(_settings(Path(folder), upstream.url)) as site,
    ):
        options.facts[f"{HELD} calls held at once"] = held_at_once(Office(site, 1), upstream, HELD)
    return rows


def _settings(folder: Path, upstream: str) -> Settings:
    return Settings(
        data=folder / "data",
        upstream=upstream,
        upstream_name="echo",
        upstream_key="none",
        names=False,
        rules=RULES,
        max_waiting=1_000_000,
        hold_wait=600.0,
    )


# --------------------------------------------------------------------------- an office with much to decide


class Office:
    """People, ``callers`` keys, and approvals that wait. New ones are asked for as the pipeline asks for them."""

    def __init__(self, site: Site, callers: int) -> None:
        self.site = site
        self.guard = site.guard
        for email, group in ((BO, "reviewers"), (DEE, "few"), (EVE, "guests")):
            site.person(email, group)
        humans = [ANN, *(f"caller-{i:03}@example.org" for i in range(1, callers))]
        for human in humans:
            site.person(human, "callers")
        self.keys = [site.key(f"key {i}", human) for i, human in enumerate(humans)]
        self.principals = [self.guard.store.read(lambda tx, k=k: _principal(tx, self.guard, k)) for k in self.keys]  # type: ignore[misc]
        self._templates = [_asked(self.guard, self.principals[0], p) for p in ("/embeddings", "/chat/completions")]
        self._numbers = count()

    def new(self) -> Hold:
        """A request that nobody has made yet: 2 KB, a hundredth of them for the small group."""
        number = next(self._numbers)
        template = self._templates[bool(number % 100)]
        body = template.egress.body[:-1] + f',"user":"{number}"}}'.encode()
        principal = self.principals[number % len(self.principals)]
        egress = replace(template.egress, body=body)
        return replace(
            template, principal=principal, request_key=f"{number:064x}", egress=egress, call=new_id(wall_ms())
        )

    def fill(self, size: int) -> None:
        """Asks until ``size`` approvals wait."""
        missing = size - self.site.pending()
        while missing > 0:
            batch = [self.new() for _ in range(min(missing, 200))]
            self.guard.store.transact(lambda tx, batch=batch: [self.guard.approvals.hold(tx, h) for h in batch])  # type: ignore[misc]
            missing -= len(batch)

    def hold(self, hold: Hold) -> Approval:
        return self.guard.store.transact(lambda tx: self.guard.approvals.hold(tx, hold), durable=True)

    def person(self, email: str) -> Person:
        found = self.guard.store.read(
            lambda tx: identity.person(tx, self.guard.vault, self.site.settings.tenant, email)
        )
        assert found is not None
        return found

    def vote(self, approval: Approval, email: str = BO) -> Approval:
        who = self.person(email)

        def work(tx: Transaction) -> Approval:
            return self.guard.approvals.vote(
                tx, approval.tenant, approval.id, who, "approve", approval.egress_digest, "a known customer"
            )

        return self.guard.store.transact(work, durable=True)

    def claim(self, approval: Approval) -> None:
        principal = next(p for p in self.principals if p.id == approval.principal)
        anew = replace(self._templates[1].decision, requirement=approval.requirement)
        self.guard.store.transact(lambda tx: self._claimed(tx, approval, principal, anew), durable=True)

    def _claimed(self, tx: Transaction, approval: Approval, principal: Principal, anew: Decision) -> None:
        got = self.guard.approvals.claim(tx, approval.tenant, approval.id, principal, anew, self.guard.owner)
        if not isinstance(got, Egress):
            raise RuntimeError(f"an approved call could not be claimed: {got.state}")

    def settle(self, approval: Approval) -> None:
        self.guard.store.transact(
            lambda tx: self.guard.approvals.settle(tx, approval.tenant, approval.id, "EXECUTED"), durable=True
        )


def _principal(tx: Transaction, guard: Guard, key: str) -> Principal:
    return identity.authenticate(tx, guard.vault, key)


def _asked(guard: Guard, principal: Principal, path: str) -> Hold:
    """What the pipeline asks for when it holds a 2 KB call with a value in it."""
    said = "write to jane.roe@example.org about the contract. " + "the team plans more work for next year. " * 48
    asked = {"model": "m", "input": said} if path == "/embeddings" else _chat(said)
    headers = (("content-type", "application/json"), ("accept", "application/json"))
    request = Request("POST", path, "", headers, json.dumps(asked).encode())
    flow = guard.flow(guard.call(request, principal, guard.settings.destination, guard.account("none")))
    effect = flow.send(None)
    while not (isinstance(effect, Commit) and effect.hold):
        effect = flow.send(guard.perform(effect))
    flow.close()
    return effect.hold


def _chat(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], **more}


# --------------------------------------------------------------------------- what takes how long


@dataclass(frozen=True)
class Clock:
    """Makes rows: ``common`` columns, an operation, its times."""

    common: dict[str, Any]
    seconds: float

    def row(self, operation: str, through: str, works: Iterator[Callable[[], object]], *, rest: bool = False) -> Row:
        """Times works one after the other, until the time is over or there are none left. ``rest``: does those too."""
        taken: list[float] = []
        end = perf_counter() + self.seconds
        for work in works:
            begun = perf_counter()
            work()
            taken.append((perf_counter() - begun) * 1e3)
            if len(taken) >= 20 and perf_counter() > end:
                break
        if rest:
            for work in works:
                work()
        slowest = percentile(taken, 0.99)
        budget = PAGE_MS if operation.startswith("inbox") else BUDGET_MS
        limited = operation.startswith(("list", "vote", "hold", "inbox"))
        within = ("yes" if slowest < budget else "NO") if limited else "–"
        times = {"p50 ms": median(taken), "p99 ms": slowest, "calls": len(taken), "in budget": within}
        return {**self.common, "operation": operation, "through": through, **times}


def measured(office: Office, common: dict[str, Any], seconds: float) -> list[Row]:
    """Every operation. As many wait afterwards as before."""
    clock = Clock(common, seconds)
    rows = [*_looking(office, clock), *_deciding(office, clock), _room(office, clock)]
    server = office.site.serve()
    try:
        wait_until_ready("llmguard serve", office.site.url, server)
        rows += _over_http(office, clock)
    finally:
        stop(server)
    return rows


def _again(work: Callable[[], object], times: int = MOST) -> Iterator[Callable[[], object]]:
    return (work for _ in range(times))


_LISTS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("first page", BO, {}),
    ("page in the middle", BO, {"cursor": "middle"}),
    ("PENDING", BO, {"state": "PENDING"}),
    ("EXECUTED", BO, {"state": "EXECUTED"}),
    ("who sees a hundredth", DEE, {}),
    ("who sees a hundredth, PENDING", DEE, {"state": "PENDING"}),
    ("who sees nothing", EVE, {}),
    ("who asked, own", ANN, {}),
)
"""Pages of 50: words, who looks, and the query."""


_PAGES = (
    ("waiting for me", ""),
    ("all that waits", "view=open"),
    ("by risk and type", "view=all&risk=10&type=email"),
    ("words that nothing has", "view=all&text=nothing+has+these"),
)
"""The inbox's queue, as Bo sees it."""


def _looking(office: Office, clock: Clock) -> Iterator[Row]:
    guard, tenant = office.guard, office.site.settings.tenant
    middle = _middle(office)
    for words, email, query in _LISTS:
        who, asked = office.person(email), _query(query, middle)

        def page(tx: Transaction, who: Person = who, asked: dict[str, Any] = asked) -> object:
            found, _ = guard.approvals.list(tx, tenant, person=who, **asked)
            return [view.summary(tx, guard.approvals, a, {}) for a in found]

        yield clock.row(f"list, {words}", "library", _again(lambda page=page: guard.store.read(page)))  # type: ignore[misc]

    def show(tx: Transaction) -> object:
        return view.full(tx, guard.approvals, guard.approvals.get(tx, tenant, middle), {})

    yield clock.row("show", "library", _again(lambda: guard.store.read(show)))


def _query(query: dict[str, str], middle: str) -> dict[str, Any]:
    return {k: middle if v == "middle" else v for k, v in query.items()}


def _middle(office: Office) -> str:
    """The id in the middle of what waits."""
    row = office.guard.store.read(
        lambda tx: tx.one(
            "SELECT id FROM approvals WHERE state = 'PENDING' ORDER BY id LIMIT 1 OFFSET ?", office.site.pending() // 2
        )
    )
    assert row is not None
    return str(row["id"])


def _deciding(office: Office, clock: Clock) -> Iterator[Row]:
    """The life of new approvals, step by step."""
    made: list[Approval] = []
    asked: list[Hold] = []

    def hold() -> None:
        asked.append(office.new())
        made.append(office.hold(asked[-1]))

    yield clock.row("hold, new", "library", _again(hold))
    yield clock.row("hold, joins", "library", (lambda h=h: office.hold(h) for h in asked))  # type: ignore[misc]
    few = [a for a in made if a.operation != "chat.completions.create"]
    mine = [a for a in made if a not in few]
    yield clock.row("vote", "library", (lambda a=a: office.vote(a) for a in mine), rest=True)  # type: ignore[misc]
    for a in few:
        office.vote(a, DEE)
    yield clock.row("claim", "library", (lambda a=a: office.claim(a) for a in mine), rest=True)  # type: ignore[misc]
    yield clock.row("sweep, while they execute", "library", _again(_sweep(office), 50))
    yield clock.row("settle", "library", (lambda a=a: office.settle(a) for a in mine), rest=True)  # type: ignore[misc]
    yield clock.row("sweep", "library", _again(_sweep(office), 50))


def _sweep(office: Office) -> Callable[[], object]:
    return lambda: office.guard.store.transact(office.guard.approvals.sweep, durable=True)


def _room(office: Office, clock: Clock) -> Row:
    """CPU of this process for each look of a room with many waiters, when nothing happens."""
    guard = office.guard
    waiting = guard.store.read(
        lambda tx: guard.approvals.list(tx, office.site.settings.tenant, state="PENDING", limit=HELD)[0]
    )
    inside = [guard.room.enter(a) for a in (waiting * HELD)[:HELD]]
    looks, used = [], process_time()
    for _ in range(int(max(clock.seconds, 2) / PERIOD / 4) or 1):
        sleep(4 * PERIOD)
        looks.append((process_time() - used) * 1e3 / 4)
        used = process_time()
    for news in inside:
        guard.room.leave(news)
    times = {"p50 ms": median(looks), "p99 ms": max(looks), "calls": 4 * len(looks), "in budget": "–"}
    return {**clock.common, "operation": f"look of a room of {HELD} (CPU)", "through": "library", **times}


# --------------------------------------------------------------------------- over HTTP


class Caller:
    """One connection to the control plane, as one person."""

    def __init__(self, site: Site, email: str) -> None:
        self._token = site.session(email)
        self._root = urlsplit(site.control).path
        self._connection = http.client.HTTPConnection(urlsplit(site.control).netloc, timeout=60)
        self._used = perf_counter()

    def __call__(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON of the answer. Raises RuntimeError if it is not 200."""
        headers = {"authorization": f"Bearer {self._token}", "content-type": "application/json"}
        content = json.dumps(body) if body is not None else None
        return json.loads(self._answer(method, f"{self._root}/{path}", content, headers))

    def page(self, path: str) -> bytes:
        """A page of the inbox. Raises RuntimeError if it is none."""
        return self._answer("GET", path, None, {"cookie": f"llmguard={self._token}"})

    def _answer(self, method: str, path: str, content: str | None, headers: dict[str, str]) -> bytes:
        if perf_counter() - self._used > 1:  # the server closes idle connections
            self._connection.close()
        self._connection.request(method, path, content, headers)
        response = self._connection.getresponse()
        answer = response.read()
        self._used = perf_counter()
        if response.status != 200:
            raise RuntimeError(f"{method} answered {response.status}")
        return answer


def _over_http(office: Office, clock: Clock) -> Iterator[Row]:
    chosen: list[Approval] = []
    while len(chosen) < MOST:  # first: idle connections are closed
        hold = office.new()
        if hold.operation == "chat.completions.create":
            chosen.append(office.hold(hold))
    callers = {email: Caller(office.site, email) for email in (ANN, BO, DEE, EVE)}
    middle = _middle(office)
    for words, email, query in _LISTS:
        asked = "&".join(f"{k}={v}" for k, v in _query(query, middle).items())
        look = lambda who=callers[email], asked=asked: who("GET", f"approvals?{asked}")  # noqa: E731
        yield clock.row(f"list, {words}", "HTTP", _again(look))
    bo = callers[BO]
    for words, query in _PAGES:
        yield clock.row(f"inbox, {words}", "HTTP", _again(lambda query=query: bo.page(f"/inbox?{query}")))  # type: ignore[misc]
    yield clock.row("show", "HTTP", _again(lambda: bo("GET", f"approvals/{middle}")))

    def vote(a: Approval) -> object:
        return bo("POST", f"approvals/{a.id}/votes", {"verdict": "approve", "digest": a.egress_digest, "reason": "ok"})

    yield clock.row("vote", "HTTP", (lambda a=a: vote(a) for a in chosen), rest=True)  # type: ignore[misc]


# --------------------------------------------------------------------------- held at once


def held_at_once(office: Office, upstream: EchoUpstream, calls: int, watch: float = 5.0) -> dict[str, str]:
    """``calls`` that wait on the line of one ``llmguard serve`` for ``watch`` seconds; then this process approves."""
    server = office.site.serve()
    try:
        wait_until_ready("llmguard serve", office.site.url, server)
        return asyncio.run(_held(office, upstream, calls, server.pid, watch))
    finally:
        stop(server)


async def _held(office: Office, upstream: EchoUpstream, calls: int, pid: int, watch: float) -> dict[str, str]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await _ask(session, office, "warm up", ticket=True)
        office.vote(_waiting(office, 1)[0])
        await _ask(session, office, "warm up")
        before, begun = _memory(pid), perf_counter()
        asking = [
            asyncio.ensure_future(_ask(session, office, f"call {i} " + "more words " * 180)) for i in range(calls)
        ]
        while office.site.pending() < calls:
            await asyncio.sleep(0.05)
        asked, during = perf_counter() - begun, _memory(pid)
        used, since = _cpu(pid), perf_counter()
        await asyncio.sleep(watch)
        share = (_cpu(pid) - used) / (perf_counter() - since)
        waiting, first = _waiting(office, calls), perf_counter()
        await asyncio.to_thread(lambda: [office.vote(a) for a in waiting])
        last = perf_counter()
        statuses = await asyncio.gather(*asking)
        over = perf_counter()
    return {
        "memory before": f"{before:.0f} MB",
        "while all wait": f"{during:.0f} MB",
        "CPU while waiting": f"{100 * share:.1f} % of a core",
        "until all were held": f"{asked:.1f} s",
        "votes took": f"{last - first:.1f} s",
        "all answered after the first vote": f"{over - first:.1f} s",
        "after the last vote": f"{over - last:.1f} s",
        "answered 200": str(statuses.count(200)),
        "arrived upstream": str(len(upstream.received) - 1),
    }


def _waiting(office: Office, calls: int) -> Sequence[Approval]:
    approvals, tenant = office.guard.approvals, office.site.settings.tenant
    return office.guard.store.read(lambda tx: approvals.list(tx, tenant, state="PENDING", limit=calls)[0])


async def _ask(session: aiohttp.ClientSession, office: Office, text: str, *, ticket: bool = False) -> int:
    headers = {"authorization": f"Bearer {office.keys[0]}"} | ({"x-llmguard-mode": "ticket"} if ticket else {})
    async with session.post(f"{office.site.url}/chat/completions", json=_chat(text), headers=headers) as answer:
        await answer.read()
        return answer.status


def _memory(pid: int) -> float:
    """Resident megabytes of a process."""
    line = next(x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if x.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def _cpu(pid: int) -> float:
    """Seconds of CPU that a process has used (proc(5), fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
