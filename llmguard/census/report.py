"""Report: what is told of a data set: facts for people (``page``, ``card``) and for programs (``to_json``).

Owns the figures and how sure they are. Never does: hold an original value, or read the clock. Invariant: the same
census gives the same report, byte for byte.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from llmguard.census import alike
from llmguard.census.bounds import Bound, Looked, bounds
from llmguard.census.census import ENCODING, STRATA, Census, Sampled
from llmguard.census.lowest import Counts, Estimate, scaled_to
from llmguard.facts import Facts, Found
from llmguard.model import Risk, Trust
from llmguard.risk.tally import ONE_EACH, RANK

SCHEMA = 1
REPEATS = ((1, "once"), (2, "twice"), (5, "3-5"), (10, "6-10"), (100, "11-100"), (0, "more"))
"""Ends of groups of how often something comes; 0: no end."""
HEADS = ((0, "none"), (1, "1"), (2, "2"), (3, "3"), (5, "4-5"), (10, "6-10"), (20, "11-20"), (0, "more"))
LENGTHS = (64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
"""Tokens up to which a record belongs to a group."""
UNITS = {"csv": "row", "text": "passage", "json": "document"}
_STRINGS_TOLD = 10


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
    """All of it. ``name`` as its owner calls the data set; ``residual`` is there once a reviewer labelled the sample."""

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

    def html(self, *, sample: bool = True) -> str:
        """One file for a browser; nothing is loaded, nothing runs."""
        from llmguard.census.page import page

        return page(self, sample=sample)

    def card(self) -> str:
        """A data card: Markdown under a YAML head."""
        from llmguard.census.card import card

        return card(self)


def report(
    census: Census,
    *,
    name: str,
    layout: str = "jsonl",
    version: str = "",
    risk: Risk | None = None,
    encoding: str = ENCODING,
) -> Report:
    """``version``: of the software that looked. ``risk``: what ``facts_of`` was assessed as."""
    strata = tuple(_strata(census))
    return Report(
        name=name,
        layout=layout,
        version=version,
        records=census.records,
        characters=census.characters,
        received=census.received,
        leaving=census.leaving,
        problems=tuple(sorted(census.problems.items(), key=lambda p: (-p[1], p[0]))),
        types=tuple(_types(census)),
        strata=strata,
        people=_people(census),
        copies=_copies(census),
        alike=_alike(census),
        strings=_strings(census.strings),
        tokens=_tokens(census, encoding),
        sample=tuple(s for name in STRATA for _, s in census.sample[name].ordered()),
        risk=risk,
    )


def facts_of(
    found: Sequence[Found],
    census: Census,
    *,
    unscanned: Iterable[str] = (),
    trust: Trust = "public",
    destination: str = "",
) -> Facts:
    """The facts of a data set that is trained on, for ``policy.risk``. ``found``: ``Tally.found()`` of the same file."""
    return Facts(
        operation="dataset",
        kind="training",
        trust=trust,
        found=tuple(found),
        unscanned=tuple(sorted(set(unscanned))),
        size=census.received,
        characters=census.characters,
        destination=destination,
        partial=sum(f.times for f in found) > len(found),
    )


def _types(census: Census) -> list[Type]:
    counts: Counter[str] = Counter()
    category: dict[str, str] = {}
    severity: dict[str, str] = {}
    for (_, type_, kind, worst), n in sorted(census.findings.items()):
        counts[type_] += n
        category[type_] = kind
        severity[type_] = max(severity.get(type_, worst), worst, key=lambda s: RANK[s])  # type: ignore[index]
    rows = []
    for type_, n in sorted(counts.items(), key=lambda c: (-RANK[severity[c[0]]], -c[1], c[0])):  # type: ignore[index]
        values = census.values[type_]
        rows.append(Type(type_, category[type_], severity[type_], n, values.distinct, values.most, _groups(values)))
    return rows


def _groups(counts: Counts) -> tuple[Group, ...]:
    spread = counts.spread([end for end, _ in REPEATS if end])
    return tuple(Group(name, count) for (_, name), count in zip(REPEATS, spread, strict=True))


def _strata(census: Census) -> Iterable[Stratum]:
    for name in STRATA:
        by: Counter[str] = Counter()
        for (stratum, _, _, severity), n in census.findings.items():
            by[severity] += n if stratum == name else 0
        groups = tuple(Group(s, Estimate(by[s])) for s in RANK)
        kept = len(census.sample[name].ordered())
        yield Stratum(name, census.strata[name], census.strata[name] - census.gone[name], kept, groups)


def _people(census: Census) -> People:
    most, type_ = Estimate(0), ""
    for name, counts in sorted(census.values.items()):
        if name in ONE_EACH and counts.distinct.value > most.value:
            most, type_ = counts.distinct, name
    groups, low = [], -1
    for end, name in HEADS:
        high = end if name != "more" else math.inf
        groups.append(Group(name, Estimate(sum(n for heads, n in census.people.items() if low < heads <= high))))
        low = end
    return People(most, type_, tuple(groups), max(census.people, default=0))


def _copies(census: Census) -> Copies:
    distinct = census.texts.distinct
    surplus = max(0, census.texts.times - distinct.value)
    error = distinct.error * distinct.value / surplus if surplus else 0.0
    return Copies(distinct, Estimate(surplus, error), census.texts.most, _groups(census.texts))


def _alike(census: Census) -> Alike:
    kept = [one for _, one in census.alike.ordered()]
    looked, distinct = len(kept), census.alike.distinct
    sizes = alike.clusters(kept)
    pairs = sum(n * (n - 1) // 2 for n in sizes)
    scale = (distinct.value * (distinct.value - 1)) / (looked * (looked - 1)) if looked > 1 else 1.0
    error = 1 / math.sqrt(pairs) if pairs and distinct.error else 0.0
    groups = [(2, "2"), (3, "3"), (5, "4-5"), (10, "6-10"), (100, "11-100"), (0, "more")]
    rows, low = [], 1
    for end, name in groups:
        high = end or math.inf
        rows.append(Group(name, Estimate(sum(low < n <= high for n in sizes))))
        low = end
    return Alike(
        census.looked_alike, looked, alike.THRESHOLD, sum(sizes), tuple(rows), max(sizes, default=0),
        Estimate(round(pairs * scale), error),
    )  # fmt: skip


def _strings(counts: Counts) -> Strings:
    rows = [(times, first, *note.split(":")) for _, (times, first, note) in counts.ordered()]
    total = counts.distinct
    repeated, alone, _ = scaled_to(
        [sum(r[0] > 1 for r in rows), sum(r[0] == 1 and r[4] == "alone" for r in rows),
         sum(r[0] == 1 and r[4] != "alone" for r in rows)], total,
    )  # fmt: skip
    kinds = sorted(Counter(str(r[2]) for r in rows).items())
    shares = scaled_to([n for _, n in kinds], total)
    like = sorted((r for r in rows if r[0] > 1 or r[4] == "alone"), key=lambda r: (-r[0], r[1], r[2:]))
    told = tuple(Drawn(r[2], int(r[3]), r[0], *r[1], r[4] == "alone") for r in like[:_STRINGS_TOLD])
    return Strings(total, repeated, alone, tuple(Group(k[0], n) for k, n in zip(kinds, shares, strict=True)), told)


def _tokens(census: Census, encoding: str) -> Tokens:
    rows = [payload for _, payload in census.tokens.ordered()]
    counts = sorted(tokens for _, tokens in rows)
    characters = sum(c for c, _ in rows)
    total = Estimate(sum(counts))
    if not census.tokens.whole and characters:
        ratio = total.value / characters
        off = math.sqrt(sum((t - ratio * c) ** 2 for c, t in rows) / max(1, len(rows) - 1) / len(rows))
        total = Estimate(round(ratio * census.characters), off / (total.value / len(rows)) if total.value else 0.0)
    found, low = [], -1
    for high in (*LENGTHS, math.inf):
        found.append(sum(low < n <= high for n in counts))
        low = int(high) if high != math.inf else low
    names = [f"to {n:,}" for n in LENGTHS] + [f"over {LENGTHS[-1]:,}"]
    records = census.records - census.strata["bad"]
    whole = scaled_to(found, Estimate(records, 0.0 if census.tokens.whole else 1e-9))
    groups = tuple(Group(n, c) for n, c in zip(names, whole, strict=True))
    middle = counts[len(counts) // 2] if counts else 0
    return Tokens(encoding, total, len(rows), middle, max(counts, default=0), groups)


def decoded(text: str) -> Report:
    """The reverse of ``to_json``. Raises ValueError."""
    try:
        return _built(Report, json.loads(text))
    except (TypeError, KeyError, AttributeError) as e:
        raise ValueError("this is no report of a data set, or one of another version") from e


def _built(kind: Any, value: Any) -> Any:
    from dataclasses import is_dataclass
    from types import UnionType
    from typing import get_args, get_origin, get_type_hints

    if get_origin(kind) is UnionType:
        return None if value is None else _built(get_args(kind)[0], value)
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        if set(value) != set(hints):
            raise KeyError("fields")
        return kind(**{name: _built(hints[name], value[name]) for name in hints})
    if get_origin(kind) is tuple:
        args = get_args(kind)
        each = [args[0]] * len(value) if args[-1] is Ellipsis else args
        return tuple(_built(k, v) for k, v in zip(each, value, strict=True))
    return value
