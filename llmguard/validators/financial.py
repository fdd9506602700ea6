"""Financial numbers: cards, accounts, wallets.

Invariant: True means proved by a checksum or a parser, False drops the finding, None cannot say. Each is linear in the
length of its value, and raises nothing on any text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from llmguard.validators.base import Validator, digits_of, registry

_ISSUERS: tuple[tuple[int, int, frozenset[int]], ...] = tuple(
    (low, high, frozenset(lengths))
    for low, high, lengths in (
        (400000, 499999, (13, 16, 19)),  # Visa
        (510000, 559999, (16,)),  # Mastercard
        (222100, 272099, (16,)),  # Mastercard, second range
        (220000, 220499, (16, 17, 18, 19)),  # Mir
        (340000, 349999, (15,)),  # American Express
        (370000, 379999, (15,)),
        (300000, 305999, (14, 16)),  # Diners Club
        (309500, 309599, (14, 16)),
        (360000, 369999, (14, 16)),
        (380000, 399999, (14, 16)),
        (601100, 601199, (16, 19)),  # Discover
        (622126, 622925, (16, 17, 18, 19)),
        (644000, 659999, (16, 19)),
        (352800, 358999, (16, 17, 18, 19)),  # JCB
        (620000, 629999, (16, 17, 18, 19)),  # UnionPay
        (810000, 817199, (16, 17, 18, 19)),
        (500000, 509999, (13, 14, 15, 16, 17, 18, 19)),  # Maestro, Dankort, RuPay, Elo
        (560000, 589999, (13, 14, 15, 16, 17, 18, 19)),  # Maestro
        (630000, 639999, (16, 17, 18, 19)),
        (670000, 679999, (13, 14, 15, 16, 17, 18, 19)),
        (100000, 199999, (15,)),  # UATP
    )
)
"""First six digits (inclusive) and lengths of the card schemes. ISO/IEC 7812-1; the schemes' published ranges."""


_DOUBLED = str.maketrans("0123456789", "0246813579")


def luhn_sum(digits: str) -> int:
    """The sum whose last digit is 0 in a valid number. ISO/IEC 7812-1 Annex B."""
    return sum(map(int, digits[::-2])) + sum(map(int, digits[-2::-2].translate(_DOUBLED)))


def luhn(value: str) -> bool | None:
    """A payment card: check digit, then issuer range and length. An unknown issuer cannot be said. ISO/IEC 7812-1."""
    digits = digits_of(value)
    if (
        not 12 <= len(digits) <= 19
        or not (digits.isascii() and digits.isdigit())
        or len(set(digits)) == 1
        or luhn_sum(digits) % 10
    ):
        return False
    prefix = int(digits[:6])
    return True if any(low <= prefix <= high and len(digits) in n for low, high, n in _ISSUERS) else None


_BASE36 = {ord(c): str(i) for i, c in enumerate("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ")}


@cache
def _iban_shape(country: str) -> re.Pattern[str] | None:
    """The registered structure of a country's account numbers, or None if it has none."""
    from stdnum import numdb  # the registry: read at the first candidate only

    known = next((facts.get("bban") for part, facts in numdb.get("iban").info(country) if part == country), None)
    if known is None:
        return None
    kinds = {"n": "[0-9]", "a": "[A-Z]", "c": "[A-Z0-9]"}
    return re.compile("".join(f"{kinds[k]}{{{n}}}" for n, k in re.findall(r"(\d+)!([nac])", known)))


def iban(value: str) -> bool | None:
    """Check digits (mod 97-10), country, length and structure. ISO 13616, with python-stdnum's registry."""
    account = value.replace(" ", "").replace("-", "").upper()
    if (
        not 15 <= len(account) <= 34
        or not account.isascii()
        or not account.isalnum()
        or not account[2:4].isdigit()
        or not account[:2].isalpha()
    ):
        return False
    if int((account[4:] + account[:4]).translate(_BASE36)) % 97 != 1:
        return False
    shape = _iban_shape(account[:2])
    return shape is not None and shape.fullmatch(account, 4) is not None


def wallet(value: str) -> bool | None:
    """A Bitcoin address proved by its checksum. Ethereum's is optional (ERC-55): it cannot say."""
    if value.startswith("0x"):
        return False if len(set(value[2:].lower())) < 8 else None
    return registry("bitcoin")(value)


def bic(value: str) -> bool | None:
    """A country of the registry in the middle. ISO 9362."""
    return (
        None
        if _iban_shape(value[4:6]) or value[4:6] in {"US", "CA", "AU", "JP", "CN", "HK", "SG", "IN", "ZA"}
        else False
    )


VALIDATORS: Mapping[str, Validator] = MappingProxyType(
    {
        "luhn": luhn,
        "iban": iban,
        "wallet": wallet,
        "bic": bic,
    }
)
"""Validators of this module, by the names that catalogue entries use."""
