"""Every event dialect of the API, as the events in which a text arrives, and how a client puts it together again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from llmguard.payload import sse


def event(value: Any, name: str = "") -> bytes:
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(value, ensure_ascii=False)}\n\n".encode()


def events(data: bytes) -> list[Any]:
    decoder = sse.Decoder()
    return [json.loads(e.data) for e in decoder.feed(data) + decoder.finish() if e.data and e.data != b"[DONE]"]


@dataclass(frozen=True)
class Dialect:
    """``delta(channel, piece)``, ``done(channel, text)`` where there is such an event, and ``read(event)``: channel and
    piece, or None. ``json``: its texts are arguments of tools."""

    name: str
    delta: Callable[[int, str], Any]
    done: Callable[[int, str], Any] | None
    read: Callable[[Any], tuple[int, str] | None]
    json: bool = False

    def piece(self, value: Any) -> tuple[int, str] | None:
        return None if value.keys() == {"other"} else self.read(value)

    def joined(self, values: Iterable[Any]) -> dict[int, str]:
        texts: dict[int, str] = {}
        for value in values:
            if (piece := self.piece(value)) is not None:
                texts[piece[0]] = texts.get(piece[0], "") + piece[1]
        return texts


def _chat(index: int, delta: Any, finish: str | None = None) -> Any:
    choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1.50, "choices": [choice]}


def _chat_read(*path: Any) -> Callable[[Any], tuple[int, str] | None]:
    def read(value: Any) -> tuple[int, str] | None:
        choice = value["choices"][0]
        found = choice["delta"]
        for step in path:
            found = found.get(step) if isinstance(found, dict) else None
        return None if found is None else (choice["index"], found)

    return read


def _calls(index: int, piece: str) -> Any:
    return _chat(0, {"tool_calls": [{"index": index, "function": {"arguments": piece}}]})


def _calls_read(value: Any) -> tuple[int, str] | None:
    calls = value["choices"][0]["delta"].get("tool_calls")
    return (calls[0]["index"], calls[0]["function"]["arguments"]) if calls else None


def _item(kind: str, key: str, field: str, done: str, is_json: bool = False) -> Dialect:
    """A family of events of the Responses API: ``key`` tells its channels apart."""

    def place(channel: int) -> dict[str, Any]:
        return {"item_id": f"it_{channel if key == 'item_id' else 0}", "output_index": 0, "sequence_number": 7} | (
            {} if key == "item_id" else {key: channel}
        )

    def read(value: Any) -> tuple[int, str] | None:
        if value["type"] != f"{kind}.delta":
            return None
        return int(str(value[key]).removeprefix("it_")), value["delta"]

    return Dialect(
        kind,
        lambda c, piece: {"type": f"{kind}.delta", "delta": piece, **place(c)},
        lambda c, text: {"type": f"{kind}.{done}", field: text, **place(c)},
        read,
        is_json,
    )


def _thread_read(value: Any) -> tuple[int, str] | None:
    if "delta" not in value:
        return None
    return int(value["id"][4:]), value["delta"]["content"][0]["text"]["value"]


def _step_read(value: Any) -> tuple[int, str] | None:
    call = value["delta"]["step_details"]["tool_calls"][0] if "delta" in value else None
    return (call["index"], call["function"]["arguments"]) if call else None


DIALECTS = [
    Dialect("chat", lambda c, p: _chat(c, {"content": p}), lambda c, _: _chat(c, {}, "stop"), _chat_read("content")),
    Dialect("reasoning", lambda c, p: _chat(c, {"reasoning_content": p}), None, _chat_read("reasoning_content")),
    Dialect("refusal", lambda c, p: _chat(c, {"refusal": p}), None, _chat_read("refusal")),
    Dialect(
        "transcript of sound",
        lambda c, p: _chat(c, {"audio": {"id": "a", "data": "AAAA", "transcript": p}}),
        None,
        _chat_read("audio", "transcript"),
    ),
    Dialect("tool calls", _calls, None, _calls_read, True),
    Dialect(
        "function call",
        lambda c, p: _chat(c, {"function_call": {"arguments": p}}),
        lambda c, _: _chat(c, {}, "function_call"),
        _chat_read("function_call", "arguments"),
        True,
    ),
    Dialect(
        "completions",
        lambda c, p: {"id": "cmpl-1", "choices": [{"index": c, "text": p, "logprobs": None, "finish_reason": None}]},
        None,
        lambda v: (v["choices"][0]["index"], v["choices"][0]["text"]),
    ),
    _item("response.output_text", "content_index", "text", "done"),
    _item("response.refusal", "content_index", "refusal", "done"),
    _item("response.reasoning_text", "content_index", "text", "done"),
    _item("response.reasoning_summary_text", "summary_index", "text", "done"),
    _item("response.function_call_arguments", "item_id", "arguments", "done", True),
    _item("response.mcp_call_arguments", "item_id", "arguments", "done", True),
    _item("response.custom_tool_call_input", "item_id", "input", "done"),
    _item("response.code_interpreter_call_code", "item_id", "code", "done"),
    _item("response.shell_call_command", "command_index", "command", "done"),
    _item("response.audio.transcript", "item_id", "transcript", "done"),
    Dialect(
        "transcription",
        lambda c, p: {"type": "transcript.text.delta", "delta": p},
        lambda c, t: {"type": "transcript.text.done", "text": t, "usage": {"type": "tokens", "total_tokens": 3}},
        lambda v: (0, v["delta"]) if "delta" in v else None,
    ),
    Dialect(
        "messages",
        lambda c, p: {
            "id": f"msg_{c}",
            "object": "thread.message.delta",
            "delta": {"content": [{"index": 0, "type": "text", "text": {"value": p, "annotations": []}}]},
        },
        lambda c, t: {
            "id": f"msg_{c}",
            "object": "thread.message",
            "content": [{"type": "text", "text": {"value": t, "annotations": []}}],
        },
        _thread_read,
    ),
    Dialect(
        "run steps",
        lambda c, p: {
            "id": "step_1",
            "object": "thread.run.step.delta",
            "delta": {
                "step_details": {"type": "tool_calls", "tool_calls": [{"index": c, "function": {"arguments": p}}]}
            },
        },
        None,
        _step_read,
        True,
    ),
]
