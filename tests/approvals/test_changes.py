"""Changes of people and keys: by two, carried out with the vote that approves them."""

from __future__ import annotations

from typing import Any

import pytest

from llmguard import identity
from llmguard.errors import ApprovalImpossible, NotAllowed, Unauthenticated
from llmguard.identity import PersonChange
from tests.desks import ANN, BO, CY, DEE, TENANT, Desk


def propose(desk: Desk, who: str, change: Any) -> Any:
    def work(tx: Any) -> Any:
        person = identity.person(tx, desk.vault, TENANT, who)
        assert person
        return desk.approvals.propose(tx, person, change)

    return desk.store.transact(work)


def person(desk: Desk, email: str) -> Any:
    return desk.store.read(lambda tx: identity.person(tx, desk.vault, TENANT, email))


def key(desk: Desk, human: str | None) -> tuple[str, Any]:
    return desk.store.transact(lambda tx: identity.new_key(tx, desk.vault, "app", human))


def test_a_new_person_is_there_when_somebody_else_approves(desk: Desk) -> None:
    change = PersonChange("eve@example.com", ("reviewers",))
    approval = propose(desk, ANN, change)
    assert person(desk, change.email) is None
    with pytest.raises(NotAllowed):
        desk.vote(approval, ANN)
    assert desk.vote(approval, BO).state == "EXECUTED"
    assert person(desk, change.email).groups == ("reviewers",)
    assert desk.log()[-3:] == ["approval.claimed", "person.added", "approval.executed"]


def test_a_denied_change_changes_nothing(desk: Desk) -> None:
    approval = propose(desk, ANN, PersonChange(DEE, ("reviewers",)))
    desk.vote(approval, BO, "deny")
    assert person(desk, DEE).groups == ("security",)


def test_nobody_gives_oneself_a_group_alone(desk: Desk) -> None:
    approval = propose(desk, DEE, PersonChange(DEE, ("reviewers", "security")))
    assert approval.state == "PENDING"
    with pytest.raises(NotAllowed):
        desk.vote(approval, DEE)


def test_deactivating_oneself_needs_nobody_deactivating_others_does(desk: Desk) -> None:
    assert propose(desk, CY, PersonChange(CY, ("reviewers",), active=False)) is None
    assert not person(desk, CY).active
    assert propose(desk, ANN, PersonChange(BO, ("reviewers",), active=False)).state == "PENDING"
    assert person(desk, BO).active


def test_deactivating_oneself_cannot_carry_a_change_of_groups(desk: Desk) -> None:
    assert propose(desk, CY, PersonChange(CY, ("admins",), active=False)).state == "PENDING"


def test_a_key_for_oneself_is_valid_at_once(desk: Desk) -> None:
    token, change = key(desk, ANN)
    assert propose(desk, ANN, change) is None
    assert desk.store.read(lambda tx: identity.authenticate(tx, desk.vault, token)).human == ANN


@pytest.mark.parametrize("human", [BO, None])
def test_a_key_for_somebody_else_or_nobody_waits(desk: Desk, human: str | None) -> None:
    token, change = key(desk, human)
    approval = propose(desk, ANN, change)
    with pytest.raises(Unauthenticated):
        desk.store.read(lambda tx: identity.authenticate(tx, desk.vault, token))
    desk.vote(approval, CY)
    assert desk.store.read(lambda tx: identity.authenticate(tx, desk.vault, token)).human == human


def test_a_change_that_became_impossible_fails_and_says_so(desk: Desk) -> None:
    _, change = key(desk, DEE)
    approval = propose(desk, ANN, change)
    desk.put(DEE, "security", active=False)
    assert desk.vote(approval, BO).state == "FAILED"


def test_alone_among_reviewers_a_change_is_impossible(desk: Desk) -> None:
    for email in (BO, CY):
        desk.put(email, active=False)
    with pytest.raises(ApprovalImpossible):
        propose(desk, ANN, PersonChange("eve@example.com", ("reviewers",)))
