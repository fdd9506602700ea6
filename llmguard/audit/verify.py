"""The offline verifier: recomputes a log from its leaves and holds it against checkpoints that left the host.

It needs the database file and, to see more than damage, the published checkpoints and their key; none of the guard's
own keys. It opens the database read-only, in short reads, with memory that does not grow with the log. It trusts no
stored hash, node or index. What lies after the last outside checkpoint is checked for form but witnessed by nobody:
the report says how much that is.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import rfc8785

from llmguard.audit import merkle
from llmguard.audit.note import Head, Verifier, read
from llmguard.audit.note import verify as verify_note
from llmguard.audit.publication import keys_beside, notes_in, parse_keys
from llmguard.errors import AuditError, ConfigError

_PAGE = 1000
Row = tuple[int, str, str, int, str, bytes, bytes]


@dataclass(frozen=True, slots=True)
class Report:
    """What was found. ``checkpoints`` counts outside ones that fit; ``unwitnessed`` entries follow the last of them.

    ``problems`` are sentences, one for each kind of defect, naming the first place. ``ok`` says that there is none; it
    does not say that the unwitnessed tail is complete.
    """

    entries: int
    checkpoints: int
    unwitnessed: int
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.problems


def verify(
    database: Path,
    checkpoints: Path | None = None,
    key: str | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Checks the log in ``database`` against the file ``checkpoints``, signed with ``key`` (verifier keys, one a line).

    Without ``key``, the keys in ``log.vkey`` beside the checkpoints are used. ``progress`` gets (done, all) entries.
    Raises ConfigError if an input is missing or not what it should be; defects of the log go into the report.
    """
    problems = _Problems()
    keys = parse_keys(key) if key else keys_beside(checkpoints) if checkpoints else ()
    if checkpoints is not None and not checkpoints.is_file():
        raise ConfigError(f"{checkpoints} is not a file of checkpoints")
    if checkpoints is not None and not keys:
        problems.add("key", "The signatures were not checked: give the verifier key of the log.")
    with closing(_open(database)) as connection:
        outside = _Witness("published", notes_in(checkpoints) if checkpoints else iter(()), keys, problems)
        inside = _Witness("stored", _stored_notes(connection), keys, problems)
        try:
            size = _check_entries(connection, (outside, inside), problems, progress)
            _check_ids(connection, problems)
        except sqlite3.Error as e:
            raise ConfigError(
                f"{database} cannot be read ({_name(e)}); is it a whole copy of the guard's database?"
            ) from e
        outside.finish(size)
        inside.finish(size)
    return Report(size, outside.good, size - outside.reached, problems.sentences())


class _Problems:
    """The first sentence of each kind: a log that is wrong everywhere gives a short report."""

    def __init__(self) -> None:
        self._first: dict[str, str] = {}

    def add(self, kind: str, sentence: str) -> None:
        self._first.setdefault(kind, sentence)

    def sentences(self) -> tuple[str, ...]:
        return tuple(self._first.values())


class _Witness:
    """A sequence of checkpoints, read along with the log: each must be signed, larger than the last, and fit."""

    def __init__(self, word: str, notes: Iterator[str], keys: tuple[Verifier, ...], problems: _Problems) -> None:
        self._word = word
        self._notes = notes
        self._keys = keys
        self._problems = problems
        self._number = 0
        self._misfit = False
        self.good = 0
        self.reached = 0
        self._next = self._advance(-1)

    def meet(self, frontier: merkle.Frontier) -> None:
        """Compares the checkpoints of exactly this size."""
        while self._next is not None and self._next.size == frontier.size:
            if self._next.root == frontier.root() and not self._misfit:
                self.good += 1
                self.reached = frontier.size
            elif self._next.root != frontier.root():
                self._forked(frontier.size)
            self._next = self._advance(self._next.size)

    def finish(self, size: int) -> None:
        """What is left speaks of entries that are not there."""
        if self._next is not None:
            self._problems.add(
                f"{self._word} cut",
                f"The log ends at entry {size}, but a {self._word} checkpoint covers {self._next.size}: "
                f"entries from {size} on were cut off.",
            )

    def _forked(self, size: int) -> None:
        self._misfit = True
        where = f"entries {self.reached} to {size - 1}" if size else "the empty log"
        self._problems.add(
            f"{self._word} root",
            f"The log does not fit the {self._word} checkpoint of {size} entries: something among {where} was "
            "changed, moved, inserted or removed after it was signed.",
        )

    def _advance(self, size: int) -> Head | None:
        for note in self._notes:
            self._number += 1
            try:
                head = verify_note(note, self._keys) if self._keys else read(note)
            except AuditError as e:
                self._problems.add(
                    f"{self._word} note",
                    f"The {self._word} checkpoint number {self._number} is not valid: {e.message}.",
                )
                continue
            if head.size > size:
                return head
            self._problems.add(
                f"{self._word} order",
                f"The {self._word} checkpoint number {self._number} covers {head.size} entries, no more than the one "
                "before it: checkpoints were repeated, moved or forked.",
            )
        return None


def _open(database: Path) -> sqlite3.Connection:
    if not database.is_file():
        raise ConfigError(f"{database} is not a database file")
    connection = sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True, timeout=10, isolation_level=None)
    try:
        connection.execute("SELECT idx, tenant, id, time, kind, leaf, hash FROM audit_entries LIMIT 0").fetchall()
    except sqlite3.Error as e:
        connection.close()
        raise ConfigError(
            f"{database} cannot be read as the guard's database ({_name(e)}); a copy needs its -wal file beside it, "
            "in a folder that can be written"
        ) from e
    return connection


def _name(error: sqlite3.Error) -> str:
    return getattr(error, "sqlite_errorname", None) or type(error).__name__


def _stored_notes(connection: sqlite3.Connection) -> Iterator[str]:
    size = -1
    while rows := connection.execute(
        "SELECT size, note FROM checkpoints WHERE size > ? ORDER BY size LIMIT ?", (size, _PAGE)
    ).fetchall():
        yield from (note if isinstance(note, str) else "" for _, note in rows)
        size = rows[-1][0]


def _rows(connection: sqlite3.Connection) -> Iterator[Row]:
    """In pages: a long read would keep a running guard from shortening its write-ahead log."""
    sql = "SELECT idx, tenant, id, time, kind, leaf, hash FROM audit_entries WHERE idx > ? ORDER BY idx LIMIT ?"
    last = -(2**63)
    while rows := connection.execute(sql, (last, _PAGE)).fetchall():
        yield from rows
        last = rows[-1][0]


def _check_entries(
    connection: sqlite3.Connection,
    witnesses: tuple[_Witness, ...],
    problems: _Problems,
    progress: Callable[[int, int], None] | None,
) -> int:
    """Walks the leaves once; returns how many there are."""
    total = connection.execute("SELECT count(*) FROM audit_entries").fetchone()[0] if progress else 0
    frontier = merkle.Frontier()
    time = 0
    for witness in witnesses:
        witness.meet(frontier)
    for row in _rows(connection):
        time = max(time, _check_entry(row, frontier.size, time, problems))
        frontier.push(merkle.leaf_hash(bytes(row[5]) if isinstance(row[5], bytes) else b""))
        for witness in witnesses:
            witness.meet(frontier)
        if progress and (frontier.size % _PAGE == 0 or frontier.size == total):
            progress(frontier.size, total)
    return frontier.size


def _check_entry(row: Row, position: int, time: int, problems: _Problems) -> int:
    """Checks one entry by itself; returns its time."""
    index, tenant, id_, at, kind, leaf, stored = row
    if index != position:
        problems.add("gap", f"Entry {position} is missing: the next one that is there says that it is number {index}.")
    if not isinstance(leaf, bytes) or merkle.leaf_hash(leaf) != stored:
        problems.add("hash", f"Entry {index} was changed: its content does not have the hash stored with it.")
    content = _content(leaf)
    if content is None:
        problems.add("form", f"Entry {index} is not canonical JSON of an entry: it was not written by the guard.")
    elif [content.get(k) for k in ("tenant", "id", "time", "kind")] != [tenant, id_, at, kind]:
        problems.add("columns", f"Entry {index} says something else than the columns that it is searched by.")
    if not isinstance(at, int):
        return 0
    if at < time:
        problems.add("time", f"Entry {index} is older than an entry before it: entries were moved or inserted.")
    return at


def _content(leaf: bytes) -> dict[str, object] | None:
    try:
        content = json.loads(leaf)
        canonical = rfc8785.dumps(content) == leaf
    except (ValueError, TypeError, RecursionError, rfc8785.CanonicalizationError):
        return None
    return content if canonical and isinstance(content, dict) and content.get("v") == 1 else None


def _check_ids(connection: sqlite3.Connection, problems: _Problems) -> None:
    # NOT INDEXED: an index can be dropped or forged. The sort spills to disk, not to memory.
    connection.execute("PRAGMA temp_store=FILE")
    sql = "SELECT max(idx) FROM audit_entries NOT INDEXED GROUP BY id HAVING count(*) > 1 ORDER BY 1 LIMIT 1"
    twice = connection.execute(sql).fetchone()
    if twice is not None:
        problems.add("id", f"Entry {twice[0]} has the id of an entry before it: entries were copied.")
