"""Ann's job asks, Bob decides: the people around a real guard, and the table that is exported."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llmguard import identity
from llmguard.guard import Guard
from llmguard.identity import Cause
from llmguard.model import Approval
from llmguard.testing import Fakes

ANN, BOB = "ann@example.org", "bob@example.org"
ROWS = 20
SETUP = Cause(identity.OPERATOR, bootstrap=True)


def customers(path: Path) -> Path:
    """A database with a table of made-up people."""
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE customers (name TEXT, email TEXT)")
        db.executemany("INSERT INTO customers VALUES (?, ?)", [(f"c{i}", Fakes(i).email()) for i in range(ROWS)])
    db.close()
    return path


def rows(source: Path, table: str) -> int:
    db = sqlite3.connect(source)
    try:
        return int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
    finally:
        db.close()


def export(source: Path, table: str, target: Path) -> int:
    """Appends the table to ``target``, so that a second run shows."""
    with sqlite3.connect(source) as db:
        found = db.execute(f"SELECT * FROM {table}").fetchall()
    db.close()
    with target.open("a") as f:
        f.writelines(f"{name},{email}\n" for name, email in found)
    return len(found)


def lines(target: Path) -> int:
    return len(target.read_text().splitlines()) if target.exists() else 0


def person(guard: Guard, email: str) -> identity.Person:
    found = guard.store.read(lambda tx: identity.person(tx, guard.vault, "default", email))
    assert found
    return found


def waiting(guard: Guard, *but: str) -> Approval:
    """The one pending approval besides these, as soon as it is there."""
    bob, end = person(guard, BOB), time.monotonic() + 30
    while time.monotonic() < end:
        page, _ = guard.store.read(lambda tx: guard.approvals.list(tx, "default", person=bob, state="PENDING"))
        if others := [a for a in page if a.id not in but]:
            return others[0]
        time.sleep(0.02)
    raise AssertionError("nothing was held")


def decide(
    guard: Guard, verdict: Any = "approve", email: str = BOB, *, approval: Approval | None = None, **more: Any
) -> Approval:
    asked, who = approval or waiting(guard), person(guard, email)
    return guard.store.transact(
        lambda tx: guard.approvals.vote(tx, "default", asked.id, who, verdict, asked.egress_digest, **more)
    )


def later(work: Callable[..., Any], *args: Any) -> threading.Thread:
    thread = threading.Thread(target=work, args=args)
    thread.start()
    return thread


def state(guard: Guard, id_: str) -> str:
    return guard.store.read(lambda tx: guard.approvals.get(tx, "default", id_)).state


def shown(guard: Guard, approval: Approval) -> bytes:
    """What its reviewers see."""
    return guard.store.read(lambda tx: guard.approvals.egress(tx, approval)).body


def report(guard: Guard, id_: str) -> bytes:
    """What an executed action said of itself, for its reviewers."""
    found = guard.store.read(lambda tx: guard.approvals.report(tx, guard.approvals.get(tx, "default", id_)))
    assert found
    return found.body
