"""Multipart: forms as they arrive (RFC 7578), as a JSON document for the walk, and as they leave.

A form is read strictly, its files into spools, and written anew under a boundary of our own: what two parsers could
read differently never leaves. Its plain fields are walked as one JSON object (``document``): the same slots, labels and
shapes as in a JSON body, files by their name alone. Owns no disk: ``spool`` makes the writers.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import multipart

from llmguard.errors import RequestTooLarge, UnscannableRequest
from llmguard.model import Content, Egress, FormField, Payload, digest_of, pieces_of

MAX_FIELDS = 256
MAX_FIELD = 1024 * 1024
"""Bytes of a field that is no file."""
MAX_TEXT = 32 * MAX_FIELD
"""Bytes of all of them together."""
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=?-]{1,70}")
_MEDIA = re.compile(r"[\w.+-]{1,64}/[\w.+-]{1,64}(?:; ?[\w-]{1,32}=(?:[\w.+-]{1,64}|\"[\w.+ -]{1,64}\"))*", re.ASCII)
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,40})(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,3})?")
_PLAIN = frozenset(("utf-8", "utf8", "us-ascii", "ascii"))
_BAD = re.compile(r"[\x00-\x1f\x7f]")


class Writer(Protocol):
    """What takes the bytes of a file."""

    def write(self, data: bytes) -> None: ...
    def close(self) -> Payload: ...
    def abort(self) -> None: ...


def boundary_of(content_type: str) -> str:
    """The boundary of a form. Raises UnscannableRequest."""
    _, options = multipart.parse_options_header(content_type)
    boundary = options.get("boundary", "")
    if not _BOUNDARY.fullmatch(boundary):
        raise UnscannableRequest("the multipart body has no boundary that can be used; send a client's own")
    return str(boundary)


class Reader:
    """``feed`` what arrives, then ``finish``. ``abort`` where it breaks off. Raises UnscannableRequest."""

    def __init__(self, content_type: str, spool: Callable[[], Writer]) -> None:
        self._parser = multipart.PushMultipartParser(
            boundary_of(content_type), max_segment_count=MAX_FIELDS, strict=True, max_header_count=8
        )
        self._spool = spool
        self._fields: list[FormField] = []
        self._segment: Any = None
        self._writer: Writer | None = None
        self._text = bytearray()
        self._room = MAX_TEXT
        self._ending = b""

    def feed(self, data: bytes) -> None:
        data = self._ending + data
        self._ending = data[len(data.rstrip(b"\r\n")) :][-2:]  # what ends the form may arrive after the form
        data = data[: len(data) - len(self._ending)]
        if not data:
            return
        try:
            for event in self._parser.parse(data):
                self._take(event)
        except multipart.MultipartError as e:
            self.abort()
            raise UnscannableRequest(f"the multipart body cannot be read exactly ({type(e).__name__})") from None
        except BaseException:
            self.abort()
            raise

    def _take(self, event: Any) -> None:
        if isinstance(event, multipart.MultipartSegment):
            self._segment = _checked(event)
            self._writer = self._spool() if event.filename is not None else None
        elif event is None:
            content = self._writer.close() if self._writer is not None else bytes(self._text)
            media, filename = self._segment.header("Content-Type") or "", self._segment.filename
            plain = None if filename is None else filename.rpartition("\\")[2]  # servers take the last step of a path
            self._fields.append(FormField(self._segment.name, content, plain, media))
            self._writer, self._segment = None, None
            self._text.clear()
        elif self._writer is not None:
            self._writer.write(bytes(event))
        else:
            self._text += event
            self._room -= len(event)
            if self._room < 0:
                raise RequestTooLarge("the fields of the form that are no files are longer than 32 MB together")
            if len(self._text) > MAX_FIELD:
                raise UnscannableRequest("a field of the form that is no file is longer than 1 MB; send it as a file")

    def finish(self) -> tuple[FormField, ...]:
        try:
            self._parser.close()
        except multipart.MultipartError:
            self.abort()
            raise UnscannableRequest("the multipart body is cut; send it whole") from None
        return tuple(self._fields)

    def abort(self) -> None:
        """Wipes what was spooled."""
        if self._writer is not None:
            self._writer.abort()
            self._writer = None

    @property
    def fields(self) -> tuple[FormField, ...]:
        """What is whole by now."""
        return tuple(self._fields)


def is_media_type(text: str) -> bool:
    """Whether a text can stand as the content type of a part."""
    return _MEDIA.fullmatch(text) is not None


def _checked(segment: Any) -> Any:
    """Raises UnscannableRequest for a part that says more, or less, than a form's part says."""
    names = [name for name, _ in segment.headerlist]
    known = {"Content-Disposition", "Content-Type", "Content-Length", "Content-Transfer-Encoding"}
    encoding = (segment.header("Content-Transfer-Encoding") or "binary").lower()
    if segment.disposition != "form-data" or not segment.name or len(set(names)) != len(names):
        raise UnscannableRequest("a part of the multipart body is no form-data with a name of its own")
    if set(names) - known or encoding not in ("binary", "8bit", "7bit"):
        raise UnscannableRequest("a part of the multipart body has headers that a form does not have")
    media = segment.header("Content-Type")
    if segment.name == "_charset_" or (segment.filename is None and (segment.charset or "utf-8").lower() not in _PLAIN):
        raise UnscannableRequest("the fields of a form that are no files are UTF-8")
    if media and not is_media_type(media):
        raise UnscannableRequest("a part of the multipart body has a content type that is none")
    if (
        _BAD.search(segment.name + (segment.filename or ""))
        or len(segment.name) > 256
        or set(segment.name) & set('"\\')
    ):
        raise UnscannableRequest("a name in the multipart body holds control characters or quotes, or is too long")
    return segment


# --------------------------------------------------------------------------- as a document


def document(fields: Sequence[FormField]) -> bytes:
    """The plain fields and the names of files as one JSON object. Fields that repeat are lists.

    Raises UnscannableRequest for a field that is no text.
    """
    values: dict[str, list[Any]] = {}
    for f in fields:
        values.setdefault(_key(f.name), []).append({"filename": f.filename or ""} if f.is_file else _text(f))
    pairs = (f"{json.dumps(k, ensure_ascii=False)}:{_list(v) if len(v) > 1 else _one(v[0])}" for k, v in values.items())
    return ("{" + ",".join(pairs) + "}").encode()


def _list(values: Sequence[Any]) -> str:
    return "[" + ",".join(map(_one, values)) + "]"


def _one(value: Any) -> str:
    """As JSON: what a provider may read as a number with a sign, a point or an exponent is one, and looked at so."""
    if isinstance(value, str) and _NUMBER.fullmatch(value) and not value.isdecimal():
        return value
    return json.dumps(value, ensure_ascii=False)


def _key(name: str) -> str:
    """``include[]`` is a list of ``include``."""
    return name.removesuffix("[]")


def _text(f: FormField) -> str:
    assert isinstance(f.content, bytes)  # noqa: S101  what is spooled is a file
    try:
        text = f.content.decode()
    except UnicodeDecodeError:
        raise UnscannableRequest("a field of the form is not UTF-8; send it as a file") from None
    if "\0" in text:  # what is UTF-16 to somebody else
        raise UnscannableRequest("a field of the form holds NUL; send it as a file")
    return text


def rewritten(fields: Sequence[FormField], edited: bytes) -> tuple[FormField, ...]:
    """The fields as an edited document has them; their files are the same."""
    edited_values = json.loads(edited, parse_float=str, parse_int=str).items()
    left = {k: list(v) if isinstance(v, list) else [v] for k, v in edited_values}
    names = iter(left)
    renamed: dict[str, str] = {}
    for f in fields:
        if _key(f.name) not in renamed:
            renamed[_key(f.name)] = next(names)
    made = []
    for f in fields:
        key = renamed[_key(f.name)]
        value = left[key].pop(0)
        name = key + f.name[len(_key(f.name)) :]
        if f.is_file:
            made.append(replace(f, name=name, filename=f.filename if f.filename is None else value["filename"]))
        else:
            made.append(replace(f, name=name, content=value.encode()))
    return tuple(made)


def value(fields: Sequence[FormField], name: str) -> str:
    """A plain field, "" if there is none. Raises UnscannableRequest for several, of which a provider may read another
    one than we do, and for one that is a file or a list.
    """
    found = [f for f in fields if _key(f.name) == name]
    if len(found) > 1 or any(f.is_file or f.name != name for f in found):
        raise UnscannableRequest(f"the field {name} of the form is sent once, as plain text")
    return _text(found[0]) if found else ""


# --------------------------------------------------------------------------- as it leaves


@dataclass(frozen=True, slots=True)
class Form:
    """A form that is too large for memory, as the bytes that leave. Its digest binds boundary, names and contents."""

    boundary: str
    fields: tuple[FormField, ...]

    @property
    def contents(self) -> tuple[Payload, ...]:
        return tuple(f.content for f in self.fields)

    @property
    def media_type(self) -> str:
        return f"multipart/form-data; boundary={self.boundary}"

    def __len__(self) -> int:
        heads = sum(len(_head(self.boundary, f)) + len(f.content) + 2 for f in self.fields)
        return heads + len(self._end)

    @property
    def _end(self) -> bytes:
        return b"--" + self.boundary.encode() + b"--\r\n"

    @property
    def digest(self) -> str:
        h = hashlib.sha256(b"llmguard form v1")
        pieces = [self.boundary, str(len(self.fields))]
        for f in self.fields:
            named = "" if f.filename is None else f"file {f.filename}"
            pieces += [f.name, named, f.media_type, str(len(f.content)), digest_of(f.content)]
        for piece in pieces:
            h.update(len(piece.encode()).to_bytes(8, "big"))
            h.update(piece.encode())
        return h.hexdigest()

    def pieces(self, start: int = 0) -> Iterator[bytes]:
        """The bytes that leave, from an offset on."""
        for f in self.fields:
            for payload in (_head(self.boundary, f), f.content, b"\r\n"):
                if start < len(payload):
                    yield from pieces_of(payload, start)
                start = max(0, start - len(payload))
        if start < len(self._end):
            yield self._end[start:]

    def __repr__(self) -> str:
        return f"Form(<{len(self)} bytes>)"


def written(form: Form, most: int) -> bytes | Content:
    """The bytes of a form that has at most so many in memory, else the form."""
    small = len(form) <= most and all(isinstance(c, bytes) for c in form.contents)
    return b"".join(form.pieces()) if small else form


def parsed(egress: Egress) -> Form:
    """The form that an egress carries. Raises UnscannableRequest."""
    if isinstance(egress.body, Form):
        return egress.body
    media = next((value for name, value in egress.headers if name == "content-type"), "")
    reader = Reader(media, _Memory)
    for piece in pieces_of(egress.body):
        reader.feed(piece)
    return Form(boundary_of(media), reader.finish())


def md5_of(content: Payload) -> str:
    """The MD5 of a content, which providers check what arrived by."""
    h = hashlib.md5(usedforsecurity=False)
    for piece in pieces_of(content):
        h.update(piece)
    return h.hexdigest()


class _Memory:
    """A writer into memory, for what is in memory already."""

    def __init__(self) -> None:
        self._data = bytearray()

    def write(self, data: bytes) -> None:
        self._data += data

    def close(self) -> Payload:
        return bytes(self._data)

    def abort(self) -> None:
        self._data.clear()


def _head(boundary: str, f: FormField) -> bytes:
    """RFC 7578 §4.2, with names as browsers and httpx write them."""
    disposition = f'form-data; name="{_quoted(f.name)}"'
    if f.filename is not None:
        disposition += f'; filename="{_quoted(f.filename)}"'
    head = f"--{boundary}\r\nContent-Disposition: {disposition}\r\n"
    if f.media_type:
        head += f"Content-Type: {f.media_type}\r\n"
    return head.encode() + b"\r\n"


def _quoted(name: str) -> str:
    return name.replace('"', "%22")
