"""Privileged blocks: entered after the approval, spent at their end, INDETERMINATE if the process dies inside."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from llmguard.config import Settings
from llmguard.errors import (
    ActionChanged,
    AlreadyExecuted,
    ApprovalDenied,
    ApprovalIndeterminate,
    ApprovalPending,
    ChangesRequested,
    ConfigError,
)
from llmguard.guard import Guard
from tests.actions.staff import decide, later, report, shown, state, waiting


def test_block_runs_once_and_is_executed_when_it_ends(guard: Guard) -> None:
    ran: list[Any] = []
    table = {"table": "customers"}
    voter = later(decide, guard)
    with guard.approval("db.drop", table, describe="Drop {all} of it", evidence={"rows": 20}) as approved:
        [held] = _all(guard)
        assert held.state == "EXECUTING"
        table["table"] = "orders"
        ran.append(approved.arguments["table"])
    voter.join()
    assert ran == ["customers"]
    assert state(guard, held.id) == "EXECUTED"
    assert json.loads(report(guard, held.id)) == {"returned": True}
    body = json.loads(shown(guard, held))
    assert (body["description"], body["evidence"]) == ("Drop {all} of it", {"rows": 20})
    with (
        pytest.raises(AlreadyExecuted),
        guard.approval("db.drop", {"table": "customers"}, describe="Drop {all} of it", evidence={"rows": 20}),
    ):
        ran.append("again")
    assert ran == ["customers"]


def _all(guard: Guard) -> Any:
    return guard.store.read(lambda tx: guard.approvals.list(tx, "default"))[0]


def test_denied_block_is_not_entered(guard: Guard) -> None:
    voter = later(decide, guard, "deny")
    entered = False
    with pytest.raises(ApprovalDenied), guard.approval("db.drop", {"table": "customers"}):
        entered = True
    voter.join()
    assert not entered


@pytest.mark.parametrize("error", [LookupError("inside"), KeyboardInterrupt(), SystemExit(3)], ids=repr)
def test_exception_of_the_block_comes_out_and_the_approval_is_spent(guard: Guard, error: BaseException) -> None:
    voter = later(decide, guard)
    with pytest.raises(type(error)) as caught, guard.approval("db.drop"):
        raise error
    voter.join()
    assert caught.value is error
    [held] = _all(guard)
    assert held.state == "EXECUTED"
    assert json.loads(report(guard, held.id)) == {"raised": type(error).__name__}


async def test_async_block_waits_without_blocking_the_loop(guard: Guard) -> None:
    async def plan() -> dict[str, int]:
        return {"rows": 20}

    voter = later(decide, guard)
    async with guard.approval("db.drop", {"table": "customers"}, evidence=plan) as approved:
        await asyncio.sleep(0)
        assert approved.arguments == {"table": "customers"}
    voter.join()
    assert _all(guard)[0].state == "EXECUTED"
    voter = later(decide, guard)
    with pytest.raises(LookupError):
        async with guard.approval("db.drop", {"table": "orders"}):
            raise LookupError
    voter.join()
    with pytest.raises(ConfigError, match="async with"), guard.approval("db.drop", evidence=plan):
        pass


async def test_async_block_that_is_cancelled_inside_is_spent_and_the_cancellation_goes_on(guard: Guard) -> None:
    entered = asyncio.Event()

    async def work() -> None:
        async with guard.approval("db.drop"):
            entered.set()
            await asyncio.sleep(60)

    voter = later(decide, guard)
    task = asyncio.ensure_future(work())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    voter.join()
    assert _all(guard)[0].state == "EXECUTED"


def test_block_whose_evidence_or_arguments_changed_is_not_entered(guard: Guard) -> None:
    rows = [20, 20, 21]
    entered = False
    arguments: dict[str, Any] = {"tables": ["a"]}
    with pytest.raises(ApprovalPending), guard.approval("x", evidence=lambda: rows.pop(0), wait=0):
        entered = True
    decide(guard)
    with pytest.raises(ActionChanged, match="evidence"), guard.approval("x", evidence=lambda: rows.pop(0)):
        entered = True

    def change_then_approve() -> None:
        waiting(guard)
        arguments["tables"].append("b")
        decide(guard)

    voter = later(change_then_approve)
    with pytest.raises(ActionChanged, match="arguments"), guard.approval("y", arguments):
        entered = True
    voter.join()
    assert not entered
    assert {a.state for a in _all(guard)} == {"FAILED"}


def test_arguments_that_cannot_be_written_down_are_refused(guard: Guard) -> None:
    with pytest.raises(ConfigError, match="cannot be shown"), guard.approval("db.drop", {"table": object()}):
        pass
    with pytest.raises(ConfigError):
        guard.approval("Db Drop")
    assert not _all(guard)


def test_changes_that_a_reviewer_asks_for_make_another_block(guard: Guard) -> None:
    with pytest.raises(ApprovalPending), guard.approval("db.drop", {"table": "customers"}, wait=0):
        pass
    decide(guard, "request_changes", reason="the old one", proposal=b'{"table": "customers_old"}')
    with pytest.raises(ChangesRequested) as caught, guard.approval("db.drop", {"table": "customers"}):
        pass
    error, dropped = caught.value, []
    voter = later(decide, guard)
    with guard.approval("db.drop", error.proposal, revises=error.approval_id or "") as approved:
        dropped.append(approved.arguments["table"])
    voter.join()
    assert dropped == ["customers_old"]
    assert state(guard, error.approval_id or "") == "SUPERSEDED"


INSIDE = """
import sys, time
from pathlib import Path
from llmguard import Guard
guard = Guard()
with guard.approval("db.drop", {"table": "customers"}):
    with open(sys.argv[1], "a") as f:
        f.write("begun\\n")
    time.sleep(60)
"""


def test_killed_inside_the_block_it_is_uncertain_and_not_run_again(
    settings: Settings, guard: Guard, tmp_path: Path
) -> None:
    effect = tmp_path / "effect"
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "LLMGUARD_DATA": str(settings.data),
        "LLMGUARD_KEY": settings.key or "",
        "LLMGUARD_NAMES": "false",
    }
    child = subprocess.Popen([sys.executable, "-c", INSIDE, str(effect)], env=environment)
    held = decide(guard)
    while not effect.exists() or not effect.read_text():
        assert child.poll() is None
    child.send_signal(signal.SIGKILL)
    child.wait()
    guard.store.transact(guard.approvals.sweep)
    assert state(guard, held.id) == "INDETERMINATE"
    with pytest.raises(ApprovalIndeterminate), guard.approval("db.drop", {"table": "customers"}):
        effect.write_text("again")
    assert effect.read_text() == "begun\n"
