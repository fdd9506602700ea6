"""Webhooks: signed as Standard Webhooks asks, computed here from its specification alone."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Callable

import pytest

from llmguard.channels import Channel
from llmguard.notify import deliveries
from llmguard.notify.webhook import signatures
from tests.desks import TENANT, Desk
from tests.notify.conftest import SECRET
from tests.notify.counterparts import Answer, Counterpart, Got

Make = Callable[..., Channel]
Tell = Callable[..., None]


def verified(got: Got, secret: str = SECRET) -> bool:
    """As a receiver does it."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    content = b".".join([got.headers["webhook-id"].encode(), got.headers["webhook-timestamp"].encode(), got.body])
    wanted = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    return f"v1,{wanted}" in got.headers["webhook-signature"].split(" ")


def test_the_example_of_the_specification() -> None:
    """Values of the reference libraries' own tests (standard-webhooks, ``test_sign_function``)."""
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    made = signatures([key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_receiver_can_check_who_sent_it_and_when(desk: Desk, there: Counterpart, hook: Make, tell: Tell) -> None:
    approval = desk.hold()
    tell(hook())
    [got] = there.got
    assert verified(got)
    assert abs(int(got.headers["webhook-timestamp"]) - time.time()) < 60
    assert got.headers["content-type"] == "application/json; charset=utf-8"
    assert got.json == {
        "type": "approval.pending",
        "timestamp": "2027-01-15T08:00:00.000Z",
        "data": {
            "id": approval.id,
            "url": desk.approvals.link(approval),
            "state": "PENDING",
            "subject": "call",
            "operation": "responses.create",
            "destination": "openai",
            "groups": {"reviewers": 1},
            "escalated": None,
            "risk": {"inherent": 80, "residual": 20},
            "findings": {"PERSON": 1},
            "expires": approval.expires,
        },
    }


def test_an_altered_body_does_not_verify(desk: Desk, there: Counterpart, hook: Make, tell: Tell) -> None:
    desk.hold()
    tell(hook())
    [got] = there.got
    got.body = got.body.replace(b"PENDING", b"pending")
    assert not verified(got)


def test_a_second_try_has_the_same_id(desk: Desk, there: Counterpart, hook: Make, tell: Tell) -> None:
    there.next = [Answer(503)]
    desk.hold()
    tell(hook())
    desk.now += 10_000
    tell(hook())
    first, second = there.got
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body


def test_while_a_secret_is_replaced_both_sign(desk: Desk, there: Counterpart, hook: Make, tell: Tell) -> None:
    new = "whsec_" + base64.b64encode(b"n" * 32).decode()
    desk.hold()
    tell(hook(token=f"{new} {SECRET}"))
    [got] = there.got
    assert verified(got, new)
    assert verified(got, SECRET)


@pytest.mark.parametrize("token", ["whsec_short", "whsec_!!!", "whsec_" + "QUJD" * 40, " "])
def test_nothing_is_sent_unsigned(desk: Desk, there: Counterpart, hook: Make, tell: Tell, token: str) -> None:
    desk.hold()
    tell(hook(token=token))
    assert not there.got
    assert desk.store.read(lambda tx: deliveries.health(tx, TENANT, "siem")).problem.startswith("secret_")
