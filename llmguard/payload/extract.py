"""Extract: every piece of text in a call, with its address, and the way back into the received bytes.

Owns the walk over a body, path, query and headers. Scan by default: every string, key and long number is a TextPart,
except structure that looks the part (``slots``). JSON inside strings is walked as JSON. What no text scan can look
into (images, sound, token ids, what the provider encrypted) is named in ``Extract.unscanned``.

Invariant: ``rebuild({})`` is the very bytes object that came, and an edited body differs in the edited literals only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, unquote_plus

from llmguard.errors import RequestTooLarge, UnscannableRequest
from llmguard.model import Call, Origin, Place, TextPart
from llmguard.payload import slots
from llmguard.payload.json import Document, Number, parse

MAX_PARTS = 200_000
MAX_NESTING = 4
"""Levels of JSON inside strings. Deeper ones are plain text."""
IDENTIFYING_DIGITS = 9

_ROLES: Mapping[str, Origin] = {
    "system": "system",
    "developer": "system",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
_ORIGINS: Mapping[str, Origin] = {
    "instructions": "system",
    "additional_instructions": "system",
    "system": "system",
    "tools": "system",
    "functions": "system",
    "response_format": "system",
    "tool_outputs": "tool",
}
_ITEMS = frozenset(("messages", "input", "items", "additional_messages"))
_FREE = frozenset(
    ("metadata", "parameters", "arguments", "schema", "variables", "properties", "default", "examples", "attributes")
)
"""Keys under which the caller chooses the keys: nothing there is structure by its name."""
_JSON_START = re.compile(r"[ \t\r\n]*[\[{]")
_BINARY = re.compile(r"data:([\w.+-]+)/[\w.+-]+(?:;[\w=.-]+)*;base64,[A-Za-z0-9+/=_\r\n-]*")
_BASE64 = re.compile(r"[A-Za-z0-9+/=_\r\n-]*")
_BINARY_KEYS: Mapping[tuple[str, str], str] = {
    ("input_audio", "data"): "audio",
    ("file", "file_data"): "file",
    ("input_file", "file_data"): "file",
    ("image_url", "url"): "image",
    ("input_image", "image_url"): "image",
}

Chain = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Extract:
    """What leaves in a call. ``unscanned`` names the kinds of content that nobody looked into, sorted."""

    parts: tuple[TextPart, ...]
    raw: bytes
    document: Document | None
    unscanned: tuple[str, ...]
    _documents: Mapping[Chain, Document]
    _chains: Mapping[int, Chain]

    def rebuild(self, texts: Mapping[int, str]) -> bytes:
        """The body with the parts of these indices replaced; the received bytes themselves if there are none.

        Raises UnscannableRequest if two keys become equal, GuardUnavailable if the result cannot be proved.
        """
        if not texts:
            return self.raw
        edits: dict[Chain, dict[int, str]] = {}
        for index, text in texts.items():
            chain = self._chains[index]
            for depth in range(len(chain)):
                edits.setdefault(chain[:depth], {})
            edits[chain[:-1]][chain[-1]] = text
        for chain in sorted(edits, key=len, reverse=True):
            result = self._documents[chain].splice(edits[chain])
            if chain:
                edits[chain[:-1]][chain[-1]] = result.decode()
        return result

    def __repr__(self) -> str:
        return f"Extract({len(self.parts)} parts, unscanned={self.unscanned})"


def extract(call: Call) -> Extract:
    """Raises UnscannableRequest for a body that cannot be looked through exactly, RequestTooLarge for too many."""
    body = call.body
    walk = _Walk()
    document = None
    if body.kind == "json":
        document = parse(body.raw)
        walk.document(document, (), "", "user")
    elif body.kind != "empty":
        raise UnscannableRequest("multipart uploads are not supported yet and are refused; send the data as JSON")
    walk.parts.extend(_envelope(call))
    return Extract(tuple(walk.parts), body.raw, document, tuple(sorted(walk.unscanned)), walk.documents, walk.chains)


# --------------------------------------------------------------------------- path, query, headers


def _envelope(call: Call) -> Iterator[TextPart]:
    if call.operation.kind == "unknown":
        yield _outside(unquote(call.path), "path", "path")
    for _, value in call.path_params:
        if not slots.plain_parameter(text := unquote(value)):
            yield _outside(text, "path", "path")
    yield from _query(call.query)
    for name, value in call.headers:
        if not slots.plain_header(name, value):
            yield _outside(value, f"header:{name}", "header", name)
        if not slots.plain_header_name(name):
            yield _outside(name, "header", "header")


def _query(query: str) -> Iterator[TextPart]:
    for pair in query.split("&") if query else ():
        name, _, value = pair.partition("=")
        name, text = unquote_plus(name), unquote_plus(value)
        if name and name not in slots.WORDS:
            yield _outside(name, "query", "query")
        if text and not slots.plain_query(name, text):
            yield _outside(text, "query", "query", name if name not in slots.MUTE_LABELS else "")


def _outside(text: str, address: str, place: Place, label: str = "") -> TextPart:
    return TextPart(text, address, "user", label, place, False)


# --------------------------------------------------------------------------- body


class _Walk:
    """The walk over one body. Strings are numbered as they are met, per document."""

    __slots__ = ("_chain", "_next", "chains", "documents", "parts", "unscanned")

    def __init__(self) -> None:
        self.parts: list[TextPart] = []
        self.chains: dict[int, Chain] = {}
        self.documents: dict[Chain, Document] = {}
        self.unscanned: set[str] = set()
        self._chain: Chain = ()
        self._next = 0

    def document(self, document: Document, chain: Chain, address: str, origin: Origin) -> None:
        outer = self._chain, self._next
        self._chain, self._next = chain, 0
        self.documents[chain] = document
        self._value(document.value, address, "", "", origin, bool(chain))
        self._chain, self._next = outer

    def _value(self, value: Any, address: str, key: str, parent: str, origin: Origin, free: bool) -> None:
        """``key`` is the nearest object key above, ``parent`` the one above that; ``free``: the caller's own keys."""
        kind = type(value)
        if kind is str:
            self._string(value, address, key, parent, origin, free)
        elif kind is dict:
            self._object(value, address, key, origin, free)
        elif kind is list:
            self._array(value, address, key, parent, origin, free)
        elif kind is Number and len(value) >= IDENTIFYING_DIGITS:
            self._number(value, address, key, origin)

    def _object(self, value: dict[str, Any], address: str, parent: str, origin: Origin, free: bool) -> None:
        if not free:
            origin = _item_origin(value, parent, origin)
            parent = self._kind(value, parent)
        for key, child in value.items():
            number = self._next
            self._next = number + 1
            if key not in slots.WORDS:
                self._part(TextPart(key, f"{address}/{_escaped(key)}", origin, "", "key"), number)
            inner = origin if free else _ORIGINS.get(key, origin) if origin == "user" else origin
            if not free and key == "text" and type(child) is dict and not address:
                inner = "system"
            if not free and key == "output" and origin == "assistant":
                inner = "tool"
            self._value(child, f"{address}/{_escaped(key)}", key, parent, inner, free or key in _FREE)

    def _kind(self, value: dict[str, Any], parent: str) -> str:
        """What an object is: its type where it has one, else the key that it stands under."""
        kind = value.get("type")
        if type(kind) is str and kind in ("function", "json_schema", "input_audio", "input_image", "input_file"):
            return kind
        return parent

    def _array(self, value: list[Any], address: str, key: str, parent: str, origin: Origin, free: bool) -> None:
        if value and not free and key in ("input", "prompt") and _tokens(value):
            self.unscanned.add("tokens")
        for i, child in enumerate(value):
            self._value(child, f"{address}/{i}", key, parent, origin, free)

    def _string(self, text: str, address: str, key: str, parent: str, origin: Origin, free: bool) -> None:
        number = self._next
        self._next = number + 1
        if not text or text in slots.WORDS:
            return
        if not free and (slots.structural(key, text) or self._binary(text, key, parent)):
            return
        if _JSON_START.match(text) and self._nested(text, number, address, origin):
            return
        label = "" if key in slots.MUTE_LABELS else key
        redactable = free or not slots.fragile(key, parent)
        self._part(TextPart(text, address, origin, label, "body", redactable), number)

    def _nested(self, text: str, number: int, address: str, origin: Origin) -> bool:
        chain = (*self._chain, number)
        if len(chain) > MAX_NESTING or text.rstrip()[-1] not in "]}":
            return False
        try:
            document = parse(text.encode())
        except UnscannableRequest:
            return False
        self.document(document, chain, f"{address}#", origin)
        return True

    def _binary(self, text: str, key: str, parent: str) -> bool:
        """Whether a string is content for eyes and ears. A link to a picture is scanned as text, and counted too."""
        if key == "encrypted_content" and _BASE64.fullmatch(text):
            self.unscanned.add("encrypted")
            return True
        kind = _BINARY_KEYS.get((parent, key))
        if (match := _BINARY.fullmatch(text)) and match[1] != "text":
            self.unscanned.add(match[1] if match[1] in ("image", "audio", "video") else "file")
            return True
        if kind is None:
            return False
        self.unscanned.add(kind)
        return kind != "image" and _BASE64.fullmatch(text) is not None

    def _number(self, lexeme: str, address: str, key: str, origin: Origin) -> None:
        if sum(map(str.isdigit, lexeme)) >= IDENTIFYING_DIGITS and not slots.is_time(key, lexeme):
            label = "" if key in slots.MUTE_LABELS else key
            self._part(TextPart(str(lexeme), address, origin, label, "body", False), None)

    def _part(self, part: TextPart, number: int | None) -> None:
        if len(self.parts) >= MAX_PARTS:
            raise RequestTooLarge(f"the body holds more than {MAX_PARTS} pieces of text; send less at once")
        if number is not None:
            self.chains[len(self.parts)] = (*self._chain, number)
        self.parts.append(part)


def _item_origin(value: dict[str, Any], parent: str, origin: Origin) -> Origin:
    """The role of a message or item, as far as the place that it stands in lets it speak for itself."""
    if parent not in _ITEMS or origin != "user":
        return origin
    role, kind = value.get("role"), value.get("type")
    if type(role) is str and role in _ROLES:
        return _ROLES[role]
    if type(kind) is str and role is None:
        if kind.endswith("_output"):
            return "tool"
        if kind.endswith("_call") or kind == "reasoning":
            return "assistant"
    return origin


def _tokens(value: list[Any]) -> bool:
    first = value[0]
    return type(first) is Number or (type(first) is list and bool(first) and type(first[0]) is Number)


def _escaped(key: str) -> str:
    return key if "~" not in key and "/" not in key else key.replace("~", "~0").replace("/", "~1")
