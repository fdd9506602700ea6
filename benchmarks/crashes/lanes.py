"""A lane: one process after the other, each with a guard of its own, killed at a moment drawn at random."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from time import perf_counter, sleep
from typing import Any

from benchmarks.crashes import victims
from benchmarks.crashes.known import Kill
from benchmarks.crashes.victims import VERDICTS, VOTERS
from benchmarks.crashes.yard import PATIENCE, Yard, streams
from llmguard.model import Approval


class Victim:
    """A process that may be killed. Nothing that it says is missed, up to its last breath."""

    def __init__(self, yard: Yard, work: Callable[..., None], *arguments: Any) -> None:
        self._yard = yard
        self._pipe: Connection
        self._pipe, theirs = yard.processes.Pipe(duplex=False)
        self.process = yard.processes.Process(target=work, args=(yard.ground, theirs, *arguments), daemon=True)
        self.process.start()
        theirs.close()
        self.heard: list[tuple[str, ...]] = []

    def listen(self, seconds: float) -> tuple[str, ...]:
        """The next message; empty if the time is over or the process is."""
        try:
            if not self._pipe.poll(seconds):
                return ()
            message: tuple[str, ...] = self._pipe.recv()
        except (EOFError, OSError):
            return ()
        self.heard.append(message)
        return message

    def kill(self, marker: str = "") -> bool:
        """Whether it was still alive."""
        self.process.kill()
        return self.over(marker) == -signal.SIGKILL

    def over(self, marker: str = "") -> int | None:
        """Waits for its end; what it said is passed on. None: it does not end."""
        self.process.join(PATIENCE)
        while self.listen(0):
            pass
        for message in self.heard:
            self._yard.told(message, marker)
        self._pipe.close()
        code: int | None = self.process.exitcode
        return code


class Lane:
    """Kills processes that have a guard of their own, one after the other."""

    def __init__(self, yard: Yard, rng: random.Random) -> None:
        self._yard = yard
        self._rng = rng
        self._steps = (self._spend, self._wait, self._ask, self._vote, self._tidy)
        self._weights = (40, 30, 10, 10, 10)

    def step(self) -> None:
        self._rng.choices(self._steps, self._weights)[0]()

    def _victim(self, marker: str, *, ticket: bool = False) -> Victim:
        if "-action-" in marker:
            return Victim(self._yard, victims.act, marker, 0.0 if ticket else PATIENCE)
        return Victim(self._yard, victims.call, marker, ticket, streams(marker))

    def _kill(self, victim: Victim, marker: str) -> None:
        kind = "action" if "-action-" in marker else "wrapped call"
        if victim.kill(marker):
            self._yard.known.kills.append(Kill(kind, self._yard.phase(marker), marker))

    def _verdict(self, approval: Approval) -> None:
        self._yard.vote(approval, self._rng.choice(VERDICTS), self._rng.choice(VOTERS))

    def _spend(self) -> None:
        """Approved before it starts, so that it claims at once; killed, and tried again."""
        marker = self._yard.marker(self._rng.choice(("action", "call")))
        self._yard.told(self._yard.again(marker, ticket=True))
        held = self._yard.newest(marker)
        if held is None:
            self._yard.known.violations.append(f"{marker} was asked for and is not held")
            return
        self._verdict(held)
        for attempt in range(3):
            spared = attempt == 2 and self._rng.random() < 0.5
            if spared or self._rng.random() < 0.3:
                self._yard.sweep()
            victim = self._victim(marker)
            if spared:
                if victim.over(marker) is None:
                    self._yard.known.violations.append(f"{marker} does not end")
                    victim.process.kill()
                return
            self._moment(victim, held, marker)
            self._kill(victim, marker)

    def _moment(self, victim: Victim, held: Approval, marker: str) -> None:
        """From its start, from its first breath, from its claim, or from the arrival of what it sends."""
        chance = self._rng.random()
        if chance < 0.1:
            sleep(self._rng.random() * 0.1)
            return
        with self._yard.provider.arrival(marker) as arrival:
            victim.listen(PATIENCE)
            if chance < 0.5:
                while self._yard.state(held) == "APPROVED" and victim.process.is_alive():
                    pass
                sleep(self._rng.choice((0.0, 0.001, 0.003, 0.01)))
            elif chance < 0.75 and "-call-" in marker:
                while not arrival.wait(0.01) and victim.process.is_alive():
                    pass
                sleep(self._rng.random() * 0.025)
            else:
                sleep(self._rng.random() * 0.08)

    def _wait(self) -> None:
        """It asks and waits; killed while it does, or around the decision."""
        marker = self._yard.marker(self._rng.choice(("action", "call")))
        victim = self._victim(marker)
        victim.listen(PATIENCE)
        held, end = None, perf_counter() + 3
        while held is None and perf_counter() < end:
            held = self._yard.newest(marker)
        if held is not None and self._rng.random() < 0.7:
            self._verdict(held)
            sleep(self._rng.random() * 0.35)
        else:
            sleep(self._rng.random() * 0.1)
        self._kill(victim, marker)
        if self._rng.random() < 0.5:
            self._yard.told(self._yard.again(marker, ticket=True), marker)

    def _ask(self) -> None:
        """Killed while it asks."""
        marker = self._yard.marker(self._rng.choice(("action", "call")))
        victim = self._victim(marker, ticket=True)
        victim.listen(PATIENCE)
        sleep(self._rng.random() * (0.012 if "-action-" in marker else 0.04))
        self._kill(victim, marker)

    def _vote(self) -> None:
        for _ in range(2):
            self._yard.told(self._yard.again(self._yard.marker("action"), ticket=True))
        self._bystander("voter", "voting", victims.vote, self._rng.randrange(10**6))

    def _tidy(self) -> None:
        self._bystander("sweeper", "sweeping, signing checkpoints", victims.tidy)

    def _bystander(self, name: str, phase: str, work: Callable[..., None], *arguments: Any) -> None:
        victim = Victim(self._yard, work, *arguments)
        victim.listen(PATIENCE)
        sleep(self._rng.random() * 0.05)
        if victim.kill():
            self._yard.known.kills.append(Kill(name, phase))
