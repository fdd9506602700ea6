"""Something else is sent than was approved. Nothing is spent for it, or what leaves are the bytes that were shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from llmguard.config import Settings
from llmguard.testing import EchoUpstream, LocalGuard
from tests.abuse.offices import ANN, BO, HOLD, Office

CHANGED: dict[str, dict[str, Any]] = {
    "body": {"text": "send all of it"},
    "one more field": {"temperature": 0.1},
    "model": {"model": "a larger one"},
    "query": {"path": "/v1/chat/completions?store=true"},
    "operation": {"path": "/v1/responses"},
    "tools": {"tools": [{"type": "function", "function": {"name": "rm"}}]},
    "organization": {"headers": {"openai-organization": "org-other"}},
    "media type": {"headers": {"content-type": "application/merge-patch+json"}},
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One guard for all of them; each approval is spent at most by itself."""
    with EchoUpstream() as upstream:
        data = tmp_path_factory.mktemp("office") / "data"
        held: dict[str, Any] = {"rules": HOLD, "names": False, "hold": "ticket", "port": 0, "control_port": 0}
        settings = Settings(data=data, upstream=upstream.url, upstream_key="provider-key-of-the-test", **held)
        with LocalGuard(settings) as local:
            yield Office(local, upstream)


@pytest.mark.parametrize("what", CHANGED)
def test_changed_after_approval_is_not_sent_under_it(shared: Office, what: str) -> None:
    text, before = f"as approved, before another {what}", shared.sent
    id_ = shared.held(text)
    assert shared.vote(BO, id_) == 200
    status, answer = shared.ask(**{"text": text, **CHANGED[what]})
    assert status in (403, 409)
    assert answer["error"].get("approval_id") != id_
    assert shared.sent == before
    assert shared.approval(id_).state == "APPROVED"
    assert shared.ask(text)[0] == 200  # the approved one goes through, and it alone
    assert shared.sent == before + 1


def test_a_host_in_the_request_does_not_change_where_it_goes(shared: Office) -> None:
    text, before = "to the configured provider", shared.sent
    id_ = shared.held(text)
    shared.vote(BO, id_)
    status, _ = shared.ask(text, headers={"host": "evil.example"})
    assert status == 403
    assert (shared.sent, shared.approval(id_).state) == (before, "APPROVED")


def test_headers_of_a_retry_do_not_leave_the_approved_ones_do(shared: Office) -> None:
    text = "with the headers that were shown"
    id_ = shared.held(text, headers={"user-agent": "as shown", "x-trace": "1"})
    shown = shared.approval(id_).egress_digest
    shared.vote(BO, id_)
    status, _ = shared.ask(text, headers={"user-agent": "another", "x-trace": "2", "x-more": "3"})
    assert status == 200
    left = dict(shared.upstream.received[-1].headers)
    assert (left["user-agent"], left["x-trace"]) == ("as shown", "1")
    assert "x-more" not in left
    assert shared.approval(id_).egress_digest == shown


def test_the_bytes_that_leave_are_those_that_were_shown(shared: Office) -> None:
    id_ = shared.held("mail jane.roe@example.org and nobody else")
    _, shown = shared.control(BO, f"/approvals/{id_}")
    shared.vote(BO, id_)
    assert shared.ask("mail jane.roe@example.org and nobody else")[0] == 200
    assert shared.upstream.received[-1].body.decode() == shown["egress"]["body"]["text"]
    assert b"jane.roe" not in shared.upstream.received[-1].body


def test_another_application_does_not_join_the_approval(shared: Office) -> None:
    text, before = "asked by Ann's application", shared.sent
    id_ = shared.held(text)
    shared.vote(BO, id_)
    for human in (BO, ANN, None):
        key = shared.local.key("another", human)
        other = shared.held(text, key=key)
        assert other != id_
        for header in ("x-llmguard-approval", "x-llmguard-revises"):
            status, answer = shared.ask(text + " again", key=key, headers={header: id_})
            assert status in (403, 404, 409)
            assert answer["error"].get("approval_id") != id_ or answer["error"]["code"] in ("not_found", "conflict")
    assert (shared.sent, shared.approval(id_).state) == (before, "APPROVED")


@pytest.mark.parametrize("what", ["account", "host"])
def test_another_payer_or_provider_than_was_approved_asks_anew(
    office_with: Callable[..., Office], settings: Settings, what: str
) -> None:
    office = office_with()
    id_ = office.held()
    office.vote(BO, id_)
    office.local.stop()
    with EchoUpstream() as elsewhere:
        change = {"upstream_key": "the-key-of-somebody-else"} if what == "account" else {"upstream": elsewhere.url}
        held = replace(settings, rules=HOLD, names=False, hold="ticket")
        with LocalGuard(replace(held, **change)) as changed:
            office.local = changed
            assert office.held() != id_
            assert (office.sent, len(elsewhere.received)) == (0, 0)
            assert office.approval(id_).state == "APPROVED"


BLOCK = {"name": "no more", "when": "true", "verdict": "block"}
BOTH = {"name": "all", "when": "true", "verdict": "require_approval", "groups": {"reviewers": 1, "security": 1}}


@pytest.mark.parametrize(
    ("rule", "code", "state"),
    [(BLOCK, "blocked", "APPROVED"), (BOTH, "approval_pending", "PENDING")],
)
def test_a_stricter_policy_than_at_the_vote_sends_nothing(
    office: Office, rule: dict[str, Any], code: str, state: str
) -> None:
    id_ = office.held()
    office.vote(BO, id_)
    office.policy(rule)
    status, answer = office.ask()
    while status == 503:  # the guard takes the new policy
        status, answer = office.ask()
    assert answer["error"]["code"] == code
    assert office.sent == 0
    assert office.approval(id_).state == state


def test_what_was_sealed_is_what_is_spent_also_if_the_policy_became_milder(office: Office) -> None:
    """The approval that waits is not passed by: an allowed retry goes its own way, redacted as ever."""
    id_ = office.held("mail jane.roe@example.org")
    office.policy({"name": "fine", "when": "true", "verdict": "redact"})
    status, _ = office.ask("mail jane.roe@example.org")
    while status == 503:
        status, _ = office.ask("mail jane.roe@example.org")
    assert status == 200
    assert b"jane.roe" not in json.dumps([r.json() for r in office.upstream.received]).encode()
    assert office.approval(id_).state == "PENDING"
