"""The wrapper alone: every way in which an application can hold, copy, configure and close a client stays guarded."""

from __future__ import annotations

import asyncio
import gc
import gzip
import importlib.util
import json
import logging
import os
import sys
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import brotli
import openai
import pydantic
import pytest
from backports import zstd

import llmguard
from llmguard.errors import CallBlocked, ConfigError
from llmguard.guard import Guard
from llmguard.testing import EchoUpstream, Fakes, LocalGuard
from tests.clients.callers import FAMILIES, GENERATION, nothing_of, user
from tests.wire import Wire, answer, forward

Wrap = Callable[..., Any]


def family(name: str) -> Any:
    """The HTTP client library that the SDK uses by default, or the one named."""
    return importlib.import_module(name if name != "default" else "httpx2" if GENERATION >= 3 else "httpx")


@pytest.fixture
def wrapped(guard: Guard, upstream: EchoUpstream) -> Iterator[Wrap]:
    """Makes wrapped sync clients of the upstream; all are closed at the end."""
    made: list[Any] = []

    def make(cls: Any = openai.OpenAI, **options: Any) -> Any:
        given: dict[str, Any] = {"base_url": upstream.url + "/v1", "api_key": "own-key", "max_retries": 0}
        made.append(llmguard.wrap(cls(**{**given, **options}), guard))
        return made[-1]

    yield make
    for client in made:
        client.close()


def say(client: Any, text: str) -> str:
    answer = client.chat.completions.create(model="m", messages=user(text))
    return str(answer.choices[0].message.content)


def guarded(client: Any, upstream: EchoUpstream, text: str) -> bool:
    """Whether the value comes back and the provider saw none of it."""
    before = len(upstream.received)
    assert say(client, text) == f"You wrote: {text}"
    return all(text not in r.body.decode() for r in upstream.received[before:])


# --------------------------------------------------------------------------- the original, copies, life and end


def test_wrapped_client_is_one_of_its_class_and_the_original_is_untouched(
    guard: Guard, upstream: EchoUpstream, fakes: Fakes
) -> None:
    with openai.OpenAI(base_url=upstream.url + "/v1", api_key="k", websocket_base_url="wss://x.example") as client:
        before = dict(vars(client)), dict(vars(client._client)), type(client)
        wrapped = llmguard.wrap(client, guard)
        assert isinstance(wrapped, openai.OpenAI)
        assert guarded(wrapped, upstream, fakes.email())
        after = dict(vars(client)), dict(vars(client._client)), type(client)
        assert not guarded(client, upstream, fakes.email())
        assert {k: v for k, v in before[0].items() if k != "chat"} == {k: v for k, v in after[0].items() if k != "chat"}
        assert before[1] | {"_state": None} == after[1] | {"_state": None}
        assert before[2] is after[2]


@pytest.mark.parametrize("name", FAMILIES)
def test_options_and_a_new_http_client_stay_with_the_same_guard(
    wrapped: Wrap, guard: Guard, upstream: EchoUpstream, fakes: Fakes, name: str
) -> None:
    client = wrapped()
    with family(name).Client() as http:
        for again in (client.with_options(timeout=9), client.copy(http_client=http), client.copy().with_options()):
            assert isinstance(again, openai.OpenAI)
            assert again._client._transport.llmguard is guard
            assert guarded(again, upstream, fakes.email())
    assert client.with_options(max_retries=7).max_retries == 7


def test_a_new_client_of_a_wrapped_class_is_guarded_by_the_users_guard(
    wrapped: Wrap, guard: Guard, upstream: EchoUpstream, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMGUARD_DATA", str(guard.settings.data))
    monkeypatch.setenv("LLMGUARD_UPSTREAM", upstream.url)
    with type(wrapped())(base_url=upstream.url + "/v1", api_key="k") as other:
        assert guarded(other, upstream, fakes.email())
        other._client._transport.llmguard.close()
    llmguard.wrapper.shared_guard.cache_clear()


def test_base_url_can_change_and_stays_guarded(wrapped: Wrap, upstream: EchoUpstream, fakes: Fakes) -> None:
    client = wrapped(base_url="http://127.0.0.1:9/v1")
    client.base_url = upstream.url + "/gateway/openai/v1"
    assert guarded(client, upstream, fakes.email())
    assert upstream.received[-1].path == "/gateway/openai/v1/chat/completions"
    assert guarded(client.copy(base_url=upstream.url + "/other"), upstream, fakes.email())
    assert upstream.received[-1].path == "/other/chat/completions"


def test_closing_either_closes_both_as_with_options_does(guard: Guard, upstream: EchoUpstream) -> None:
    client = openai.OpenAI(base_url=upstream.url + "/v1", api_key="k", max_retries=0)
    wrapped = llmguard.wrap(client, guard)
    say(wrapped, "hello")
    wrapped.close()
    assert client.is_closed()
    client = openai.OpenAI(base_url=upstream.url + "/v1", api_key="k", max_retries=0)
    wrapped = llmguard.wrap(client, guard)
    client.close()
    assert wrapped.is_closed()
    with pytest.raises((RuntimeError, openai.APIConnectionError)):
        say(wrapped, "hello")


def test_a_client_that_is_closed_leaves_no_socket_open(guard: Guard, upstream: EchoUpstream) -> None:
    gc.collect()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with llmguard.wrap(openai.OpenAI(base_url=upstream.url + "/v1", api_key="k"), guard) as sync:
            say(sync, "hello")
            list(sync.chat.completions.create(model="m", messages=user("hello"), stream=True))
        gc.collect()

        async def run() -> None:
            async with llmguard.wrap(openai.AsyncOpenAI(base_url=upstream.url + "/v1", api_key="k"), guard) as client:
                await client.chat.completions.create(model="m", messages=user("hello"))
                stream = await client.chat.completions.create(model="m", messages=user("hello"), stream=True)
                await anext(aiter(stream))
                await stream.close()

        asyncio.run(run())
        gc.collect()
    assert not [w for w in seen if issubclass(w.category, ResourceWarning)]


def test_the_application_can_go_on_after_the_original_is_forgotten(
    wrapped: Wrap, upstream: EchoUpstream, fakes: Fakes
) -> None:
    client = wrapped()
    gc.collect()
    assert guarded(client, upstream, fakes.email())


FORK = """
import os, sys, openai, llmguard, pathlib, warnings
from llmguard.config import Settings
warnings.simplefilter("ignore")
url, data, text = sys.argv[1:]
guard = llmguard.Guard(Settings(data=pathlib.Path(data), upstream=url))
client = llmguard.wrap(openai.OpenAI(base_url=url + "/v1", api_key="k", max_retries=0, timeout=20), guard)

def say(who):
    answer = client.chat.completions.create(model="m", messages=[{"role": "user", "content": who + text}])
    assert answer.choices[0].message.content == "You wrote: " + who + text

say("before ")
child = os.fork()
for _ in range(5):
    say("parent " if child else "child ")
if child:
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
os._exit(0)
"""


def test_a_forked_child_can_call_and_so_can_its_parent(upstream: EchoUpstream, fakes: Fakes, tmp_path: Path) -> None:
    import subprocess

    email = fakes.email()
    subprocess.run([sys.executable, "-c", FORK, upstream.url, str(tmp_path / "data"), email], check=True, timeout=60)
    assert len(upstream.received) == 11
    nothing_of([email], upstream)


# --------------------------------------------------------------------------- what a client can be


def test_http_clients_of_ones_own_keep_their_hooks_and_methods(
    wrapped: Wrap, upstream: EchoUpstream, fakes: Fakes
) -> None:
    seen: list[str] = []
    httpx = family("default")

    class Traced(httpx.Client):  # type: ignore[misc, name-defined]
        def send(self, request: Any, **kwargs: Any) -> Any:
            seen.append("send")
            return super().send(request, **kwargs)

    hooks = {"response": [lambda response: seen.append(f"hook {response.status_code}")]}
    assert guarded(wrapped(http_client=Traced(event_hooks=hooks)), upstream, fakes.email())
    assert seen == ["send", "hook 200"]


@pytest.mark.parametrize("how", ["environment", "argument", "mounts"])
def test_calls_through_a_forward_proxy_are_guarded(
    wrapped: Wrap, upstream: EchoUpstream, fakes: Fakes, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    httpx = family("default")
    with Wire(forward) as proxy:
        if how == "environment":
            for name in ("NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy"):
                monkeypatch.delenv(name, raising=False)
            monkeypatch.setenv("HTTP_PROXY", proxy.url)
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
            client = wrapped()
        elif how == "argument":
            client = wrapped(http_client=httpx.Client(proxy=proxy.url))
        else:
            client = wrapped(http_client=httpx.Client(mounts={"all://": httpx.HTTPTransport(proxy=proxy.url)}))
        email = fakes.email()
        assert guarded(client, upstream, email)
        assert proxy.requests[0].startswith(f"POST {upstream.url}/v1/chat/completions".encode())
        assert email.encode() not in b"".join(proxy.requests)
        with pytest.raises(openai.APIConnectionError):
            say(client.copy(base_url="https://provider.invalid/v1"), email)
        assert proxy.requests[-1].startswith(b"CONNECT provider.invalid:443")
        sent = len(proxy.requests)
        with pytest.raises(CallBlocked):
            client.copy(base_url="https://provider.invalid/v1").get("/organization/users", cast_to=object)
        assert len(proxy.requests) == sent


def test_aiohttp_backend_is_guarded(guard: Guard, upstream: EchoUpstream, fakes: Fakes) -> None:
    if GENERATION < 3 and importlib.util.find_spec("httpx_aiohttp") is None:
        with pytest.raises(RuntimeError, match="aiohttp"):
            openai.DefaultAioHttpClient()
        return
    email = fakes.email()

    async def run() -> tuple[str, str]:
        client = openai.AsyncOpenAI(
            base_url=upstream.url + "/v1", api_key="k", http_client=openai.DefaultAioHttpClient()
        )
        async with llmguard.wrap(client, guard) as wrapped:
            asked: Any = {"model": "m", "messages": user(email)}
            whole = await wrapped.chat.completions.create(**asked)
            events = [e async for e in await wrapped.chat.completions.create(**asked, stream=True)]
            said = "".join(e.choices[0].delta.content or "" for e in events)
            return str(whole.choices[0].message.content), said

    assert asyncio.run(run()) == (f"You wrote: {email}", f"You wrote: {email}")
    nothing_of([email], upstream)


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("deployment", [None, "my-deployment"])
def test_azure_clients_are_guarded(
    guard: Guard, upstream: EchoUpstream, fakes: Fakes, kind: str, deployment: str | None
) -> None:
    email = fakes.email()
    options: dict[str, Any] = {"api_key": "azure-key", "api_version": "2024-10-21", "azure_endpoint": upstream.url}
    if deployment:
        options["azure_deployment"] = deployment

    async def ask() -> list[Any]:
        async with llmguard.wrap(openai.AsyncAzureOpenAI(**options), guard) as client:
            return [
                await client.chat.completions.create(model="my-deployment", messages=user(email)),
                await client.with_options(timeout=5).embeddings.create(model="my-deployment", input=email),
                await client.models.list(),
            ]

    if kind == "sync":
        with llmguard.wrap(openai.AzureOpenAI(**options), guard) as client:
            assert isinstance(client, openai.AzureOpenAI)
            answers: list[Any] = [
                client.chat.completions.create(model="my-deployment", messages=user(email)),
                client.with_options(timeout=5).embeddings.create(model="my-deployment", input=email),
                client.models.list(),
            ]
    else:
        answers = asyncio.run(ask())
    assert answers[0].choices[0].message.content == f"You wrote: {email}"
    nothing_of([email], upstream)
    root = "/openai/deployments/my-deployment"
    assert [r.path for r in upstream.received] == [
        f"{root}/chat/completions?api-version=2024-10-21",
        f"{root}/embeddings?api-version=2024-10-21",
        "/openai/models?api-version=2024-10-21",
    ]
    assert all(("api-key", "azure-key") in r.headers for r in upstream.received)


def test_azure_with_a_token_is_guarded(guard: Guard, upstream: EchoUpstream, fakes: Fakes) -> None:
    client = openai.AzureOpenAI(
        azure_ad_token_provider=lambda: "entra-token", api_version="2025-04-01-preview", azure_endpoint=upstream.url
    )
    with llmguard.wrap(client, guard) as wrapped:
        assert guarded(wrapped, upstream, fakes.email())
    assert ("authorization", "Bearer entra-token") in upstream.received[0].headers


def test_module_level_client_is_guarded(
    guard: Guard, upstream: EchoUpstream, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_client", "http_client", "base_url", "api_key", "api_type"):
        monkeypatch.setattr(openai, name, getattr(openai, name))
    openai.api_type, openai.api_key, openai.base_url = "openai", "module-key", "http://127.0.0.1:9/v1"
    assert llmguard.wrap(openai, guard) is openai
    openai.base_url = upstream.url + "/v1/"
    openai.api_key = "another-key"
    email = fakes.email()
    answer = openai.chat.completions.create(model="m", messages=user(email))
    assert answer.choices[0].message.content == f"You wrote: {email}"
    nothing_of([email], upstream)
    assert ("authorization", "Bearer another-key") in upstream.received[0].headers
    with pytest.raises(CallBlocked):
        openai.models.list(extra_query={"who": email})
    openai._load_client().close()


# --------------------------------------------------------------------------- what a client can do


def test_raw_and_streamed_responses_hold_the_original(wrapped: Wrap, upstream: EchoUpstream, fakes: Fakes) -> None:
    email, client = fakes.email(), wrapped()
    asked: Any = {"model": "m", "messages": user(email)}
    raw = client.chat.completions.with_raw_response.create(**asked)
    assert raw.parse().choices[0].message.content == f"You wrote: {email}"
    assert raw.headers["x-llmguard-decision"] == "redact"
    assert len(raw.content) == int(raw.headers["content-length"])
    with client.chat.completions.with_streaming_response.create(**asked) as streamed:
        assert email in "".join(streamed.iter_text())
    nothing_of([email], upstream)


class Echo(pydantic.BaseModel):
    echo: str


def test_stream_helpers_and_parsed_answers_hold_the_original(
    guard: Guard, upstream: EchoUpstream, fakes: Fakes
) -> None:
    email = fakes.email()
    client = llmguard.wrap(openai.OpenAI(base_url=upstream.url + "/v1", api_key="k"), guard)
    with client:
        with client.chat.completions.stream(model="m", messages=user(email)) as stream:
            assert "".join(e.delta for e in stream if e.type == "content.delta") == f"You wrote: {email}"
            assert stream.get_final_completion().choices[0].message.content == f"You wrote: {email}"
        with client.responses.stream(model="m", input=email) as responses:
            deltas = "".join(e.delta for e in responses if e.type == "response.output_text.delta")
            assert deltas == responses.get_final_response().output_text == f"You wrote: {email}"
        upstream.dialect.say = lambda body: '{"echo": "' + _last(body) + '"}'
        parsed = client.chat.completions.parse(model="m", messages=user(email), response_format=Echo)
        assert parsed.choices[0].message.parsed == Echo(echo=email)
        response = client.responses.parse(model="m", input=email, text_format=Echo)
        assert response.output_parsed == Echo(echo=email)
    nothing_of([email], upstream)


def _last(body: Any) -> str:
    return str(body["input"] if "input" in body else body["messages"][-1]["content"])


def test_beta_and_plain_requests_are_guarded(wrapped: Wrap, upstream: EchoUpstream, fakes: Fakes) -> None:
    email, client = fakes.email(), wrapped()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the SDK's, of assistants
        thread = client.beta.threads.create(messages=user(email))
        messages = client.beta.threads.messages.with_raw_response.list(thread.id)
    assert email in messages.content.decode()
    answer = client.post("/chat/completions", body={"model": "m", "messages": user(email)}, cast_to=object)
    assert answer["choices"][0]["message"]["content"] == f"You wrote: {email}"
    nothing_of([email], upstream)


def test_requests_that_the_application_makes_on_the_http_client_itself_are_guarded(
    wrapped: Wrap, upstream: EchoUpstream, fakes: Fakes
) -> None:
    email, client = fakes.email(), wrapped()
    body = {"model": "m", "messages": user(email)}
    answer = client._client.post(upstream.url + "/v1/chat/completions", json=body)
    assert answer.json()["choices"][0]["message"]["content"] == f"You wrote: {email}"
    assert client._client.post(upstream.url + "/elsewhere", json=body).status_code == 403
    nothing_of([email], upstream)


def test_bodies_that_the_application_packed_are_looked_through(
    wrapped: Wrap, upstream: EchoUpstream, fakes: Fakes
) -> None:
    email, client = fakes.email(), wrapped()
    body = gzip.compress(json.dumps({"model": "m", "messages": user(email)}).encode())
    answer = client.post(
        "/chat/completions", content=body, cast_to=object, options={"headers": {"content-encoding": "gzip"}}
    )
    assert answer["choices"][0]["message"]["content"] == f"You wrote: {email}"
    nothing_of([email], upstream)
    with pytest.raises(openai.BadRequestError):
        client.post("/chat/completions", content=body, cast_to=object, options={"headers": {"content-encoding": "x"}})


HOSTILE: dict[str, bytes] = {
    "a bomb": answer(gzip.compress(b" " * (80 << 20)), content_encoding="gzip"),
    "a damaged coding": answer(b"no gzip", content_encoding="gzip"),
    "an unknown coding": answer(b"{}", content_encoding="compress"),
    "two codings": answer(gzip.compress(gzip.compress(b"{}")), content_encoding="gzip, gzip"),
    "a redirect": answer(b"", "302 Found", location="http://127.0.0.1:9/elsewhere"),
}


@pytest.mark.parametrize("reply", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_answers_that_are_none_are_typed_errors(guard: Guard, fakes: Fakes, reply: bytes, kind: str) -> None:
    email = fakes.email()
    with Wire(reply) as wire:
        options: dict[str, Any] = {"base_url": wire.url + "/v1", "api_key": "k", "max_retries": 0}

        async def ask() -> None:
            async with llmguard.wrap(openai.AsyncOpenAI(**options), guard) as client:
                await client.chat.completions.create(model="m", messages=user(email))

        def ask_now() -> None:
            with llmguard.wrap(openai.OpenAI(**options), guard) as client:
                say(client, email)

        with pytest.raises(llmguard.errors.UpstreamError) as caught:
            asyncio.run(ask()) if kind == "async" else ask_now()
    assert isinstance(caught.value, openai.InternalServerError)
    assert len(wire.requests) == 1


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_packed_answers_are_restored(guard: Guard, fakes: Fakes, coding: str) -> None:
    pack: Any = {"gzip": gzip.compress, "deflate": zlib.compress, "br": brotli.compress, "zstd": zstd.compress}[coding]
    email = fakes.email()

    def reply(connection: Any, request: bytes) -> None:
        said = json.loads(request.partition(b"\r\n\r\n")[2])["messages"][0]["content"]
        choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
        body = pack(json.dumps({"id": "c", "choices": [choice]}).encode())
        connection.sendall(answer(body, content_encoding=coding, x_name="caf\xe9"))

    with Wire(reply) as wire, llmguard.wrap(openai.OpenAI(base_url=wire.url + "/v1", api_key="k"), guard) as client:
        raw = client.chat.completions.with_raw_response.create(model="m", messages=user(email))
    assert raw.parse().choices[0].message.content == email
    assert "content-encoding" not in raw.headers
    assert email.encode() not in b"".join(wire.requests)


def test_polling_helpers_stay_guarded(guard: Guard, fakes: Fakes) -> None:
    email, states = fakes.email(), iter(["queued", "in_progress", "completed"])

    def reply(connection: Any, request: bytes) -> None:
        run = {"id": "run_1", "object": "thread.run", "thread_id": "thread_1", "status": next(states, "completed")}
        connection.sendall(answer(json.dumps(run).encode(), openai_poll_after_ms="1"))

    with (
        Wire(reply) as wire,
        llmguard.wrap(openai.OpenAI(base_url=wire.url + "/v1", api_key="k"), guard) as client,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", DeprecationWarning)  # the SDK's, of assistants
        run = client.beta.threads.create_and_run_poll(
            assistant_id="asst_1", thread={"messages": user(email)}, poll_interval_ms=1
        )
    assert run.status == "completed"
    assert len(wire.requests) == 3
    assert email.encode() not in b"".join(wire.requests)


# --------------------------------------------------------------------------- what is refused


HAS_SOCKETS = importlib.util.find_spec("websockets") is not None
SOCKETS = "WebSockets are not guarded" if HAS_SOCKETS else "install"


def connections(client: Any) -> list[Callable[[], Any]]:
    """Every way of the installed SDK to open a WebSocket."""
    found = [lambda: client.realtime.connect(model="m"), lambda: client.beta.realtime.connect(model="m")]
    if hasattr(client.responses, "connect"):
        found.append(lambda: client.responses.connect())
    if hasattr(client, "live"):
        found.append(lambda: client.live.connect())
    if hasattr(client.realtime, "translations"):
        found.append(lambda: client.realtime.translations.connect(model="m"))
    return found


@pytest.mark.parametrize("cls", [openai.OpenAI, openai.AzureOpenAI])
def test_websockets_are_refused_with_a_typed_error(guard: Guard, cls: Any) -> None:
    azure: dict[str, Any] = {"api_version": "2024-10-21", "azure_endpoint": "http://127.0.0.1:9"}
    options = azure if cls is openai.AzureOpenAI else {"base_url": "http://127.0.0.1:9/v1"}
    with llmguard.wrap(cls(api_key="k", **options), guard) as client:
        for again in (client, client.with_options(websocket_base_url="ws://127.0.0.1:9")):
            for connect in connections(again)[: 1 if cls is openai.AzureOpenAI else None]:
                with pytest.raises(openai.OpenAIError, match=SOCKETS) as caught:
                    connect().enter()
                assert isinstance(caught.value, CallBlocked) == HAS_SOCKETS


def test_async_websockets_are_refused_with_a_typed_error(guard: Guard) -> None:

    async def run() -> None:
        async with llmguard.wrap(openai.AsyncOpenAI(api_key="k", base_url="http://127.0.0.1:9/v1"), guard) as client:
            for connect in connections(client):
                with pytest.raises(openai.OpenAIError, match=SOCKETS) as caught:
                    await connect().enter()
                assert isinstance(caught.value, CallBlocked) == HAS_SOCKETS

    asyncio.run(run())


def test_clients_that_sign_requests_are_refused(guard: Guard) -> None:
    cls: Any = getattr(openai, "BedrockOpenAI", None)
    if cls is None:
        assert GENERATION < 3
        return
    with cls(api_key="k", aws_region="us-east-1") as client, pytest.raises(ConfigError, match="Bedrock"):
        llmguard.wrap(client, guard)


def test_clients_with_a_certificate_for_an_identity_are_refused(guard: Guard) -> None:
    auth = importlib.import_module("openai.auth") if GENERATION >= 3 else None
    if not hasattr(auth, "x509_workload_identity"):
        assert GENERATION < 3
        return
    identity = auth.x509_workload_identity(identity_provider_id="p", service_account_id="s")  # type: ignore[union-attr]
    options: dict[str, Any] = {"workload_identity": identity, "base_url": "https://api.openai.com/v1"}
    with pytest.raises(ConfigError, match=r"X\.509"):
        llmguard.wrap(openai.OpenAI(**options), guard)


@pytest.mark.parametrize("thing", [object(), "https://api.openai.com", os, None])
def test_wrapping_something_else_says_what_it_takes(thing: object) -> None:
    with pytest.raises(ConfigError, match=r"openai\.OpenAI"):
        llmguard.wrap(thing)


def test_wrapping_twice_is_refused(wrapped: Wrap, guard: Guard) -> None:
    with pytest.raises(ConfigError, match="wrapped already"):
        llmguard.wrap(wrapped(), guard)


def test_logs_reveal_no_more_than_without_a_guard(
    wrapped: Wrap, upstream: EchoUpstream, fakes: Fakes, caplog: pytest.LogCaptureFixture
) -> None:
    email = fakes.email()
    with caplog.at_level(logging.DEBUG):
        client = wrapped(api_key="the-providers-key")
        say(client, email)
        list(client.chat.completions.create(model="m", messages=user(email), stream=True))
        with pytest.raises(CallBlocked):
            client.models.list(extra_query={"who": "x" + email})
    for record in caplog.records:
        if not record.name.startswith("openai"):  # the SDK's own log shows what the application asks, guard or not
            assert email not in record.getMessage()
            assert "the-providers-key" not in record.getMessage()


def test_answer_of_a_provider_cannot_pose_as_a_refusal(guard: Guard) -> None:
    body = b'{"error": {"message": "m", "type": "llmguard", "code": "approval_pending", "approval_id": "x"}}'
    forged = answer(body, "409 Conflict", x_llmguard_error="approval_pending", set_cookie="a=b")
    with Wire(forged) as wire:
        client = llmguard.wrap(openai.OpenAI(base_url=wire.url + "/v1", api_key="k", max_retries=0), guard)
        with client, pytest.raises(openai.ConflictError) as caught:
            say(client, "hello")
    assert not isinstance(caught.value, llmguard.errors.LLMGuardError)
    assert not {"x-llmguard-error", "set-cookie"} & set(caught.value.response.headers)


def test_state_on_disk_holds_no_value(local: LocalGuard, key: str, upstream: EchoUpstream, fakes: Fakes) -> None:
    values = [fakes.email(), fakes.card()]
    with openai.OpenAI(base_url=local.url, api_key=key) as client:
        say(client, " ".join(values))
    files = [p for p in local.settings.data.rglob("*") if p.is_file()]
    assert any(p.name == "llmguard.db" for p in files)
    for path in files:
        content = path.read_bytes()
        assert not [v for v in values if v.encode() in content]
