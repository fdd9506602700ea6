"""The tree against RFC 9162's own recursive definitions, and against tampering."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard.audit import merkle

LEAVES = [merkle.leaf_hash(str(i).encode()) for i in range(70)]


def mth(leaves: list[bytes]) -> bytes:
    """RFC 9162 §2.1.1 as it is written."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = split(len(leaves))
    return hashlib.sha256(b"\x01" + mth(leaves[:k]) + mth(leaves[k:])).digest()


def path(m: int, leaves: list[bytes]) -> list[bytes]:
    """RFC 9162 §2.1.3.1."""
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    return [*path(m, leaves[:k]), mth(leaves[k:])] if m < k else [*path(m - k, leaves[k:]), mth(leaves[:k])]


def subproof(m: int, leaves: list[bytes], known: bool) -> list[bytes]:
    """RFC 9162 §2.1.4.1."""
    if m == len(leaves):
        return [] if known else [mth(leaves)]
    k = split(len(leaves))
    if m <= k:
        return [*subproof(m, leaves[:k], known), mth(leaves[k:])]
    return [*subproof(m - k, leaves[k:], False), mth(leaves[:k])]


def split(n: int) -> int:
    k = 1
    while 2 * k < n:
        k *= 2
    return k


def nodes(level: int, index: int) -> bytes:
    assert (index + 1) << level <= len(LEAVES), "only complete subtrees exist"
    return mth(LEAVES[index << level : (index + 1) << level])


SIZES = st.integers(min_value=1, max_value=len(LEAVES))


@st.composite
def pairs(draw: st.DrawFn) -> tuple[int, int]:
    """(index or old size - 1, size)"""
    size = draw(SIZES)
    return draw(st.integers(min_value=0, max_value=size - 1)), size


@st.composite
def alterations(draw: st.DrawFn, proof: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """The proof with one bit changed, one hash removed, or one added."""
    pieces = list(proof)
    how = draw(st.sampled_from(["bit", "cut", "more"] if pieces else ["more"]))
    at = draw(st.integers(min_value=0, max_value=max(0, len(pieces) - 1)))
    if how == "bit":
        bit = draw(st.integers(min_value=0, max_value=255))
        pieces[at] = (int.from_bytes(pieces[at], "big") ^ (1 << bit)).to_bytes(32, "big")
    elif how == "cut":
        del pieces[at]
    else:
        pieces.insert(at, draw(st.sampled_from(LEAVES)))
    return tuple(pieces)


def test_known_roots() -> None:
    assert merkle.root(0, nodes).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert merkle.leaf_hash(b"").hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"


@given(SIZES)
def test_roots_equal_the_definition(size: int) -> None:
    frontier = merkle.Frontier()
    assert frontier.root() == merkle.EMPTY
    for leaf in LEAVES[:size]:
        frontier.push(leaf)
    assert merkle.root(size, nodes) == frontier.root() == mth(LEAVES[:size])


@given(pairs())
def test_inclusion_proofs_equal_the_definition_and_hold(at: tuple[int, int]) -> None:
    index, size = at
    proof = merkle.inclusion(index, size, nodes)
    assert list(proof) == path(index, LEAVES[:size])
    assert merkle.includes(LEAVES[index], index, size, proof, mth(LEAVES[:size]))


@given(pairs())
def test_consistency_proofs_equal_the_definition_and_hold(at: tuple[int, int]) -> None:
    old, new = at[0] + 1, at[1]
    proof = merkle.consistency(old, new, nodes)
    assert list(proof) == subproof(old, LEAVES[:new], True)
    assert merkle.extends(old, new, mth(LEAVES[:old]), mth(LEAVES[:new]), proof)


@given(pairs(), st.data())
def test_an_altered_inclusion_proof_never_holds(at: tuple[int, int], data: st.DataObject) -> None:
    index, size = at
    proof = merkle.inclusion(index, size, nodes)
    head = mth(LEAVES[:size])
    assert not merkle.includes(LEAVES[index], index, size, data.draw(alterations(proof)), head)
    other = data.draw(st.integers(min_value=-2, max_value=size + 2).filter(lambda i: i != index))
    assert not merkle.includes(LEAVES[index], other, size, proof, head)
    assert not merkle.includes(merkle.leaf_hash(b"another"), index, size, proof, head)
    assert not merkle.includes(LEAVES[index], index, size, proof, merkle.leaf_hash(b"another"))
    assert not merkle.includes(LEAVES[index], index, index, proof, head)


@given(pairs(), st.data())
def test_an_altered_consistency_proof_never_holds(at: tuple[int, int], data: st.DataObject) -> None:
    old, new = at[0] + 1, at[1]
    proof = merkle.consistency(old, new, nodes)
    heads = mth(LEAVES[:old]), mth(LEAVES[:new])
    assert not merkle.extends(old, new, *heads, data.draw(alterations(proof)))
    assert not merkle.extends(old, new, merkle.leaf_hash(b"another"), heads[1], proof)
    assert not merkle.extends(old, new, heads[0], merkle.leaf_hash(b"another"), proof)
    assert not merkle.extends(new + 1, new, *heads, proof)
    assert not merkle.extends(-1, new, *heads, proof)


@given(pairs(), st.data())
def test_a_forked_log_is_never_consistent(at: tuple[int, int], data: st.DataObject) -> None:
    old, new = at[0] + 1, at[1]
    fork = list(LEAVES[:new])
    fork[data.draw(st.integers(min_value=0, max_value=old - 1))] = merkle.leaf_hash(b"rewritten")
    proof = merkle.consistency(old, new, lambda level, i: mth(fork[i << level : (i + 1) << level]))
    assert not merkle.extends(old, new, mth(LEAVES[:old]), mth(fork), proof)


def test_every_tree_continues_the_empty_one() -> None:
    assert merkle.extends(0, 3, merkle.EMPTY, mth(LEAVES[:3]), ())
    assert not merkle.extends(0, 3, LEAVES[0], mth(LEAVES[:3]), ())


@pytest.mark.parametrize(("start", "end"), [(-1, 3), (3, 3), (4, 3)])
def test_proofs_outside_of_the_tree_are_refused(start: int, end: int) -> None:
    with pytest.raises(ValueError, match="needs"):
        merkle.inclusion(start, end, nodes)
    with pytest.raises(ValueError, match="needs"):
        merkle.consistency(start + 1 if start >= end else start, end, nodes)


def test_proofs_of_huge_trees_stay_small() -> None:
    size = 2**62 - 1
    assert len(merkle.inclusion(5, size, lambda level, index: b"n" * 32)) <= 62
    assert len(merkle.consistency(2**61 + 1, size, lambda level, index: b"n" * 32)) <= 63
