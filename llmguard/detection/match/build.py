"""Builder: values in, a match file out. It keeps digests only: some 16 bytes a value, whatever the values are."""

from __future__ import annotations

import time
from array import array
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from llmguard.detection.match.file import Header, MatchFile, MatchKey, write
from llmguard.detection.match.normal import MAX_WORDS, Form, form
from llmguard.errors import ConfigError


@dataclass(slots=True)
class Report:
    """What became of the values: read, empty, refused by reason with the first line of each, records."""

    values: int = 0
    empty: int = 0
    records: int = 0
    repeated: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    first: dict[str, int] = field(default_factory=dict)


class _Sorted:
    """64-bit numbers, sorted and each once, in buckets by their first byte: sorting one of them takes little memory."""

    def __init__(self) -> None:
        self._buckets = [array("Q") for _ in range(256)]

    def add(self, number: int) -> None:
        self._buckets[number >> 56].append(number)

    def table(self) -> array[int]:
        merged = array("Q")
        for i, bucket in enumerate(self._buckets):
            merged.extend(sorted(set(bucket)))
            self._buckets[i] = array("Q")
        return merged


class Builder:
    """``add`` values, then ``write`` the file. ``common``: words that are no record on their own."""

    def __init__(self, key: MatchKey, common: Collection[str] = (), *, short: bool = False) -> None:
        """``short`` takes values that are too short or too common."""
        self.report = Report()
        self._key = key
        self._common = common
        self._short = short
        self._records = _Sorted()
        self._anchors = _Sorted()
        self._lengths: set[int] = set()
        self._long: set[int] = set()
        self._lead = 0
        self._numbers = True

    def add(self, line: int, value: str) -> None:
        self.report.values += 1
        if not value.strip():
            self.report.empty += 1
            return
        made = form(value, self._common, short=self._short)
        if isinstance(made, str):
            self.report.refused[made] += 1
            self.report.first.setdefault(made, line)
            return
        self._records.add(self._key.record(made.kind, made.key))
        if made.kind == "code":
            self._lengths.add(made.count)
            self._lead = max(self._lead, made.index)
            self._numbers &= made.key.isdecimal()
        else:
            self._anchors.add(self._key.anchor(made.anchor) | _standing(made))
            if made.count >= MAX_WORDS:
                self._long.add(made.count)

    def write(self, path: Path, header: Header) -> Report:
        """Raises ConfigError if nothing is left, or the file cannot be written."""
        records, anchors = self._records.table(), _merged(self._anchors.table())
        report = self.report
        report.records = len(records)
        report.repeated = report.values - report.empty - report.refused.total() - report.records
        if not records:
            raise ConfigError("no value of this file can be a record; --allow-short takes short and common ones")
        full = replace(
            header,
            key=self._key.id,
            records=len(records),
            anchors=len(anchors),
            lengths=tuple(sorted(self._lengths)),
            lead=self._lead,
            numbers=self._numbers,
            long=tuple(sorted(self._long)),
        )
        write(path, full, self._key, (records, anchors))
        return report


def _standing(made: Form) -> int:
    """Where the anchor stands, and in how many units: the low 16 bits of its entry."""
    return 1 << made.index << 8 | 1 << min(made.count, MAX_WORDS) - 1


def _merged(anchors: array[int]) -> array[int]:
    """One entry a word: all places and lengths together."""
    merged = array("Q")
    for entry in anchors:
        if merged and merged[-1] >> 16 == entry >> 16:
            merged[-1] |= entry
        else:
            merged.append(entry)
    return merged


def without(file: MatchFile, path: Path, values: Iterable[str]) -> int:
    """Writes a file again without these values; how many records are gone. Raises ConfigError."""
    gone = set()
    for value in values:
        made = form(value, short=True)
        if not isinstance(made, str):
            gone.add(file.key.record(made.kind, made.key))
    kept = array("Q", (digest for digest in file.records if digest not in gone))
    left = len(file.records) - len(kept)
    if left:
        header = replace(file.header, records=len(kept), made=now())
        write(path, header, file.key, (kept, array("Q", file.anchors)))
    return left


def now() -> int:
    """UTC milliseconds."""
    return time.time_ns() // 1_000_000
