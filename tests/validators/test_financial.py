from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard.validators import financial as v


@pytest.mark.parametrize(
    ("number", "verdict"),
    [
        ("4111 1111 1111 1111", True),
        ("378282246310005", True),
        ("5500-0055-5555-5559", True),
        ("4111111111111112", False),
        ("0000000000000000", False),
        ("9999999999999995", None),
        ("41111111", False),
    ],
)
def test_card_needs_check_digit_issuer_and_length(number: str, verdict: bool | None) -> None:
    assert v.luhn(number) is verdict


@given(st.text("0123456789", min_size=12, max_size=19))
def test_changing_one_digit_of_a_card_always_fails_its_check(digits: str) -> None:
    for i in range(len(digits)):
        changed = digits[:i] + str((int(digits[i]) + 1) % 10) + digits[i + 1 :]
        assert v.luhn_sum(digits) % 10 != v.luhn_sum(changed) % 10


def test_iban_is_checked_with_its_country() -> None:
    assert v.iban("DE89 3704 0044 0532 0130 00") is True
    assert v.iban("DE89370400440532013001") is False
    assert v.iban("ZZ89370400440532013000") is False


def test_bitcoin_address_has_a_checksum_ethereum_cannot_say() -> None:
    assert v.wallet("1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2") is True
    assert v.wallet("1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN3") is False
    assert v.wallet("0x" + "5aAeb6053F" * 4) is None
    assert v.wallet("0x" + "0" * 40) is False
