"""Who counts, in several groups, in another's place, after an escalation, and with a login of a moment ago."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard import errors
from llmguard.approvals import delegations
from llmguard.approvals.quorum import Voice, vacant
from llmguard.errors import ApprovalImpossible, ApprovalPending, InvalidRequest, LoginTooOld, NotAllowed
from llmguard.identity import PersonChange
from llmguard.model import Approval, Requirement
from tests.desks import ANN, BO, CY, DEE, TENANT, Desk

HOUR = 3600 * 1000
TWO = (("reviewers", 1), ("security", 1))


def missing(desk: Desk, approval: Approval) -> dict[str, int]:
    return desk.store.read(lambda tx: desk.approvals.missing(tx, desk.approvals.get(tx, TENANT, approval.id)))


def lend(desk: Desk, giver: str, receiver: str, *groups: str, starts: int = 0, ends: int = 24 * HOUR) -> str:
    """An approved delegation: Ann, Bo or Cy approve it, whoever is not in it."""

    def ask(tx: Any) -> Approval | None:
        person = desk_person(desk, tx, giver)
        change = delegations.asked(tx, person, receiver, groups, desk.now + starts, desk.now + ends)
        return desk.approvals.propose(tx, person, change)

    approval = desk.store.transact(ask)
    assert approval is not None
    third = next(p for p in (BO, CY, ANN) if p not in (giver, receiver))
    assert desk.vote(approval, third).state == "EXECUTED"
    return desk.store.read(lambda tx: delegations.of(tx, desk.vault, TENANT)[0][-1].id)


def desk_person(desk: Desk, tx: Any, email: str) -> Any:
    from llmguard import identity

    return identity.person(tx, desk.vault, TENANT, email)


# --------------------------------------------------------------------------- several groups


def test_each_group_has_to_say_yes(desk: Desk) -> None:
    approval = desk.hold(groups=TWO)
    assert desk.vote(approval, BO).state == "PENDING"
    assert missing(desk, approval) == {"security": 1}
    assert desk.vote(approval, DEE).state == "APPROVED"


def test_a_second_person_of_the_same_group_does_not_fill_the_other_place(desk: Desk) -> None:
    approval = desk.hold(groups=TWO)
    desk.vote(approval, BO)
    assert desk.vote(approval, CY).state == "PENDING"


def test_one_person_in_two_groups_fills_one_place(desk: Desk) -> None:
    desk.put(BO, "reviewers", "security")
    approval = desk.hold(groups=TWO)
    assert desk.vote(approval, BO).state == "PENDING"
    assert desk.vote(approval, CY).state == "APPROVED"  # Bo counts for security then


def test_what_one_person_of_two_groups_could_do_alone_is_impossible(desk: Desk) -> None:
    for email in (CY, DEE):
        desk.put(email, active=False)
    desk.put(BO, "reviewers", "security")
    with pytest.raises(ApprovalImpossible, match="security"):
        desk.hold(groups=TWO)


@given(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=5),
    st.lists(st.frozensets(st.sampled_from("abcd"), max_size=3), max_size=6),
)
def test_places_stay_empty_only_if_no_seating_fills_them(wanted: list[str], people: list[frozenset[str]]) -> None:
    groups = tuple((name, wanted.count(name)) for name in dict.fromkeys(wanted))
    empty = vacant(Requirement(groups), [Voice(str(i), g) for i, g in enumerate(people)])

    def best(places: list[str], free: list[frozenset[str]]) -> int:
        if not places:
            return 0
        skip = best(places[1:], free)
        tries = [1 + best(places[1:], free[:i] + free[i + 1 :]) for i, g in enumerate(free) if places[0] in g]
        return max([skip, *tries])

    assert len(wanted) - sum(empty.values()) == best(wanted, people)


# --------------------------------------------------------------------------- in another's place


def test_who_stands_in_for_somebody_decides_in_that_group(desk: Desk) -> None:
    lend(desk, BO, DEE, "reviewers")
    approval = desk.hold()
    assert desk.vote(approval, DEE).state == "APPROVED"
    assert desk.claim(approval)


@pytest.mark.parametrize(("starts", "ends"), [(HOUR, 2 * HOUR), (0, HOUR)])
def test_before_its_start_and_after_its_end_a_delegation_is_nothing(desk: Desk, starts: int, ends: int) -> None:
    lend(desk, BO, DEE, "reviewers", starts=starts, ends=ends)
    approval = desk.hold(expires_in=7200)
    desk.now += 0 if starts else 59 * 60 * 1000
    if starts:
        with pytest.raises(NotAllowed):
            desk.vote(approval, DEE)
    else:
        desk.vote(approval, DEE)
        desk.now += 2 * 60 * 1000  # it ends between the vote and the claim
        with pytest.raises(ApprovalPending):
            desk.claim(approval)


def test_a_delegation_that_was_revoked_ends_before_the_claim(desk: Desk) -> None:
    id_ = lend(desk, BO, DEE, "reviewers")
    approval = desk.hold()
    desk.vote(approval, DEE)
    desk.store.transact(lambda tx: delegations.revoke(tx, desk.vault, desk_person(desk, tx, BO), id_))
    with pytest.raises(ApprovalPending):
        desk.claim(approval)


def test_nobody_lends_away_a_vote_on_the_own_request(desk: Desk) -> None:
    lend(desk, ANN, DEE, "reviewers")
    with pytest.raises(NotAllowed):
        desk.vote(desk.hold(), DEE)  # Ann is behind it


def test_giver_and_stand_in_are_one_voice(desk: Desk) -> None:
    lend(desk, BO, DEE, "reviewers")
    approval = desk.hold(quorum=2)
    desk.vote(approval, BO)
    assert desk.vote(approval, DEE).state == "PENDING"


def test_lent_power_ends_with_the_givers_own(desk: Desk) -> None:
    lend(desk, BO, DEE, "reviewers")
    desk.put(BO, "security")
    with pytest.raises(NotAllowed):
        desk.vote(desk.hold(), DEE)


def test_what_was_lent_is_not_lent_on(desk: Desk) -> None:
    lend(desk, BO, DEE, "reviewers")
    with pytest.raises(InvalidRequest, match="in yourself"):
        desk.store.transact(
            lambda tx: delegations.asked(tx, desk_person(desk, tx, DEE), CY, ("reviewers",), desk.now, desk.now + HOUR)
        )


def test_who_receives_a_vote_does_not_approve_that(desk: Desk) -> None:
    def ask(tx: Any) -> Approval | None:
        bo = desk_person(desk, tx, BO)
        change = delegations.asked(tx, bo, CY, ("reviewers",), desk.now, desk.now + HOUR)
        return desk.approvals.propose(tx, bo, change)

    approval = desk.store.transact(ask)
    assert approval is not None
    for email in (BO, CY):
        with pytest.raises(NotAllowed):
            desk.vote(approval, email)
    assert desk.vote(approval, ANN).state == "EXECUTED"


def test_an_altered_delegation_counts_for_nothing(desk: Desk) -> None:
    lend(desk, BO, DEE, "reviewers")
    desk.edit("UPDATE delegations SET ends = ends + 1")
    with pytest.raises(NotAllowed):
        desk.vote(desk.hold(), DEE)


def test_who_gets_a_group_does_not_approve_it(desk: Desk) -> None:
    change = PersonChange(CY, ("reviewers", "security"))
    approval = desk.store.transact(lambda tx: desk.approvals.propose(tx, desk_person(desk, tx, BO), change))
    assert approval is not None
    for email in (BO, CY):
        with pytest.raises(NotAllowed):
            desk.vote(approval, email)
    assert desk.vote(approval, ANN).state == "EXECUTED"


# --------------------------------------------------------------------------- a fresh login


def test_a_rule_can_want_a_login_of_a_moment_ago(desk: Desk) -> None:
    approval = desk.hold(fresh=300)
    with pytest.raises(LoginTooOld):
        desk.vote(approval, BO, authenticated=desk.now - 301_000)
    assert desk.vote(approval, BO, authenticated=desk.now - 200_000).state == "APPROVED"


def test_saying_no_needs_no_fresh_login(desk: Desk) -> None:
    assert desk.vote(desk.hold(fresh=300), BO, "deny").state == "DENIED"


def test_a_vote_of_an_old_login_stops_to_count_when_the_policy_wants_a_fresh_one(desk: Desk) -> None:
    approval = desk.hold()
    desk.vote(approval, BO, authenticated=desk.now - HOUR)
    with pytest.raises(ApprovalPending):
        desk.claim(approval, fresh=300)


def test_approvals_errors_are_of_the_control_plane() -> None:
    assert issubclass(LoginTooOld, errors.RequestRefused)
