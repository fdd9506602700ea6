"""Deciding: whose vote counts, on what, once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from llmguard import errors
from llmguard.approvals.approvals import MAX_REASON
from llmguard.errors import Conflict, InvalidRequest, NotAllowed, NotFound
from tests.desks import ANN, BO, CY, DEE, Desk


def test_the_requester_cannot_vote_also_as_member_of_every_group(desk: Desk) -> None:
    desk.put(ANN, "reviewers", "admins", "security")
    approval = desk.hold()
    for verdict in ("approve", "deny", "request_changes"):
        with pytest.raises(NotAllowed, match="somebody else"):
            desk.vote(approval, ANN, verdict)


def test_the_requester_cannot_vote_on_what_an_own_agent_or_second_key_asks(desk: Desk) -> None:
    approval = desk.hold(desk.principal(ANN, id_="key:agent"))
    with pytest.raises(NotAllowed):
        desk.vote(approval, ANN)


def test_only_the_required_group_decides(desk: Desk) -> None:
    approval = desk.hold()
    with pytest.raises(NotAllowed, match="reviewers"):
        desk.vote(approval, DEE)
    assert desk.vote(approval, BO).state == "APPROVED"


def test_a_vote_for_other_bytes_is_refused(desk: Desk) -> None:
    approval, other = desk.hold(), desk.hold(key="other", body=b"{}")
    with pytest.raises(Conflict, match="other bytes"):
        desk.vote(approval, BO, digest=other.egress_digest)
    assert desk.get(approval).votes == ()


def test_a_vote_for_an_older_version_is_refused(desk: Desk) -> None:
    approval = desk.hold()
    with pytest.raises(Conflict, match="changed"):
        desk.vote(approval, BO, version=7)
    assert desk.vote(approval, BO, version=1).state == "APPROVED"


def test_one_person_has_one_vote_and_a_replayed_one_changes_nothing(desk: Desk) -> None:
    approval = desk.hold(quorum=2)
    desk.vote(approval, BO)
    for verdict in ("approve", "deny"):
        with pytest.raises(Conflict, match="one person, one vote"):
            desk.vote(approval, BO, verdict)
    assert desk.get(approval).state == "PENDING"
    assert desk.vote(approval, CY).state == "APPROVED"


def test_one_denial_ends_it(desk: Desk) -> None:
    approval = desk.hold(quorum=2)
    desk.vote(approval, BO)
    assert desk.vote(approval, CY, "deny").state == "DENIED"
    with pytest.raises(errors.ApprovalDenied):
        desk.claim(approval)


def test_approving_against_denying_has_one_winner(desk: Desk) -> None:
    for i in range(10):
        approval = desk.hold(key=str(i))

        def attempt(who: str, verdict: str, a: object = approval) -> str:
            try:
                return desk.vote(a, who, verdict).state  # type: ignore[arg-type]
            except Conflict:
                return "late"

        with ThreadPoolExecutor(2) as pool:
            results = list(pool.map(attempt, (BO, CY), ("approve", "deny")))
        assert results.count("late") == 1
        assert desk.get(approval).state in results


def test_nobody_votes_after_time_is_over(desk: Desk) -> None:
    approval = desk.hold()
    desk.now = approval.expires
    with pytest.raises(Conflict, match="EXPIRED"):
        desk.vote(approval, BO)


def test_a_person_of_another_tenant_finds_nothing(desk: Desk) -> None:
    approval = desk.hold()
    stranger, digest = desk.put(BO, "reviewers", tenant="other"), approval.egress_digest
    with pytest.raises(NotFound):
        desk.store.transact(lambda tx: desk.approvals.vote(tx, "other", approval.id, stranger, "approve", digest))
    with pytest.raises(NotFound):
        desk.vote(approval, BO, as_tenant="other")


def test_somebody_who_was_deactivated_does_not_vote(desk: Desk) -> None:
    approval = desk.hold()
    desk.put(BO, "reviewers", active=False)
    with pytest.raises(NotAllowed):
        desk.vote(approval, BO)


def test_a_reason_is_bounded(desk: Desk) -> None:
    approval = desk.hold()
    with pytest.raises(InvalidRequest):
        desk.vote(approval, BO, reason="x" * (MAX_REASON + 1))
    assert desk.vote(approval, BO, reason="x" * MAX_REASON).state == "APPROVED"


def test_only_the_requester_cancels_and_only_a_reviewer_revokes(desk: Desk) -> None:
    approval = desk.hold()
    desk.vote(approval, BO)
    ann, bo = desk.put(ANN, "reviewers"), desk.put(BO, "reviewers")
    with pytest.raises(NotAllowed):
        desk.store.transact(lambda tx: desk.approvals.cancel(tx, approval.tenant, approval.id, bo))
    with pytest.raises(NotAllowed):
        desk.store.transact(lambda tx: desk.approvals.revoke(tx, approval.tenant, approval.id, ann))
    assert (
        desk.store.transact(lambda tx: desk.approvals.revoke(tx, approval.tenant, approval.id, bo)).state == "REVOKED"
    )
    with pytest.raises(errors.ApprovalDenied):
        desk.claim(approval)
