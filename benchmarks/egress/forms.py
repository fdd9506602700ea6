"""Forms: multipart requests of an operation with canaries everywhere a form has room, and uploads in parts.

Fields are written as the SDK writes them (``a[b]``, ``list[]``), files are of every kind (``packing``). Besides what
stands in fields and files, canaries stand in names, file names, content types, part headers, before and behind the
form. ``planted_form(operation, seed, number)`` is the same request whenever it is asked for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from random import Random
from typing import Any
from urllib.parse import quote

from benchmarks.egress.bodies import Slot
from benchmarks.egress.canaries import Canary, Kind, canary
from benchmarks.egress.describe import FORM
from benchmarks.egress.description import Described
from benchmarks.egress.packing import PACKERS, REWRITABLE, Packed, blank
from benchmarks.egress.planting import Gardener, Plant, Planted
from llmguard.request import Request

FORMS = 2_000_000
"""Numbers of calls from here on are forms."""
PARTS = "addUploadPart"
PURPOSES = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals")


@dataclass(slots=True)
class Part:
    """One part of a form that is being made. ``content``: a text, or a file."""

    name: str
    content: bytes
    filename: str | None = None
    media_type: str = ""
    more: str = ""
    """Behind the disposition, or further header lines."""

    def __repr__(self) -> str:
        return f"Part(<{len(self.content)} bytes>)"

    def written(self) -> bytes:
        head = f'Content-Disposition: form-data; name="{self.name}"'
        if self.filename is not None:
            head += f'; filename="{self.filename}"'
        head += self.more
        if self.media_type:
            head += f"\r\nContent-Type: {self.media_type}"
        return head.encode() + b"\r\n\r\n" + self.content


@dataclass(frozen=True, slots=True)
class Life:
    """An upload in parts: what is announced, the bytes of the parts in the order of the file, and the order in which
    they are sent.
    """

    announced: Mapping[str, Any] = field(repr=False)
    parts: tuple[bytes, ...] = field(repr=False)
    order: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PlantedForm(Planted):
    """``life`` is set where the request is one of several."""

    life: Life | None = None


def planted_form(operation: Described, seed: int, number: int) -> PlantedForm:
    """A form with one to four canaries."""
    sower = _Sower(operation, Random(f"form/{seed}/{operation.id}/{number}"))
    return sower.upload(number) if operation.id == PARTS else sower.form()


def part_request(call: Request, data: bytes, upload: str) -> Request:
    """One part of an upload, as the SDK sends it."""
    body, boundary = _joined([Part("data", data, "upload", "application/octet-stream")], "5f1e0c8d7b6a4932")
    return replace(call, path=f"/uploads/{upload}/parts", query="", headers=_headed(call.headers, boundary), body=body)


def json_request(call: Request, path: str, value: Any) -> Request:
    headers = tuple(h for h in call.headers if h[0] != "content-type")
    body = json.dumps(value).encode()
    return replace(call, path=path, headers=(("content-type", "application/json"), *headers), body=body)


def _headed(headers: tuple[tuple[str, str], ...], boundary: str) -> tuple[tuple[str, str], ...]:
    rest = tuple(h for h in headers if h[0] != "content-type")
    return ("content-type", f"{FORM}; boundary={boundary}"), *rest


def _joined(parts: list[Part], boundary: str) -> tuple[bytes, str]:
    line = f"--{boundary}\r\n".encode()
    body = b"".join(line + part.written() + b"\r\n" for part in parts)
    return body + f"--{boundary}--\r\n".encode(), boundary


class _Sower(Gardener):
    """One form under way."""

    def form(self) -> PlantedForm:
        self._bodies.form = True
        value = self._bodies.value(self._operation.form)
        root = value if isinstance(value, dict) else {}
        if "purpose" in root:
            root["purpose"] = self._one(PURPOSES)
        files = [s for s in self._bodies.slots if s.kind == "upload"]
        for slot in files:
            slot.holder[slot.at] = blank(self._random)
        texts = [s for s in self._bodies.slots if s.kind != "upload" and s.name != "purpose"]
        texts.append(Slot("open", root, None, "", "", longest=1 << 20))
        self._plant([*texts, *files])
        parts = list(self._parts(root))
        around = (b"", b"")
        if not self._redactable and parts and self._random.random() < 0.35:
            around = self._in_frame(parts)
        boundary = f"{self._random.getrandbits(128):032x}"
        body, _ = _joined(parts, boundary)
        return PlantedForm(
            self._request(_headed(tuple(self._headers), boundary), around[0] + body + around[1]), tuple(self._plants)
        )

    def _request(self, headers: tuple[tuple[str, str], ...], body: bytes) -> Request:
        path = re.sub(r"\{(\w+)\}", lambda m: self._path[m[1]], self._operation.path)
        query = "&".join(f"{name}={value}" if value else name for name, value in self._query)
        return Request(self._operation.method, path, query, headers, body)

    # ----------------------------------------------------------------- uploads in parts

    def upload(self, number: int) -> PlantedForm:
        """A file whose canary is cut by a border of parts, at a place that moves with the number."""
        kind = self._kind(known=self._random.random() < 0.6)
        found = canary(self._random, kind)
        told = self._told(kind, found)
        name = self._one([*REWRITABLE] * 3 + [*PACKERS])
        packed = PACKERS[name](self._random, told)
        self._note(found, "file in parts", name, "data")
        at = packed.data.find(found.value.encode())
        cuts = {at + 1 + number % max(1, len(found.value) - 1)} if at >= 0 else set()
        cuts |= {self._random.randint(1, max(1, len(packed.data) - 1)) for _ in range(self._random.randint(0, 3))}
        borders = [0, *sorted(c for c in cuts if 0 < c < len(packed.data)), len(packed.data)]
        pieces = tuple(packed.data[a:b] for a, b in pairwise(borders))
        announced: dict[str, Any] = {"filename": f"notes.{packed.extension}", "bytes": len(packed.data)}
        announced |= {"purpose": self._one(PURPOSES), "mime_type": packed.media_type or "application/octet-stream"}
        if self._random.random() < 0.3:
            self._announce(announced)
        if self._random.random() < 0.15:
            self._outside()
        order = list(range(len(pieces)))
        self._random.shuffle(order)
        headers = tuple(h for h in self._headers if h[0] != "content-type")
        return PlantedForm(self._request(headers, b""), tuple(self._plants), Life(announced, pieces, tuple(order)))

    def _announce(self, announced: dict[str, Any]) -> None:
        """A canary in what is announced."""
        kind = self._kind(known=True, word=self._random.random() < 0.5)
        found = canary(self._random, kind, plain=True)
        told = self._told(kind, found)
        name = self._one(("filename", "mime_type", "purpose", "expires_after", "expires_after key", "mime_type, lines"))
        if name == "expires_after":
            announced[name] = {"anchor": "created_at", "seconds": told}
        elif name == "expires_after key":
            announced["expires_after"] = {found.value: 1}
        elif name == "mime_type, lines":
            announced["mime_type"] = f"text/plain\r\n\r\n{told}"
        elif name == "mime_type":
            announced[name] = self._one((f"text/{found.value}", f"text/plain; name={found.value}", told))
        else:
            announced[name] = f"{told}.txt" if name == "filename" else told
        self._note(found, "announced", name, name)

    # ----------------------------------------------------------------- fields

    def _parts(self, root: dict[str, Any]) -> Iterator[Part]:
        for name, value in root.items():
            if isinstance(value, dict) and self._random.random() < 0.35:
                yield Part(name, self._plainly(json.dumps(value, ensure_ascii=False)).encode())
            else:
                yield from self._field(name, value)

    def _field(self, name: str, value: Any) -> Iterator[Part]:
        name = self._plainly(name)
        if isinstance(value, Packed):
            yield Part(name, value.data, f"notes.{value.extension}", value.media_type)
        elif isinstance(value, dict):
            for key, child in value.items():
                yield from self._field(f"{name}[{key}]", child)
        elif isinstance(value, list):
            for child in value:
                yield from self._field(f"{name}[]", child)
        elif value is not None:
            text = str(value).lower() if isinstance(value, bool) else str(value)
            yield Part(name, self._plainly(text).encode())

    def _plainly(self, text: str) -> str:
        """What was to be written as it is stands so in a field too."""
        return re.sub(r'"?\ue000(\d+)\ue000"?', lambda m: self._lexemes[int(m[1])], text)

    # ----------------------------------------------------------------- where

    def _plant(self, slots: list[Slot]) -> None:
        """Three forms in five can be redacted: files that are text, fields, and no names."""
        self._redactable = self._random.random() < 0.6
        if self._redactable:
            kinds = ("text", "map", "open", "upload")
            slots = [s for s in slots if s.kind in kinds and not s.is_id and s.name != "model"]
        files = [s for s in slots if s.kind == "upload"]
        if files and self._random.random() < 0.6:
            self._at(slots.pop(slots.index(self._one(files))))
        for _ in range(self._random.randint(1, 4)):
            if slots and (self._redactable or self._random.random() < 0.9):
                self._at(slots.pop(int(self._random.random() * len(slots))))
            elif not self._redactable:
                self._outside()
        if not self._plants:
            self._outside()

    def _at(self, slot: Slot) -> None:
        if slot.kind == "upload":
            self._in_upload(slot)
        else:
            super()._at(slot)

    def _in_upload(self, slot: Slot) -> None:
        kind = self._kind()
        found = canary(self._random, kind)
        told = self._told(kind, found)
        name = self._one([*REWRITABLE] if self._redactable else [*PACKERS])
        encoding = name
        if name in ("text", "json", "training", "batch", "items") and self._random.random() < 0.5:
            told, how = self._encoded(kind, found, told, short=False)
            told, encoding = self._plainly(told), f"{name}, {how}"
        slot.holder[slot.at] = PACKERS[name](self._random, told)
        self._note(found, "file", encoding, slot.address)

    def _in_frame(self, parts: list[Part]) -> tuple[bytes, bytes]:
        """A canary in what is around the contents. What stands before and behind the form."""
        kind = self._kind(known=True, word=True)
        found = canary(self._random, kind, plain=True)
        told = self._told(kind, found)
        planted = {plant.address.split("/")[1] for plant in self._plants if plant.address.startswith("/")}
        spare = [p for p in parts if re.split(r"\[", p.name)[0] not in planted]  # a name may be what tells a value
        if not spare:
            spare = [Part("remark", b"all is well")]
            parts += spare
        part = self._one(spare)
        place = self._one(("name", "file name", "file name, percent", "content type", "part header", "around"))
        before, behind = b"", b""
        more: tuple[str, ...]
        match place:
            case "name":
                part.name = self._one((found.value, f"{part.name}[{found.value}]", f"{found.value}[]"))
            case "file name":
                part.filename = f"{_named(told)}.txt"
            case "file name, percent":
                self._percent(part, kind, found)
            case "content type":
                media = (f"text/{found.value}", f"text/plain; name={found.value}", f'text/plain; n="{found.value}"')
                part.media_type = self._one((*media, f"{found.value}/plain", told))
            case "part header":
                more = (f"\r\nX-Note: {told}", f'; note="{found.value}"', f"\r\nContent-Length: {found.value}")
                more += (f"\r\nContent-Description: {told}", f"\r\nContent-Transfer-Encoding: {found.value}")
                part.more = self._one(more)
            case _:
                before, behind = self._one(((f"{told}\r\n".encode(), b""), (b"", f"{told}\r\n".encode())))
        self._note(found, place, "raw", part.name if place != "name" else "*")
        return before, behind

    def _percent(self, part: Part, kind: Kind, found: Canary) -> None:
        """A name as RFC 5987 writes it, or percent-encoded in quotes."""
        coded = quote(found.value, safe="")
        if self._random.random() < 0.5:
            part.filename = f"{coded}.txt"
        else:
            part.more += f"; filename*=UTF-8''{coded}.txt"


def _named(text: str) -> str:
    return text.replace('"', "%22").replace("\n", " ").replace("\r", " ")


__all__ = ["FORMS", "Life", "Plant", "PlantedForm", "json_request", "part_request", "planted_form"]
