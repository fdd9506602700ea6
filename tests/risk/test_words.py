"""Words: every type that we find, in one and in many, as a reviewer would say it."""

from __future__ import annotations

import pytest

from llmguard import catalogue
from llmguard.model import EVASION
from llmguard.risk import words

TYPES = sorted({d.type for d in catalogue.load()} | {"PERSON", "ADDRESS", EVASION})
PLAIN = (
    "key",
    "keys",
    "token",
    "tokens",
    "number",
    "numbers",
    "password",
    "passwords",
    "code",
    "codes",
    "seed",
    "hash",
)
ACRONYMS = {"IBAN", "PIN"}


@pytest.mark.parametrize("type_", TYPES)
def test_every_type_of_the_catalogue_has_words(type_: str) -> None:
    one, many = words.named(type_), words.named(type_, 2)
    assert one != many
    assert "_" not in one + many
    assert type_ in words._WORDS or type_ in ACRONYMS or one.split()[-1] in (*PLAIN, "secret"), one


@pytest.mark.parametrize(
    ("type_", "count", "said"),
    [
        ("CREDIT_CARD", 1, "1 card number"),
        ("CREDIT_CARD", 1200, "1,200 card numbers"),
        ("OPENAI_KEY", 2, "2 OpenAI keys"),
        ("PASSWORD_HASH", 2, "2 password hashes"),
        ("IBAN", 2, "2 IBANs"),
        ("OUR_FACTORY", 2, "2 our factories"),
        ("PROJECT_GATEWAY", 2, "2 project gateways"),
        ("", 1, "1 finding"),
    ],
)
def test_one_and_many(type_: str, count: int, said: str) -> None:
    assert words.counted(type_, count) == said


@pytest.mark.parametrize(
    "kind",
    ["names", "tokens", "nesting", "encrypted", "image", "audio", "video", "file", "archive", "pdf"],
)
def test_what_nobody_looked_into_has_words(kind: str) -> None:
    assert words.unseen(kind).endswith((" not read", "names", "end", "at", "to", "watched", "opened"))
    assert words.unseen(f"new-{kind}") == f"new-{kind}: a part that was not looked into"


def test_a_file_that_never_passed_has_words() -> None:
    assert words.unseen("unknown_file") == "a model learns from a file that did not pass this guard"


def test_lists_read_as_lists() -> None:
    assert [words.listed(x) for x in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]
