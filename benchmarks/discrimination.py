"""How well a figure tells two kinds of documents apart, and what its size means: areas, calibration, ranks."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

Judged = tuple[float, bool]
"""A figure, and whether what it was to tell is so."""
RESAMPLES = 200


def auc(judged: Sequence[Judged]) -> float | None:
    """Area under the ROC curve: how often a true one has the higher figure; ties count half. None without both."""
    right = sum(y for _, y in judged)
    wrong = len(judged) - right
    if not right or not wrong:
        return None
    ranks = _ranks([x for x, _ in judged])
    return (math.fsum(r for r, (_, y) in zip(ranks, judged, strict=True) if y) - right * (right + 1) / 2) / (
        right * wrong
    )


def average_precision(judged: Sequence[Judged]) -> float | None:
    """Mean precision at each true one, by falling figure; equal figures come at once."""
    right = sum(y for _, y in judged)
    if not right:
        return None
    total, hit, seen = 0.0, 0, 0
    for true, count in _falling(judged):
        hit, seen = hit + true, seen + count
        total += true * hit / seen
    return total / right


def roc(judged: Sequence[Judged]) -> list[tuple[float, float]]:
    """Points of the ROC curve: the share of the others that is flagged, the share of the true ones that is."""
    right = sum(y for _, y in judged)
    points, hit, seen = [(0.0, 0.0)], 0, 0
    for true, count in _falling(judged):
        hit, seen = hit + true, seen + count
        points.append(((seen - hit) / max(1, len(judged) - right), hit / max(1, right)))
    return points


def reliability(judged: Sequence[Judged], edges: Sequence[float]) -> list[tuple[float, float, int]]:
    """By bin of a figure of 0-1: its mean, the share that is so, and how many. ``edges``: where bins end, exclusive."""
    bins: dict[int, list[Judged]] = defaultdict(list)
    for x, y in judged:
        bins[sum(x >= edge for edge in edges)].append((x, y))
    return [
        (math.fsum(x for x, _ in inside) / len(inside), sum(y for _, y in inside) / len(inside), len(inside))
        for _, inside in sorted(bins.items())
    ]


def calibration_error(judged: Sequence[Judged]) -> float:
    """Expected calibration error over ten bins of a figure of 0-1."""
    bins = reliability(judged, [i / 10 for i in range(1, 10)])
    return math.fsum(n * abs(said - share) for said, share, n in bins) / len(judged)


def brier(judged: Sequence[Judged]) -> float:
    """Mean squared error of a figure of 0-1."""
    return math.fsum((x - y) ** 2 for x, y in judged) / len(judged)


def spearman(one: Sequence[float], two: Sequence[float]) -> float:
    """Correlation of ranks; 1.0 where one of the two never changes and so nothing is put in another order."""
    a, b = _ranks(one), _ranks(two)
    middle = (len(a) + 1) / 2
    both, mine, other = (
        math.fsum(x * y for x, y in pairs)
        for pairs in (
            [(x - middle, y - middle) for x, y in zip(a, b, strict=True)],
            [(x - middle, x - middle) for x in a],
            [(y - middle, y - middle) for y in b],
        )
    )
    return both / math.sqrt(mine * other) if mine and other else 1.0


def interval(
    judged: Sequence[Judged], groups: Sequence[str], figure: Callable[[Sequence[Judged]], float | None], seed: int = 1
) -> tuple[float, float] | None:
    """95 % bootstrap interval. Whole groups are drawn: documents of one template are not independent."""
    by_group: dict[str, list[Judged]] = defaultdict(list)
    for pair, group in zip(judged, groups, strict=True):
        by_group[group].append(pair)
    names, chance = sorted(by_group), random.Random(seed)
    drawn = []
    for _ in range(RESAMPLES):
        value = figure([pair for name in chance.choices(names, k=len(names)) for pair in by_group[name]])
        if value is not None:
            drawn.append(value)
    drawn.sort()
    return (drawn[int(0.025 * len(drawn))], drawn[int(0.975 * len(drawn))]) if drawn else None


def _falling(judged: Sequence[Judged]) -> Iterator[tuple[int, int]]:
    """By falling figure: how many true ones share it, and how many in all."""
    counts: dict[float, list[int]] = defaultdict(lambda: [0, 0])
    for x, y in judged:
        counts[x][0] += y
        counts[x][1] += 1
    for x in sorted(counts, reverse=True):
        yield counts[x][0], counts[x][1]


def _ranks(values: Sequence[float]) -> list[float]:
    """From 1; equal values share the mean of their ranks."""
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0.0] * len(values)
    start = 0
    while start < len(order):
        end = start
        while end < len(order) and values[order[end]] == values[order[start]]:
            end += 1
        for i in order[start:end]:
            ranks[i] = (start + 1 + end) / 2
        start = end
    return ranks
