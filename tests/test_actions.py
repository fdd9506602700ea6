"""Privileged actions: bound to their arguments, decided by others, carried out at most once, also after a kill."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmguard import identity
from llmguard.config import Settings
from llmguard.errors import (
    AlreadyExecuted,
    ApprovalDenied,
    ApprovalImpossible,
    ApprovalPending,
    ConfigError,
    UpstreamError,
)
from llmguard.guard import Guard
from llmguard.identity import Cause, PersonChange
from llmguard.model import Approval
from llmguard.testing import Fakes

ANN, BOB = "ann@example.org", "bob@example.org"
SETUP = Cause(identity.OPERATOR, bootstrap=True)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A guard whose calls Ann is accountable for, with Bob to review them."""
    plain = Settings(data=tmp_path / "data", names=False)
    with Guard(plain) as guard:
        for email in (ANN, BOB):
            change = PersonChange(email, (identity.DEFAULT_GROUP,), True)
            guard.store.transact(lambda tx, c=change: identity.apply(tx, guard.vault, "default", c, SETUP))

        def key(tx: Any) -> str:
            token, made = identity.new_key(tx, guard.vault, "job", ANN)
            identity.apply(tx, guard.vault, "default", made, SETUP)
            return token

        return replace(plain, key=guard.store.transact(key))


@pytest.fixture
def guard(settings: Settings) -> Iterator[Guard]:
    with Guard(settings) as opened:
        yield opened


@pytest.fixture
def customers(tmp_path: Path) -> Path:
    path = tmp_path / "customers.db"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE customers (name TEXT, email TEXT)")
        db.executemany("INSERT INTO customers VALUES (?, ?)", [(f"c{i}", Fakes(i).email()) for i in range(20)])
    db.close()
    return path


def export(source: Path, table: str, target: Path) -> int:
    """Appends the table to ``target``, so that a second run shows."""
    with sqlite3.connect(source) as db:
        rows = db.execute(f"SELECT * FROM {table}").fetchall()
    db.close()
    with target.open("a") as f:
        f.writelines(f"{name},{email}\n" for name, email in rows)
    return len(rows)


def waiting(guard: Guard) -> Approval:
    """The one pending approval, as soon as it is there."""
    bob, end = person(guard, BOB), time.monotonic() + 20
    while time.monotonic() < end:
        page, _ = guard.store.read(lambda tx: guard.approvals.list(tx, "default", person=bob, state="PENDING"))
        if page:
            return page[0]
        time.sleep(0.02)
    raise AssertionError("nothing was held")


def person(guard: Guard, email: str) -> identity.Person:
    found = guard.store.read(lambda tx: identity.person(tx, guard.vault, "default", email))
    assert found
    return found


def decide(guard: Guard, verdict: Any, email: str = BOB) -> None:
    approval, who = waiting(guard), person(guard, email)
    guard.store.transact(
        lambda tx: guard.approvals.vote(tx, "default", approval.id, who, verdict, approval.egress_digest)
    )


def later(guard: Guard, verdict: Any) -> threading.Thread:
    thread = threading.Thread(target=decide, args=(guard, verdict))
    thread.start()
    return thread


def test_approved_export_runs_once_and_returns_its_value(guard: Guard, customers: Path, tmp_path: Path) -> None:
    gated = guard.action("db.export")(export)
    voter = later(guard, "approve")
    assert gated(customers, "customers", tmp_path / "out.csv") == 20
    voter.join()
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 20
    with pytest.raises(AlreadyExecuted):
        gated(customers, "customers", target=tmp_path / "out.csv")
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 20


def test_denied_export_does_nothing(guard: Guard, customers: Path, tmp_path: Path) -> None:
    voter = later(guard, "deny")
    with pytest.raises(ApprovalDenied):
        guard.action("db.export")(export)(customers, "customers", tmp_path / "out.csv")
    voter.join()
    assert not (tmp_path / "out.csv").exists()


def test_wait_that_is_over_raises_and_the_same_arguments_pick_the_decision_up(
    guard: Guard, customers: Path, tmp_path: Path
) -> None:
    gated = guard.action("db.export", wait=0)(export)
    with pytest.raises(ApprovalPending) as caught:
        gated(customers, "customers", tmp_path / "out.csv")
    assert caught.value.approval_id == waiting(guard).id
    decide(guard, "approve")
    assert gated(source=customers, table="customers", target=tmp_path / "out.csv") == 20


def test_other_arguments_are_another_action(guard: Guard, customers: Path, tmp_path: Path) -> None:
    gated = guard.action("db.export", wait=0)(export)
    with pytest.raises(ApprovalPending):
        gated(customers, "customers", tmp_path / "out.csv")
    decide(guard, "approve")
    with pytest.raises(ApprovalPending):
        gated(customers, "customers", tmp_path / "elsewhere.csv")
    assert not (tmp_path / "elsewhere.csv").exists()


def test_arguments_changed_while_waiting_are_not_carried_out(guard: Guard) -> None:
    ran: list[Any] = []
    rows = [1, 2]

    @guard.action("rows.delete")
    def delete(numbers: list[int]) -> None:
        ran.append(numbers)

    def change_then_approve() -> None:
        waiting(guard)
        rows.append(3)
        decide(guard, "approve")

    thread = threading.Thread(target=change_then_approve)
    thread.start()
    with pytest.raises(UpstreamError, match="changed"):
        delete(rows)
    thread.join()
    assert not ran


def test_the_one_behind_the_action_cannot_approve_it(guard: Guard) -> None:
    gated = guard.action("db.drop", wait=0)(lambda: None)
    with pytest.raises(ApprovalPending):
        gated()
    with pytest.raises(Exception, match="somebody else"):
        decide(guard, "approve", ANN)


def test_nobody_accountable_and_too_few_people_is_refused_at_once(settings: Settings) -> None:
    with Guard(replace(settings, key=None)) as alone:
        person_of = identity.PersonChange(BOB, (identity.DEFAULT_GROUP,), False)
        alone.store.transact(lambda tx: identity.apply(tx, alone.vault, "default", person_of, SETUP))
        with pytest.raises(ApprovalImpossible):
            alone.action("db.drop")(lambda: None)()


def test_what_the_function_raises_comes_out_and_is_not_tried_again(guard: Guard) -> None:
    runs: list[int] = []

    @guard.action("job.fail", wait=0)
    def fail() -> None:
        runs.append(1)
        raise LookupError("of the function itself")

    with pytest.raises(ApprovalPending):
        fail()
    decide(guard, "approve")
    with pytest.raises(LookupError, match="of the function itself"):
        fail()
    with pytest.raises(AlreadyExecuted):
        fail()
    assert len(runs) == 1


async def test_async_functions_and_methods_wait_without_blocking_the_loop(guard: Guard) -> None:
    class Store:
        @guard.action("store.clear")
        async def clear(self, name: str) -> str:
            await asyncio.sleep(0)
            return f"cleared {name}"

    voter = later(guard, "approve")
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.01)

    ticking = asyncio.ensure_future(tick())
    assert await Store().clear("cache") == "cleared cache"
    ticking.cancel()
    voter.join()
    assert ticks > 1


def test_reviewer_sees_the_arguments_redacted_and_the_log_holds_none(guard: Guard) -> None:
    email = Fakes(5).email()
    gated = guard.action("mail.send", wait=0)(lambda to: None)
    with pytest.raises(ApprovalPending):
        gated(email)
    approval = waiting(guard)
    egress = guard.store.read(lambda tx: guard.approvals.egress(tx, approval))
    assert b'"action":"mail.send"' in egress.body
    assert email.encode() not in egress.body
    leaves = guard.store.read(lambda tx: tx.all("SELECT leaf FROM audit_entries"))
    assert not [row for row in leaves if email.encode() in bytes(row["leaf"])]


@pytest.mark.parametrize("argument", [object(), float("nan"), {1: 2}, {"a", "b"}], ids=["object", "nan", "keys", "set"])
def test_argument_that_cannot_be_shown_is_refused(guard: Guard, argument: Any) -> None:
    with pytest.raises(ConfigError, match="cannot be shown"):
        guard.action("x")(lambda value: None)(argument)


@pytest.mark.parametrize("name", ["", "Db.Export", "a b", "../x"])
def test_name_that_is_none_is_refused(guard: Guard, name: str) -> None:
    with pytest.raises(ConfigError):
        guard.action(name)


# --------------------------------------------------------------------------- as commands


def command(settings: Settings, *words: str) -> subprocess.Popen[str]:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(settings.data.parent),
        "LLMGUARD_DATA": str(settings.data),
        "LLMGUARD_KEY": settings.key or "",
        "LLMGUARD_NAMES": "false",
    }
    full = [sys.executable, "-m", "llmguard.cli", "run", "--action", "db.export", "--", *words]
    return subprocess.Popen(full, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def appending(customers: Path, out: Path) -> list[str]:
    code = (
        "import sqlite3, sys\n"
        f"rows = sqlite3.connect({str(customers)!r}).execute('SELECT email FROM customers').fetchall()\n"
        f"open({str(out)!r}, 'a').writelines(r[0] + chr(10) for r in rows)\n"
        "print(len(rows)); sys.exit(7)"
    )
    return [sys.executable, "-c", code]


def test_killed_while_waiting_and_asked_again_the_effect_is_there_exactly_once(
    settings: Settings, guard: Guard, customers: Path, tmp_path: Path
) -> None:
    words = appending(customers, tmp_path / "out.csv")
    first = command(settings, *words)
    held = waiting(guard)
    first.send_signal(signal.SIGKILL)
    first.communicate(timeout=20)
    assert not (tmp_path / "out.csv").exists()
    second = command(settings, *words)
    decide(guard, "approve")
    out, errors = second.communicate(timeout=60)
    assert (second.returncode, out) == (7, "20\n"), errors
    third = command(settings, *words)
    _, errors = third.communicate(timeout=60)
    assert third.returncode == 1
    assert "carried out already" in errors or "spent" in errors or "executed" in errors
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 20
    again = guard.store.read(lambda tx: guard.approvals.get(tx, "default", held.id))
    assert again.state == "EXECUTED"


def test_command_that_is_denied_is_not_run(settings: Settings, guard: Guard, customers: Path, tmp_path: Path) -> None:
    process = command(settings, *appending(customers, tmp_path / "out.csv"))
    decide(guard, "deny")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors
    assert not (tmp_path / "out.csv").exists()


def test_command_whose_input_changed_is_another_action(settings: Settings, guard: Guard, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("print('as shown')")
    process = command(settings, sys.executable, str(script))
    held = waiting(guard)
    process.kill()
    process.communicate(timeout=20)
    script.write_text("print('something else')")
    other = command(settings, sys.executable, str(script))
    assert another(guard, held.id) != held.id
    other.kill()
    other.communicate(timeout=20)


def another(guard: Guard, first: str) -> str:
    """The id of a pending approval besides the first, as soon as it is there."""
    bob = person(guard, BOB)
    end = time.monotonic() + 20
    while time.monotonic() < end:
        page, _ = guard.store.read(lambda tx: guard.approvals.list(tx, "default", person=bob, state="PENDING"))
        if others := {a.id for a in page} - {first}:
            return others.pop()
        time.sleep(0.02)
    raise AssertionError("the changed script joined the old approval")
