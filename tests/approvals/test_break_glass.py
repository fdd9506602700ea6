"""Break-glass: one person of the rule's group, with a reason, an alert, and a review by others afterwards."""

from __future__ import annotations

import pytest

from llmguard.errors import ApprovalPending, InvalidRequest, NotAllowed
from llmguard.model import Approval
from tests.desks import ANN, BO, CY, DEE, TENANT, Desk

WHY = "the payment run stops without it"


def broken(desk: Desk, **more: object) -> Approval:
    approval = desk.hold(quorum=2, break_glass="security", **more)
    return desk.vote(approval, DEE, "break_glass", reason=WHY)


def review(desk: Desk) -> Approval:
    found, _ = desk.store.read(lambda tx: desk.approvals.list(tx, TENANT))
    return next(a for a in found if a.subject == "review")


def test_one_person_lets_it_through_and_everybody_hears_of_it(desk: Desk) -> None:
    approval = broken(desk)
    assert approval.state == "APPROVED"
    assert desk.claim(approval)
    kinds = [r["kind"] for r in desk.store.read(lambda tx: tx.all("SELECT kind FROM outbox"))]
    assert "approval.break_glass" in kinds
    assert "approval.break_glass" in desk.log()


def test_others_look_at_it_afterwards(desk: Desk) -> None:
    broken(desk)
    waiting = review(desk)
    for behind in (DEE, ANN):  # who let it through, and who asked
        with pytest.raises(NotAllowed):
            desk.vote(waiting, behind)
    desk.vote(waiting, BO)
    assert desk.vote(waiting, CY).state == "EXECUTED"


def test_a_review_can_say_that_it_was_wrong(desk: Desk) -> None:
    broken(desk)
    assert desk.vote(review(desk), BO, "deny").state == "DENIED"


def test_the_requester_never_breaks_the_glass(desk: Desk) -> None:
    desk.put(ANN, "reviewers", "security")
    approval = desk.hold(break_glass="security")
    with pytest.raises(NotAllowed, match="behind"):
        desk.vote(approval, ANN, "break_glass", reason=WHY)


@pytest.mark.parametrize("group", ["", "oncall"])
def test_only_the_group_of_the_rule_breaks_the_glass(desk: Desk, group: str) -> None:
    with pytest.raises(NotAllowed, match="emergencies"):
        desk.vote(desk.hold(break_glass=group), DEE, "break_glass", reason=WHY)


def test_an_emergency_has_a_reason(desk: Desk) -> None:
    with pytest.raises(InvalidRequest, match="reason"):
        desk.vote(desk.hold(break_glass="security"), DEE, "break_glass", reason="urgent")


def test_who_breaks_the_glass_still_has_to_be_somebody_at_the_claim(desk: Desk) -> None:
    approval = broken(desk)
    desk.put(DEE, "security", active=False)
    with pytest.raises(ApprovalPending):
        desk.claim(approval)
