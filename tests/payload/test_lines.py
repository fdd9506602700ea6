"""Lines of files: what OpenAI takes passes, and every defect is said once, by its place and without its content."""

from __future__ import annotations

import json
import pickle
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard.payload import lines
from llmguard.payload.json import parse

SYSTEM = {"role": "system", "content": "Answer shortly."}
USER = {"role": "user", "content": "Where is my order?"}
ASSISTANT = {"role": "assistant", "content": "On its way."}
CALL = {"id": "call_1", "type": "function", "function": {"name": "find_order", "arguments": '{"number": 7}'}}
TOOL = {"type": "function", "function": {"name": "find_order", "parameters": {"type": "object"}}}
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
WORD = {"type": "text", "text": "Look at this."}
CALLING = {
    "messages": [
        {"role": "developer", "content": [WORD]},
        {"role": "user", "content": [WORD, IMAGE], "name": "ann"},
        {"role": "assistant", "tool_calls": [CALL], "weight": 0},
        {"role": "tool", "tool_call_id": "call_1", "content": "in transit"},
        {**ASSISTANT, "weight": 1},
    ],
    "tools": [TOOL],
    "parallel_tool_calls": False,
}
OLD_CALLING = {
    "messages": [
        USER,
        {"role": "assistant", "content": None, "function_call": {"name": "find_order", "arguments": "{}"}},
        {"role": "function", "name": "find_order", "content": None},
        ASSISTANT,
    ],
    "functions": [{"name": "find_order"}],
}
CHAT = {"messages": [SYSTEM, USER, ASSISTANT]}
DPO = {
    "input": {"messages": [SYSTEM, USER], "tools": [TOOL], "parallel_tool_calls": True},
    "preferred_output": [ASSISTANT],
    "non_preferred_output": [{"role": "assistant", "content": "No idea."}],
}
RFT = {"messages": [SYSTEM, USER], "tools": [TOOL], "reference_answer": {"capital": "Bern", "year": 1848}}
PROMPT = {"prompt": "Bern is in", "completion": " Switzerland"}
BATCH = {
    "custom_id": "row-1",
    "method": "POST",
    "url": "/v1/chat/completions",
    "body": {"model": "gpt-4o-mini", "messages": [USER], "stream": False},
}
EVAL = {"item": {"question": "Where?", "answer": "Here."}, "sample": {"output_text": "There."}}
REFUSES = {"messages": [USER, {"role": "assistant", "content": [{"type": "refusal", "refusal": "I can't."}]}]}
SAYS_NO = {"messages": [USER, {"role": "assistant", "refusal": "I can't."}]}


def parsed(value: Any) -> Any:
    return parse(json.dumps(value).encode()).value


def changed(value: Any, path: str, new: Any) -> Any:
    """The value with another one at a path like ``messages/2/role``; ``...`` takes it away."""
    value = json.loads(json.dumps(value))
    at, keys = value, [int(k) if k.isdigit() else k for k in path.split("/")]
    for key in keys[:-1]:
        at = at[key]
    if new is ...:
        del at[keys[-1]]
    else:
        at[keys[-1]] = new
    return value


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("sft", CHAT),
        ("sft", CALLING),
        ("sft", OLD_CALLING),
        ("sft", REFUSES),
        ("sft", SAYS_NO),
        ("sft", {**CHAT, "metadata": {"from": "store"}}),
        ("dpo", DPO),
        ("rft", RFT),
        ("rft", {"messages": [USER]}),
        ("prompt", PROMPT),
        ("batch", BATCH),
        ("batch", {**BATCH, "url": "/chat/completions"}),
        ("batch", {**BATCH, "url": "/v1/responses", "body": {"prompt": {"id": "pmpt_1"}}}),
        ("eval", EVAL),
        ("eval", {"item": {}}),
        ("plain", {"anything": [1, None]}),
        ("plain", "a word"),
    ],
)
def test_what_openai_takes_has_no_problem(kind: lines.LineKind, value: Any) -> None:
    assert lines.problem(kind, parsed(value)) is None


DEFECTS = [
    ("sft", [CHAT], "the line is not an object"),
    ("sft", {}, "messages: missing, or not a list with messages"),
    ("sft", {"messages": []}, "messages: missing, or not a list with messages"),
    ("sft", {"messages": [SYSTEM, USER]}, "messages: the last one is not from the assistant"),
    ("sft", changed(CHAT, "messages/1", "hello"), "messages[1]: not an object"),
    (
        "sft",
        changed(CHAT, "messages/2/role", "agent"),
        "messages[2].role: not system, developer, user, assistant, tool or function",
    ),
    (
        "sft",
        changed(CHAT, "messages/2/role", ["assistant"]),
        "messages[2].role: not system, developer, user, assistant, tool or function",
    ),
    (
        "sft",
        changed(CHAT, "messages/1/content", ...),
        "messages[1].content: missing, or neither a string nor a list of parts",
    ),
    (
        "sft",
        changed(CHAT, "messages/2/content", None),
        "messages[2].content: missing, or neither a string nor a list of parts",
    ),
    ("sft", changed(CHAT, "messages/2/weight", 2), "messages[2].weight: not 0 or 1"),
    ("sft", changed(CHAT, "messages/2/weight", True), "messages[2].weight: not 0 or 1"),
    ("sft", changed(CALLING, "messages/1/name", 7), "messages[1].name: not a string"),
    ("sft", changed(CALLING, "messages/0/content/0", IMAGE), "messages[0].content[0].type: not text"),
    (
        "sft",
        changed(CALLING, "messages/1/content/0", {"type": "input_audio", "input_audio": {"data": "AAAA"}}),
        "messages[1].content[0].type: not text or image_url",
    ),
    (
        "sft",
        changed(CALLING, "messages/1/content/1/image_url", "https://example.com"),
        "messages[1].content[1].image_url.url: missing, or not a string",
    ),
    ("sft", changed(CALLING, "messages/1/content/0/text", 1), "messages[1].content[0].text: missing, or not a string"),
    ("sft", changed(CALLING, "messages/2/tool_calls", []), "messages[2].tool_calls: not a list with calls"),
    (
        "sft",
        changed(CALLING, "messages/2/tool_calls/0/id", ...),
        "messages[2].tool_calls[0].id: missing, or not a string",
    ),
    ("sft", changed(CALLING, "messages/2/tool_calls/0/type", "custom"), "messages[2].tool_calls[0].type: not function"),
    (
        "sft",
        changed(CALLING, "messages/2/tool_calls/0/function/arguments", {"number": 7}),
        "messages[2].tool_calls[0].function.arguments: missing, or not a string of JSON",
    ),
    (
        "sft",
        changed(CALLING, "messages/3/tool_call_id", ...),
        "messages[3].tool_call_id: missing, or not a string",
    ),
    (
        "sft",
        changed(OLD_CALLING, "messages/1/function_call/name", ...),
        "messages[1].function_call.name: missing, or not a string",
    ),
    ("sft", changed(OLD_CALLING, "messages/2/name", ...), "messages[2].name: missing"),
    ("sft", changed(OLD_CALLING, "functions", []), "functions: not a list of 1 to 128 functions"),
    ("sft", changed(SAYS_NO, "messages/1/refusal", False), "messages[1].refusal: not a string"),
    ("sft", changed(CALLING, "tools", {}), "tools: not a list"),
    ("sft", changed(CALLING, "tools/0/type", "web_search"), "tools[0].type: not function"),
    (
        "sft",
        changed(CALLING, "tools/0/function/name", "find an order"),
        "tools[0].function.name: not 1 to 64 letters, digits, underscores and dashes",
    ),
    ("sft", changed(CALLING, "tools/0/function/parameters", "none"), "tools[0].function.parameters: not an object"),
    ("sft", changed(CALLING, "parallel_tool_calls", "no"), "parallel_tool_calls: not true or false"),
    ("dpo", {**DPO, "input": [USER]}, "input: missing, or not an object"),
    ("dpo", changed(DPO, "input/messages", []), "input.messages: missing, or not a list with messages"),
    (
        "dpo",
        changed(DPO, "input/messages/1/content", 1),
        "input.messages[1].content: missing, or neither a string nor a list of parts",
    ),
    ("dpo", changed(DPO, "preferred_output", ...), "preferred_output: missing, or not a list with messages"),
    ("dpo", changed(DPO, "non_preferred_output", [ASSISTANT] * 2), "non_preferred_output: more than one message"),
    ("dpo", changed(DPO, "non_preferred_output", [USER]), "non_preferred_output[0].role: not assistant"),
    (
        "rft",
        {**RFT, "messages": [USER, ASSISTANT]},
        "messages: the last one is not from the user, as reinforcement wants it",
    ),
    ("rft", changed(RFT, "tools/0/function", ...), "tools[0].function: missing, or not an object"),
    ("prompt", {"prompt": "a"}, "completion: missing, or not a string"),
    ("prompt", {"prompt": ["a"], "completion": "b"}, "prompt: missing, or not a string"),
    ("batch", changed(BATCH, "custom_id", 7), "custom_id: missing, or not a string"),
    ("batch", changed(BATCH, "custom_id", ""), "custom_id: missing, or not a string"),
    ("batch", changed(BATCH, "method", "GET"), "method: not POST"),
    ("batch", changed(BATCH, "url", "/v1/files"), "url: not an endpoint that a batch may call"),
    (
        "batch",
        changed(BATCH, "url", "https://example.com/v1/chat/completions"),
        "url: not an endpoint that a batch may call",
    ),
    ("batch", changed(BATCH, "body", "{}"), "body: missing, or not an object"),
    ("batch", changed(BATCH, "body/stream", True), "body.stream: a batch cannot stream"),
    ("batch", changed(BATCH, "body/model", None), "body.model: not a string"),
    ("eval", {"question": "Where?"}, "item: missing, or not an object"),
    ("eval", {"item": {}, "sample": "text"}, "sample: not an object"),
]


@pytest.mark.parametrize(
    ("kind", "value", "said"), DEFECTS, ids=[f"{kind}-{i}" for i, (kind, _, _) in enumerate(DEFECTS)]
)
def test_one_defect_is_said_with_its_place(kind: lines.LineKind, value: Any, said: str) -> None:
    assert lines.problem(kind, parsed(value)) == said


@pytest.mark.parametrize(
    ("purpose", "value", "kind"),
    [
        ("fine-tune", CHAT, "sft"),
        ("fine-tune", DPO, "dpo"),
        ("fine-tune", RFT, "rft"),
        ("fine-tune", PROMPT, "prompt"),
        ("fine-tune", {"messages": [USER]}, "rft"),
        ("fine-tune", 7, "sft"),
        ("batch", CHAT, "batch"),
        ("evals", CHAT, "eval"),
        ("user_data", CHAT, "plain"),
        ("assistants", BATCH, "plain"),
        ("", BATCH, "batch"),
        ("", EVAL, "eval"),
        ("", CHAT, "sft"),
        ("", {"item": "a bolt", "price": 3}, "plain"),
        ("", {"text": "once upon a time"}, "plain"),
        ("", [1], "plain"),
    ],
)
def test_the_purpose_says_what_a_line_has_to_be(purpose: str, value: Any, kind: lines.LineKind) -> None:
    assert lines.kind_of(purpose, parsed(value)) == kind


def test_a_batch_line_calls_an_operation_of_the_table() -> None:
    assert lines.operation_of(parsed(BATCH)).name == "chat.completions.create"  # type: ignore[union-attr]
    assert lines.operation_of(parsed({**BATCH, "url": "/v1/embeddings"})).name == "embeddings.create"  # type: ignore[union-attr]
    for nothing in (
        {**BATCH, "method": "DELETE"},
        {**BATCH, "url": "/v1/fine_tuning/jobs"},
        {**BATCH, "url": ["/v1"]},
        7,
    ):
        assert lines.operation_of(parsed(nothing)) is None


# --------------------------------------------------------------------------- the whole file


def batch(i: int, **more: Any) -> Any:
    return parsed({**BATCH, "custom_id": f"row-{i}", **more})


def whole(kind: lines.LineKind, *values: Any, first: int = 0) -> lines.Whole:
    whole = lines.Whole(kind)
    for record, value in enumerate(values, first):
        whole.add(record, value)
    return whole


def test_ten_examples_make_a_training_file() -> None:
    assert whole("sft", *[parsed(CHAT)] * 9).problems() == ("fewer than 10 examples",)
    assert whole("sft", *[parsed(CHAT)] * 10).problems() == ()
    assert whole("eval", parsed(EVAL)).problems() == ()


def test_a_custom_id_stands_once_in_a_file() -> None:
    found = whole("batch", batch(1), batch(2), batch(1), batch(3), batch(1))
    assert found.problems() == ("the same custom_id again (line 3, 5)",)


def test_a_batch_has_one_url_and_one_model() -> None:
    one = {"url": "/v1/embeddings", "body": {"model": "text-embedding-3-small", "input": "a"}}
    assert whole("batch", batch(1), batch(2, **one)).problems() == (
        "requests to more than one url",
        "requests to more than one model",
    )
    assert whole("batch", batch(1), batch(2, url="/chat/completions")).problems() == ()


def test_a_batch_has_at_most_fifty_thousand_requests_and_texts_to_embed() -> None:
    one = batch(1)
    found = whole("batch", *({**one, "custom_id": str(i)} for i in range(lines.MAX_REQUESTS + 1)))
    assert found.problems() == ("more than 50000 requests",)
    assert not found.ids
    many = {"url": "/v1/embeddings", "body": {"model": "text-embedding-3-small", "input": ["a"] * 30_000}}
    assert whole("batch", batch(1, **many), batch(2, **many)).problems() == ("more than 50000 texts to embed",)
    tokens = {"url": "/v1/embeddings", "body": {"model": "text-embedding-3-small", "input": [1] * 30_000}}
    assert whole("batch", batch(1, **tokens), batch(2, **tokens)).problems() == ()


def test_a_file_holds_no_text_of_its_lines() -> None:
    found = whole("batch", batch(1, custom_id="anna.meier@example.com"))
    assert b"anna" not in pickle.dumps(found)


@given(st.lists(st.integers(0, 12), max_size=30), st.lists(st.integers(0, 30), max_size=4))
def test_a_file_says_the_same_however_it_was_cut(numbers: list[int], cuts: list[int]) -> None:
    values = [batch(n, body={"model": "gpt-4o" if n else "o3"}) for n in numbers]
    bounds = sorted({0, len(values), *(c for c in cuts if c < len(values))})
    pieces = [whole("batch", *values[a:b], first=a) for a, b in pairwise(bounds)]
    together = lines.Whole("batch")
    for piece in reversed(pieces):
        together = pickle.loads(pickle.dumps(piece)) + together
    assert together.problems() == whole("batch", *values).problems()


# --------------------------------------------------------------------------- any JSON

NAMES = """
messages role content type text image_url url weight tool_calls function name arguments tools functions id refusal
parallel_tool_calls input preferred_output non_preferred_output prompt completion custom_id method body item sample
stream model tool_call_id function_call parameters
"""
KEYS = st.sampled_from(NAMES.split())
WORDS = st.sampled_from(
    ["user", "assistant", "system", "tool", "function", "text", "refusal", "image_url", "POST", "/v1/chat/completions"]
)
CANARY = "Zyxw-canary"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 2) | WORDS | st.just(CANARY),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.just(CANARY), inner, max_size=5),
    max_leaves=24,
)
KINDS: tuple[lines.LineKind, ...] = ("sft", "dpo", "rft", "prompt", "batch", "eval", "plain")


@given(JSON, st.sampled_from(("", "fine-tune", "batch", "evals", "user_data")))
def test_any_json_is_told_about_without_its_content(value: Any, purpose: str) -> None:
    value = parsed(value)
    lines.operation_of(value)
    for kind in (*KINDS, lines.kind_of(purpose, value)):
        said = lines.problem(kind, value)
        assert said is None or (CANARY not in said and "\n" not in said)
        if said is None:
            lines.Whole(kind).add(0, value)


@given(JSON, st.sampled_from([CHAT, CALLING, OLD_CALLING, DPO, RFT, BATCH, EVAL]), st.data())
def test_any_json_in_any_place_of_a_good_line_never_raises(new: Any, line: Any, data: st.DataObject) -> None:
    value = json.loads(json.dumps(line))
    at: Any = value
    while True:
        key = data.draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at))))
        if not at[key] or not isinstance(at[key], dict | list) or data.draw(st.booleans()):
            break
        at = at[key]
    at[key] = new
    value = parsed(value)
    for kind in KINDS:
        said = lines.problem(kind, value)
        assert said is None or CANARY not in said
