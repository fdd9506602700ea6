from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard.detection import demands
from llmguard.detection.demands import Demand


@pytest.mark.parametrize(
    ("expression", "demand"),
    [
        (rb"\d{4}", Demand.FIGURES),
        (rb"\b(?:\d{2}[ -]){2}x?", Demand.FIGURES),
        (rb"\d{2}|\d{9}", Demand.NOTHING),
        (rb"(?:\d{3})?\d{3}", Demand.NOTHING),
        (rb"[A-Z2-7]{16}", Demand.LONG),
        (rb"[0-9a-f]{5}(?:[_-][0-9a-f]{4}){2}", Demand.LENGTH),
        (rb"[0-9a-f]{8} [0-9a-f]{8}", Demand.NOTHING),
        (rb"[a-z]{12}|[a-z]{11}", Demand.NOTHING),
        (rb"sk-live-[a-z]{20}", Demand.NOTHING),
        ("[a-z]é".encode(), Demand.BEYOND),
        ("é|e".encode(), Demand.NOTHING),
        (rb"[^0-9]{20}", Demand.NOTHING),
        (rb"[[:digit:]]{9}", Demand.NOTHING),
        (rb"(unclosed", Demand.NOTHING),
    ],
)
def test_a_demand_is_what_every_match_holds(expression: bytes, demand: Demand) -> None:
    assert demands.of(expression) is demand


PIECES = st.sampled_from(
    [rb"\d", rb"[a-f0-9]", rb"x", rb"[ -]", rb"\d{3}", rb"(?:\d|x)", rb"[a-z]{4}", rb"(?:ab|\d\d)?"]
)


@given(st.lists(PIECES, min_size=1, max_size=6), st.text("abx0123 -", max_size=60))
def test_a_text_without_what_is_demanded_has_no_match(pieces: list[bytes], text: str) -> None:
    expression = b"".join(pieces)
    demand = demands.of(expression)
    if demand in demands.TRIGGERS and not re.search(demands.TRIGGERS[demand], text.encode()):
        assert not re.search(expression, text.encode())


@pytest.mark.parametrize(
    ("expression", "branches"),
    [
        (rb"a|b", [b"a", b"b"]),
        (rb"(?i)a|b", [b"(?i)a", b"(?i)b"]),
        (rb"(?:a|b)c|d", [b"(?:a|b)c", b"d"]),
        (rb"[|(]|\||[^]|]x", [b"[|(]", rb"\|", b"[^]|]x"]),
        (b"", [b""]),
    ],
)
def test_alternatives_are_told_apart(expression: bytes, branches: list[bytes]) -> None:
    assert demands.branches(expression) == branches
