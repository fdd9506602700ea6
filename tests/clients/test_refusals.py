"""What a wrapped client raises: types that are both ours and the SDK's, for every row of the error tree."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import openai
import pytest

import llmguard
from llmguard import errors
from llmguard.config import Settings
from llmguard.errors import ConfigError, LLMGuardError
from llmguard.guard import Guard
from llmguard.testing import EchoUpstream, Fakes, LocalGuard
from tests.clients.callers import Caller, nothing_of, user
from tests.wire import Wire, answer

KEY = "lg_" + "k" * 43
TREE = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, LLMGuardError)]
ROWS = [c for c in TREE if not any(c in other.__bases__ for other in TREE)]
STATUS = {
    400: openai.BadRequestError,
    401: openai.AuthenticationError,
    403: openai.PermissionDeniedError,
    404: openai.NotFoundError,
    409: openai.ConflictError,
    413: openai.APIStatusError,
    422: openai.UnprocessableEntityError,
    429: openai.RateLimitError,
    500: openai.InternalServerError,
    502: openai.InternalServerError,
    503: openai.InternalServerError,
}


def chat(client: Any) -> Any:
    return client.chat.completions.create(model="m", messages=user("hello"))


def refusal(error: LLMGuardError) -> bytes:
    """The HTTP answer of a guard that refuses."""
    return answer(
        json.dumps(error.body()).encode(),
        f"{error.status} Refused",
        **{name.replace("-", "_"): value for name, value in error.headers()},
    )


@pytest.mark.parametrize("row", ROWS, ids=lambda c: c.__name__)
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_every_row_of_the_tree_is_caught_as_ours_and_as_the_sdks(row: Any, kind: str) -> None:
    names = {"approval_id": "01APPROVAL", "approval_url": "https://guard.example/01APPROVAL"}
    error = row("what to do next", **(names if issubclass(row, errors.CallRefused) else {}))
    options: dict[str, Any] = {"api_key": "k", "max_retries": 0}
    with Wire(refusal(error)) as wire:

        async def ask() -> None:
            async with llmguard.wrap(openai.AsyncOpenAI(**options), wire.url, key=KEY) as client:
                await chat(client)

        def ask_now() -> None:
            with llmguard.wrap(openai.OpenAI(**options), wire.url, key=KEY) as client:
                chat(client)

        with pytest.raises(row) as caught:
            asyncio.run(ask()) if kind == "async" else ask_now()
    raised: Any = caught.value
    assert isinstance(raised, STATUS[row.status])
    assert isinstance(raised, row)
    assert (raised.status_code, raised.code, str(raised)) == (row.status, row.code, "what to do next")
    assert raised.approval_id == error.approval_id
    assert raised.approval_url == error.approval_url


@pytest.mark.parametrize("row", [r for r in ROWS if r.retry], ids=lambda c: c.__name__)
def test_what_may_be_retried_is_retried_by_the_sdk_and_the_rest_is_not(row: Any) -> None:
    error = row("later")

    def reply(connection: Any, _: bytes) -> None:
        connection.sendall(refusal(error) if len(wire.requests) < 2 else answer(b'{"choices": []}'))

    with Wire(reply) as wire, llmguard.wrap(openai.OpenAI(api_key="k"), wire.url, key=KEY) as client:
        assert chat(client).choices == []
        assert len(wire.requests) == 2
    with Wire(refusal(errors.CallBlocked("no"))) as wire:
        with llmguard.wrap(openai.OpenAI(api_key="k"), wire.url, key=KEY) as client, pytest.raises(errors.CallBlocked):
            chat(client)
        assert len(wire.requests) == 1


def test_an_error_that_this_version_does_not_know_is_still_both() -> None:
    error = errors.CallBlocked("from a newer guard")
    unknown = refusal(error).replace(b"x-llmguard-error: blocked", b"x-llmguard-error: of_the_future")
    with Wire(unknown) as wire, llmguard.wrap(openai.OpenAI(api_key="k"), wire.url, key=KEY) as client:
        with pytest.raises(LLMGuardError) as caught:
            chat(client)
        assert isinstance(caught.value, openai.PermissionDeniedError)


# --------------------------------------------------------------------------- of real guards


def refused(caller: Caller, work: Callable[[Any], Any], row: type[LLMGuardError], status: Any) -> Any:
    """What the caller raises; a client of the proxy that is not wrapped knows the SDK's types only."""
    with pytest.raises(status) as caught:
        caller.do(work)
    assert caught.value.code == row.code
    wrapped = type(caller.client).__name__.startswith("Guarded")
    assert isinstance(caught.value, row) == wrapped
    return caught.value


def test_refusals_of_a_real_guard_have_their_types(caller: Caller, upstream: EchoUpstream) -> None:
    def post(content: bytes) -> Callable[[Any], Any]:
        return lambda client: client.post("/chat/completions", cast_to=object, content=content)

    refused(caller, post(b'{"model": "m", "model": "n"}'), errors.UnscannableRequest, openai.BadRequestError)
    refused(caller, post(b'"' + b"x" * 34_000_000 + b'"'), errors.RequestTooLarge, openai.APIStatusError)
    blocked: Any = lambda client: client.get("/organization/users", cast_to=object)  # noqa: E731
    refused(caller, blocked, errors.CallBlocked, openai.PermissionDeniedError)
    assert not upstream.received


def test_transport_failures_are_the_sdks_own(guard: Guard) -> None:
    gone = llmguard.wrap(openai.OpenAI(base_url="http://127.0.0.1:9/v1", api_key="k", max_retries=0), guard)
    with gone, pytest.raises(openai.APIConnectionError):
        chat(gone)
    with Wire(lambda connection, _: None) as silent:
        client = llmguard.wrap(openai.OpenAI(base_url=silent.url, api_key="k", max_retries=0, timeout=0.2), guard)
        with client, pytest.raises(openai.APITimeoutError):
            chat(client)


def test_a_closed_guard_refuses_and_sends_nothing(settings: Settings, upstream: EchoUpstream, tmp_path: Path) -> None:
    guard = Guard(replace(settings, data=tmp_path / "data"))
    options: dict[str, Any] = {"base_url": upstream.url + "/v1", "api_key": "k", "max_retries": 0}
    with llmguard.wrap(openai.OpenAI(**options), guard) as client:
        guard.close()
        with pytest.raises(errors.GuardUnavailable) as caught:
            chat(client)
    assert isinstance(caught.value, openai.InternalServerError)
    assert not upstream.received


HOLD = ({"name": "secrets", "when": "findings.exists(f, f.category == 'secret')", "verdict": "require_approval"},)


@pytest.mark.parametrize("way", ["embedded", "remote"])
def test_held_call_names_its_approval(
    settings: Settings, upstream: EchoUpstream, fakes: Fakes, tmp_path: Path, way: str
) -> None:
    token = fakes.token()
    with LocalGuard(replace(settings, data=tmp_path / "data", rules=HOLD)) as local:
        for email in ("ann@example.org", "bob@example.org"):
            local.person(email)
        original = openai.OpenAI(base_url=upstream.url + "/v1", api_key="k", max_retries=0)
        where: dict[str, Any] = {"guard": local.url, "key": local.key("app", "ann@example.org")}
        headers = {"x-llmguard-mode": "ticket"}
        client = llmguard.wrap(original, **(where if way == "remote" else {"guard": local.guard}))
        with client, pytest.raises(openai.ConflictError) as caught:
            client.chat.completions.create(model="m", messages=user(token), extra_headers=headers)
    assert isinstance(caught.value, errors.ApprovalPending)
    assert caught.value.approval_id
    assert caught.value.response.headers["x-llmguard-approval"] == caught.value.approval_id
    assert not upstream.received


# --------------------------------------------------------------------------- remote guards


def test_the_providers_credentials_stay_with_the_caller(
    local: LocalGuard, key: str, upstream: EchoUpstream, fakes: Fakes
) -> None:
    email = fakes.email()
    headers = {"api-key": "own-2", "cookie": "session=own-3", "x-team": "blue"}
    original = openai.OpenAI(api_key="own-1", default_headers=headers, max_retries=0)
    with Wire(answer(b'{"choices": []}')) as wire, llmguard.wrap(original, wire.url + "/v1/", key=key) as client:
        for again in (client, client.with_options(api_key="own-4"), client.copy(default_headers={"api-key": "own-5"})):
            again.chat.completions.create(model="m", messages=user(email))
            head = wire.requests[-1].partition(b"\r\n\r\n")[0]
            assert head.startswith(b"POST /v1/chat/completions")
            assert f"bearer {key}".encode() in head.replace(b"Bearer", b"bearer")
            assert b"own-" not in head
            assert b"x-team: blue" in head


def test_a_remote_client_talks_to_nobody_but_its_guard(key: str, upstream: EchoUpstream) -> None:
    original = openai.OpenAI(base_url=upstream.url + "/v1", api_key="own", max_retries=0)
    with llmguard.wrap(original, "http://127.0.0.1:9", key=key) as client:
        with pytest.raises(errors.CallBlocked, match="nobody else"):
            chat(client.copy(base_url=upstream.url + "/v1"))
        with pytest.raises(openai.APIConnectionError):
            chat(client)
    assert not upstream.received


def test_key_of_a_remote_guard_comes_from_the_environment(
    local: LocalGuard, key: str, upstream: EchoUpstream, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMGUARD_KEY", key)
    email = fakes.email()
    with llmguard.wrap(openai.OpenAI(api_key="own"), guard=local.url) as client:
        answer = client.chat.completions.create(model="m", messages=user(email))
    assert answer.choices[0].message.content == f"You wrote: {email}"
    nothing_of([email], upstream)


@pytest.mark.parametrize(
    ("address", "key", "says"),
    [
        ("http://guard.example", KEY, "https"),
        ("ftp://127.0.0.1", KEY, "https"),
        ("https://", KEY, "address"),
        ("https://user:pass@guard.example", KEY, "address"),
        ("https://guard.example?x=1", KEY, "address"),
        ("https://guard.example", "sk-provider", "lg_ key"),
        ("https://guard.example", None, "lg_ key"),
    ],
)
def test_an_address_or_key_that_cannot_be_right_is_refused(
    address: str, key: str | None, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LLMGUARD_KEY", raising=False)
    with openai.OpenAI(api_key="k") as client, pytest.raises(ConfigError, match=says):
        llmguard.wrap(client, address, key=key)


def test_a_key_without_an_address_is_refused(guard: Guard) -> None:
    with openai.OpenAI(api_key="k") as client, pytest.raises(ConfigError, match="address"):
        llmguard.wrap(client, guard, key=KEY)
