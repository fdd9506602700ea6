"""Planting: requests of an operation with canaries in random places and encodings, or with none at all.

Owns how a value is told and wrapped (JSON in text, escapes, base64, URLs, entities, token ids) and how a request is
written down. ``planted(operation, seed, number)`` is the same request whenever it is asked for.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any
from urllib.parse import quote

from benchmarks.egress.bodies import WORDS, Bodies, Slot
from benchmarks.egress.canaries import KINDS, Canary, Kind, canary
from benchmarks.egress.describe import JSON
from benchmarks.egress.description import Described, Parameter, description
from benchmarks.egress.lookout import VOCABULARIES, vocabulary, vocabulary_of
from llmguard.request import Request

MOST = 4
"""Canaries of one request."""
_MARK = "\ue000"
"""Around the numbers of what is written as it is: no text of ours has it."""
_LEXEME = re.compile(f'"{_MARK}(\\d+){_MARK}"')
_CLIENT = (
    ("content-type", JSON),
    ("accept", JSON),
    ("user-agent", "OpenAI/Python 2.24.0"),
    ("x-stainless-lang", "python"),
    ("x-stainless-package-version", "2.24.0"),
    ("x-stainless-os", "Linux"),
    ("x-stainless-arch", "x64"),
    ("x-stainless-runtime", "CPython"),
    ("x-stainless-runtime-version", "3.11.13"),
    ("x-stainless-async", "false"),
    ("x-stainless-retry-count", "0"),
)
_NAMES = (
    *("x-note", "openai-organization", "openai-project", "idempotency-key", "user-agent", "x-stainless-helper"),
    *("cookie", "x-forwarded-user"),
)
"""Headers that take a value of the caller's."""


@dataclass(frozen=True, slots=True)
class Plant:
    """One canary and where it was put: ``place`` is a kind of place, ``address`` the exact one."""

    canary: Canary = field(repr=False)
    place: str
    encoding: str
    address: str


_CREDENTIAL = re.compile(r"/tools/[^/]+/(?:authorization|headers)(?:/|$)")


@dataclass(frozen=True, slots=True)
class Planted:
    """A request and what was planted in it."""

    request: Request
    plants: tuple[Plant, ...]


def planted(operation: Described, seed: int, number: int) -> Planted:
    """A request with one to ``MOST`` canaries."""
    gardener = Gardener(operation, Random(f"{seed}/{operation.id}/{number}"))
    return gardener.planted()


def clean(operation: Described, seed: int, number: int) -> Request:
    """A request in which nothing is anybody's."""
    return Gardener(operation, Random(f"clean/{seed}/{operation.id}/{number}"), clean=True).planted().request


class Gardener:
    """One request under way."""

    def __init__(self, operation: Described, random: Random, *, clean: bool = False) -> None:
        self._operation = operation
        self._random = random
        self._clean = clean
        self._redactable = False
        self._model: Any = None
        self._bodies = Bodies(description(), random, clean=clean)
        self._lexemes: list[str] = []
        self._plants: list[Plant] = []
        self._path = {p.name: self._bodies.id(p.name) for p in operation.parameters if p.place == "path"}
        self._query = [
            (p.name, quote(str(v), safe="")) for p in operation.parameters if (v := self._asked(p)) is not None
        ]
        self._headers = [*_CLIENT, *self._described()]
        self._fix()

    def _described(self) -> Iterator[tuple[str, str]]:
        """Headers that the description names."""
        for p in self._operation.parameters:
            value = Bodies(description(), self._random, clean=True).value(p.schema) if p.place == "header" else ""
            if value:  # what is a list is separated by commas
                yield p.name.lower(), ", ".join(map(str, value)) if isinstance(value, list) else str(value)

    def _fix(self) -> None:
        """What an id's name does not tell."""
        for name in self._path:
            if name == "model":
                self._path[name] = "gpt-4o"
            elif name == "version":
                self._path[name] = "2"
            elif name == "fine_tuned_model_checkpoint":
                self._path[name] = "ft:gpt-4o-mini-2024-07-18:acme::B4qXpW2k"

    def _asked(self, parameter: Parameter) -> Any:
        """A value for a query parameter that is there."""
        if parameter.place != "query" or not (parameter.required or self._random.random() < 0.3):
            return None
        value = Bodies(description(), self._random, clean=True).value(parameter.schema)
        if isinstance(value, list):
            value = value[0] if value else None
        return None if isinstance(value, dict) else str(value).lower() if isinstance(value, bool) else value

    # ----------------------------------------------------------------- the request

    def planted(self) -> Planted:
        body = b""
        if self._operation.body is not None:
            value = self._bodies.value(self._operation.body)
            self._model = value.get("model") if isinstance(value, dict) else None
            if not self._clean:
                self._plant(self._bodies.slots)
            body = self._written(value)
        elif not self._clean:
            self._plant([])
            if not self._operation.media and self._random.random() < 0.1:
                body = self._unexpected()
        path = re.sub(r"\{(\w+)\}", lambda m: self._path[m[1]], self._operation.path)
        query = "&".join(f"{name}={value}" if value else name for name, value in self._query)
        headers = tuple(self._headers if body else self._headers[1:])
        return Planted(Request(self._operation.method, path, query, headers, body), tuple(self._plants))

    def _unexpected(self) -> bytes:
        """A body where none belongs."""
        value: dict[str, Any] = {}
        self._in_map(Slot("open", value, None, "", ""))
        return self._written(value)

    def _written(self, value: Any) -> bytes:
        layout: dict[str, Any] = self._random.choice(({"separators": (",", ":")}, {}, {"indent": 2}))
        text = json.dumps(value, ensure_ascii=self._random.random() < 0.3, **layout)
        if self._lexemes:  # the mark may have been escaped
            text = text.replace("\\ue000", _MARK)
            text = _LEXEME.sub(lambda m: self._lexemes[int(m[1])], text)
        return text.encode()

    def _lexeme(self, text: str) -> str:
        """A string that is written as ``text``, quotes and all."""
        self._lexemes.append(text)
        return f"{_MARK}{len(self._lexemes) - 1}{_MARK}"

    # ----------------------------------------------------------------- where

    def _plant(self, slots: list[Slot]) -> None:
        """Three calls in five can be redacted: nothing is in an id, a number, the path, the query or a header.

        Nothing is planted where a tool's server gets its credential: that is never rewritten, and counted as one.
        """
        slots = [s for s in slots if not _CREDENTIAL.search(s.address)]
        if slots and self._random.random() < 0.6:
            slots = [s for s in slots if s.kind in ("text", "map", "open") and not s.is_id and s.name != "model"]
            self._redactable = bool(slots)
        for _ in range(self._random.randint(1, MOST)):
            if self._redactable and not slots:
                break
            if slots and (self._redactable or self._random.random() < 0.94):
                self._at(slots.pop(int(self._random.random() * len(slots))))
            elif not slots or self._random.random() < 0.5:
                self._outside()
        if not self._plants:
            self._outside()

    def _note(self, value: Canary, place: str, encoding: str, address: str, *, bare: bool = False) -> None:
        if bare:
            value = Canary(value.kind, value.value, value.core, value.form, bare=True)
        self._plants.append(Plant(value, place, encoding, address))

    def _one(self, choices: Any) -> Any:
        return choices[int(self._random.random() * len(choices))]

    def _kind(self, *, number: bool = False, word: bool = False, known: bool = False) -> Kind:
        fits = [k for k in KINDS if (k.number or not number) and (k.word or not word) and (k.known or not known)]
        return self._one(fits)  # type: ignore[no-any-return]

    def _at(self, slot: Slot) -> None:
        if slot.kind == "text":
            self._in_text(slot)
        elif slot.kind == "number":
            kind = self._kind(number=True)
            self._as_number(slot.holder, slot.at, kind, slot.address, "number", bare=not kind.known)
        elif slot.kind == "tokens":
            self._in_tokens(slot)
        elif slot.kind == "file":
            self._in_file(slot)
        else:
            self._in_map(slot)

    def _in_map(self, slot: Slot) -> None:
        """Another entry of an object whose keys are free, or that the schema does not forbid."""
        place = "free key" if slot.kind == "map" else "unknown field"
        kind = self._kind()
        pick = self._random.random()
        found = canary(self._random, kind)
        if slot.longest < 2_000:  # metadata and the like: short strings only
            key = self._told(kind, found)[:64] if pick < 0.4 else kind.label
            if pick < 0.4:
                slot.holder[key] = "x"
                self._note(found, place, "raw", f"{slot.address}/*")
            else:
                slot.holder[key] = self._told(kind, found)
                self._note(found, "string", "raw", f"{slot.address}/{kind.label}")
        elif pick < 0.4:
            text, encoding = self._encoded(kind, found, self._told(kind, found), short=True)
            slot.holder[text] = "x"
            self._note(found, place, encoding, f"{slot.address}/*")
        elif pick < 0.6 and not self._redactable:
            kind = self._kind(number=True)
            self._as_number(slot.holder, kind.label, kind, f"{slot.address}/{kind.label}", "number", bare=False)
        else:
            slot.holder[kind.label] = found.value
            self._note(found, "string", "labelled", f"{slot.address}/{kind.label}")

    def _as_number(self, holder: Any, at: Any, kind: Kind, address: str, place: str, *, bare: bool) -> None:
        found = canary(self._random, kind, plain=True)
        digits = found.value.lstrip("0")
        exponent = f"{digits[0]}.{digits[1:]}e{len(digits) - 1}"
        written, how = self._one(
            [(digits, "digits")] * 3 + [(f"-{digits}", "negative"), (exponent, "exponent"), (f"{digits}.0", "decimal")]
        )
        holder[at] = self._lexeme(written)
        self._note(found, place, how, address, bare=bare)

    def _in_tokens(self, slot: Slot) -> None:
        kind = self._kind()
        found = canary(self._random, kind)
        name = vocabulary_of(str(self._model))
        name = name if name in VOCABULARIES else self._one(VOCABULARIES)
        slot.holder[:] = vocabulary(name).encode(self._told(kind, found))
        self._note(found, "tokens", "tokens", slot.address)

    def _in_file(self, slot: Slot) -> None:
        """A file that is text, or text where a file is expected. What only the provider can read stays as it is."""
        kind = self._kind()
        found = canary(self._random, kind)
        told = self._told(kind, found)
        packed = base64.b64encode(f"{kind.label},note\n{found.value},{told}\n".encode()).decode()
        ways = [(f"data:text/csv;base64,{packed}", "data URL"), (f"data:text/plain;base64,{packed}", "data URL")]
        if slot.name == "file_data":
            ways += [(packed, "base64"), (f"data:application/json;base64,{packed}", "data URL")]
        slot.holder[slot.at], encoding = self._one([(told, "raw")] if slot.name == "encrypted_content" else ways)
        self._note(found, "file", encoding, slot.address)

    def _in_text(self, slot: Slot) -> None:
        word = bool(slot.pattern)
        kind = self._kind(word=word, known=word)
        found = canary(self._random, kind, plain=word or slot.longest < 64)
        if word:
            if not re.fullmatch(slot.pattern.strip("^$"), found.value):
                return
            text, encoding = found.value, "raw"
        elif slot.is_id and self._random.random() < 0.2:
            kind = self._kind(word=True, known=True)
            found = canary(self._random, kind, plain=True)
            # Behind the prefix, not in the middle of its letters: there a number is nothing that anybody could tell.
            prefix = re.match(r"[a-z]+[-_]|", self._bodies.id(slot.name))
            text, encoding = f"{prefix[0] if prefix else ''}{found.value}", "id"
        elif (slot.is_id and kind.known) or self._random.random() < (0.12 if kind.known else 0.04):
            text, encoding = found.value, "alone"
        else:
            told = self._told(kind, found)
            text, encoding = self._encoded(kind, found, told, short=slot.longest < 200)
            if slot.longest > 2_000 and self._random.random() < 0.15 and not self._is_lexeme(text):
                text, encoding = self._once_more(text, encoding)
        if len(text) > slot.longest:
            text, encoding = found.value, "alone"
            if len(text) > slot.longest:
                return
        slot.holder[slot.at] = text
        bare = encoding == "alone" and not kind.known
        self._note(found, "id" if slot.is_id else "string", encoding, slot.address, bare=bare)

    def _outside(self) -> None:
        pick = self._random.random()
        kind = self._kind(known=True)
        found = canary(self._random, kind)
        free = sorted(self._path.keys() - {p.address for p in self._plants if p.place == "path"})
        if pick < 0.35 and free:
            name = self._one(free)
            self._path[name], encoding = self._in_url(found.value)
            self._note(found, "path", encoding, name)
        elif pick < 0.65:
            value, encoding = self._in_url(found.value)
            if self._random.random() < 0.2:
                self._query.append((value, ""))
                self._note(found, "query name", encoding, "?")
            else:
                self._query.append((kind.label, value))
                self._note(found, "query", encoding, f"?{kind.label}")
        else:
            self._in_header(kind, found)

    def _in_url(self, value: str) -> tuple[str, str]:
        text, encoding = self._one(
            (
                (quote(value, safe=""), "percent"),
                ("".join(f"%{b:02x}" for b in value.encode()), "percent all"),
                (quote(quote(value, safe=""), safe=""), "percent twice"),
                (base64.urlsafe_b64encode(value.encode()).decode().rstrip("="), "base64"),
            )
        )
        return text, encoding

    def _in_header(self, kind: Kind, found: Canary) -> None:
        if kind.number and self._random.random() < 0.5:
            self._headers.append(
                (f"{self._one(('x-', 'x-card-', 'x-stainless-'))}{''.join(filter(str.isdigit, found.value))}", "1")
            )
            self._note(found, "header name", "raw", "*")
            return
        name = self._one((f"x-{kind.label.replace('_', '-')}", *_NAMES))
        text, encoding = self._one(
            (
                (self._told(kind, found), "raw"),
                (found.value, "alone"),
                (quote(found.value, safe=""), "percent"),
                (base64.b64encode(self._told(kind, found).encode()).decode(), "base64"),
                (json.dumps({kind.label: found.value}), "json"),
            )
        )
        self._headers.append((name, text))
        self._note(found, "header", encoding, name)

    # ----------------------------------------------------------------- how

    def _told(self, kind: Kind, found: Canary) -> str:
        text = str(self._one(kind.told)).format(found.value)
        if self._random.random() < 0.4:
            text = f"{' '.join(self._one(WORDS) for _ in range(4))}. {text}. {self._one(WORDS)}"
        return text

    def _encoded(self, kind: Kind, found: Canary, told: str, *, short: bool) -> tuple[str, str]:
        """A text with the value in it, wrapped or not, and how. ``short``: only what keeps it short."""
        pick = self._random.random()
        if pick < 0.35:
            return told, "raw"
        if pick < 0.45:
            return self._escaped(told, found)
        if pick < 0.5:
            return self._entities(told, found), "html"
        if pick < 0.58:
            return f"https://shop.example.com/a?{kind.label}={quote(found.value, safe='')}&page=2", "url"
        if pick < 0.63:
            return base64.b64encode(told.encode()).decode(), "base64"
        if short:
            return told, "raw"
        if pick < 0.7:
            return self._as_base64(kind, found, told)
        if pick < 0.75:
            return self._wrapped(kind, found, told)
        return self._as_json(kind, found, told, self._random.choice((1, 1, 1, 2, 2, 3, 4)))

    def _escaped(self, told: str, found: Canary) -> tuple[str, str]:
        """The value written in the body with ``\\uXXXX``, some of its characters or all, or ``\\/``."""
        written = json.dumps(told, ensure_ascii=False)
        share = self._one((0.2, 1.0))
        inside = "".join(f"\\u{ord(c):04x}" if self._random.random() < share else c for c in found.value)
        written = written.replace(found.value, inside).replace("/", "\\/")
        return self._lexeme(written), "\\u"

    def _is_lexeme(self, text: str) -> bool:
        return text.startswith(_MARK)

    def _once_more(self, text: str, encoding: str) -> tuple[str, str]:
        """What is encoded, encoded again."""
        pick = self._random.random()
        if pick < 0.5:
            return json.dumps({"note": text, "n": 1}), f"{encoding}, in json"
        if pick < 0.75:
            return base64.b64encode(json.dumps([text]).encode()).decode(), f"{encoding}, in base64"
        return f"https://shop.example.com/a?next={quote(text, safe='')}", f"{encoding}, in url"

    def _entities(self, told: str, found: Canary) -> str:
        special = {"@": "&commat;", ".": "&period;", "-": "&#45;", "_": "&lowbar;"}
        how = self._one(("&#{};", "&#x{:x};", ""))
        if not how:
            return told.replace(found.value, "".join(special.get(c, c) for c in found.value))
        return told.replace(found.value, "".join(how.format(ord(c)) if not c.isalpha() else c for c in found.value))

    def _as_base64(self, kind: Kind, found: Canary, told: str) -> tuple[str, str]:
        plain = base64.b64encode(told.encode()).decode()
        pick = self._random.random()
        if pick < 0.2:
            return base64.urlsafe_b64encode(told.encode()).decode().rstrip("="), "base64url"
        if pick < 0.4:
            return base64.b64encode(json.dumps({kind.label: found.value}).encode()).decode(), "base64 of JSON"
        if pick < 0.6:
            return f"data:text/plain;base64,{plain}", "data URL"
        if pick < 0.8:
            return f"data:text/plain,{quote(told)}", "data URL, percent"
        return (
            f"see the file data:application/json;base64,{base64.b64encode(json.dumps([told]).encode()).decode()}",
            "data URL in text",
        )

    def _wrapped(self, kind: Kind, found: Canary, told: str) -> tuple[str, str]:
        value = found.value
        rows = [(f"{kind.label}\tcity\n{value}\tParis\n", "table")] if kind.known else []
        return self._one(  # type: ignore[no-any-return]
            (
                *rows,
                (f"```\n{told}\n```", "code"),
                (f"<{kind.label}>{value}</{kind.label}>", "xml"),
                (f"{kind.label}: {value}\nname: x\n", "yaml"),
                (json.dumps({kind.label: value}) + "\n" + json.dumps({"city": "Paris"}) + "\n", "json lines"),
                ("Answer in JSON like " + json.dumps({kind.label: value}), "json in prose"),
                ("(" + json.dumps({kind.label: value})[:-1] + ', "city": "Par', "cut json"),
            )
        )

    def _as_json(self, kind: Kind, found: Canary, told: str, levels: int) -> tuple[str, str]:
        """JSON in a string, ``levels`` deep."""
        pick = self._random.random()
        value: Any = (
            {kind.label: found.value}
            if pick < 0.3
            else {"note": told}
            if pick < 0.6
            else [told, 1]
            if pick < 0.8
            else {told: 1}
        )
        how = f"json {levels}"
        text = json.dumps(value, ensure_ascii=self._random.random() < 0.5)
        if self._random.random() < 0.25:
            how += ", \\u"
            text = text.replace(found.value, "".join(f"\\u{ord(c):04x}" for c in found.value))
        for _ in range(levels - 1):
            text = json.dumps(self._one(({"arguments": text}, {"payload": text, "n": 1}, [text])))
        return text, how
