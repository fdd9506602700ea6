"""Sources: the texts that a command reads, from files, folders and standard input, one at a time.

Invariant: what is not read is told with its reason. A file that was named must be readable; one that was only come
across in a folder is passed over.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from llmguard.errors import UnscannableRequest

STDIN = "-"
NEVER = frozenset({".git", ".hg", ".svn", "__pycache__", ".venv", "node_modules"})
"""Folders that are not entered unless they are named."""
MAX_BYTES = 32 << 20
"""Of one file. What is larger is told, not cut."""


class Source(NamedTuple):
    """A text and what it is called, or the reason why there is none."""

    name: str
    text: str
    skipped: str = ""


def decoded(raw: bytes, name: str) -> str:
    """Raises: UnscannableRequest for what is not UTF-8."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise UnscannableRequest(f"{name} is not UTF-8 text") from None


def listed(paths: Sequence[Path], skips: Callable[[Path], bool]) -> list[tuple[Path, bool]]:
    """Files to read, each with whether it was named by itself. ``skips`` asks for files and folders below a folder."""
    found: list[tuple[Path, bool]] = []
    for path in paths:
        if path.is_dir():
            found += ((p, False) for p in _below(path, skips))
        else:
            found.append((path, True))
    return found


def _below(folder: Path, skips: Callable[[Path], bool]) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(d for d in folders if d not in NEVER and not skips(Path(root, d, "")))
        for name in sorted(names):
            path = Path(root, name)
            if not path.is_symlink() and path.is_file() and not skips(path):
                yield path


def read(path: Path, named: bool) -> Source:
    """Raises: UnscannableRequest for a file that was named and cannot be read as text."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UnscannableRequest(f"{path} is larger than {MAX_BYTES >> 20} MB: split it")
        raw = path.read_bytes()
        if not named and b"\0" in raw[:8192]:
            return Source(str(path), "", "binary")
        return Source(str(path), decoded(raw, str(path)))
    except OSError as e:
        if named:
            raise UnscannableRequest(f"{path} cannot be read: {e.strerror or type(e).__name__}") from None
        return Source(str(path), "", "cannot be read")
    except UnscannableRequest:
        if named:
            raise
        return Source(str(path), "", "not UTF-8 text, or too large")


def standard_input() -> Source:
    return Source(STDIN, decoded(sys.stdin.buffer.read(), "standard input"))
