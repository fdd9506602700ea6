"""Parts: a file sent as an upload in parts (``/uploads``), when its caller had sent it so.

One egress, the form of the whole file, becomes several requests: begin, the parts, complete. All of them follow from
that egress alone. Owns no decision and no I/O: it yields ``Send`` and ``NextChunk`` like the pipeline it is part of.
Source: OpenAI's description of the Uploads API.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from typing import Any

from llmguard.effects import Effect, Head, NextChunk, Send
from llmguard.errors import UpstreamError
from llmguard.model import Answer, Egress, FormField, Payload, pieces_of
from llmguard.payload import headers as header_rules
from llmguard.payload import multipart

PART = 64 * 1024 * 1024
"""Bytes of a part (OpenAI's limit)."""
MAX_ANSWER = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Slice:
    """``size`` bytes of a content from ``start`` on."""

    content: Payload
    start: int
    size: int

    def __len__(self) -> int:
        return self.size

    @property
    def digest(self) -> str:
        """A slice is never kept: it binds nothing."""
        return ""

    def pieces(self, start: int = 0) -> Iterator[bytes]:
        left = self.size - start
        for piece in pieces_of(self.content, self.start + start) if left > 0 else ():
            yield piece[:left]
            left -= len(piece)
            if left <= 0:
                return


def sent_in_parts(egress: Egress) -> Generator[Effect, Any, Egress | Answer]:
    """Begins the upload and sends its parts. The request that completes it; or the answer that ended it before.

    Raises UpstreamError.
    """
    form = multipart.parsed(egress)
    file = next(f for f in form.fields if f.is_file)
    told: dict[str, Any] = {"filename": file.filename, "bytes": len(file.content)}
    told |= {name: multipart.value(form.fields, name) for name in ("purpose", "mime_type")}
    if after := {f.name[14:-1]: f.content for f in form.fields if f.name.startswith("expires_after[")}:
        told["expires_after"] = {k: _number(v) for k, v in after.items()}
    begun = yield from _answered(_json(egress, egress.url, told))
    if isinstance(begun, Answer):
        return begun
    path, mark, query = egress.url.partition("?")
    url, rest = f"{path}/{_id(begun)}", mark + query
    ids = []
    for at in range(0, len(file.content), PART):
        piece = Slice(file.content, at, min(PART, len(file.content) - at))
        part = multipart.Form(form.boundary, (FormField("data", piece, "part", "application/octet-stream"),))
        headers = header_rules.typed(egress.headers, part.media_type)
        sent = yield from _answered(replace(egress, url=f"{url}/parts{rest}", headers=headers, body=part))
        if isinstance(sent, Answer):
            return sent
        ids.append(_id(sent))
    md5 = multipart.md5_of(file.content)
    return _json(egress, f"{url}/complete{rest}", {"part_ids": ids, "md5": md5})


def _json(egress: Egress, url: str, value: Any) -> Egress:
    headers = header_rules.typed(egress.headers, "application/json")
    return replace(egress, url=url, headers=headers, body=json.dumps(value).encode())


def _answered(egress: Egress) -> Generator[Effect, Any, Answer | dict[str, Any]]:
    """What the provider says to one of them; an answer that is no success ends the upload."""
    head: Head = yield Send(egress)
    body = bytearray()
    while (chunk := (yield NextChunk())) is not None:
        body += chunk
        if len(body) > MAX_ANSWER:
            raise UpstreamError("the provider's answer to a part of an upload is larger than an answer can be")
    if head.status != 200:
        return Answer(head.status, head.headers, bytes(body))
    try:
        told = json.loads(body)
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise UpstreamError("the provider's answer to a part of an upload is none")
    return told


def _id(told: dict[str, Any]) -> str:
    """An id, as ids look: it becomes a part of an address. Raises UpstreamError."""
    id_ = told.get("id")
    if not isinstance(id_, str) or not id_.replace("_", "").replace("-", "").isalnum() or not id_.isascii():
        raise UpstreamError("the provider gave a part of an upload no id")
    return id_


def _number(value: Any) -> Any:
    text = bytes(value).decode()
    return int(text) if text.isdecimal() else text
