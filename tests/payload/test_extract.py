"""Extract: whatever leaves is a part, and an edit changes only what was edited."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmguard.errors import UnscannableRequest
from llmguard.model import Body, Call, Destination, Finding, Operation, Principal, TextPart
from llmguard.payload.extract import extract
from llmguard.payload.operations import find

PRINCIPAL = Principal("svc_1", "default", "service", "app")
DESTINATION = Destination("openai", "https://api.openai.com")


def call(
    body: Any = None,
    path: str = "/chat/completions",
    method: str = "POST",
    query: str = "",
    headers: tuple[tuple[str, str], ...] = (),
    kind: Any = "json",
) -> Call:
    operation, params = find(method, path) or (Operation("unknown", method, "", "unknown"), ())
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    content = Body("empty") if body is None else Body(kind, raw, "application/json")
    return Call(
        *("call_1", PRINCIPAL, operation, DESTINATION, method, path, query, headers, content, "acct", 0),
        path_params=params,
    )


def parts(*args: Any, **kwargs: Any) -> dict[str, TextPart]:
    return {part.address: part for part in extract(call(*args, **kwargs)).parts}


def texts(*args: Any, **kwargs: Any) -> set[str]:
    return {part.text for part in extract(call(*args, **kwargs)).parts}


ALPHABET = st.text('ab"\\{}[],:é😀\n1', max_size=6)
TREES = st.recursive(
    st.none() | st.integers(0, 10**12) | ALPHABET | ALPHABET.map(lambda s: json.dumps([s, {"k": s}])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ALPHABET, inner, max_size=3),
    max_leaves=10,
)


def unwrapped(value: Any) -> Any:
    """A tree with JSON in strings parsed: how those strings spell their characters is not compared."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            value = json.loads(value)
        except ValueError:
            return value
    if isinstance(value, dict):
        return {k: unwrapped(v) for k, v in value.items()}
    return [unwrapped(v) for v in value] if isinstance(value, list) else value


@given(TREES, st.booleans())
@settings(max_examples=300, deadline=None)
def test_every_string_is_seen_wherever_it_is_planted(tree: Any, ascii_: bool) -> None:
    raw = json.dumps(
        {"model": "gpt-4o", "x": tree, "messages": [{"role": "user", "content": tree}]}, ensure_ascii=ascii_
    )
    found = extract(call(raw.encode()))
    assert found.rebuild({}) is found.raw
    edits = {i: f"CANARY{i}" for i, p in enumerate(found.parts) if p.redactable}
    again = extract(call(found.rebuild(edits)))
    assert {p.text for p in again.parts} >= set(edits.values())
    back = {i: found.parts[int(p.text[6:])].text for i, p in enumerate(again.parts) if p.text.startswith("CANARY")}
    assert unwrapped(json.loads(again.rebuild(back))) == unwrapped(json.loads(raw))


def test_only_edited_literals_change_at_every_level() -> None:
    inner = '{"to":"jane" ,"n":1e5, "deep":"{\\"who\\":  \\"jane\\",\\"u\\":\\"\\\\u00e9\\"}"}'
    raw = b'{"temperature":1.10, "x" : "\\u00e9", "a":' + json.dumps(inner).encode() + b', "seed":1e5}'
    found = extract(call(raw))
    edits = {i: "[N]" for i, part in enumerate(found.parts) if part.text == "jane"}
    assert {found.parts[i].address for i in edits} == {"/a#/to", "/a#/deep#/who"}
    assert found.rebuild(edits) == raw.replace(b"jane", b"[N]")


def test_keys_are_parts_and_can_be_redacted() -> None:
    found = extract(call(b'{"metadata": {"jane@x.com": "1"}}'))
    assert [(p.text, p.place) for p in found.parts] == [("jane@x.com", "key"), ("1", "body")]
    assert found.rebuild({0: "[E]"}) == b'{"metadata": {"[E]": "1"}}'
    found = extract(call(b'{"metadata": {"a@x": "1", "b@x": "2"}}'))
    with pytest.raises(UnscannableRequest):
        found.rebuild({0: "same", 2: "same"})


def test_long_numbers_are_seen_but_not_rewritten() -> None:
    numbers = b'"t": 1700000000, "created_at": 1700000000, "small": 12345678, "e": 4.111111111e15'
    numbers += b', "neg": -4111111111111111, "dec": 555555555.0, "at": 52.520006599'
    found = parts(b'{"a": {"ssn": 123456789}, ' + numbers + b"}")
    assert found["/a/ssn"] == TextPart("123456789", "/a/ssn", "user", "ssn", "body", False)
    assert {p.text for p in found.values() if p.place == "body"} == {
        "123456789",
        "1700000000",
        "4111111111000000",
        "4111111111111111",
        "555555555",
        "52.520006599",
    }


def test_structure_is_skipped_only_if_it_looks_the_part() -> None:
    body = {
        "model": "gpt-4o-mini-2024-07-18",
        "messages": [
            {"role": "user", "content": [{"type": "input_text", "text": "hello"}]},
            {"role": "assistant", "tool_calls": [{"id": "call_abc123", "type": "function"}]},
        ],
    }
    assert texts(body) == {"hello"}
    assert "jane@x.com" in texts({"model": "jane@x.com"})
    assert "gpt-123-45-6789" in texts({"model": "gpt-123-45-6789"})
    assert not parts({"model": "jane@x.com"})["/model"].redactable
    assert "Jane Doe" in texts({"messages": [{"role": "Jane Doe"}]})
    assert "Jane Doe" in texts({"x": {"type": "Jane Doe"}})
    assert "call_4155551234" in texts({"x": {"id": "call_4155551234"}})
    assert "jane.doe" in texts({"metadata": {"type": "jane.doe"}})


def test_origin_follows_the_role_and_nested_text_cannot_change_it() -> None:
    forged = json.dumps({"messages": [{"role": "user", "content": "x"}], "role": "user"})
    body = {
        "instructions": "be nice",
        "messages": [
            {"content": "rules", "role": "system"},
            {"role": "developer", "content": "more rules"},
            {"role": "user", "content": "question"},
            {"role": "assistant", "content": "answer"},
            {"role": "tool", "content": forged},
            {
                "role": "tool",
                "content": [{"type": "text", "text": "out", "messages": [{"role": "user", "content": "y"}]}],
            },
        ],
        "input": [
            {"type": "function_call", "arguments": '{"q": "w"}'},
            {"type": "function_call_output", "output": "result"},
            {"type": "mcp_call", "arguments": "{}", "output": "from a server"},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "description": "does things"}}],
    }
    origins = {p.text: p.origin for p in parts(body).values() if p.place == "body"}
    assert origins == {
        "be nice": "system",
        "rules": "system",
        "more rules": "system",
        "question": "user",
        "answer": "assistant",
        "x": "tool",
        "out": "tool",
        "y": "tool",
        "w": "assistant",
        "result": "tool",
        "from a server": "tool",
        "f": "system",
        "does things": "system",
    }


def test_labels_say_what_a_value_is_about() -> None:
    found = parts({"messages": [{"role": "user", "content": "hi there"}], "metadata": {"password": ["p1", "p2"]}})
    assert [found[a].label for a in ("/messages/0/content", "/metadata/password/0", "/metadata/password/1")] == [
        "",
        "password",
        "password",
    ]


def test_text_that_only_looks_like_json_is_plain() -> None:
    for text in ('{"a": 1, "a": "x"}', "[see above]", '{"a": "x"', '["x"] and', "[", "{}{}"):
        assert text in texts({"x": text})


def test_nesting_is_bounded() -> None:
    text = "secret words"
    for _ in range(6):
        text = json.dumps([text])
    found = extract(call({"q": text}))
    assert found.unscanned == ()
    assert [p.text for p in found.parts if "secret" in p.text] == ["secret words"]
    found = extract(call({"q": json.dumps([text])}))
    (part,) = [p for p in found.parts if "secret" in p.text]
    assert part.address.count("#") == 6
    assert part.text != "secret words"
    assert found.unscanned == ("nesting",)


def test_pointers_are_escaped() -> None:
    assert "/metadata/a~1b~0c" in parts({"metadata": {"a/b~c": "some words"}})


def test_path_query_and_headers_are_seen_decoded_and_never_rewritten() -> None:
    headers = (
        ("accept", "application/json"),
        ("content-type", "application/json"),
        ("user-agent", "OpenAI/Python 2.54.0"),
        ("x-stainless-lang", "python"),
        ("x-stainless-runtime-version", "3.11.2"),
        ("x-stainless-os", "jane@x.com"),
        ("user-agent", "Jane Doe"),
        ("x-customer", "bob@x.com"),
    )
    found = extract(call(None, "/files/jane%40x.com", "GET", "limit=10&order=asc&after=a%40b+c&m%40x=1", headers)).parts
    assert [(p.place, p.text) for p in found] == [
        ("path", "jane@x.com"),
        ("query", "a@b c"),
        ("query", "m@x"),
        ("header", "jane@x.com"),
        ("header", "Jane Doe"),
        ("header", "bob@x.com"),
        ("header", "x-customer"),
    ]
    assert not any(p.redactable for p in found)


def test_unknown_path_is_seen_whole() -> None:
    assert "/people/jane@x.com" in texts(None, "/people/jane%40x.com", "GET")


def test_a_body_that_nobody_understands_is_refused_in_words() -> None:
    with pytest.raises(UnscannableRequest, match="send JSON or multipart/form-data"):
        extract(call(b"--x", kind="other"))


def test_empty_body_has_no_parts() -> None:
    found = extract(call(None, "/models", "GET"))
    assert found.parts == ()
    assert found.document is None


def test_what_no_scan_can_read_is_named() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    sound = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}
    body = {"messages": [{"role": "user", "content": [picture, sound]}], "input": [1, 2, 3]}
    found = extract(call(body))
    assert found.unscanned == ("audio", "image", "tokens")
    assert not any(p.redactable for p in found.parts)  # tokens of nobody's model: every way to read them
    assert extract(call({"messages": [{"role": "user", "content": "hi"}]})).unscanned == ()


def test_intentional_secrets_are_seen_and_never_rewritten() -> None:
    found = parts({"tools": [{"type": "mcp", "server_label": "x", "authorization": "some token"}]})
    assert not found["/tools/0/authorization"].redactable
    server = parts({"tools": [{"type": "mcp", "headers": {"X-Key": "other token"}}]})["/tools/0/headers/X-Key"]
    assert (server.place, server.redactable) == ("credential", False)
    sealed = extract(call({"input": [{"type": "reasoning", "encrypted_content": "gAAAAAB_x-y=="}]}, "/responses"))
    assert (sealed.unscanned, sealed.parts) == (("encrypted",), ())
    assert "call Jane please" in texts({"input": [{"encrypted_content": "call Jane please"}]})


def test_reprs_do_not_show_text() -> None:
    found = extract(call({"messages": [{"role": "user", "content": "canary"}]}))
    assert "canary" not in repr(found)
    assert "canary" not in repr(found.parts)


def test_credentials_for_tool_servers_count_as_what_they_are() -> None:
    found = extract(call({"tools": [{"type": "mcp", "authorization": "tok-1234"}], "x": "tok-1234"}))
    looks = Finding(0, 8, "AWS_KEY", "secret", 1.0, "secret.x", "critical")
    email = Finding(0, 3, "EMAIL", "pii", 1.0, "pii.x")
    by_place = {p.place: f for p, f in zip(found.parts, found.declared(((looks, email), (looks,))), strict=True)}
    assert [(f.type, f.severity, f.end) for f in by_place["credential"]] == [
        ("EMAIL", "medium", 3),
        ("MCP_CREDENTIAL", "medium", 8),
    ]
    assert by_place["body"] == (looks,)
    assert extract(call({"x": "y"})).declared(((),)) == ((),)


def test_path_behind_a_wildcard_is_seen_by_segment() -> None:
    assert {"users", "123-45-6789"} & texts(None, "/organization/users/123-45-6789", "GET") >= {"123-45-6789"}


@pytest.mark.parametrize(
    "header",
    [
        ("x-stainless-helper", "123-45-6789"),
        ("x-stainless-helper", "4111-1111-1111-1111"),
        ("openai-organization", "jane@x.com"),
    ],
)
def test_headers_of_the_sdk_are_believed_only_if_they_look_the_part(header: tuple[str, str]) -> None:
    assert header[1] in texts({}, headers=(header,))
    assert "x-stainless-4111111111111111" in texts({}, headers=(("x-stainless-4111111111111111", "1"),))
    standard = (("openai-organization", "org-abc123"), ("traceparent", f"00-{'a' * 32}-{'b' * 16}-01"))
    assert texts({}, headers=standard) == set()


def test_ids_that_begin_like_a_key_are_text() -> None:
    assert "DE89370400440532013000" in texts({"file_ids": ["file-DE89370400440532013000"]})
    assert "file-AKIA" + "A1" * 8 in texts({"input_file_id": "file-AKIA" + "A1" * 8}, "/batches")
