"""What time does: the time to decide, the time to spend, reminders, escalation."""

from __future__ import annotations

import pytest

from llmguard.errors import ApprovalExpired, ApprovalPending, NotAllowed
from tests.desks import BO, CY, DEE, Desk

SECOND = 1000


def outbox(desk: Desk) -> list[str]:
    return [r["kind"] for r in desk.store.read(lambda tx: tx.all("SELECT kind FROM outbox ORDER BY id"))]


def sweep(desk: Desk) -> int:
    return desk.store.transact(desk.approvals.sweep)


def test_an_approval_that_is_not_spent_in_time_expires(desk: Desk) -> None:
    approval = desk.hold(expires_in=3600, spend_in=60)
    desk.now += 3000 * SECOND
    approved = desk.vote(approval, BO)
    assert approved.expires == desk.now + 60 * SECOND
    desk.now += 61 * SECOND
    with pytest.raises(ApprovalExpired):
        desk.claim(approval)
    assert desk.get(approval).state == "EXPIRED"


def test_the_time_to_spend_goes_on_after_the_time_to_decide(desk: Desk) -> None:
    approval = desk.hold(expires_in=600, spend_in=3600)
    desk.now += 590 * SECOND
    desk.vote(approval, BO)
    desk.now += 1000 * SECOND
    assert desk.claim(approval)


def test_an_approval_that_lost_its_quorum_has_the_old_time_to_decide(desk: Desk) -> None:
    approval = desk.hold(expires_in=600, spend_in=7200)
    desk.vote(approval, BO)
    desk.put(BO, "security")
    with pytest.raises(ApprovalPending):
        desk.claim(approval)
    assert desk.get(approval).expires == approval.created + 600 * SECOND


def test_a_clock_that_is_set_back_brings_no_approval_back(desk: Desk) -> None:
    approval = desk.hold(expires_in=600)
    desk.vote(approval, BO)
    desk.now += 7200 * SECOND
    with pytest.raises(ApprovalExpired):
        desk.claim(approval)
    desk.now -= 7200 * SECOND
    with pytest.raises(ApprovalExpired):
        desk.claim(approval)


def test_who_does_not_decide_is_reminded_once_each_period(desk: Desk) -> None:
    desk.hold(remind_after=600)
    for _ in range(3):
        desk.now += 300 * SECOND
        sweep(desk)
    assert outbox(desk).count("approval.reminder") == 1
    desk.now += 1500 * SECOND  # nobody looked for a while: one reminder, not three
    sweep(desk)
    sweep(desk)
    assert outbox(desk).count("approval.reminder") == 2


def test_what_is_decided_reminds_nobody(desk: Desk) -> None:
    approval = desk.hold(remind_after=600)
    desk.vote(approval, BO)
    desk.now += 700 * SECOND
    sweep(desk)
    assert "approval.reminder" not in outbox(desk)


def test_after_the_escalation_others_may_decide_too(desk: Desk) -> None:
    approval = desk.hold(escalate_after=600, escalate_to="security")
    with pytest.raises(NotAllowed):
        desk.vote(approval, DEE)
    desk.now += 601 * SECOND
    sweep(desk)
    assert desk.get(approval).escalated == desk.now
    assert {"approval.escalated"} <= set(outbox(desk)) & set(desk.log())
    assert desk.vote(approval, DEE).state == "APPROVED"
    assert desk.claim(approval)


def test_an_escalation_wants_as_many_people_as_before(desk: Desk) -> None:
    approval = desk.hold(quorum=2, escalate_after=600, escalate_to="security")
    desk.now += 601 * SECOND
    sweep(desk)
    assert desk.vote(approval, DEE).state == "PENDING"
    assert desk.vote(approval, CY).state == "APPROVED"


def test_an_escalation_is_not_written_into_the_database_by_hand(desk: Desk) -> None:
    approval = desk.hold(escalate_after=600, escalate_to="security")
    desk.edit("UPDATE approvals SET escalated = 1")
    with pytest.raises(Exception, match="altered"):
        desk.vote(approval, DEE)


def test_many_that_end_at_once_are_ended_in_pieces(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmguard.approvals.approvals.SWEEP", 4)
    for i in range(10):
        desk.hold(key=str(i), expires_in=60)
    desk.now += 61 * SECOND
    assert [sweep(desk) for _ in range(4)] == [4, 4, 2, 0]
