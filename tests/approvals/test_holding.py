"""Asking: joining retries, who must exist, what is stored, what the caller is told."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from llmguard import errors
from llmguard.approvals import STATES, Approvals
from llmguard.approvals.states import TOLD_MS
from llmguard.store import placeholders
from tests.desks import ANN, BO, CY, DEE, Desk


def told(desk: Desk, approval: Any) -> errors.LLMGuardError:
    with pytest.raises(errors.LLMGuardError) as raised:
        desk.approvals.outcome(desk.get(approval))
    return raised.value


def test_a_retry_joins_the_approval_of_the_same_request(desk: Desk) -> None:
    first = desk.hold()
    assert desk.hold().id == first.id
    assert desk.hold(key="another").id != first.id
    assert desk.hold(desk.principal(id_="key:2")).id != first.id


def test_a_held_call_tells_its_id_and_where_to_look(desk: Desk) -> None:
    approval = desk.hold()
    error = told(desk, approval)
    assert isinstance(error, errors.ApprovalPending)
    assert error.approval_id == approval.id
    assert error.approval_url == f"https://guard.example/inbox/approvals/{approval.id}"


def test_a_retry_learns_of_a_denial_for_ten_minutes_then_asks_anew(desk: Desk) -> None:
    first = desk.hold()
    desk.vote(first, BO, "deny")
    assert desk.hold().id == first.id
    assert isinstance(told(desk, first), errors.ApprovalDenied)
    desk.now += TOLD_MS
    assert desk.hold().id != first.id


def test_a_cancelled_request_asks_anew_at_once(desk: Desk) -> None:
    first = desk.hold()
    ann = desk.put(ANN, "reviewers")
    desk.store.transact(lambda tx: desk.approvals.cancel(tx, first.tenant, first.id, ann))
    assert desk.hold().id != first.id


@pytest.mark.parametrize("state", [s for s in STATES if s != "APPROVED"])
def test_every_state_but_approved_refuses_with_its_own_words(desk: Desk, state: Any) -> None:
    with pytest.raises(errors.CallRefused) as raised:
        desk.approvals.outcome(replace(desk.hold(), state=state))
    assert raised.value.approval_id


def test_nobody_can_be_asked_who_is_the_requester(desk: Desk) -> None:
    for email in (BO, CY):
        desk.put(email, "reviewers", active=False)
    with pytest.raises(errors.ApprovalImpossible, match="users add EMAIL --group reviewers"):
        desk.hold()


def test_a_quorum_above_the_number_of_eligible_people_is_impossible_at_once(desk: Desk) -> None:
    desk.hold(quorum=2)
    with pytest.raises(errors.ApprovalImpossible):
        desk.hold(key="other", quorum=3)
    with pytest.raises(errors.ApprovalImpossible):
        desk.hold(key="third", group="nobody-is-here")


def test_a_caller_without_an_accountable_human_needs_two_people(desk: Desk) -> None:
    approval = desk.hold(desk.principal(None))
    assert approval.requirement.quorum == 2
    assert desk.vote(approval, BO).state == "PENDING"
    assert desk.vote(approval, CY).state == "APPROVED"


def test_what_leaves_and_what_was_written_are_sealed(desk: Desk) -> None:
    approval = desk.hold()
    stored = desk.store.read(
        lambda tx: [
            tuple(r) for t in ("approvals", "approval_payloads", "outbox") for r in tx.all(f"SELECT * FROM {t}")
        ]
    )
    assert "Jane Roe" not in repr(stored)
    assert "PERSON_abcdefghij" not in repr(stored)
    bo = desk.put(BO, "reviewers")
    egress, written = desk.store.transact(lambda tx: desk.approvals.payload(tx, approval.tenant, approval.id, by=bo))
    assert egress.digest() == approval.egress_digest
    assert b"Jane Roe" in written
    assert desk.log()[-1] == "approval.raw_view"


def test_the_log_and_the_outbox_hold_no_text_and_no_unsalted_digest(desk: Desk) -> None:
    approval = desk.hold()
    desk.vote(approval, BO, reason="Jane Roe may not")
    rows = desk.store.read(lambda tx: [bytes(r["leaf"]).decode() for r in tx.all("SELECT leaf FROM audit_entries")])
    rows += desk.store.read(lambda tx: [r["body"] for r in tx.all("SELECT body FROM outbox")])
    for text in ("Jane Roe", "abcdefghij", approval.egress_digest):
        assert not any(text in row for row in rows)
    assert any(json.loads(row).get("kind") == "approval.held" for row in rows)


def test_only_reviewers_and_the_requester_see_the_raw_values(desk: Desk) -> None:
    approval = desk.hold()
    dee = desk.put(DEE, "security")
    with pytest.raises(errors.NotFound):
        desk.store.transact(lambda tx: desk.approvals.payload(tx, approval.tenant, approval.id, by=dee))


def test_placeholders_of_the_call_are_granted_under_the_approval(desk: Desk) -> None:
    approval = desk.hold()
    rows = desk.store.read(lambda tx: tx.all("SELECT * FROM grants WHERE scope = ?", f"approval:{approval.id}"))
    assert [(r["placeholder"], r["principal"]) for r in rows] == [
        ("[PERSON_abcdefghij]", placeholders.owner(desk.principal()))
    ]


def test_one_caller_cannot_fill_the_queue(desk: Desk) -> None:
    desk.approvals = Approvals(desk.vault, max_waiting=3)
    for i in range(3):
        desk.hold(key=str(i))
    with pytest.raises(errors.GuardUnavailable, match="waits for approval already"):
        desk.hold(key="one more")
    assert desk.hold(desk.principal(id_="key:2")).state == "PENDING"


def test_a_new_revision_takes_the_place_of_the_one_whose_changes_were_asked_for(desk: Desk) -> None:
    old = desk.hold()
    desk.vote(old, BO, "request_changes", reason="less")
    new = desk.store.transact(lambda tx: desk.approvals.hold(tx, replace(desk.request(key="v2"), revises=old.id)))
    assert (new.state, new.votes, desk.get(old).state) == ("PENDING", (), "SUPERSEDED")
    with pytest.raises(errors.LLMGuardError):
        desk.store.transact(lambda tx: desk.approvals.hold(tx, replace(desk.request(key="v3"), revises=new.id)))


def test_pages_are_newest_first_and_hold_only_what_the_person_may_see(desk: Desk) -> None:
    ids = []
    for i in range(5):
        desk.now += 1
        ids.append(desk.hold(key=str(i), group="security" if i == 2 else "reviewers").id)
    bo, dee, ann = (desk.put(e, g) for e, g in ((BO, "reviewers"), (DEE, "security"), (ANN, "admins")))

    def seen(person: Any, **more: Any) -> list[str]:
        found, cursor = [], None
        while True:
            page, cursor = desk.store.read(
                lambda tx, c=cursor: desk.approvals.list(tx, "default", person=person, cursor=c, limit=2, **more)
            )
            found += [a.id for a in page]
            if cursor is None:
                return found

    assert seen(ann) == ids[::-1]
    assert seen(bo) == [i for i in ids[::-1] if i != ids[2]]
    assert seen(dee) == [ids[2]]
    assert seen(bo, state="APPROVED") == []
    assert seen(bo, prefix=ids[3]) == [ids[3]]
