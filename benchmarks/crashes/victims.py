"""Who gets killed: processes that ask, wait, claim, send, carry out, vote, sweep and sign.

Each opens the guard on the shared folder as any process of an operator's would, and tells over a pipe what it has been
told: ``ready``, the ids that it learned, the votes that were acknowledged. What it did is looked up elsewhere.
"""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from time import time_ns

import openai

import llmguard
from llmguard import audit
from llmguard.config import Settings
from llmguard.errors import LLMGuardError
from llmguard.guard import Guard
from llmguard.identity import Person

ACTION = "bench.append"
VOTERS = ("bob@example.org", "cid@example.org")
VERDICTS = ("approve",) * 8 + ("deny", "request_changes")


@dataclass(frozen=True)
class Ground:
    """Where it happens: settings of a guard, the provider's base URL, the folder of the actions' effects."""

    settings: Settings
    upstream: str
    effects: Path


def append(folder: str, marker: str) -> None:
    """The effect of an action, outside of the guard's database: a synced line of a file, or a row of another one."""
    now = time_ns() // 1_000_000
    if int(marker[-1]) % 2:
        with contextlib.closing(sqlite3.connect(Path(folder) / "effects.db", timeout=20)) as db, db:
            db.execute("CREATE TABLE IF NOT EXISTS effects (marker TEXT, time INTEGER)")
            db.execute("INSERT INTO effects VALUES (?, ?)", (marker, now))
        return
    fd = os.open(Path(folder) / "effects.txt", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(fd, f"{marker} {now}\n".encode())
        os.fsync(fd)
    finally:
        os.close(fd)


def effects(folder: Path) -> Iterator[tuple[str, int]]:
    """Markers and times (UTC ms) of all effects."""
    if (folder / "effects.txt").exists():
        for line in (folder / "effects.txt").read_text().splitlines():
            marker, _, time = line.partition(" ")
            yield marker, int(time)
    if (folder / "effects.db").exists():
        with (
            contextlib.closing(sqlite3.connect(folder / "effects.db", timeout=20)) as db,
            contextlib.suppress(
                sqlite3.OperationalError  # killed before there was a table
            ),
        ):
            yield from db.execute("SELECT marker, time FROM effects").fetchall()


# --------------------------------------------------------------------------- who asks


def act(ground: Ground, pipe: Connection, marker: str, patience: float) -> None:
    """An action, waited for up to ``patience`` seconds."""
    guard = Guard(ground.settings)
    pipe.send(("ready",))
    pipe.send(acted(guard, ground, marker, patience))


def acted(guard: Guard, ground: Ground, marker: str, patience: float) -> tuple[str, ...]:
    """What the caller of an action is told."""
    try:
        guard.action(ACTION, wait=patience)(append)(str(ground.effects), marker)
    except LLMGuardError as e:
        return ("told", e.code, getattr(e, "approval_id", None) or "")
    return ("done",)


def call(ground: Ground, pipe: Connection, marker: str, ticket: bool, stream: bool) -> None:
    """A chat call of a wrapped client."""
    guard = Guard(ground.settings)
    client = wrapped(guard, ground)
    pipe.send(("ready",))
    pipe.send(called(client, marker, ticket, stream))


def wrapped(guard: Guard, ground: Ground) -> openai.OpenAI:
    client = openai.OpenAI(base_url=f"{ground.upstream}/v1", api_key="own", max_retries=0)
    return llmguard.wrap(client, guard)


def called(client: openai.OpenAI, marker: str, ticket: bool, stream: bool) -> tuple[str, ...]:
    """What the caller of a chat call is told."""
    headers = {"x-llmguard-mode": "ticket"} if ticket else None
    try:
        answer = client.chat.completions.create(**asked(marker, stream), extra_headers=headers)  # type: ignore[call-overload]
        if stream:
            for _ in answer:
                pass
    except openai.APIError as e:
        return ("told", str(e.code), getattr(e, "approval_id", None) or "")
    return ("done",)


def asked(marker: str, stream: bool) -> dict[str, object]:
    """The body of a chat call; the address in it is redacted, the marker is not."""
    said = f"{marker}: write to jane.roe@example.org " + "about the plans " * 10
    return {"model": "m", "stream": stream, "messages": [{"role": "user", "content": said}]}


# --------------------------------------------------------------------------- who decides, and who cleans up


def vote(ground: Ground, pipe: Connection, seed: int) -> None:
    """Votes on whatever waits, over and over."""
    guard, rng = Guard(ground.settings), random.Random(seed)
    tenant = ground.settings.tenant
    pipe.send(("ready",))
    while True:
        waiting, _ = guard.store.read(lambda tx: guard.approvals.list(tx, tenant, state="PENDING"))
        for a in waiting:
            who, verdict = Person(tenant, rng.choice(VOTERS), (), True, 0), rng.choice(VERDICTS)
            with contextlib.suppress(LLMGuardError):  # somebody else was faster
                guard.store.transact(
                    lambda tx, a=a, who=who, verdict=verdict: guard.approvals.vote(  # type: ignore[misc]
                        tx, tenant, a.id, who, verdict, a.egress_digest
                    ),
                    durable=True,
                )
                pipe.send(("voted", a.id, who.email, verdict))


def tidy(ground: Ground, pipe: Connection) -> None:
    """Sweeps and signs checkpoints, over and over."""
    guard = Guard(ground.settings)
    pipe.send(("ready",))
    while True:
        guard.store.transact(guard.approvals.sweep, durable=True)
        with contextlib.suppress(LLMGuardError):  # another process published a moment ago
            audit.checkpoint(guard.store, guard.vault.keyring, guard.origin, ground.settings.checkpoint_folder)
