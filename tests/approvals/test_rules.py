"""The policy in force: stored, attested, changed by two; a changed file waits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llmguard import identity
from llmguard.approvals import rules
from llmguard.approvals.rules import PolicyChange
from llmguard.config import Settings
from llmguard.effects import Commit
from llmguard.errors import GuardUnavailable, InvalidRequest, NotAllowed
from llmguard.guard import Guard
from llmguard.policy import Policy
from llmguard.request import Request
from tests.desks import ANN, BO, CY, TENANT, Desk

HOLD = [{"name": "hold", "verdict": "require_approval"}]
LOOSE = [{"name": "loose", "verdict": "allow"}]


def adopt(desk: Desk, source: list[dict[str, Any]]) -> str:
    return desk.store.transact(lambda tx: rules.adopt(tx, desk.vault, TENANT, Policy(source)))


def propose(desk: Desk, source: Any, by: str = BO) -> Any:
    def work(tx: Any) -> Any:
        who = identity.person(tx, desk.vault, TENANT, by)
        assert who
        return desk.approvals.propose(tx, who, PolicyChange(json.dumps({"rules": source})))

    return desk.store.transact(work)


def test_a_file_that_was_changed_alone_stays_pending(desk: Desk) -> None:
    first = adopt(desk, HOLD)
    assert adopt(desk, LOOSE) == first


def test_while_one_sets_up_alone_the_file_is_the_policy(desk: Desk) -> None:
    adopt(desk, HOLD)
    for email in (BO, CY):
        desk.put(email, active=False)
    desk.put("dee@example.com", active=False)
    assert json.loads(adopt(desk, LOOSE)) == {"rules": LOOSE}
    assert desk.log().count("policy.changed") == 2


def test_somebody_else_puts_a_policy_in_force(desk: Desk) -> None:
    adopt(desk, HOLD)
    approval = propose(desk, LOOSE)
    with pytest.raises(NotAllowed):
        desk.vote(approval, BO)
    assert desk.vote(approval, ANN).state == "EXECUTED"
    assert json.loads(adopt(desk, LOOSE)) == {"rules": LOOSE}


def test_what_is_no_policy_is_not_even_asked(desk: Desk) -> None:
    for bad in ({"rules": 1}, [{"verdict": "perhaps"}], [3]):
        with pytest.raises(InvalidRequest):
            propose(desk, bad)


def test_a_policy_that_was_edited_in_the_database_decides_nothing(desk: Desk) -> None:
    adopt(desk, HOLD)
    desk.edit("UPDATE policies SET source = ?", json.dumps(LOOSE))
    with pytest.raises(GuardUnavailable, match="altered"):
        adopt(desk, HOLD)


def test_running_guards_take_a_new_policy_at_once(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "d", names=False, rules=tuple(HOLD))
    with Guard(settings) as guard, Guard(settings) as other:
        for email in (BO, CY):
            change = identity.PersonChange(email, ("reviewers",))
            guard.store.transact(
                lambda tx, c=change: identity.apply(tx, guard.vault, TENANT, c, identity.Cause("t"))  # type: ignore[misc]
            )
        change = PolicyChange(json.dumps({"rules": LOOSE}))
        guard.store.transact(lambda tx: rules.apply(tx, guard.vault, TENANT, change, identity.Cause("t")))
        assert [r.name for r in other.kit.policy.rules] == ["hold"]
        request = Request("GET", "/models", "", (), b"")
        call = other.call(request, other.local_principal(), settings.destination, "a")
        receipt = other.perform(Commit(call, policy=other.kit.policy.version))
        assert [r.name for r in receipt.policy.rules] == ["loose"]
        assert [r.name for r in other.kit.policy.rules] == ["loose"]
    with Guard(settings) as later:  # whose file still says what it said
        assert [r.name for r in later.kit.policy.rules] == ["loose"]
