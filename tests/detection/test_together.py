"""Many texts looked through at once: each shows what it shows alone."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmguard import catalogue
from llmguard.catalogue import fill, spans
from llmguard.detection import Engine
from llmguard.detection.together import edged, possible
from llmguard.model import TextPart

ENGINE = Engine(catalogue.load())
EXAMPLES = [
    spans(fill(example, seed=i))[0]
    for i, detector in enumerate(ENGINE.detectors)
    for example in (*detector.match, *detector.no_match)
]
LABELS = st.sampled_from(["", "password", "email", "note", "iban", "customer id"])
PIECES = st.one_of(
    st.sampled_from(EXAMPLES),
    st.sampled_from(
        ["", "\n", "\0", "password:", "jane", "4111", "é", "j a n e @ x . c o m", "x" * 17000, "=40", "%41%42"]
    ),
    st.text(max_size=20),
)
PARTS = st.builds(
    lambda pieces, label: TextPart("".join(pieces), "text", label=label), st.lists(PIECES, max_size=3), LABELS
)


def test_every_example_of_the_catalogue_is_found_among_others_as_alone() -> None:
    parts = [TextPart(text, "text", label=label) for text in EXAMPLES for label in ("", "password")]
    assert ENGINE.each(parts) == [ENGINE.scan((part,))[0] for part in parts]


@settings(max_examples=150, deadline=None)
@given(st.lists(PARTS, max_size=12))
def test_a_text_shows_the_same_whatever_stands_beside_it(parts: list[TextPart]) -> None:
    assert ENGINE.each(parts) == [ENGINE.scan((part,))[0] for part in parts]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(PARTS, max_size=4), max_size=6))
def test_records_show_what_each_shows_alone_values_over_seams_too(records: list[list[TextPart]]) -> None:
    assert ENGINE.records(records) == [ENGINE.scan(parts) for parts in records]


def test_a_value_cut_over_two_parts_of_a_record_is_found() -> None:
    first, second = TextPart("mail jane.doe@exam", "/0"), TextPart("ple.com now", "/1")
    found = ENGINE.records([[first, second], [first], [second]])
    assert [sum(map(len, parts)) for parts in found] == [2, 0, 0]


@pytest.mark.parametrize(
    ("expression", "asks"),
    [(rb"^a", True), (rb"a$", True), (rb"[^a]b", False), (rb"\$1\^", False), (rb"(?:^|x)y", True)],
)
def test_expressions_that_ask_for_an_edge_are_told_from_others(expression: bytes, asks: bool) -> None:
    assert edged(expression) is asks


def test_an_expression_that_asks_for_the_end_of_all_text_forbids_looking_together() -> None:
    assert possible([rb"a$", rb"^b"])
    assert not possible([rb"a\z"])
