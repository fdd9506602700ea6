"""What counts as a canary-like string, and what does not."""

from __future__ import annotations

import random
import string

import pytest

from llmguard.census import report
from llmguard.census.strings import any_in, strings
from llmguard.model import Finding, TextPart
from tests.census.made import census, plain


def drawn(length: int, letters: str, seed: int = 1) -> str:
    rng = random.Random(seed)
    return "".join(rng.choice(letters) for _ in range(length))


MIXED = drawn(40, string.ascii_letters + string.digits)
HEX = drawn(40, string.hexdigits[:16])
DIGITS = drawn(30, string.digits)
UUID = "-".join(drawn(n, string.hexdigits[:16], n) for n in (8, 4, 4, 4, 12))


@pytest.mark.parametrize(("value", "kind"), [(MIXED, "mixed"), (HEX, "hex"), (DIGITS, "digits"), (UUID, "uuid")])
def test_drawn_strings_are_seen_in_text_and_alone(value: str, kind: str) -> None:
    assert list(strings(f"the code is {value}, keep it", ())) == [(value, kind, False)]
    assert list(strings(f" {value}\n", ())) == [(value, kind, True)]
    assert any_in(f"été {value}".encode())


@pytest.mark.parametrize(
    "text",
    [
        "internationalization-of-documentation",
        "getUserAccountBalanceFromDatabaseConnection",
        "/usr/local/lib/python3/site-packages/requests/adapters",
        "=" * 60,
        "1234567890" * 4,
        "abcdefghijklmnopqrstuvwxyz0123456789",
        "0" * 40,
        "the quick brown fox jumps over the lazy dog",
        drawn(600, string.ascii_letters + string.digits),
        drawn(20, string.ascii_letters + string.digits),
    ],
)
def test_words_paths_rulers_counting_and_encoded_files_are_none(text: str) -> None:
    assert not list(strings(f"see {text} there", ()))


def test_what_was_found_is_replaced_and_so_does_not_count() -> None:
    text = f"key {MIXED}"
    assert not list(strings(text, (Finding(4, 10, "SECRET", "secret", 1.0, "x"),)))


def test_those_that_repeat_or_stand_alone_are_told_with_where_they_stand() -> None:
    other = drawn(32, string.ascii_letters + string.digits, 9)
    once = drawn(36, string.ascii_letters + string.digits, 8)
    made = census(
        [plain(3, f"use {MIXED} now"), plain(7, f"again {MIXED}"), plain(9, other), plain(11, f"in {once} text")]
    )
    told = report(made, name="x").strings
    assert (told.distinct.value, told.repeated.value, told.alone.value) == (3, 1, 1)
    assert [(d.times, d.record, d.length, d.alone) for d in told.told] == [(2, 3, 40, False), (1, 9, 32, True)]


def test_ids_in_slots_of_the_format_do_not_count() -> None:
    parts = (TextPart(f"call_{MIXED}", "/id", redactable=False),)
    assert report(census([(0, parts, ((),), b"x\n")]), name="x").strings.distinct.value == 0
