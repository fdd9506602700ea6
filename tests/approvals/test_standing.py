"""Standing grants: votes in advance, narrow, short, visible, and taken back at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from llmguard import identity
from llmguard.approvals import standing
from llmguard.errors import ApprovalPending, InvalidRequest, NotAllowed
from llmguard.model import Approval, Hold, Risk
from tests.desks import ANN, BO, CY, DEE, TENANT, Desk

HOUR = 3600 * 1000


def request(desk: Desk, key: str = "k", **more: Any) -> Hold:
    return replace(desk.request(key=key, quorum=more.pop("quorum", 1)), kind="inference", **more)


def held(desk: Desk, hold: Hold) -> Approval:
    return desk.store.transact(lambda tx: desk.approvals.hold(tx, hold))


def proposed(desk: Desk, like: Approval, seconds: int = 3600, by: str = BO) -> Approval:
    def work(tx: Any) -> Approval:
        who = identity.person(tx, desk.vault, TENANT, by)
        assert who
        made = desk.approvals.propose(tx, who, standing.asked(like, tx.now, seconds), human=like.human)
        assert made
        return made

    return desk.store.transact(work)


def granted(desk: Desk, **more: Any) -> Approval:
    """Bo proposes what Ann's key does all day, Cy approves. The approval that it was made like."""
    like = held(desk, request(desk, "first", **more))
    assert desk.vote(proposed(desk, like), CY).state == "EXECUTED"
    return like


def test_calls_like_the_first_go_through_and_each_is_an_approval(desk: Desk) -> None:
    granted(desk)
    for key in ("second", "third"):
        approval = held(desk, request(desk, key))
        assert approval.state == "APPROVED"
        assert approval.standing
        assert desk.claim(approval)


@pytest.mark.parametrize(
    "other",
    [
        {"risk": Risk(81, 20)},
        {"risk": Risk(80, 21)},
        {"findings": {"PERSON": 1, "IBAN": 1}},
        {"unscanned": ("image",)},
        {"operation": "chat.completions.create"},
        {"subject": "action"},
        {"kind": "training"},
    ],
)
def test_whatever_is_not_like_it_waits(desk: Desk, other: dict[str, Any]) -> None:
    granted(desk)
    assert held(desk, replace(request(desk, "second"), **other)).state == "PENDING"


def test_another_caller_waits(desk: Desk) -> None:
    granted(desk)
    assert held(desk, request(desk, "x", principal=desk.principal(id_="key:2"))).state == "PENDING"


def test_after_its_hours_calls_wait_again(desk: Desk) -> None:
    granted(desk)
    desk.now += HOUR
    assert held(desk, request(desk, "second")).state == "PENDING"


def test_a_grant_that_was_revoked_is_not_spent_any_more(desk: Desk) -> None:
    granted(desk)
    approval = held(desk, request(desk, "second"))

    def end(tx: Any) -> None:
        who = identity.person(tx, desk.vault, TENANT, DEE)
        assert who
        standing.revoke(tx, desk.vault, who, standing.of(tx, desk.vault, TENANT)[0][0].id)

    desk.store.transact(end)
    with pytest.raises(ApprovalPending):
        desk.claim(approval)
    assert desk.vote(approval, BO).state == "APPROVED"


def test_who_gave_it_still_has_to_be_somebody(desk: Desk) -> None:
    granted(desk)
    approval = held(desk, request(desk, "second"))
    desk.put(CY, "security")
    with pytest.raises(ApprovalPending):
        desk.claim(approval)


def test_a_rule_that_wants_more_people_than_gave_it_asks_them(desk: Desk) -> None:
    granted(desk)
    assert held(desk, request(desk, "second", quorum=2)).state == "PENDING"


def test_neither_the_caller_nor_who_proposes_it_gives_it(desk: Desk) -> None:
    waiting = proposed(desk, held(desk, request(desk)))
    for email in (ANN, BO):
        with pytest.raises(NotAllowed):
            desk.vote(waiting, email)


@pytest.mark.parametrize("seconds", [0, 8 * 3600 + 1])
def test_it_lasts_eight_hours_at_most(desk: Desk, seconds: int) -> None:
    with pytest.raises(InvalidRequest, match="eight hours"):
        proposed(desk, held(desk, request(desk)), seconds)


def test_actions_and_training_are_never_granted_in_advance(desk: Desk) -> None:
    for more in ({"subject": "action"}, {"kind": "training"}):
        with pytest.raises(InvalidRequest, match="in advance"):
            proposed(desk, held(desk, replace(request(desk, str(more)), **more)))


@pytest.mark.parametrize("change", ["ends = ends + 1", 'types = \'["PERSON","IBAN"]\'', "residual = 100"])
def test_an_altered_grant_counts_for_nothing(desk: Desk, change: str) -> None:
    granted(desk)
    desk.edit(f"UPDATE standing_grants SET {change}")
    assert held(desk, request(desk, "second")).state == "PENDING"
