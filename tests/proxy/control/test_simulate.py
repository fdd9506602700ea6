"""Replays and suggestions over HTTP: a page at a time, for people of a group, and a proposal that says what it does."""

from __future__ import annotations

from typing import Any

import pytest

from llmguard.approvals import rules
from llmguard.policy import Policy
from llmguard.policy.replay import Report
from tests.desks import BO, CY, START, TENANT, Desk, Plane
from tests.kept import CARD, EMAIL, HOLD_CARDS, OLD, facts, keep

RULES = list(OLD.document["rules"])
NEW = {"rules": [HOLD_CARDS, *RULES]}
PATH = "/guard/v1/policies/simulate"


@pytest.fixture
def kept(desk: Desk) -> list[str]:
    """Ids of seven calls; three hold cards."""
    desk.store.transact(lambda tx: rules.adopt(tx, desk.vault, TENANT, OLD))
    made = [keep(desk, facts(CARD if i % 2 else EMAIL, at=START - 1000 + i)) for i in range(7)]
    keep(desk, facts(CARD, at=START - 1000), tenant="other")
    return made


def test_pages_of_a_replay_add_up_to_all_of_it(plane: Plane, kept: list[str]) -> None:
    whole = plane.call("POST", PATH, BO, json={"policy": NEW}).json()
    assert (whole["left"], whole["next"], whole["against"]) == (0, None, OLD.version)
    report = Report.of_json(whole["report"])
    assert report.effects == {"newly_held": 3, "same": 4}
    assert report.rows[0].examples == tuple(kept[1::2])
    assert whole["version"] == Policy(NEW["rules"]).version
    pieces, body = Report(), {"policy": NEW, "limit": 3}
    for left in (4, None, None):
        answer = plane.call("POST", PATH, BO, json=body).json()
        assert (answer["left"], answer["reviewing"] is None) == (left, left is None)
        pieces += Report.of_json(answer["report"])
        body |= {"cursor": answer["next"], "until": answer["until"]}
    assert answer["next"] is None
    assert pieces == report


def test_since_and_until_bound_it(plane: Plane, kept: list[str]) -> None:
    asked = {"policy": NEW, "since": START - 999, "until": START - 996}
    assert plane.call("POST", PATH, BO, json=asked).json()["report"]["calls"] == 3
    nothing = plane.call("POST", PATH, BO, json={"policy": NEW, "since": START + 1}).json()
    assert (nothing["report"]["calls"], nothing["next"]) == (0, None)


def test_only_people_of_a_group_replay_and_are_advised(plane: Plane, kept: list[str]) -> None:
    plane.desk.put("eve@example.com")
    for method, path, more in (
        ("POST", PATH, {"json": {"policy": NEW}}),
        ("GET", "/guard/v1/policies/suggestions", {}),
    ):
        assert plane.call(method, path, "eve@example.com", **more).status_code == 403
        assert plane.call(method, path, **more).status_code == 401


@pytest.mark.parametrize("policy", [{}, {"rules": [{"when": "nonsense", "verdict": "block"}]}, {"rules": [], "x": 1}])
def test_what_is_no_policy_is_not_replayed(plane: Plane, policy: Any) -> None:
    assert plane.call("POST", PATH, BO, json={"policy": policy}).status_code == 400


def test_reviewers_of_a_proposal_read_what_it_would_have_done(plane: Plane, kept: list[str]) -> None:
    asked = plane.call("POST", "/guard/v1/policy", BO, json=NEW)
    assert asked.status_code == 202
    approval = asked.json()["approval"]
    assert approval["risk"]["summary"] == "of 7 calls of a day: 3 newly held"
    shown = plane.call("GET", f"/guard/v1/approvals/{approval['id']}", CY).json()
    assert shown["risk"]["summary"] == approval["risk"]["summary"]


def test_looking_changes_nothing(plane: Plane, kept: list[str]) -> None:
    desk = plane.desk
    before = desk.log()
    plane.call("POST", PATH, BO, json={"policy": NEW})
    advice = plane.call("GET", "/guard/v1/policies/suggestions", BO, params={"since": 0}).json()
    assert (advice["calls"], advice["suggestions"]) == (7, [])
    assert {t["type"]: t["calls"] for t in advice["types"]} == {"EMAIL": 4, "CREDIT_CARD": 3}
    sessions = ("code.issued", "login", "session")
    assert [k for k in desk.log()[len(before) :] if not any(word in k for word in sessions)] == []
    assert desk.store.read(lambda tx: rules.current(tx, TENANT)) == OLD.version
