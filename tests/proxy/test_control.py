"""The control plane over real HTTP: who may speak, what people may do, and that looking changes nothing."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmguard import identity
from llmguard.errors import TooManyAttempts
from llmguard.identity import Cause
from llmguard.proxy.control.attempts import Attempts
from llmguard.proxy.control.endpoints import MAX_BODY
from tests.desks import ANN, BO, CY, DEE, TENANT, Desk, Plane, control_plane


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path / "guard").staff()
    yield made
    made.store.close()


@pytest.fixture
def plane(desk: Desk) -> Iterator[Plane]:
    with control_plane(desk, allowed_hosts=("guard.example",)) as running:
        yield running


def ballot(approval: Any, verdict: str = "approve", **more: Any) -> dict[str, Any]:
    return {"verdict": verdict, "digest": approval.egress_digest, **more}


# --------------------------------------------------------------------------- who may speak


def test_health_needs_no_session_and_everything_else_does(plane: Plane) -> None:
    assert plane.call("GET", "/healthz").json() == {"status": "ok"}
    for path in ("me", "approvals", "approvals/01", "people", "keys", "audit/checkpoint"):
        answer = plane.call("GET", f"/guard/v1/{path}")
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.headers["content-type"] == "application/problem+json"


def test_a_key_of_the_data_plane_is_worth_nothing_here(plane: Plane) -> None:
    def add(tx: Any) -> str:
        token, change = identity.new_key(tx, plane.desk.vault, "app", ANN)
        identity.apply(tx, plane.desk.vault, TENANT, change, Cause("test"))
        return token

    token = plane.desk.store.transact(add)
    answer = plane.call("GET", "/guard/v1/me", headers={"authorization": f"Bearer {token}"})
    assert answer.status_code == 401
    assert "sessions of people only" in answer.json()["detail"]


@pytest.mark.parametrize(
    "host", ["evil.example", "guard.example.evil.example", "", "127.0.0.1.evil.example:80", "[::1"]
)
def test_an_unknown_host_is_refused(plane: Plane, host: str) -> None:
    assert plane.call("GET", "/healthz", headers={"host": host}).status_code == 421


@pytest.mark.parametrize("host", ["guard.example", "guard.example:8081", "localhost:1", "[::1]:8081"])
def test_configured_and_loopback_hosts_are_answered(plane: Plane, host: str) -> None:
    assert plane.call("GET", "/healthz", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", "file://"])
def test_pages_of_other_origins_are_refused_also_with_a_session(plane: Plane, origin: str) -> None:
    answer = plane.call("GET", "/guard/v1/me", BO, headers={"origin": origin})
    assert answer.status_code == 403
    assert answer.json()["type"].endswith("foreign_origin")


def test_two_host_headers_are_refused(plane: Plane) -> None:
    port = int(plane.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=5) as s:
        s.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
        assert s.recv(200).split()[1] in (b"421", b"400")


def test_no_answer_is_cached(plane: Plane) -> None:
    for path in ("/healthz", "/guard/v1/me", "/nowhere"):
        assert plane.call("GET", path).headers["cache-control"] == "no-store"


# --------------------------------------------------------------------------- logging in


def test_a_code_is_traded_for_a_session_once(plane: Plane) -> None:
    code = plane.desk.code(BO)
    answer = plane.call("POST", "/guard/v1/login", json={"code": code})
    assert answer.json()["email"] == BO
    headers = {"authorization": f"Bearer {answer.json()['token']}"}
    assert plane.call("GET", "/guard/v1/me", headers=headers).json()["groups"] == ["reviewers"]
    assert plane.call("POST", "/guard/v1/login", json={"code": code}).status_code == 401
    assert plane.call("POST", "/guard/v1/logout", headers=headers).json() == {"end_session": None}
    assert plane.call("GET", "/guard/v1/me", headers=headers).status_code == 401


def test_guessing_codes_is_slowed_down(plane: Plane) -> None:
    answers = [plane.call("POST", "/guard/v1/login", json={"code": f"guess-{i}"}).status_code for i in range(12)]
    assert answers == [401] * 10 + [429] * 2
    assert plane.call("POST", "/guard/v1/login", json={"code": plane.desk.code(BO)}).status_code == 429


def test_attempts_are_forgotten_after_a_minute_and_take_bounded_room() -> None:
    now = [0.0]
    attempts = Attempts(lambda: now[0])
    for _ in range(10):
        attempts.take("one")
    with pytest.raises(TooManyAttempts):
        attempts.take("one")
    now[0] = 60.0
    attempts.take("one")
    for i in range(5000):
        attempts.take(str(i))
    assert len(attempts) == Attempts.ADDRESSES


# --------------------------------------------------------------------------- bodies


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'"x"',
        b"{",
        b'{"code": 1}',
        b'{"code": "x", "code": "y"}',
        b'{"code": "x", "more": 1}',
        b'\xef\xbb\xbf{"code":"x"}',
        b'{"code": NaN}',
        b'{"code": "\\ud800"}',
        b"\xff",
        b"[" * 60000,
        b"{}",
    ],
)
def test_what_is_not_exactly_the_expected_json_is_refused(plane: Plane, content: bytes) -> None:
    headers = {"content-type": "application/json"}
    answer = plane.call("POST", "/guard/v1/login", content=content, headers=headers)
    assert answer.status_code in (400, 401)
    assert answer.status_code == 400 or content in (b"", b"{}")


def test_other_media_types_are_refused(plane: Plane) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        answer = plane.call("POST", "/guard/v1/login", content=b'{"code":"x"}', headers={"content-type": kind})
        assert answer.status_code == 400


def test_bodies_are_bounded_whether_or_not_they_tell_their_length(plane: Plane) -> None:
    big = b"x" * (MAX_BODY + 1)
    headers = {"content-type": "application/json"}
    for content in (big, iter([big])):
        assert plane.call("POST", "/guard/v1/login", content=content, headers=headers).status_code == 413


# --------------------------------------------------------------------------- looking and deciding


def test_a_reviewer_sees_who_asks_what_leaves_and_why(plane: Plane) -> None:
    approval = plane.desk.hold()
    answer = plane.call("GET", f"/guard/v1/approvals/{approval.id}", BO)
    shown = answer.json()
    assert answer.headers["etag"] == '"1"'
    assert shown["requester"]["human"] == ANN
    assert shown["egress"]["digest"] == shown["digest"] == approval.egress_digest
    assert "PERSON_abcdefghij" in shown["egress"]["body"]["text"]
    assert "Jane Roe" not in answer.text
    assert (shown["missing"], shown["findings"], shown["risk"]["residual"]) == (1, {"PERSON": 1}, 20)


def test_a_vote_over_http_decides(plane: Plane) -> None:
    approval = plane.desk.hold()
    path = f"/guard/v1/approvals/{approval.id}/votes"
    answer = plane.call("POST", path, BO, json=ballot(approval, reason="fine"), headers={"if-match": '"1"'})
    assert (answer.status_code, answer.json()["state"]) == (200, "APPROVED")
    assert plane.desk.claim(approval)


@pytest.mark.parametrize(
    ("who", "change", "status"),
    [
        (ANN, {}, 403),
        (DEE, {}, 404),
        (BO, {"digest": "00" * 32}, 409),
        (BO, {"verdict": "break_glass"}, 400),
        (BO, {"reason": "x" * 2001}, 400),
    ],
)
def test_votes_that_do_not_count_change_nothing(plane: Plane, who: str, change: dict[str, Any], status: int) -> None:
    approval = plane.desk.hold()
    answer = plane.call("POST", f"/guard/v1/approvals/{approval.id}/votes", who, json=ballot(approval) | change)
    assert answer.status_code == status
    assert plane.desk.get(approval) == approval


def test_a_vote_for_a_version_that_has_passed_is_refused(plane: Plane) -> None:
    approval = plane.desk.hold()
    path = f"/guard/v1/approvals/{approval.id}/votes"
    for version, status in (('"9"', 409), ("9", 400), ('W/"1"', 400)):
        assert plane.call("POST", path, BO, json=ballot(approval), headers={"if-match": version}).status_code == status


def test_a_replayed_vote_is_refused(plane: Plane) -> None:
    approval = plane.desk.hold(quorum=2)
    path = f"/guard/v1/approvals/{approval.id}/votes"
    assert [plane.call("POST", path, BO, json=ballot(approval)).status_code for _ in range(2)] == [200, 409]


def test_no_get_decides_anything(plane: Plane) -> None:
    approval = plane.desk.hold()
    session = plane.desk.session(BO)
    log = plane.desk.log()
    for end in ("", "/votes", "/cancel", "/payload", "/votes?verdict=approve"):
        plane.call("GET", f"/guard/v1/approvals/{approval.id}{end}", headers={"authorization": f"Bearer {session}"})
    assert plane.desk.get(approval) == approval
    assert plane.desk.log() == log


def test_the_raw_view_is_in_the_log(plane: Plane) -> None:
    approval = plane.desk.hold()
    answer = plane.call("POST", f"/guard/v1/approvals/{approval.id}/payload", BO)
    assert "Jane Roe" in answer.json()["original"]["text"]
    assert plane.desk.log()[-1] == "approval.raw_view"
    assert plane.call("POST", f"/guard/v1/approvals/{approval.id}/payload", DEE).status_code == 404


def test_other_tenants_are_not_there(plane: Plane) -> None:
    approval = plane.desk.hold()
    plane.desk.put(BO, "reviewers", tenant="other")
    for method, end, body in (("GET", "", None), ("POST", "/votes", ballot(approval)), ("POST", "/payload", {})):
        answer = plane.call(method, f"/guard/v1/approvals/{approval.id}{end}", BO, tenant="other", json=body)
        assert answer.status_code == 404
    assert plane.call("GET", "/guard/v1/approvals", BO, tenant="other").json()["approvals"] == []
    assert [p["tenant"] for p in plane.call("GET", "/guard/v1/people", BO, tenant="other").json()["people"]] == [
        "other"
    ]


def test_the_requester_cancels_and_a_reviewer_takes_back(plane: Plane) -> None:
    first, second = plane.desk.hold(), plane.desk.hold(key="two")
    plane.desk.vote(second, BO)
    assert plane.call("POST", f"/guard/v1/approvals/{first.id}/cancel", ANN, json={}).json()["state"] == "CANCELLED"
    assert plane.call("POST", f"/guard/v1/approvals/{second.id}/cancel", CY, json={}).json()["state"] == "REVOKED"


def test_a_session_ends_with_its_person_at_the_next_request(plane: Plane) -> None:
    approval = plane.desk.hold()
    headers = {"authorization": f"Bearer {plane.desk.session(BO)}"}
    plane.desk.put(BO, "reviewers", active=False)
    path = f"/guard/v1/approvals/{approval.id}/votes"
    assert plane.call("POST", path, json=ballot(approval), headers=headers).status_code == 401


def test_lists_have_pages_states_and_prefixes(plane: Plane) -> None:
    ids = []
    for i in range(3):
        plane.desk.now += 1
        ids.append(plane.desk.hold(key=str(i)).id)
    first = plane.call("GET", "/guard/v1/approvals?limit=2", BO).json()
    rest = plane.call("GET", f"/guard/v1/approvals?limit=2&cursor={first['next']}", BO).json()
    assert [a["id"] for a in first["approvals"] + rest["approvals"]] == ids[::-1]
    assert rest["next"] is None
    assert plane.call("GET", "/guard/v1/approvals?state=DENIED", BO).json()["approvals"] == []
    for query in ("state=WRONG", "cursor='", "limit=0", "limit=1&limit=2", "x=1", "prefix=~"):
        assert plane.call("GET", f"/guard/v1/approvals?{query}", BO).status_code == 400


def test_an_approval_that_time_has_ended_is_shown_so_before_any_sweep(plane: Plane) -> None:
    approval = plane.desk.hold()
    plane.desk.now = approval.expires
    assert plane.call("GET", f"/guard/v1/approvals/{approval.id}", BO).json()["state"] == "EXPIRED"


def test_an_altered_approval_answers_503_and_says_so(plane: Plane) -> None:
    approval = plane.desk.hold()
    plane.desk.edit("UPDATE approvals SET state = 'APPROVED'")
    answer = plane.call("GET", f"/guard/v1/approvals/{approval.id}", BO)
    assert answer.status_code == 503
    assert "altered" in answer.json()["detail"]


# --------------------------------------------------------------------------- people and keys


def test_people_change_by_two(plane: Plane) -> None:
    answer = plane.call("POST", "/guard/v1/people", ANN, json={"email": "Eve@Example.com", "groups": ["security"]})
    assert answer.status_code == 202
    asked = answer.json()["approval"]
    shown = plane.call("GET", f"/guard/v1/approvals/{asked['id']}", BO).json()
    assert '"email":"eve@example.com"' in shown["egress"]["body"]["text"]
    vote = {"verdict": "approve", "digest": shown["digest"]}
    assert plane.call("POST", f"/guard/v1/approvals/{asked['id']}/votes", ANN, json=vote).status_code == 403
    assert plane.call("POST", f"/guard/v1/approvals/{asked['id']}/votes", BO, json=vote).json()["state"] == "EXECUTED"
    people = {p["email"]: p for p in plane.call("GET", "/guard/v1/people", CY).json()["people"]}
    assert people["eve@example.com"]["groups"] == ["security"]


def test_deactivating_oneself_is_immediate(plane: Plane) -> None:
    assert plane.call("POST", f"/guard/v1/people/{CY}/deactivate", CY).json()["applied"]
    assert plane.call("POST", f"/guard/v1/people/{BO}/deactivate", ANN).status_code == 202


def test_a_key_for_oneself_works_at_once_and_is_revoked_by_its_human(plane: Plane) -> None:
    made = plane.call("POST", "/guard/v1/keys", DEE, json={"name": "laptop", "human": DEE}).json()
    assert made["applied"]
    who = plane.desk.store.read(lambda tx: identity.authenticate(tx, plane.desk.vault, made["token"]))
    assert who.human == DEE
    assert made["token"] not in plane.call("GET", "/guard/v1/keys", DEE).text
    assert plane.call("POST", f"/guard/v1/keys/{made['id']}/revoke", DEE).json()["revoked"]
    assert plane.call("POST", "/guard/v1/keys", DEE, json={"name": "bot"}).status_code == 202


def test_the_newest_checkpoint_is_handed_out(plane: Plane) -> None:
    assert plane.call("GET", "/guard/v1/audit/checkpoint", BO).status_code == 404
    plane.desk.store.transact(
        lambda tx: tx.run("INSERT INTO checkpoints (size, root, note, created) VALUES (1, x'00', 'note', 1)")
    )
    assert plane.call("GET", "/guard/v1/audit/checkpoint", BO).text == "note"
