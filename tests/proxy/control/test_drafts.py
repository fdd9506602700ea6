"""Drafts and former policies over HTTP; texts that are tried; entries of the log with their proofs."""

from __future__ import annotations

import pytest

from llmguard import audit
from llmguard.approvals import evidence, rules
from llmguard.inbox.policy import written
from llmguard.policy import Policy
from tests.desks import BO, TENANT, Plane
from tests.kept import HOLD_CARDS, OLD

CHECK = "/guard/v1/policy/check"


def test_a_draft_is_checked_against_what_is_in_force_and_changes_nothing(plane: Plane) -> None:
    desk = plane.desk
    desk.store.transact(lambda tx: rules.adopt(tx, desk.vault, TENANT, OLD))
    before = desk.log()
    source = written({"rules": [HOLD_CARDS, *OLD.document["rules"]]}) + '[[tests]]\nname = "t"\nexpect = "block"\n'
    told = plane.call("POST", CHECK, BO, json={"source": source}).json()
    assert (told["version"], told["against"]) == (Policy([HOLD_CARDS, *OLD.document["rules"]]).version, OLD.version)
    assert told["tests"] == [{"name": "t", "passed": False, "expect": "block", "verdict": "redact", "rule": "default"}]
    assert told["loosens"]
    assert [kind for kind in desk.log() if not kind.startswith("login")] == [
        k for k in before if not k.startswith("login")
    ]


def test_without_a_text_the_configurations_policy_is_checked(plane: Plane) -> None:
    told = plane.call("POST", CHECK, BO, json={}).json()
    assert (told["version"], told["problems"], told["loosens"]) == (OLD.version, [], [])
    assert "[[rules]]" in told["source"]
    assert all(test["passed"] for test in told["tests"])


@pytest.mark.parametrize("source", ["[[", "a = " + "[" * 5000, "rules = 1", "x" * 1000, ""])
def test_what_is_no_policy_is_an_error_and_not_a_crash(plane: Plane, source: str) -> None:
    told = plane.call("POST", CHECK, BO, json={"source": source}).json()
    assert told["version"] is None
    assert told["problems"][0]["level"] == "error"


def test_former_policies_are_listed_newest_first_and_shown(plane: Plane) -> None:
    desk = plane.desk
    new = Policy([HOLD_CARDS])
    for policy in (OLD, new):
        desk.store.transact(lambda tx, p=policy: rules._put(tx, desk.vault, TENANT, p, _cause()))
        desk.now += 1000
    listed = plane.call("GET", "/guard/v1/policy/versions", BO).json()["versions"]
    assert [(v["version"], v["current"]) for v in listed] == [(new.version, True), (OLD.version, False)]
    shown = plane.call("GET", f"/guard/v1/policy/versions/{OLD.version}", BO).json()
    assert shown["policy"] == OLD.document
    assert plane.call("GET", "/guard/v1/policy/versions/00", BO).status_code == 404


def _cause() -> object:
    from llmguard.identity import Cause

    return Cause("test")


def test_the_log_says_how_far_it_is_witnessed_and_each_entry_has_its_proof(plane: Plane) -> None:
    desk = plane.desk
    empty = plane.call("GET", "/guard/v1/audit/state", BO).json()
    assert (empty["newest"], empty["outside"]) == (None, None)
    audit.checkpoint(desk.store, desk.vault.keyring, evidence.origin(desk.vault), desk.folder.parent / "outside")
    size = len(desk.log())
    desk.put("new@example.com")
    audit.checkpoint(desk.store, desk.vault.keyring, evidence.origin(desk.vault))
    state = plane.call("GET", "/guard/v1/audit/state", BO).json()
    assert (state["outside"]["size"], state["newest"]["size"]) == (size, size + 1)
    for index, covered in ((0, size), (size, size + 1)):
        told = plane.call("GET", f"/guard/v1/audit/entries/{index}", BO).json()
        assert told["placed"]["checkpoint"]["size"] == covered
    tail = plane.call("GET", f"/guard/v1/audit/entries/{size + 1}", BO).json()
    assert tail["placed"] is None


def test_entries_of_another_tenant_are_nobody_elses(plane: Plane) -> None:
    plane.desk.put("x@example.com", "reviewers", tenant="other")
    index = len(plane.desk.log()) - 1
    assert plane.call("GET", f"/guard/v1/audit/entries/{index}", BO).status_code == 404
    listed = plane.call("GET", "/guard/v1/audit/entries?newest=1&limit=200", BO).json()["entries"]
    assert index not in {e["index"] for e in listed}


def test_the_two_ways_through_the_log_are_not_mixed(plane: Plane) -> None:
    for query in ("kind=a", "before=3", "newest=1&after=2", "newest=1&since=-1", "newest=1&who=" + "x" * 400):
        assert plane.call("GET", f"/guard/v1/audit/entries?{query}", BO).status_code == 400
