"""Alike: texts that are nearly the same: MinHash signatures and the clusters that they make.

Owns signatures (rensa's R-MinHash over a text's words, one byte of each of ``WIDTH`` values: b-bit minwise hashing, Li
and König 2010) and clusters (locality-sensitive hashing over ``BANDS`` bands, candidates compared). Never compares all
pairs: work grows with the texts, not with their square. Without rensa there are no signatures, and reports say so.
"""

from __future__ import annotations

import importlib.util
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache

WIDTH, BANDS = 64, 16
THRESHOLD = 0.8
"""Estimated share of words in common (Jaccard) from which on texts are alike; its standard error is 0.05 there."""
INSTALL = "pip install 'llmguard[data]'"
_ROWS = WIDTH // BANDS
_SEED = 20_190_814
_COMPARED = 8
"""Texts of a bucket, of different clusters, that each further one is compared with."""
_LONGEST = 200_000
"""Characters of a text that are looked at."""


@cache
def available() -> bool:
    """Whether rensa is installed."""
    return importlib.util.find_spec("rensa") is not None


def signature(text: str) -> bytes:
    """``WIDTH`` bytes; two texts have the same byte at a place with the probability of a word in common."""
    from rensa import RMinHash

    made = RMinHash(num_perm=WIDTH, seed=_SEED)
    made.update(text[:_LONGEST].split())
    return array("I", made.digest()).tobytes()[_LOW :: array("I").itemsize]


_LOW = 0 if array("I", [1]).tobytes()[0] else array("I").itemsize - 1


def similarity(one: bytes, other: bytes) -> float:
    """Estimated share of words in common, corrected for bytes that are equal by chance."""
    equal = sum(a == b for a, b in zip(one, other, strict=True)) / WIDTH
    return max(0.0, (equal - 1 / 256) / (1 - 1 / 256))


def clusters(signatures: Sequence[bytes]) -> list[int]:
    """Sizes of clusters of two and more, the largest first. The order of ``signatures`` must be a fixed one."""
    parents = list(range(len(signatures)))
    for band in range(BANDS):
        part = slice(band * _ROWS, (band + 1) * _ROWS)
        buckets: dict[bytes, list[int]] = {}
        for i, one in enumerate(signatures):
            buckets.setdefault(one[part], []).append(i)
        for bucket in buckets.values():
            _join(bucket, signatures, parents)
    sizes = Counter(_root(parents, i) for i in range(len(signatures)))
    return sorted((n for n in sizes.values() if n > 1), reverse=True)


def _join(bucket: Sequence[int], signatures: Sequence[bytes], parents: list[int]) -> None:
    known: dict[int, int] = {}
    for i in bucket:
        root = _root(parents, i)
        if root in known:
            continue
        for other, example in list(known.items()):
            if similarity(signatures[i], signatures[example]) >= THRESHOLD:
                low, high = sorted((_root(parents, other), root))
                parents[high] = low
                break
        else:
            if len(known) < _COMPARED:
                known[root] = i


def _root(parents: list[int], i: int) -> int:
    while parents[i] != i:
        parents[i] = parents[parents[i]]
        i = parents[i]
    return i


def sizes(found: Sequence[int]) -> Mapping[int, int]:
    """How many clusters there are of each size."""
    return dict(sorted(Counter(found).items()))
