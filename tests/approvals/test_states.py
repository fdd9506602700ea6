"""The table of states is the design's, and nothing else ever happens; see also test_model."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import pytest

from llmguard.approvals import STATES, TRANSITIONS, record
from llmguard.approvals.states import legal
from llmguard.errors import Conflict
from llmguard.model import new_id
from tests.desks import BO, START, Desk


def test_the_table_is_the_one_of_the_design() -> None:
    drawn = {
        "PENDING": "APPROVED DENIED CHANGES_REQUESTED EXPIRED CANCELLED SUPERSEDED",
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


def _attested(desk: Desk, approval: Any) -> str:
    """As the guard itself would attest the row."""
    return desk.vault.attest("approval", record.compact([*record._values(approval).values()]))


@pytest.mark.parametrize("outcome", ["EXECUTED", "FAILED", "INDETERMINATE", "APPROVED"])
@pytest.mark.parametrize("state", [s for s in STATES if s not in ("EXECUTING", "INDETERMINATE")])
def test_what_is_not_executing_has_no_outcome(desk: Desk, state: Any, outcome: Any) -> None:
    """Least of all does the outcome of nothing approve what waits for people."""
    approval = desk.hold()
    sql = "UPDATE approvals SET state = ?, attestation = ? WHERE id = ?"
    desk.edit(sql, state, _attested(desk, replace(approval, state=state)), approval.id)
    with pytest.raises(Conflict):
        desk.store.transact(lambda tx: desk.approvals.settle(tx, approval.tenant, approval.id, outcome))
    assert desk.get(approval).state == state


def test_an_execution_of_a_living_process_is_left_alone(desk: Desk) -> None:
    approval = desk.hold()
    desk.vote(approval, BO)
    desk.claim(approval)
    assert desk.store.transact(desk.approvals.sweep) == 0
    assert desk.get(approval).state == "EXECUTING"


@pytest.mark.parametrize(
    "owner",
    ["", "x", "0:y", pytest.param(f"{os.getpid()}:{'0' * 26}", id="reused"), "99999999999999999999999:" + "0" * 26],
)
def test_a_reused_or_unreadable_process_number_is_not_the_owner(desk: Desk, owner: str) -> None:
    approval = desk.hold()
    desk.vote(approval, BO)
    desk.owner = owner
    desk.claim(approval)
    desk.store.transact(desk.approvals.sweep)
    assert desk.get(approval).state == "INDETERMINATE"
