"""The Merkle tree of RFC 9162 §2.1: hashes, roots, proofs and their verification. Pure functions, no storage.

A node (level, index) is the hash over the complete subtree of leaves ``index << level`` up to ``(index + 1) << level``;
level 0 holds the leaf hashes. Proofs are made over a reader of such nodes. Every loop is bounded by the bits of a size.
A proof says nothing about the size itself: only a signed checkpoint binds a root to its size.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

Nodes = Callable[[int, int], bytes]
"""Hash of the node (level, index). It is asked for complete subtrees only."""
EMPTY = hashlib.sha256(b"").digest()
"""Root of the tree without leaves (RFC 9162 §2.1.1)."""


def leaf_hash(leaf: bytes) -> bytes:
    """RFC 9162 §2.1.1: SHA-256(0x00 ‖ leaf)."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """RFC 9162 §2.1.1: SHA-256(0x01 ‖ left ‖ right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root(size: int, nodes: Nodes) -> bytes:
    """The tree head of the first ``size`` leaves (RFC 9162 §2.1.1)."""
    return _range(0, size, nodes) if size else EMPTY


def inclusion(index: int, size: int, nodes: Nodes) -> tuple[bytes, ...]:
    """The path from leaf ``index`` to the root of ``size`` leaves, lowest first (RFC 9162 §2.1.3.1)."""
    if not 0 <= index < size:
        raise ValueError("an inclusion proof needs 0 <= index < size")
    start, end = 0, size
    path = []
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(_range(middle, end, nodes))
            end = middle
        else:
            path.append(_range(start, middle, nodes))
            start = middle
    return tuple(reversed(path))


def consistency(old: int, new: int, nodes: Nodes) -> tuple[bytes, ...]:
    """That the tree of ``old`` leaves is a prefix of the tree of ``new`` (RFC 9162 §2.1.4.1)."""
    if not 0 < old <= new:
        raise ValueError("a consistency proof needs 0 < old <= new")
    start, end = 0, new
    path = []
    while old < end:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(_range(middle, end, nodes))
            end = middle
        else:
            path.append(_range(start, middle, nodes))
            start = middle
    if start:  # else the verifier holds this node already: it is the old root
        path.append(_range(start, end, nodes))
    return tuple(reversed(path))


def includes(leaf: bytes, index: int, size: int, proof: Sequence[bytes], head: bytes) -> bool:
    """Whether ``proof`` shows the leaf hash at ``index`` under ``head`` (RFC 9162 §2.1.3.2)."""
    if not 0 <= index < size:
        return False
    fn, sn, found = index, size - 1, leaf
    for step in proof:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            found = node_hash(step, found)
            fn, sn = _skip_right_edge(fn, sn)
        else:
            found = node_hash(found, step)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and found == head


def extends(old: int, new: int, old_head: bytes, new_head: bytes, proof: Sequence[bytes]) -> bool:
    """Whether ``proof`` shows that ``new_head`` continues ``old`` (RFC 9162 §2.1.4.2). All continue the empty tree."""
    if old == 0 or old == new:
        return 0 <= old <= new and not proof and old_head == (new_head if old == new else EMPTY)
    if not 0 < old < new or not proof:
        return False
    path = [old_head, *proof] if old & (old - 1) == 0 else list(proof)
    fn, sn = old - 1, new - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    first = second = path[0]
    for step in path[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            first, second = node_hash(step, first), node_hash(step, second)
            fn, sn = _skip_right_edge(fn, sn)
        else:
            second = node_hash(second, step)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and first == old_head and second == new_head


class Frontier:
    """A tree that grows leaf by leaf and keeps its right edge only: at most one hash per bit of its size."""

    __slots__ = ("_edge", "size")

    def __init__(self) -> None:
        self.size = 0
        self._edge: list[bytes] = []  # complete subtrees, largest first: one for each bit that is set in size

    def push(self, leaf: bytes) -> None:
        """Adds a leaf hash."""
        merges = self.size
        while merges & 1:
            leaf = node_hash(self._edge.pop(), leaf)
            merges >>= 1
        self._edge.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        return _fold(self._edge) if self._edge else EMPTY


def _split(n: int) -> int:
    """The largest power of two smaller than ``n`` (``n`` > 1)."""
    return 1 << ((n - 1).bit_length() - 1)


def _range(start: int, end: int, nodes: Nodes) -> bytes:
    """MTH over the leaves from ``start`` to ``end``: its complete subtrees, folded from the right."""
    edge = []
    while start < end:
        level = (end - start).bit_length() - 1
        edge.append(nodes(level, start >> level))
        start += 1 << level
    return _fold(edge)


def _fold(edge: Sequence[bytes]) -> bytes:
    found = edge[-1]
    for left in reversed(edge[:-1]):
        found = node_hash(left, found)
    return found


def _skip_right_edge(fn: int, sn: int) -> tuple[int, int]:
    """On the right edge a lone node rises unhashed until it becomes a right child."""
    while not fn & 1 and fn != 0:
        fn, sn = fn >> 1, sn >> 1
    return fn, sn
