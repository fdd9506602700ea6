"""Spots: where something was found, told without a word that a record chose, and what stayed is covered."""

from __future__ import annotations

import pytest

from llmguard.census.spots import masked, spots, where
from llmguard.model import Finding, TextPart


def found(type_: str, text: str, value: str) -> Finding:
    start = text.index(value)
    return Finding(start, start + len(value), type_, "pii", 0.9, "test", "high")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("/messages/0/content", "messages 1 content"),
        ("/messages/2/tool_calls/0/function/arguments#/jane", "messages 3 tool_calls 1 function arguments …"),
        ("/reference/jane@example.com", "… …"),
        ("/17/3", "column 4"),
        ("text", "text"),
    ],
)
def test_an_address_is_told_in_words_of_formats_alone(address: str, said: str) -> None:
    assert where(address) == said


def test_what_comes_most_often_comes_first_and_there_is_an_end() -> None:
    parts = [TextPart("a b a", "/messages/0/content"), TextPart("a", "/prompt")]
    one = found("PERSON", "a b a", "a")
    findings = [(one, one, found("EMAIL", "a b a", "b")), (one,)]
    assert spots(parts, findings, 2) == (("PERSON", "messages 1 content", 2), ("EMAIL", "messages 1 content", 1))


def test_a_value_that_could_not_be_replaced_is_covered_and_others_stay() -> None:
    value = "Zoë Quinn"
    stays = TextPart(value, "/id", redactable=False)
    free = TextPart("a b", "/prompt")
    text = '{"id": "Zo\\u00eb Quinn", "x": "Zoë Quinn", "prompt": "a b"}'
    covered = masked(text, [stays, free], [(found("PERSON", value, value),), (found("PERSON", "a b", "a b"),)])
    assert covered == '{"id": "‹PERSON›", "x": "‹PERSON›", "prompt": "a b"}'
