"""Somebody wants to approve what he asked for himself, or to count twice."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from llmguard import identity
from llmguard.approvals import delegations
from llmguard.errors import ApprovalImpossible, Conflict, InvalidRequest, NotAllowed
from llmguard.identity import Person, PersonChange
from llmguard.identity.people import put_person
from llmguard.model import Approval
from tests.abuse.offices import ANN, BO, CY, DEE, TENANT, Office
from tests.desks import Desk

EVE = "eve@example.com"
HOUR = 3_600_000


def lend(desk: Desk, giver: str, receiver: str, *groups: str) -> Approval:
    """A delegation that somebody asked for."""

    def ask(tx: Any) -> Approval:
        who = identity.person(tx, desk.vault, TENANT, giver)
        assert who
        change = delegations.asked(tx, who, receiver, groups, desk.now, desk.now + HOUR)
        made = desk.approvals.propose(tx, who, change)
        assert made
        return made

    return desk.store.transact(ask)


def propose(desk: Desk, by: str, change: Any) -> Approval:
    def ask(tx: Any) -> Approval:
        who = identity.person(tx, desk.vault, TENANT, by)
        assert who
        made = desk.approvals.propose(tx, who, change)
        assert made
        return made

    return desk.store.transact(ask)


def test_owner_does_not_approve_what_an_own_key_or_agent_asks_for(office: Office) -> None:
    for agent in (False, True):
        id_ = office.held(key=office.local.key("second", ANN, agent=agent))
        assert office.vote(ANN, id_) == 403
        assert office.approval(id_).state == "PENDING"
    assert office.sent == 0


def test_owner_does_not_approve_with_the_key_itself(office: Office) -> None:
    id_ = office.held()
    body = {"verdict": "approve", "digest": office.approval(id_).egress_digest}
    office.sessions["key"] = office.key
    assert office.control("key", f"/approvals/{id_}/votes", body)[0] == 401
    assert office.sent == 0


@pytest.mark.parametrize("second", ["ann+2@example.com", "ann+@example.com"])
def test_owner_does_not_approve_by_a_second_account(desk: Desk, second: str) -> None:
    """Neither is it made, nor does it count where somebody made it around us."""
    approved = propose(desk, BO, PersonChange(second, ("reviewers",)))
    assert desk.vote(approved, CY).state == "FAILED"
    held = desk.hold()
    person = Person(TENANT, second, ("reviewers",), True, desk.now)
    desk.store.transact(lambda tx: put_person(tx, desk.vault, person))
    with pytest.raises(NotAllowed, match="behind this request"):
        desk.vote(held, second)


def test_owner_does_not_approve_by_a_second_group(desk: Desk) -> None:
    desk.put(ANN, "reviewers", "security", "admins", "owners")
    for group in ("reviewers", "security", "admins", "owners"):
        desk.put(BO, group)  # somebody could
        with pytest.raises(NotAllowed):
            desk.vote(desk.hold(key=group, group=group), ANN)


def test_owner_does_not_fill_the_second_place_of_a_rule_with_two_groups(desk: Desk) -> None:
    desk.put(ANN, "reviewers", "security")
    held = desk.hold(groups=(("reviewers", 1), ("security", 1)))
    assert desk.vote(held, BO).state == "PENDING"
    with pytest.raises(NotAllowed):
        desk.vote(held, ANN)


def test_owner_does_not_approve_through_a_stand_in(desk: Desk) -> None:
    assert desk.vote(lend(desk, ANN, DEE, "reviewers"), BO).state == "EXECUTED"
    held = desk.hold()
    with pytest.raises(NotAllowed):
        desk.vote(held, DEE)
    assert desk.vote(desk.hold(desk.principal(BO, "key:2")), DEE).state == "APPROVED"  # of others' requests she may


def test_owner_does_not_approve_through_an_accomplices_stand_in(desk: Desk) -> None:
    """What was lent is not lent on: Ann → Dee → Eve ends at Dee."""
    desk.put(EVE)
    assert desk.vote(lend(desk, ANN, DEE, "reviewers"), BO).state == "EXECUTED"
    with pytest.raises(InvalidRequest, match="in yourself"):
        lend(desk, DEE, EVE, "reviewers")
    assert desk.vote(lend(desk, DEE, EVE, "security"), BO).state == "EXECUTED"
    with pytest.raises(NotAllowed):
        desk.vote(desk.hold(), EVE)


def test_a_vote_that_is_lent_to_two_people_is_one_vote(desk: Desk) -> None:
    desk.put(EVE)
    for receiver in (DEE, EVE):
        assert desk.vote(lend(desk, BO, receiver, "reviewers"), CY).state == "EXECUTED"
    held = desk.hold(quorum=2)
    desk.vote(held, DEE)
    assert desk.vote(held, EVE).state == "PENDING"
    assert desk.vote(held, CY).state == "APPROVED"


def test_a_stand_in_who_has_a_vote_of_the_own_leaves_the_lent_one_to_the_next(desk: Desk) -> None:
    for receiver in (CY, DEE):
        assert desk.vote(lend(desk, BO, receiver, "reviewers"), ANN).state == "EXECUTED"
    held = desk.hold(quorum=2)
    desk.vote(held, CY)
    assert desk.vote(held, DEE).state == "APPROVED"


def test_a_quorum_that_only_a_lent_vote_could_fill_is_impossible_at_once(desk: Desk) -> None:
    assert desk.vote(lend(desk, BO, DEE, "reviewers"), CY).state == "EXECUTED"
    desk.put(CY, "reviewers", active=False)
    with pytest.raises(ApprovalImpossible):
        desk.hold(quorum=2)


def test_owner_gets_no_look_alike_address(office: Office) -> None:
    for address in ("аnn@example.com", "ann@exam\u200bple.com", "ann@example.com\u202e", "ann@ехample.com"):
        status, _ = office.control(BO, "/people", {"email": address, "groups": ["reviewers"]})
        assert status == 400
    assert not office.log("approval.held")


def test_an_address_in_other_letters_is_the_same_person(office: Office) -> None:
    """Full-width letters and capitals are written as they are meant, so that no second Ann comes of it."""
    status, answer = office.control(BO, "/people", {"email": "ＡNN@Example.COM", "groups": ["reviewers"]})
    assert status == 202
    assert office.approval(answer["approval"]["id"]).excluded == (ANN,)
    people = office.control(BO, "/people")[1]["people"]
    assert [p["email"] for p in people].count(ANN) == 1


def test_an_admin_does_not_approve_an_own_call(office: Office) -> None:
    office.put(ANN, "reviewers", "security", "admins")
    id_ = office.held()
    assert office.vote(ANN, id_) == 403
    assert office.sent == 0


def test_an_unaccountable_credential_does_not_get_by_with_one_reviewer(office: Office) -> None:
    key = office.local.key("of nobody")
    id_ = office.held(key=key)
    assert office.vote(BO, id_) == 200
    assert office.ask(key=key)[1]["error"]["code"] == "approval_pending"
    assert office.vote(BO, id_) == 409
    assert office.sent == 0
    assert office.vote(CY, id_) == 200
    assert office.ask(key=key)[0] == 200


def test_a_replayed_vote_counts_once(office: Office) -> None:
    key = office.local.key("of nobody")
    id_ = office.held(key=key)
    assert [office.vote(BO, id_) for _ in range(20)] == [200] + [409] * 19
    assert len(office.log("approval.vote")) == 1
    assert office.approval(id_).state == "PENDING"


def test_a_vote_for_one_approval_replayed_at_another_is_refused(office: Office) -> None:
    one, other = office.held("one"), office.held("other")
    assert office.vote(BO, other, digest=office.approval(one).egress_digest) == 409
    assert office.approval(other).state == "PENDING"


def test_a_vote_for_a_digest_that_was_not_shown_is_refused(office: Office) -> None:
    id_ = office.held()
    right = office.approval(id_).egress_digest
    wrong: list[Any] = ["0" * 64, "", right[:-1], right.upper() + " ", None, 5, [right]]
    assert {office.vote(BO, id_, digest=digest) for digest in wrong} <= {400, 409}
    assert office.control(BO, f"/approvals/{id_}/votes", {"verdict": "approve"})[0] == 400
    assert office.approval(id_).state == "PENDING"


def test_a_vote_for_the_digest_of_an_older_revision_is_refused(desk: Desk) -> None:
    first = desk.hold()
    desk.vote(first, BO, "request_changes")
    again = replace(desk.request(body=b'{"input": "less"}'), revises=first.id)
    second = desk.store.transact(lambda tx: desk.approvals.hold(tx, again))
    with pytest.raises(Conflict, match="other bytes"):
        desk.vote(second, CY, digest=first.egress_digest)
    with pytest.raises(Conflict, match="SUPERSEDED"):
        desk.vote(first, CY)


def test_another_tenants_ids_lead_nowhere(office: Office) -> None:
    guard = office.local.guard
    id_ = office.held()

    def move_in(tx: Any) -> str:
        identity.apply(
            tx, guard.vault, "other", PersonChange("mal@example.com", ("reviewers",)), identity.Cause("test")
        )
        code = identity.issue_code(tx, guard.vault, "other", "mal@example.com", identity.Cause("test"))
        return identity.login(tx, guard.vault, code).token

    office.sessions["mal"] = guard.store.transact(move_in)
    digest = office.approval(id_).egress_digest
    before = len(office.log())
    assert office.control("mal", f"/approvals/{id_}")[0] == 404
    assert office.control("mal", f"/approvals/{id_}/votes", {"verdict": "approve", "digest": digest})[0] == 404
    for end in ("cancel", "payload"):
        assert office.control("mal", f"/approvals/{id_}/{end}", {})[0] == 404
    assert office.control("mal", "/people/bo@example.com/deactivate", {})[0] == 404
    assert len(office.log()) == before
    assert office.approval(id_).state == "PENDING"
