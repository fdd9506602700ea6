"""What the API says for pages: what happened, which placeholders are real, why it waits, what a change changes."""

from __future__ import annotations

from typing import Any

from llmguard.approvals import rules
from llmguard.policy import Policy
from tests.desks import BO, CY, DEE, TENANT, Plane, decision


def get(plane: Plane, path: str, who: str = BO, **headers: str) -> Any:
    return plane.call("GET", f"/guard/v1{path}", who, headers=headers)


def test_a_timeline_tells_in_order_who_did_what_and_how_often_people_were_reminded(plane: Plane) -> None:
    desk = plane.desk
    approval = desk.hold(quorum=2, remind_after=60)
    plane.call("POST", f"/guard/v1/approvals/{approval.id}/payload", BO, json={})
    desk.now += 130_000
    desk.store.transact(desk.approvals.sweep)
    desk.vote(approval, BO, reason="known")
    desk.vote(approval, CY)
    desk.claim(desk.get(approval))
    told = [(e["kind"], e["by"], e["why"]) for e in get(plane, f"/approvals/{approval.id}/timeline").json()["events"]]
    assert told == [
        ("held", "", ""),
        ("raw_view", BO, ""),
        ("reminder", "", "2"),
        ("vote", BO, ""),
        ("vote", CY, ""),
        ("approved", CY, ""),
        ("claimed", "key:1", ""),
    ]


def test_it_is_another_one_as_soon_as_somebody_votes_and_when_time_ends(plane: Plane) -> None:
    approval = plane.desk.hold(quorum=2, expires_in=60)
    path = f"/approvals/{approval.id}/timeline"
    tag = get(plane, path).headers["etag"]
    assert get(plane, path, **{"if-none-match": tag}).status_code == 304
    plane.desk.vote(approval, CY)
    voted = get(plane, f"{path}?wait=20", **{"if-none-match": tag})
    assert voted.status_code == 200
    plane.desk.now += 61_000
    over = get(plane, path, **{"if-none-match": voted.headers["etag"]})
    assert over.json()["approval"]["state"] == "EXPIRED"


def test_strangers_hear_of_no_timeline(plane: Plane) -> None:
    approval = plane.desk.hold()
    assert get(plane, f"/approvals/{approval.id}/timeline", DEE).status_code == 404
    assert plane.call("GET", f"/guard/v1/approvals/{approval.id}/timeline").status_code == 401


def test_placeholders_are_those_that_the_guard_put_in_also_before_a_revision(plane: Plane) -> None:
    desk = plane.desk
    first = desk.hold()
    assert get(plane, f"/approvals/{first.id}").json()["placeholders"] == {"[PERSON_abcdefghij]": "PERSON"}
    desk.vote(first, BO, "request_changes")
    from dataclasses import replace

    hold = replace(desk.request(key="2", body=b'{"input": "[EMAIL_aaaaaaaaaa]"}'), revises=first.id, grants=())
    second = desk.store.transact(lambda tx: desk.approvals.hold(tx, hold))
    assert get(plane, f"/approvals/{second.id}").json()["placeholders"] == {"[PERSON_abcdefghij]": "PERSON"}


def test_the_rule_says_why_in_the_words_of_the_policy_that_decided(plane: Plane) -> None:
    desk = plane.desk
    policy = Policy([{"name": "risky", "when": "risk.residual > 10", "verdict": "block", "reason": "too much of it"}])
    desk.store.transact(lambda tx: rules.adopt(tx, desk.vault, TENANT, policy))
    from dataclasses import replace

    decided = replace(decision(), policy_version=policy.version)
    hold = replace(desk.request(), decision=decided)
    approval = desk.store.transact(lambda tx: desk.approvals.hold(tx, hold))
    because = get(plane, f"/approvals/{approval.id}").json()["because"]
    assert because == {"reason": "too much of it", "when": "risk.residual > 10"}
    assert get(plane, f"/approvals/{desk.hold(key='2').id}").json()["because"] is None


def test_a_change_of_people_is_compared_with_what_is_in_force_until_it_is_decided(plane: Plane) -> None:
    asked = plane.call("POST", "/guard/v1/people", BO, json={"email": DEE, "groups": ["reviewers"]}).json()["approval"]
    changes = get(plane, f"/approvals/{asked['id']}", CY).json()["changes"]
    assert '-    "security"' in changes
    assert '+    "reviewers"' in changes
    new = plane.call("POST", "/guard/v1/people", BO, json={"email": "new@example.com", "groups": []}).json()["approval"]
    assert get(plane, f"/approvals/{new['id']}", CY).json()["changes"] is None
    body = {"verdict": "approve", "digest": asked["digest"]}
    plane.call("POST", f"/guard/v1/approvals/{asked['id']}/votes", CY, json=body)
    assert get(plane, f"/approvals/{asked['id']}", CY).json()["changes"] is None


def test_what_is_closed_is_listed_with_when_it_was_decided(plane: Plane) -> None:
    desk = plane.desk
    denied, late, open_ = desk.hold(key="1"), desk.hold(key="2", expires_in=60), desk.hold(key="3")
    desk.now += 1000
    desk.vote(denied, BO, "deny")
    desk.now += 60_000
    listed = get(plane, "/approvals?closed=1").json()["approvals"]
    assert {row["id"]: row["decided"] for row in listed} == {late.id: None, denied.id: denied.created + 1000}
    assert get(plane, f"/approvals/{open_.id}").json()["decided"] is None
