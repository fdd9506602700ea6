"""Somebody loosens the rules alone, or two trade favours: nobody approves what he gains by."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from llmguard import identity
from llmguard.approvals import delegations, rules, standing
from llmguard.approvals.rules import PolicyChange
from llmguard.errors import GuardUnavailable, NotAllowed
from llmguard.identity import PersonChange
from llmguard.model import Approval
from llmguard.policy import Policy
from tests.abuse.offices import ANN, BO, CY, DEE, TENANT
from tests.desks import Desk

EVE = "eve@example.com"
LOOSE = json.dumps({"rules": [{"name": "all", "when": "true", "verdict": "allow"}]})


def changes(desk: Desk) -> dict[str, Any]:
    """Everything that loosens, as Bo would ask for it. Functions of the transaction and of Bo."""
    like = desk.store.transact(lambda tx: desk.approvals.hold(tx, replace(desk.request(key="like"), kind="inference")))

    def key(tx: Any, human: str | None, **more: Any) -> Any:
        return identity.new_key(tx, desk.vault, "more", human, **more)[1]

    return {
        "a key for somebody else": lambda tx, bo: key(tx, ANN),
        "a key for nobody": lambda tx, bo: key(tx, None),
        "somebody's provider key linked to oneself": lambda tx, bo: identity.link_key(tx, "a" * 64, BO),
        "a group for oneself": lambda tx, bo: PersonChange(BO, ("reviewers", "security")),
        "a group for somebody else": lambda tx, bo: PersonChange(DEE, ("reviewers", "security")),
        "somebody new": lambda tx, bo: PersonChange(EVE, ("reviewers",)),
        "somebody less": lambda tx, bo: PersonChange(CY, ("reviewers",), active=False),
        "somebody without a group": lambda tx, bo: PersonChange(CY, ()),
        "a vote lent": lambda tx, bo: delegations.asked(tx, bo, DEE, ("reviewers",), desk.now, desk.now + 60_000),
        "a standing grant": lambda tx, bo: standing.asked(like, tx.now, 3600),
        "a milder policy": lambda tx, bo: PolicyChange(LOOSE),
    }


def power(desk: Desk) -> Any:
    """Everything that says who may do what."""
    tables = ("people", "api_keys", "delegations", "standing_grants", "policies")
    return desk.store.read(lambda tx: {t: [tuple(r) for r in tx.all(f"SELECT * FROM {t}")] for t in tables})


def ask(desk: Desk, what: Any, human: str | None = None) -> Approval:
    def work(tx: Any) -> Approval:
        bo = identity.person(tx, desk.vault, TENANT, BO)
        assert bo
        made = desk.approvals.propose(tx, bo, what(tx, bo), human)
        assert made
        return made

    return desk.store.transact(work)


def test_what_loosens_takes_no_effect_alone_and_its_proposer_does_not_approve_it(desk: Desk) -> None:
    everything = changes(desk)
    before = power(desk)
    for name, what in everything.items():
        approval = ask(desk, what)
        assert approval.state == "PENDING", name
        with pytest.raises(NotAllowed):
            desk.vote(approval, BO)
        assert power(desk) == before, name


def test_what_loosens_takes_effect_by_somebody_else(desk: Desk) -> None:
    """So that the test above says something."""
    for name, what in changes(desk).items():
        if name.startswith("somebody "):  # they take the voters away
            continue
        before = power(desk)
        voter = ANN if "for somebody" not in name else CY
        assert desk.vote(ask(desk, what), voter).state == "EXECUTED", name
        assert power(desk) != before, name


def test_a_denied_loosening_leaves_everything(desk: Desk) -> None:
    everything = changes(desk)
    before = power(desk)
    for name, what in everything.items():
        voter = ANN if name in ("somebody less", "somebody without a group") else CY
        assert desk.vote(ask(desk, what), voter, "deny").state == "DENIED", name
    assert power(desk) == before


@pytest.mark.parametrize(
    ("name", "gainer"),
    [
        ("a key for somebody else", ANN),
        ("a vote lent", DEE),
        ("a group for somebody else", DEE),
    ],
)
def test_whoever_gains_by_a_change_does_not_approve_it(desk: Desk, name: str, gainer: str) -> None:
    if gainer == DEE:
        desk.put(DEE, "security", "reviewers")
    approval = ask(desk, changes(desk)[name])
    with pytest.raises(NotAllowed, match="gain by it"):
        desk.vote(approval, gainer)


def test_the_human_behind_a_caller_does_not_approve_that_it_goes_unasked(desk: Desk) -> None:
    approval = ask(desk, changes(desk)["a standing grant"], human=ANN)
    with pytest.raises(NotAllowed, match="gain by it"):
        desk.vote(approval, ANN)
    assert desk.vote(approval, CY).state == "EXECUTED"


def test_two_people_do_not_make_each_other_more(desk: Desk) -> None:
    """Each may approve what the other proposes, but not what he gains himself: it takes a third."""

    def propose(by: str, change: Any) -> Approval:
        def work(tx: Any) -> Approval:
            who = identity.person(tx, desk.vault, TENANT, by)
            assert who
            made = desk.approvals.propose(tx, who, change)
            assert made
            return made

        return desk.store.transact(work)

    for_cy = propose(BO, PersonChange(CY, ("reviewers", "security")))
    for_bo = propose(CY, PersonChange(BO, ("reviewers", "security")))
    for approval in (for_cy, for_bo):
        for email in (BO, CY):
            with pytest.raises(NotAllowed):
                desk.vote(approval, email)
    for_dee = propose(BO, PersonChange(DEE, ("security", "reviewers")))
    assert desk.vote(for_dee, CY).state == "EXECUTED"  # allowed: neither gains


def test_a_favour_for_a_plus_address_of_the_approver_is_a_favour_for_the_approver(desk: Desk) -> None:
    approval = ask(desk, lambda tx, bo: PersonChange("cy+more@example.com", ("reviewers",)))
    with pytest.raises(NotAllowed):
        desk.vote(approval, CY)


def test_a_changed_file_alone_changes_no_policy(desk: Desk) -> None:
    strict = Policy([{"name": "all", "when": "true", "verdict": "block"}])
    desk.store.transact(lambda tx: rules.adopt(tx, desk.vault, TENANT, strict))
    loose = Policy.of(json.loads(LOOSE))
    assert desk.store.transact(lambda tx: rules.adopt(tx, desk.vault, TENANT, loose)) == strict.source


def test_a_change_approved_for_one_is_not_carried_out_as_another(desk: Desk) -> None:
    """What reviewers saw is what is carried out: its sealed bytes, found altered, carry out nothing."""
    approval = ask(desk, changes(desk)["a group for somebody else"])
    other = ask(desk, changes(desk)["somebody new"])
    before = power(desk)
    desk.edit(
        "UPDATE approval_payloads SET egress = (SELECT egress FROM approval_payloads WHERE id = ?) WHERE id = ?",
        *(other.id, approval.id),
    )
    with pytest.raises(GuardUnavailable):
        desk.vote(approval, CY)
    assert power(desk) == before
    assert desk.get(approval).state == "PENDING"
