"""The automaton: Hyperscan databases over every anchor and every context word, and their cache on disk.

Owns: compiling, caching, scanning bytes. Never does: deciding whether a hit is a finding. Invariant: a database from
the cache has found every planted example before it is used; on any doubt it is compiled again, because a swapped one
would make the guard blind.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import re
import stat
import tempfile
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

import hyperscan

from llmguard.detection.demands import TRIGGERS, Demand, branches
from llmguard.detection.demands import of as demand_of
from llmguard.errors import ConfigError

Plants = Sequence[tuple[int, bytes]]
"""Anchor numbers with a text in which that anchor must hit."""
Numbered = Mapping[bytes, tuple[int, ...]]
"""Plain words, in any case, and the numbers of the anchors that each of them hits too. They compile twenty times as
fast as expressions that hold them."""
Databases = tuple[Any, ...]
"""Of expressions by what they demand of a text, of what triggers those, of words, of short words."""
_COUNT = len(Demand) + 3
SHORT = 5
"""Letters from which on an ASCII word is looked for without what stands before it."""
_NEVER = b"\\x00llmguard\\x00"
"""A database must hold something."""
_MERGE = 64
"""Bytes. Hits of one anchor that end closer together than this become one run: memory stays below the text's length."""


class Automaton:
    """Finds where anchors end. ``scan`` may be called by any number of threads, and after a fork."""

    def __init__(
        self,
        anchors: Sequence[bytes],
        plants: Plants = (),
        cache: Path | None = None,
        once: Collection[bytes] = (),
        words: Numbered = MappingProxyType({}),
        *,
        lines: bool = False,
    ) -> None:
        """``once``: anchors of which only whether they hit is asked, told once a text. An empty anchor has words only.
        ``lines``: a text may begin and end at any line feed.

        Raises ConfigError if an anchor does not compile. Without a plant for every anchor nothing is cached.
        """
        self._local = threading.local()
        self.words = Words(words)
        planted = {i for i, _ in plants} == set(range(len(anchors)))
        marks = (*anchors, *words, *((b"lines",) if lines else ()))
        path = _cache_path(cache, marks) if cache is not None and planted else None
        loaded = _loaded(path, plants, self.words) if path else None
        self.from_cache = loaded is not None
        made = loaded if loaded is not None else (*by_demand(anchors, once, lines=lines), *self.words.compiled())
        self.databases: Databases = made
        if path and loaded is None:
            _store(path, packed(*map(hyperscan.dumpb, made)))

    def scan(self, data: bytes) -> dict[int, list[int]]:
        """Anchor number → flat list of runs: first end, last end (byte offsets) of hits that lie close together."""
        return _runs(self.databases, self.scratch(), self.words, data)

    def scratch(self) -> tuple[Any, ...]:
        """The calling thread's working memory for each database."""
        try:
            scratch: tuple[Any, ...] = self._local.scratch
        except AttributeError:
            scratch = self._local.scratch = tuple(map(hyperscan.Scratch, self.databases))
        return scratch


class Words:
    """Plain words beside the expressions: literals. ASCII ones below ``SHORT`` letters want a boundary before them,
    which is part of the literal, or stand inside camelCase; behind a letter beyond ASCII an expression looks for them.
    """

    def __init__(self, words: Numbered) -> None:
        self.short = {w: n for w, n in words.items() if len(w) < SHORT and w.isascii()}
        spelled = {(w, True): n for w, n in words.items() if w not in self.short}
        for word, numbers in self.short.items():
            spelled |= {(boundary + word, True): numbers for boundary in _BOUNDARIES}
            spelled[word.capitalize(), False] = numbers
        self.literals = tuple(spelled)
        self.numbers = tuple(spelled.values())
        self.lengths = tuple(sorted({len(w) for w in self.short}))

    def ending(self, data: bytes, end: int) -> Iterator[int]:
        """The anchors of the short words that end there."""
        for length in self.lengths:
            yield from self.short.get(data[end - length : end].lower(), ())

    def compiled(self) -> Databases:
        """Of all but short words behind a byte beyond ASCII, and of those."""
        return compiled_words(self.literals), compiled((_short(self.short),))


_BOUNDARIES = tuple(bytes([c]) for c in range(1, 128) if not bytes([c]).isalpha())
"""ASCII that is no letter, but for NUL, which ends a literal: the expression has it."""


def _short(words: Collection[bytes]) -> bytes:
    """Short words behind a byte beyond ASCII, or behind NUL."""
    return f"(?i:[\\x00\\x80-\\xff](?:{'|'.join(re.escape(w.decode()) for w in words)}))".encode() if words else _NEVER


def _runs(databases: Databases, scratch: Any, words: Words, data: bytes) -> dict[int, list[int]]:
    runs: dict[int, list[int]] = {}
    databases[0].scan(data, match_event_handler=note, context=runs, scratch=scratch[0])
    held: list[int] = []
    databases[_TRIGGERS].scan(data, match_event_handler=_note_held, context=held, scratch=scratch[_TRIGGERS])
    if not data.isascii():
        held.append(Demand.BEYOND)
    for demand in held:
        more: dict[int, list[int]] = {}
        databases[demand].scan(data, match_event_handler=note, context=more, scratch=scratch[demand])
        _join(runs, more)
    if words.literals:  # the line feed is the boundary before a text
        told = (runs, words.numbers)
        databases[-2].scan(b"\n" + data, match_event_handler=_note_word, context=told, scratch=scratch[-2])
    if words.short and (Demand.BEYOND in held or b"\0" in data):
        ends: list[int] = []
        databases[-1].scan(data, match_event_handler=_note_end, context=ends, scratch=scratch[-1])
        more = {}
        for end in ends:
            for anchor in words.ending(data, end):
                note(anchor, 0, end, 0, more)
        _join(runs, more)
    return runs


def _join(runs: dict[int, list[int]], more: Mapping[int, list[int]]) -> None:
    """Adds runs of hits that were found apart: an anchor may have alternatives in several databases."""
    for anchor, run in more.items():
        known = runs.get(anchor)
        if known is None:
            runs[anchor] = run
            continue
        merged: list[int] = []
        for first, last in sorted([*zip(known[::2], known[1::2], strict=True), *zip(run[::2], run[1::2], strict=True)]):
            if merged and first - merged[-1] <= _MERGE:
                merged[-1] = max(merged[-1], last)
            else:
                merged += (first, last)
        runs[anchor] = merged


def _note_held(demand: int, _start: int, _end: int, _flags: int, held: list[int]) -> None:
    held.append(demand)


def _note_end(_word: int, _start: int, end: int, _flags: int, ends: list[int]) -> None:
    ends.append(end)


def _note_word(
    word: int, start: int, end: int, flags: int, context: tuple[dict[int, list[int]], tuple[tuple[int, ...], ...]]
) -> None:
    runs, numbers = context
    for anchor in numbers[word]:
        note(anchor, start, end - 1, flags, runs)


def note(anchor: int, _start: int, end: int, _flags: int, runs: dict[int, list[int]]) -> None:
    """Adds a hit, which ends behind those that were added before, to the runs of its anchor."""
    run = runs.get(anchor)
    if run is None:
        runs[anchor] = [end, end]
    elif end - run[-1] <= _MERGE:
        run[-1] = end
    else:
        run += (end, end)


_TRIGGERS = len(Demand)


def by_demand(anchors: Sequence[bytes], once: Collection[bytes] = (), *, lines: bool = False) -> Databases:
    """A database for each demand, then that of their triggers. Raises ConfigError.

    Alternatives of an anchor go where each belongs. ``lines``: a text may begin and end at any line feed.
    """
    parted: dict[Demand, list[_Piece]] = {demand: [] for demand in Demand}
    for number, anchor in enumerate(anchors):
        for piece in branches(anchor):
            parted[demand_of(piece)].append((number, piece, anchor in once))
    made = [_compiled(parted[demand], lines=lines) for demand in Demand]
    return (*made, _compiled([(int(d), t, True) for d, t in TRIGGERS.items() if parted[d]]))


_Piece = tuple[int, bytes, bool]
"""The number of an anchor, an expression of it, and whether it is told once a text."""


def compiled(anchors: Sequence[bytes], once: Collection[bytes] = (), *, lines: bool = False) -> Any:
    """A database of all ``anchors``, numbered in order. Raises ConfigError."""
    return _compiled([(i, anchor, anchor in once) for i, anchor in enumerate(anchors)], lines=lines)


def _compiled(pieces: Sequence[_Piece], *, lines: bool = False) -> Any:
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    numbers, expressions, once = zip(*([p for p in pieces if p[1]] or [(0, _NEVER, True)]), strict=True)
    every = hyperscan.HS_FLAG_MULTILINE if lines else 0
    flags = [every | (hyperscan.HS_FLAG_SINGLEMATCH if single else 0) for single in once]
    try:
        database.compile(expressions=list(expressions), ids=list(numbers), flags=flags)
    except hyperscan.error as e:
        raise ConfigError(f"Hyperscan rejects the catalogue's anchors: {e}") from None
    return database


def compiled_words(words: Sequence[tuple[bytes, bool]]) -> Any:
    """A database of plain words, numbered in order; each with whether its case does not matter."""
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    plain = [w for w, _ in words] or [_NEVER]
    flags = [hyperscan.HS_FLAG_CASELESS if caseless else 0 for _, caseless in words] or [0]
    database.compile(expressions=plain, ids=list(range(len(plain))), flags=flags, literal=True)
    return database


def packed(*databases: bytes) -> bytes:
    """All databases as one piece of bytes, each behind its length."""
    return b"".join(len(d).to_bytes(8, "big") + d for d in databases)


def _unpacked(blob: bytes) -> list[bytes]:
    databases, at = [], 0
    while at < len(blob):
        end = at + 8 + int.from_bytes(blob[at : at + 8], "big")
        databases.append(blob[at + 8 : end])
        at = end
    return databases


# --------------------------------------------------------------------------- cache


def _cache_path(folder: Path, anchors: Sequence[bytes]) -> Path | None:
    """Where the database of exactly these anchors lies, on this machine; None if ``folder`` is not private."""
    try:
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700, parents=True)
        if not _private(os.lstat(folder), stat.S_ISDIR):
            return None
    except OSError:  # a disk that is full or cannot be written
        return None
    h = hashlib.sha256(b"llmguard automaton v7")
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


def _loaded(path: Path, plants: Plants, words: Words) -> Databases | None:
    """The cached databases, or None on any doubt: absent, not ours, open to others, damaged, or blind to a plant."""
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
        databases = tuple(hyperscan.loadb(b, hyperscan.HS_MODE_BLOCK) for b in _unpacked(blob))
        return databases if len(databases) == _COUNT and _sees(databases, plants, words) else None
    except hyperscan.error:
        return None


def _sees(databases: Databases, plants: Plants, words: Words) -> bool:
    """Whether each planted anchor hits, and no anchor that does not exist does."""
    scratch = tuple(map(hyperscan.Scratch, databases))
    known = {i for i, _ in plants}
    for anchor, text in plants:
        try:
            runs = _runs(databases, scratch, words, text)
        except IndexError:  # a word that does not exist
            return False
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
