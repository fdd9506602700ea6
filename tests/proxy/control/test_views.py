"""What people are shown and may do over HTTP: bodies in parts, powers, policy, the log and its proofs."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from llmguard import audit
from llmguard.approvals import evidence, rules, view
from llmguard.audit import merkle, verify_evidence
from llmguard.config import Settings
from llmguard.model import Approval
from llmguard.policy import Policy
from llmguard.testing import EchoUpstream, LocalGuard
from tests.desks import ANN, BO, CY, DEE, TENANT, Desk, Plane

HOUR = 3_600_000


def get(plane: Plane, path: str, who: str = BO) -> Any:
    answer = plane.call("GET", f"/guard/v1{path}", who)
    assert answer.status_code == 200, answer.text
    return answer.json()


def approve(plane: Plane, asked: Any, who: str = BO) -> Any:
    body = {"verdict": "approve", "digest": asked["digest"]}
    return plane.call("POST", f"/guard/v1/approvals/{asked['id']}/votes", who, json=body).json()


# --------------------------------------------------------------------------- bodies


def large(desk: Desk, text: str) -> tuple[Approval, bytes]:
    body = json.dumps({"input": text}, ensure_ascii=False).encode()
    return desk.hold(body=body), body


def test_of_a_large_body_the_beginning_is_shown_and_the_rest_on_demand(plane: Plane) -> None:
    approval, body = large(plane.desk, "é" * view.SHOWN)
    first = get(plane, f"/approvals/{approval.id}")["egress"]
    part = first["body"]
    assert first["bytes"] == part["total"] == len(body)
    assert part["offset"] == 0
    assert view.SHOWN - 3 <= part["bytes"] <= view.SHOWN
    assert part["text"].encode() == body[: part["bytes"]]
    whole, at = b"", 0
    while at < len(body):
        part = get(plane, f"/approvals/{approval.id}?offset={at}&length=100001")["egress"]["body"]
        assert (part["encoding"], part["offset"]) == ("utf-8", at)
        whole, at = whole + part["text"].encode(), at + part["bytes"]
    assert whole == body
    full = get(plane, f"/approvals/{approval.id}?full=1")["egress"]
    assert full["body"]["text"].encode() == body
    assert full["digest"] == approval.egress_digest


def test_a_part_beyond_the_end_is_empty_and_what_is_no_text_is_base64(plane: Plane) -> None:
    approval, body = plane.desk.hold(body=b"\xff\xfe" * 1000), b"\xff\xfe" * 1000
    shown = get(plane, f"/approvals/{approval.id}?offset=3&length=5")["egress"]["body"]
    assert (shown["encoding"], base64.b64decode(shown["text"])) == ("base64", body[3:8])
    beyond = get(plane, f"/approvals/{approval.id}?offset=999999")["egress"]["body"]
    assert (beyond["text"], beyond["bytes"], beyond["total"]) == ("", 0, len(body))


def test_the_raw_view_shows_the_beginning_unless_asked_for_all(plane: Plane) -> None:
    approval, body = large(plane.desk, "x" * 2 * view.SHOWN)
    path = f"/guard/v1/approvals/{approval.id}/payload"
    assert plane.call("POST", path, BO, json={}).json()["egress"]["body"]["bytes"] == view.SHOWN
    assert plane.call("POST", path, BO, json={"full": True}).json()["egress"]["body"]["bytes"] == len(body)


# --------------------------------------------------------------------------- what one may do


@pytest.mark.parametrize(
    ("who", "may"),
    [(ANN, {"cancel", "grant"}), (BO, {"vote", "grant"}), (DEE, {"break_glass", "grant"})],
    ids=["requester", "reviewer", "emergency"],
)
def test_an_approval_says_what_its_reader_may_do(plane: Plane, who: str, may: set[str]) -> None:
    approval = plane.desk.hold(break_glass="security")
    shown = get(plane, f"/approvals/{approval.id}", who)["may"]
    assert {name for name, allowed in shown.items() if allowed} - {"grant"} == may - {"grant"}


def test_whoever_has_voted_may_not_again_and_may_take_it_back(plane: Plane) -> None:
    approval = plane.desk.hold()
    plane.desk.vote(approval, BO)
    assert get(plane, f"/approvals/{approval.id}")["may"]["vote"] is False
    assert get(plane, f"/approvals/{approval.id}", CY)["may"] | {"grant": False} == {
        **dict.fromkeys(("vote", "break_glass", "cancel", "revise", "grant", "records"), False),
        "revoke": True,
    }
    answer = plane.call("POST", f"/guard/v1/approvals/{approval.id}/revoke", CY)
    assert answer.json()["state"] == "REVOKED"


def test_a_proposal_is_shown_to_whoever_may_see_the_approval(plane: Plane) -> None:
    approval = plane.desk.hold()
    path, proposal = f"/guard/v1/approvals/{approval.id}", '{"input": "less"}'
    body = {"verdict": "request_changes", "digest": approval.egress_digest, "reason": "less", "proposal": proposal}
    assert plane.call("POST", f"{path}/votes", BO, json=body).json()["state"] == "CHANGES_REQUESTED"
    shown = get(plane, f"/approvals/{approval.id}", ANN)
    assert (shown["proposal"], shown["may"]["revise"]) == (proposal, True)
    bad = {**body, "verdict": "approve"}
    assert plane.call("POST", f"{path}/votes", CY, json=bad).status_code == 400


def test_the_names_of_keys_are_read_for_what_the_page_shows_alone(plane: Plane) -> None:
    made = plane.call("POST", "/guard/v1/keys", DEE, json={"name": "laptop", "human": DEE}).json()
    approval = plane.desk.hold(plane.desk.principal(DEE, f"key:{made['id']}"))
    assert get(plane, f"/approvals/{approval.id}")["requester"]["name"] == "laptop"
    plane.desk.edit("UPDATE api_keys SET name = 'somebody else'")
    assert get(plane, "/approvals")["approvals"][0]["requester"]["name"] == ""


def test_lists_are_narrowed_by_subject_and_to_ones_own(plane: Plane) -> None:
    mine = plane.desk.hold()
    plane.desk.hold(plane.desk.principal(DEE), key="hers")
    plane.call("POST", "/guard/v1/people", BO, json={"email": "new@example.com", "groups": []})
    assert len(get(plane, "/approvals", CY)["approvals"]) == 3
    assert [a["id"] for a in get(plane, "/approvals?mine=1", ANN)["approvals"]] == [mine.id]
    assert [a["operation"] for a in get(plane, "/approvals?subject=change")["approvals"]] == ["person.change"]


# --------------------------------------------------------------------------- powers and policy


def test_a_delegation_is_asked_for_approved_listed_and_ended(plane: Plane) -> None:
    body = {"receiver": DEE, "groups": ["reviewers"], "starts": plane.desk.now, "ends": plane.desk.now + HOUR}
    asked = plane.call("POST", "/guard/v1/delegations", BO, json=body)
    assert (asked.status_code, asked.json()["applied"]) == (202, False)
    assert approve(plane, asked.json()["approval"], CY)["state"] == "EXECUTED"
    [found] = get(plane, "/delegations")["delegations"]
    assert (found["giver"], found["receiver"]) == (BO, DEE)
    ended = plane.call("POST", f"/guard/v1/delegations/{found['id']}/revoke", DEE)
    assert ended.json()["revoked"] == plane.desk.now
    assert plane.call("POST", f"/guard/v1/delegations/{'0' * 26}/revoke", DEE).status_code == 404


def test_a_standing_grant_is_asked_for_like_a_call_approved_listed_and_ended(plane: Plane) -> None:
    request = plane.desk.request()
    approval = plane.desk.store.transact(lambda tx: plane.desk.approvals.hold(tx, replace(request, kind="inference")))
    path = f"/guard/v1/approvals/{approval.id}/standing"
    assert plane.call("POST", path, BO, json={"seconds": 8 * 3600 + 1}).status_code == 400
    asked = plane.call("POST", path, BO, json={"seconds": 3600})
    assert asked.status_code == 202
    assert approve(plane, asked.json()["approval"], ANN) == approve(plane, asked.json()["approval"], ANN)
    assert approve(plane, asked.json()["approval"], CY)["state"] == "EXECUTED"
    [found] = get(plane, "/grants")["grants"]
    assert found["principal"] == approval.principal
    assert plane.call("POST", f"/guard/v1/grants/{found['id']}/revoke", CY).json()["revoked"]


def test_the_policy_is_shown_and_changes_by_two(plane: Plane) -> None:
    desk, file = plane.desk, Policy()
    desk.store.transact(lambda tx: rules.adopt(tx, desk.vault, TENANT, file))
    shown = get(plane, "/policy")
    assert (shown["version"], shown["pending"]) == (file.version, None)
    new = [{"name": "all", "verdict": "require_approval"}]
    asked = plane.call("POST", "/guard/v1/policy", BO, json={"rules": new})
    assert asked.status_code == 202
    assert approve(plane, asked.json()["approval"], CY)["state"] == "EXECUTED"
    assert get(plane, "/policy") == {
        "version": Policy(new).version,
        "policy": {"rules": new},
        "pending": file.version,
        "file_error": None,
    }
    for bad in ([{"verdict": "maybe"}], [{"when": 1}], ["x"], "x", [{"name": "a", "verdict": "block", "when": "1 +"}]):
        assert plane.call("POST", "/guard/v1/policy", BO, json={"rules": bad}).status_code == 400


def test_every_list_has_pages(plane: Plane) -> None:
    desk = plane.desk
    for i in range(3):
        desk.now += 1
        plane.call("POST", "/guard/v1/keys", DEE, json={"name": f"k{i}", "human": DEE})
    for name, key in (("people", "email"), ("keys", "id"), ("audit/entries", "index")):
        word = name.rpartition("/")[2]
        everything = [x[key] for x in get(plane, f"/{name}?limit=200")[word]]
        found: list[Any] = []
        cursor = ""
        for _ in range(len(everything)):
            page = get(plane, f"/{name}?limit=2{cursor}")
            assert len(page[word]) <= 2
            found += [x[key] for x in page[word]]
            if page["next"] is None:
                break
            cursor = f"&{'after' if 'audit' in name else 'cursor'}={page['next']}"
        if name == "audit/entries":  # logins go on being logged
            found = found[: len(everything)]
        assert found == everything


# --------------------------------------------------------------------------- the log


def test_an_entry_is_proven_in_a_checkpoint_and_checkpoints_continue(plane: Plane) -> None:
    desk = plane.desk
    assert plane.call("GET", "/guard/v1/audit/proof/0", BO).status_code == 404
    desk.hold()
    old = audit.checkpoint(desk.store, desk.vault.keyring, evidence.origin(desk.vault))
    desk.hold(key="more")
    new = audit.checkpoint(desk.store, desk.vault.keyring, evidence.origin(desk.vault))
    entry = get(plane, "/audit/entries?after=2&limit=1")["entries"][0]
    proof = get(plane, "/audit/proof/3")
    leaf = merkle.leaf_hash(entry["leaf"].encode())
    assert (entry["index"], proof["leaf_hash"]) == (3, leaf.hex())
    assert merkle.includes(leaf, 3, new.size, steps(proof), new.root)
    at_old = get(plane, f"/audit/proof/3?size={old.size}")
    assert merkle.includes(leaf, 3, old.size, steps(at_old), old.root)
    grown = get(plane, f"/audit/consistency?old={old.size}&new={new.size}")
    assert merkle.extends(old.size, new.size, old.root, new.root, steps(grown))
    for path in (
        f"proof/{new.size}",
        "proof/x",
        f"proof/0?size={new.size + 1}",
        f"consistency?old=1&new={new.size + 1}",
    ):
        assert plane.call("GET", f"/guard/v1/audit/{path}", BO).status_code == 404
    assert plane.call("GET", "/guard/v1/audit/consistency?old=2&new=1", BO).status_code == 400


def steps(proof: Any) -> list[bytes]:
    return [base64.b64decode(step) for step in proof["proof"]]


@pytest.mark.parametrize("payload", [False, True])
def test_evidence_over_http_holds_and_is_in_the_log(plane: Plane, payload: bool) -> None:
    desk = plane.desk
    approval = desk.hold()
    desk.vote(approval, BO)
    answer = plane.call("POST", f"/guard/v1/approvals/{approval.id}/evidence", CY, json={"payload": payload})
    log = f"llmguard/{desk.vault.keyring.log_id()}"
    report = verify_evidence(answer.json(), str(audit.Verifier.of(log, desk.vault.keyring.signer())))
    assert report.problems == ()
    assert ("approval.raw_view" in desk.log()) is payload
    assert "approval.evidence" in desk.log()
    assert "Jane Roe" not in answer.text


# --------------------------------------------------------------------------- revising


@pytest.fixture
def local(tmp_path: Path) -> Iterator[LocalGuard]:
    rules_ = ({"name": "all", "verdict": "require_approval"},)
    with (
        EchoUpstream() as upstream,
        LocalGuard(
            Settings(
                data=tmp_path / "data",
                upstream=upstream.url,
                port=0,
                control_port=0,
                names=False,
                upstream_key="provider-key-of-the-test",
                rules=rules_,
            )
        ) as up,
    ):
        yield up


def test_the_human_behind_a_call_puts_another_body_in_its_place(local: LocalGuard) -> None:
    codes = {who: local.person(who) for who in (ANN, BO)}
    key = local.key("app", ANN)
    with httpx.Client(trust_env=False, timeout=30) as http:
        base = f"{local.control_url}/guard/v1"

        def session(who: str) -> dict[str, str]:
            token = http.post(f"{base}/login", json={"code": codes[who]}).json()["token"]
            return {"authorization": f"Bearer {token}"}

        ann, bo = session(ANN), session(BO)
        headers = {"authorization": f"Bearer {key}", "x-llmguard-mode": "ticket"}
        call = {"model": "m", "input": "one"}
        id_ = http.post(f"{local.url}/responses", json=call, headers=headers).headers["x-llmguard-approval"]
        path = f"{base}/approvals/{id_}"
        shown = http.get(path, headers=bo).json()
        changed = {"digest": shown["digest"], "body": '{"model": "m", "input": "two"}'}
        assert http.post(f"{path}/revise", json=changed, headers=ann).status_code == 409
        vote = {"verdict": "request_changes", "digest": shown["digest"], "reason": "two, please"}
        assert http.post(f"{path}/votes", json=vote, headers=bo).json()["state"] == "CHANGES_REQUESTED"
        assert http.post(f"{path}/revise", json=changed, headers=bo).status_code == 403
        assert http.post(f"{path}/revise", json={**changed, "digest": "0" * 64}, headers=ann).status_code == 409
        for broken in ("", "{", '{"model": "m", "input": NaN}'):
            answer = http.post(f"{path}/revise", json={**changed, "body": broken}, headers=ann)
            assert answer.status_code == 400, answer.text
        after = http.post(f"{path}/revise", json=changed, headers=ann).json()
        assert (after["state"], after["revises"], after["revision"]) == ("PENDING", id_, 2)
        seen = http.get(f"{base}/approvals/{after['id']}", headers=bo).json()
        assert any("two" in line for line in seen["changes"])
        assert http.get(path, headers=bo).json()["revised_by"] == after["id"]
        assert http.post(f"{path}/revise", json=changed, headers=ann).status_code == 409


def test_a_guard_that_stops_answers_long_polls_and_does_not_wait_for_them(local: LocalGuard) -> None:
    code = local.person(ANN)
    with httpx.Client(trust_env=False, timeout=60, base_url=f"{local.control_url}/guard/v1") as http:
        token = http.post("/login", json={"code": code}).json()["token"]
        http.headers["authorization"] = f"Bearer {token}"
        known = {"if-none-match": http.get("/approvals").headers["etag"]}
        with ThreadPoolExecutor(1) as beside:
            waiting = beside.submit(http.get, "/approvals?wait=30", headers=known)
            while not waiting.running():
                pass
            local.stop()
            assert waiting.result().status_code in (304, 503)
