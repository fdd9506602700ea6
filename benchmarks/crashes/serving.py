"""The lane of servers: ``llmguard serve`` under callers and voters, killed and started again on the same data."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter, sleep

from benchmarks.crashes.known import Kill
from benchmarks.crashes.victims import VERDICTS, VOTERS
from benchmarks.crashes.yard import PATIENCE, Yard, request
from benchmarks.site import ready

CLIENTS = 5
"""Callers of a server at a time."""


class ServeLane:
    """Kills ``llmguard serve`` under callers, who try again, and voters, who vote through the control plane."""

    _DEPTH = ("sending, or being answered", "claimed", "recording, or done", "approved, to be claimed", "waiting")
    """What a server with many calls is said to be doing: the first of these."""

    def __init__(self, yard: Yard, rng: random.Random) -> None:
        self._yard = yard
        self._rng = rng
        self._over = threading.Event()
        self._voted = threading.Event()
        self._flying: set[str] = set()
        self._tokens = [yard.site.session(email) for email in VOTERS]

    def run(self, kills: int) -> None:
        with ThreadPoolExecutor(CLIENTS + 2) as pool:
            seeds = [self._rng.randrange(10**6) for _ in range(CLIENTS + 2)]
            running = [pool.submit(self._calls, random.Random(s)) for s in seeds[2:]]
            running += [pool.submit(self._votes, random.Random(s), i) for i, s in enumerate(seeds[:2])]
            try:
                for _ in range(kills):
                    self._life()
            finally:
                self._over.set()
            for one in running:
                one.result()

    def _life(self) -> None:
        server = self._yard.site.serve()
        try:
            phase = self._until_its_moment(server)
        finally:
            server.kill()
            server.wait()
        flying = {m: self._yard.phase(m, 100) for m in list(self._flying)} if not phase else {}
        deepest = min(flying, key=lambda m: self._depth(flying[m]), default="")
        self._yard.known.kills.append(Kill("serve", phase or flying.get(deepest, "idle"), deepest))

    def _depth(self, phase: str) -> int:
        return self._DEPTH.index(phase) if phase in self._DEPTH else len(self._DEPTH)

    def _until_its_moment(self, server: subprocess.Popen[bytes]) -> str:
        """Waits; says what it is doing if that is not its calls' to say."""
        if self._rng.random() < 0.12:
            sleep(self._rng.random() * 1.2)
            return "starting"
        end = perf_counter() + PATIENCE
        while not ready(self._yard.site.url):
            if server.poll() is not None or perf_counter() > end:
                self._yard.known.violations.append("llmguard serve did not start again")
                return "starting"
            sleep(0.02)
        chance = self._rng.random()
        if chance < 0.4:
            with self._yard.provider.arrival("mark-serve-") as arrival:
                arrival.wait(5)
                sleep(self._rng.random() * 0.012)
        elif chance < 0.7:
            self._voted.clear()
            self._voted.wait(5)
            sleep(self._rng.random() * 0.3)
        else:
            sleep(self._rng.random() * 1.2)
        return ""

    # ----------------------------------------------------------------- its callers and voters

    def _calls(self, rng: random.Random) -> None:
        while not self._over.is_set():
            marker = self._yard.marker("serve")
            self._flying.add(marker)
            for _ in range(40):  # a caller who gives up in the end
                if self._over.is_set() or self._asked(marker, ticket=rng.random() < 0.3):
                    break
                self._over.wait(0.05 + rng.random() * 0.1)
            self._flying.discard(marker)

    def _asked(self, marker: str, *, ticket: bool) -> bool:
        """Whether the caller need not ask again."""
        try:
            status, told, content = self._yard.ask(marker, ticket=ticket)
        except (OSError, http.client.HTTPException):
            return False
        self._yard.told(("told", "", told))
        if status == 200 and content.endswith((b"[DONE]\n\n", b"}")) and b"event: error" not in content:
            self._yard.told(("done",), marker)
        code = content.decode()
        return status != 503 and "approval_pending" not in code and "approval_executing" not in code

    def _votes(self, rng: random.Random, voter: int) -> None:
        while not self._over.is_set():
            with contextlib.suppress(OSError, http.client.HTTPException):
                self._vote(rng, voter)
            self._over.wait(rng.random() * 0.1)

    def _vote(self, rng: random.Random, voter: int) -> None:
        headers = {"authorization": f"Bearer {self._tokens[voter]}", "content-type": "application/json"}
        root = f"{self._yard.site.control}/approvals"
        status, _, content = request(f"{root}?state=PENDING&limit=20", "GET", b"", headers)
        waiting = json.loads(content)["approvals"] if status == 200 else []
        for shown in rng.sample(waiting, min(2, len(waiting))):
            verdict = rng.choice(VERDICTS)
            body = json.dumps({"verdict": verdict, "digest": shown["digest"], "reason": "seen"}).encode()
            status, _, _ = request(f"{root}/{shown['id']}/votes", "POST", body, headers)
            if status == 200:
                self._yard.known.voted.append((shown["id"], VOTERS[voter], verdict))
                self._voted.set()
