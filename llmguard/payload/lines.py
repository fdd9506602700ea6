"""Lines: OpenAI's rules of one line of a training, batch or evals file, and of such a file as a whole.

Owns what makes a line bad, said in our own words with the place inside the line (``messages[2].role: …``): never a
value, never a key that the caller chose. Strict where OpenAI refuses a file; what is lax or unknown there passes.
Values are those of ``payload.json``. Pure functions; none of them raises, whatever the JSON.

Sources: the OpenAPI description of the API, 2.3.0 (FineTuneChatRequestInput, FineTunePreferenceRequestInput,
FineTuneReinforcementRequestInput, FineTuneCompletionRequestInput, BatchRequestInput, CreateBatchRequest,
EvalJsonlFileContentSource, ChatCompletionRequest*Message) and the guides on fine-tuning and batches.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from heapq import nsmallest
from typing import Any, Literal

from llmguard.model import Operation
from llmguard.payload import operations
from llmguard.payload.json import Number

LineKind = Literal["sft", "dpo", "rft", "prompt", "batch", "eval", "plain"]

MAX_REQUESTS = 50_000
"""Requests of one batch, and inputs of one batch of embeddings (CreateBatchRequest)."""
MIN_EXAMPLES = 10
"""Examples of a training file (guide on supervised fine-tuning)."""
MAX_FUNCTIONS = 128
"""Functions of one line (FineTuneChatRequestInput)."""
TOLD = 5
"""How many numbers of lines a problem of the whole file names."""

_BATCHED = {
    "chat.completions.create",
    "completions.create",
    "embeddings.create",
    "images.edit",
    "images.generate",
    "moderations.create",
    "responses.create",
    "videos.create",
}
_ENDPOINTS: Mapping[str, Operation] = {
    prefix + operation.path: operation
    for operation in operations.TABLE
    if operation.name in _BATCHED and "{" not in operation.path
    for prefix in ("/v1", "")
}
"""What a batch may call. OpenAI writes ``/v1`` in front, Azure does not."""

_TEXT_ROLES = frozenset(("system", "developer", "user", "assistant"))
_ROLES = "system, developer, user, assistant, tool or function"
_PARTS: Mapping[str, frozenset[str]] = {
    "user": frozenset(("text", "image_url")),
    "assistant": frozenset(("text", "refusal")),
}
_TEXT_PART = frozenset(("text",))
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_DPO_KEYS = ("preferred_output", "non_preferred_output")


def kind_of(purpose: str, value: Any) -> LineKind:
    """What a line of a file with this purpose has to be; without a purpose, what it looks like."""
    if purpose == "batch":
        return "batch"
    if purpose == "evals":
        return "eval"
    if purpose == "fine-tune":
        return _training(value) or "sft"
    if purpose or type(value) is not dict:
        return "plain"
    if "custom_id" in value and "body" in value and "url" in value:
        return "batch"
    if type(value.get("item")) is dict and value.keys() <= {"item", "sample"}:
        return "eval"
    return _training(value) or "plain"


def problem(kind: LineKind, value: Any) -> str | None:
    """What is wrong with a line, or None. The first thing only."""
    if kind == "plain":
        return None
    if type(value) is not dict:
        return "the line is not an object"
    return _RULES[kind](value)


def operation_of(value: Any) -> Operation | None:
    """What a line of a batch calls: None if that is nothing that a batch may call."""
    if type(value) is not dict or value.get("method") != "POST":
        return None
    url = value.get("url")
    return _ENDPOINTS.get(url) if type(url) is str else None


# --------------------------------------------------------------------------- training


def _training(value: Any) -> LineKind | None:
    if type(value) is not dict:
        return None
    if any(key in value for key in _DPO_KEYS):
        return "dpo"
    messages = value.get("messages")
    if type(messages) is list:
        last = messages[-1] if messages else None
        ends = last.get("role") if type(last) is dict else None
        return "rft" if ends == "user" else "sft"
    return "prompt" if "prompt" in value and "completion" in value else None


def _sft(line: dict[str, Any]) -> str | None:
    """FineTuneChatRequestInput; that the last message is the assistant's is the guide's."""
    bad = _messages(line.get("messages"), "messages") or _equipment(line, "")
    if bad is None and line["messages"][-1]["role"] != "assistant":
        return "messages: the last one is not from the assistant"
    return bad


def _dpo(line: dict[str, Any]) -> str | None:
    """FineTunePreferenceRequestInput."""
    asked = line.get("input")
    if type(asked) is not dict:
        return "input: missing, or not an object"
    bad = _messages(asked.get("messages"), "input.messages") or _equipment(asked, "input.")
    for key in _DPO_KEYS:
        bad = bad or _output(line.get(key), key)
    return bad


def _output(value: Any, key: str) -> str | None:
    bad = _messages(value, key)
    if bad is None and len(value) != 1:
        return f"{key}: more than one message"
    if bad is None and value[0]["role"] != "assistant":
        return f"{key}[0].role: not assistant"
    return bad


def _rft(line: dict[str, Any]) -> str | None:
    """FineTuneReinforcementRequestInput: whatever else stands there is for the grader."""
    bad = _messages(line.get("messages"), "messages") or _tools(line.get("tools"), "tools")
    if bad is None and line["messages"][-1]["role"] != "user":
        return "messages: the last one is not from the user, as reinforcement wants it"
    return bad


def _prompt(line: dict[str, Any]) -> str | None:
    """FineTuneCompletionRequestInput."""
    for key in ("prompt", "completion"):
        if type(line.get(key)) is not str:
            return f"{key}: missing, or not a string"
    return None


def _equipment(line: dict[str, Any], where: str) -> str | None:
    if len(line) == 1:
        return None
    parallel = line.get("parallel_tool_calls")
    if parallel is not None and type(parallel) is not bool:
        return f"{where}parallel_tool_calls: not true or false"
    return _tools(line.get("tools"), f"{where}tools") or _functions(line.get("functions"), f"{where}functions")


def _tools(tools: Any, where: str) -> str | None:
    if tools is None:
        return None
    if type(tools) is not list:
        return f"{where}: not a list"
    for i, tool in enumerate(tools):
        if type(tool) is not dict or tool.get("type") != "function":
            return f"{where}[{i}].type: not function"
        if bad := _function(tool.get("function"), f"{where}[{i}].function"):
            return bad
    return None


def _functions(functions: Any, where: str) -> str | None:
    if functions is None:
        return None
    if type(functions) is not list or not 1 <= len(functions) <= MAX_FUNCTIONS:
        return f"{where}: not a list of 1 to {MAX_FUNCTIONS} functions"
    return next((bad for i, f in enumerate(functions) if (bad := _function(f, f"{where}[{i}]"))), None)


def _function(function: Any, where: str) -> str | None:
    """FunctionObject."""
    if type(function) is not dict:
        return f"{where}: missing, or not an object"
    name = function.get("name")
    if type(name) is not str or not _NAME.fullmatch(name):
        return f"{where}.name: not 1 to 64 letters, digits, underscores and dashes"
    if type(function.get("parameters", {})) is not dict:
        return f"{where}.parameters: not an object"
    return None


# --------------------------------------------------------------------------- messages


def _messages(messages: Any, where: str) -> str | None:
    if type(messages) is not list or not messages:
        return f"{where}: missing, or not a list with messages"
    for i, message in enumerate(messages):
        if type(message) is dict and len(message) == 2 and type(message.get("content")) is str:
            role = message.get("role")
            if type(role) is str and role in _TEXT_ROLES:
                continue  # nearly all of them
        if bad := _message(message):
            return f"{where}[{i}]{bad}"
    return None


def _message(message: Any) -> str | None:
    if type(message) is not dict:
        return ": not an object"
    role = message.get("role")
    if type(role) is not str or (role not in _TEXT_ROLES and role not in ("tool", "function")):
        return f".role: not {_ROLES}"
    if type(message.get("name", "")) is not str:
        return ".name: not a string"
    if role == "assistant":
        return _assistant(message)
    if role == "function":
        content = message.get("content")
        if type(message.get("name")) is not str:
            return ".name: missing"
        return None if content is None or type(content) is str else ".content: not a string"
    if role == "tool" and type(message.get("tool_call_id")) is not str:
        return ".tool_call_id: missing, or not a string"
    return _content(message.get("content"), _PARTS.get(role, _TEXT_PART))


def _assistant(message: dict[str, Any]) -> str | None:
    """FineTuneChatCompletionRequestAssistantMessage. ``content`` may be missing where there is a call or a refusal."""
    weight = message.get("weight")
    if weight is not None and (type(weight) is not Number or weight not in _WEIGHTS):
        return ".weight: not 0 or 1"
    calls, call, refusal = (message.get(key) for key in ("tool_calls", "function_call", "refusal"))
    if refusal is not None and type(refusal) is not str:
        return ".refusal: not a string"
    if calls is not None and (bad := _calls(calls)):
        return bad
    if call is not None and (bad := _called(call)):
        return f".function_call{bad}"
    content = message.get("content")
    if content is None and (calls is not None or call is not None or refusal is not None):
        return None
    return _content(content, _PARTS["assistant"])


_WEIGHTS = (Number("0"), Number("1"))


def _calls(calls: Any) -> str | None:
    """ChatCompletionMessageToolCalls. Arguments are a string that may say anything, as the API's own models do."""
    if type(calls) is not list or not calls:
        return ".tool_calls: not a list with calls"
    for i, call in enumerate(calls):
        if type(call) is not dict or type(call.get("id")) is not str:
            return f".tool_calls[{i}].id: missing, or not a string"
        if call.get("type") != "function":
            return f".tool_calls[{i}].type: not function"
        if bad := _called(call.get("function")):
            return f".tool_calls[{i}].function{bad}"
    return None


def _called(function: Any) -> str | None:
    if type(function) is not dict or type(function.get("name")) is not str:
        return ".name: missing, or not a string"
    return None if type(function.get("arguments")) is str else ".arguments: missing, or not a string of JSON"


def _content(content: Any, kinds: frozenset[str]) -> str | None:
    if type(content) is str:
        return None
    if type(content) is not list or not content:
        return ".content: missing, or neither a string nor a list of parts"
    for i, part in enumerate(content):
        kind = part.get("type") if type(part) is dict else None
        if type(kind) is not str or kind not in kinds:
            return f".content[{i}].type: not {' or '.join(sorted(kinds, reverse=True))}"
        said = part.get(kind)
        if kind == "image_url" and (type(said) is not dict or type(said.get("url")) is not str):
            return f".content[{i}].image_url.url: missing, or not a string"
        if kind != "image_url" and type(said) is not str:
            return f".content[{i}].{kind}: missing, or not a string"
    return None


# --------------------------------------------------------------------------- batches and evals


def _batch(line: dict[str, Any]) -> str | None:
    """BatchRequestInput."""
    if type(line.get("custom_id")) is not str or not line["custom_id"]:
        return "custom_id: missing, or not a string"
    if line.get("method") != "POST":
        return "method: not POST"
    if operation_of(line) is None:
        return "url: not an endpoint that a batch may call"
    body = line.get("body")
    if type(body) is not dict:
        return "body: missing, or not an object"
    if body.get("stream") not in (None, False):
        return "body.stream: a batch cannot stream"
    return None if type(body.get("model", "")) is str else "body.model: not a string"


def _eval(line: dict[str, Any]) -> str | None:
    """EvalJsonlFileContentSource."""
    if type(line.get("item")) is not dict:
        return "item: missing, or not an object"
    return None if type(line.get("sample", {})) is dict else "sample: not an object"


_RULES: Mapping[str, Callable[[dict[str, Any]], str | None]] = {
    "sft": _sft,
    "dpo": _dpo,
    "rft": _rft,
    "prompt": _prompt,
    "batch": _batch,
    "eval": _eval,
}

# --------------------------------------------------------------------------- the whole file


@dataclass(slots=True)
class Whole:
    """What the good lines of a file say together. ``one + other`` is the same in any order and grouping.

    Holds digests of what callers wrote, never the text; of at most ``MAX_REQUESTS`` requests.
    """

    kind: LineKind
    records: int = 0
    inputs: int = 0
    """Texts to embed."""
    urls: frozenset[str] = frozenset()
    """Names of operations."""
    models: frozenset[bytes] = frozenset()
    """Digests; no more than two are kept."""
    ids: dict[bytes, int] = field(default_factory=dict, repr=False)
    """Digest of a custom_id → the first line that has it."""
    again: list[int] = field(default_factory=list)
    """The first lines with a custom_id that stood before."""

    def add(self, record: int, value: Any) -> None:
        """Takes down the line with this number (from 0), which has no problem of its own."""
        self.records += 1
        if self.kind != "batch":
            return
        body, operation = value["body"], operation_of(value)
        if operation is not None:
            self.urls |= {operation.name}
            self.inputs += _inputs(body) if operation.name == "embeddings.create" else 0
        if "model" in body and len(self.models) < 2:
            self.models |= {_digest(body["model"])}
        self._met(_digest(value["custom_id"]), record)
        self._bound()

    def __add__(self, other: Whole) -> Whole:
        one = Whole(
            self.kind,
            self.records + other.records,
            self.inputs + other.inputs,
            self.urls | other.urls,
            frozenset(sorted(self.models | other.models)[:2]),
            dict(self.ids),
            nsmallest(TOLD, self.again + other.again),
        )
        for digest, record in other.ids.items():
            one._met(digest, record)
        one._bound()
        return one

    def problems(self) -> tuple[str, ...]:
        """What OpenAI would refuse the file for, though no line is bad. Lines are counted from 1."""
        if self.kind in ("sft", "dpo", "rft", "prompt") and self.records < MIN_EXAMPLES:
            return (f"fewer than {MIN_EXAMPLES} examples",)
        if self.kind != "batch":
            return ()
        lines = ", ".join(str(record + 1) for record in self.again)
        said = {
            f"more than {MAX_REQUESTS} requests": self.records > MAX_REQUESTS,
            f"more than {MAX_REQUESTS} texts to embed": self.inputs > MAX_REQUESTS,
            f"the same custom_id again (line {lines})": bool(self.again),
            "requests to more than one url": len(self.urls) > 1,
            "requests to more than one model": len(self.models) > 1,
        }
        return tuple(text for text, holds in said.items() if holds)

    def _met(self, digest: bytes, record: int) -> None:
        first = self.ids.setdefault(digest, record)
        if first == record:
            return
        self.ids[digest], later = min(first, record), max(first, record)
        if len(self.again) < TOLD or later < self.again[-1]:
            self.again = nsmallest(TOLD, [*self.again, later])

    def _bound(self) -> None:
        """A file with too many requests is refused for that alone."""
        if self.records > MAX_REQUESTS:
            self.ids, self.again = {}, []


def _inputs(body: dict[str, Any]) -> int:
    """How many texts; one is a string, or a list of tokens."""
    texts = body.get("input")
    return len(texts) if type(texts) is list and texts and type(texts[0]) is not Number else 1


def _digest(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
