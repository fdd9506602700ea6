"""A process dies at each step of a held call and of an action, one after the other.

Nothing is sent or carried out twice, nothing is lost, and what is uncertain is INDETERMINATE. (``python -m benchmarks
crashes`` kills at random moments instead.)
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmguard.config import Settings
from llmguard.errors import LLMGuardError
from llmguard.guard import Guard
from llmguard.identity import Person
from llmguard.testing import EchoUpstream
from tests.abuse.offices import BO, HOLD
from tests.abuse.steps import Deadly, Exchange, ask, in_child, log_holds, people, sweep, the_only, vote

KILLED = 9


@pytest.fixture
def known(settings: Settings) -> Settings:
    """Settings of an application of Ann's whose every call and action is held."""
    return people(replace(settings, rules=HOLD, names=False))


def dies(known: Settings, work: Callable[[Guard], Any], at: int, after: bool) -> None:
    """The work in a process that dies before or after its n-th commit."""

    def child() -> None:
        guard = Guard(known)
        guard.store = Deadly(guard.store, at, after)  # type: ignore[assignment]
        work(guard)
        os._exit(0)

    assert in_child(child) == KILLED, "the step that it should die at was never reached"


def dies_in(known: Settings, stage: str) -> None:
    """A call in a process that dies at a stage of its exchange with the provider."""

    def kill(reached: str) -> None:
        if reached == stage:
            os._exit(KILLED)

    def child() -> None:
        ask(Guard(known), Exchange(kill))
        os._exit(0)

    assert in_child(child) == KILLED


def states(known: Settings) -> str:
    with Guard(known) as guard:
        sweep(guard)
        return the_only(guard).state


# --------------------------------------------------------------------------- a held call


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_while_it_is_held_the_call_joins_or_asks_anew_and_is_sent_once(
    known: Settings, upstream: EchoUpstream, after: bool
) -> None:
    dies(known, ask, 1, after)
    with Guard(known) as guard:
        assert len(guard.store.read(lambda tx: guard.approvals.list(tx, "default"))[0]) == after
        assert ask(guard) == "approval_pending"
        assert vote(guard, the_only(guard), BO).state == "APPROVED"
        assert ask(guard) == "answered"
    assert len(upstream.received) == 1
    assert log_holds(known)


@pytest.fixture
def approved(known: Settings) -> Settings:
    """The same with a call that is approved and not sent."""
    with Guard(known) as guard:
        assert ask(guard) == "approval_pending"
        assert vote(guard, the_only(guard), BO).state == "APPROVED"
    return known


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_while_somebody_votes_the_vote_is_whole_or_not_there(known: Settings, after: bool) -> None:
    with Guard(known) as guard:
        ask(guard)

    def child() -> None:
        guard = Guard(known)
        if after:
            vote(guard, the_only(guard), BO)
            os._exit(KILLED)

        def work(tx: Any) -> None:
            vote_in(guard, tx)
            os._exit(KILLED)  # voted, and not committed

        guard.store.transact(work)

    assert in_child(child) == KILLED
    with Guard(known) as guard:
        found = the_only(guard)
        assert (found.state, len(found.votes)) == (("APPROVED", 1) if after else ("PENDING", 0))
        if not after:
            assert vote(guard, found, BO).state == "APPROVED"
        assert ask(guard) == "answered"
    assert log_holds(known)


def vote_in(guard: Guard, tx: Any) -> None:
    approval = guard.approvals.list(tx, "default")[0][0]
    person = Person("default", BO, (), True, 0)
    guard.approvals.vote(tx, "default", approval.id, person, "approve", approval.egress_digest)


@pytest.mark.parametrize(("at", "after"), [(1, False), (1, True), (2, False)])
def test_killed_before_the_claim_the_approval_is_unspent_and_then_sent_once(
    approved: Settings, upstream: EchoUpstream, at: int, after: bool
) -> None:
    dies(approved, ask, at, after)
    assert (states(approved), len(upstream.received)) == ("APPROVED", 0)
    with Guard(approved) as guard:
        assert ask(guard) == "answered"
    assert len(upstream.received) == 1
    assert log_holds(approved)


UNCERTAIN: dict[str, tuple[Callable[[Settings], None], int]] = {
    "after the claim": (lambda known: dies(known, ask, 2, True), 0),
    "before the first byte": (lambda known: dies_in(known, "before"), 0),
    "after the last byte": (lambda known: dies_in(known, "sent"), 1),
    "while the answer streams": (lambda known: dies_in(known, "streaming"), 1),
    "before the outcome": (lambda known: dies(known, ask, 3, False), 1),
}


@pytest.mark.parametrize("when", UNCERTAIN)
def test_killed_between_claim_and_outcome_it_is_indeterminate_and_never_sent_again(
    approved: Settings, upstream: EchoUpstream, when: str
) -> None:
    die, sent = UNCERTAIN[when]
    die(approved)
    assert states(approved) == "INDETERMINATE"
    with Guard(approved) as guard:
        assert [ask(guard) for _ in range(3)] == ["approval_indeterminate"] * 3
        sweep(guard)
        assert the_only(guard).state == "INDETERMINATE"
    assert len(upstream.received) == sent
    assert log_holds(approved)


def test_killed_after_the_outcome_the_answer_is_replayed(approved: Settings, upstream: EchoUpstream) -> None:
    dies(approved, ask, 3, True)
    assert states(approved) == "EXECUTED"
    with Guard(approved) as guard:
        assert ask(guard) == "answered"
    assert len(upstream.received) == 1
    assert log_holds(approved)


# --------------------------------------------------------------------------- an action


def act(guard: Guard, out: Path, die: str = "") -> str:
    """Adds a line to a file under an approval. ``die``: before or after that."""

    @guard.action("file.append", wait=0)
    def append(target: str) -> None:
        if die == "before":
            os._exit(KILLED)
        with Path(target).open("a") as f:
            f.write("done\n")
        if die == "after":
            os._exit(KILLED)

    try:
        append(str(out))
    except LLMGuardError as e:
        return e.code
    return "done"


def effects(out: Path) -> int:
    return len(out.read_text().splitlines()) if out.exists() else 0


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_while_it_is_held_the_action_is_asked_again_and_carried_out_once(
    known: Settings, tmp_path: Path, after: bool
) -> None:
    out = tmp_path / "out"
    dies(known, lambda guard: act(guard, out), 1, after)
    with Guard(known) as guard:
        assert act(guard, out) == "approval_pending"
        vote(guard, the_only(guard), BO)
        assert act(guard, out) == "done"
        assert act(guard, out) == "already_executed"
    assert effects(out) == 1
    assert log_holds(known)


@pytest.mark.parametrize(
    ("at", "after", "state", "done"),
    [
        (1, False, "APPROVED", 0),
        (1, True, "APPROVED", 0),
        (2, False, "APPROVED", 0),
        (2, True, "INDETERMINATE", 0),
        (3, False, "INDETERMINATE", 1),
        (3, True, "EXECUTED", 1),
    ],
)
def test_killed_at_a_commit_the_action_is_carried_out_at_most_once(
    known: Settings, tmp_path: Path, at: int, after: bool, state: str, done: int
) -> None:
    out = tmp_path / "out"
    with Guard(known) as guard:
        assert act(guard, out) == "approval_pending"
        vote(guard, the_only(guard), BO)
    dies(known, lambda guard: act(guard, out), at, after)
    assert (states(known), effects(out)) == (state, done)
    with Guard(known) as guard:
        again = {"APPROVED": "done", "INDETERMINATE": "approval_indeterminate", "EXECUTED": "already_executed"}
        assert act(guard, out) == again[state]
    assert effects(out) == (1 if state == "APPROVED" else done)
    assert log_holds(known)


@pytest.mark.parametrize(("die", "done"), [("before", 0), ("after", 1)])
def test_killed_inside_the_function_the_action_is_indeterminate_and_not_run_again(
    known: Settings, tmp_path: Path, die: str, done: int
) -> None:
    out = tmp_path / "out"
    with Guard(known) as guard:
        act(guard, out)
        vote(guard, the_only(guard), BO)

    def child() -> None:
        act(Guard(known), out, die)

    assert in_child(child) == KILLED
    assert states(known) == "INDETERMINATE"
    with Guard(known) as guard:
        assert act(guard, out) == "approval_indeterminate"
    assert effects(out) == done
    assert log_holds(known)
