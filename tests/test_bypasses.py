"""Ways somebody got through a guard, each a row: where the value was, as an operator would describe it.

A row passes if no request that the provider received holds the value, plain or unescaped. Rows that are refused pass
too, but most must go through redacted: refusing everything would be no success.
"""

from __future__ import annotations

import base64
import http.client
import io
import json
import re
import struct
import urllib.parse
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import bpe_openai
import pytest

from llmguard.config import Settings
from llmguard.testing import EchoUpstream, Fakes, LocalGuard

Made = tuple[str, bytes, dict[str, str]]


def chat(*messages: Any, **fields: Any) -> Made:
    return "/v1/chat/completions", json.dumps({"model": "m", "messages": list(messages), **fields}).encode(), {}


def user(content: Any) -> Any:
    return {"role": "user", "content": content}


def tool(**function: Any) -> Any:
    return {"type": "function", "function": {"name": "look_up", **function}}


def called(arguments: str) -> Any:
    call = {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": arguments}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def post(path: str, **body: Any) -> Made:
    return path, json.dumps(body).encode(), {}


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def tokens(text: str) -> list[int]:
    return list(bpe_openai.get_encoding("cl100k_base").encode_ordinary(text))


def form(disposition: str, content: str | bytes = "x", media_type: str = "text/plain") -> Made:
    """A form of one part, sent to where files go."""
    head = f"--b\r\nContent-Disposition: form-data; {disposition}\r\nContent-Type: {media_type}\r\n\r\n"
    data = content.encode() if isinstance(content, str) else content
    return "/v1/files", head.encode() + data + b"\r\n--b--\r\n", {"content-type": "multipart/form-data; boundary=b"}


def zipped(text: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("notes.txt", f"it says {text}")
    return out.getvalue()


def commented(text: str) -> bytes:
    """A PNG of one dot with a comment."""
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in (
            (b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)),
            (b"tEXt", b"Comment\0" + text.encode()),
            (b"IDAT", zlib.compress(b"\0\x80")),
            (b"IEND", b""),
        )
    )


def escaped(value: str) -> bytes:
    """The value as JSON escapes, every character of it."""
    return "".join(f"\\u{ord(c):04x}" for c in value).encode()


REDACTED: dict[str, Callable[[str], Made]] = {
    "a user's message": lambda v: chat(user(v)),
    "a system prompt": lambda v: chat({"role": "system", "content": v}, user("x")),
    "a developer message": lambda v: chat({"role": "developer", "content": v}, user("x")),
    "an earlier answer": lambda v: chat({"role": "assistant", "content": v}, user("x")),
    "one of several content parts": lambda v: chat(user([{"type": "text", "text": "x"}, {"type": "text", "text": v}])),
    "the name of a participant's field": lambda v: chat(user("x"), user=v),
    "arguments of an earlier tool call": lambda v: chat(called(json.dumps({"to": v}))),
    "JSON inside JSON inside tool arguments": lambda v: chat(called(json.dumps({"a": json.dumps({"b": v})}))),
    "a key of tool arguments": lambda v: chat(called(json.dumps({v: 1}))),
    "a tool's result": lambda v: chat({"role": "tool", "tool_call_id": "call_1", "content": v}),
    "a tool's description": lambda v: chat(user("x"), tools=[tool(description=v)]),
    "a default in a tool's schema": lambda v: chat(
        user("x"), tools=[tool(parameters={"type": "object", "properties": {"a": {"type": "string", "default": v}}})]
    ),
    "an enumeration in a tool's schema": lambda v: chat(
        user("x"), tools=[tool(parameters={"type": "object", "properties": {"a": {"enum": [v]}}})]
    ),
    "the schema of the answer": lambda v: chat(
        user("x"),
        response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": {"description": v}}},
    ),
    "a predicted output": lambda v: chat(user("x"), prediction={"type": "content", "content": v}),
    "a value of the metadata": lambda v: chat(user("x"), metadata={"customer": v}),
    "a key of the metadata": lambda v: chat(user("x"), metadata={v: "1"}),
    "a stop sequence": lambda v: chat(user("x"), stop=[v]),
    "a legacy function's description": lambda v: chat(user("x"), functions=[{"name": "f", "description": v}]),
    "a field that no API has": lambda v: chat(user("x"), extra={"deep": [{"er": v}]}),
    "characters written as escapes": lambda v: (
        "/v1/chat/completions",
        b'{"model":"m","messages":[{"role":"user","content":"' + escaped(v) + b'"}]}',
        {},
    ),
    "the end of a very long message": lambda v: chat(user("word " * 40_000 + v)),
    "a legacy completion's prompt": lambda v: post("/v1/completions", model="m", prompt=["x", v]),
    "a text to embed": lambda v: post("/v1/embeddings", model="m", input=["x", v]),
    "a text to moderate": lambda v: post("/v1/moderations", input=v),
    "the input of a response": lambda v: post("/v1/responses", model="m", input=v),
    "instructions of a response": lambda v: post("/v1/responses", model="m", input="x", instructions=v),
    "a function's output in a response's input": lambda v: post(
        "/v1/responses", model="m", input=[{"type": "function_call_output", "call_id": "call_1", "output": v}]
    ),
    "an item of a conversation": lambda v: post(
        "/v1/conversations", items=[{"type": "message", "role": "user", "content": v}]
    ),
    "base64 in a message": lambda v: chat(user(f"decode {b64('it says ' + v)} please")),
    "base64 in base64": lambda v: chat(user(b64(b64(v)))),
    "entities of HTML": lambda v: chat(user("".join(f"&#{ord(c)};" for c in f"it says {v}"))),
    "a link, percent-encoded twice": lambda v: chat(user(urllib.parse.quote(urllib.parse.quote(f"x {v}", safe="")))),
    "a text file as a data URL": lambda v: chat(
        user([{"type": "file", "file": {"filename": "a.csv", "file_data": f"data:text/csv;base64,{b64('a,' + v)}"}}])
    ),
    "the name of a file": lambda v: chat(
        user([{"type": "file", "file": {"filename": f"{v}.pdf", "file_id": "file-1"}}])
    ),
    "tokens to embed": lambda v: post("/v1/embeddings", model="text-embedding-3-small", input=tokens(f"it says {v}")),
    "tokens of a prompt": lambda v: post("/v1/completions", model="davinci-002", prompt=[tokens("x"), tokens(v)]),
    "an upload": lambda v: form('name="file"; filename="a.txt"', v),
    "the name of an upload": lambda v: form(f'name="file"; filename="{v}.txt"'),
    "the encoded name of an upload": lambda v: form(f'name="file"; filename="{urllib.parse.quote(v, safe="")}.txt"'),
    "a field of a form": lambda v: form('name="note"', f"it says {v}"),
    "the name of a field of a form": lambda v: form(f'name="note[{v}]"'),
    "JSON in a field of a form": lambda v: form('name="session"', json.dumps({"a": json.dumps([v])})),
    "a line of an upload": lambda v: form('name="file"; filename="a.jsonl"', json.dumps({"a": [{"b": v}]})),
    "base64 in an upload": lambda v: form('name="file"; filename="a.txt"', f"decode {b64('it says ' + v)} please"),
    "an upload that calls itself a picture": lambda v: form('name="file"; filename="a.png"', v, "image/png"),
    "a note behind the name of a field": lambda v: form(f'name="file"; filename="a.txt"; note="{v}"'),
}

REFUSED: dict[str, Callable[[str], Made]] = {
    "the name of the model": lambda v: post("/v1/chat/completions", model=v, messages=[user("x")]),
    "the query": lambda v: (f"/v1/chat/completions?who={urllib.parse.quote(v)}", b"{}", {}),
    "the query, encoded to hide it": lambda v: (
        "/v1/chat/completions?a=" + "".join(f"%{ord(c):02x}" for c in v),
        b"{}",
        {},
    ),
    "the path": lambda v: (f"/v1/responses/{urllib.parse.quote(v, safe='')}/cancel", b"", {}),
    "a header": lambda v: (*chat(user("x"))[:2], {"x-note": v}),
    "the organisation's header": lambda v: (*chat(user("x"))[:2], {"openai-organization": v}),
    "a prompt that gets drawn": lambda v: post("/v1/images/generations", prompt=f"a portrait of {v}"),
    "a text that gets spoken": lambda v: post("/v1/audio/speech", model="m", voice="alloy", input=v),
    "a type that is none": lambda v: chat(user([{"type": v, "text": "x"}])),
    "a role that is none": lambda v: chat({"role": v, "content": "x"}),
    "a form": lambda v: (
        "/v1/chat/completions",
        f"a={v}".encode(),
        {"content-type": "application/x-www-form-urlencoded"},
    ),
    "the content type of an upload": lambda v: form('name="file"; filename="a.txt"', "x", f"text/plain; name={v}"),
    "the content type of an upload, as digits": lambda v: form(
        'name="file"; filename="a.txt"', "x", "text/" + (v if v.isdecimal() else v.replace("@", "/"))
    ),
    "a header of a part": lambda v: form('name="file"; filename="a.txt"', "x", f"text/plain\r\nX-Note: {v}"),
    "a part in base64": lambda v: form(
        'name="file"; filename="a.txt"', b64(v), "text/plain\r\nContent-Transfer-Encoding: base64"
    ),
    "a field in another charset": lambda v: form('name="note"', v.encode("utf-16-le").decode()),
    "a compressed upload": lambda v: form('name="file"; filename="a.zip"', zipped(v)),
    "a picture's comment": lambda v: form('name="file"; filename="a.png"', commented(v), "image/png"),
    "an upload in another charset": lambda v: form('name="file"; filename="a.txt"', f"it says {v}".encode("utf-16")),
    "a header in base64": lambda v: (*chat(user("x"))[:2], {"x-note": b64(f"it says {v}")}),
    "JSON that calls itself text": lambda v: (*chat(user(v))[:2], {"content-type": "text/plain"}),
}


@pytest.fixture(scope="module")
def provider() -> Iterator[EchoUpstream]:
    with EchoUpstream() as running:
        yield running


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, provider: EchoUpstream) -> Iterator[tuple[LocalGuard, str]]:
    folder = tmp_path_factory.mktemp("bypasses")
    settings = Settings(
        data=folder / "data",
        credentials=folder / "credentials",
        upstream=provider.url,
        upstream_key="k",
        port=0,
        control_port=0,
        hold="ticket",
    )
    with LocalGuard(settings) as local:
        for name in ("ann", "bob"):
            local.person(f"{name}@example.org")
        yield local, local.key("app", "ann@example.org")


def send(guarded: tuple[LocalGuard, str], made: Made) -> tuple[int, str]:
    local, key = guarded
    path, body, headers = made
    connection = http.client.HTTPConnection("127.0.0.1", local.port, timeout=30)
    connection.request(
        "POST", path, body, {"authorization": f"Bearer {key}", "content-type": "application/json", **headers}
    )
    response = connection.getresponse()
    answer = response.read().decode()
    connection.close()
    return response.status, answer


def values() -> list[str]:
    fakes = Fakes(3)
    return [fakes.email(), fakes.card(), fakes.token()]


def assert_unseen(provider: EchoUpstream, value: str) -> None:
    for received in provider.received:
        everything = f"{received.path} {received.headers} {received.body.decode()}"
        plain = re.sub(r"\\+u([0-9a-fA-F]{4})", lambda m: chr(int(m[1], 16)), urllib.parse.unquote(everything))
        assert value not in everything
        assert value not in plain


@pytest.mark.parametrize("where", REDACTED)
@pytest.mark.parametrize("value", values(), ids=["email", "card", "token"])
def test_value_is_redacted_in(guarded: Any, provider: EchoUpstream, where: str, value: str) -> None:
    before = len(provider.received)
    status, answer = send(guarded, REDACTED[where](value))
    assert status == 200, answer
    assert len(provider.received) == before + 1
    assert_unseen(provider, value)


@pytest.mark.parametrize("where", REFUSED)
@pytest.mark.parametrize("value", values(), ids=["email", "card", "token"])
def test_call_does_not_leave_with_a_value_in(guarded: Any, provider: EchoUpstream, where: str, value: str) -> None:
    before = len(provider.received)
    status, answer = send(guarded, REFUSED[where](value))
    assert 400 <= status < 500, answer
    assert len(provider.received) == before
    assert value not in answer


def test_card_written_as_a_number_does_not_leave(guarded: Any, provider: EchoUpstream) -> None:
    card = Fakes(3).card()
    status, _ = send(guarded, post("/v1/chat/completions", model="m", messages=[user("x")], seed=int(card)))
    assert status == 409
    assert_unseen(provider, card)
