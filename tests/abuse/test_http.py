"""A web page, a crawler or a flood at the door: nothing is decided, and nobody else is kept waiting."""

from __future__ import annotations

from typing import Any

import pytest

from llmguard.actions.action import NAME
from llmguard.approvals import Approvals
from llmguard.cli.screen import visible
from llmguard.errors import GuardUnavailable, LLMGuardError
from llmguard.identity import normal_groups
from tests.abuse.offices import ANN, BO, Office, exchange
from tests.desks import Desk, Plane

DECIDING = ("votes", "cancel", "payload", "revise", "revoke", "break-glass")


def session(plane: Plane) -> dict[str, str]:
    return {"authorization": f"Bearer {plane.desk.session(BO)}"}


def test_a_get_decides_nothing_whatever_it_says_that_it_is(plane: Plane) -> None:
    approval = plane.desk.hold()
    vote = {"verdict": "approve", "digest": approval.egress_digest}
    headers = session(plane)
    log = plane.desk.log()
    for end in DECIDING:
        for method in ("GET", "HEAD", "OPTIONS"):
            path = f"/guard/v1/approvals/{approval.id}/{end}"
            disguised = {"x-http-method-override": "POST", "x-method-override": "POST", "_method": "POST"}
            answer = plane.call(method, path, params={**vote, "_method": "POST"}, headers={**headers, **disguised})
            assert answer.status_code in (404, 405)
    assert plane.desk.get(approval) == approval
    assert plane.desk.log() == log


@pytest.mark.parametrize("media", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_a_form_of_another_page_votes_nothing(office: Office, media: str) -> None:
    """What a page can send across origins without asking first: forms and plain text, with the browser's cookies."""
    id_ = office.held()
    body = f'{{"verdict": "approve", "digest": "{office.approval(id_).egress_digest}"}}'.encode()
    path, token = f"/guard/v1/approvals/{id_}/votes", office.sessions[BO]
    as_page = {"origin": "https://evil.example", "content-type": media, "cookie": f"session={token}"}
    assert exchange(office.local.control_port, "POST", path, as_page, body)[0] in (401, 403)
    by_bearer = {"authorization": f"Bearer {token}", "content-type": media}
    assert exchange(office.local.control_port, "POST", path, by_bearer, body)[0] == 400
    assert office.approval(id_).state == "PENDING"


def test_a_session_in_a_cookie_or_in_the_address_is_none(office: Office) -> None:
    token, port = office.sessions[BO], office.local.control_port
    for headers, path in (
        ({"cookie": f"llmguard={token}; session={token}; token={token}"}, "/guard/v1/me"),
        ({}, f"/guard/v1/me?access_token={token}&token={token}"),
        ({"x-api-key": token, "api-key": token}, "/guard/v1/me"),
    ):
        assert exchange(port, "GET", path, headers, None)[0] in (400, 401)


def test_a_page_that_knows_the_session_is_refused_by_its_origin(office: Office) -> None:
    id_ = office.held()
    body = {"verdict": "approve", "digest": office.approval(id_).egress_digest}
    for origin in ("https://evil.example", "null", f"http://127.0.0.1:{office.local.port}"):
        headers = {"authorization": f"Bearer {office.sessions[BO]}", "origin": origin}
        status, _ = exchange(office.local.control_port, "POST", f"/guard/v1/approvals/{id_}/votes", headers, body)
        assert status == 403
    assert office.approval(id_).state == "PENDING"


def test_a_name_that_is_rebound_to_this_machine_is_refused(office: Office) -> None:
    id_ = office.held()
    body = {"verdict": "approve", "digest": office.approval(id_).egress_digest}
    headers = {"authorization": f"Bearer {office.sessions[BO]}", "host": "evil.example"}
    assert exchange(office.local.control_port, "POST", f"/guard/v1/approvals/{id_}/votes", headers, body)[0] == 421
    assert office.approval(id_).state == "PENDING"


# --------------------------------------------------------------------------- floods


def test_thousands_of_held_calls_of_one_caller_do_not_starve_another(desk: Desk) -> None:
    desk.approvals = Approvals(desk.vault, max_waiting=150)
    mallory, refused = desk.principal(id_="key:mallory"), 0

    def flood(tx: Any) -> int:
        full = 0
        for i in range(2000):
            try:
                desk.approvals.hold(tx, desk.request(mallory, key=f"flood {i}"))
            except GuardUnavailable:
                full += 1
        return full

    refused = desk.store.transact(flood)
    assert refused == 1850
    held = desk.hold(desk.principal(id_="key:honest"))
    page, _ = desk.store.read(lambda tx: desk.approvals.list(tx, "default", state="PENDING", limit=200))
    assert held.id in [a.id for a in page]
    assert desk.vote(held, BO).state == "APPROVED"
    assert desk.claim(held)


def test_large_held_calls_of_one_caller_do_not_fill_the_disk(desk: Desk) -> None:
    desk.approvals = Approvals(desk.vault, max_waiting_bytes=100_000)
    body = b'{"input": "' + b"x" * 40_000 + b'"}'
    for i in range(2):
        desk.hold(key=str(i), body=body)
    with pytest.raises(GuardUnavailable, match="waits for approval already"):
        desk.hold(key="one more", body=body)
    assert desk.hold(desk.principal(id_="key:2"), body=body).state == "PENDING"


def test_what_was_decided_makes_room_again(desk: Desk) -> None:
    desk.approvals = Approvals(desk.vault, max_waiting=1)
    first = desk.hold(key="first")
    with pytest.raises(GuardUnavailable):
        desk.hold(key="second")
    desk.vote(first, BO, "deny")
    assert desk.hold(key="second").state == "PENDING"


def test_a_flood_of_votes_leaves_one_vote_and_one_entry(desk: Desk) -> None:
    approval = desk.hold(quorum=2)
    desk.vote(approval, BO)
    before = len(desk.log())

    def flood(tx: Any) -> None:
        for verdict in ("approve", "deny", "request_changes") * 100:
            try:
                desk.approvals.vote(tx, "default", approval.id, who, verdict, approval.egress_digest)
            except LLMGuardError:
                continue
            raise AssertionError("a second vote counted")

    who = desk.put(BO, "reviewers")
    before = len(desk.log())
    desk.store.transact(flood)
    assert len(desk.log()) == before
    assert len(desk.get(approval).votes) == 1


def test_a_flood_of_held_calls_through_the_proxy_answers_503_and_others_go_on(office_with: Any) -> None:
    office = office_with(max_waiting=5)
    other = office.local.key("another", BO)
    answers = [office.ask(f"flood {i}") for i in range(12)]
    assert [status for status, _ in answers] == [409] * 5 + [503] * 7
    assert answers[-1][1]["error"]["code"] == "guard_unavailable"
    assert office.held("honest", key=other)
    assert office.sent == 0


# --------------------------------------------------------------------------- names that deceive

DECEIVING = ("bo\u202egnp.exe", "bo\u200b", "b\u043e", "bo\x1b[2J", "bo\r\nbo", "bo\x00", "ｂｏ\u2066x")


@pytest.mark.parametrize("name", DECEIVING)
def test_a_key_is_not_given_a_name_that_deceives(plane: Plane, name: str) -> None:
    answer = plane.call("POST", "/guard/v1/keys", ANN, json={"name": name, "human": ANN})
    assert answer.status_code == 400
    assert name not in answer.text


@pytest.mark.parametrize("name", DECEIVING)
def test_a_group_or_an_action_is_not_given_a_name_that_deceives(name: str) -> None:
    with pytest.raises(LLMGuardError):
        normal_groups([name])
    assert not NAME.fullmatch(name)


def test_text_that_deceives_is_shown_by_its_code_points(office: Office) -> None:
    """The page of a reviewer gets JSON; the terminal gets what ``tests/cli`` says of ``visible``."""
    for name in DECEIVING:
        shown = visible(name)
        assert shown.isprintable()
        assert "\u202e" not in shown
        assert "\u200b" not in shown
    id_ = office.held("pay \u202e001 to bo")
    _, shown_ = office.control(BO, f"/approvals/{id_}")
    assert "\u202e" in shown_["egress"]["body"]["text"] or "\\u202e" in shown_["egress"]["body"]["text"]
