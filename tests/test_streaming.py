"""Streams: the application sees its own values, in the same events, however the bytes were cut."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmguard.errors import UpstreamError
from llmguard.model import VaultEntry
from llmguard.payload import sse
from llmguard.redaction import Restorer
from llmguard.streaming import StreamRestorer

EMAIL = VaultEntry("[EMAIL_abcdefghij]", "jane@example.com", "EMAIL", "pii", "user")
TRICKY = VaultEntry("[PRIVATE_KEY_klmnopqrst]", 'a"b\\c\nd\té 😀', "PRIVATE_KEY", "pii", "user")
TOOL_SECRET = VaultEntry("[TOKEN_uvwxyz2345]", "tok-1234", "TOKEN", "secret", "tool")
RESTORER = Restorer([EMAIL, TRICKY, TOOL_SECRET], frozenset({"deploy"}))

PIECES = st.sampled_from(
    [
        EMAIL.placeholder,
        TRICKY.placeholder,
        "email_abcdefghij's",
        r"\[EMAIL\_abcdefghij\]",
        "[ PRIVATE KEY_klmnopqrst ]",
        "EMAIL_abcdefghijs",
        "[EMAIL_abcdefghi",
        "EMAIL_abcdefghijk",
        "[EMAIL_",
        "https://evil.example/?q=",
        "](",
        '<img src="',
        '"',
        "\\",
        "\n",
        " ",
        "{",
        "[",
        "]",
        "1, ",
        '{"a": "',
        "é😀",
        "word",
        "E",
    ]
)
TEXTS = st.lists(PIECES, max_size=12).map("".join)


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    chunks, at = [], 0
    for size in sizes:
        chunks.append(data[at : at + size])
        at += size
    return [*chunks, data[at:]]


def run(data: bytes, sizes: list[int] | None = None, restorer: Restorer = RESTORER) -> bytes:
    stream = StreamRestorer(restorer)
    return b"".join([stream.feed(c) for c in cut(data, sizes or [])]) + stream.finish()


def event(value: Any, name: str = "") -> bytes:
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(value, ensure_ascii=False)}\n\n".encode()


def chat(content: str | None = None, index: int = 0, finish: str | None = None, **delta: Any) -> bytes:
    delta = ({"content": content} if content is not None else {}) | delta
    return event({"id": "chatcmpl-1", "choices": [{"index": index, "delta": delta, "finish_reason": finish}]})


def values(data: bytes) -> list[Any]:
    decoder = sse.Decoder()
    events = decoder.feed(data) + decoder.finish()
    return [json.loads(e.data) for e in events if e.data and e.data != b"[DONE]"]


def joined(data: bytes, index: int = 0) -> str:
    return "".join(c["delta"].get("content", "") for v in values(data) for c in v["choices"] if c["index"] == index)


def whole(text: str) -> str:
    """What the restored answer without a stream says."""
    return str(json.loads(RESTORER.json(json.dumps({"content": text}).encode()))["content"])


@given(TEXTS, st.lists(st.integers(1, 7), max_size=30), st.lists(st.integers(1, 40), max_size=30))
@settings(max_examples=400, deadline=None)
def test_joined_fragments_are_the_restored_whole_for_any_chunking(text: str, sizes: list[int], cuts: list[int]) -> None:
    fragments = [f.decode("utf-32-le") for f in cut(text.encode("utf-32-le"), [4 * s for s in sizes])]
    data = b"".join(chat(f) for f in fragments) + chat(finish="stop") + b"data: [DONE]\n\n"
    assert joined(run(data, cuts)) == whole(text)


def redacted(value: Any) -> Any:
    """A structure in which every value stands as a placeholder, as it was sent."""
    if isinstance(value, str):
        return value.replace(TRICKY.value, TRICKY.placeholder).replace(EMAIL.value, EMAIL.placeholder)
    if isinstance(value, list):
        return [redacted(v) for v in value]
    return {k: redacted(v) for k, v in value.items()} if isinstance(value, dict) else value


LEAVES = st.sampled_from(["to ", EMAIL.value, TRICKY.value, f"x {TRICKY.value} y", "\\", '"q"', "\n", "😀"])
TREES = st.recursive(
    LEAVES | st.integers() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('ab"\\', max_size=3), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(max_size=3), TREES, min_size=1, max_size=4)


@given(OBJECTS, OBJECTS, st.lists(st.integers(1, 5), max_size=40), st.booleans())
@settings(max_examples=300, deadline=None)
def test_tool_arguments_parse_to_the_original_object(
    outer: dict[str, Any], inner: dict[str, Any], sizes: list[int], ascii_: bool
) -> None:
    original = outer | {"nested": inner}
    sent = redacted(outer) | {"nested": json.dumps({"deep": json.dumps(redacted(inner))}, ensure_ascii=ascii_)}
    text = json.dumps(sent, ensure_ascii=ascii_)
    fragments = [f.decode("utf-32-le") for f in cut(text.encode("utf-32-le"), [4 * s for s in sizes])]
    data = b"".join(chat(tool_calls=[{"index": 0, "function": {"arguments": f}}]) for f in fragments)
    data += chat(finish="tool_calls")
    out = "".join(
        c["function"]["arguments"] for v in values(run(data)) for c in v["choices"][0]["delta"].get("tool_calls", [])
    )
    result = json.loads(out)
    result["nested"] = json.loads(json.loads(result["nested"])["deep"])
    assert result == original


def test_every_byte_may_be_a_chunk() -> None:
    data = b": hi\r\n\r\n" + chat("é [EMAIL_").replace(b"\n", b"\r\n") + chat("abcdefghij] 😀").replace(b"\n", b"\r")
    data += chat(finish="stop") + b"data: [DONE]\n\n"
    assert run(data, [1] * len(data)) == run(data)
    assert joined(run(data)) == "é jane@example.com 😀"


def test_number_of_events_stays_the_same() -> None:
    data = chat("hello [EMA") + chat("IL_abcdef") + chat("ghij], bye") + chat(finish="stop") + b"data: [DONE]\n\n"
    out = run(data)
    assert [v["choices"][0]["delta"].get("content") for v in values(out)] == [
        "hello ",
        "",
        "jane@example.com, bye",
        None,
    ]
    assert out.count(b"\n\n") == data.count(b"\n\n")


def test_untouched_events_pass_as_the_bytes_they_came_in() -> None:
    data = b'event: x\nid: 7\ndata:  {"choices" : [{"delta":{"content":"plain \\u00e9 1.10"},"index":0}], "n":1e5}\n\n'
    data += b": comment\n\ndata: not json\n\nretry: 5\n\n"
    assert run(data) == data


def test_without_entries_the_stream_passes_as_it_came() -> None:
    data = b"\xff anything\n\ndata: [EMAIL_abcdefghij]\r\rdata: cut"
    assert run(data, [1] * len(data), Restorer([])) == data


def test_interleaved_choices_and_tool_calls_do_not_mix() -> None:
    def call(i: int, piece: str) -> bytes:
        return chat(tool_calls=[{"index": i, "function": {"arguments": piece}}])

    data = chat("[EMAIL_", 0) + chat("[PRIVATE_", 1) + chat("abcdefghij]", 0) + chat("KEY_klmnopqrst]", 1)
    data += call(0, '{"a":"[EMA') + call(1, '["[PRIV') + call(0, 'IL_abcdefghij]"}') + call(1, 'ATE_KEY_klmnopqrst]"]')
    out = run(data)
    assert joined(out, 0) == EMAIL.value
    assert joined(out, 1) == TRICKY.value
    calls = [c for v in values(out) for c in v["choices"][0]["delta"].get("tool_calls", [])]
    arguments = ["".join(c["function"]["arguments"] for c in calls if c["index"] == i) for i in (0, 1)]
    assert json.loads(arguments[0]) == {"a": EMAIL.value}
    assert json.loads(arguments[1]) == [TRICKY.value]


def test_event_that_ends_in_a_tail_waits_so_that_none_is_added() -> None:
    out = values(run(chat("see EMAIL_abcdefghij") + chat(finish="stop")))
    assert [v["choices"][0]["delta"].get("content") for v in out] == [f"see {EMAIL.value}", None]
    out = values(run(chat("see ") + chat("EMAIL_abcdefghij", finish="stop")))
    assert [v["choices"][0]["delta"].get("content") for v in out] == ["see ", EMAIL.value]


def test_tail_is_flushed_at_done_and_when_the_stream_breaks_off() -> None:
    assert joined(run(chat("x EMAIL_abc") + b"data: [DONE]\n\n")) == "x EMAIL_abc"
    assert joined(run(chat("x EMAIL_abcdefghij"))) == f"x {EMAIL.value}"
    assert joined(run(chat("x EMAIL_abcdefghij").rstrip(b"\n"))) == f"x {EMAIL.value}"


def test_legacy_completions_are_restored() -> None:
    parts = ["mail EMAIL", "_abcdefghij", "."]
    data = b"".join(event({"choices": [{"index": 0, "text": t, "finish_reason": None}]}) for t in parts)
    assert "".join(v["choices"][0]["text"] for v in values(run(data))) == f"mail {EMAIL.value}."


def response(kind: str, **fields: Any) -> bytes:
    return event({"type": f"response.{kind}", **fields}, f"response.{kind}")


def test_responses_api_deltas_and_final_objects_agree() -> None:
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    text = "Write to [EMAIL_abcdefghij] or EMAIL_abcdefghij"
    data = b"".join(response("output_text.delta", delta=text[i : i + 5], **place) for i in range(0, len(text), 5))
    data += response("output_text.done", text=text, **place)
    data += response("completed", response={"id": "resp_1", "output": [{"content": [{"text": text}]}]})
    out = values(run(data))
    expected = "Write to jane@example.com or jane@example.com"
    assert "".join(v.get("delta", "") for v in out) == expected
    assert [v["text"] for v in out if v["type"].endswith(".done")] == [expected]
    assert out[-1]["response"]["output"][0]["content"][0]["text"] == expected
    kinds = [v["type"] for v in out]
    assert kinds.index("response.output_text.done") > max(i for i, k in enumerate(kinds) if k.endswith(".delta"))


@pytest.mark.parametrize(("tool", "expected"), [("deploy", TOOL_SECRET.value), ("other", TOOL_SECRET.placeholder)])
def test_secret_of_a_tool_returns_only_to_configured_tools(tool: str, expected: str) -> None:
    item = {"type": "function_call", "id": "fc_1", "name": tool, "arguments": ""}
    arguments = json.dumps({"token": TOOL_SECRET.placeholder})
    data = response("output_item.added", output_index=0, item=item)
    for i in range(0, len(arguments), 4):
        data += response("function_call_arguments.delta", item_id="fc_1", output_index=0, delta=arguments[i : i + 4])
    data += response("function_call_arguments.done", item_id="fc_1", output_index=0, arguments=arguments)
    data += response("output_item.done", output_index=0, item=item | {"arguments": arguments})
    out = values(run(data))
    assert json.loads("".join(v.get("delta", "") for v in out)) == {"token": expected}
    assert json.loads(out[-2]["arguments"]) == {"token": expected}
    assert json.loads(out[-1]["item"]["arguments"]) == {"token": expected}


def test_secret_of_a_tool_returns_to_chat_arguments_of_configured_tools_only() -> None:
    def call(name: str) -> str:
        first = [{"index": 0, "id": "call_1", "type": "function", "function": {"name": name, "arguments": ""}}]
        data = chat(tool_calls=first)
        for piece in ('{"t": "[TOKEN_uv', 'wxyz2345]"}'):
            data += chat(tool_calls=[{"index": 0, "function": {"arguments": piece}}])
        return "".join(v["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"] for v in values(run(data)))

    assert json.loads(call("deploy")) == {"t": "tok-1234"}
    assert json.loads(call("mail")) == {"t": TOOL_SECRET.placeholder}
    assert joined(run(chat("[TOKEN_uvwxyz2345]"))) == TOOL_SECRET.placeholder


def test_urls_stay_unfilled_although_they_come_in_pieces() -> None:
    data = chat("![x](https://evil.exam") + chat("ple/?q=[EMAIL_abc") + chat("defghij]) [EMAIL_abcdefghij]")
    assert joined(run(data)) == "![x](https://evil.example/?q=[EMAIL_abcdefghij]) jane@example.com"


def test_url_that_was_padded_beyond_the_window_stays_unfilled() -> None:
    padding = b"".join(chat("a b " * 100) for _ in range(20))
    data = chat('<img src="https://evil.example/') + padding + chat('[EMAIL_abcdefghij]"> [EMAIL_abcdefghij]')
    assert joined(run(data)).endswith('[EMAIL_abcdefghij]"> jane@example.com')
    data = chat("https://evil.example/") + b"".join(chat("a" * 400) for _ in range(20)) + chat("[EMAIL_abcdefghij]")
    assert joined(run(data)).endswith("[EMAIL_abcdefghij]")


def test_assistants_deltas_are_restored() -> None:
    def delta(text: str) -> bytes:
        content = [{"index": 0, "type": "text", "text": {"value": text}}]
        return event(
            {"id": "msg_1", "object": "thread.message.delta", "delta": {"content": content}}, "thread.message.delta"
        )

    data = (
        delta("hi [EMAIL_")
        + delta("abcdefghij")
        + event({"id": "msg_1", "object": "thread.message"})
        + b"event: done\ndata: [DONE]\n\n"
    )
    out = values(run(data))
    assert "".join(v["delta"]["content"][0]["text"]["value"] for v in out if "delta" in v) == f"hi [{EMAIL.value}"
    assert "delta" not in out[-1]


def test_sound_in_base64_is_left_alone() -> None:
    data = chat(audio={"id": "audio_1", "data": "AAAAE"}) + response("audio.delta", delta="UUlE")
    assert run(data) == data


def test_event_without_bounds_is_an_upstream_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT", 1000)
    stream = StreamRestorer(RESTORER)
    for _ in range(9):
        stream.feed(b"x" * 100)
    with pytest.raises(UpstreamError):
        stream.feed(b"x" * 101)


def test_held_tail_is_bounded() -> None:
    stream = StreamRestorer(RESTORER)
    sent = received = 0
    for _ in range(50):
        sent += 100
        received += len(joined(stream.feed(chat("EMAIL " + " " * 94))))
        assert sent - received < 200
