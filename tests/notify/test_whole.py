"""A whole guard: a call is held, Slack shows a card, somebody presses a button there, and the call is answered."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai

from llmguard import identity
from llmguard.channels import Channel
from llmguard.notify import links
from llmguard.notify.links import Account
from llmguard.store import Transaction
from llmguard.testing import Fakes, LocalGuard
from tests.notify.counterparts import Counterpart, form, pressed, signed

RULE = {"name": "all", "when": "true", "verdict": "require_approval", "reason": "to be looked at"}


def test_a_held_call_is_approved_by_a_button_and_the_card_follows(
    local_with: Callable[..., LocalGuard], there: Counterpart, slack: Callable[..., Channel], fakes: Fakes
) -> None:
    local = local_with(channels=(slack(excerpts=True),), rules=(RULE,), names=False)
    for email in ("ann@example.com", "bo@example.com"):
        local.person(email)
    guard, secret = local.guard, fakes.email()

    def link(tx: Transaction) -> None:
        who = identity.active_person(tx, guard.vault, "default", "bo@example.com")
        assert who
        code, _ = links.code(tx, guard.vault, who)
        links.link(tx, guard.vault, "default", code, Account("T0000000001", "U0000000001"))

    guard.store.transact(link)
    client = openai.OpenAI(base_url=local.url, api_key=local.key("app", "ann@example.com"), max_retries=0)
    with client, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client.responses.create, model="m", input=f"Write to {secret}, please")
        there.wait(lambda: there.called("chat.postMessage"))
        [card] = there.called("chat.postMessage")
        assert secret not in json.dumps(card)
        assert "Write to [EMAIL_" in json.dumps(card)
        [actions] = [block for block in card["blocks"] if block["type"] == "actions"]
        body = form(pressed(actions["elements"][0]["value"], "approve"))
        headers = signed(body, int(time.time()))
        said = httpx.post(f"{local.control_url}/guard/v1/slack", content=body, headers=headers, trust_env=False)
        assert said.status_code == 200
        assert secret in answer.result(30).output_text
    there.wait(lambda: any(u["blocks"][0]["text"]["text"] == "Approved and done" for u in there.called("chat.update")))
    last = there.called("chat.update")[-1]
    assert "bo@example.com approved" in json.dumps(last)
    assert "EMAIL_" not in json.dumps(last["blocks"]), "the excerpt goes with the question"
    kinds = [r["kind"] for r in guard.store.read(lambda tx: tx.all("SELECT kind FROM audit_entries ORDER BY idx"))]
    assert kinds.index("notification.excerpt") < kinds.index("channel.vote")
