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


def read(media: str, body: str) -> tuple[Field, ...]:
    """The fields, or nothing where this is no such form."""
    found = _BOUNDARY.search(media)
    if found is None:
        return ()
    line = f"--{found[1] or found[2]}"
    pieces = f"\r\n{body}".split(f"\r\n{line}")
    first, *fields, last = pieces if len(pieces) > 2 else ("x", "")
    if first.strip() or last.strip() != "--" or not 0 < len(fields) <= MOST:
        return ()
    made = [_field(piece) for piece in fields]
    return tuple(f for f in made if f) if all(made) else ()


def _field(piece: str) -> Field | None:
    head, blank, content = piece.removeprefix("\r\n").partition("\r\n\r\n")
    if not blank:
        return None
    headers = tuple((name.strip(), value.strip()) for name, _, value in (h.partition(":") for h in head.split("\r\n")))
    known = {name.lower(): value for name, value in headers}
    disposition = known.get("content-disposition", "")
    name, filename = _NAME.search(disposition), _FILENAME.search(disposition)
    raw = content.encode()
    return Field(
        name[1] if name else "",
        filename[1] if filename else "",
        known.get("content-type", ""),
        headers,
        content if _readable(content) else None,
        len(raw),
        hashlib.sha256(raw).hexdigest(),
    )


def _readable(content: str) -> bool:
    """Whether it is mostly what people write; what steers the eye in it is shown as such anyway."""
    controls = sum(1 for c in content[:4096] if c < " " and c not in "\r\n\t")
    return controls <= len(content[:4096]) * _MOST_CONTROLS
