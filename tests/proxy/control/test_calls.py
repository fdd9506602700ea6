"""A call explained: who may see it, what was said then and now, and nothing of its text."""

from __future__ import annotations

from typing import Any

import pytest

from llmguard.approvals import rules
from llmguard.approvals.rules import PolicyChange
from llmguard.effects import Record
from llmguard.facts import Facts, Found
from llmguard.identity import Cause
from llmguard.model import Body, Call, Destination, Operation, new_id
from llmguard.policy import Policy
from llmguard.store import calls
from tests.desks import ANN, BO, TENANT, Desk, Plane

FIRST = Policy(
    [{"name": "cards", "when": 'findings.exists(f, f.type == "CREDIT_CARD")', "verdict": "require_approval"}]
)
THEN = Policy([{"name": "all", "verdict": "block"}])
EVE = "eve@example.com"


def keep(desk: Desk, policy: Policy, human: str = ANN) -> str:
    """A decided call, as the pipeline keeps it."""
    facts = Facts(
        "chat.completions.create",
        "inference",
        "public",
        (Found("CREDIT_CARD", "pii", "high", 0.9, identity="aa", times=2),),
        human=human,
        principal="key:1",
        received=desk.now,
        characters=40,
    )
    risk = policy.risk(facts)
    call = Call(
        new_id(desk.now),
        desk.principal(human),
        Operation("chat.completions.create", "POST", "/chat/completions", "inference"),
        Destination("openai", "https://api.example/v1"),
        "POST",
        "/chat/completions",
        "",
        (),
        Body("empty"),
        "acct",
        desk.now,
    )
    desk.store.transact(lambda tx: calls.keep(tx, call, Record(facts, policy.decide(facts, risk), risk)))
    return call.id


@pytest.fixture
def kept(plane: Plane) -> str:
    desk = plane.desk
    desk.store.transact(lambda tx: rules.adopt(tx, desk.vault, TENANT, FIRST))
    id_ = keep(desk, FIRST)
    desk.store.transact(lambda tx: rules.apply(tx, desk.vault, TENANT, PolicyChange(THEN.source), Cause("test")))
    return id_


def shown(plane: Plane, id_: str, who: str) -> dict[str, Any]:
    answer = plane.call("GET", f"/guard/v1/calls/{id_}", who)
    assert answer.status_code == 200
    told: dict[str, Any] = answer.json()
    return told


def test_a_call_is_explained_by_the_policy_that_decided_it_and_by_the_one_in_force(plane: Plane, kept: str) -> None:
    told = shown(plane, kept, BO)
    assert (told["verdict"], told["rule"], told["policy"]) == ("require_approval", "cards", FIRST.version)
    then, now = told["then"], told["now"]
    assert (then["version"], then["decision"]["rule"], then["decision"]["people"]) == (
        FIRST.version,
        "cards",
        {"reviewers": 1},
    )
    assert then["steps"][0]["read"] == {"findings": {"CREDIT_CARD": 2}}
    assert (then["risk"]["inherent"], then["risk"]["residual"]) == (told["inherent"], told["residual"])
    assert any("card number" in reason["text"] for reason in then["risk"]["reasons"])
    assert (now["version"], now["decision"]["verdict"]) == (THEN.version, "block")


def test_the_human_behind_it_and_people_of_a_group_see_it_and_nobody_else(plane: Plane, kept: str) -> None:
    plane.desk.put(EVE)
    plane.desk.put(ANN)  # without a group: she sees her own
    assert shown(plane, kept, ANN)["id"] == kept
    hidden = plane.call("GET", f"/guard/v1/calls/{kept}", EVE)
    missing = plane.call("GET", f"/guard/v1/calls/{new_id(5)}", EVE)
    assert (hidden.status_code, hidden.json()["detail"]) == (404, missing.json()["detail"])
    assert plane.call("GET", f"/guard/v1/calls/{kept}").status_code == 401


def test_people_of_another_tenant_do_not_see_it(plane: Plane, kept: str) -> None:
    plane.desk.put(BO, "reviewers", tenant="other")
    assert plane.call("GET", f"/guard/v1/calls/{kept}", BO, tenant="other").status_code == 404


def test_an_approval_names_its_call(plane: Plane, kept: str) -> None:
    approval = plane.desk.hold()
    plane.desk.edit("UPDATE approvals SET call = ? WHERE id = ?", kept, approval.id)
    told = shown(plane, approval.id, BO)
    assert (told["id"], told["approval"]) == (kept, approval.id)


def test_a_call_whose_policy_is_not_kept_is_explained_by_the_one_in_force(plane: Plane) -> None:
    plane.desk.store.transact(lambda tx: rules.adopt(tx, plane.desk.vault, TENANT, THEN))
    told = shown(plane, keep(plane.desk, FIRST), BO)
    assert (told["then"], told["now"]["version"]) == (None, THEN.version)


def test_what_is_no_id_is_not_looked_for(plane: Plane) -> None:
    for bad in ("x" * 40, "..", "a'b"):
        assert plane.call("GET", f"/guard/v1/calls/{bad}", BO).status_code == 404
