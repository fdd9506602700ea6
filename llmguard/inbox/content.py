"""Content: the body of a held request as sections that people read: messages by role, tools, files, arguments.

It owns the reading of shapes and never the showing: texts in it are somebody else's, as they stand in the body, and
``title`` and ``label`` alone are words of ours. Invariant: nothing is left out. Each name and each value of a body is
in some block, or the whole body stands there as it is.
"""

from __future__ import annotations

import base64
import hashlib
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from llmguard.inbox import multipart
from llmguard.inbox.spelling import Number, loads, spelled

ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function", "critic", "discriminator"})
_TEXTS = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal", "summary_text": "text"}
_BLOB = re.compile(r"data:([\w.+/-]{0,100})(?:;[\w=.+-]{1,100}){0,4};base64,|(?=[A-Za-z0-9+/_-]{2000})")
_MOST_ROWS, _MOST_COLUMNS = 500, 12
_COMMAND = "command"


@dataclass(frozen=True, slots=True)
class Row:
    """A named value. ``prose``: it is a text, and not a number or something in JSON."""

    name: str
    value: str = field(repr=False)
    prose: bool = False


@dataclass(frozen=True, slots=True)
class Block:
    """``text``: prose. ``code``: JSON on lines of its own. ``rows``: names and values. ``table``: the first row is its
    head. ``blob``: bytes that are not shown, whose ``text`` says in our words what they are.
    """

    kind: Literal["text", "code", "rows", "table", "blob"]
    label: str = ""
    text: str = field(default="", repr=False)
    rows: tuple[Row, ...] = field(default=(), repr=False)
    table: tuple[tuple[str, ...], ...] = field(default=(), repr=False)

    @property
    def size(self) -> int:
        return len(self.text) + sum(len(r.name) + len(r.value) for r in self.rows) + sum(map(len, sum(self.table, ())))


@dataclass(frozen=True, slots=True)
class Section:
    """``title`` and ``role`` are words of ours, ``name`` is theirs. ``folded``: seldom what a decision hangs on."""

    title: str
    blocks: tuple[Block, ...]
    role: str = ""
    name: str = field(default="", repr=False)
    folded: bool = False

    @property
    def size(self) -> int:
        return sum(block.size for block in self.blocks)


def read(subject: str, media: str, body: bytes) -> tuple[Section, ...]:
    """A whole body as sections. ``media``: its Content-Type. What has no shape that is known is one section of text."""
    if media.lower().startswith("multipart/form-data"):
        files = multipart.read(media, body)
        return tuple(_file(part) for part in files) if files else (plain(body),)
    try:
        return tuple(_sections(subject, loads(body.decode()))) or (plain(body),)
    except (ValueError, RecursionError):
        return (plain(body),)


def plain(body: bytes) -> Section:
    """Text as it is; bytes that are none in base64."""
    try:
        block = Block("text", "exactly as it would be sent", body.decode())
    except UnicodeDecodeError:
        block = Block("text", "no text: exactly as it would be sent, in base64", base64.b64encode(body).decode())
    return Section("The body", (block,))


def _sections(subject: str, value: Any) -> Iterator[Section]:
    if not isinstance(value, dict):
        yield Section("The body", tuple(_any("", value)))
        return
    rest = dict(value)
    if subject == "action":
        yield from _action(rest)
    elif subject == "change":
        yield from _change(rest)
    else:
        yield from _call(rest)


# --------------------------------------------------------------------------- calls


def _call(rest: dict[str, Any]) -> Iterator[Section]:
    """Requests of the OpenAI API. What is left over stands at the end, by its names."""
    if isinstance(rest.get("instructions"), str):
        yield Section("Instructions", (_prose("", rest.pop("instructions")),), role="system")
    for name, title in (("messages", "Message"), ("input", "Input"), ("prompt", "Prompt")):
        if name in rest:
            yield from _items(title, rest.pop(name))
    tools = rest.pop("tools", None)
    if tools is not None:
        yield _tools(tools)
    if rest:
        yield Section("Settings", (_rows(rest),), folded=_quiet(rest))


def _quiet(rest: Mapping[str, Any]) -> bool:
    """Whether nothing in it is longer than a name or a number."""
    return all(not isinstance(v, dict | list) and len(str(v)) <= 60 for v in rest.values())


def _items(title: str, value: Any) -> Iterator[Section]:
    if not isinstance(value, list):
        yield Section(title, tuple(_any("", value)), role="user" if isinstance(value, str) else "")
        return
    if not value:
        yield Section(title, (Block("code", "empty", "[]"),))
    if value and not any(isinstance(item, dict | list) for item in value) and not any(map(_long, value)):
        yield Section(
            f"{title}s 1 to {len(value)}", (Block("table", "", table=(("number", "value"), *_numbered(value))),)
        )
        return
    for at, item in enumerate(value, 1):
        yield _item(f"{title} {at}", item)


def _long(value: Any) -> bool:
    return isinstance(value, str) and (len(value) > 200 or "\n" in value)


def _numbered(values: Sequence[Any]) -> Iterator[tuple[str, str]]:
    for at, value in enumerate(values, 1):
        yield str(at), value if isinstance(value, str) and not isinstance(value, Number) else spelled(value)


def _item(title: str, item: Any) -> Section:
    if not isinstance(item, dict):
        return Section(title, tuple(_any("", item)))
    rest = dict(item)
    role = rest.pop("role") if rest.get("role") in ROLES else ""
    name = rest.pop("name") if isinstance(rest.get("name"), str) else ""
    blocks: list[Block] = []
    if rest.get("type") == "function_call":
        rest.pop("type")
        title, role = f"{title}: calls a tool", role or "assistant"
    elif rest.get("type") == "function_call_output":
        rest.pop("type")
        title, role = f"{title}: what a tool answered", role or "tool"
    elif rest.get("type") == "message":
        rest.pop("type")
    for key, label in (("content", ""), ("arguments", "arguments"), ("output", "answer")):
        if key in rest:
            blocks += _content(label, rest.pop(key))
    if isinstance(rest.get("tool_calls"), list):
        for call in rest.pop("tool_calls"):
            blocks += _tool_call(call)
    if rest:
        blocks.append(_rows(rest, "other fields"))
    return Section(title, tuple(blocks) or (Block("code", "empty", "{}"),), role, name)


def _content(label: str, value: Any) -> Iterator[Block]:
    """The content of a message: a text, or pieces of several kinds."""
    if not isinstance(value, list) or not value:
        yield from _any(label, value)
        return
    for piece in value:
        kind = piece.get("type") if isinstance(piece, dict) else None
        key = "refusal" if kind == "refusal" else "text"
        if kind in _TEXTS and isinstance(piece.get(key), str):
            yield _prose(label or _TEXTS[kind], piece[key])
            rest = {k: v for k, v in piece.items() if k not in ("type", key)}
        else:
            rest = piece
        if isinstance(rest, dict):
            if rest:
                yield from _with_blobs(str(kind or "") if kind in _TEXTS else "", rest)
        else:
            yield from _any(label, rest)


def _with_blobs(label: str, value: dict[str, Any]) -> Iterator[Block]:
    """An image, a recording or a file: what names it, and its bytes as what they are."""
    blobs: list[Block] = []

    def without(part: Any) -> Any:
        if isinstance(part, dict):
            return {k: without(v) for k, v in part.items()}
        if isinstance(part, str) and (blob := _blob(part)):
            blobs.append(blob)
            return "(bytes: see below)"
        return part

    yield _rows(without(value), label)
    yield from blobs


def _tool_call(call: Any) -> Iterator[Block]:
    if not isinstance(call, dict):
        yield from _any("calls a tool", call)
        return
    rest = dict(call)
    function = rest.get("function")
    if isinstance(function, dict):
        rest.pop("function")
        rest |= {f"function.{k}" if k in rest else k: v for k, v in function.items()}
    arguments = rest.pop("arguments", None)
    yield _rows(rest, "calls a tool")
    if arguments is not None:
        yield from _any("with the arguments", arguments)


def _tools(value: Any) -> Section:
    blocks: list[Block] = []
    for tool in value if isinstance(value, list) else [value]:
        rest = dict(tool) if isinstance(tool, dict) else {"tool": tool}
        inner = rest.get("function")
        if isinstance(inner, dict) and not set(inner) & set(rest):
            rest = {**{k: v for k, v in rest.items() if k != "function"}, **inner}
        blocks.append(_rows(rest, "tool"))
    count = len(blocks)
    return Section(f"Tools that the model may call: {count}", tuple(blocks) or (Block("code", "", "[]"),), folded=True)


# --------------------------------------------------------------------------- actions, changes, files


def _action(rest: dict[str, Any]) -> Iterator[Section]:
    about: dict[str, Any] = {k: rest.pop(k) for k in ("action", "function", "on") if k in rest}
    if about:
        yield Section("What is to be done", (_rows(about),))
    if "description" in rest:
        yield Section("How it describes itself", tuple(_any("", rest.pop("description"))))
    if "arguments" in rest:
        arguments = rest.pop("arguments")
        yield Section("With these arguments", tuple(_any("", arguments)))
    if "evidence" in rest:
        yield Section("Evidence that came with it", tuple(_any("", rest.pop("evidence"))))
    if rest:
        yield Section("Also", (_rows(rest),), folded=True)


_CHANGES = {
    "person": "A person and their groups",
    "key": "A key of the data plane",
    "delegation": "Somebody votes in another's place",
    "standing_grant": "Calls that are approved in advance",
    "policy": "The policy: which rules decide",
    "exception": "A finding that is none",
}


def _change(rest: dict[str, Any]) -> Iterator[Section]:
    kind = rest.get("change")
    title = _CHANGES.get(kind, "A change") if isinstance(kind, str) else "A change"
    if isinstance(rest.get("source"), str) and kind == "policy":
        yield Section(title, (Block("code", "the whole of it", _pretty(rest.pop("source"))),))
        title = "Also"
    if rest:
        yield Section(title, (_rows(rest),))


def _file(part: multipart.Field) -> Section:
    rows = [Row(name, value) for name, value in part.headers]
    about = (Block("rows", "", rows=tuple(rows)),) if rows else ()
    if part.text is None:
        shown: tuple[Block, ...] = (Block("blob", "", _told(part.media or "bytes", part.size, part.sha256)),)
    elif part.filename:
        shown = (Block("text", "content of the file", part.text),)
    else:
        shown = (Block("text", "", part.text),)
    title = "File" if part.filename else "Field"
    return Section(title, (*about, *shown), name=part.filename or part.name)


# --------------------------------------------------------------------------- values


def _any(label: str, value: Any) -> Iterator[Block]:
    """Any value, as it is read best."""
    if isinstance(value, Number):
        yield Block("code", label, value)
    elif isinstance(value, str):
        yield _prose(label, value)
    elif isinstance(value, dict) and value:
        yield _rows(value, label)
    elif table := _table(value):
        yield Block("table", label, table=table)
    else:
        yield Block("code", label, spelled(value))


def _prose(label: str, text: str) -> Block:
    """A text; JSON in it on lines of its own, and bytes as what they are."""
    if blob := _blob(text):
        return Block("blob", label, blob.text)
    if text[:1] in ("{", "["):
        pretty = _pretty(text)
        if pretty != text:
            return Block("code", label, pretty)
    return Block("text", label, text)


def _pretty(text: str) -> str:
    try:
        return spelled(loads(text))
    except (ValueError, RecursionError):
        return text


def _rows(value: Mapping[str, Any], label: str = "") -> Block:
    return Block("rows", label, rows=tuple(_row(name, v) for name, v in value.items()))


def _row(name: str, value: Any) -> Row:
    if isinstance(value, str) and not isinstance(value, Number):
        return Row(name, value, prose=True)
    if name == _COMMAND and isinstance(value, list) and value and all(_word(w) for w in value):
        return Row(f"{name} $", shlex.join(value))
    return Row(name, spelled(value))


def _word(value: Any) -> bool:
    return isinstance(value, str) and not isinstance(value, Number)


def _table(value: Any) -> tuple[tuple[str, ...], ...]:
    """Rows of the same few simple columns, or nothing."""
    if not isinstance(value, list) or not 0 < len(value) <= _MOST_ROWS or not all(isinstance(r, dict) for r in value):
        return ()
    head = tuple(value[0])
    simple = all(tuple(r) == head and not any(isinstance(v, dict | list) for v in r.values()) for r in value)
    if not simple or not 0 < len(head) <= _MOST_COLUMNS:
        return ()
    return (head, *(tuple(v if _word(v) else spelled(v) for v in r.values()) for r in value))


def _blob(text: str) -> Block | None:
    """Bytes in base64: they are not shown, and nothing is made of them."""
    found = _BLOB.match(text)
    if found is None or " " in text or "\n" in text:
        return None
    size = (len(text) - found.end()) * 3 // 4
    return Block("blob", "", _told(found[1] or "bytes in base64", size, hashlib.sha256(text.encode()).hexdigest()))


def _told(media: str, size: int, sha256: str) -> str:
    return f"{media}, about {size:,} bytes, SHA-256 of its text {sha256[:16]}: not shown here"
