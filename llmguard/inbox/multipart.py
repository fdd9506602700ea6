"""Multipart: the fields and files of a form (RFC 7578) as people read them. It decides nothing and keeps nothing.

Reading is linear, and anything that is not plainly a form is none: the body then stands as it is.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field

MOST = 200
_BOUNDARY = re.compile(r';\s*boundary=(?:"([^"\r\n]{1,70})"|([^\s;"]{1,70}))', re.I)
_NAME = re.compile(r'\bname="([^"\r\n]*)"', re.I)
_FILENAME = re.compile(r'filename="([^"\r\n]*)"', re.I)
_MOST_CONTROLS = 0.02


@dataclass(frozen=True, slots=True)
class Field:
    """``text`` is None where the content is no text. ``headers`` are as they came."""

    name: str
    filename: str
    media: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    text: str | None = field(repr=False)
    size: int
    sha256: str


def read(media: str, body: bytes) -> tuple[Field, ...]:
    """The fields, or nothing where this is no such form."""
    found = _BOUNDARY.search(media)
    if found is None:
        return ()
    line = f"\r\n--{found[1] or found[2]}".encode()
    pieces = (b"\r\n" + body).split(line, MOST + 2)
    fields = pieces[1:-1]
    if pieces[0].strip() or not 0 < len(fields) <= MOST or pieces[-1].strip() != b"--":
        return ()
    made = [_field(piece) for piece in fields]
    return tuple(f for f in made if f) if all(made) else ()


def _field(piece: bytes) -> Field | None:
    head, blank, content = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
    if not blank:
        return None
    lines = [h.partition(":") for h in head.decode(errors="replace").split("\r\n")]
    headers = tuple((name.strip(), value.strip()) for name, _, value in lines)
    known = {name.lower(): value for name, value in headers}
    disposition = known.get("content-disposition", "")
    name, filename = _NAME.search(disposition), _FILENAME.search(disposition)
    return Field(
        name[1] if name else "",
        filename[1] if filename else "",
        known.get("content-type", ""),
        headers,
        _text(content),
        len(content),
        hashlib.sha256(content).hexdigest(),
    )


def _text(content: bytes) -> str | None:
    """What people can read of it: all, or nothing. What steers the eye in a text is shown as such anyway."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return None
    controls = sum(1 for c in text[:4096] if c < " " and c not in "\r\n\t")
    return text if controls <= len(text[:4096]) * _MOST_CONTROLS else None
