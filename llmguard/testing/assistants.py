"""The Assistants API of the echoing provider: messages, runs, and the events that a streamed run consists of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def message(name: str, thread: str, role: str, text: str, created: int) -> Any:
    return {
        "id": name,
        "object": "thread.message",
        "created_at": created,
        "thread_id": thread,
        "role": role,
        "status": "completed",
        "content": [{"type": "text", "text": {"value": text, "annotations": []}}],
        "attachments": [],
        "metadata": {},
    }


def run(name: str, thread: str, created: int) -> Any:
    return {
        "id": name,
        "object": "thread.run",
        "created_at": created,
        "assistant_id": "asst_0",
        "thread_id": thread,
        "status": "completed",
        "model": "echo",
        "instructions": "",
        "tools": [],
        "metadata": {},
        "parallel_tool_calls": True,
    }


def events(finished: Any, said: Any, piece: int) -> Iterator[tuple[str, Any]]:
    """Names and data of the events, in the order in which OpenAI sends them; the last one has no data."""
    text = said["content"][0]["text"]["value"]
    yield "thread.run.created", finished | {"status": "queued"}
    yield "thread.run.in_progress", finished | {"status": "in_progress"}
    yield "thread.message.created", said | {"status": "in_progress", "content": []}
    for at in range(0, len(text), piece):
        part = {"index": 0, "type": "text", "text": {"value": text[at : at + piece]}}
        delta = {"id": said["id"], "object": "thread.message.delta", "delta": {"content": [part]}}
        yield "thread.message.delta", delta
    yield "thread.message.completed", said
    yield "thread.run.completed", finished
    yield "done", None
