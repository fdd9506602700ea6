"""Socket Mode over a real WebSocket: the same acts, acknowledged, and a connection that comes back."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from llmguard.channels import Channel
from llmguard.model import Approval
from llmguard.notify.interactions import Interactions
from llmguard.notify.socketmode import SocketMode, ours
from tests.desks import BO, TENANT, Desk
from tests.notify.counterparts import APP, Answer, Counterpart, pressed, submitted
from tests.notify.test_interactions import BO_THERE, link

Make = Callable[..., Channel]


@contextmanager
def listening(desk: Desk, *channels: Channel, pause: Callable[[int], int] = lambda failures: 1) -> Iterator[None]:
    """A connection that is kept open in a thread of its own."""

    async def served() -> None:
        acts = Interactions(desk.store, desk.vault, desk.approvals, TENANT)
        task = asyncio.create_task(SocketMode(desk.store, acts, channels, pause).run())
        await stop.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    loop = asyncio.new_event_loop()
    stop = asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(served()))
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


@pytest.fixture
def channel(slack: Make) -> Channel:
    return slack(socket=True, app_token=APP, signing_secret=None)


@pytest.fixture
def connected(desk: Desk, there: Counterpart, channel: Channel) -> Iterator[Counterpart]:
    link(desk, BO, BO_THERE)
    with listening(desk, channel):
        there.wait(lambda: there.connections)
        yield there


def envelope(id_: str, payload: Any, type_: str = "interactive") -> str:
    return json.dumps({"envelope_id": id_, "type": type_, "payload": payload, "accepts_response_payload": True})


def value(approval: Approval) -> str:
    return json.dumps(["reviews", approval.id, approval.version, approval.egress_digest])


def test_a_button_is_acknowledged_and_counts(desk: Desk, connected: Counterpart) -> None:
    approval = desk.hold()
    connected.push(envelope("e1", pressed(value(approval), "approve")))
    connected.wait(lambda: connected.called("chat.postEphemeral"))
    assert connected.acks == [{"envelope_id": "e1"}]
    assert desk.get(approval).state == "APPROVED"
    opened = [got for got in connected.got if got.path == "/api/apps.connections.open"]
    assert opened[0].headers["authorization"] == f"Bearer {APP}"


def test_an_envelope_that_comes_again_acts_once(desk: Desk, connected: Counterpart) -> None:
    approval = desk.hold(quorum=2)
    for id_ in ("e1", "e1", "e2"):
        connected.push(envelope(id_, pressed(value(approval), "approve")))
    connected.wait(lambda: len(connected.called("chat.postEphemeral")) >= 2)
    assert {ack["envelope_id"] for ack in connected.acks} == {"e1", "e2"}
    assert len(connected.acks) == 2
    assert sum("voted on this already" in said["text"] for said in connected.called("chat.postEphemeral")) == 1


def test_windows_and_commands_are_answered_in_the_acknowledgement(desk: Desk, connected: Counterpart) -> None:
    approval = desk.hold()
    desk.vote(approval, BO)
    fields = {"command": "/llmguard", "text": "help", "team_id": "T0000000001", "user_id": BO_THERE}
    connected.push(envelope("e1", submitted(value(approval), "no")))
    connected.push(envelope("e2", fields, "slash_commands"))
    connected.wait(lambda: len(connected.acks) == 2)
    told = {ack["envelope_id"]: ack["payload"] for ack in connected.acks}
    assert told["e1"]["response_action"] == "errors"
    assert told["e2"]["response_type"] == "ephemeral"


def test_a_stranger_is_not_acknowledged(desk: Desk, connected: Counterpart) -> None:
    approval = desk.hold()
    connected.push(envelope("e1", pressed(value(approval), "approve", team="T9999999999")))
    connected.push(envelope("e2", {"event": {"type": "message", "text": "x"}}, "events_api"))
    connected.wait(lambda: connected.acks)
    assert connected.acks == [{"envelope_id": "e2"}]
    assert desk.get(approval) == approval


@pytest.mark.parametrize("text", ["{", "[]", "null", "[" * 50_000, '{"type": "disconnect"}', "x" * 300_000])
def test_what_is_no_envelope_ends_the_connection_and_another_is_opened(
    desk: Desk, connected: Counterpart, text: str
) -> None:
    connected.push(text)
    connected.wait(lambda: connected.connections == 2)
    approval = desk.hold()
    connected.push(envelope("e1", pressed(value(approval), "approve")))
    connected.wait(lambda: connected.acks)
    assert desk.get(approval).state == "APPROVED"


def test_a_connection_that_slack_ends_is_opened_again(connected: Counterpart) -> None:
    connected.hang_up()
    connected.wait(lambda: connected.connections == 2)


def test_while_slack_does_not_answer_it_is_asked_ever_more_slowly(
    desk: Desk, there: Counterpart, channel: Channel
) -> None:
    asked: list[int] = []
    there.next = [Answer(503), Answer(body={"ok": False, "error": "invalid_auth"}), Answer(302)]

    def pause(failures: int) -> int:
        asked.append(failures)
        return 1

    with listening(desk, channel, pause=pause):
        there.wait(lambda: there.connections)
    assert asked == [1, 2, 3]


def test_a_socket_of_somebody_else_is_not_opened(desk: Desk, there: Counterpart, channel: Channel) -> None:
    there.socket_url = "wss://slack.com.evil.example/link"
    with listening(desk, channel):
        there.wait(lambda: len(there.called("apps.connections.open")) >= 2)
    assert there.connections == 0


@pytest.mark.parametrize(
    ("url", "api", "fine"),
    [
        ("wss://wss-primary.slack.com/link/?ticket=x", "https://slack.com/api/", True),
        ("wss://slack.com/link", "https://slack.com/api/", True),
        ("ws://wss-primary.slack.com/link", "https://slack.com/api/", False),
        ("https://wss-primary.slack.com/link", "https://slack.com/api/", False),
        ("wss://evilslack.com/link", "https://slack.com/api/", False),
        ("wss://slack.com.evil.example/", "https://slack.com/api/", False),
        ("wss://slack.com@evil.example/", "https://slack.com/api/", False),
        ("wss://u@wss.slack.com/", "https://slack.com/api/", False),
        ("wss://[::1/", "https://slack.com/api/", False),
        ("wss://wss.slack.com/x\r\nHost: y", "https://slack.com/api/", False),
        ("wss:///x", "https://slack.com/api/", False),
        ("ws://127.0.0.1:5/x", "http://127.0.0.1:4/api/", True),
        ("ws://10.0.0.1:5/x", "http://127.0.0.1:4/api/", False),
    ],
)
def test_sockets_are_of_the_apis_own_domain(url: str, api: str, fine: bool) -> None:
    assert ours(url, api) == fine
