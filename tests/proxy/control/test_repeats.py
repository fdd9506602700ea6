"""What is sent twice under one Idempotency-Key acts once."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from llmguard.proxy.control import repeats
from tests.desks import BO, CY, DEE, Desk, Plane

DAY = 24 * 3600 * 1000


def vote(plane: Plane, approval: Any, who: str = BO, key: str | None = "k", **more: Any) -> httpx.Response:
    body = {"verdict": "approve", "digest": approval.egress_digest, **more}
    headers = {} if key is None else {"idempotency-key": key}
    return plane.call("POST", f"/guard/v1/approvals/{approval.id}/votes", who, json=body, headers=headers)


def test_the_same_request_is_answered_the_same_and_acts_once(plane: Plane) -> None:
    approval = plane.desk.hold(quorum=2)
    first, log = vote(plane, approval), plane.desk.log()
    again = vote(plane, approval)
    assert (first.status_code, first.content) == (again.status_code, again.content)
    assert [k for k in plane.desk.log()[len(log) :] if k.startswith("approval.")] == []
    assert len(plane.desk.get(approval).votes) == 1


def test_without_a_key_or_under_another_one_a_vote_is_not_cast_twice(plane: Plane) -> None:
    approval = plane.desk.hold(quorum=2)
    assert [vote(plane, approval, key=k).status_code for k in ("one", "two", None)] == [200, 409, 409]


def test_another_request_under_a_key_is_refused(plane: Plane) -> None:
    approval, other = plane.desk.hold(quorum=2), plane.desk.hold(key="other")
    vote(plane, approval)
    for answer in (vote(plane, approval, reason="more"), vote(plane, other)):
        assert answer.status_code == 422
        assert answer.json()["type"].endswith("idempotency_mismatch")
    assert plane.desk.get(other).votes == ()


def test_a_key_is_of_one_person(plane: Plane) -> None:
    approval = plane.desk.hold(quorum=2)
    assert vote(plane, approval).json()["missing"] == 1
    assert vote(plane, approval, CY).json()["state"] == "APPROVED"


def test_what_was_refused_is_tried_again(plane: Plane) -> None:
    approval = plane.desk.hold()
    assert vote(plane, approval, DEE).status_code == 404
    plane.desk.put(DEE, "reviewers")
    assert vote(plane, approval, DEE).status_code == 200


def test_after_a_day_it_is_forgotten(plane: Plane) -> None:
    desk = plane.desk
    vote(plane, desk.hold())
    desk.now += DAY
    again = desk.hold(key="later")
    assert vote(plane, again).status_code == 200
    desk.now += DAY
    desk.store.transact(repeats.forget)
    assert desk.store.read(lambda tx: tx.all("SELECT * FROM repeats")) == []


def test_an_answer_that_was_altered_in_the_database_is_not_believed(plane: Plane, desk: Desk) -> None:
    approval = desk.hold(quorum=2)
    vote(plane, approval)
    desk.edit("UPDATE repeats SET sealed = x'00'")
    assert vote(plane, approval).status_code == 503


def test_kept_answers_are_sealed(plane: Plane, desk: Desk) -> None:
    vote(plane, desk.hold())
    [row] = desk.store.read(lambda tx: tx.all("SELECT * FROM repeats"))
    assert b"reviewers" not in bytes(row["sealed"])


@pytest.mark.parametrize("key", ["", "x" * 129, "é", "a b"])
def test_odd_keys_are_refused(plane: Plane, key: str) -> None:
    approval = plane.desk.hold()
    assert vote(plane, approval, key=key.encode("latin-1")).status_code == 400  # type: ignore[arg-type]


def test_a_new_key_of_the_data_plane_is_kept_nowhere(plane: Plane, desk: Desk) -> None:
    body, headers = {"name": "laptop", "human": DEE}, {"idempotency-key": "k"}
    made = [plane.call("POST", "/guard/v1/keys", DEE, json=body, headers=headers).json()["token"] for _ in "12"]
    assert made[0] != made[1]
    assert desk.store.read(lambda tx: tx.all("SELECT * FROM repeats")) == []
