"""The SDK's own accumulators take restored streams: chat, responses, tool arguments, a value at the very end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from llmguard.config import Settings
from llmguard.guard import Guard
from llmguard.testing import EchoUpstream, Fakes
from llmguard.testing.dialect import last_words
from llmguard.wrapper import wrap

SHAPES = ["{}", "Ask {}.", "ask {} or {}", "{}'s list: {}, P", "see [{}", "E"]


@pytest.fixture(scope="module")
def upstream() -> Iterator[EchoUpstream]:
    with EchoUpstream(piece=3) as running:
        yield running


@pytest.fixture(scope="module")
def client(upstream: EchoUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    settings = Settings(data=tmp_path_factory.mktemp("guard") / "data", upstream=upstream.url, names=False)
    with Guard(settings) as guard, openai.OpenAI(base_url=upstream.url + "/v1", api_key="k", max_retries=0) as own:
        yield wrap(own, guard)


def bare(body: Any) -> str:
    """The first placeholder in the request, without its brackets: whether it is over only what follows can tell."""
    asked = json.dumps(body)
    return asked[asked.index("[EMAIL_") + 1 :].partition("]")[0]


@pytest.mark.parametrize("shape", SHAPES)
def test_chat_streams_accumulate(client: Any, upstream: EchoUpstream, fakes: Fakes, shape: str) -> None:
    email = fakes.email()
    upstream.dialect.say = lambda body: shape.replace("{}", bare(body))
    with client.chat.completions.stream(model="m", messages=[{"role": "user", "content": email}]) as stream:
        events = list(stream)
        said = stream.get_final_completion().choices[0].message.content
    assert said == shape.replace("{}", email)
    assert [e.content for e in events if e.type == "content.done"] == [said]


@pytest.mark.parametrize("shape", SHAPES)
def test_responses_streams_accumulate(client: Any, upstream: EchoUpstream, fakes: Fakes, shape: str) -> None:
    email = fakes.email()
    upstream.dialect.say = lambda body: shape.replace("{}", bare(body))
    with client.responses.stream(model="m", input=email) as stream:
        events = list(stream)
        said = stream.get_final_response().output_text
    assert said == shape.replace("{}", email)
    deltas = [e for e in events if e.type == "response.output_text.delta"]
    assert "".join(e.delta for e in deltas) == said
    assert deltas[-1].snapshot == said
    assert [e.sequence_number for e in events] == list(range(len(events)))


def test_tool_arguments_accumulate(client: Any, upstream: EchoUpstream, fakes: Fakes) -> None:
    email = fakes.email()
    upstream.dialect.say = last_words
    tool = {"type": "function", "name": "send", "parameters": {"type": "object", "properties": {}}, "strict": False}
    with client.responses.stream(model="m", input=f'"{email}"', tools=[tool]) as stream:
        events = list(stream)
    done = [e for e in events if e.type == "response.function_call_arguments.done"]
    assert json.loads(done[0].arguments) == {"echo": f'You wrote: "{email}"'}
    assert "".join(e.delta for e in events if e.type == "response.function_call_arguments.delta") == done[0].arguments
