"""Every way in to one guard before one upstream: proxy, embedded and remote, sync and async, both transport families.

Guard and upstream live as long as the session, for they take a second to start; the upstream is reset for every test.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import openai
import pytest

import llmguard
from llmguard.config import Settings
from llmguard.guard import Guard
from llmguard.testing import EchoUpstream, LocalGuard
from llmguard.testing.dialect import last_words
from tests.clients.callers import WAYS, Caller

PROVIDER_KEY = "provider-key-of-the-test"


@pytest.fixture(scope="session")
def shared_upstream() -> Iterator[EchoUpstream]:
    with EchoUpstream() as running:
        yield running


@pytest.fixture
def upstream(shared_upstream: EchoUpstream) -> EchoUpstream:
    shared_upstream.received.clear()
    shared_upstream.behave, shared_upstream.split, shared_upstream.events = "echo", 0, 0
    shared_upstream.dialect.say = last_words
    return shared_upstream


@pytest.fixture(scope="session")
def settings(shared_upstream: EchoUpstream, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("guard")
    return Settings(
        data=folder / "data",
        credentials=folder / "credentials.json",
        upstream=shared_upstream.url,
        upstream_name="echo",
        upstream_key=PROVIDER_KEY,
        port=0,
        control_port=0,
    )


@pytest.fixture(scope="session")
def local(settings: Settings) -> Iterator[LocalGuard]:
    with LocalGuard(settings) as running:
        running.person("ann@example.org")
        yield running


@pytest.fixture(scope="session")
def key(local: LocalGuard) -> str:
    return local.key("app", "ann@example.org")


@pytest.fixture(scope="session")
def guard(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guard]:
    with Guard(replace(settings, data=tmp_path_factory.mktemp("embedded") / "data")) as running:
        yield running


@pytest.fixture(scope="session", params=WAYS, ids="-".join)
def any_caller(
    request: pytest.FixtureRequest, local: LocalGuard, key: str, guard: Guard, shared_upstream: EchoUpstream
) -> Iterator[Caller]:
    way, kind, family = request.param
    is_async = kind == "async"
    cls: Any = openai.AsyncOpenAI if is_async else openai.OpenAI

    def make(http: Any) -> Any:
        if way == "proxy":
            return cls(base_url=local.url, api_key=key, max_retries=0, http_client=http)
        own = cls(base_url=shared_upstream.url + "/v1", api_key="own-key", max_retries=0, http_client=http)
        if way == "embedded":
            return llmguard.wrap(own, guard)
        return llmguard.wrap(own, local.url, key=key)

    caller = Caller(make, is_async, family)
    yield caller
    caller.close()


@pytest.fixture
def caller(any_caller: Caller, upstream: EchoUpstream) -> Caller:
    return any_caller
