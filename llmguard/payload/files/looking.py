"""Looking: what was seen of one file so far, and what may still be spent on it.

Owns the bounds, the parts and the kinds that nobody looked into. Never opens a format itself: ``open`` is handed in by
the package, so that what stands in an archive is looked into by what looks into files. Texts that come twice are kept
once. Invariant: nothing is left out in silence; whoever cannot read something says ``blind``, and a bound that is
reached ends the whole look by ``Spent``, which every level above answers with ``blind``.
"""

from __future__ import annotations

import io
import struct
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO

from llmguard.model import TextPart
from llmguard.payload.files.kinds import HEAD, Kind, kind_of


@dataclass(frozen=True, slots=True)
class Limits:
    """What one file may cost, with all that stands in it. Sizes are bytes."""

    held: int = 64 << 20
    """Of one file or member in memory."""
    unpacked: int = 192 << 20
    """Of everything that was compressed, together."""
    characters: int = 16 << 20
    """Of text that comes out."""
    parts: int = 50_000
    entries: int = 20_000
    """Members, sheets, messages, together."""
    objects: int = 200_000
    """Objects of a PDF, in each of its revisions."""
    pages: int = 2_000
    operators: int = 5_000_000
    """Drawing operators of a PDF, elements of XML."""
    depth: int = 3
    """Containers in one another that are opened."""
    seconds: float = 30.0


class Spent(BaseException):
    """A bound is reached. Not an Exception: a library that catches all of those would go on spending."""


HOSTILE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""What parsers raise at malformed files. RecursionError is a RuntimeError, UnicodeError a ValueError."""

BLIND: dict[str, str] = {kind: kind for kind in ("pdf", "image", "audio", "video", "archive")}
"""Kinds that are told as themselves when nobody looked into them; all others are ``file``."""


@dataclass(frozen=True, slots=True)
class Looked:
    """The texts of a file, none of which can be rewritten, and the kinds of content that nobody looked into, sorted."""

    parts: tuple[TextPart, ...]
    unscanned: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Looked({len(self.parts)} parts, unscanned={self.unscanned})"


class Looking:
    """One look into one file. Methods raise Spent."""

    def __init__(self, limits: Limits, opener: Callable[[Looking, BinaryIO, Kind, str, str], None]) -> None:
        self.limits = limits
        self.depth = 0
        self._open = opener
        self._parts: list[TextPart] = []
        self._unscanned: set[str] = set()
        self._seen: set[int] = set()
        self._left = {"unpacked": limits.unpacked, "characters": limits.characters, "entries": limits.entries}
        self._left["operators"] = limits.operators
        self._deadline = time.monotonic() + limits.seconds

    def looked(self) -> Looked:
        return Looked(tuple(self._parts), tuple(sorted(self._unscanned)))

    def text(self, text: str, address: str, label: str = "") -> None:
        """Half of a surrogate pair, which malformed files hold, is replaced: nothing after this could encode it."""
        text = text.strip("\0\r\n ")
        if not text or (key := hash((text, label))) in self._seen:
            return
        self.spend("characters", len(text))
        if len(self._parts) >= self.limits.parts:
            raise Spent
        self._seen.add(key)
        if not text.isascii():
            text = text.encode("utf-8", "replace").decode("utf-8")
        self._parts.append(TextPart(text, address, "user", label, "body", False))

    def blind(self, kind: str) -> None:
        """Something of this kind (of a file, or a word of ``unscanned``) was not looked into."""
        self._unscanned.add(BLIND.get(kind, "file"))

    def spend(self, what: str, amount: int) -> None:
        self._left[what] -= amount
        if self._left[what] < 0:
            raise Spent
        self.hurry()

    def hurry(self) -> None:
        """Called in every loop of a parser, however short its steps."""
        if time.monotonic() > self._deadline:
            raise Spent

    def room(self) -> int:
        """Bytes that the next member may still give."""
        return min(self.limits.held, self._left["unpacked"])

    def held(self, file: BinaryIO, kind: str) -> bytes:
        """The whole file, or as much as may be in memory; the rest is told."""
        file.seek(0)
        data = file.read(self.limits.held + 1)
        if len(data) > self.limits.held:
            self.blind(kind)
            data = data[: self.limits.held]
        return data

    def member(self, data: bytes, name: str, address: str, media_type: str = "") -> None:
        """A file that stands in the one that is being looked into."""
        self.into(io.BytesIO(data), kind_of(data[:HEAD], name, media_type), address, name, media_type)

    def into(self, file: BinaryIO, kind: Kind, address: str, name: str = "", media_type: str = "") -> None:
        """Looks into a file of a kind. Raises Spent; whatever else goes wrong is told."""
        try:
            self._open(self, file, kind, address, media_type)
        except HOSTILE:
            self.blind(kind)
        except Spent:
            self.blind(kind)
            raise

    def deeper(self, kind: str) -> bool:
        """Goes one container deeper; False, and told, where that is too deep. ``up`` leads back."""
        if self.depth >= self.limits.depth:
            self.blind("pdf" if kind == "pdf" else "archive")
            return False
        self.depth += 1
        return True

    def up(self) -> None:
        self.depth -= 1

    def __repr__(self) -> str:
        return f"Looking({len(self._parts)} parts, depth {self.depth})"


def shown(name: str) -> str:
    """The name of a member as it stands in an address: its last two steps, without what would end a line."""
    steps = PurePosixPath("".join(c if c.isprintable() else "?" for c in name[:200])).parts
    return "/".join(steps[-2:])
