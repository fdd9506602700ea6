"""Waiting together: who is woken, by whom, and who is sent away; and what is kept for those who come again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from llmguard.approvals import WaitingRoom
from llmguard.approvals.states import MAX_RETURNS
from llmguard.errors import AlreadyExecuted, GuardUnavailable, NotFound
from llmguard.model import Answer, Approval
from tests.desks import BO, Desk

ANSWER = Answer(200, (("content-type", "application/json"),), b'{"say": "[PERSON_abcdefghij]"}')


@pytest.fixture
def room(desk: Desk) -> Iterator[WaitingRoom]:
    made = WaitingRoom(desk.store)
    yield made
    made.close()


def executed(desk: Desk, answer: Answer | None = ANSWER) -> Approval:
    approval = desk.hold()
    desk.vote(approval, BO)
    desk.claim(approval)
    return desk.store.transact(lambda tx: desk.approvals.settle(tx, approval.tenant, approval.id, "EXECUTED", answer))


def recall(desk: Desk, approval: Approval, **principal: Any) -> Answer:
    who = desk.principal(**principal)
    return desk.store.read(lambda tx: desk.approvals.recall(tx, approval.tenant, approval.id, who))


def test_only_those_are_woken_whose_approval_changed(desk: Desk, room: WaitingRoom) -> None:
    one, two = desk.hold(key="one"), desk.hold(key="two")
    news = [room.enter(a) for a in (one, one, two)]
    assert room.others(one)
    desk.vote(one, BO)
    for woken in news[:2]:
        assert woken.result(10) is None
    assert not news[2].done()
    assert len(room) == 1


def test_what_changed_before_one_entered_is_news_too(desk: Desk, room: WaitingRoom) -> None:
    approval = desk.hold()
    desk.vote(approval, BO, "deny")
    assert room.enter(approval).result(10) is None


def test_end_of_time_wakes(desk: Desk, room: WaitingRoom) -> None:
    approval = desk.hold()
    news = room.enter(approval)
    desk.now = approval.expires
    assert news.result(10) is None
    assert desk.store.transact(lambda tx: desk.approvals.review(tx, approval.tenant, approval.id)).state == "EXPIRED"


def test_room_that_closes_sends_everybody_away_and_takes_nobody_in(desk: Desk, room: WaitingRoom) -> None:
    approval = desk.hold()
    news = room.enter(approval)
    room.close()
    with pytest.raises(GuardUnavailable):
        news.result(10)
    with pytest.raises(GuardUnavailable):
        room.enter(approval)
    assert desk.get(approval).state == "PENDING"


def test_room_is_empty_after_everybody_left_and_opens_again(desk: Desk, room: WaitingRoom) -> None:
    approval = desk.hold()
    news = room.enter(approval)
    room.leave(news)
    room.leave(news)
    assert len(room) == 0
    again = room.enter(approval)
    desk.vote(approval, BO)
    assert again.result(10) is None


def test_answer_is_kept_sealed_for_its_caller_until_the_window_is_over(desk: Desk) -> None:
    approval = executed(desk)
    assert recall(desk, approval) == ANSWER
    for stranger in ({"id_": "key:2"}, {"tenant": "other"}):
        with pytest.raises(NotFound):
            recall(desk, approval, **stranger)
    stored = desk.store.read(lambda tx: [tuple(r) for r in tx.all("SELECT * FROM approval_answers")])
    assert "PERSON_" not in repr(stored)
    desk.now += 600_000
    with pytest.raises(AlreadyExecuted):
        recall(desk, approval)
    assert desk.hold().id == approval.id
    desk.store.transact(desk.approvals.sweep)
    assert not desk.store.read(lambda tx: tx.all("SELECT * FROM approval_answers"))
    desk.now += 600_000
    assert desk.hold().id != approval.id


def test_answer_moved_to_another_approval_does_not_open(desk: Desk) -> None:
    approval, other = executed(desk), desk.hold(key="other")
    desk.edit("UPDATE approval_answers SET id = ?", other.id)
    with pytest.raises(AlreadyExecuted):
        recall(desk, approval)
    with pytest.raises(GuardUnavailable):
        recall(desk, other)


@pytest.mark.parametrize("answer", [None, replace(ANSWER, status=500)])
def test_what_is_no_success_is_not_kept(desk: Desk, answer: Answer | None) -> None:
    with pytest.raises(AlreadyExecuted):
        recall(desk, executed(desk, answer))


def test_busy_provider_leaves_an_approval_unspent_five_times(desk: Desk) -> None:
    approval = desk.hold()
    desk.vote(approval, BO)
    states = []
    for _ in range(MAX_RETURNS + 1):
        desk.claim(approval)
        states.append(
            desk.store.transact(lambda tx: desk.approvals.settle(tx, approval.tenant, approval.id, "APPROVED")).state
        )
    assert states == ["APPROVED"] * MAX_RETURNS + ["EXECUTED"]
    assert desk.get(approval).returned == MAX_RETURNS
    assert desk.log().count("approval.returned") == MAX_RETURNS


def test_withdrawing_ends_what_waits_and_nothing_else(desk: Desk) -> None:
    waiting, done = desk.hold(key="waiting"), executed(desk)
    for approval in (waiting, done):
        desk.store.transact(
            lambda tx, a=approval: desk.approvals.withdraw(tx, a.tenant, a.id, desk.principal(id_="key:2"))  # type: ignore[misc]
        )
    assert desk.get(waiting).state == "PENDING"
    for approval in (waiting, done):
        desk.store.transact(lambda tx, a=approval: desk.approvals.withdraw(tx, a.tenant, a.id, desk.principal()))  # type: ignore[misc]
    assert (desk.get(waiting).state, desk.get(done).state) == ("CANCELLED", "EXECUTED")
