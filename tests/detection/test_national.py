from __future__ import annotations

import re

import pytest

from llmguard import catalogue
from llmguard.detection.engine import Engine
from llmguard.model import TextPart
from tests.national_numbers import numbers

RULES = tuple(d for d in catalogue.load() if d.id.startswith(("pii.national", "pii.document", "pii.vehicle")))
WORDS = {d.validator: d for d in RULES if d.id.count(".") == 2 and len(d.id.rpartition(".")[2]) == 2}
NUMBERS = tuple(n for n in numbers(seed=11) if f"national_{n[0].lower()}" in WORDS and len(set(n[2])) > 2)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(RULES)


def covered(engine: Engine, text: str, value: str, label: str = "") -> bool:
    at = text.index(value)
    return any(f.start <= at and f.end >= at + len(value) for f in engine.scan([TextPart(text, label)])[0])


@pytest.mark.parametrize("country", sorted({n[0] for n in NUMBERS}))
def test_a_number_is_found_beside_every_word_of_its_country(engine: Engine, country: str) -> None:
    rule = WORDS[f"national_{country.lower()}"]
    layouts = re.search(r"\(\?P<value>(.*)\)\(\?:\[", rule.pattern)
    assert layouts is not None
    for _, name, value in (n for n in NUMBERS if n[0] == country):
        if re.fullmatch(layouts[1], value):
            for word in rule.context:
                assert covered(engine, f"{word}: {value}, thanks", value), (name, word)


@pytest.mark.parametrize("word", ["national id", "personal number", "numéro d'identité", "رقم الهوية", "证件号码"])
def test_a_generic_word_is_enough_for_a_number_that_proves_itself(engine: Engine, word: str) -> None:
    for value in ("12345678Z", "S0000001I", "8001015009087", "X1234567L"):
        assert covered(engine, f"{word}: {value}", value)


def test_a_key_is_a_word(engine: Engine) -> None:
    assert covered(engine, "8001015009087", "8001015009087", label="identity_number")
    assert covered(engine, "912803456", "912803456", label="passportNumber")


@pytest.mark.parametrize("text", ["{a}", "{a}\n{b}", "{a}, {b}", "{a} and {b}", "{a} und {b}.", "  {a}  "])
def test_a_text_of_identifiers_alone_is_an_answer(engine: Engine, text: str) -> None:
    a, b = "x9613851n", "876 543 210"
    filled = text.format(a=a, b=b)
    assert all(covered(engine, filled, v) for v in (a, b) if v in filled)


@pytest.mark.parametrize(
    "text",
    [
        "at 1700000000000 the id was 8812345",
        "1700000000,1700000000123,0.12345678901",
        "2024-01-15 10:30:45.123456 INFO worker-12 took 120034 us",
        "version 10.15.7-20240115, build 20240115.1234",
        "sha 9f86d081884c7d659a2feaa0c55ad015",
        "Natalia sold 48 clips in April and 12345 in May.",
        "the price is 1.234.567,89 EUR or 999-999",
        "for i in range(1000000): total += 123456789",
        "3.141592653589793",
        "order 4471-88231",
        "passport renewal takes 10 weeks in 2024",
        "VAT is 20 % of 123456",
    ],
)
def test_numbers_of_code_logs_and_prose_are_left_alone(engine: Engine, text: str) -> None:
    assert engine.scan([TextPart(text, "")])[0] == ()
