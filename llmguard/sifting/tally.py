"""Tally: what was found in a file, in kinds and counts.

Owns counts, which add up in any order. Never does: hold a value; a value's identity is a keyed digest. Invariants:
bounded, whatever the file's size; the same from the same records, however they were cut into blocks and merged; the
times of ``found`` add up to all findings.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

from llmguard.facts import MAX_KEPT, Found

Key = tuple[Any, ...]
"""Kind of a finding: the first fields of a Found, up to ``redactable``."""
_found: Callable[..., Found] = Found
_KEPT = MAX_KEPT // 2
"""Different values of which the identity is kept: those with the least digests, so that all agree which."""


class Tally:
    """Mergeable by ``+``. ``records`` came, ``changed`` leave otherwise, ``dropped`` do not leave, ``bad`` could not be
    read; ``characters`` of text; ``unscanned`` kinds of content; ``excepted`` findings by exception.
    """

    __slots__ = (
        "_limit", "_values", "bad", "changed", "characters", "dropped", "excepted", "kinds", "records", "unscanned",
    )  # fmt: skip

    def __init__(self) -> None:
        self.records = self.changed = self.dropped = self.bad = self.characters = 0
        self.unscanned: frozenset[str] = frozenset()
        self.excepted: Counter[str] = Counter()
        self.kinds: Counter[Key] = Counter()
        self._values: dict[tuple[str, Key, str], list[int]] = {}
        self._limit = ""

    def add(self, found: Iterable[Found], record: int) -> None:
        """The findings of one record."""
        for f in found:
            kind = (f.type, f.category, f.severity, f.confidence, f.place, f.origin, f.redactable)
            self.kinds[kind] += f.times
            if not self._limit or f.identity <= self._limit:
                self._value((f.identity, kind, f.person), record, f.times)

    def _value(self, key: tuple[str, Key, str], record: int, times: int) -> None:
        known = self._values.get(key)
        if known is None:
            self._values[key] = [record, times]
            if len(self._values) > 2 * _KEPT:
                self._prune()
        else:
            known[0] = min(known[0], record)
            known[1] += times

    def _prune(self) -> None:
        least = sorted(self._values, key=_order)
        limit = least[_KEPT - 1][0]
        kept = [key for key in least if key[0] <= limit]
        if len(kept) > 2 * _KEPT:  # one value in that many kinds cannot be
            kept = kept[: 2 * _KEPT]
        self._values = {key: self._values[key] for key in kept}
        self._limit = limit

    def __add__(self, other: Tally) -> Tally:
        total = Tally()
        total += self
        total += other
        return total

    def __iadd__(self, other: Tally) -> Self:
        """The same without a copy of this side, whose values may be many more than the other's."""
        self.records += other.records
        self.changed += other.changed
        self.dropped += other.dropped
        self.bad += other.bad
        self.characters += other.characters
        self.unscanned |= other.unscanned
        self.excepted.update(other.excepted)
        self.kinds.update(other.kinds)
        if other._limit and (not self._limit or other._limit < self._limit):
            self._limit = other._limit
            self._values = {key: value for key, value in self._values.items() if key[0] <= self._limit}
        for key, (record, times) in other._values.items():
            if not self._limit or key[0] <= self._limit:
                self._value(key, record, times)
        return self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tally) and self._said() == other._said()

    __hash__ = None  # type: ignore[assignment]

    def _said(self) -> Key:
        plain = (self.records, self.changed, self.dropped, self.bad, self.characters, self.unscanned, self.excepted)
        return (*plain, self.kinds, self.found())

    @property
    def counts(self) -> Mapping[str, int]:
        """Findings by type."""
        counts: Counter[str] = Counter()
        for kind, times in self.kinds.items():
            counts[kind[0]] += times
        return dict(sorted(counts.items()))

    @property
    def findings(self) -> int:
        return self.kinds.total()

    def found(self) -> tuple[Found, ...]:
        """At most ``MAX_KEPT`` rows. Values beyond those that are kept stand in one row for each kind, as one value."""
        room = max(0, min(_KEPT, MAX_KEPT - len(self.kinds)))
        rest = Counter(self.kinds)
        rows = []
        for key in sorted(self._values, key=_order)[:room]:
            identity, kind, person = key
            record, times = self._values[key]
            rows.append(_found(*kind, identity, record, record, person, times))
            rest[kind] -= times
        rows += [_found(*kind, "", 0, 0, "", times) for kind, times in sorted(rest.items(), key=repr) if times]
        return tuple(rows[:MAX_KEPT])

    def __repr__(self) -> str:
        return f"Tally({self.records} records, {self.counts})"


def _order(key: tuple[str, Key, str]) -> tuple[str, str, str]:
    return key[0], repr(key[1]), key[2]
