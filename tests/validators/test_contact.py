from __future__ import annotations

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard.validators import contact as v


def test_international_phone_is_valid_possible_or_neither() -> None:
    assert v.phone("+49 171 1234567") is True
    assert v.phone("0044 20 7946 0958") is True
    assert v.phone("+1 555 123 4567") is None
    assert v.phone("+999 1") is False


@pytest.mark.parametrize(
    "address", ["git@github.com", "icon@2x.png", "a..b@example.org", "a@1.2.com.7", ".a@example.org"]
)
def test_what_only_looks_like_an_address_is_dropped(address: str) -> None:
    assert v.email(address) is False


def test_phone_agrees_with_libphonenumber_on_its_examples() -> None:
    regions = sorted(phonenumbers.SUPPORTED_REGIONS)
    examples = [phonenumbers.example_number(r) for r in regions] + [
        phonenumbers.example_number_for_type(r, phonenumbers.PhoneNumberType.MOBILE) for r in regions
    ]
    written = [
        phonenumbers.format_number(e, phonenumbers.PhoneNumberFormat.INTERNATIONAL) for e in examples if e is not None
    ]
    assert len(written) > 400
    assert [w for w in written if v.phone(w) is not True and sum(c.isdigit() for c in w) >= 7] == []


@given(st.sampled_from(["1", "44", "49", "33", "39", "61", "81", "91"]), st.text("0123456789", min_size=6, max_size=12))
def test_phone_believes_nothing_that_libphonenumber_calls_impossible(code: str, national: str) -> None:
    if v.phone(f"+{code}{national}") is True:
        assert phonenumbers.is_possible_number(phonenumbers.parse(f"+{code}{national}", None))


def test_phone_with_a_trunk_prefix_in_brackets_is_valid() -> None:
    assert v.phone("+44 (0)20 7946 0958") is True


@pytest.mark.parametrize("value", ["2024-01-15", "20240115", "2019-2024", "12345.678", "1.234.567", "0000000", "123"])
def test_dates_decimals_and_years_are_no_national_numbers(value: str) -> None:
    assert v.phone_national(value) is False


def test_an_extension_is_not_part_of_the_number() -> None:
    assert v.phone("+44 20 7946 0958 ext. 12") is True


def test_a_product_of_matrices_is_no_address() -> None:
    assert v.email("weights@inputs.reshape") is False
