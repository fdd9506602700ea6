"""The automaton: one Hyperscan database over every anchor, and its cache on disk.

Owns: compiling, caching, scanning bytes. Never does: deciding whether a hit is a finding. Invariant: a database from
the cache has found every planted example before it is used; on any doubt it is compiled again, because a swapped one
would make the guard blind.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import stat
import tempfile
import threading
from collections.abc import Collection, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import hyperscan

from llmguard.errors import ConfigError

Plants = Sequence[tuple[int, bytes]]
"""Anchor numbers with a text in which that anchor must hit."""
_MERGE = 64
"""Bytes. Hits of one anchor that end closer together than this become one run: memory stays below the text's length."""


class Automaton:
    """Finds where anchors end. ``scan`` may be called by any number of threads, and after a fork."""

    def __init__(
        self, anchors: Sequence[bytes], plants: Plants = (), cache: Path | None = None, once: Collection[bytes] = ()
    ) -> None:
        """``once``: anchors of which only whether they hit is asked, told once a text.

        Raises ConfigError if an anchor does not compile. Without a plant for every anchor nothing is cached.
        """
        self._local = threading.local()
        planted = {i for i, _ in plants} == set(range(len(anchors)))
        path = _cache_path(cache, anchors) if cache is not None and planted else None
        loaded = _loaded(path, plants) if path else None
        self.from_cache = loaded is not None
        self._database = loaded if loaded is not None else compiled(anchors, once)
        if path and loaded is None:
            _store(path, hyperscan.dumpb(self._database))

    def scan(self, data: bytes) -> dict[int, list[int]]:
        """Anchor number → flat list of runs: first end, last end (byte offsets) of hits that lie close together."""
        try:
            scratch = self._local.scratch
        except AttributeError:
            scratch = self._local.scratch = hyperscan.Scratch(self._database)
        runs: dict[int, list[int]] = {}
        self._database.scan(data, match_event_handler=_note, context=runs, scratch=scratch)
        return runs


def _note(anchor: int, _start: int, end: int, _flags: int, runs: dict[int, list[int]]) -> None:
    run = runs.get(anchor)
    if run is None:
        runs[anchor] = [end, end]
    elif end - run[-1] <= _MERGE:
        run[-1] = end
    else:
        run += (end, end)


def compiled(anchors: Sequence[bytes], once: Collection[bytes] = ()) -> Any:
    """A database of all ``anchors``, numbered in order. Raises ConfigError."""
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    flags = [hyperscan.HS_FLAG_SINGLEMATCH if anchor in once else 0 for anchor in anchors]
    try:
        database.compile(expressions=list(anchors), ids=list(range(len(anchors))), flags=flags)
    except hyperscan.error as e:
        raise ConfigError(f"Hyperscan rejects the catalogue's anchors: {e}") from None
    return database


# --------------------------------------------------------------------------- cache


def _cache_path(folder: Path, anchors: Sequence[bytes]) -> Path | None:
    """Where the database of exactly these anchors lies, on this machine; None if ``folder`` is not private."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700, parents=True)
    if not _private(os.lstat(folder), stat.S_ISDIR):
        return None
    h = hashlib.sha256(b"llmguard automaton v2")
    for piece in (version("hyperscan").encode(), platform.machine().encode(), _processor(), *anchors):
        h.update(len(piece).to_bytes(8, "big"))
        h.update(piece)
    return folder / f"{h.hexdigest()}.hs"


def _processor() -> bytes:
    """The processor's features: a database compiled for one may not run on another."""
    try:
        lines = Path("/proc/cpuinfo").read_bytes().splitlines()
    except OSError:
        return platform.processor().encode()
    return next((line for line in lines if line.startswith((b"flags", b"Features"))), b"")


def _private(status: os.stat_result, kind: Any) -> bool:
    return kind(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o077


def _loaded(path: Path, plants: Plants) -> Any | None:
    """The cached database, or None on any doubt: absent, not ours, readable by others, damaged, or blind to a plant."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(fd, "rb") as f:
        if not _private(os.fstat(fd), stat.S_ISREG):
            return None
        content = f.read()
    digest, blob = content[:32], content[32:]
    if hashlib.sha256(blob).digest() != digest:  # a torn file; a forged one is what the plants are for
        return None
    try:
        database = hyperscan.loadb(blob, hyperscan.HS_MODE_BLOCK)
        return database if _sees(database, plants) else None
    except hyperscan.error:
        return None


def _sees(database: Any, plants: Plants) -> bool:
    """Whether each planted anchor hits, and no anchor that does not exist does."""
    scratch = hyperscan.Scratch(database)
    known = {i for i, _ in plants}
    for anchor, text in plants:
        runs: dict[int, list[int]] = {}
        database.scan(text, match_event_handler=_note, context=runs, scratch=scratch)
        if anchor not in runs or not known.issuperset(runs):
            return False
    return True


def _store(path: Path, blob: bytes) -> None:
    """Writes the file whole or not at all (0600). A full disk costs the cache, not the scan."""
    with contextlib.suppress(OSError):
        fd, temporary = tempfile.mkstemp(dir=path.parent)
        try:
            with os.fdopen(fd, "wb") as f:
                f.write(hashlib.sha256(blob).digest() + blob)
            os.replace(temporary, path)
        except OSError:
            os.unlink(temporary)
            raise
