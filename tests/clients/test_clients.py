"""What an application sees through the guard, and what the provider sees: chat, streams, tools, errors."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from llmguard.testing import EchoUpstream, Fakes
from tests.clients.callers import TOOL, nothing_of, user


def test_chat_returns_what_was_written_and_the_provider_sees_none_of_it(
    caller: Any, upstream: EchoUpstream, fakes: Fakes
) -> None:
    values = [fakes.email(), fakes.card(), fakes.cloud_key()]
    text = f"Mail {values[0]}, card {values[1]}, key {values[2]} – naïve \U0001f600"
    answer = caller.chat(messages=user(text))
    assert answer.choices[0].message.content == f"You wrote: {text}"
    nothing_of(values, upstream)
    assert "naïve \U0001f600" in upstream.received[0].json()["messages"][0]["content"]


def test_two_people_come_back_as_themselves(caller: Any, fakes: Fakes) -> None:
    one, other = fakes.email(), fakes.email()
    answer = caller.chat(messages=user(f"{one} wrote to {other}; {one} waits"))
    assert answer.choices[0].message.content == f"You wrote: {one} wrote to {other}; {one} waits"


def test_stream_arrives_restored_in_as_many_pieces_as_were_sent(
    caller: Any, upstream: EchoUpstream, fakes: Fakes
) -> None:
    values = [fakes.email(), fakes.token()]
    text = f"first {values[0]} then {values[1]}, done"
    chunks = caller.stream(messages=user(text))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == f"You wrote: {text}"
    assert len(chunks) == upstream.events
    nothing_of(values, upstream)


def test_tool_arguments_are_redacted_and_restored_as_json(caller: Any, upstream: EchoUpstream, fakes: Fakes) -> None:
    values = [fakes.email(), fakes.card()]
    arguments = json.dumps({"to": values[0], "note": f'he said "{values[1]}"\n', "deep": json.dumps({"m": values[0]})})
    call = {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": arguments}}
    messages: Any = [
        *user("go on"),
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": json.dumps({"found": values[0]})},
    ]
    answer = caller.chat(messages=messages, tools=[TOOL])
    nothing_of(values, upstream)
    sent = json.loads(upstream.received[0].json()["messages"][1]["tool_calls"][0]["function"]["arguments"])
    assert sent.keys() == {"to", "note", "deep"}
    assert json.loads(sent["deep"])["m"] == sent["to"]
    back = json.loads(answer.choices[0].message.tool_calls[0].function.arguments)
    assert back == {"echo": f"You wrote: {json.dumps({'found': values[0]})}"}


def test_streamed_tool_arguments_parse_to_the_original(caller: Any, fakes: Fakes) -> None:
    text = f'quote " backslash \\ and {fakes.email()}'
    chunks = caller.stream(messages=user(text), tools=[TOOL])
    deltas = [c.choices[0].delta for c in chunks]
    pieces = [t.function.arguments or "" for d in deltas for t in d.tool_calls or []]
    assert json.loads("".join(pieces)) == {"echo": f"You wrote: {text}"}


def test_same_value_has_the_same_placeholder_in_the_next_turn(
    caller: Any, upstream: EchoUpstream, fakes: Fakes
) -> None:
    email = fakes.email()
    first = caller.chat(messages=user(f"I am {email}"))
    history: Any = [*user(f"I am {email}"), {"role": "assistant", "content": first.choices[0].message.content}]
    caller.chat(messages=[*history, *user("who am I?")])
    one, two = (r.json()["messages"][0]["content"] for r in upstream.received)
    assert one == two
    assert email not in one


def test_lookalikes_come_back_unchanged(caller: Any, fakes: Fakes) -> None:
    text = f"[EMAIL_aaaaaaaaaa] and [PERSON_k7q2m4x9ab] beside {fakes.email()}"
    answer = caller.chat(messages=user(text))
    assert answer.choices[0].message.content == f"You wrote: {text}"


def test_clean_request_arrives_byte_for_byte(caller: Any, upstream: EchoUpstream) -> None:
    raw = b'{ "model":"m" ,"messages":[{"role":"user","content":"caf\\u00e9"}],"temperature":1e0, "top_p":1.00}'

    def post(client: Any) -> Any:
        return client.post("/chat/completions", cast_to=object, content=raw)

    caller.do(post)
    assert upstream.received[0].body == raw


def test_provider_error_is_the_sdks_own_and_holds_the_original(
    caller: Any, upstream: EchoUpstream, fakes: Fakes
) -> None:
    email = fakes.email()
    upstream.behave = "error"
    with pytest.raises(openai.InternalServerError) as caught:
        caller.chat(messages=user(email))
    assert email in str(caught.value)
    nothing_of([email], upstream)


def test_provider_that_hangs_up_is_a_typed_error(caller: Any, upstream: EchoUpstream) -> None:
    upstream.behave = "hangup"
    with pytest.raises((openai.InternalServerError, openai.APIConnectionError)):
        caller.chat(messages=user("hello"))


def test_provider_that_breaks_off_mid_stream_is_a_typed_error(caller: Any, upstream: EchoUpstream) -> None:
    upstream.behave = "cut_stream"
    with pytest.raises(openai.APIError):
        caller.stream(messages=user("a long enough message to be cut"))


def test_duplicate_keys_are_a_bad_request(caller: Any, upstream: EchoUpstream) -> None:
    def post(client: Any) -> Any:
        return client.post("/chat/completions", cast_to=object, content=b'{"model": "m", "model": "n"}')

    with pytest.raises(openai.BadRequestError) as caught:
        caller.do(post)
    assert caught.value.code == "unscannable_request"
    assert not upstream.received


def test_administration_is_refused(caller: Any, upstream: EchoUpstream) -> None:
    with pytest.raises(openai.PermissionDeniedError) as caught:
        caller.do(lambda client: client.get("/organization/users", cast_to=object))
    assert caught.value.code == "blocked"
    assert not upstream.received


def test_value_in_the_query_is_refused(caller: Any, upstream: EchoUpstream, fakes: Fakes) -> None:
    email = fakes.email()
    with pytest.raises(openai.PermissionDeniedError):
        caller.do(lambda client: client.models.list(extra_query={"who": email}))
    assert not upstream.received
