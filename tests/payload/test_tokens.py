"""Tokens: text that was sent as ids is looked at, redacted, and sent as ids again."""

from __future__ import annotations

import json
from typing import Any

import bpe_openai
import pytest

from llmguard.payload import tokens
from llmguard.payload.extract import extract
from tests.payload.test_extract import call

TEXT = "write to jane@example.org, naïve 😀"


def ids(text: str, encoding: str = "cl100k_base") -> list[int]:
    return list(bpe_openai.get_encoding(encoding).encode_ordinary(text))


def texts_of(value: Any, encoding: str = "cl100k_base") -> str:
    return str(bpe_openai.get_encoding(encoding).decode(value))


@pytest.mark.parametrize(
    ("path", "model", "key", "encoding"),
    [
        ("/embeddings", "text-embedding-3-small", "input", "cl100k_base"),
        ("/completions", "gpt-3.5-turbo-instruct", "prompt", "cl100k_base"),
        ("/completions", "gpt-4o", "prompt", "o200k_base"),
        ("/deployments/gpt-4o/completions", None, "prompt", "o200k_base"),
    ],
)
@pytest.mark.parametrize("several", [False, True])
def test_tokens_are_redacted_as_tokens(path: str, model: str | None, key: str, encoding: str, several: bool) -> None:
    value = [ids("plain", encoding), ids(TEXT, encoding)] if several else ids(TEXT, encoding)
    body = {"n": [[], "[1,2]"], key: value} | ({"model": model} if model else {})
    found = extract(call(body, path))
    assert found.unscanned == ()
    [index] = [i for i, p in enumerate(found.parts) if p.text == TEXT and p.redactable]
    edited = json.loads(found.rebuild({index: "write to [E], naïve 😀"}))
    assert edited | {key: value} == body
    assert texts_of(edited[key][1] if several else edited[key], encoding) == "write to [E], naïve 😀"
    if several:
        assert edited[key][0] == value[0]


def test_tokens_of_an_unknown_model_are_looked_at_and_held() -> None:
    found = extract(call({"model": "our-own", "input": ids(TEXT, "o200k_base")}, "/embeddings"))
    assert found.unscanned == ("tokens",)
    assert TEXT in {p.text for p in found.parts}
    assert not any(p.redactable for p in found.parts)


def test_special_tokens_are_not_rewritten() -> None:
    found = extract(call({"model": "gpt-4", "prompt": [*ids("hi jane"), 100257]}, "/completions"))
    assert [(p.text, p.redactable) for p in found.parts] == [("hi jane<|endoftext|>", False)]


@pytest.mark.parametrize("value", [[10**7], [10**6], [1, "x"], [1.5, 2], [-1], ids("😀")[:1]])
def test_what_is_no_text_counts_as_not_looked_into(value: list[Any]) -> None:
    assert extract(call({"model": "gpt-4", "prompt": value}, "/completions")).unscanned == ("tokens",)


def test_edited_tokens_say_what_they_should() -> None:
    assert tokens.decoded([str(i) for i in json.loads(tokens.encoded("o200k_base", TEXT))], "o200k_base") == (
        TEXT,
        True,
    )
