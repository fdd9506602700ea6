"""People's names through a whole guard on loopback."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import openai
import pytest

from llmguard import Guard, wrap
from llmguard.config import Settings
from llmguard.detection.names import Names, Reading
from llmguard.testing import EchoUpstream, LocalGuard

LONG = "Alice Walker asked Bob Miller about the invoice again. "


@pytest.fixture
def client() -> Iterator[Callable[..., openai.OpenAI]]:
    """Makes clients of a guard; all are closed at the end."""
    with ExitStack() as stack:

        def make(local: LocalGuard, human: str | None = None) -> openai.OpenAI:
            made = openai.OpenAI(base_url=local.url, api_key=local.key("app", human), max_retries=0)
            return stack.enter_context(made)

        yield make


def said(answer: Any) -> str:
    return str(answer.choices[0].message.content)


def test_alice_and_bob_leave_as_two_people_and_come_back_as_themselves(
    client: Callable[..., openai.OpenAI], local: LocalGuard, upstream: EchoUpstream
) -> None:
    text = "Bob Miller owes Alice Walker forty dollars. Whom does Alice Walker have to remind?"
    answer = client(local).chat.completions.create(model="m", messages=[{"role": "user", "content": text}])
    sent = json.loads(upstream.received[-1].body)["messages"][0]["content"]
    assert "Alice" not in sent
    assert "Miller" not in sent
    words = [w.strip(".?") for w in sent.split() if w.startswith("[PERSON_")]
    assert len(words) == 3
    assert words[1] == words[2] != words[0]
    assert text in said(answer)


def test_names_leave_redacted_from_a_wrapped_client(settings: Settings, upstream: EchoUpstream) -> None:
    plain = openai.OpenAI(base_url=upstream.url + "/v1", api_key="k")
    with Guard(settings) as guard, wrap(plain, guard=guard) as wrapped:
        answer = wrapped.chat.completions.create(model="m", messages=[{"role": "user", "content": LONG}])
    assert b"Alice" not in upstream.received[-1].body
    assert LONG.strip() in said(answer)


def decisions(local: LocalGuard) -> list[Any]:
    rows = local.guard.store.read(lambda tx: tx.all("SELECT leaf FROM audit_entries WHERE kind = 'call.decided'"))
    return [json.loads(bytes(row["leaf"])) for row in rows]


def test_what_the_budget_did_not_reach_proceeds_at_inference_and_is_held_in_training(
    client: Callable[..., openai.OpenAI], local_with: Callable[..., LocalGuard], upstream: EchoUpstream
) -> None:
    local = local_with(names_budget=480)
    local.person("ann@example.org")
    app = client(local, "ann@example.org")
    app.chat.completions.create(model="m", messages=[{"role": "user", "content": LONG * 40}])
    assert len(upstream.received) == 1
    with pytest.raises(openai.APIStatusError) as held:
        app.fine_tuning.jobs.create(
            model="m",
            training_file="file-1",
            metadata={"note": LONG * 40},
            extra_headers={"x-llmguard-mode": "ticket"},
        )
    assert held.value.code in ("approval_pending", "approval_impossible")
    assert len(upstream.received) == 1
    assert '"names"' in json.dumps(decisions(local))


def test_overload_is_a_503_that_may_be_tried_again(
    client: Callable[..., openai.OpenAI], local_with: Callable[..., LocalGuard], upstream: EchoUpstream
) -> None:
    class Slow(Names):
        open = threading.Event()

        def read(self, reading: Reading, window: tuple[int, int]) -> None:
            self.open.wait(30)
            super().read(reading, window)

    local = local_with(names_budget=480, names=True)
    slow = Slow()
    local.guard.scanner.names = slow
    app = client(local)
    answers: list[Any] = []

    def ask(i: int) -> None:
        try:
            answers.append(
                app.chat.completions.create(model="m", messages=[{"role": "user", "content": f"{i} {LONG * 8}"}])
            )
        except openai.APIStatusError as e:
            answers.append(e)
            slow.open.set()

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    refused = [a for a in answers if isinstance(a, openai.APIStatusError)]
    assert {(a.status_code, a.code) for a in refused} == {(503, "guard_unavailable")}
    assert len(answers) == 12
    assert len(upstream.received) == 12 - len(refused)


def test_readyz_tells_whether_names_are_loaded(local: LocalGuard) -> None:
    local.guard.scanner.names.load()  # type: ignore[union-attr]
    connection = http.client.HTTPConnection("127.0.0.1", local.port, timeout=20)
    connection.request("GET", "/readyz")
    assert connection.getresponse().status == 200
    connection.close()
