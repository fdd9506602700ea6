"""Seek: which planted values can still be read in a file. Shares nothing with what was cleaned by.

Owns what anybody would try: the bytes as they are, JSON's escapes, percent encoding and base64 undone, with and without
separators, in any case. ``grep`` compares: fixed strings, all at once. A value counts as read if all of it is there as
written, or, where it has at least ``LONG`` letters and digits, seven tenths of these in a row.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from threading import Thread

from benchmarks.dataset.corpus import Plant

LONG = 12
SHARE = 0.7
_ESCAPES = re.compile(rb"\\u[0-9a-fA-F]{4}(?:\\+u[0-9a-fA-F]{4})*")
_PERCENT = re.compile(rb"%[0-9a-fA-F]{2}(?:%[0-9a-fA-F]{2})*")
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{16,}")
_KEPT = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789\n") | frozenset(range(128, 256))
_SEPARATORS = bytes(c for c in range(256) if c not in _KEPT)


def left(plants: Sequence[Plant], chunks: Iterable[bytes]) -> list[Plant]:
    """Those that can be read. ``chunks`` are whole lines. Raises RuntimeError without ``grep``."""
    grep = shutil.which("grep")
    if grep is None:
        raise RuntimeError("grep is not installed")
    patterns: dict[bytes, list[Plant]] = {}
    for plant in plants:
        for pattern in _patterns(plant):
            patterns.setdefault(pattern, []).append(plant)
    if not patterns:
        return []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "patterns"
        file.write_bytes(b"\n".join(patterns) + b"\n")
        command = [grep, "-a", "-o", "-F", "-f", str(file)]
        with subprocess.Popen(  # noqa: S603
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "LC_ALL": "C"}
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            feeding = Thread(target=_feed, args=(process.stdin, chunks))
            feeding.start()
            hits = {line.rstrip(b"\n") for line in process.stdout}
            feeding.join()
    if process.returncode not in (0, 1):
        raise RuntimeError(f"grep ended with {process.returncode}")
    found = {id(plant): plant for hit in hits for plant in patterns.get(hit, ())}
    return list(found.values())


def _feed(into: object, chunks: Iterable[bytes]) -> None:
    with into as stream:  # type: ignore[attr-defined]
        for chunk in chunks:
            for view in views(chunk):
                stream.write(view)


def views(chunk: bytes) -> Iterator[bytes]:
    """What can be read in some lines, in lower case: with separators, and without."""
    text = _PERCENT.sub(_unquoted, _ESCAPES.sub(_unescaped, chunk.replace(b"\\/", b"/")))
    for said in (text, *_decoded(text)):
        lower = said.lower() if said.isascii() else said.decode("utf-8", "replace").casefold().encode()
        yield lower + b"\n"
        yield lower.translate(None, _SEPARATORS) + b"\n"


def _unescaped(match: re.Match[bytes]) -> bytes:
    units = b"".join(
        bytes.fromhex(hexadecimal.decode()) for hexadecimal in match[0].replace(b"\\", b"").split(b"u")[1:]
    )
    return units.decode("utf-16-be", "replace").encode()


def _unquoted(match: re.Match[bytes]) -> bytes:
    return bytes.fromhex(match[0].replace(b"%", b"").decode())


def _decoded(text: bytes) -> list[bytes]:
    """What long words say as base64, all in one."""
    said = []
    for word in _BASE64.findall(text):
        try:
            raw = base64.b64decode(word.translate(bytes.maketrans(b"-_", b"+/")) + b"=" * (-len(word) % 4))
            said.append(raw.decode().replace("\n", " ").encode())
        except (binascii.Error, UnicodeDecodeError):
            continue
    return [b"\n".join(said)] if said else []


def _patterns(plant: Plant) -> Iterator[bytes]:
    written = json.dumps(plant.value, ensure_ascii=False)[1:-1].casefold().encode()
    yield written
    core = plant.core.encode()
    if len(core) >= LONG:
        size = max(LONG, round(len(plant.core) * SHARE))
        yield plant.core[:size].encode()
        yield plant.core[-size:].encode()


def lines(path: Path, size: int = 4 << 20) -> Iterator[bytes]:
    """A file in pieces of whole lines."""
    with path.open("rb") as file:
        while chunk := file.read(size):
            yield chunk + file.readline()
