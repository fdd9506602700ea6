"""The matrix: every way in × every operation that carries text × whole and streamed.

Of each: the provider sees none of the values, the caller gets all of them back in their places, streams have as many
events as were sent, and what a stream says in pieces is what it says at its end.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from llmguard.testing import EchoUpstream, Fakes
from tests.clients.callers import TOOL, Caller, nothing_of, user

FUNCTION = TOOL["function"]
RESPONSES_TOOL = {"type": "function", "strict": False, **FUNCTION}


def written(fakes: Fakes) -> tuple[str, list[str]]:
    """A text with two people, a card and a key, in characters that JSON escapes; and its values."""
    one, other, card, key = fakes.email(), fakes.email(), fakes.card(), fakes.cloud_key()
    text = f'{one} wrote to {other}:\n\t"pay {card}" \\ {one} has "{key}" – naïve \U0001f600'
    return text, [one, other, card, key]


@dataclass(frozen=True)
class Operation:
    """How a text is asked with, and read from an answer and from the events of a stream."""

    name: str
    create: Callable[[Any], Callable[..., Any]]
    asked: Callable[[str], dict[str, Any]]
    answer: Callable[[Any], str]
    streamed: Callable[[list[Any]], str]


def chat(client: Any) -> Any:
    return client.chat.completions.create


def delta(events: list[Any], read: Callable[[Any], Any]) -> str:
    return "".join(read(e.choices[0].delta) or "" for e in events)


def echoed(arguments: str) -> str:
    parsed = json.loads(arguments)
    assert parsed.keys() == {"echo"}
    return str(parsed["echo"])


def response_text(events: list[Any]) -> str:
    by_type = {e.type: e for e in events}
    joined = "".join(e.delta for e in events if e.type == "response.output_text.delta")
    assert joined == by_type["response.output_text.done"].text
    assert joined == by_type["response.content_part.done"].part.text
    assert joined == by_type["response.output_item.done"].item.content[0].text
    assert joined == by_type["response.completed"].response.output_text
    return joined


def response_call(events: list[Any]) -> str:
    by_type = {e.type: e for e in events}
    joined = "".join(e.delta for e in events if e.type == "response.function_call_arguments.delta")
    assert joined == by_type["response.function_call_arguments.done"].arguments
    assert joined == by_type["response.output_item.done"].item.arguments
    assert joined == by_type["response.completed"].response.output[0].arguments
    return echoed(joined)


OPERATIONS = [
    Operation(
        "chat",
        chat,
        lambda text: {"messages": user(text)},
        lambda a: a.choices[0].message.content,
        lambda events: delta(events, lambda d: d.content),
    ),
    Operation(
        "chat tools",
        chat,
        lambda text: {"messages": user(text), "tools": [TOOL]},
        lambda a: echoed(a.choices[0].message.tool_calls[0].function.arguments),
        lambda events: echoed(delta(events, lambda d: d.tool_calls and d.tool_calls[0].function.arguments)),
    ),
    Operation(
        "chat functions",
        chat,
        lambda text: {"messages": user(text), "functions": [FUNCTION]},
        lambda a: echoed(a.choices[0].message.function_call.arguments),
        lambda events: echoed(delta(events, lambda d: d.function_call and d.function_call.arguments)),
    ),
    Operation(
        "completions",
        lambda client: client.completions.create,
        lambda text: {"prompt": text},
        lambda a: a.choices[0].text,
        lambda events: "".join(e.choices[0].text for e in events),
    ),
    Operation(
        "responses",
        lambda client: client.responses.create,
        lambda text: {"input": text},
        lambda a: a.output_text,
        response_text,
    ),
    Operation(
        "responses items",
        lambda client: client.responses.create,
        lambda text: {"input": user([{"type": "input_text", "text": text}]), "instructions": f"Answer {text}"},
        lambda a: a.output_text,
        response_text,
    ),
    Operation(
        "responses tools",
        lambda client: client.responses.create,
        lambda text: {"input": text, "tools": [RESPONSES_TOOL]},
        lambda a: echoed(a.output[0].arguments),
        response_call,
    ),
]
operations = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: o.name.replace(" ", "_"))


@operations
def test_answer_comes_back_whole(caller: Caller, upstream: EchoUpstream, fakes: Fakes, operation: Operation) -> None:
    text, values = written(fakes)
    answer = caller.do(lambda client: operation.create(client)(model="m", **operation.asked(text)))
    assert operation.answer(answer) == f"You wrote: {text}"
    nothing_of(values, upstream)


@operations
def test_stream_comes_back_event_for_event(
    caller: Caller, upstream: EchoUpstream, fakes: Fakes, operation: Operation
) -> None:
    text, values = written(fakes)
    asked = {"model": "m", "stream": True, **operation.asked(text)}
    events = caller.items(lambda client: operation.create(client)(**asked))
    assert operation.streamed(events) == f"You wrote: {text}"
    assert len(events) == upstream.events
    nothing_of(values, upstream)


@operations
def test_stream_that_arrives_byte_by_byte_is_the_same(
    caller: Caller, upstream: EchoUpstream, fakes: Fakes, operation: Operation
) -> None:
    upstream.split = 1
    text = fakes.email()
    asked = {"model": "m", "stream": True, **operation.asked(text)}
    events = caller.items(lambda client: operation.create(client)(**asked))
    assert operation.streamed(events) == f"You wrote: {text}"
    assert len(events) == upstream.events
    nothing_of([text], upstream)


def test_choices_of_one_stream_are_restored_apart(caller: Caller, upstream: EchoUpstream, fakes: Fakes) -> None:
    text = f"{fakes.email()} and {fakes.email()}"
    events = caller.stream(messages=user(text), n=3)
    for i in range(3):
        said = "".join(c.delta.content or "" for e in events for c in e.choices if c.index == i)
        assert said == f"You wrote: {text}"
    assert len(events) == upstream.events


def test_embeddings_of_redacted_text_are_vectors(caller: Caller, upstream: EchoUpstream, fakes: Fakes) -> None:
    text, values = written(fakes)
    answer = caller.do(lambda client: client.embeddings.create(model="m", input=[text, "clean"]))
    assert [list(d.embedding) for d in answer.data] == [[0.25, -0.5, 1.0]] * 2
    nothing_of(values, upstream)


def test_stored_response_is_restored_when_it_is_fetched_again(
    caller: Caller, upstream: EchoUpstream, fakes: Fakes
) -> None:
    text, values = written(fakes)
    created = caller.do(lambda client: client.responses.create(model="m", input=text))
    again = caller.do(lambda client: client.responses.retrieve(created.id))
    assert again.output_text == created.output_text == f"You wrote: {text}"
    nothing_of(values, upstream)


def test_pages_of_stored_items_are_restored(caller: Caller, upstream: EchoUpstream, fakes: Fakes) -> None:
    texts = [f"{i}: {fakes.email()}" for i in range(3)]
    asked = [item for text in texts for item in user(text)]
    created = caller.do(lambda client: client.responses.create(model="m", input=asked))
    items = caller.items(lambda client: client.responses.input_items.list(created.id, limit=1))
    assert [item.content[0].text for item in items] == texts
    assert len([r for r in upstream.received if "input_items" in r.path]) == 3


def test_models_are_listed(caller: Caller, upstream: EchoUpstream) -> None:
    assert [m.id for m in caller.items(lambda client: client.models.list())] == ["echo", "echo-2"]
    assert caller.do(lambda client: client.models.retrieve("echo")).id == "echo"
