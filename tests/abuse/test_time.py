"""Time has passed, goes backwards, or something changed between the vote and the claim."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from llmguard.approvals import record
from llmguard.errors import ApprovalExpired, ApprovalPending, Conflict, LLMGuardError
from llmguard.identity import Person
from llmguard.identity.people import put_person
from tests.abuse.offices import BO, CY, DEE, TENANT, Office
from tests.desks import START, Desk

HOUR = 3_600_000


def test_after_its_time_an_approval_is_neither_voted_on_nor_spent(desk: Desk) -> None:
    waits, approved = desk.hold(key="waits"), desk.hold(key="approved")
    desk.vote(approved, BO)
    desk.now += HOUR
    with pytest.raises(Conflict, match="EXPIRED"):
        desk.vote(waits, BO)
    with pytest.raises(ApprovalExpired):
        desk.claim(approved)


def test_a_clock_that_is_set_back_revives_nothing(desk: Desk) -> None:
    approved = desk.vote(desk.hold(), BO)
    desk.now += 2 * HOUR
    desk.store.transact(lambda tx: None)  # anything at all was stored at that time
    desk.now -= 2 * HOUR
    with pytest.raises(ApprovalExpired):
        desk.claim(approved)


def behind(folder: Path, approval: Any, results: Any) -> None:
    """A process whose wall clock is an hour behind everybody else's."""
    desk = Desk(folder, START)
    for work in (lambda: desk.claim(approval), lambda: desk.vote(approval, CY)):
        try:
            work()
            results.put("done")
        except LLMGuardError as e:
            results.put(type(e).__name__)
    desk.store.close()


def test_a_process_whose_clock_is_behind_spends_nothing_that_is_over(desk: Desk) -> None:
    approved = desk.vote(desk.hold(), BO)
    desk.now += HOUR
    desk.store.transact(lambda tx: None)
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    worker = context.Process(target=behind, args=(desk.folder, approved, results))
    worker.start()
    assert [results.get(timeout=60) for _ in range(2)] == ["ApprovalExpired", "Conflict"]
    worker.join()
    assert desk.get(approved).state == "EXPIRED"


def test_expired_through_the_proxy_is_not_sent_and_the_caller_hears_so(office: Office) -> None:
    id_ = office.held()
    office.vote(BO, id_)
    guard, approval = office.local.guard, office.approval(id_)
    guard.store.transact(lambda tx: record.transition(tx, guard.vault, approval, "EXPIRED", by="guard"))
    status, answer = office.ask()
    assert (status, answer["error"]["code"]) == (403, "approval_expired")
    assert office.vote(CY, id_) == 409
    assert office.sent == 0


def test_an_approver_who_lost_the_right_before_the_claim_has_approved_nothing(office: Office) -> None:
    for groups, active in ((("reviewers",), False), (("security",), True), ((), True)):
        text, before = f"{groups} {active}", office.sent
        id_ = office.held(text)
        assert office.vote(BO, id_) == 200
        office.put(BO, *groups, active=active)
        status, answer = office.ask(text)
        assert (status, answer["error"]["code"]) == (409, "approval_pending")
        assert office.sent == before
        assert office.vote(CY, id_) == 200
        assert office.ask(text)[0] == 200
        office.login(BO)


def test_an_approver_who_comes_back_after_the_claim_failed_counts_again_and_once(desk: Desk) -> None:
    approval = desk.hold(quorum=2)
    desk.vote(approval, BO)
    desk.vote(approval, CY)
    desk.put(BO, "security")
    with pytest.raises(ApprovalPending):
        desk.claim(approval)
    desk.put(BO, "reviewers")
    with pytest.raises(Conflict, match="one person, one vote"):
        desk.vote(approval, BO)
    desk.put(DEE, "reviewers")
    assert desk.vote(approval, DEE).state == "APPROVED"
    assert desk.claim(approval)


def test_while_the_identity_provider_is_down_a_vote_stops_to_count(desk: Desk) -> None:
    """Its word of the voter's groups runs out between the vote and the claim."""
    until = desk.now + 60_000
    told = Person(TENANT, DEE, ("reviewers",), True, desk.now, "provider", "https://idp.example", "dee", until)
    desk.store.transact(lambda tx: put_person(tx, desk.vault, told))
    approval = desk.hold()
    assert desk.vote(approval, DEE).state == "APPROVED"
    desk.now += 60_000
    with pytest.raises(ApprovalPending):
        desk.claim(approval)


@pytest.mark.parametrize("why", ["the policy blocks it", "its quorum is lost"])
def test_what_is_reopened_after_the_time_to_decide_is_over(desk: Desk, why: str) -> None:
    """It was approved in time, may still be spent, and then something is stricter: nobody is asked any more."""
    approved = desk.vote(desk.hold(expires_in=600, spend_in=7200), BO)
    desk.now += 600_000
    anew = {"verdict": "block"} if why == "the policy blocks it" else {}
    if not anew:
        desk.put(BO, "security")
    with pytest.raises(ApprovalExpired):
        desk.claim(approved, **anew)
    assert desk.get(approved).state == "EXPIRED"
