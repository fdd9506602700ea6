"""What a provider that echoes would answer: OpenAI's shapes, whole and as events of a stream. No I/O.

``answer`` says of one request what goes back. A token of this provider is one character: ``max_tokens`` cuts there.
"""

from __future__ import annotations

import base64
import json
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from llmguard.testing import assistants, responses
from llmguard.testing.files import Files

CREATED = 1_700_000_000
Say = Callable[[Any], str]


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: method, path below the API's root, query, JSON body, its number on this server."""

    method: str
    path: str
    query: Mapping[str, str]
    body: Any
    number: int

    @property
    def model(self) -> str:
        return str(self.body.get("model", "echo"))


@dataclass(frozen=True, slots=True)
class Stream:
    """Events of a stream, each with its blank line."""

    events: Iterator[bytes]


class Dialect:
    """``say`` is what is said, as a function of the request's JSON; streams come in pieces of ``piece`` characters."""

    def __init__(self, say: Say | None = None, piece: int = 5) -> None:
        self.say = say or last_words
        self._piece = piece
        self._responses: dict[str, Any] = {}
        self._inputs: dict[str, list[Any]] = {}
        self._completions: dict[str, Any] = {}
        self._lists: dict[str, list[Any]] = {}
        """Items of conversations, messages of threads."""
        self.files = Files(lambda path, body: self.answer(Asked("POST", path, {}, body, 0)))

    def answer(self, asked: Asked) -> Any:
        """The JSON of the answer, a Stream, or the Content of a file. What no rule names is echoed."""
        for method, pattern, rule in self._rules():
            if asked.method == method and (match := re.fullmatch(pattern, asked.path)):
                return rule(asked, *match.groups())
        return {"id": f"resp_{asked.number}", "object": "echo", "echo": asked.body}

    def _rules(self) -> list[tuple[str, str, Callable[..., Any]]]:
        return [
            ("POST", r".*/chat/completions", self._chat),
            ("POST", r".*/completions", self._completion),
            ("POST", r".*/embeddings", self._embeddings),
            ("POST", r".*/responses", self._respond),
            ("GET", r".*/chat/completions/([^/]+)", lambda _, name: self._completions.get(name, {"object": "echo"})),
            ("GET", r".*/responses/([^/]+)", self._response),
            ("POST", r".*/(conversation)s", self._list_made),
            ("POST", r".*/(thread)s", self._list_made),
            ("GET", r".*/(?:conversations|threads)/([^/]+)/(?:items|messages)", self._listed),
            ("POST", r".*/threads/([^/]+)/messages", self._message_added),
            ("POST", r".*/threads/([^/]+)/runs", self._run),
            ("GET", r".*/responses/([^/]+)/input_items", self._input_items),
            *self._file_rules(),
            ("GET", r".*/models", lambda _: {"object": "list", "data": [_model("echo"), _model("echo-2")]}),
            ("GET", r".*/models/([^/]+)", lambda _, name: _model(name)),
        ]

    def _file_rules(self) -> list[tuple[str, str, Callable[..., Any]]]:
        files = self.files
        return [
            ("POST", r".*/files", lambda asked: files.create(asked.body, asked.number)),
            ("GET", r".*/files", lambda _: files.listed("file-")),
            ("GET", r".*/files/([^/]+)/content", lambda _, name: files.content(name)),
            ("GET", r".*/files/([^/]+)", lambda _, name: files.get(name)),
            ("POST", r".*/uploads", lambda asked: files.upload(asked.body, asked.number)),
            ("POST", r".*/uploads/([^/]+)/parts", lambda asked, name: files.part(name, asked.body, asked.number)),
            (
                "POST",
                r".*/uploads/([^/]+)/complete",
                lambda asked, name: files.complete(name, asked.body, asked.number),
            ),
            ("POST", r".*/batches", lambda asked: files.batch(asked.body, asked.number)),
            ("GET", r".*/batches", lambda _: files.listed("batch_")),
            ("GET", r".*/batches/([^/]+)", lambda _, name: files.get(name)),
            ("POST", r".*/evals", lambda asked: files.eval(asked.body, asked.number)),
            ("GET", r".*/evals/([^/]+)", lambda _, name: files.get(name)),
            ("POST", r".*/evals/([^/]+)/runs", lambda asked, name: files.run(name, asked.body, asked.number)),
            ("GET", r".*/evals/[^/]+/runs/([^/]+)/output_items", lambda _, name: files.outputs(name)),
        ]

    # ----------------------------------------------------------------- chat and legacy completions

    def _chat(self, asked: Asked) -> Any:
        text, cut = _within(self.say(asked.body), _limit(asked.body))
        message, reason = _message(asked.body, text)
        reason = "length" if cut else reason
        indices = range(asked.body.get("n") or 1)
        choices = [{"index": i, "message": message, "logprobs": None, "finish_reason": reason} for i in indices]
        answer = _object(asked, "chatcmpl", "chat.completion") | {"choices": choices, "usage": _usage()}
        self._completions[answer["id"]] = answer
        if asked.body.get("stream"):
            deltas = [(i, delta, None) for delta in _deltas(message, self._piece) for i in indices]
            return Stream(_chunks(asked, [*deltas, *((i, {}, reason) for i in indices)]))
        return answer

    def _completion(self, asked: Asked) -> Any:
        text, cut = _within(self.say(asked.body), _limit(asked.body))
        last = "length" if cut else "stop"

        def whole(piece: str, reason: str | None) -> Any:
            choice = {"index": 0, "text": piece, "logprobs": None, "finish_reason": reason}
            return _object(asked, "cmpl", "text_completion") | {"choices": [choice]}

        if asked.body.get("stream"):
            chunks = [*(whole(p, None) for p in pieces(text, self._piece)), whole("", last)]
            return Stream(iter([*map(_data, chunks), DONE]))
        return whole(text, last) | {"usage": _usage()}

    def _embeddings(self, asked: Asked) -> Any:
        texts = asked.body["input"]
        vector = [0.25, -0.5, 1.0]
        packed = base64.b64encode(struct.pack("<3f", *vector)).decode()
        value = packed if asked.body.get("encoding_format") == "base64" else vector
        count = len(texts) if isinstance(texts, list) else 1
        data = [{"object": "embedding", "index": i, "embedding": value} for i in range(count)]
        return {"object": "list", "data": data, "model": asked.model, "usage": _usage()}

    # ----------------------------------------------------------------- responses

    def _respond(self, asked: Asked) -> Any:
        text, cut = _within(self.say(asked.body), _limit(asked.body))
        response = responses.response(asked.body, text, f"resp_{asked.number}", CREATED, cut=cut)
        self._responses[response["id"]] = response
        self._inputs[response["id"]] = responses.input_items(asked.body)
        if conversation := asked.body.get("conversation"):
            name = conversation if isinstance(conversation, str) else conversation["id"]
            response["conversation"] = {"id": name}
            self._lists.setdefault(name, []).extend([*self._inputs[response["id"]], *response["output"]])
        if not asked.body.get("stream"):
            return response
        return Stream(_named(event) for event in responses.events(response, self._piece))

    def _response(self, asked: Asked, name: str) -> Any:
        response = self._responses.get(name, {"object": "echo"})
        if asked.query.get("stream") != "true":
            return response
        first = int(asked.query.get("starting_after", -1)) + 1
        return Stream(_named(event) for event in [*responses.events(response, self._piece)][first:])

    # ----------------------------------------------------------------- conversations and threads

    def _list_made(self, asked: Asked, kind: str) -> Any:
        name = f"{kind}_{asked.number}"
        self._lists[name] = responses.input_items(
            {"input": asked.body.get("items") or asked.body.get("messages") or []}
        )
        return {"id": name, "object": kind, "created_at": CREATED, "metadata": {}}

    def _listed(self, asked: Asked, name: str) -> Any:
        data = self._lists.get(name, [])
        return {"object": "list", "data": data, "has_more": False, "first_id": None, "last_id": None}

    def _message_added(self, asked: Asked, name: str) -> Any:
        message = assistants.message(f"msg_{asked.number}", name, asked.body["role"], _text(asked.body), CREATED)
        self._lists.setdefault(name, []).append(message)
        return message

    def _run(self, asked: Asked, name: str) -> Any:
        said = self.say({"messages": self._lists[name]})
        message = assistants.message(f"msg_{asked.number}", name, "assistant", said, CREATED)
        self._lists[name].append(message)
        run = assistants.run(f"run_{asked.number}", name, CREATED)
        if not asked.body.get("stream"):
            return run
        return Stream(_of_assistants(event) for event in assistants.events(run, message, self._piece))

    def _input_items(self, asked: Asked, name: str) -> Any:
        items = self._inputs.get(name, [])
        ids = [item["id"] for item in items]
        start = ids.index(asked.query["after"]) + 1 if "after" in asked.query else 0
        page = items[start : start + int(asked.query.get("limit", 20))]
        more = start + len(page) < len(items)
        ends = {"first_id": page[0]["id"], "last_id": page[-1]["id"]} if page else {"first_id": None, "last_id": None}
        return {"object": "list", "data": page, "has_more": more, **ends}


DONE = b"data: [DONE]\n\n"


def last_words(body: Any) -> str:
    """What the last message, input or prompt says."""
    last = (body.get("messages") or [None])[-1] or body.get("input") or body.get("prompt") or ""
    return f"You wrote: {_text(last)}"


def _text(value: Any) -> str:
    """The text of a message, of an item of input, or of the last of several."""
    if isinstance(value, dict):
        value = value.get("content") or value.get("output") or value.get("text") or ""
        if isinstance(value, list):
            texts = (p.get("text", "") for p in value)
            return " ".join(t["value"] if isinstance(t, dict) else t for t in texts)
        return str(value)
    if isinstance(value, list):
        return _text(value[-1]) if value else ""
    return str(value)


def pieces(text: str, size: int) -> list[str]:
    return [text[i : i + size] for i in range(0, len(text), size)]


def _within(text: str, limit: int | None) -> tuple[str, bool]:
    """The text up to the limit, and whether something is missing."""
    return (text, False) if limit is None else (text[:limit], len(text) > limit)


def _limit(body: Any) -> int | None:
    names = ("max_tokens", "max_completion_tokens", "max_output_tokens")
    return next((body[name] for name in names if body.get(name) is not None), None)


def _model(name: str) -> Any:
    return {"id": name, "object": "model", "created": CREATED, "owned_by": "echo"}


def _usage() -> Any:
    return {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}


def _object(asked: Asked, prefix: str, kind: str) -> dict[str, Any]:
    return {"id": f"{prefix}-{asked.number}", "object": kind, "created": CREATED, "model": asked.model}


def _message(body: Any, text: str) -> tuple[dict[str, Any], str]:
    """The assistant's message and why it ended: a text, or a call of the first tool or function on offer."""
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
    if body.get("tools"):
        function = {"name": body["tools"][0]["function"]["name"], "arguments": json.dumps({"echo": text})}
        return message | {
            "content": None,
            "tool_calls": [{"id": "call_0", "type": "function", "function": function}],
        }, "tool_calls"
    if body.get("functions"):
        function = {"name": body["functions"][0]["name"], "arguments": json.dumps({"echo": text})}
        return message | {"content": None, "function_call": function}, "function_call"
    return message, "stop"


def _deltas(message: Any, size: int) -> list[Any]:
    if calls := message.get("tool_calls"):
        call = calls[0]
        first = {"index": 0, **call, "function": {"name": call["function"]["name"], "arguments": ""}}
        rest = [{"index": 0, "function": {"arguments": p}} for p in pieces(call["function"]["arguments"], size)]
        return [{"role": "assistant", "tool_calls": [first]}, *({"tool_calls": [r]} for r in rest)]
    if function := message.get("function_call"):
        rest = [{"arguments": p} for p in pieces(function["arguments"], size)]
        first = {"role": "assistant", "function_call": {"name": function["name"], "arguments": ""}}
        return [first, *({"function_call": r} for r in rest)]
    return [{"role": "assistant", "content": ""}, *({"content": p} for p in pieces(message["content"], size))]


def _chunks(asked: Asked, deltas: list[tuple[int, Any, str | None]]) -> Iterator[bytes]:
    for index, delta, reason in deltas:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}
        yield _data(_object(asked, "chatcmpl", "chat.completion.chunk") | {"choices": [choice]})
    yield DONE


def _data(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def _named(event: Any) -> bytes:
    return f"event: {event['type']}\n".encode() + _data(event)


def _of_assistants(event: tuple[str, Any]) -> bytes:
    name, value = event
    return f"event: {name}\n".encode() + (DONE if value is None else _data(value))
