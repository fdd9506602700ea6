"""Maps: a cleaner for the rows, columns and batches of data frames (pandas, Polars, Hugging Face ``datasets``).

Owns how a cell becomes a record of ``llmguard.sifting`` and comes back in its own type. Never does: import those
libraries, store, log. Invariants: a record gives what ``llmguard sanitize`` writes for a JSON line of it, but that
surrogates are kept apart from the values of the record, not of the whole file; what is no text, number, truth value or
time is refused, not passed over; ``None`` and not-a-number stay.
"""

from __future__ import annotations

import datetime
import decimal
import json
import math
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from llmguard.config import Settings, load
from llmguard.errors import ConfigError, UnscannableRequest
from llmguard.sifting import Block, Cleaned, Recipe, Sifter

T = TypeVar("T")
_RETYPED = "a number says something that only a text can stand for: make it text, or use the style surrogate"

STYLES = ("surrogate", "mask", "hash", "drop")
"""One-way styles. Placeholders come back only where somebody keeps them, which a function of a value does not."""
_TIMES = (datetime.date, datetime.time, datetime.timedelta, decimal.Decimal, uuid.UUID)


def cleaner(
    columns: str | Sequence[str] | None = None,
    *,
    style: str = "surrogate",
    names: bool | None = None,
    settings: Settings | None = None,
) -> Cleaner:
    """A function that cleans values, and whose methods clean rows, batches, columns and frames.

    ``columns``: those that are cleaned, and read; default all. ``style``: ``surrogate`` (looks like the original, and
    is nobody's), ``mask``, ``hash`` or ``drop``. ``names``: whether names of people are looked for; default as the
    settings say. ``settings``: default the user's configuration.

    Raises: ConfigError for a style that is none of these.
    """
    if style not in STYLES:
        raise ConfigError(f"a cleaner's style is one of {', '.join(STYLES)}; placeholders: llmguard sanitize")
    wanted = (columns,) if isinstance(columns, str) else None if columns is None else tuple(columns)
    return Cleaner(Recipe(settings or load(), style=style, names=names), wanted)


@dataclass(frozen=True, eq=False)
class Cleaner:
    """Can be pickled. Opens detectors and keys where it is first used, once a process; safe for threads, one at a time.

    All methods raise UnscannableRequest for what cannot be looked through exactly or be replaced, ConfigError where
    detectors, keys or the names model cannot be opened.
    """

    recipe: Recipe
    columns: tuple[str, ...] | None = None
    _opened: _Opened = field(default_factory=lambda: _Opened(), repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return Cleaner, (self.recipe, self.columns)

    def __call__(self, value: Any) -> Any:
        """A value by itself: ``Series.map(clean)``, ``map_elements(clean)``. A dict or list is a record."""
        return self._clean(value, "the value")

    def row(self, row: Any) -> Any:
        """The columns of a row together: ``DataFrame.apply(clean.row, axis=1)``, ``Dataset.map(clean.row)``.

        A Series comes back as one. Of a mapping the columns that are cleaned come back, as ``Dataset.map`` merges them.
        """
        new = self._row({str(name): row[name] for name in self._wanted(_names(row))})
        return new if isinstance(row, Mapping) else _filled(row, new)

    def batch(self, batch: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
        """Lists by column, row by row: ``Dataset.map(clean.batch, batched=True)``."""
        wanted = self._wanted(batch)
        columns = zip(*(batch[name] for name in wanted), strict=True)
        rows = self._rows([dict(zip(wanted, values, strict=True)) for values in columns])
        return {name: [row[name] for row in rows] for name in wanted}

    def series(self, series: Any) -> Any:
        """One column, its name a label: ``DataFrame.apply(clean.series)``, ``pl.col(…).map_batches(clean.series)``."""
        name = str(series.name or "text")
        old = list(series)
        rows = self._rows([{name: value} for value in old])
        return _series(series, old, [row[name] for row in rows])

    def frame(self, frame: Any) -> Any:
        """A frame, row by row: ``frame.pipe(clean.frame)``, ``LazyFrame.map_batches(clean.frame)``."""
        wanted = self._wanted(frame.columns)
        if len(set(wanted)) < len(wanted):
            raise ConfigError("two columns have one name")
        old = {name: list(frame[name]) for name in wanted}
        columns = {name: _series(frame[name], old[name], new) for name, new in self.batch(old).items()}
        if hasattr(frame, "with_columns"):
            return frame.with_columns(columns.values())
        cleaned = frame.copy(deep=False)
        for name, column in columns.items():
            cleaned[name] = column
        return cleaned

    def finds(self, record: Any) -> bool:
        """Whether there is anything to clean in a text or a row: ``frame[~frame.apply(clean.finds, axis=1)]``."""
        if not isinstance(record, str):
            record = {str(name): record[name] for name in self._wanted(_names(record))}
        return any(self._cleaned(_plain(record, "the record")).findings)

    # ----------------------------------------------------------------- records

    def _wanted(self, present: Iterable[Any]) -> tuple[Any, ...]:
        """The columns that are cleaned. Raises ConfigError for one that is not there."""
        there = tuple(present)
        if self.columns is None:
            return there
        if missing := [name for name in self.columns if name not in there]:
            raise ConfigError(f"no column is called {missing[0]!r}")
        return self.columns

    def _row(self, row: dict[str, Any]) -> dict[str, Any]:
        new: dict[str, Any] = self._clean(row, "the row", list(row))
        return _same(row, new)

    def _rows(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Rows at once, as the lines of a file: many times as fast as one by one, with the same result."""
        plain = [_plain(row, "the row") for row in rows]
        lines = [json.dumps(row).encode() + b"\n" for row in plain]
        sifted = self._open(lambda sifter: sifter.block(Block(0, b"".join(lines))))
        if sifted.problems:
            self._row(rows[sifted.problems[0].record])
            raise UnscannableRequest(f"row {sifted.problems[0].record + 1} of these: {sifted.problems[0].reason}")
        changed = zip(rows, lines, sifted.data.splitlines(keepends=True), strict=True)
        return [row if new == line else _renewed(row, json.loads(new)) for row, line, new in changed]

    def _clean(self, value: Any, what: str, names: Sequence[str] = ()) -> Any:
        plain = _plain(value, what)
        if not isinstance(plain, str | dict | list):
            return value
        cleaned = self._cleaned(plain)
        if cleaned.record is None:
            raise UnscannableRequest(f"{what} holds something{_place(cleaned, names)}: make it text, or leave it out")
        return _back(value, cleaned.record)

    def _cleaned(self, plain: Any) -> Cleaned:
        return self._open(lambda sifter: sifter.clean(plain))

    def _open(self, work: Callable[[Sifter], T]) -> T:
        opened = self._opened
        with opened.lock:
            if opened.sifter is None:
                opened.sifter = self.recipe.sifter()
            return work(opened.sifter)


class _Opened:
    """What a process has opened."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.sifter: Sifter | None = None


# --------------------------------------------------------------------------- cells


def _plain(value: Any, what: str) -> Any:
    """A value as JSON has it, times and the like as nothing. Raises UnscannableRequest for anything else."""
    if isinstance(value, str):
        return str(value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        plain = {str(k): _plain(v, what) for k, v in value.items()}
        if len(plain) < len(value):
            raise UnscannableRequest(f"{what} has two keys or columns that are written alike: rename one")
        return plain
    if isinstance(value, list | tuple):
        return [_plain(v, what) for v in value]
    if isinstance(value, _TIMES) or type(value).__name__ in ("NAType", "NaTType"):
        return None
    if hasattr(value, "tolist"):  # scalars and arrays of numpy
        return _plain(value.tolist(), what)
    if hasattr(value, "to_list"):  # a cell of Polars that is a list
        return _plain(value.to_list(), what)
    raise UnscannableRequest(
        f"{what} holds a {type(value).__name__}, which cannot be looked through: name the columns to be cleaned"
    )


def _back(value: Any, new: Any) -> Any:
    """A value as ``new``, which has its structure, says it. What did not change is what came."""
    if isinstance(new, dict):
        pairs = zip(value.items(), new.items(), strict=True)
        return {k if str(k) == key else key: _back(v, n) for (k, v), (key, n) in pairs}
    if isinstance(new, list):
        return [_back(v, n) for v, n in zip(value, new, strict=True)]
    plain = _plain(value, "the value")
    if type(plain) is not type(new) and new is not None:
        raise UnscannableRequest(_RETYPED)
    return value if plain == new else new


def _renewed(row: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    _same(row, new)
    return {name: _back(value, new[str(name)]) for name, value in row.items()}


def _same(row: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Raises UnscannableRequest where a column would have another name."""
    if list(new) != [str(name) for name in row]:
        raise UnscannableRequest("the name of a column holds something that is not to leave: rename it")
    return new


def _place(cleaned: Cleaned, names: Sequence[str]) -> str:
    """Which of the columns cannot be rewritten: those whose numbers say something."""
    held = zip(cleaned.parts, cleaned.findings, strict=True)
    first = {part.address.split("/")[1] for part, found in held if found and not part.redactable}
    where = ", ".join(repr(name) for name in names if name in first)
    return f" in {where} that cannot be replaced" if where else " that cannot be replaced"


def _names(row: Any) -> Iterable[Any]:
    return row if isinstance(row, Mapping) else row.index


def _filled(row: Any, new: Mapping[str, Any]) -> Any:
    """A Series like ``row``, with new cells."""
    filled = row.astype(object) if row.dtype != object else row.copy()
    for name in row.index:
        if str(name) in new:
            filled[name] = new[str(name)]
    return filled


def _series(series: Any, old: Sequence[Any], new: Sequence[Any]) -> Any:
    """A Series like the one whose values were ``old``, with ``new`` ones."""
    if all(a is b for a, b in zip(old, new, strict=True)):
        return series
    if not hasattr(series, "index"):
        return type(series)(series.name, new, dtype=series.dtype)
    if hasattr(series, "cat"):  # a value that is no category yet would become nothing
        return type(series)(new, index=series.index, name=series.name).astype("category")
    return type(series)(new, index=series.index, name=series.name, dtype=series.dtype)


__all__ = ["Cleaner", "cleaner"]
