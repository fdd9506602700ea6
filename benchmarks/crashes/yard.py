"""The yard: one data folder, its provider, and a guard of this process that asks, votes and recovers. It never dies."""

from __future__ import annotations

import contextlib
import http.client
import json
import multiprocessing
import random
import re
import threading
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from time import sleep, time_ns
from typing import Any
from urllib.parse import urlsplit

from benchmarks.crashes import victims
from benchmarks.crashes.known import Known
from benchmarks.crashes.victims import VOTERS, Ground
from benchmarks.site import Site, stop, wait_until_ready
from llmguard.config import Settings
from llmguard.errors import LLMGuardError
from llmguard.guard import Guard
from llmguard.identity import Person
from llmguard.model import Approval

ANN = "ann@example.org"
RULES = ({"name": "all", "when": "true", "verdict": "require_approval"},)
PATIENCE = 30.0
"""Seconds after which a victim that was left alone is stuck."""
_MARKER = re.compile(r"mark-[a-z]+-\d{6}")


class Provider:
    """Counts what arrives, takes its time, and tells whoever waits for an arrival."""

    def __init__(self, known: Known, seed: int) -> None:
        self._known = known
        self._rng = random.Random(seed)
        self._waiting: dict[str, threading.Event] = {}

    def say(self, body: Any) -> str:
        marker = marker_of(json.dumps(body))
        self._known.arrived.append((marker, now()))
        for prefix, event in list(self._waiting.items()):
            if marker.startswith(prefix):
                event.set()
        sleep(self._rng.random() * 0.012)
        return f"{marker} " + "was received and looked at " * 8

    @contextlib.contextmanager
    def arrival(self, prefix: str) -> Iterator[threading.Event]:
        """An event that is set when a marker of that beginning arrives."""
        event = self._waiting[prefix] = threading.Event()
        try:
            yield event
        finally:
            self._waiting.pop(prefix, None)


def marker_of(text: str) -> str:
    found = _MARKER.search(text)
    return found[0] if found else ""


def now() -> int:
    return time_ns() // 1_000_000


class Yard:
    """One site, who asks and who votes there, and what can be seen of it from here."""

    def __init__(self, folder: Path, upstream: str, known: Known, provider: Provider) -> None:
        settings = Settings(
            data=folder / "data",
            upstream=upstream,
            upstream_name="echo",
            upstream_key="none",
            names=False,
            rules=RULES,
            max_waiting=1_000_000,
            hold_wait=20.0,
            checkpoint_every=0.3,
        )
        self.known = known
        self.provider = provider
        self.site = Site(settings)
        for email, group in ((ANN, "callers"), *((v, "reviewers") for v in VOTERS)):
            self.site.person(email, group)
        self.key = self.site.key("app", ANN)
        effects = folder / "effects"
        effects.mkdir()
        self.ground = Ground(replace(self.site.settings, key=self.key), upstream, effects)
        self.guard = Guard(self.ground.settings)
        self.client = victims.wrapped(self.guard, self.ground)
        self._markers: dict[str, str] = {}
        self._numbers = iter(range(10**6))
        self.processes = multiprocessing.get_context("forkserver")
        self.processes.set_forkserver_preload(["benchmarks.crashes.victims"])

    def __enter__(self) -> Yard:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.guard.close()
        self.site.guard.close()

    def marker(self, kind: str) -> str:
        return f"mark-{kind}-{next(self._numbers):06}"

    # ----------------------------------------------------------------- looking

    def approvals(self, limit: int | None = None) -> dict[str, tuple[Approval, ...]]:
        """All approvals by marker, newest first; or the newest."""
        by_marker: defaultdict[str, tuple[Approval, ...]] = defaultdict(tuple)
        for approval in self._pages(limit):
            by_marker[self._marker(approval)] += (approval,)
        return by_marker

    def _pages(self, limit: int | None) -> Iterator[Approval]:
        cursor: str | None = None
        while True:
            page, cursor = self.guard.store.read(
                lambda tx, c=cursor: self.guard.approvals.list(tx, "default", cursor=c, limit=limit or 200)  # type: ignore[misc]
            )
            yield from page
            if cursor is None or limit:
                return

    def _marker(self, approval: Approval) -> str:
        if approval.id not in self._markers:
            egress = self.guard.store.read(lambda tx: self.guard.approvals.egress(tx, approval))
            self._markers[approval.id] = marker_of(egress.body.decode())
        return self._markers[approval.id]

    def newest(self, marker: str, limit: int = 60) -> Approval | None:
        return next(iter(self.approvals(limit)[marker]), None)

    def state(self, approval: Approval) -> str:
        """At this moment, without a look at anything else."""
        row = self.guard.store.read(
            lambda tx: tx.one("SELECT state FROM approvals WHERE tenant = 'default' AND id = ?", approval.id)
        )
        return str(row["state"]) if row else ""

    def phase(self, marker: str, limit: int = 60) -> str:
        """What whoever was behind a marker was doing when it was killed, by what is stored and what arrived."""
        found = self.newest(marker, limit)
        if found is None:
            return "before it asked"
        if found.state in ("EXECUTING", "INDETERMINATE"):
            return "sending, or being answered" if self.has_arrived(marker) else "claimed"
        words = {"PENDING": "waiting", "APPROVED": "approved, to be claimed", "EXECUTED": "recording, or done"}
        return words.get(found.state, "being refused")

    def has_arrived(self, marker: str) -> bool:
        return any(m == marker for m, _ in [*self.known.arrived, *victims.effects(self.ground.effects)])

    # ----------------------------------------------------------------- deciding

    def vote(self, approval: Approval, verdict: Any, who: str = VOTERS[0]) -> None:
        """Votes in this process, which lives."""
        person = Person("default", who, (), True, 0)
        with contextlib.suppress(LLMGuardError):  # another voter was faster
            self.guard.store.transact(
                lambda tx: self.guard.approvals.vote(
                    tx, "default", approval.id, person, verdict, approval.egress_digest
                ),
                durable=True,
            )
            self.known.voted.append((approval.id, who, verdict))

    def told(self, message: tuple[str, ...], marker: str = "") -> None:
        """What a victim, or a caller, has learned."""
        match message:
            case ("told", _, id_) if id_:
                self.known.held.append(id_)
            case ("voted", id_, who, verdict):
                self.known.voted.append((id_, who, verdict))
            case ("done",) if marker:
                self.known.answered.append(marker)

    # ----------------------------------------------------------------- recovering

    def sweep(self) -> None:
        """What a guard does when it starts, and every now and then."""
        self.guard.store.transact(self.guard.approvals.sweep, durable=True)

    def spend_the_rest(self) -> None:
        """What was approved and not spent can be spent, by somebody who lives."""
        server = self.site.serve()
        try:
            wait_until_ready("llmguard serve", self.site.url, server)
            for marker, found in self.approvals().items():
                if found[0].state == "APPROVED":
                    self._spend(marker, found[0])
        finally:
            stop(server)

    def _spend(self, marker: str, approval: Approval) -> None:
        message: tuple[str, ...]
        if "-serve-" in marker:
            status, _, _ = self.ask(marker)
            message = ("done",) if status == 200 else ("told", str(status))
        else:
            message = self.again(marker)
        self.told(message, marker)
        if message != ("done",):
            self.known.violations.append(f"{approval.id}, approved and unspent, could not be spent: {message[1]}")

    def ask(self, marker: str, *, ticket: bool = False) -> tuple[int, str, bytes]:
        """A call to the data plane. Raises OSError or HTTPException if it breaks off."""
        headers = {"authorization": f"Bearer {self.key}", "content-type": "application/json"}
        headers |= {"x-llmguard-mode": "ticket"} if ticket else {}
        body = json.dumps(victims.asked(marker, streams(marker))).encode()
        return request(f"{self.site.url}/chat/completions", "POST", body, headers)

    def again(self, marker: str, *, ticket: bool = False) -> tuple[str, ...]:
        """The same request, in this process."""
        if "-action-" in marker:
            return victims.acted(self.guard, self.ground, marker, 0 if ticket else PATIENCE)
        return victims.called(self.client, marker, ticket, streams(marker))


def streams(marker: str) -> bool:
    """Whether the call of a marker asks for a stream: a retry has to be the same request."""
    return int(marker[-1]) % 2 == 0


def request(url: str, method: str, body: bytes, headers: dict[str, str]) -> tuple[int, str, bytes]:
    """Status, approval and content of an answer. Raises OSError or HTTPException if it breaks off."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=PATIENCE)
    try:
        connection.request(method, f"{parts.path}?{parts.query}" if parts.query else parts.path, body, headers)
        response = connection.getresponse()
        return response.status, response.headers.get("x-llmguard-approval", ""), response.read()
    finally:
        connection.close()
