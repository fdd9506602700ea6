"""A finding that was marked wrong leaves as it is, from the moment that somebody else agreed until it is taken back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from llmguard.testing import EchoUpstream, Fakes, LocalGuard

ANN, BOB, CID = "ann@example.org", "bob@example.org", "cid@example.org"
HOLD_ALL = ({"name": "all", "verdict": "require_approval"},)


@dataclass
class Office:
    """A running guard; Ann's application, and sessions of all three."""

    local: LocalGuard
    upstream: EchoUpstream
    key: str
    sessions: dict[str, str]

    def chat(self, text: str, key: str = "") -> httpx.Response:
        body = {"model": "m", "messages": [{"role": "user", "content": text}]}
        headers = {"authorization": f"Bearer {key or self.key}", "x-llmguard-mode": "ticket"}
        with httpx.Client(trust_env=False, timeout=30) as client:
            return client.post(f"{self.local.url}/chat/completions", json=body, headers=headers)

    def sent(self) -> str:
        """What the provider was told last."""
        return bytes(self.upstream.received[-1].body).decode()

    def ask(self, who: str, path: str, body: Any = None) -> Any:
        headers = {"authorization": f"Bearer {self.sessions[who]}"}
        with httpx.Client(trust_env=False, timeout=30) as client:
            url = f"{self.local.control_url}/guard/v1{path}"
            return client.get(url, headers=headers) if body is None else client.post(url, json=body, headers=headers)

    def approve(self, who: str, approval: str) -> str:
        digest = self.ask(who, f"/approvals/{approval}").json()["digest"]
        vote = {"verdict": "approve", "digest": digest, "reason": ""}
        return str(self.ask(who, f"/approvals/{approval}/votes", vote).json()["state"])

    def except_(self, **asked: Any) -> str:
        """Bob asks for an exception and Cid approves: its id."""
        answer = self.ask(BOB, "/exceptions", {"reason": "our hotline", "seconds": 3600, **asked})
        assert answer.status_code == 202, answer.text
        assert self.approve(CID, answer.json()["approval"]["id"]) == "EXECUTED"
        return str(self.ask(BOB, "/exceptions").json()["exceptions"][-1]["id"])

    def leaves(self, kind: str) -> list[dict[str, Any]]:
        sql = "SELECT leaf FROM audit_entries WHERE kind = ? ORDER BY idx"
        rows = self.local.guard.store.read(lambda tx: tx.all(sql, kind))
        return [json.loads(bytes(row["leaf"]))["details"] for row in rows]


@pytest.fixture
def office(local_with: Callable[..., LocalGuard], upstream: EchoUpstream) -> Iterator[Callable[..., Office]]:
    def start(**changes: Any) -> Office:
        local = local_with(names=False, **changes)
        sessions = {}
        for who in (ANN, BOB, CID):
            code = local.person(who)
            with httpx.Client(trust_env=False) as client:
                sessions[who] = client.post(f"{local.control_url}/guard/v1/login", json={"code": code}).json()["token"]
        return Office(local, upstream, local.key("app", ANN), sessions)

    return start


def test_it_leaves_as_it_is_at_once_and_is_redacted_again_at_once(office: Callable[..., Office], fakes: Fakes) -> None:
    desk, hotline, private = office(), fakes.email(), fakes.email()
    text = f"{hotline} and {private}"
    assert desk.chat(text).status_code == 200
    assert hotline not in desk.sent()
    id_ = desk.except_(type="EMAIL", value=hotline)
    assert desk.chat(text).status_code == 200
    assert hotline in desk.sent()
    assert private not in desk.sent()
    decided = desk.leaves("call.decided")[-1]
    assert (decided["findings"], decided["excepted"]) == ({"EMAIL": 1}, {id_: 1})
    assert desk.ask(CID, f"/exceptions/{id_}/remove", {}).status_code == 200
    assert desk.chat(text).status_code == 200
    assert hotline not in desk.sent()
    assert "excepted" not in desk.leaves("call.decided")[-1]


def test_a_placeholder_of_a_held_call_is_enough_and_counts_for_such_calls(
    office: Callable[..., Office], fakes: Fakes
) -> None:
    desk, hotline = office(rules=HOLD_ALL), fakes.email()
    held = desk.chat(f"to {hotline}").json()["error"]["approval_id"]
    shown = desk.ask(BOB, f"/approvals/{held}").json()["egress"]["body"]["text"]
    placeholder = shown[shown.index("[EMAIL_") : shown.index("]", shown.index("[EMAIL_")) + 1]
    assert desk.ask(BOB, "/exceptions", {"approval": held, "placeholder": "[EMAIL_x]", "reason": "x", "seconds": 60})
    desk.except_(approval=held, placeholder=placeholder)
    [told] = desk.ask(BOB, "/exceptions").json()["exceptions"]
    assert (told["type"], told["operation"]) == ("EMAIL", "chat.completions.create")
    assert told["principal"].startswith("key:")
    again = desk.chat(f"again to {hotline}").json()["error"]["approval_id"]
    seen = desk.ask(BOB, f"/approvals/{again}").json()
    assert hotline in seen["egress"]["body"]["text"]
    assert (seen["findings"], seen["exceptions"]) == ({}, [told["id"]])
    other = desk.local.key("other", ANN)
    third = desk.chat(f"third to {hotline}", other).json()["error"]["approval_id"]
    assert hotline not in desk.ask(BOB, f"/approvals/{third}").json()["egress"]["body"]["text"]


def test_what_was_approved_under_one_is_not_sent_once_that_is_over(office: Callable[..., Office], fakes: Fakes) -> None:
    desk, hotline = office(rules=HOLD_ALL), fakes.email()
    id_ = desk.except_(type="EMAIL", value=hotline)
    held = desk.chat(f"to {hotline}").json()["error"]["approval_id"]
    assert desk.approve(BOB, held) == "APPROVED"
    assert desk.ask(CID, f"/exceptions/{id_}/remove", {}).status_code == 200
    answer = desk.chat(f"to {hotline}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "approval_expired")
    assert desk.upstream.received == []


def test_what_the_settings_do_not_allow_is_refused(office: Callable[..., Office], fakes: Fakes) -> None:
    desk = office(longest_exception=3600, secret_exceptions=False)
    asked = {"type": "EMAIL", "value": fakes.email(), "reason": "x", "seconds": 3600}
    assert desk.ask(BOB, "/exceptions", asked).status_code == 202
    for more in (
        {"seconds": 3601},
        {"secret": True},
        {"value": ""},
        {"type": "email"},
        {"approval": "01ARZ3NDEKTSV4RRFFQ69G5FAV", "placeholder": "[X]"},
    ):
        assert desk.ask(BOB, "/exceptions", asked | more).status_code == 400, more
    assert desk.ask(BOB, "/exceptions", {"reason": "x", "seconds": 60}).status_code == 400
    for name in ("type", "value"):
        assert desk.ask(BOB, "/exceptions", {n: v for n, v in asked.items() if n != name}).status_code == 400


def test_text_commands_know_no_exceptions(office: Callable[..., Office], fakes: Fakes) -> None:
    desk, hotline = office(), fakes.email()
    desk.except_(type="EMAIL", value=hotline)
    assert desk.local.guard.scan(hotline)
    assert hotline not in desk.local.guard.redact(hotline).text
