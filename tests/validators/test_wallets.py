from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard.validators import wallets as v

KNOWN = [
    "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2",
    "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq",
    "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
    "LVg2kJoFNg45Nbpy53h7Fe1wKyeXVRhMH9",
    "DH5yaieqoZN36fDVciNyRueRGvGLR3mr7L",
    "TJRabPrwbZy45sbavfcjinPJC18kjpRTv8",
    "GA7QYNF7SOWQ3GLR2BGMZEHXAVIRZA4KVWLTJJFC7MGXUA74P7UJVSGZ",
]
"""Published examples of the currencies' own documents."""


@pytest.mark.parametrize("address", KNOWN)
def test_each_currency_is_proved_by_its_checksum(address: str) -> None:
    assert v.wallet(address) is True


@pytest.mark.parametrize("address", KNOWN)
def test_one_changed_letter_is_never_proved(address: str) -> None:
    for i in range(len(address) - 6, len(address)):
        other = "q" if address[i] != "q" else "z"
        assert v.wallet(address[:i] + other + address[i + 1 :]) is not True


def test_ethereum_in_one_case_cannot_be_said() -> None:
    assert v.wallet("0x" + hashlib.sha256(b"x").hexdigest()[:40]) is None
    assert v.wallet("0x" + "0" * 40) is False


def test_named_wallets() -> None:
    assert v.wallet_named("rN7n7otQDd6FczFgLdSqtcsAUxDkw6fzRH") is True
    assert v.wallet_named("7EcDhSYGxXyscszYEp35KHN8vvw3svAuLKTzXwCFLtV") is None
    assert v.wallet_named("internationalisations") is False


def test_what_no_quick_checksum_proves_is_told_by_its_shape() -> None:
    assert v.wallet_shape("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed") is None
    assert v.wallet_shape("0x" + hashlib.sha256(b"x").hexdigest()[:40]) is False
    assert v.wallet_shape("44AFFq5kSiG" * 8 + "4AFFq5k") is None
    assert v.wallet_shape("4" + "z" * 94) is False


@given(st.text(alphabet="123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz", min_size=26, max_size=34))
def test_random_letters_are_no_wallet(text: str) -> None:
    assert v.wallet("1" + text[1:]) is False
