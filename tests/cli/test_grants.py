"""Standing grants and delegations on the command line."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from tests.desks import ANN, BO, CY, DEE, Desk, Shell


def proposed(ran: Any) -> str:
    """The id of the approval that a change waits for."""
    assert (ran.code, len(ran.out.strip())) == (0, 26), ran
    return str(ran.out.strip())


def test_a_grant_like_an_approval_waits_for_somebody_else_and_can_be_taken_back(desk: Desk, shell: Any) -> None:
    hold = replace(desk.request(), kind="inference")
    approval = desk.store.transact(lambda tx: desk.approvals.hold(tx, hold))
    ann, bo, cy = shell(ANN), shell(BO), shell(CY)
    asked = ann("approvals", "grant", approval.id, "--for", "2h")
    assert "somebody else of reviewers approves it" in asked.err
    id_ = proposed(asked)
    assert "standing_grant" in bo("approvals", "show", id_).out
    assert cy("approvals", "approve", id_).code == 0
    listed = bo("grants", "list").out
    for word in ("key:1", "responses.create", "openai", "PERSON", "80 → 20", "(in 1 h)", id_):
        assert word in listed
    [grant] = json.loads(bo("grants", "list", "--json").out)
    assert bo("grants", "revoke", grant["id"].lower()).code == 0
    assert "revoked" in bo("grants", "list").out


def test_nothing_is_granted_at_first(shell: Any) -> None:
    bo: Shell = shell(BO)
    assert "nothing is approved in advance" in bo("grants", "list").err
    assert "nobody votes" in bo("delegations", "list").err
    for noun in ("grants", "delegations"):
        refused = bo(noun, "revoke", "01ARZ3NDEKTSV4RRFFQ69G5FAV")
        assert (refused.code, f"llmguard {noun} list" in refused.err) == (1, True)


def test_a_span_that_is_none_is_used_wrongly(desk: Desk, shell: Any) -> None:
    assert shell(BO)("approvals", "grant", desk.hold().id, "--for", "long").code == 2


def test_a_delegation_is_approved_by_a_third_person(shell: Any) -> None:
    bo, cy = shell(BO), shell(CY)
    asked = bo("delegations", "add", DEE, "--group", "reviewers", "--until", "14d")
    id_ = proposed(asked)
    assert bo("approvals", "approve", id_).code == 1
    assert cy("approvals", "approve", id_).code == 0
    listed = shell(DEE)("delegations", "list").out
    for word in (BO, DEE, "reviewers", "(in 13 d)"):
        assert word in listed
    [delegation] = json.loads(cy("delegations", "list", "--json").out)
    assert bo("delegations", "revoke", delegation["id"]).code == 0
    assert "revoked" in cy("delegations", "list").out


def test_a_date_says_its_zone(shell: Any) -> None:
    ran = shell(BO)("delegations", "add", DEE, "--group", "reviewers", "--until", "2099-12-24T18:00")
    assert ran.code == 2
    assert "in which zone" in ran.err


def test_only_groups_of_ones_own_are_lent(shell: Any) -> None:
    ran = shell(BO)("delegations", "add", DEE, "--group", "admins", "--until", "1d")
    assert (ran.code, ran.out) == (1, "")
