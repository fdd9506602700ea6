"""Sources: values of a CSV, TSV, JSONL or text file, one by one, with their line. It keeps none and prints none."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Literal, get_args

from llmguard.errors import ConfigError

Shape = Literal["csv", "tsv", "jsonl", "lines"]
SHAPES: tuple[Shape, ...] = get_args(Shape)
_SUFFIXES: dict[str, Shape] = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
_DELIMITERS = ",;\t|"

Progress = Callable[[int], object]
"""Told how many bytes more were read."""


def values(
    path: Path,
    columns: Sequence[str] = (),
    shape: Shape | None = None,
    progress: Progress = lambda _: None,
) -> Iterator[tuple[int, str]]:
    """Line and value of every cell of ``columns``; a column written ``a+b`` is both, with a blank between.

    Without columns: the only column, or whole lines. Raises ConfigError, which names the line and never the value.
    """
    form = shape or _SUFFIXES.get(path.suffix.lower(), "lines")
    try:
        with path.open("rb") as f:
            lines = _lines(f, path, progress)
            if form == "lines":
                if columns:
                    raise ConfigError(f"{path} is read line by line and has no columns: --format csv, tsv or jsonl")
                yield from enumerate(lines, 1)
            else:
                yield from (_objects if form == "jsonl" else _rows)(path, lines, columns, form)
    except OSError as e:
        raise ConfigError(f"{path} cannot be read ({type(e).__name__})") from None


def _lines(f: IO[bytes], path: Path, progress: Progress) -> Iterator[str]:
    for number, raw in enumerate(f, 1):
        progress(len(raw))
        try:
            yield raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise ConfigError(f"{path}:{number}: this line is not UTF-8") from None


def _rows(path: Path, lines: Iterator[str], columns: Sequence[str], form: Shape) -> Iterator[tuple[int, str]]:
    first = next(lines, "")
    delimiter = "\t" if form == "tsv" else max(_DELIMITERS, key=first.count)
    reader = csv.reader(_again(first, lines), delimiter=delimiter, strict=True)
    try:
        head = [name.strip() for name in next(reader, [])]
        chosen = [_numbers(path, head, c) for c in columns or _only(path, head)]
        for row in reader:
            if not row:
                continue
            if len(row) != len(head):
                raise ConfigError(f"{path}:{reader.line_num}: {len(row)} fields, where the first line has {len(head)}")
            for numbers in chosen:
                yield reader.line_num, " ".join(row[i] for i in numbers)
    except csv.Error as e:
        raise ConfigError(f"{path}:{reader.line_num}: {e}") from None


def _again(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _only(path: Path, head: Sequence[str]) -> Sequence[str]:
    if len(head) != 1:
        raise ConfigError(f"{path} has {len(head)} columns: say which with --column ({', '.join(head)[:300]})")
    return head


def _numbers(path: Path, head: Sequence[str], column: str) -> list[int]:
    names = [column] if column in head else column.split("+")
    try:
        return [head.index(name) for name in names]
    except ValueError:
        raise ConfigError(f"{path} has no column {column!r}; it has {', '.join(head)[:300]}") from None


def _objects(path: Path, lines: Iterator[str], columns: Sequence[str], _: Shape) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            raise ConfigError(f"{path}:{number}: this line is not JSON") from None
        if isinstance(record, str) and not columns:
            yield number, record
            continue
        if not isinstance(record, dict) or not (columns or len(record) == 1):
            raise ConfigError(f"{path}:{number}: an object is wanted, and --column, unless it has one member")
        for column in columns or record:
            yield number, " ".join(_cell(path, number, record, name) for name in _members(record, column))


def _members(record: dict[str, object], column: str) -> list[str]:
    return [column] if column in record else column.split("+")


def _cell(path: Path, number: int, record: dict[str, object], name: str) -> str:
    value = record.get(name, "")
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ConfigError(f"{path}:{number}: {name!r} is no text or number")
    return str(value)
