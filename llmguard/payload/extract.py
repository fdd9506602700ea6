"""Extract: every piece of text in a call, with its address, and the way back into the received bytes.

Owns the walk over a body, path, query and headers. Scan by default: every string, key and long number is a TextPart,
except structure that looks the part (``slots``). JSON inside strings is walked as JSON; data URLs of text media,
base64 files that are text and lists of token ids are decoded; other files (PDF, office) are looked into (``files``) and
cannot be rewritten. What no text scan can look into (images, sound, token ids of nobody's model, what the provider
encrypted) is named in ``Extract.unscanned``.

Invariant: ``rebuild({})`` is the very bytes object that came, and an edited body differs in the edited literals only.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import lru_cache, partial
from io import BytesIO
from typing import Any
from urllib.parse import unquote, unquote_plus

from llmguard.errors import RequestTooLarge, UnscannableRequest
from llmguard.model import Call, Finding, Operation, Origin, Place, TextPart
from llmguard.payload import files, limits, multipart, slots, tokens, wrapped
from llmguard.payload.json import Document, Number, parse

MAX_PARTS = 200_000
LOOKING = files.Limits(
    held=32 << 20,
    unpacked=64 << 20,
    characters=4 << 20,
    parts=20_000,
    entries=2_000,
    objects=50_000,
    pages=300,
    operators=1_000_000,
    seconds=2.0,
)
"""What looking into the files of one body may cost; the time is that of all of them."""
MAX_NESTING = 6
"""Levels of JSON inside strings. Deeper ones are plain text, and count as not looked into."""
IDENTIFYING_DIGITS = 9
MAX_WHOLE = 40
"""Digits of the longest number that is written out."""

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
_PLAIN_ROLES = frozenset((*_ROLES, "user"))
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
    ("image_generation_call", "result"): "image",
    ("source", "data"): "file",
}

CREDENTIAL = Finding(0, 0, "MCP_CREDENTIAL", "secret", 1.0, "payload.credential", "medium")
"""What stands where the caller hands a tool's server its credential: meant to leave, so counted and never rewritten."""

Chain = tuple[int, ...]
"""Where a literal stands: numbers of the strings around it and its own, per document; -1-k is the k-th list, and
``NUMBERS`` - k the k-th number."""
NUMBERS = -(1 << 40)
_WHOLE = re.compile(r"0|[1-9][0-9]*", re.ASCII)
Near = tuple[str, str, tuple[limits.Limit, ...]]
"""Address and old text of a string that an edit may make too long or otherwise unfit; its limits, if known already."""
_NEVER = 1 << 62
_MAPS = slots.MAPS
_SPECIAL = slots.SPECIAL


@dataclass(frozen=True, slots=True)
class Extract:
    """What leaves in a call. ``unscanned`` names the kinds of content that nobody looked into, sorted."""

    parts: tuple[TextPart, ...]
    raw: bytes
    document: Document | None
    unscanned: tuple[str, ...]
    _ways: _Ways

    def rebuild(self, texts: Mapping[int, str]) -> bytes:
        """The body with the parts of these indices replaced; the received bytes themselves if there are none.

        Raises UnscannableRequest if two keys become equal, GuardUnavailable if the result cannot be proved.
        """
        if not texts:
            return self.raw
        return _spliced(self._ways.documents[()], self._ways.literals(texts))

    def literals(self, texts: Mapping[int, str]) -> dict[int, str]:
        """The new texts of the body's own strings, by number, with the parts of these indices replaced."""
        return self._ways.literals(texts)

    def misfits(self, texts: Mapping[int, str]) -> frozenset[int]:
        """Of these edits, those that would leave a string longer or otherwise than its slot takes it, or make a number
        anything else."""
        ways = self._ways
        numbers = [i for i in texts if ways.chains[i][-1] <= NUMBERS]
        typed = frozenset(i for i in numbers if not _WHOLE.fullmatch(texts[i]))
        near = {ways.chains[index][0] for index in texts} & ways.near.keys() if ways.near else None
        if not near:
            return typed
        edited = {i: text for i, text in texts.items() if ways.chains[i][0] in near}
        literals = ways.literals(edited)
        bad = {number for number in near if not ways.fits(number, literals[number])}
        return typed | {i for i in edited if ways.chains[i][0] in bad}

    def declared(self, findings: tuple[tuple[Finding, ...], ...]) -> tuple[tuple[Finding, ...], ...]:
        """The findings, with a credential that is meant to leave as one of its own kind, whatever it looks like."""
        if not self._ways.credentials:
            return findings
        changed = list(findings)
        for i in self._ways.credentials:
            others = (f for f in findings[i] if f.category != "secret")
            changed[i] = (*others, replace(CREDENTIAL, end=len(self.parts[i].text)))
        return tuple(changed)

    def __repr__(self) -> str:
        return f"Extract({len(self.parts)} parts, unscanned={self.unscanned})"


@dataclass(slots=True)
class _Ways:
    """The ways back: from parts to the literals of the body. Filled by one walk, and not changed after it."""

    documents: dict[Chain, Document]
    chains: dict[int, Chain]
    closes: dict[Chain, wrapped.Close]
    near: dict[int, Near]
    credentials: list[int]
    limits: limits.Limits

    def literals(self, texts: Mapping[int, str]) -> dict[int, str]:
        """The new texts of the body's own literals, by number, with the documents inside them edited."""
        edits: dict[Chain, dict[int, str]] = {(): {}}
        for index, text in texts.items():
            chain = self.chains[index]
            for depth in range(1, len(chain)):
                edits.setdefault(chain[:depth], {})
            edits[chain[:-1]][chain[-1]] = self._closed(chain, text)
        for chain in sorted(edits, key=len, reverse=True)[:-1]:
            result = _spliced(self.documents[chain], edits[chain])
            edits[chain[:-1]][chain[-1]] = self._closed(chain, result.decode())
        return edits[()]

    def _closed(self, chain: Chain, text: str) -> str:
        close = self.closes.get(chain)
        return close(text) if close else text

    def fits(self, number: int, text: str) -> bool:
        address, old, known = self.near[number]
        return limits.fits(known or self.limits.at(address), old, text)


def _spliced(document: Document, edits: Mapping[int, str]) -> bytes:
    """A document with its literals replaced, by number."""
    if min(edits) >= 0:
        return document.splice(edits)
    return document.splice(
        {n: text for n, text in edits.items() if n >= 0},
        {-1 - n: text for n, text in edits.items() if NUMBERS < n < 0},
        {NUMBERS - n: text for n, text in edits.items() if n <= NUMBERS},
    )


def extract(call: Call) -> Extract:
    """What a call says: its envelope, and its body; of a form, the plain fields and the names of files.

    Raises UnscannableRequest for a body that cannot be looked through exactly, RequestTooLarge for too many.
    """
    body = call.body
    walk = _Walk(call.method, call.operation.path, dict(call.path_params).get("deployment"))
    document = None
    if body.kind in ("json", "form"):
        document = parse(multipart.document(body.fields) if body.kind == "form" else body.raw)
        walk.document(document, (), "", "user")
    elif body.kind != "empty":
        raise UnscannableRequest("a body of this content type is not understood; send JSON or multipart/form-data")
    walk.parts.extend(_envelope(call))
    walk.look()
    return Extract(
        tuple(walk.parts), document.raw if document else body.raw, document, tuple(sorted(walk.unscanned)), walk.ways
    )


def extract_line(document: Document, shape: Shape) -> Extract:
    """What stands in one line of a file: the same walk, with what the line's kind says of its keys.

    Raises RequestTooLarge for too many parts.
    """
    body = shape.operation
    walk = _Walk(body.method, body.path, None) if body else _Walk("", "", None)
    walk.line(document, shape)
    walk.look()
    return Extract(tuple(walk.parts), document.raw, document, tuple(sorted(walk.unscanned)), walk.ways)


@dataclass(frozen=True, slots=True)
class Shape:
    """What the keys of a line's object are: ``known`` ones are walked as the API's own, from their origin; under all
    others the writer of the file chose the keys and the types: numbers there can be replaced too. What stands under
    ``body`` is the body of a call of ``operation``.
    """

    known: Mapping[str, Origin]
    operation: Operation | None = None


PLAIN = Shape({})
"""A line of which nothing is known."""

# --------------------------------------------------------------------------- path, query, headers


def _envelope(call: Call) -> Iterator[TextPart]:
    if call.operation.kind == "unknown":
        yield _outside(unquote(call.path), "path", "path")
    for name, value in call.path_params:
        for segment in value.split("/") if name == "rest" else (value,):
            if not slots.plain_parameter(text := unquote(segment)):
                yield _outside(text, "path", "path")
    yield from _query(call.query)
    for name, value in call.headers:
        if not slots.plain_header(name, value):
            yield _outside(value, f"header:{name}", "header", name)
        if not slots.plain_header_name(name):
            yield _outside(name, "header", "header")
    for number, f in enumerate(call.body.fields):
        if f.media_type and not slots.plain_header("content-type", f.media_type):
            yield _outside(f.media_type, f"field:{number}", "header", "content-type")


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

    __slots__ = (
        "_chain",
        "_chains",
        "_files",
        "_limited",
        "_lists",
        "_model",
        "_next",
        "_numbers",
        "_own",
        "_special",
        "_watched",
        "parts",
        "unscanned",
        "ways",
    )

    def __init__(self, method: str, path: str, model: str | None) -> None:
        """``path``: the operation's template. ``model``: the one that the path names, if any."""
        self.parts: list[TextPart] = []
        self.unscanned: set[str] = set()
        known, self._special = _known(method, path)
        self.ways = _Ways({}, {}, {}, {}, [], known)
        self._chains = self.ways.chains
        self._files: list[tuple[bytes, str, str, str, Origin]] = []
        self._watched = known.watched
        self._limited = bool(method)
        self._model: Any = model
        self._chain: Chain = ()
        self._next = 0
        self._lists = 0
        self._numbers = 0
        self._own = False

    def document(self, document: Document, chain: Chain, address: str, origin: Origin) -> None:
        outer = self._chain, self._next, self._lists, self._numbers
        self._chain, self._next, self._lists, self._numbers = chain, 0, 0, 0
        self.ways.documents[chain] = document
        if not chain and type(document.value) is dict:
            self._model = document.value.get("model", self._model)
        self._value(document.value, address, "", "", origin, bool(chain))
        self._chain, self._next, self._lists, self._numbers = outer

    def line(self, document: Document, shape: Shape) -> None:
        """A line of a file. The body of a call keeps its addresses: its limits are found by them."""
        self.ways.documents[()] = document
        self._own = shape.operation is None
        value = document.value
        if type(value) is not dict:
            self._value(value, "", "", "", "user", True)
            return
        for key, child in value.items():
            number = self._next
            self._next = number + 1
            if key == "body" and shape.operation is not None:
                self._model = child.get("model") if type(child) is dict else None
                self._value(child, "", "", "", "user", False)
                continue
            if key not in slots.KEYS:
                self._part(TextPart(key, f"/{_escaped(key)}", "user", "", "key"), number)
            origin = shape.known.get(key)
            self._value(child, f"/{_escaped(key)}", key, "", origin or "user", origin is None)

    def _value(self, value: Any, address: str, key: str, parent: str, origin: Origin, free: bool) -> None:
        """``key`` is the nearest object key above, ``parent`` the one above that; ``free``: the caller's own keys."""
        kind = type(value)
        if kind is str:
            self._string(value, address, key, parent, origin, free)
        elif kind is dict:
            self._object(value, address, key if parent != "mcp" else f"mcp {key}", origin, free)
        elif kind is list:
            self._array(value, address, key, parent, origin, free)
        elif kind is Number:
            number = self._numbers
            self._numbers = number + 1
            if len(value) >= IDENTIFYING_DIGITS or "e" in value or "E" in value:
                self._number(value, address, key, origin, NUMBERS - number if free and self._own else None)

    def _object(self, value: dict[str, Any], address: str, parent: str, origin: Origin, free: bool) -> None:
        if not free:
            origin = _item_origin(value, parent, origin)
            parent = self._kind(value, parent)
        limited = free and parent in _MAPS and not self._chain and self._limited
        for key, child in value.items():
            number = self._next
            self._next = number + 1
            if key not in slots.KEYS:
                if limited:
                    self.ways.near[number] = (address, key, (limits.KEY,))
                self._part(TextPart(key, f"{address}/{_escaped(key)}", origin, "", "key"), number)
            inner = origin if free else _ORIGINS.get(key, origin) if origin == "user" else origin
            if not free and key == "text" and type(child) is dict and not address:
                inner = "system"
            if not free and key == "output" and origin == "assistant":
                inner = "tool"
            self._value(child, f"{address}/{_escaped(key)}", key, parent, inner, free or key in _FREE)

    def _message(self, value: dict[str, Any], address: str, origin: Origin) -> bool:
        """A message that is its role and plain text, as nearly all are; false if this is none."""
        role, text = value.get("role"), value.get("content")
        if type(role) is not str or type(text) is not str or role not in _PLAIN_ROLES or not text:
            return False
        if text[0] in "dD{[ \t\r\n" or text in slots.WORDS or "content" in self._special:
            return False
        number = self._next + 3
        self._next = number + 1
        if next(iter(value)) == "content":
            number -= 2
        said = _ROLES.get(role, origin) if origin == "user" else origin
        self._part(TextPart(text, f"{address}/content", said), number)
        return True

    def _kind(self, value: dict[str, Any], parent: str) -> str:
        """What an object is: its type where it has one, else the key that it stands under."""
        kind = value.get("type")
        return kind if type(kind) is str and kind in slots.KINDS else parent

    def _array(self, value: list[Any], address: str, key: str, parent: str, origin: Origin, free: bool) -> None:
        number = self._lists
        self._lists = number + 1
        if value and not free and key in ("input", "prompt") and type(value[0]) is Number:
            self._tokens(value, address, number, origin)
        plain = not free and key in _ITEMS
        for i, child in enumerate(value):
            at = f"{address}/{i}"
            if not (plain and type(child) is dict and len(child) == 2 and self._message(child, at, origin)):
                self._value(child, at, key, parent, origin, free)

    def _tokens(self, ids: list[Any], address: str, number: int, origin: Origin) -> None:
        """Ids of a model that nobody knows are looked at in every plausible way, and count as not looked into."""
        known = tokens.encoding_of(self._model)
        seen = False
        for encoding in (known,) if known else tokens.PLAUSIBLE:
            found = tokens.decoded(ids, encoding) if all(type(i) is Number for i in ids) else None
            if found is None:
                continue
            text, exact = found
            seen = seen or known is not None
            chain = (*self._chain, -1 - number)
            self.ways.closes[chain] = partial(tokens.encoded, encoding)
            self._part(TextPart(text, address, origin, "", "body", exact and known is not None), -1 - number)
        if not seen:
            self.unscanned.add("tokens")

    def _string(self, text: str, address: str, key: str, parent: str, origin: Origin, free: bool) -> None:
        number = self._next
        self._next = number + 1
        if not text or text in slots.WORDS:
            return
        if not free and slots.structural(key, text):
            return
        if key in self._special or parent in _SPECIAL or text[0] in "dD":
            if self._near(text, key, parent):
                self.ways.near[number] = (address, text, ())
            if inner := self._opened(text, key, parent):
                self.ways.closes[(*self._chain, number)] = inner.close
                text = inner.text
            elif not free and self._binary(text, key, parent, (address, origin)):
                return
            elif not free and slots.credential(key, parent):
                self.ways.credentials.append(len(self.parts))
                self._part(TextPart(text, address, origin, key, "credential", False), number)
                return
        if _JSON_START.match(text) and self._nested(text, number, address, origin):
            return
        label = "" if key in slots.MUTE_LABELS else key
        redactable = free or not slots.fragile(key)
        if not redactable and (bare := slots.behind_prefix(key, text)):
            self._part(TextPart(bare, address, origin, label, "body", False), number)
        self._part(TextPart(text, address, origin, label, "body", redactable), number)

    def _near(self, text: str, key: str, parent: str) -> bool:
        """Whether an edit could make a string of the body itself too long, or otherwise unfit."""
        return self._limited and not self._chain and (parent in _MAPS or len(text) >= self._watched.get(key, _NEVER))

    def _opened(self, text: str, key: str, parent: str) -> wrapped.Wrapped | None:
        if text[:5].lower() == "data:":
            return wrapped.data_url(text)
        if key == "filename":
            return wrapped.filename(text)
        return wrapped.file_data(text) if _BINARY_KEYS.get((parent, key)) == "file" else None

    def _nested(self, text: str, number: int, address: str, origin: Origin) -> bool:
        chain = (*self._chain, number)
        if text.rstrip()[-1] not in "]}":
            return False
        try:
            document = parse(text.encode())
        except UnscannableRequest:
            return False
        if len(chain) > MAX_NESTING:
            self.unscanned.add("nesting")
            return False
        self.document(document, chain, f"{address}#", origin)
        return True

    def _binary(self, text: str, key: str, parent: str, where: tuple[str, Origin]) -> bool:
        """Whether a string is content for eyes and ears. A link to a picture is scanned as text, and counted too."""
        if key == "encrypted_content" and _BASE64.fullmatch(text):
            self.unscanned.add("encrypted")
            return True
        kind = _BINARY_KEYS.get((parent, key))
        if match := _BINARY.fullmatch(text):
            self._content(text, match[1] if match[1] in ("image", "audio", "video") else "file", where)
            return True
        if kind is None:
            return False
        if kind == "image" or not _BASE64.fullmatch(text):
            self.unscanned.add(kind)
            return False
        self._content(text, kind, where)
        return True

    def _content(self, text: str, kind: str, where: tuple[str, Origin]) -> None:
        """A picture or a sound counts as not looked into, whatever it says in words; a file only if it was not."""
        found = wrapped.content(text)
        if kind != "file" or found is None:
            self.unscanned.add(kind)
        if found is not None:
            self._files.append((*found, kind, *where))

    def look(self) -> None:
        """Into the files that stand in strings. Last of all: a bound on time must not move the numbers of parts."""
        end = time.monotonic() + LOOKING.seconds
        for data, media_type, told, address, origin in self._files:
            limits = replace(LOOKING, seconds=end - time.monotonic())
            kind = files.kind_of(data[: files.HEAD], "", media_type)
            seen = files.look_into(BytesIO(data), kind, address=address, media_type=media_type, limits=limits)
            # Sound without a head is nothing that anybody could tell; it is told as what it stands for.
            self.unscanned.update(u for u in seen.unscanned if u != "file" or told == "file")
            for part in seen.parts:
                self._part(replace(part, origin=origin), None)

    def _number(self, lexeme: str, address: str, key: str, origin: Origin, number: int | None) -> None:
        """``number``: where it stands, if it may be replaced."""
        if slots.is_time(key, lexeme):
            return
        digits = _digits(lexeme)
        if sum(map(str.isdigit, digits)) >= IDENTIFYING_DIGITS:
            label = "" if key in slots.MUTE_LABELS else key
            self._part(TextPart(digits, address, origin, label, "body", number is not None), number)

    def _part(self, part: TextPart, number: int | None) -> None:
        if len(self.parts) >= MAX_PARTS:
            raise RequestTooLarge(f"the body holds more than {MAX_PARTS} pieces of text; send less at once")
        if number is not None:
            self._chains[len(self.parts)] = (*self._chain, number)
        self.parts.append(part)


@lru_cache(maxsize=512)
def _known(method: str, path: str) -> tuple[limits.Limits, frozenset[str]]:
    """The limits of an operation, and the keys under which a string is more than plain text."""
    known = limits.of(method, path)
    return known, slots.BINARY | known.watched.keys()


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


def _digits(lexeme: str) -> str:
    """A whole number as its digits, however it was written; another one as it was written."""
    if lexeme.isdecimal():
        return str(lexeme)
    value = Decimal(lexeme)
    if value.adjusted() > MAX_WHOLE or value != value.to_integral_value():
        return str(lexeme)
    return str(abs(int(value)))


def _escaped(key: str) -> str:
    return key if "~" not in key and "/" not in key else key.replace("~", "~0").replace("/", "~1")
