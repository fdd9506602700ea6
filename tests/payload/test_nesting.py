"""Nesting: the depth is exact in valid JSON, however it is cut."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmguard.payload.nesting import Nesting

LEAF = st.sampled_from(["@", "x @ y", '"@"', "\\@", "@\\", "\n@", "", "{", "[1", "é@"])
TREES = st.recursive(
    LEAF | st.integers() | st.none() | st.booleans(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text('k"\\', max_size=2), inner, max_size=3)
        | st.lists(inner, min_size=1, max_size=2).map(json.dumps)
        | st.dictionaries(st.just("k"), inner, min_size=1).map(lambda v: json.dumps(v, indent=1))
    ),
    max_leaves=8,
)


def depths(value: Any, depth: int = 0) -> list[int]:
    """How often each ``@`` of a value is encoded as a string."""
    if isinstance(value, dict):
        return [d for k, v in value.items() for d in depths(k, depth) + depths(v, depth)]
    if isinstance(value, list):
        return [d for v in value for d in depths(v, depth)]
    if not isinstance(value, str):
        return []
    try:
        inner = json.loads(value) if value.lstrip()[:1] in ("{", "[") else None
    except ValueError:
        inner = None
    return [depth + 1] * value.count("@") if inner is None else depths(inner, depth + 1)


@given(st.lists(TREES, max_size=3), st.lists(st.integers(1, 4), max_size=30), st.sampled_from([None, 1]))
@settings(max_examples=400, deadline=None)
def test_depth_of_valid_json_is_exact_for_any_cut(tree: Any, sizes: list[int], indent: int | None) -> None:
    text = json.dumps(tree, indent=indent)
    cuts, at = {i for i, c in enumerate(text) if c == "@"}, 0
    marks = sorted(cuts)
    for size in sizes:
        at += size
        cuts.add(min(at, len(text)))
    nesting, found, before = Nesting(), {}, 0
    for cut in [*sorted(cuts), len(text)]:
        nesting.advance(text[before:cut])
        found[cut] = nesting.depth
        before = cut
    assert [found[m] for m in marks] == depths(tree)


@pytest.mark.parametrize("text", ["hello", 'he said "x', "[see] it", '[1] he said "x', '{not json "x', '["a"] then "x'])
def test_text_that_is_no_json_has_no_depth(text: str) -> None:
    nesting = Nesting()
    for character in text:
        nesting.advance(character)
    assert nesting.depth == 0
