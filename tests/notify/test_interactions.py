"""Buttons of Slack over HTTP: who may press, what it is worth, and everything that is not believed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import httpx
import pytest
from slack_sdk.signature import SignatureVerifier

from llmguard.channels import Channel
from llmguard.model import Approval, Risk
from llmguard.notify import links
from llmguard.notify.links import Account
from llmguard.notify.slack import ticket
from tests.desks import ANN, BO, CY, DEE, TENANT, Desk, Plane, control_plane
from tests.notify.counterparts import SIGNING, Counterpart, command, form, pressed, signed, submitted

Make = Callable[..., Channel]
BO_THERE, CY_THERE, DEE_THERE, ANN_THERE = "U0000000001", "U0000000002", "U0000000003", "U0000000004"
PATH = "/guard/v1/slack"


class Slack:
    """A workspace whose requests arrive at a control plane."""

    def __init__(self, plane: Plane, there: Counterpart, channel: Channel) -> None:
        self.plane = plane
        self.there = there
        self.channel = channel
        self.desk = plane.desk
        self.at = self.desk.now // 1000
        self._count = 0

    def send(self, body: bytes, headers: dict[str, str] | None = None) -> httpx.Response:
        return self.plane.call("POST", PATH, content=body, headers=headers or signed(body, self.at))

    def press(self, approval: Approval, action: str = "approve", **more: Any) -> httpx.Response:
        """Each press is another request, as Slack's trigger makes it."""
        self._count += 1
        body = form(pressed(self.value(approval), action, trigger_id=f"{self._count}.2.3", **more))
        return self.send(body)

    def value(self, approval: Approval, **other: Any) -> str:
        """What the card's buttons say."""
        name, id_, version, digest = [self.channel.name, approval.id, approval.version, approval.egress_digest]
        said = {"name": name, "id": id_, "version": version, "digest": digest, **other}
        return json.dumps([said["name"], said["id"], said["version"], said["digest"]])

    def whispers(self, count: int = 1) -> list[str]:
        self.there.wait(lambda: len(self.there.called("chat.postEphemeral")) >= count)
        return [called["text"] for called in self.there.called("chat.postEphemeral")]

    def votes(self, approval: Approval) -> list[tuple[str, str, str]]:
        return [(v.human, v.verdict, v.reason) for v in self.desk.get(approval).votes]


@pytest.fixture
def workspace(desk: Desk, there: Counterpart, slack: Make) -> Iterator[Slack]:
    """Bo, Cy, Dee and Ann are linked."""
    channel = slack(notify_only_above=90)
    for email, account in ((BO, BO_THERE), (CY, CY_THERE), (DEE, DEE_THERE), (ANN, ANN_THERE)):
        link(desk, email, account)
    with control_plane(desk, channels=(channel,)) as plane:
        yield Slack(plane, there, channel)


def link(desk: Desk, email: str, account: str, team: str = "T0000000001") -> None:
    def work(tx: Any) -> None:
        from llmguard import identity

        who = identity.active_person(tx, desk.vault, TENANT, email)
        assert who
        code, _ = links.code(tx, desk.vault, who)
        links.link(tx, desk.vault, TENANT, code, Account(team, account))

    desk.store.transact(work)


# --------------------------------------------------------------------------- what a button is worth


def test_a_button_is_the_vote_of_the_person_whose_account_it_is(workspace: Slack) -> None:
    desk, approval = workspace.desk, workspace.desk.hold()
    answer = workspace.press(approval)
    assert (answer.status_code, answer.content) == (200, b"")
    assert workspace.votes(approval) == [(BO, "approve", "")]
    assert desk.get(approval).state == "APPROVED"
    assert workspace.whispers() == ["Your vote counts."]
    assert desk.log().count("channel.vote") == 1
    assert desk.claim(approval).digest() == approval.egress_digest


def test_a_quorum_can_be_half_of_slack_and_half_of_the_inbox(workspace: Slack) -> None:
    approval = workspace.desk.hold(quorum=2)
    workspace.press(approval)
    assert workspace.whispers() == ["Your vote counts; more people are needed."]
    body = {"verdict": "approve", "digest": approval.egress_digest}
    path = f"/guard/v1/approvals/{approval.id}/votes"
    assert workspace.plane.call("POST", path, CY, json=body).json()["state"] == "APPROVED"


def test_a_denial_ends_it(workspace: Slack) -> None:
    approval = workspace.desk.hold()
    workspace.press(approval, "deny")
    assert workspace.desk.get(approval).state == "DENIED"


def test_changes_are_requested_with_a_reason_in_a_window(workspace: Slack) -> None:
    approval = workspace.desk.hold()
    assert workspace.press(approval, "request_changes").status_code == 200
    workspace.there.wait(lambda: workspace.there.called("views.open"))
    [opened] = workspace.there.called("views.open")
    assert opened["trigger_id"] == "1.2.3"
    assert workspace.votes(approval) == []
    answer = workspace.send(form(submitted(opened["view"]["private_metadata"], "leave the names out <!here>")))
    assert (answer.status_code, answer.content) == (200, b"")
    assert workspace.votes(approval) == [(BO, "request_changes", "leave the names out <!here>")]
    assert workspace.desk.get(approval).state == "CHANGES_REQUESTED"


def test_a_window_that_comes_too_late_says_so_in_the_window(workspace: Slack) -> None:
    approval = workspace.desk.hold()
    workspace.desk.vote(approval, CY)
    answer = workspace.send(form(submitted(workspace.value(approval), "no")))
    assert answer.json()["response_action"] == "errors"
    assert "this approval is APPROVED" in answer.json()["errors"]["reason"]


def test_opening_the_inbox_decides_nothing(workspace: Slack) -> None:
    approval = workspace.desk.hold()
    assert workspace.press(approval, "open").status_code == 200
    assert workspace.votes(approval) == []


def test_the_cards_own_buttons_say_what_is_expected_here(desk: Desk, slack: Make) -> None:
    from llmguard.notify.card import card

    approval = desk.hold()
    made = desk.store.read(lambda tx: card(tx, desk.vault, desk.approvals, approval, slack()))
    assert json.loads(ticket(made, slack())) == ["reviews", approval.id, 1, approval.egress_digest]


# --------------------------------------------------------------------------- who may not


def refused(workspace: Slack, approval: Approval, words: str, **more: Any) -> None:
    before = workspace.desk.get(approval)
    assert workspace.press(approval, **more).status_code == 200
    assert words in workspace.whispers()[-1]
    assert workspace.desk.get(approval) == before


def test_an_account_that_nobody_linked_decides_nothing(workspace: Slack) -> None:
    refused(workspace, workspace.desk.hold(), "this account is nobody's here", user="U0000000009")


def test_whoever_asked_does_not_decide(workspace: Slack) -> None:
    refused(workspace, workspace.desk.hold(), "somebody else decides", user=ANN_THERE)


def test_somebody_of_another_group_does_not_learn_that_it_exists(workspace: Slack) -> None:
    refused(workspace, workspace.desk.hold(), "there is no such approval", user=DEE_THERE)


def test_a_reviewer_who_lost_the_group_decides_nothing(workspace: Slack) -> None:
    approval = workspace.desk.hold()
    workspace.desk.put(BO, "security")
    refused(workspace, approval, "there is no such approval")


def test_a_person_who_was_deactivated_decides_nothing(workspace: Slack) -> None:
    approval = workspace.desk.hold()
    workspace.desk.put(BO, "reviewers", active=False)
    refused(workspace, approval, "not active")


def test_a_link_that_was_edited_in_the_database_is_none(workspace: Slack) -> None:
    approval = workspace.desk.hold()
    workspace.desk.edit("UPDATE links SET account = 'U0000000009' WHERE email = ?", CY)
    refused(workspace, approval, "nobody's", user="U0000000009")


@pytest.mark.parametrize("more", [{"fresh": 600}, {"groups": (("reviewers", 1),), "fresh": 30}])
def test_what_needs_a_fresh_login_is_not_decided_here(workspace: Slack, more: dict[str, Any]) -> None:
    refused(workspace, workspace.desk.hold(**more), "fresh login")


def test_what_is_too_risky_is_not_decided_here_whatever_the_card_showed(workspace: Slack) -> None:
    request = replace(workspace.desk.request(), risk=Risk(91, 10))
    approval = workspace.desk.store.transact(lambda tx: workspace.desk.approvals.hold(tx, request))
    refused(workspace, approval, "its risk is above 90")
    answer = workspace.send(form(submitted(workspace.value(approval), "no")))
    assert "its risk is above 90" in answer.json()["errors"]["reason"]


def test_an_action_is_not_decided_here(workspace: Slack) -> None:
    request = replace(workspace.desk.request(), subject="action")
    approval = workspace.desk.store.transact(lambda tx: workspace.desk.approvals.hold(tx, request))
    refused(workspace, approval, "decided in the inbox")


# --------------------------------------------------------------------------- too late, twice, something else


def test_two_buttons_at_once_are_one_decision(workspace: Slack) -> None:
    approval = workspace.desk.hold()
    presses = [(BO_THERE, "approve"), (CY_THERE, "deny"), (BO_THERE, "deny"), (CY_THERE, "approve")]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda p: workspace.press(approval, p[1], user=p[0]), presses))
    assert [a.status_code for a in answers] == [200] * 4
    assert len(workspace.votes(approval)) == 1
    assert workspace.whispers(4).count("Your vote counts.") == 1


def test_one_person_votes_once(workspace: Slack) -> None:
    approval = workspace.desk.hold(quorum=2)
    workspace.press(approval)
    workspace.press(approval)
    assert "you have voted on this already" in workspace.whispers(2)[1]


def test_an_approval_that_expired_is_not_decided(workspace: Slack) -> None:
    approval = workspace.desk.hold(expires_in=60)
    workspace.desk.now += 61_000
    assert workspace.press(approval).status_code == 200
    assert "EXPIRED" in workspace.whispers()[0]
    assert workspace.votes(approval) == []


def test_a_card_of_before_the_escalation_is_not_decided(workspace: Slack) -> None:
    approval = workspace.desk.hold(escalate_after=60, escalate_to="security")
    workspace.desk.now += 61_000
    workspace.desk.store.transact(workspace.desk.approvals.sweep)
    workspace.press(approval)
    assert "changed since it was shown" in workspace.whispers()[0]


@pytest.mark.parametrize(
    ("other", "status"),
    [
        ({"digest": "0" * 64}, 200),
        ({"version": 2}, 200),
        ({"id": "0" * 26}, 200),
        ({"name": "another"}, 403),
        ({"digest": "0" * 63}, 400),
        ({"version": "1"}, 400),
        ({"version": True}, 400),
        ({"id": "../x"}, 400),
        ({"id": None}, 400),
    ],
)
def test_a_button_of_another_card_decides_nothing(workspace: Slack, other: dict[str, Any], status: int) -> None:
    approval = workspace.desk.hold()
    answer = workspace.send(form(pressed(workspace.value(approval, **other), "approve")))
    assert answer.status_code == status
    assert workspace.votes(approval) == []


# --------------------------------------------------------------------------- where from


@pytest.mark.parametrize(
    "more",
    [
        {"team": "T9999999999"},
        {"user_team": "T9999999999"},  # a guest of a shared conversation
        {"conversation": "C9999999999"},
        {"conversation": None},
    ],
)
def test_unknown_workspaces_conversations_and_guests_decide_nothing(workspace: Slack, more: dict[str, Any]) -> None:
    approval = workspace.desk.hold()
    assert workspace.press(approval, **more).status_code == 403
    assert workspace.votes(approval) == []


def test_another_workspace_of_the_same_app_has_cards_of_its_own(desk: Desk, there: Counterpart, slack: Make) -> None:
    ours, theirs = slack("ours"), slack("theirs", team="T0000000002")
    link(desk, BO, BO_THERE, "T0000000002")
    with control_plane(desk, channels=(ours, theirs)) as plane:
        workspace = Slack(plane, there, ours)
        approval = desk.hold()
        assert workspace.press(approval, team="T0000000002").status_code == 403
        assert workspace.votes(approval) == []


# --------------------------------------------------------------------------- who signed it


def test_the_signature_is_as_slacks_own_library_makes_it(workspace: Slack) -> None:
    approval = workspace.desk.hold()
    body = form(pressed(workspace.value(approval), "approve"))
    made = SignatureVerifier(SIGNING).generate_signature(timestamp=str(workspace.at), body=body)
    assert made == signed(body, workspace.at)["x-slack-signature"]
    headers = {"x-slack-request-timestamp": str(workspace.at), "x-slack-signature": str(made)}
    assert workspace.send(body, headers).status_code == 200
    assert workspace.votes(approval) == [(BO, "approve", "")]


def test_a_request_that_is_forged_late_or_altered_is_refused(workspace: Slack) -> None:
    approval = workspace.desk.hold()
    body, at = form(pressed(workspace.value(approval), "approve")), workspace.at
    fine = signed(body, at)
    stamp, mark = "x-slack-request-timestamp", "x-slack-signature"
    wrong: list[tuple[bytes, Any]] = [
        (body, {"content-type": fine["content-type"]}),
        (body, {stamp: fine[stamp]}),
        (body, {mark: fine[mark]}),
        (body, signed(body, at, "another secret")),
        (body, fine | {mark: fine[mark].upper()}),
        (body, fine | {mark: fine[mark][3:]}),
        (body, fine | {mark: fine[mark][:-1]}),
        (body, fine | {mark: ""}),
        (body, {**fine, mark: "v0=\xe9".encode("latin-1")}),
        (body, fine | {stamp: str(at + 1)}),
        (body + b"&x=1", fine),
        (body[:-1], fine),
        (b"", fine),
        (body, signed(body, at - 301)),
        (body, signed(body, at + 301)),
    ]
    for content, headers in wrong:
        answer = workspace.send(content, headers)
        assert answer.status_code == 401
        assert answer.headers["content-type"] == "application/problem+json"
    assert workspace.votes(approval) == []
    assert workspace.send(body).status_code == 200


@pytest.mark.parametrize("stamp", ["", "soon", "1e9", "-1", "1800000000.5", "١٨٠٠٠٠٠٠٠٠", "9" * 30])
def test_a_timestamp_that_is_no_whole_number_is_refused(workspace: Slack, stamp: str) -> None:
    body = command("help")
    headers: Any = signed(body, workspace.at) | {"x-slack-request-timestamp": stamp.encode()}
    assert workspace.send(body, headers).status_code == 401


def test_two_signatures_are_none(workspace: Slack) -> None:
    body = command("help")
    fine = signed(body, workspace.at)
    pairs = [*fine.items(), ("x-slack-signature", "v0=" + "0" * 64)]
    with httpx.Client(base_url=workspace.plane.url, trust_env=False) as client:
        assert client.post(PATH, content=body, headers=pairs).status_code == 401


def test_a_request_that_is_replayed_acts_once(workspace: Slack) -> None:
    approval = workspace.desk.hold(quorum=2)
    body = form(pressed(workspace.value(approval), "approve"))
    headers = signed(body, workspace.at)
    assert [workspace.send(body, headers).status_code for _ in range(3)] == [200, 401, 401]
    assert len(workspace.whispers()) == 1


def test_a_replay_is_remembered_by_all_processes_and_after_a_restart(
    desk: Desk, there: Counterpart, slack: Make
) -> None:
    body = command("help")
    headers = signed(body, desk.now // 1000)
    answers = []
    for _ in range(2):
        with control_plane(desk, channels=(slack(),)) as plane:
            answers.append(plane.call("POST", PATH, content=body, headers=headers).status_code)
    assert answers == [200, 401]


@pytest.mark.parametrize("more", [{"signing_secret": None}, {"socket": True, "app_token": "x", "signing_secret": None}])
def test_a_channel_without_a_signing_secret_takes_nothing_over_http(
    desk: Desk, slack: Make, more: dict[str, Any]
) -> None:
    body = command("help")
    with control_plane(desk, channels=(slack(**more),)) as plane:
        for secret in ("", "None", SIGNING):
            answer = plane.call("POST", PATH, content=body, headers=signed(body, desk.now // 1000, secret))
            assert answer.status_code == 401


def test_where_no_slack_is_configured_nothing_is_taken(desk: Desk) -> None:
    body = command("help")
    with control_plane(desk) as plane:
        assert plane.call("POST", PATH, content=body, headers=signed(body, desk.now // 1000)).status_code == 401


# --------------------------------------------------------------------------- what it is made of


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"payload=",
        b"payload=%FF",
        b"\xff\xfe",
        b"payload=[]",
        b"payload=null",
        b"payload={}",
        b"payload={",
        b"payload=" + b"[" * 50_000,
        b"payload={}&payload={}",
        b"a=1&" * 60 + b"command=x",
        b"command=/llmguard&text=x",
        form({"type": "block_actions", "team": {"id": "T0000000001"}, "user": {"id": "U0000000001"}}),
        form({"type": "block_actions", "team": "T0000000001", "user": ["U0000000001"], "actions": [1]}),
        form(pressed("[]", "approve")),
        form(pressed("x" * 100_000, "approve")),
        form(pressed("[" * 50_000, "approve")),
        form(pressed(json.dumps(["reviews", "0" * 26, 1, "0" * 64]), "break_glass")),
        form(pressed(json.dumps(["reviews", "0" * 26, 1, "0" * 64]), "approve", user="<!here>")),
        form(pressed(json.dumps(["reviews", "0" * 26, 1, "0" * 64]), "approve") | {"type": "shortcut"}),
        form(submitted("{}", "no")),
        form(submitted("[]", "no") | {"view": {"callback_id": "another"}}),
        form(submitted("[]", "no") | {"view": []}),
    ],
)
def test_what_slack_would_not_send_is_refused_though_it_is_signed(workspace: Slack, body: bytes) -> None:
    answer = workspace.send(body)
    assert answer.status_code in (400, 403), answer.text
    assert workspace.plane.call("GET", "/healthz").status_code == 200


def test_a_body_without_end_is_refused_before_its_end(workspace: Slack) -> None:
    assert workspace.send(b"payload=" + b"x" * (300 * 1024)).status_code == 413


def test_a_signed_request_of_a_foreign_page_is_refused(workspace: Slack) -> None:
    body = command("help")
    headers = signed(body, workspace.at) | {"origin": "https://evil.example"}
    assert workspace.send(body, headers).status_code == 403


def test_get_does_nothing(workspace: Slack) -> None:
    assert workspace.plane.call("GET", PATH).status_code == 405
