"""Privileged functions: bound to their arguments, decided by others, carried out at most once."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from llmguard import identity
from llmguard.config import Settings
from llmguard.errors import (
    ActionChanged,
    AlreadyExecuted,
    ApprovalDenied,
    ApprovalImpossible,
    ApprovalPending,
    ChangesRequested,
    ConfigError,
    Conflict,
    NotFound,
)
from llmguard.guard import Guard
from llmguard.testing import Fakes
from tests.actions.staff import ANN, BOB, ROWS, SETUP, decide, export, later, lines, report, rows, shown, state, waiting


def test_approved_export_runs_once_and_returns_its_value(guard: Guard, customers: Path, out: Path) -> None:
    gated = guard.action("db.export")(export)
    voter = later(decide, guard)
    assert gated(customers, "customers", out) == ROWS
    voter.join()
    with pytest.raises(AlreadyExecuted):
        gated(customers, "customers", target=out)
    assert lines(out) == ROWS


def test_denied_export_does_nothing(guard: Guard, customers: Path, out: Path) -> None:
    voter = later(decide, guard, "deny")
    with pytest.raises(ApprovalDenied):
        guard.action("db.export")(export)(customers, "customers", out)
    voter.join()
    assert not out.exists()


def test_wait_that_is_over_raises_and_the_same_arguments_pick_the_decision_up(
    guard: Guard, customers: Path, out: Path
) -> None:
    gated = guard.action("db.export", wait=0)(export)
    with pytest.raises(ApprovalPending) as caught:
        gated(customers, "customers", out)
    [held] = gated.pending()
    assert caught.value.approval_id == held.id
    decide(guard)
    assert gated(source=customers, table="customers", target=out) == ROWS
    assert gated.pending() == ()


def test_other_arguments_are_another_action(guard: Guard, customers: Path, out: Path) -> None:
    gated = guard.action("db.export", wait=0)(export)
    with pytest.raises(ApprovalPending):
        gated(customers, "customers", out)
    decide(guard)
    with pytest.raises(ApprovalPending):
        gated(customers, "customers", out.with_name("elsewhere.csv"))
    assert not out.with_name("elsewhere.csv").exists()


def test_arguments_changed_while_waiting_are_not_carried_out(guard: Guard) -> None:
    ran: list[Any] = []
    numbers = [1, 2]

    @guard.action("rows.delete")
    def delete(numbers: list[int]) -> None:
        ran.append(numbers)

    held: list[str] = []

    def change_then_approve() -> None:
        held.append(waiting(guard).id)
        numbers.append(3)
        decide(guard)

    voter = later(change_then_approve)
    with pytest.raises(ActionChanged, match="arguments changed"):
        delete(numbers)
    voter.join()
    assert not ran
    assert state(guard, held[0]) == "FAILED"


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
    held = decide(guard)
    with pytest.raises(LookupError, match="of the function itself"):
        fail()
    with pytest.raises(AlreadyExecuted):
        fail()
    assert len(runs) == 1
    assert json.loads(report(guard, held.id)) == {"raised": "LookupError"}


# --------------------------------------------------------------------------- shapes of functions


async def test_async_functions_and_methods_wait_without_blocking_the_loop(guard: Guard) -> None:
    async def count(store: Any, name: str) -> dict[str, int]:
        await asyncio.sleep(0)
        return {"entries": 7}

    class Store:
        @guard.action("store.clear", describe="Clear {name}", evidence=count)
        async def clear(self, name: str) -> str:
            await asyncio.sleep(0)
            return f"cleared {name}"

    voter = later(decide, guard)
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


def test_methods_bind_their_class_and_what_evidence_says_of_the_instance(guard: Guard) -> None:
    class Store:
        def __init__(self, url: str) -> None:
            self.url = url

        @guard.action("store.clear", wait=0, evidence=lambda self, name: {"store": self.url})
        def clear(self, name: str) -> str:
            return f"cleared {name} of {self.url}"

        @staticmethod
        @guard.action("store.help", wait=0)
        def help(self: str) -> str:
            return self

        @classmethod
        @guard.action("store.make", wait=0)
        def make(cls, name: str) -> str:
            return f"{cls.__name__} {name}"

    class Cache(Store):
        pass

    production, staging = Store("production"), Store("staging")
    with pytest.raises(ApprovalPending) as caught:
        production.clear("sessions")
    body = json.loads(shown(guard, waiting(guard)))
    assert body["arguments"] == {"name": "sessions"}
    assert body["on"].endswith("Store")
    assert body["evidence"] == {"store": "production"}
    decide(guard)
    with pytest.raises(ApprovalPending):
        staging.clear("sessions")
    with pytest.raises(ActionChanged, match="evidence"):
        staging.clear.resume(caught.value.approval_id or "")
    assert Store.clear(production, "sessions") == "cleared sessions of production"
    with pytest.raises(ApprovalPending):
        Store.help("not left out")
    with pytest.raises(ApprovalPending) as made:
        Cache.make("one")
    approvals = {a.operation: a for a in _all(guard)}
    assert json.loads(shown(guard, approvals["action.store.help"]))["arguments"] == {"self": "not left out"}
    assert json.loads(shown(guard, approvals["action.store.make"]))["on"].endswith("Cache")
    decide(guard, approval=approvals["action.store.make"])
    assert Cache.make.resume(made.value.approval_id or "") == "Cache one"


def _all(guard: Guard) -> Any:
    return guard.store.read(lambda tx: guard.approvals.list(tx, "default"))[0]


def test_defaults_keywords_and_further_arguments_are_bound_however_passed(guard: Guard) -> None:
    @guard.action("mail.send", wait=0)
    def send(to: str, /, *more: str, copy: bool = False, **headers: str) -> list[Any]:
        return [to, more, copy, headers]

    with pytest.raises(ApprovalPending) as caught:
        send("a", "b", "c", subject="hello")
    body = json.loads(shown(guard, waiting(guard)))
    assert body["arguments"] == {"to": "a", "more": ["b", "c"], "copy": False, "headers": {"subject": "hello"}}
    decide(guard)
    assert send.resume(caught.value.approval_id or "") == ["a", ("b", "c"), False, {"subject": "hello"}]
    with pytest.raises(AlreadyExecuted):
        send("a", "b", "c", subject="hello", copy=False)


def test_what_is_no_function_that_runs_to_its_end_is_refused(guard: Guard) -> None:
    import functools

    def numbers() -> Any:
        yield 1

    async def plan() -> None: ...

    for wrong in (numbers, functools.partial(print, "hidden"), classmethod(print)):
        with pytest.raises(ConfigError):
            guard.action("x")(wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="not async"):
        guard.action("x", evidence=plan)(lambda: None)
    with pytest.raises(ConfigError, match="no parameter"):
        guard.action("x", describe="Drop {tabel}")(lambda table: None)


@pytest.mark.parametrize("name", ["", "Db.Export", "a b", "../x"])
def test_name_that_is_none_is_refused(guard: Guard, name: str) -> None:
    with pytest.raises(ConfigError):
        guard.action(name)


@pytest.mark.parametrize(
    "argument",
    [object(), float("nan"), {1: 2}, {"a", "b"}, "\ud800", "x" * (1 << 20)],
    ids=["object", "nan", "keys", "set", "surrogate", "huge"],
)
def test_argument_that_cannot_be_shown_is_refused(guard: Guard, argument: Any) -> None:
    with pytest.raises(ConfigError, match=r"cannot be shown|could read"):
        guard.action("x")(lambda value: None)(argument)
    assert not _all(guard)


# --------------------------------------------------------------------------- description and evidence


def test_reviewer_reads_a_sentence_and_the_dry_run_redacted_and_the_log_holds_none(guard: Guard) -> None:
    email = Fakes(5).email()

    @guard.action(
        "mail.send", wait=0, describe=lambda to: f"Mail the report to {to}", evidence=lambda to: {"preview": to}
    )
    def send(to: str) -> None: ...

    with pytest.raises(ApprovalPending):
        send(email)
    approval = waiting(guard)
    body = shown(guard, approval)
    assert body.count(b"[EMAIL_") == 3
    assert email.encode() not in body
    assert json.loads(body)["description"].startswith("Mail the report to [EMAIL_")
    leaves = guard.store.read(lambda tx: tx.all("SELECT leaf FROM audit_entries"))
    assert not [row for row in leaves if email.encode() in bytes(row["leaf"])]


def test_evidence_that_drifted_while_waiting_stops_the_action(guard: Guard, customers: Path, out: Path) -> None:
    def plan(source: Path, table: str, target: Path) -> dict[str, int]:
        return {"rows": rows(source, table)}

    gated = guard.action("db.export", evidence=plan)(export)
    held: list[str] = []

    def insert_then_approve() -> None:
        import sqlite3

        held.append(waiting(guard).id)
        with sqlite3.connect(customers) as db:
            db.execute("INSERT INTO customers VALUES ('late', 'arrival')")
        db.close()
        decide(guard)

    voter = later(insert_then_approve)
    with pytest.raises(ActionChanged, match="evidence changed"):
        gated(customers, "customers", out)
    voter.join()
    assert not out.exists()
    assert state(guard, held[0]) == "FAILED"


def test_evidence_that_fails_at_the_second_time_stops_the_action(guard: Guard) -> None:
    ran: list[int] = []
    plans = ["plan", "plan"]
    gated = guard.action("job.run", evidence=lambda: plans.pop(), wait=0)(lambda: ran.append(1))
    with pytest.raises(ApprovalPending):
        gated()
    held = decide(guard)
    with pytest.raises(ActionChanged, match="IndexError"):
        gated()
    assert not ran
    assert state(guard, held.id) == "FAILED"


def test_what_describing_and_the_dry_run_raise_comes_out_and_nothing_is_held(guard: Guard) -> None:
    def broken() -> str:
        raise LookupError("of the dry run")

    with pytest.raises(LookupError):
        guard.action("x", evidence=broken)(lambda: None)()
    with pytest.raises(LookupError):
        guard.action("x", describe=broken)(lambda: None)()
    for wrong in ({"evidence": lambda: "x" * (256 << 10)}, {"evidence": object}, {"describe": lambda: "x" * 2001}):
        with pytest.raises(ConfigError):
            guard.action("x", **wrong)(lambda: None)()  # type: ignore[arg-type]
    assert not _all(guard)


def test_signs_that_steer_a_terminal_or_the_eye_stay_in_the_bytes_that_are_bound(guard: Guard) -> None:
    gated = guard.action("file.remove", wait=0, describe="Remove {name}")(lambda name: name)
    honest, disguised = "invoice.pdf", "invoice\u202efdp.exe\x1b[2K"
    with pytest.raises(ApprovalPending):
        gated(honest)
    decide(guard)
    with pytest.raises(ApprovalPending):
        gated(disguised)
    assert json.loads(shown(guard, waiting(guard)))["arguments"]["name"] == disguised


# --------------------------------------------------------------------------- picking up, and revising


def test_resumed_by_its_id_the_action_runs_with_the_arguments_as_they_were(
    settings: Settings, customers: Path, out: Path
) -> None:
    with Guard(settings) as first, pytest.raises(ApprovalPending) as caught:
        first.action("db.export", wait=0)(export)(customers, "customers", out)
    id_ = caught.value.approval_id or ""
    with Guard(settings) as second:
        second.action("db.export", wait=0)(export)
        with pytest.raises(ApprovalPending):
            second.resume(id_)
        decide(second)
        assert second.resume(id_) == ROWS
        with pytest.raises(AlreadyExecuted):
            second.resume(id_)
    assert lines(out) == ROWS


async def test_async_actions_resume_too(guard: Guard) -> None:
    @guard.action("job.run", wait=0)
    async def job(on: date, times: float) -> tuple[date, float]:
        return on, times

    with pytest.raises(ApprovalPending) as caught:
        await job(date(2030, 1, 2), 2.0)
    decide(guard)
    assert await guard.resume(caught.value.approval_id or "") == (date(2030, 1, 2), 2.0)


def test_what_cannot_be_made_again_or_is_not_ones_own_is_not_resumed(settings: Settings, guard: Guard) -> None:
    gated = guard.action("blob.put", wait=0)(lambda content: None)
    with pytest.raises(ApprovalPending) as caught:
        gated(b"bytes are shown as their digest")
    id_ = caught.value.approval_id or ""
    held = decide(guard)
    with pytest.raises(ConfigError, match="was not written down whole"):
        gated.resume(id_)
    with pytest.raises(NotFound, match=r"blob\.put"):
        guard.action("other", wait=0)(lambda: None).resume(id_)
    with Guard(replace(settings, key=None)) as stranger:
        foreign = stranger.action("blob.put", wait=0)(lambda content: None)
        with pytest.raises(NotFound):
            foreign.resume(id_)
        assert foreign.pending() == ()
        with pytest.raises(ConfigError, match="no function of this process"):
            Guard.resume(guard, _unknown(guard))
    assert state(guard, held.id) == "APPROVED"


def _unknown(guard: Guard) -> str:
    with pytest.raises(ApprovalPending) as caught, guard.approval("db.drop", {"table": "t"}, wait=0):
        pass
    return caught.value.approval_id or ""


def test_denied_is_not_asked_anew_by_resuming(guard: Guard) -> None:
    gated = guard.action("job.run", wait=0)(lambda: None)
    with pytest.raises(ApprovalPending) as caught:
        gated()
    decide(guard, "deny")
    with pytest.raises(ApprovalDenied):
        gated.resume(caught.value.approval_id or "")
    assert len(_all(guard)) == 1


def test_proposal_is_read_accepted_explicitly_and_voted_on_anew(guard: Guard, customers: Path, out: Path) -> None:
    gated = guard.action("db.export", wait=0)(export)
    with pytest.raises(ApprovalPending) as first:
        gated(customers, "customers LIMIT 20", out)
    proposal = json.dumps({"table": "customers LIMIT 3"}).encode()
    decide(guard, "request_changes", reason="three are enough", proposal=proposal)
    with pytest.raises(ChangesRequested) as caught:
        gated(customers, "customers LIMIT 20", out)
    error = caught.value
    assert (error.code, error.reason) == ("changes_requested", "three are enough")
    assert error.proposal == {"source": customers, "table": "customers LIMIT 3", "target": out}
    assert "three" not in str(error)
    assert "three" not in json.dumps(error.body())
    with pytest.raises(ApprovalPending) as second:
        gated.revise(error.approval_id or "", **error.proposal)
    assert state(guard, first.value.approval_id or "") == "SUPERSEDED"
    assert not out.exists()
    with pytest.raises(Conflict):
        gated.revise(error.approval_id or "", customers, "customers", out)
    decide(guard)
    assert gated.resume(second.value.approval_id or "") == 3
    assert lines(out) == 3


def test_placeholder_in_a_proposal_means_what_the_caller_had_written(guard: Guard) -> None:
    email, sent = Fakes(6).email(), []
    gated = guard.action("mail.send", wait=0)(lambda to, *bodies: sent.append((to, bodies)))
    with pytest.raises(ApprovalPending):
        gated(email, "everything")
    seen = json.loads(shown(guard, waiting(guard)))["arguments"]["to"]
    proposal = json.dumps({"to": seen, "bodies": [f"less, {seen}"]}).encode()
    decide(guard, "request_changes", reason="less", proposal=proposal)
    with pytest.raises(ChangesRequested) as caught:
        gated(email, "everything")
    assert caught.value.proposal == {"to": email, "bodies": (f"less, {email}",)}
    with pytest.raises(ApprovalPending) as again:
        gated.revise(caught.value.approval_id or "", **caught.value.proposal)
    decide(guard)
    gated.resume(again.value.approval_id or "")
    assert sent == [(email, (f"less, {email}",))]


@pytest.mark.parametrize("proposal", [b'{"colour": "red"}', b"drop it", b'{"name": 1, "name": 2}', b"[]"])
def test_proposal_that_is_no_arguments_is_none(guard: Guard, proposal: bytes) -> None:
    gated = guard.action("x", wait=0)(lambda name: None)
    with pytest.raises(ApprovalPending):
        gated("n")
    decide(guard, "request_changes", reason="why", proposal=proposal)
    with pytest.raises(ChangesRequested) as caught:
        gated("n")
    assert (caught.value.reason, caught.value.proposal) == ("why", None)
