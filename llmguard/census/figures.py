"""Figures: a census in, a report out.

Owns how counts and samples become figures, each with its error. Invariant: it depends on nothing but the census.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from llmguard.census import alike
from llmguard.census.census import ENCODING, STRATA, Census
from llmguard.census.lowest import Counts, Estimate, scaled_to
from llmguard.census.report import Alike, Copies, Drawn, Group, People, Report, Stratum, Strings, Tokens, Type
from llmguard.facts import Facts, Found
from llmguard.model import Risk, Trust
from llmguard.risk.tally import ONE_EACH, RANK

REPEATS = ((1, "once"), (2, "twice"), (5, "3-5"), (10, "6-10"), (100, "11-100"), (0, "more"))
"""Ends of groups of how often something comes; 0: no end."""
HEADS = ((0, "none"), (1, "1"), (2, "2"), (3, "3"), (5, "4-5"), (10, "6-10"), (20, "11-20"), (0, "more"))
CLUSTERS = ((2, "2"), (3, "3"), (5, "4-5"), (10, "6-10"), (100, "11-100"), (0, "more"))
LENGTHS = (64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
"""Tokens up to which a record belongs to a group."""
_STRINGS_TOLD = 10


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
    """The facts of a data set that is trained on, for ``policy.risk``. ``found``: ``Tally.found()`` of that file."""
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
    rows, low = [], 1
    for end, name in CLUSTERS:
        high = end or math.inf
        rows.append(Group(name, Estimate(sum(low < n <= high for n in sizes))))
        low = end
    return Alike(
        census.looked_alike, looked, alike.THRESHOLD, sum(sizes), tuple(rows), max(sizes, default=0),
        Estimate(round(pairs * scale), error),
    )  # fmt: skip


def _strings(counts: Counts) -> Strings:
    rows = [_drawn(*count) for _, count in counts.ordered()]
    total = counts.distinct
    like = [d for d in rows if d.times > 1 or d.alone]
    back = sum(d.times > 1 for d in like)
    repeated, alone, _ = scaled_to([back, len(like) - back, len(rows) - len(like)], total)
    kinds = sorted(Counter(d.kind for d in rows).items())
    shares = scaled_to([n for _, n in kinds], total)
    groups = tuple(Group(kind, share) for (kind, _), share in zip(kinds, shares, strict=True))
    like.sort(key=lambda d: (-d.times, d.source, d.record, d.kind, d.length))
    return Strings(total, repeated, alone, groups, tuple(like[:_STRINGS_TOLD]))


def _drawn(times: int, first: tuple[str, int], note: str) -> Drawn:
    kind, length, where = note.split(":")
    return Drawn(kind, int(length), times, *first, where == "alone")


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
