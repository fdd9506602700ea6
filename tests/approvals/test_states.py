"""Only the transitions of the table happen, whatever people, callers, time and sweeps do in whatever order."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from llmguard.approvals import STATES, TRANSITIONS, record
from llmguard.approvals.states import legal
from llmguard.errors import Conflict, LLMGuardError
from llmguard.model import Approval, new_id
from tests.desks import ANN, BO, CY, DEE, START, Desk, decision


def test_the_table_is_the_one_of_the_design() -> None:
    drawn = {
        "PENDING": "APPROVED DENIED CHANGES_REQUESTED EXPIRED CANCELLED",
        "CHANGES_REQUESTED": "SUPERSEDED EXPIRED CANCELLED",
        "APPROVED": "EXECUTING EXPIRED REVOKED CANCELLED PENDING",
        "EXECUTING": "EXECUTED FAILED INDETERMINATE APPROVED",
    }
    assert {k: set(v) for k, v in TRANSITIONS.items()} == {k: set(v.split()) for k, v in drawn.items()}
    assert len(STATES) == 12


@pytest.mark.parametrize("origin", STATES)
def test_every_transition_outside_the_table_is_refused_and_writes_nothing(desk: Desk, origin: Any) -> None:
    approval = replace(desk.hold(), state=origin)
    before = desk.log()
    for target in STATES:
        if not legal(origin, target):
            with pytest.raises(Conflict, match="cannot become"):
                desk.store.transact(lambda tx, t=target: record.transition(tx, desk.vault, approval, t, by="x"))
    assert desk.log() == before


def test_a_transition_from_an_old_version_is_refused(desk: Desk) -> None:
    old = desk.hold()
    desk.vote(old, BO)
    with pytest.raises(Conflict, match="first"):
        desk.store.transact(lambda tx: record.transition(tx, desk.vault, old, "DENIED", by="x"))


def test_each_transition_writes_one_entry_and_one_message_with_the_state(desk: Desk) -> None:
    approval = desk.hold()
    desk.vote(approval, BO)
    desk.claim(approval)
    desk.store.transact(lambda tx: desk.approvals.settle(tx, approval.tenant, approval.id, "EXECUTED"))
    kinds = [k for k in desk.log() if k.startswith("approval")]
    assert kinds == ["approval.held", "approval.vote", "approval.approved", "approval.claimed", "approval.executed"]
    sent = desk.store.read(lambda tx: tx.all("SELECT kind FROM outbox"))
    expected = {f"approval.{s}" for s in ("pending", "approved", "executing", "executed")}
    assert {r["kind"] for r in sent} == expected
    assert desk.get(approval).version == 4


_PEOPLE = st.sampled_from([ANN, BO, CY, DEE])


class Life(RuleBasedStateMachine):
    """Two approvals in the hands of everybody at once."""

    folder: Path
    count = 0

    def __init__(self) -> None:
        super().__init__()
        type(self).count += 1
        self.desk = Desk(self.folder / str(self.count)).staff()
        self.approvals = [self.desk.hold(key="one"), self.desk.hold(key="two", quorum=2)]
        self.seen = [("PENDING", 1), ("PENDING", 1)]
        self.sent = [0, 0]

    def attempt(self, which: int, work: Any) -> None:
        """One step; afterwards the state moved along the table only, one version a transition."""
        with contextlib.suppress(LLMGuardError):
            work(self.approvals[which])
        for i, approval in enumerate(self.approvals):
            self.check(i, self.desk.get(approval))

    def check(self, i: int, now: Approval) -> None:
        (state, version), steps = self.seen[i], now.version - self.seen[i][1]
        assert steps >= 0
        reachable = {state}
        for _ in range(steps):
            reachable = {t for s in reachable for t in TRANSITIONS.get(s, ())}  # type: ignore[call-overload]
        assert now.state in reachable
        assert version <= now.version
        self.seen[i] = (now.state, now.version)

    @rule(
        which=st.integers(0, 1), who=_PEOPLE, verdict=st.sampled_from(["approve", "approve", "deny", "request_changes"])
    )
    def vote(self, which: int, who: str, verdict: str) -> None:
        self.attempt(which, lambda a: self.desk.vote(a, who, verdict))

    @rule(which=st.integers(0, 1))
    def claim(self, which: int) -> None:
        def work(approval: Approval) -> None:
            self.desk.claim(approval)
            self.sent[which] += 1

        self.attempt(which, work)

    @rule(which=st.integers(0, 1), state=st.sampled_from(["EXECUTED", "FAILED", "INDETERMINATE", "APPROVED"]))
    def settle(self, which: int, state: Any) -> None:
        def work(a: Approval) -> None:
            after = self.desk.store.transact(lambda tx: self.desk.approvals.settle(tx, a.tenant, a.id, state))
            self.sent[which] -= after.state == "APPROVED"

        self.attempt(which, work)

    @rule(which=st.integers(0, 1), who=_PEOPLE, name=st.sampled_from(["cancel", "revoke"]))
    def end(self, which: int, who: str, name: str) -> None:
        def work(a: Approval) -> None:
            person = self.desk.put(who, *({"reviewers"} if who != DEE else {"security"}))
            self.desk.store.transact(lambda tx: getattr(self.desk.approvals, name)(tx, a.tenant, a.id, person))

        self.attempt(which, work)

    @rule(who=st.sampled_from([BO, CY]), groups=st.sampled_from([("reviewers",), ("security",)]), active=st.booleans())
    def move(self, who: str, groups: tuple[str, ...], active: bool) -> None:
        self.attempt(0, lambda _: self.desk.put(who, *groups, active=active))

    @rule(minutes=st.sampled_from([1, 50]))
    def wait(self, minutes: int) -> None:
        self.desk.now += minutes * 60_000
        self.attempt(0, lambda _: self.desk.store.transact(self.desk.approvals.sweep))

    @rule(which=st.integers(0, 1), verdict=st.sampled_from(["require_approval", "allow", "block"]))
    def review(self, which: int, verdict: str) -> None:
        anew = decision(verdict, quorum=which + 1)
        self.attempt(
            which,
            lambda a: self.desk.store.transact(lambda tx: self.desk.approvals.review(tx, a.tenant, a.id, anew)),
        )

    @invariant()
    def nothing_leaves_twice(self) -> None:
        assert max(self.sent) <= 1

    def teardown(self) -> None:
        self.desk.store.close()


def test_only_transitions_of_the_table_ever_happen(tmp_path: Path) -> None:
    Life.folder = tmp_path
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=25, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def test_executions_whose_process_is_gone_are_given_up_and_told_so(desk: Desk) -> None:
    approval = desk.hold()
    desk.vote(approval, BO)
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    desk.owner = f"{pid}:{new_id(START)}"
    desk.claim(approval)
    assert desk.store.transact(desk.approvals.sweep) == 1
    assert desk.get(approval).state == "INDETERMINATE"
    late = desk.store.transact(lambda tx: desk.approvals.settle(tx, approval.tenant, approval.id, "EXECUTED"))
    assert late.state == "INDETERMINATE"
    assert desk.log()[-1] == "approval.late_outcome"


def test_an_execution_of_a_living_process_is_left_alone(desk: Desk) -> None:
    approval = desk.hold()
    desk.vote(approval, BO)
    desk.claim(approval)
    assert desk.store.transact(desk.approvals.sweep) == 0
    assert desk.get(approval).state == "EXECUTING"


@pytest.mark.parametrize("owner", ["", "x", "0:y", f"{os.getpid()}:{'0' * 26}", "99999999999999999999999:" + "0" * 26])
def test_a_reused_or_unreadable_process_number_is_not_the_owner(desk: Desk, owner: str) -> None:
    approval = desk.hold()
    desk.vote(approval, BO)
    desk.owner = owner
    desk.claim(approval)
    desk.store.transact(desk.approvals.sweep)
    assert desk.get(approval).state == "INDETERMINATE"
