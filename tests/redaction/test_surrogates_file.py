"""Surrogates of a file: the same in every record, process and run, and never a value of the file."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmguard.model import Category, Finding, TextPart
from llmguard.redaction import FileStyle, redact
from llmguard.redaction.surrogates import MAKERS, FileSurrogates, Surrogates
from llmguard.redaction.surrogates.draw import folded
from llmguard.redaction.surrogates.whole import WIDTH
from llmguard.vault import KINDS, Keyring, Vault

VAULT = Vault(Keyring({kind: (b"the same key in every run, always",) for kind in KINDS}))
TYPES = (*sorted(MAKERS), "PERSON", "PASSPORT_NUMBER", "PROJECT", "TOKEN")
DIGEST = partial(VAULT.digest, "default")


def category(type_: str) -> Category:
    return "secret" if type_ == "TOKEN" else "pii"


def marks(packed: bytes) -> frozenset[bytes]:
    return frozenset(packed[i : i + WIDTH] for i in range(0, len(packed), WIDTH))


def file(avoid: frozenset[bytes] = frozenset()) -> FileSurrogates:
    return FileSurrogates(DIGEST, avoid)


def of(type_: str, value: str, avoid: frozenset[bytes] = frozenset(), whole: str = "") -> str | None:
    return file(avoid).of(type_, category(type_), value, whole or value)


def seen(*values: tuple[str, str]) -> frozenset[bytes]:
    surrogates = file()
    for type_, value in values:
        surrogates.found(type_, category(type_), value)
    return marks(surrogates.noted().seen)


def record(*values: tuple[str, str], style: FileStyle) -> list[str]:
    """What is written for the values of a record, in which they stand one after the other."""
    parts = [TextPart(value, f"/{i}") for i, (_, value) in enumerate(values)]
    found = [(Finding(0, len(v), type_, category(type_), 1.0, "test"),) for type_, v in values]
    texts = redact(VAULT, "default", parts, found, style=style).texts
    return [texts[i] for i in range(len(values))]


VALUE = st.one_of(
    st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=24),
    st.from_regex(r"[A-Z]{0,2}[0-9]{2,4}([-. /][0-9]{2,6}){0,3}", fullmatch=True),
    st.from_regex(r"[A-Z][a-z]{1,8}( [A-Z][a-z]{1,8}){0,2}", fullmatch=True),
    st.emails(),
)
VALUES = st.lists(st.tuples(st.sampled_from(TYPES), VALUE), min_size=1, max_size=6)


@given(VALUES, VALUES)
@settings(max_examples=40, deadline=None)
def test_what_else_is_in_a_record_or_came_before_changes_nothing(
    some: list[tuple[str, str]], others: list[tuple[str, str]]
) -> None:
    busy = file()
    for type_, value in others:
        busy.of(type_, category(type_), value, value)
    for type_, value in some:
        busy.found(type_, category(type_), value)
        new = busy.of(type_, category(type_), value, value)
        assert new == of(type_, value)
        assert new is None or folded(new) != folded(value)


@given(VALUES)
@settings(max_examples=40, deadline=None)
def test_what_is_to_be_avoided_is_not_drawn_nor_noted(values: list[tuple[str, str]]) -> None:
    avoid: frozenset[bytes] = frozenset()
    for _ in range(4):
        surrogates = file(avoid)
        for type_, value in values:
            surrogates.of(type_, category(type_), value, value)
        drawn = marks(surrogates.noted().drawn)
        assert not drawn & avoid
        avoid |= frozenset(sorted(drawn)[::2])


def test_without_collisions_the_first_draw_is_that_of_a_call() -> None:
    for type_, value in (
        ("PERSON", "Jane Doe"),
        ("EMAIL", "jane.doe@corp.test"),
        ("CREDIT_CARD", "4539 1488 0343 6467"),
        ("TOKEN", "hunter2hunter2"),
    ):
        assert of(type_, value) == Surrogates(DIGEST).of(type_, category(type_), value)


@pytest.mark.parametrize(
    ("type_", "value"),
    [("EMAIL", "jane.doe@corp.test"), ("PHONE", "+1 415 867 2204"), ("PERSON", "Jane Doe"), ("PROJECT", "Falcon-77")],
)
def test_a_surrogate_that_is_somebodys_is_drawn_anew_however_that_one_is_written(type_: str, value: str) -> None:
    first = of(type_, value) or ""
    for spelling in (first, first.upper(), first.replace(" ", "  ")):
        again = of(type_, value, seen((type_, spelling)))
        assert again not in (None, first)
        assert again == of(type_, value, seen((type_, spelling)))


def test_nobody_of_the_file_is_met_under_another_order_title_initial_or_by_the_family_name_alone() -> None:
    given_name, family = (of("PERSON", "Jane Doe") or "").split()
    for known in (f"{family}, {given_name}", f"Dr. {given_name} {family}", f"{given_name[0]}. {family}", family):
        new = of("PERSON", "Jane Doe", seen(("PERSON", known)))
        assert new is not None
        assert new != f"{given_name} {family}"
    assert of("PERSON", "Jane Doe", seen(("PERSON", given_name))) == f"{given_name} {family}"


def test_a_name_shares_no_word_with_the_one_that_it_stands_for() -> None:
    names = [f"{g} {f}" for g in ("Alex", "Robin", "Kim", "Sam") for f in ("Abbott", "Hale", "Stone", "King", "Fox")]
    for name in names:
        assert not set(name.split()) & set((of("PERSON", name) or "").split())


def test_shorter_forms_follow_the_whole_name_of_their_record() -> None:
    style = FileStyle(lambda *_: "surrogate", file())
    whole, short, initial = record(("PERSON", "Jane Doe"), ("PERSON", "Jane"), ("PERSON", "J. Doe"), style=style)
    given_name, family = whole.split()
    assert (short, initial) == (given_name, f"{given_name[0]}. {family}")
    other, mine = record(("PERSON", "Jane Roe"), ("PERSON", "Jane"), style=style)
    assert other.split()[0] == mine
    assert record(("PERSON", "Jane Doe"), style=style) == [whole]


def test_a_form_that_is_somebodys_changes_its_person_in_every_record_or_is_a_hash() -> None:
    given_name, family = (of("PERSON", "Jane Mary Doe") or "").split()[::2]
    form = of("PERSON", "Jane Doe", whole="Jane Mary Doe")
    assert form == f"{given_name} {family}"
    avoid = seen(("PERSON", form))
    assert of("PERSON", "Jane Mary Doe", avoid) == of("PERSON", "Jane Mary Doe")
    assert of("PERSON", "Jane Doe", avoid, whole="Jane Mary Doe") is None


def test_what_all_share_is_not_compared() -> None:
    assert not seen(("DATE_OF_BIRTH", "1985-04-12"), ("CREDIT_CARD_EXPIRY", "04/27"), ("PROJECT", "X-12"))
    assert not seen(("PERSON", "Alex"))
    assert seen(("TOKEN", "1234"), ("PERSON", "Bo Li"), ("US_SSN", "514-69-0360"))


def test_values_are_noted_once_sorted_and_under_a_key() -> None:
    surrogates = file()
    for value in ("b@x.test", "a@x.test", "B@X.test"):
        surrogates.found("EMAIL", "pii", value)
    packed = surrogates.noted().seen
    assert len(packed) == 2 * WIDTH
    assert packed == b"".join(sorted(marks(packed)))
    assert surrogates.noted().seen == b""
    other = FileSurrogates(partial(VAULT.digest, "another"))
    other.found("EMAIL", "pii", "a@x.test")
    assert not marks(other.noted().seen) & marks(packed)


def test_composed_and_decomposed_spellings_are_one_value() -> None:
    assert seen(("PERSON", "José Núñez")) == seen(("PERSON", "Jose\u0301 Nu\u0301n\u0303ez"))


def test_thousands_of_values_rarely_share_a_surrogate() -> None:
    surrogates = file()
    for type_, make in (
        ("EMAIL", "{0}.{0}@corp{0}.test"),
        ("US_SSN", "514-69-{0:04}"),
        ("CREDIT_CARD", "45391488{0:08}"),
        ("IBAN", "DE8937040044{0:010}"),
        ("TOKEN", "key-{0:012}"),
    ):
        made = {surrogates.of(type_, category(type_), make.format(i), make.format(i)) for i in range(2000)}
        assert len(made) > 1990
