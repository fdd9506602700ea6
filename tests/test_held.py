"""Held calls over real sockets with the real client: what the application gets, and what the provider sees of it."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import openai
import pytest

import llmguard
from llmguard import errors
from llmguard.approvals import record
from llmguard.guard import Guard
from llmguard.identity import Person
from llmguard.model import Approval
from llmguard.testing import EchoUpstream, Fakes, LocalGuard
from llmguard.testing.dialect import Dialect

ANN, BOB, CID = "ann@example.org", "bob@example.org", "cid@example.org"
WAYS = [(way, kind) for way in ("proxy", "wrapper") for kind in ("sync", "async")]
IMPATIENT = {"hold_wait": 0.15}
"""Settings under which a held call is answered before anybody decides."""


HOLD_SECRETS = (
    {"name": "secrets", "when": "findings.exists(f, f.category == 'secret')", "verdict": "require_approval"},
)


def quick(cls: Any) -> Any:
    """The SDK's client with its own retries, but without the pauses between them."""
    return type(cls.__name__, (cls,), {"_calculate_retry_timeout": lambda self, *a, **k: 0.05})


class Application:
    """Chats through one way in. ``retries``: the SDK's default, unless it is switched off."""

    def __init__(self, make: Callable[..., Any], is_async: bool, guard: Guard) -> None:
        self._make = make
        self._async = is_async
        self.guard = guard
        """The one that its calls wait in."""

    def _do(self, work: Callable[[Any], Any], client: Any) -> Any:
        if not self._async:
            with client:
                return work(client)

        async def run() -> Any:
            async with client:
                return await work(client)

        return asyncio.run(run())

    def chat(self, text: str, headers: Any = None, **options: Any) -> str:
        asked: Any = {"model": "m", "messages": [{"role": "user", "content": text}], "extra_headers": headers}
        answer = self._do(lambda c: c.chat.completions.create(**asked), self._make(**options))
        return str(answer.choices[0].message.content)

    def stream(self, text: str, opened: Callable[[], None] = lambda: None, **options: Any) -> str:
        """The joined text; ``opened`` is called once the SDK has a stream."""
        asked: Any = {"model": "m", "messages": [{"role": "user", "content": text}], "stream": True}

        def sync(client: Any) -> str:
            stream = client.chat.completions.create(**asked)
            opened()
            return "".join(c.choices[0].delta.content or "" for c in stream)

        async def asynchronous(client: Any) -> str:
            stream = await client.chat.completions.create(**asked)
            opened()
            return "".join([c.choices[0].delta.content or "" async for c in stream])

        return str(self._do(asynchronous if self._async else sync, self._make(**options)))


@dataclass
class Office:
    """A guard with Ann, who asks, and Bob, who decides; with Cid where nobody is accountable (a local caller)."""

    local: LocalGuard
    upstream: EchoUpstream
    pool: ThreadPoolExecutor

    def __post_init__(self) -> None:
        for email in (ANN, BOB, CID):
            self.local.person(email)
        self.key = self.local.key("app", ANN)
        self.guard = self.local.guard

    def approvals(self, guard: Guard | None = None) -> list[Approval]:
        at = guard or self.guard
        return list(at.store.read(lambda tx: at.approvals.list(tx, "default"))[0])

    def pending(self) -> Approval:
        """The approval that waits, once there is one."""
        until(lambda: any(a.state == "PENDING" for a in self.approvals()))
        return next(a for a in self.approvals() if a.state == "PENDING")

    def decide(self, verdict: str = "approve") -> None:
        """By as many people as it takes."""
        waiting = self.pending()
        for email in (BOB, CID):
            person = Person("default", email, (), True, 0)
            after = self.guard.store.transact(lambda tx, p=person: self._vote(tx, waiting, p, verdict))  # type: ignore[misc]
            if after.state != "PENDING":
                return

    def _vote(self, tx: Any, waiting: Approval, person: Person, verdict: Any) -> Approval:
        return self.guard.approvals.vote(tx, "default", waiting.id, person, verdict, waiting.egress_digest)

    def expire(self) -> None:
        """What the sweep does when time is over."""
        waiting, vault = self.pending(), self.guard.vault
        self.guard.store.transact(lambda tx: record.transition(tx, vault, waiting, "EXPIRED", by="guard"))

    def settled(self) -> None:
        """Waits until the outcome of what was sent is stored: a caller has its answer a moment earlier."""
        until(lambda: all(a.state == "EXECUTED" for a in self.approvals()))

    def meanwhile(self, work: Callable[..., Any], *args: Any, **more: Any) -> Future[Any]:
        return self.pool.submit(work, *args, **more)

    def log(self, kind: str) -> list[Any]:
        rows = self.guard.store.read(lambda tx: tx.all("SELECT leaf FROM audit_entries WHERE kind = ?", kind))
        return [json.loads(row["leaf"])["details"] for row in rows]

    @property
    def sent(self) -> int:
        return len(self.upstream.received)


@pytest.fixture
def office_with(local_with: Callable[..., LocalGuard], upstream: EchoUpstream) -> Iterator[Callable[..., Office]]:
    with ThreadPoolExecutor(8) as pool:

        def open_(**settings: Any) -> Office:
            return Office(local_with(**({"rules": HOLD_SECRETS, "names": False} | settings)), upstream, pool)

        yield open_


@pytest.fixture(params=WAYS, ids="-".join)
def way(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def enter(way: Any, upstream: EchoUpstream) -> Iterator[Callable[..., Application]]:
    """An application of an office, by one of the ways in. The wrapper has a guard of its own, on the same data."""
    opened = []

    def application(office: Office, key: str | None = None) -> Application:
        cls = quick(openai.AsyncOpenAI if way[1] == "async" else openai.OpenAI)
        if way[0] == "proxy":
            make = lambda **o: cls(base_url=office.local.url, api_key=key or office.key, **o)  # noqa: E731
            return Application(make, way[1] == "async", office.guard)
        guard = Guard(office.local.settings)
        opened.append(guard)

        def wrapped(**options: Any) -> Any:
            return llmguard.wrap(cls(base_url=upstream.url + "/v1", api_key="own", **options), guard)

        return Application(wrapped, way[1] == "async", guard)

    yield application
    for guard in opened:
        guard.close()


def until(holds: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


# --------------------------------------------------------------------------- decided while the call waits


def test_approved_call_is_answered_as_if_nothing_had_happened(office_with: Any, enter: Any, fakes: Fakes) -> None:
    office = office_with()
    app, token = enter(office), fakes.token()
    answer = office.meanwhile(app.chat, f"use {token}")
    until(lambda: len(app.guard.room) == 1)
    assert office.sent == 0
    office.decide()
    assert answer.result() == f"You wrote: use {token}"
    assert office.sent == 1
    assert token not in office.upstream.received[0].body.decode()


def test_denied_call_is_a_permission_error_and_never_leaves(office_with: Any, enter: Any, fakes: Fakes) -> None:
    office = office_with()
    app = enter(office)
    answer = office.meanwhile(app.chat, fakes.token())
    until(lambda: len(app.guard.room) == 1)
    office.decide("deny")
    with pytest.raises(openai.PermissionDeniedError) as caught:
        answer.result()
    assert caught.value.code == "approval_denied"
    assert office.sent == 0


def test_call_that_nobody_decides_in_time_expires(office_with: Any, enter: Any, fakes: Fakes) -> None:
    office = office_with()
    app = enter(office)
    answer = office.meanwhile(app.chat, fakes.token())
    until(lambda: len(app.guard.room) == 1)
    office.expire()
    with pytest.raises(openai.PermissionDeniedError) as caught:
        answer.result()
    assert caught.value.code == "approval_expired"
    assert office.approvals()[0].state == "EXPIRED"
    assert office.sent == 0


def test_call_that_nobody_may_approve_is_refused_at_once(local_with: Any, upstream: EchoUpstream, fakes: Fakes) -> None:
    local = local_with(rules=HOLD_SECRETS, names=False)
    local.person(ANN)
    client = openai.OpenAI(base_url=local.url, api_key=local.key("app", ANN))
    with client, pytest.raises(openai.PermissionDeniedError) as caught:
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": fakes.token()}])
    assert caught.value.code == "approval_impossible"
    assert not upstream.received


def test_decision_of_another_process_releases_the_waiter(office_with: Any, enter: Any, fakes: Fakes) -> None:
    office = office_with()
    app = enter(office)
    answer = office.meanwhile(app.chat, fakes.token())
    until(lambda: len(app.guard.room) == 1)
    waiting = office.pending()
    script = (
        "import sys; from pathlib import Path; from llmguard.config import Settings; from llmguard.guard import Guard\n"
        "from llmguard.identity import Person\n"
        "guard = Guard(Settings(data=Path(sys.argv[1])), advisory=False)\n"
        "for who in sys.argv[4:]:\n"
        "    guard.store.transact(lambda tx: guard.approvals.vote(\n"
        "        tx, 'default', sys.argv[2], Person('default', who, (), True, 0), 'approve', sys.argv[3]))\n"
        "guard.close()\n"
    )
    people = [BOB, CID][: waiting.requirement.quorum]
    arguments = [str(office.local.settings.data), waiting.id, waiting.egress_digest, *people]
    subprocess.run([sys.executable, "-c", script, *arguments], check=True, timeout=60)
    assert answer.result().startswith("You wrote: ")
    assert office.sent == 1


# --------------------------------------------------------------------------- still pending


def test_call_that_is_still_pending_is_a_conflict_and_joins_when_it_is_sent_again(
    office_with: Any, enter: Any, fakes: Fakes
) -> None:
    office = office_with(**IMPATIENT)
    app, token = enter(office), fakes.token()
    for _ in range(2):
        with pytest.raises(openai.ConflictError) as caught:
            app.chat(token, max_retries=0)
        assert caught.value.code == "approval_pending"
        headers = caught.value.response.headers
        assert (headers["x-should-retry"], headers["retry-after"]) == ("true", "5")
        assert headers["x-llmguard-approval"] == office.pending().id
    assert len(office.approvals()) == 1
    office.decide()
    assert app.chat(token) == f"You wrote: {token}"
    assert office.sent == 1


@pytest.mark.parametrize("way", WAYS[:2], ids="-".join, indirect=True)
@pytest.mark.parametrize("options", [{}, {"timeout": 3}], ids=["default", "timeout=3"])
def test_sdk_sends_again_by_itself_joins_and_goes_through(
    office_with: Any, enter: Any, fakes: Fakes, options: Any
) -> None:
    office = office_with(**IMPATIENT)
    token = fakes.token()
    answer = office.meanwhile(enter(office).chat, token, max_retries=100, **options)
    until(lambda: len(office.log("call.refused")) >= 2)
    office.decide()
    assert answer.result() == f"You wrote: {token}"
    assert len(office.approvals()) == 1
    assert office.sent == 1


@pytest.mark.parametrize("way", WAYS[:2], ids="-".join, indirect=True)
def test_sdk_gives_up_after_its_own_number_of_retries(office_with: Any, enter: Any, fakes: Fakes) -> None:
    office = office_with(**IMPATIENT)
    with pytest.raises(openai.ConflictError) as caught:
        enter(office).chat(fakes.token(), timeout=3)
    assert caught.value.code == "approval_pending"
    assert [d["code"] for d in office.log("call.refused")] == ["approval_pending"] * 3
    assert (len(office.approvals()), office.sent) == (1, 0)


# --------------------------------------------------------------------------- tickets


@pytest.mark.parametrize("by", ["setting", "header"])
def test_ticket_is_a_conflict_at_once_and_the_same_request_goes_through_later(
    office_with: Any, enter: Any, fakes: Fakes, by: str
) -> None:
    office = office_with(hold="ticket" if by == "setting" else "wait")
    headers = {"x-llmguard-mode": "ticket"} if by == "header" else None
    app, token = enter(office), fakes.token()
    with pytest.raises(openai.ConflictError) as caught:
        app.chat(token, headers)
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert caught.value.response.headers["x-llmguard-approval"] == office.pending().id
    if app.guard is not office.guard:
        assert isinstance(caught.value, errors.ApprovalPending)
    assert len(office.log("call.refused")) == 1
    office.decide()
    assert app.chat(token, headers) == f"You wrote: {token}"
    assert office.sent == 1
    assert "x-llmguard-mode" not in dict(office.upstream.received[0].headers)


def test_streamed_ticket_is_a_conflict_too(office_with: Any, enter: Any, fakes: Fakes) -> None:
    office = office_with(hold="ticket")
    with pytest.raises(openai.ConflictError):
        enter(office).stream(fakes.token())
    assert office.sent == 0


def test_full_queue_is_unavailable(office_with: Any, enter: Any, fakes: Fakes) -> None:
    office = office_with(hold="ticket", max_waiting=1)
    app = enter(office)
    with pytest.raises(openai.ConflictError):
        app.chat(fakes.token())
    with pytest.raises(openai.InternalServerError) as caught:
        app.chat(fakes.token(), max_retries=0)
    assert (caught.value.status_code, caught.value.code) == (503, "guard_unavailable")
    assert office.sent == 0


# --------------------------------------------------------------------------- streams


def test_stream_that_is_approved_in_time_is_the_providers(office_with: Any, enter: Any, fakes: Fakes) -> None:
    office = office_with()
    app, token = enter(office), fakes.token()
    text = office.meanwhile(app.stream, token)
    until(lambda: len(app.guard.room) == 1)
    office.decide()
    assert text.result() == f"You wrote: {token}"
    assert office.sent == 1


def test_stream_that_is_approved_after_it_was_opened_starts_late(office_with: Any, enter: Any, fakes: Fakes) -> None:
    office = office_with(**IMPATIENT)
    token = fakes.token()
    assert enter(office).stream(token, office.decide, timeout=1.2) == f"You wrote: {token}"
    assert office.sent == 1
    office.settled()


def test_stream_that_is_denied_after_it_was_opened_is_an_api_error(office_with: Any, enter: Any, fakes: Fakes) -> None:
    office = office_with(**IMPATIENT)
    with pytest.raises(openai.APIError) as caught:
        enter(office).stream(fakes.token(), lambda: office.decide("deny"))
    assert caught.value.code == "approval_denied"
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["approval_id"] == office.approvals()[0].id
    assert office.sent == 0


def test_stream_that_expires_after_it_was_opened_is_an_api_error(office_with: Any, enter: Any, fakes: Fakes) -> None:
    office = office_with(**IMPATIENT)
    with pytest.raises(openai.APIError) as caught:
        enter(office).stream(fakes.token(), office.expire)
    assert caught.value.code == "approval_expired"
    assert office.sent == 0


def test_providers_error_after_the_stream_was_opened_is_an_api_error(
    office_with: Any, enter: Any, fakes: Fakes
) -> None:
    office = office_with(**IMPATIENT)
    token = fakes.token()
    office.upstream.behave = "error"
    with pytest.raises(openai.APIError, match="failed on") as caught:
        enter(office).stream(token, office.decide)
    assert token in str(caught.value)
    assert office.sent == 1


def test_signs_of_life_are_comments(office_with: Any, fakes: Fakes) -> None:
    office = office_with(**IMPATIENT)
    connection = http.client.HTTPConnection("127.0.0.1", office.local.port, timeout=20)
    body = json.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": fakes.token()}]})
    headers = {"authorization": f"Bearer {office.key}", "content-type": "application/json"}
    connection.request("POST", "/v1/chat/completions", body, headers | {"x-stainless-read-timeout": "0.3"})
    response = connection.getresponse()
    assert (response.status, response.getheader("content-type")) == (200, "text/event-stream; charset=utf-8")
    assert response.getheader("x-llmguard-approval") == office.pending().id
    assert [response.readline() for _ in range(4)] == [b": held\n", b"\n"] * 2
    office.decide()
    rest = response.read()
    assert rest.replace(b": held\n\n", b"").startswith(b"data: ")
    assert rest.endswith(b"data: [DONE]\n\n")
    connection.close()


# --------------------------------------------------------------------------- sent again after it was executed


def test_retry_gets_the_same_answer_and_nothing_is_sent(office_with: Any, enter: Any, fakes: Fakes) -> None:
    office = office_with()
    app, token = enter(office), fakes.token()
    answer = office.meanwhile(app.chat, token)
    until(lambda: len(app.guard.room) == 1)
    office.decide()
    assert app.chat(token) == answer.result() == f"You wrote: {token}"
    assert office.sent == 1
    until(lambda: [d["outcome"] for d in office.log("call.outcome")] == ["completed", "replayed"])


def test_retry_of_a_stream_is_the_same_stream(office_with: Any, enter: Any, fakes: Fakes) -> None:
    office = office_with()
    app, token = enter(office), fakes.token()
    text = office.meanwhile(app.stream, token)
    until(lambda: len(app.guard.room) == 1)
    office.decide()
    assert text.result() == f"You wrote: {token}"
    assert app.stream(token) == f"You wrote: {token}"
    assert office.sent == 1


def test_kept_answer_holds_no_value_on_disk(office_with: Any, enter: Any, fakes: Fakes) -> None:
    office = office_with()
    app, token = enter(office), fakes.token()
    answer = office.meanwhile(app.chat, token)
    until(lambda: len(app.guard.room) == 1)
    office.decide()
    answer.result()
    office.settled()
    rows = office.guard.store.read(lambda tx: tx.all("SELECT sealed FROM approval_answers"))
    assert len(rows) == 1
    for path in office.local.settings.data.rglob("*"):
        assert not path.is_file() or (token.encode() not in path.read_bytes() and b"You wrote" not in path.read_bytes())


def test_answer_is_not_given_to_another_caller(office_with: Any, fakes: Fakes) -> None:
    office = office_with(hold="ticket")
    token = fakes.token()

    def ask(key: str) -> Any:
        client = openai.OpenAI(base_url=office.local.url, api_key=key)
        with client:
            return client.chat.completions.create(model="m", messages=[{"role": "user", "content": token}])

    other = office.local.key("other app", ANN)
    with pytest.raises(openai.ConflictError):
        ask(office.key)
    office.decide()
    ask(office.key)
    office.settled()
    with pytest.raises(openai.ConflictError) as caught:
        ask(other)
    assert caught.value.code == "approval_pending"
    assert len(office.approvals()) == 2
    assert office.sent == 1


@pytest.mark.parametrize("why", ["no window", "too large", "no success"])
def test_answer_that_is_not_kept_is_a_conflict(office_with: Any, enter: Any, fakes: Fakes, why: str) -> None:
    office = office_with(hold="ticket", replay_window=0 if why == "no window" else 600)
    app, token = enter(office), fakes.token()
    with pytest.raises(openai.ConflictError):
        app.chat(token)
    office.decide()
    if why == "no success":
        office.upstream.behave = "error"
        with pytest.raises(openai.InternalServerError):
            app.chat(token)
    else:
        if why == "too large":
            office.upstream.dialect = Dialect(lambda asked: "x" * 9_000_000, 5)
        app.chat(token)
    office.settled()
    with pytest.raises(openai.ConflictError) as caught:
        app.chat(token)
    assert caught.value.code == "already_executed"
    assert office.sent == 1


def test_provider_that_is_too_busy_leaves_the_approval_for_the_sdks_own_retry(
    office_with: Any, enter: Any, fakes: Fakes
) -> None:
    office = office_with()
    app, token = enter(office), fakes.token()
    office.upstream.behave = "busy_once"
    answer = office.meanwhile(app.chat, token)
    until(lambda: len(app.guard.room) == 1)
    office.decide()
    assert answer.result() == f"You wrote: {token}"
    assert office.sent == 2
    office.settled()
    assert [a.returned for a in office.approvals()] == [1]
    assert [d["status"] for d in office.log("call.outcome")] == [429, 200]


def test_two_identical_requests_wait_for_one_decision_and_one_is_sent(
    office_with: Any, enter: Any, fakes: Fakes
) -> None:
    office = office_with()
    app, token = enter(office), fakes.token()
    answers = [office.meanwhile(app.chat, token) for _ in range(2)]
    until(lambda: len(app.guard.room) == 2)
    office.decide()
    assert [a.result() for a in answers] == [f"You wrote: {token}"] * 2
    assert len(office.approvals()) == 1
    assert office.sent == 1


def test_request_whose_twin_is_on_its_way_is_told_so(office_with: Any, enter: Any, fakes: Fakes) -> None:
    office = office_with(**IMPATIENT)
    app, token = enter(office), fakes.token()
    with pytest.raises(openai.ConflictError):
        app.chat(token, max_retries=0)
    office.decide()
    go_on = threading.Event()
    office.upstream.dialect = Dialect(lambda _: "at last" if go_on.wait(20) else "never", 5)
    first = office.meanwhile(app.chat, token)
    until(lambda: office.sent == 1)
    with pytest.raises(openai.ConflictError) as caught:
        app.chat(token, max_retries=0)
    assert caught.value.code == "approval_executing"
    assert caught.value.response.headers["x-should-retry"] == "true"
    assert office.sent == 1
    go_on.set()
    assert first.result() == app.chat(token) == "at last"
    assert office.sent == 1


def test_call_of_which_bytes_may_have_left_is_never_repeated(office_with: Any, enter: Any, fakes: Fakes) -> None:
    office = office_with(hold="ticket")
    app, token = enter(office), fakes.token()
    with pytest.raises(openai.ConflictError):
        app.chat(token)
    office.decide()
    office.upstream.behave = "hangup"
    with pytest.raises((openai.InternalServerError, openai.APIConnectionError)):
        app.chat(token, max_retries=0)
    for _ in range(2):
        with pytest.raises(openai.ConflictError) as caught:
            app.chat(token)
        assert caught.value.code == "approval_indeterminate"
        assert caught.value.response.headers["x-should-retry"] == "false"
    assert office.sent == 1


# --------------------------------------------------------------------------- callers and guards that go away


def hang_up(office: Office, token: str, stream: bool = False) -> None:
    """Asks, waits until the guard waits for people, and closes the connection."""
    body = json.dumps({"model": "m", "stream": stream, "messages": [{"role": "user", "content": token}]})
    with socket.create_connection(("127.0.0.1", office.local.port)) as s:
        s.sendall(
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {office.key}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()
        )
        until(lambda: len(office.guard.room) == 1)
        if stream:
            assert s.recv(16).startswith(b"HTTP/1.1 200")
    until(lambda: len(office.guard.room) == 0)
    until(lambda: bool(office.log("call.refused")))


@pytest.mark.parametrize("stream", [False, True])
def test_caller_who_hangs_up_while_people_decide_has_nothing_sent(office_with: Any, fakes: Fakes, stream: bool) -> None:
    office = office_with(**(IMPATIENT if stream else {}))
    token = fakes.token()
    hang_up(office, token, stream)
    assert [d["code"] for d in office.log("call.refused")] == ["client_gone"]
    office.decide()
    assert office.approvals()[0].state == "APPROVED"  # and whatever leaves is claimed first
    assert office.sent == 0


def test_approval_of_a_caller_who_hangs_up_is_cancelled_where_that_is_set(office_with: Any, fakes: Fakes) -> None:
    office = office_with(on_client_gone="cancel")
    hang_up(office, fakes.token())
    until(lambda: office.approvals()[0].state == "CANCELLED")
    assert office.log("approval.cancelled")[0]["why"] == "its caller hung up"
    assert office.sent == 0


def test_approval_that_a_second_caller_waits_for_is_not_cancelled(office_with: Any, fakes: Fakes) -> None:
    office = office_with(on_client_gone="cancel")
    token = fakes.token()
    client = openai.OpenAI(base_url=office.local.url, api_key=office.key)
    asked: Any = {"model": "m", "stream": False, "messages": [{"role": "user", "content": token}]}
    body = json.dumps(asked).encode()
    with client:
        answer = office.meanwhile(client.post, "/chat/completions", cast_to=object, content=body)
        until(lambda: len(office.guard.room) == 1)
        with socket.create_connection(("127.0.0.1", office.local.port)) as s:
            s.sendall(
                f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {office.key}\r\n"
                f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode()
                + body
            )
            until(lambda: len(office.guard.room) == 2)
        until(lambda: len(office.guard.room) == 1)
        office.decide()
        assert answer.result()["choices"]
    assert office.sent == 1


def test_async_caller_that_is_cancelled_while_it_waits_has_nothing_sent(
    office_with: Any, upstream: EchoUpstream, fakes: Fakes
) -> None:
    office = office_with()

    async def run(guard: Guard) -> None:
        client = llmguard.wrap(openai.AsyncOpenAI(base_url=upstream.url + "/v1", api_key="own"), guard)
        asked = client.chat.completions.create(model="m", messages=[{"role": "user", "content": fakes.token()}])
        task = asyncio.ensure_future(asked)
        while not len(guard.room):
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not len(guard.room)
        await client.close()

    with Guard(office.local.settings) as guard:
        asyncio.run(run(guard))
    office.decide()
    assert office.approvals()[0].state == "APPROVED"
    assert office.sent == 0


@pytest.mark.parametrize("stream", [False, True])
def test_guard_that_stops_sends_waiting_calls_away_and_keeps_their_approvals(
    office_with: Any, enter: Any, way: Any, fakes: Fakes, stream: bool
) -> None:
    office = office_with(**(IMPATIENT if stream else {}))
    app, token = enter(office), fakes.token()
    opened = []
    answer = (
        office.meanwhile(app.stream, token, lambda: opened.append(1), max_retries=0)
        if stream
        else office.meanwhile(app.chat, token, max_retries=0)
    )
    until(lambda: bool(opened) if stream else len(app.guard.room) == 1)
    if way[0] == "proxy":
        office.local.stop()
    else:
        app.guard.close()
    with pytest.raises((openai.APIError, errors.GuardUnavailable)) as caught:
        answer.result()
    assert getattr(caught.value, "code", "") == "guard_unavailable"
    with Guard(office.local.settings) as guard:
        assert [a.state for a in office.approvals(guard)] == ["PENDING"]
    assert office.sent == 0
