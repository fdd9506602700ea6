"""The data set benchmark: a file of valid lines that is the same each time, and a search that finds what is left."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest

from benchmarks.dataset import seek
from benchmarks.dataset.corpus import Corpus, Plant, letters
from llmguard.payload.json import parse
from llmguard.payload.lines import problem

SIZE = 300_000


def plant(value: str, kind: str = "token") -> Plant:
    return Plant(kind, value, letters(value), "plain", 0)


def left(plants: list[Plant], *texts: str) -> list[str]:
    return [p.value for p in seek.left(plants, [text.encode() + b"\n" for text in texts])]


def test_the_corpus_is_the_same_for_the_same_seed_and_of_valid_lines() -> None:
    corpus = Corpus(SIZE, seed=3)
    data = b"".join(corpus.chunks())
    lines = data.splitlines()
    assert SIZE <= len(data) < 1.2 * SIZE
    assert corpus.lines == len(lines) == len(set(lines))
    assert not [message for line in lines if (message := problem("sft", parse(line).value))]
    again = Corpus(SIZE, seed=3)
    assert b"".join(again.chunks()) == data
    assert again.plants == corpus.plants
    assert b"".join(Corpus(SIZE, seed=4).chunks()) != data


@pytest.mark.parametrize("names", [False, True])
def test_everything_planted_is_found_where_nothing_was_cleaned(names: bool) -> None:
    corpus = Corpus(SIZE, names=names)
    data = list(corpus.chunks())
    assert corpus.plants
    assert {id(p) for p in seek.left(corpus.plants, data)} == {id(p) for p in corpus.plants}
    values = [p for p in corpus.plants if p.kind not in ("PERSON", "ADDRESS")]
    assert not seek.left(values, Corpus(SIZE, seed=9, names=names).chunks())


def test_a_value_is_found_through_every_encoding() -> None:
    value = "Zk4pQ-92xWv_7tLm"
    told = f"the token is {value}, keep it"
    hidden = [
        told,
        json.dumps({"a": json.dumps({"b": told})}),
        "".join(f"\\u{ord(c):04X}" for c in value),
        "\\\\u005a" + value[1:],
        base64.b64encode(told.encode()).decode(),
        base64.urlsafe_b64encode(b"x" + told.encode()).decode().rstrip("="),
        "?key=" + quote(value, safe=""),
        "?key=" + "".join(f"%{b:02X}" for b in value.encode()),
        value.swapcase(),
        " ".join(value),
        value[:14],
        value[-14:],
    ]
    for text in hidden:
        assert left([plant(value)], "before", text, "behind") == [value], text
    for text in (value[:8], value[-8:], value[::-1]):
        assert left([plant(value)], text) == []


def test_short_values_are_found_whole_and_names_in_any_script() -> None:
    assert left([plant("123-45-6789")], "SSN 123-45-6789") == ["123-45-6789"]
    assert left([plant("123-45-6789")], "SSN 123-45-678") == []
    for name in ("Élodie Nuñez", "Ганна Ткач", "王小明"):
        assert left([plant(name, "PERSON")], json.dumps({"a": name})) == [name]
        assert left([plant(name, "PERSON")], json.dumps({"a": name}, ensure_ascii=False)) == [name]


def test_nothing_planted_is_nothing_left() -> None:
    assert seek.left([], [b"text\n"]) == []
