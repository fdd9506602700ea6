"""Azure OpenAI through the proxy and through a remote guard: its paths, and whose credentials go where."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import openai
import pytest

import llmguard
from llmguard.config import Settings
from llmguard.testing import EchoUpstream, Fakes, LocalGuard
from tests.clients.callers import nothing_of, user

VERSION = "2024-10-21"


@pytest.fixture(scope="module")
def azure(settings: Settings, shared_upstream: EchoUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("azure")
    with LocalGuard(
        replace(settings, data=folder / "data", upstream=shared_upstream.url + "/openai", pass_through=True)
    ) as local:
        local.person("ann@example.org")
        yield local, local.key("app", "ann@example.org")


def host(local: LocalGuard) -> str:
    return local.url.removesuffix("/v1")


def calls(client: Any, email: str) -> list[Callable[[], Any]]:
    return [
        lambda: client.chat.completions.create(model="dep", messages=user(email)),
        lambda: client.with_options(timeout=15).embeddings.create(model="dep", input=email),
        lambda: client.models.list(),
    ]


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("deployment", [None, "dep"])
@pytest.mark.parametrize("way", ["proxy", "remote"])
def test_azure_clients_reach_their_deployments_guarded_and_paid_by_the_guard(
    azure: Any, upstream: EchoUpstream, fakes: Fakes, way: str, kind: str, deployment: str | None
) -> None:
    (local, key), email = azure, fakes.email()
    options: dict[str, Any] = {"api_version": VERSION, "max_retries": 0}
    if deployment:
        options["azure_deployment"] = deployment

    def made(cls: Any) -> Any:
        if way == "proxy":
            return cls(api_key=key, azure_endpoint=host(local), **options)
        own = cls(api_key="own-azure-key", azure_endpoint="https://resource.invalid", **options)
        return llmguard.wrap(own, host(local), key=key)

    async def run() -> list[Any]:
        async with made(openai.AsyncAzureOpenAI) as client:
            return [await call() for call in calls(client, email)]

    if kind == "async":
        answers = asyncio.run(run())
    else:
        with made(openai.AzureOpenAI) as client:
            answers = [call() for call in calls(client, email)]
    assert answers[0].choices[0].message.content == f"You wrote: {email}"
    nothing_of([email], upstream)
    assert [r.path for r in upstream.received] == [
        f"/openai/deployments/dep/chat/completions?api-version={VERSION}",
        f"/openai/deployments/dep/embeddings?api-version={VERSION}",
        f"/openai/models?api-version={VERSION}",
    ]
    for received in upstream.received:
        assert ("api-key", "provider-key-of-the-test") in received.headers
        assert "authorization" not in dict(received.headers)
        assert "own-azure-key" not in repr(received.headers)


def test_plain_clients_reach_azures_v1(azure: Any, upstream: EchoUpstream, fakes: Fakes) -> None:
    (local, key), email = azure, fakes.email()
    for root in ("/v1", "/openai/v1"):
        with openai.OpenAI(base_url=host(local) + root, api_key=key, max_retries=0) as client:
            assert client.responses.create(model="dep", input=email).output_text == f"You wrote: {email}"
    assert [r.path for r in upstream.received] == ["/openai/v1/responses"] * 2
    nothing_of([email], upstream)


def test_a_callers_own_key_and_token_pass_through_as_they_came(azure: Any, upstream: EchoUpstream) -> None:
    local, _ = azure
    for own, header in (
        ({"api_key": "own-azure-key"}, ("api-key", "own-azure-key")),
        ({"azure_ad_token": "own-entra-token"}, ("authorization", "Bearer own-entra-token")),
    ):
        client = openai.AzureOpenAI(azure_endpoint=host(local), api_version=VERSION, max_retries=0, **own)  # type: ignore[call-overload]
        with client:
            client.chat.completions.create(model="dep", messages=user("hello"))
        paid = [pair for pair in upstream.received[-1].headers if pair[0] in ("api-key", "authorization")]
        assert paid == [header]


def test_a_token_of_entra_id_does_not_go_to_a_remote_guard(azure: Any, upstream: EchoUpstream) -> None:
    local, key = azure
    asked: list[str] = []

    def token() -> str:
        asked.append("token")
        return "own-entra-token"

    own = openai.AzureOpenAI(
        azure_ad_token_provider=token, azure_endpoint="https://resource.invalid", api_version=VERSION, max_retries=0
    )
    with llmguard.wrap(own, host(local), key=key) as client:
        client.chat.completions.create(model="dep", messages=user("hello"))
    assert not asked
    assert "own-entra-token" not in repr(upstream.received[-1].headers)


def test_azures_paths_need_an_azure_upstream(local: LocalGuard, key: str, upstream: EchoUpstream) -> None:
    client = openai.AzureOpenAI(api_key=key, azure_endpoint=host(local), api_version=VERSION, max_retries=0)
    with client, pytest.raises(openai.PermissionDeniedError, match="upstream"):
        client.chat.completions.create(model="dep", messages=user("hello"))
    assert not upstream.received


def test_azures_address_can_be_written_with_or_without_v1(settings: Settings) -> None:
    azure = replace(settings, upstream="https://name.openai.azure.com/openai/")
    assert azure.destination.base_url == "https://name.openai.azure.com/openai"
    assert replace(settings, upstream="https://name.openai.azure.com/openai/v1").destination == azure.destination
