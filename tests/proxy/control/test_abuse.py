"""What must not work over HTTP, whoever tries it."""

from __future__ import annotations

import json
import socket
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from llmguard import audit, identity
from llmguard.approvals import evidence
from llmguard.identity import Cause
from llmguard.proxy.control.endpoints import MAX_BODY
from tests.desks import ANN, BO, CY, TENANT, Desk, Plane

BIDI = "\u202egnp.exe\u2066"
UNKNOWN = "0" * 26


def ballot(approval: Any, verdict: str = "approve", **more: Any) -> dict[str, Any]:
    return {"verdict": verdict, "digest": approval.egress_digest, **more}


def dump(desk: Desk) -> str:
    """Everything that the database holds, but for the clock."""
    with closing(sqlite3.connect(desk.path)) as db:
        return "\n".join(line for line in db.iterdump() if 'INTO "clock"' not in line)


def gets(plane: Plane) -> list[str]:
    paths = plane.call("GET", "/guard/v1/openapi.json").json()["paths"]
    return [path for path, methods in paths.items() if "get" in methods]


# --------------------------------------------------------------------------- votes


def test_a_vote_that_is_replayed_counts_once(plane: Plane) -> None:
    approval = plane.desk.hold(quorum=2)
    path, body = f"/guard/v1/approvals/{approval.id}/votes", ballot(approval)
    headers = {"authorization": f"Bearer {plane.desk.session(BO)}"}
    codes = []
    for key in ("one", "one", "two", None, None):
        more = {} if key is None else {"idempotency-key": key}
        codes.append(plane.call("POST", path, json=body, headers={**headers, **more}).status_code)
    assert codes == [200, 200, 409, 409, 409]
    assert [v.human for v in plane.desk.get(approval).votes] == [BO]


def test_a_vote_for_bytes_that_were_not_shown_is_refused(plane: Plane) -> None:
    approval, other = plane.desk.hold(), plane.desk.hold(key="other", body=b'{"input": "other"}')
    for digest in (other.egress_digest, approval.egress_digest.upper(), approval.egress_digest[:-1], ""):
        body = {**ballot(approval), "digest": digest}
        answer = plane.call("POST", f"/guard/v1/approvals/{approval.id}/votes", BO, json=body)
        assert answer.status_code in (400, 409)
    assert plane.desk.get(approval) == approval


def test_a_vote_on_a_version_that_has_passed_is_refused(plane: Plane) -> None:
    approval = plane.desk.hold(quorum=2, escalate_after=1, escalate_to="security")
    plane.desk.now += 2000
    plane.desk.store.transact(plane.desk.approvals.sweep)  # more people may decide it by now: another version
    path = f"/guard/v1/approvals/{approval.id}/votes"
    stale = plane.call("POST", path, BO, json=ballot(approval), headers={"if-match": '"1"'})
    assert stale.status_code == 409
    assert plane.call("POST", path, BO, json=ballot(approval), headers={"if-match": '"2"'}).status_code == 200


@pytest.mark.parametrize("if_match", ["1", '"x"', "*", '"1", "2"', 'W/"1"', '"-1"', ""])
def test_an_if_match_that_is_no_version_decides_nothing(plane: Plane, if_match: str) -> None:
    approval = plane.desk.hold()
    path = f"/guard/v1/approvals/{approval.id}/votes"
    assert plane.call("POST", path, BO, json=ballot(approval), headers={"if-match": if_match}).status_code == 400
    assert plane.desk.get(approval) == approval


def test_the_requester_breaks_no_glass_and_others_need_their_reason(plane: Plane) -> None:
    approval = plane.desk.hold(quorum=2, break_glass="reviewers")
    path, shown = f"/guard/v1/approvals/{approval.id}/break-glass", {"digest": approval.egress_digest}
    assert plane.call("POST", path, ANN, json={**shown, "reason": "the house is on fire"}).status_code == 403
    assert plane.call("POST", path, BO, json={**shown, "reason": "fire"}).status_code == 400
    in_a_vote = {**shown, "verdict": "break_glass", "reason": "the house is on fire"}
    votes = f"/guard/v1/approvals/{approval.id}/votes"
    assert plane.call("POST", votes, BO, json=in_a_vote).status_code == 400
    done = plane.call("POST", path, BO, json={**shown, "reason": "the house is on fire"})
    assert done.json()["state"] == "APPROVED"
    assert "approval.break_glass" in plane.desk.log()


# --------------------------------------------------------------------------- other people's things


def test_what_is_another_tenants_or_not_ones_own_is_answered_as_if_it_were_not_there(plane: Plane) -> None:
    desk = plane.desk
    approval = desk.hold()
    desk.put("eve@example.com", "reviewers", tenant="other")
    desk.put("sam@example.com")
    audit.checkpoint(desk.store, desk.vault.keyring, evidence.origin(desk.vault))
    before = desk.get(approval)
    for who, tenant in (("eve@example.com", "other"), ("sam@example.com", TENANT)):
        token = {"authorization": f"Bearer {desk.session(who, tenant)}"}
        for method, end, body in (
            ("GET", "", None),
            ("GET", "/wait?version=9", None),
            ("POST", "/votes", ballot(approval)),
            ("POST", "/break-glass", {"digest": approval.egress_digest, "reason": "the house is on fire"}),
            ("POST", "/cancel", {}),
            ("POST", "/revoke", {}),
            ("POST", "/payload", {}),
            ("POST", "/evidence", {"payload": True}),
            ("POST", "/standing", {"seconds": 3600}),
        ):
            theirs, none = (
                plane.call(method, f"/guard/v1/approvals/{id_}{end}", json=body, headers=token)
                for id_ in (approval.id, UNKNOWN)
            )
            assert (theirs.status_code, theirs.content) == (404, none.content), (who, end)
        assert plane.call("GET", "/guard/v1/approvals", headers=token).json()["approvals"] == []
    assert desk.get(approval) == before


def test_the_log_of_another_tenant_is_not_shown(plane: Plane) -> None:
    plane.desk.hold()
    plane.desk.put("eve@example.com", "reviewers", tenant="other")
    shown = plane.call("GET", "/guard/v1/audit/entries", "eve@example.com", tenant="other").json()["entries"]
    assert shown
    assert {json.loads(e["leaf"])["tenant"] for e in shown} == {"other"}
    plane.desk.put("sam@example.com")
    assert plane.call("GET", "/guard/v1/audit/entries", "sam@example.com").status_code == 403


def test_keys_and_tokens_of_the_data_plane_are_no_sessions(plane: Plane) -> None:
    def add(tx: Any) -> str:
        token, change = identity.new_key(tx, plane.desk.vault, "app", BO)
        identity.apply(tx, plane.desk.vault, TENANT, change, Cause("test"))
        return token

    approval = plane.desk.hold()
    jwt = ".".join(("eyJhbGciOiJub25lIn0", "eyJzdWIiOiJibyJ9", ""))
    credentials = (plane.desk.store.transact(add), jwt, "sk-something", "lgs_" + "x" * 43, "é")
    for token in credentials:
        header = {"authorization": f"Bearer {token}".encode()}
        path = f"/guard/v1/approvals/{approval.id}/votes"
        assert plane.call("POST", path, json=ballot(approval), headers=header).status_code == 401  # type: ignore[arg-type]
    twice = [("authorization", f"Bearer {plane.desk.session(BO)}")] * 2
    assert httpx.get(f"{plane.url}/guard/v1/me", headers=twice, trust_env=False).status_code == 401
    assert plane.desk.get(approval) == approval


# --------------------------------------------------------------------------- looking changes nothing


def test_no_get_and_no_head_changes_a_byte_of_the_database(plane: Plane) -> None:
    desk = plane.desk
    approval = desk.hold()
    headers = {"authorization": f"Bearer {desk.session(BO)}"}
    audit.checkpoint(desk.store, desk.vault.keyring, evidence.origin(desk.vault))
    before = dump(desk)
    names = {"{id}": approval.id, "{email}": BO, "{index}": "0", "{provider}": "none"}
    asked = 0
    for path in gets(plane):
        for name, value in names.items():
            path = path.replace(name, value)
        for query in ("", "?version=0", "?wait=0", "?old=1&new=2", "?verdict=approve&digest=0"):
            for method in ("GET", "HEAD"):
                asked += plane.call(method, path + query, headers=headers).status_code == 200
    assert asked > 25
    assert dump(desk) == before


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "get"])
def test_only_a_post_decides(plane: Plane, method: str) -> None:
    approval = plane.desk.hold()
    log = plane.desk.log()
    for end in ("votes", "break-glass", "cancel", "revoke", "revise", "payload", "evidence", "standing"):
        path = f"/guard/v1/approvals/{approval.id}/{end}"
        answer = plane.call(method, path, BO, json=ballot(approval), headers={"x-http-method-override": "POST"})
        assert answer.status_code in (400, 405)
        if method not in ("HEAD", "get"):
            assert answer.headers["allow"] == "POST"
    assert plane.desk.get(approval) == approval
    assert [k for k in plane.desk.log()[len(log) :] if k.startswith("approval.")] == []


def test_every_method_of_a_path_is_named_where_another_is_tried(plane: Plane) -> None:
    allowed = plane.call("DELETE", "/guard/v1/people", BO).headers["allow"]
    assert {m.strip() for m in allowed.split(",")} >= {"GET", "POST"}


# --------------------------------------------------------------------------- pages of other sites


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:1"])
def test_a_page_of_another_site_decides_nothing(plane: Plane, origin: str) -> None:
    approval = plane.desk.hold()
    path = f"/guard/v1/approvals/{approval.id}/votes"
    answer = plane.call("POST", path, BO, json=ballot(approval), headers={"origin": origin})
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers
    assert plane.desk.get(approval) == approval


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/xml", ""],
)
def test_bodies_that_a_form_can_send_decide_nothing(plane: Plane, kind: str) -> None:
    approval = plane.desk.hold()
    content = json.dumps(ballot(approval)).encode()
    path = f"/guard/v1/approvals/{approval.id}/votes"
    answer = plane.call("POST", path, BO, content=content, headers={"content-type": kind})
    assert answer.status_code == 400
    assert plane.desk.get(approval) == approval


def test_a_cookie_is_no_session(plane: Plane) -> None:
    token = plane.desk.session(BO)
    cookies = {"cookie": f"session={token}; authorization=Bearer {token}; llmguard={token}"}
    assert plane.call("GET", "/guard/v1/me", headers=cookies).status_code == 401
    assert plane.call("GET", f"/guard/v1/me?access_token={token}").status_code == 401


# --------------------------------------------------------------------------- floods


def test_bodies_queries_and_nesting_are_bounded(plane: Plane) -> None:
    approval = plane.desk.hold()
    headers = {"authorization": f"Bearer {plane.desk.session(BO)}", "content-type": "application/json"}
    path = f"/guard/v1/approvals/{approval.id}"
    for end, size in (("cancel", MAX_BODY), ("votes", 2 * 1024 * 1024), ("revise", 8 * 1024 * 1024)):
        answer = plane.call("POST", f"{path}/{end}", content=b" " * (size + 1), headers=headers)
        assert answer.status_code == 413
    for deep in (b"[" * 60_000, b'{"a":' * 10_000, b"[" * 60_000 + b"]" * 60_000):
        assert plane.call("POST", f"{path}/votes", content=deep, headers=headers).status_code == 400
    many = "&".join(f"a{i}=1" for i in range(10_000))
    assert plane.call("GET", f"/guard/v1/approvals?{many[:60_000]}", headers=headers).status_code == 400
    assert plane.call("GET", f"/guard/v1/approvals?{'cursor=0&' * 500}", headers=headers).status_code == 400
    assert plane.desk.get(approval) == approval


def test_a_large_body_is_not_read_before_there_is_a_session(plane: Plane) -> None:
    port = int(plane.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as s:
        s.sendall(
            f"POST /guard/v1/approvals/{UNKNOWN}/revise HTTP/1.1\r\nHost: localhost\r\n"
            "Content-Type: application/json\r\nContent-Length: 8000000\r\n\r\n{".encode()
        )
        assert s.recv(200).split()[1] == b"401"


# --------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    "name",
    [f"{BIDI}@example.com", "аnn@example.com", "ann@exаmple.com", "ann\u200b@example.com", "a@b@c", "\x1b[2J@x.com"],
)
def test_look_alikes_and_bidi_are_refused_where_names_are(plane: Plane, name: str) -> None:
    before = plane.desk.log()
    ends = (
        ("/people", {"email": name, "groups": ["reviewers"]}),
        ("/people", {"email": "new@example.com", "groups": [name]}),
        ("/keys", {"name": name, "human": BO}),
        ("/keys", {"name": "app", "human": name}),
        ("/keys", {"name": "app", "human": BO, "scopes": [name]}),
        ("/keys/link", {"digest": "00" * 32, "human": name}),
        ("/delegations", {"receiver": name, "groups": ["reviewers"], "starts": 0, "ends": 2 * plane.desk.now}),
        ("/delegations", {"receiver": CY, "groups": [name], "starts": 0, "ends": 2 * plane.desk.now}),
    )
    headers = {"authorization": f"Bearer {plane.desk.session(BO)}"}
    for path, body in ends:
        assert plane.call("POST", f"/guard/v1{path}", json=body, headers=headers).status_code == 400, path
    assert [k for k in plane.desk.log()[len(before) :] if not k.startswith("login")] == []


def test_what_people_write_is_answered_in_ascii(plane: Plane) -> None:
    approval = plane.desk.hold(body=json.dumps({"input": f"{BIDI}\x1b[2J\u200b"}, ensure_ascii=False).encode())
    vote = ballot(approval, "request_changes", reason=f"no {BIDI}", proposal=f'{{"input": "{BIDI}"}}')
    plane.call("POST", f"/guard/v1/approvals/{approval.id}/votes", BO, json=vote)
    answer = plane.call("GET", f"/guard/v1/approvals/{approval.id}", BO)
    assert answer.content.isascii()
    assert b"\x1b" not in answer.content
    assert answer.json()["votes"][0]["reason"] == f"no {BIDI}"
    assert BIDI in answer.json()["proposal"]


def test_no_refusal_repeats_what_was_sent(plane: Plane, tmp_path: Path) -> None:
    canary = "canary-4111111111111111"
    for path, body in (
        ("/login", {"code": canary}),
        ("/people", {"email": canary, "groups": []}),
        ("/keys", {"name": canary + "!", "human": BO}),
        ("/policy", {"rules": [{"when": canary}]}),
        ("/delegations", {"receiver": canary, "groups": [], "starts": 0, "ends": 1}),
        ("/people", {canary: 1}),
    ):
        assert canary not in plane.call("POST", f"/guard/v1{path}", BO, json=body).text, path
    for query in (f"state={canary}", f"{canary}=1", f"cursor={canary}", f"limit={canary}"):
        assert canary not in plane.call("GET", f"/guard/v1/approvals?{query}", BO).text
