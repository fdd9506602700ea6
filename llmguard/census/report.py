"""Report: what is told of a data set: facts for people (``page``, ``card``) and for programs (``to_json``).

Owns the figures and how sure they are. Never does: hold an original value, or read the clock. Invariant: the same
census gives the same report, byte for byte.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, is_dataclass, replace
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from llmguard.census.bounds import Bound, Looked, bounds
from llmguard.census.census import Sampled
from llmguard.census.lowest import Estimate
from llmguard.model import Risk

SCHEMA = 1
UNITS = {"csv": "row", "text": "passage", "json": "document"}


@dataclass(frozen=True, slots=True)
class Group:
    """One bar of a picture."""

    name: str
    count: Estimate


@dataclass(frozen=True, slots=True)
class Type:
    """Findings of one type: how many, of how many distinct values, how often the most frequent value comes (at least,
    at most), and values by how often they come.
    """

    type: str
    category: str
    severity: str
    findings: int
    values: Estimate
    most: tuple[int, int]
    repeats: tuple[Group, ...]


@dataclass(frozen=True, slots=True)
class Stratum:
    """Records by the worst that was found in them; how many of them leave, and their findings by severity."""

    name: str
    records: int
    leaving: int
    sampled: int
    findings: tuple[Group, ...]


@dataclass(frozen=True, slots=True)
class People:
    """Distinct values of the type of which somebody has about one and of which there are most; people by record."""

    distinct: Estimate
    type: str
    records: tuple[Group, ...]
    most: int


@dataclass(frozen=True, slots=True)
class Copies:
    """Records that are equal, text by text: distinct ones, how many records more than those there are, how often the
    most frequent one comes (at least, at most), and distinct ones by how often.
    """

    distinct: Estimate
    surplus: Estimate
    most: tuple[int, int]
    groups: tuple[Group, ...]


@dataclass(frozen=True, slots=True)
class Alike:
    """Distinct records that share most of their words, of ``looked`` that were compared with each other: how many
    have such a neighbour, clusters by size, and pairs in the whole data set. ``installed``: else none was compared.
    """

    installed: bool
    looked: int
    threshold: float
    records: int
    clusters: tuple[Group, ...]
    largest: int
    pairs: Estimate


@dataclass(frozen=True, slots=True)
class Drawn:
    """One kind of canary-like string: of ``length`` characters, so many times, first in this record."""

    kind: str
    length: int
    times: int
    source: str
    record: int
    alone: bool


@dataclass(frozen=True, slots=True)
class Strings:
    """Strings that look drawn: distinct ones, those that come back, those that stand alone; the most frequent."""

    distinct: Estimate
    repeated: Estimate
    alone: Estimate
    kinds: tuple[Group, ...]
    told: tuple[Drawn, ...]


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens of all texts as they were written, without what a chat format adds. ``counted``: of so many records."""

    encoding: str
    total: Estimate
    counted: int
    median: int
    largest: int
    groups: tuple[Group, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """All of it. ``name`` as its owner calls the data set; ``residual``: once a reviewer labelled the sample."""

    name: str
    layout: str
    version: str
    records: int
    characters: int
    received: int
    leaving: int
    problems: tuple[tuple[str, int], ...]
    types: tuple[Type, ...]
    strata: tuple[Stratum, ...]
    people: People
    copies: Copies
    alike: Alike
    strings: Strings
    tokens: Tokens
    sample: tuple[Sampled, ...]
    risk: Risk | None = None
    residual: tuple[Bound, ...] = ()
    schema: int = SCHEMA

    @property
    def unit(self) -> str:
        """What a record is: a record, row or passage."""
        return UNITS.get(self.layout, "record")

    @property
    def findings(self) -> int:
        return sum(t.findings for t in self.types)

    @property
    def gone(self) -> int:
        """Records that do not leave."""
        return sum(s.records - s.leaving for s in self.strata)

    def labelled(self, labels: Mapping[str, Looked]) -> Report:
        """With what a reviewer found in the sample, by stratum. Raises ValueError for more than was sampled."""
        for name, label in labels.items():
            if label.records > next((s.sampled for s in self.strata if s.name == name), 0):
                raise ValueError(f"more was looked at in the stratum {name!r} than was sampled")
        return replace(self, residual=bounds({s.name: s.leaving for s in self.strata}, labels))

    def to_json(self, *, sample: bool = True) -> str:
        """Canonical: sorted keys. ``sample``: with the texts that were drawn for the reviewer."""
        whole = asdict(self if sample else replace(self, sample=()))
        return json.dumps(whole, sort_keys=True, ensure_ascii=False, indent=1) + "\n"

    @classmethod
    def of_json(cls, text: str) -> Report:
        """The reverse of ``to_json``. Raises ValueError."""
        try:
            made: Report = _built(cls, json.loads(text))
        except (TypeError, KeyError, AttributeError) as e:
            raise ValueError("this is no report of a data set, or one of another version") from e
        return made

    def fitted(self, most: int) -> Report:
        """With the texts of the sample cut, all at the same length, so that it has at most so many bytes as JSON in
        ASCII, if the rest of it is small enough."""
        sizes = [len(json.dumps(s.text)) for s in self.sample]
        room = most - (len(json.dumps(asdict(replace(self, sample=_cut(self.sample, 0))))) + len(self.sample))
        if sum(sizes) <= room:
            return self
        low, high = 0, max(sizes)
        while low < high:
            middle = (low + high + 1) // 2
            written = sum(len(json.dumps(s.text[:middle])) for s in self.sample)
            low, high = (middle, high) if written <= room else (low, middle - 1)
        return replace(self, sample=_cut(self.sample, low))

    def html(self, *, sample: bool = True) -> str:
        """One file for a browser; nothing is loaded, nothing runs. ``sample`` as in ``to_json``."""
        from llmguard.census.page import page

        return page(self, sample=sample)

    def card(self) -> str:
        """A data card: Markdown under a YAML head."""
        from llmguard.census.card import card

        return card(self)


def _cut(sample: tuple[Sampled, ...], length: int) -> tuple[Sampled, ...]:
    return tuple(replace(s, text=s.text[:length]) for s in sample)


def _built(kind: Any, value: Any) -> Any:
    if get_origin(kind) is UnionType:
        return None if value is None else _built(get_args(kind)[0], value)
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        if set(value) != set(hints):
            raise KeyError("fields of another version")
        make: Any = kind
        return make(**{name: _built(hints[name], value[name]) for name in hints})
    if get_origin(kind) is tuple:
        args = get_args(kind)
        each = [args[0]] * len(value) if args[-1] is Ellipsis else args
        return tuple(_built(k, v) for k, v in zip(each, value, strict=True))
    return value
