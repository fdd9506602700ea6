from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard.validators import Validator
from llmguard.validators import financial as v


@pytest.mark.parametrize(
    ("number", "verdict"),
    [
        ("4111 1111 1111 1111", True),
        ("378282246310005", True),
        ("5500-0055-5555-5559", True),
        ("4111111111111112", None),
        ("0000000000000000", False),
        ("9999999999999995", None),
        ("41111111", False),
    ],
)
def test_card_needs_check_digit_issuer_and_length(number: str, verdict: bool | None) -> None:
    assert v.card(number) is verdict


@given(st.text("0123456789", min_size=12, max_size=19))
def test_changing_one_digit_of_a_card_always_fails_its_check(digits: str) -> None:
    for i in range(len(digits)):
        changed = digits[:i] + str((int(digits[i]) + 1) % 10) + digits[i + 1 :]
        assert v.luhn_sum(digits) % 10 != v.luhn_sum(changed) % 10


def test_iban_is_checked_with_its_country() -> None:
    assert v.iban("DE89 3704 0044 0532 0130 00") is True
    assert v.iban("DE89370400440532013001") is False
    assert v.iban("ZZ89370400440532013000") is False


def test_iban_is_read_in_any_grouping_and_case() -> None:
    assert v.iban("fr14 2004 1010 0505 0001 3m02 606") is True
    assert v.iban("GB29-NWBK-6016-1331-9268-19") is True


@pytest.mark.parametrize(
    ("check", "right", "wrong"),
    [
        (v.aba_routing, "021000021", "021000022"),
        (v.aba_routing, "1210-4288-2", "999999999"),
        (v.clabe, "032180000118359719", "032180000118359718"),
        (v.sepa_creditor, "DE98ZZZ09999999999", "DE97ZZZ09999999999"),
    ],
)
def test_numbers_of_banks_have_check_digits(check: Validator, right: str, wrong: str) -> None:
    assert check(right) is True
    assert check(wrong) is False


@pytest.mark.parametrize("value", ["2019", "2019-01-01", "1,000,000", "1234.56", "11111111"])
def test_dates_and_amounts_are_no_accounts(value: str) -> None:
    assert v.account(value) is False
