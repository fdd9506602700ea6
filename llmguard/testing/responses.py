"""The Responses API of the echoing provider: the response object, and the events that a stream of it consists of."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any


def response(asked: Any, text: str, name: str, created: int, *, cut: bool = False) -> Any:
    """A finished response that says ``text``, or calls the first function on offer with it; cut: incomplete."""
    status = "incomplete" if cut else "completed"
    tools = asked.get("tools") or []
    return {
        "id": name,
        "object": "response",
        "created_at": created,
        "status": status,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "instructions": asked.get("instructions"),
        "metadata": asked.get("metadata") or {},
        "model": asked.get("model", "echo"),
        "output": [_call(tools[0]["name"], text, status) if tools else _message(text, status)],
        "parallel_tool_calls": True,
        "previous_response_id": asked.get("previous_response_id"),
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": tools,
        "top_p": 1.0,
        "usage": {
            "input_tokens": 1,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 1,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 2,
        },
    }


def input_items(asked: Any) -> list[Any]:
    """What was asked, as stored items."""
    given = asked.get("input") or []
    messages = [{"role": "user", "content": given}] if isinstance(given, str) else given
    items = []
    for i, message in enumerate(messages):
        content = message.get("content", "")
        parts = [{"type": "input_text", "text": content}] if isinstance(content, str) else content
        role = message.get("role", "user")
        items.append({"id": f"msg_{i}", "type": "message", "role": role, "status": "completed", "content": parts})
    return items


def events(finished: Any, piece: int) -> Iterator[Any]:
    """The events of a streamed response, in the order in which OpenAI sends them."""
    begun = finished | {"status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
    end = "response.completed" if finished["status"] == "completed" else "response.incomplete"
    sequence = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
        *_item_events(finished["output"][0], piece),
        {"type": end, "response": finished},
    ]
    for number, event in enumerate(sequence):
        yield event | {"sequence_number": number}


def _item_events(item: Any, piece: int) -> Iterator[Any]:
    begun = copy.deepcopy(item) | {"status": "in_progress"}
    place = {"output_index": 0}
    if item["type"] == "function_call":
        yield {"type": "response.output_item.added", "item": begun | {"arguments": ""}} | place
        yield from _argument_events(item, piece)
    else:
        yield {"type": "response.output_item.added", "item": begun | {"content": []}} | place
        yield from _text_events(item, piece)
    yield {"type": "response.output_item.done", "item": item} | place


def _argument_events(item: Any, piece: int) -> Iterator[Any]:
    place = {"item_id": item["id"], "output_index": 0}
    for delta in _pieces(item["arguments"], piece):
        yield {"type": "response.function_call_arguments.delta", "delta": delta} | place
    done = {"type": "response.function_call_arguments.done", "name": item["name"], "arguments": item["arguments"]}
    yield done | place


def _text_events(item: Any, piece: int) -> Iterator[Any]:
    place = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    part = item["content"][0]
    yield {"type": "response.content_part.added", "part": part | {"text": ""}} | place
    for delta in _pieces(part["text"], piece):
        yield {"type": "response.output_text.delta", "delta": delta, "logprobs": []} | place
    yield {"type": "response.output_text.done", "text": part["text"], "logprobs": []} | place
    yield {"type": "response.content_part.done", "part": part} | place


def _pieces(text: str, size: int) -> list[str]:
    return [text[i : i + size] for i in range(0, len(text), size)]


def _message(text: str, status: str) -> Any:
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {"id": "msg_0", "type": "message", "role": "assistant", "status": status, "content": [part]}


def _call(name: str, text: str, status: str) -> Any:
    arguments = json.dumps({"echo": text})
    return {
        "id": "fc_0",
        "type": "function_call",
        "call_id": "call_0",
        "name": name,
        "arguments": arguments,
        "status": status,
    }
