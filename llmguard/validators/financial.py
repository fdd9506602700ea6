"""Financial numbers: cards and accounts.

Invariant: True means proved by a checksum or a parser, False drops the finding, None cannot say. Each is linear in the
length of its value, and raises nothing on any text.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from llmguard.validators.base import DATE, Validator

_ISSUERS: tuple[tuple[int, int, frozenset[int]], ...] = tuple(
    sorted(
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
            (644000, 659999, (16, 19)),
            (352800, 358999, (16, 17, 18, 19)),  # JCB
            (620000, 629999, (16, 17, 18, 19)),  # UnionPay; Discover within it
            (810000, 817199, (16, 17, 18, 19)),
            (500000, 509999, (13, 14, 15, 16, 17, 18, 19)),  # Maestro, Dankort, RuPay, Elo
            (560000, 589999, (13, 14, 15, 16, 17, 18, 19)),  # Maestro
            (600000, 601099, (16,)),  # RuPay, Hipercard
            (606282, 606282, (13, 16, 19)),
            (607000, 609999, (16,)),  # RuPay
            (630000, 639999, (16, 17, 18, 19)),
            (670000, 679999, (13, 14, 15, 16, 17, 18, 19)),
            (979200, 979299, (16,)),  # Troy
            (100000, 199999, (15,)),  # UATP
        )
    )
)
"""First six digits (inclusive) and lengths of the card schemes. ISO/IEC 7812-1; the schemes' published ranges."""
_FIRST = [low for low, _, _ in _ISSUERS]

_NO_DIGITS = bytes(set(range(256)) - set(b"0123456789"))
_PLAIN = bytes(max(0, b - 48) for b in range(256))
_DOUBLED = bytes(int("0246813579"[b - 48]) if 48 <= b < 58 else 0 for b in range(256))


def _digits(value: str) -> bytes:
    return value.encode("ascii", "ignore").translate(None, _NO_DIGITS)


def _luhn(digits: bytes) -> int:
    return sum(digits[::-2].translate(_PLAIN)) + sum(digits[-2::-2].translate(_DOUBLED))


def luhn_sum(digits: str) -> int:
    """The sum whose last digit is 0 in a valid number. ISO/IEC 7812-1 Annex B."""
    return _luhn(digits.encode("ascii", "replace"))


def card(value: str) -> bool | None:
    """A payment card: check digit, issuer range and length prove it. Other 13-19 digits cannot be said, for people
    mistype: it takes context to believe them. ISO/IEC 7812-1.
    """
    digits = _digits(value)
    size = len(digits)
    if not 13 <= size <= 19 or digits.count(digits[:1]) == size:
        return False
    if _luhn(digits) % 10:
        return None
    prefix = int(digits[:6])
    at = bisect_right(_FIRST, prefix) - 1
    if at < 0:
        return None
    _, high, sizes = _ISSUERS[at]
    return True if prefix <= high and size in sizes else None


_BASE36 = {ord(c): str(i) for i, c in enumerate("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ")}
_GAPS = dict.fromkeys(map(ord, " .-\u00a0\u202f"))


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
    account = value.translate(_GAPS).upper()
    if not 15 <= len(account) <= 34 or not _mod97(account):
        return False
    shape = _iban_shape(account[:2])
    return shape is not None and shape.fullmatch(account, 4) is not None


def _mod97(code: str) -> bool:
    """Two letters, two check digits, the rest: whether the check is right. ISO 7064, mod 97-10."""
    if not (code.isascii() and code.isalnum() and code[:2].isalpha() and code[2:4].isdigit()):
        return False
    return int((code[4:] + code[:4]).translate(_BASE36)) % 97 == 1


def sepa_creditor(value: str) -> bool | None:
    """Check digits over all but the business code. EPC262-08, SEPA creditor identifier."""
    code = value.translate(_GAPS).upper()
    return 12 <= len(code) <= 35 and _mod97(code[:4] + code[7:])


_ABA_WEIGHTS = (3, 7, 1, 3, 7, 1, 3, 7, 1)


def aba_routing(value: str) -> bool | None:
    """Nine digits, a Federal Reserve prefix, weights 3-7-1. American Bankers Association, routing number policy."""
    digits = _digits(value)
    if len(digits) != 9 or digits.count(digits[:1]) == 9:
        return False
    prefix = int(digits[:2])
    if not (1 <= prefix <= 12 or 21 <= prefix <= 32 or 61 <= prefix <= 72 or prefix == 80):
        return False
    return sum(w * (b - 48) for w, b in zip(_ABA_WEIGHTS, digits, strict=True)) % 10 == 0


def clabe(value: str) -> bool | None:
    """Eighteen digits, weights 3-7-1, each product mod 10. Banco de México, CLABE."""
    digits = _digits(value)
    if len(digits) != 18 or digits.count(digits[:1]) == 18:
        return False
    total = sum((3, 7, 1)[i % 3] * (b - 48) % 10 for i, b in enumerate(digits[:17]))
    return (10 - total % 10) % 10 == digits[17] - 48


_NO_ACCOUNT = re.compile(r"(?:19|20)\d\d$|\d{1,3}(?:[ ,]\d{3})+$|\d+[.,]\d{1,2}$")


def account(value: str) -> bool | None:
    """At least five digits and no date, year or amount: what may be the number of an account."""
    digits = _digits(value)
    if len(digits) < 5 or digits.count(digits[:1]) == len(digits) or DATE.match(value) or _NO_ACCOUNT.match(value):
        return False
    return None


def bic(value: str) -> bool | None:
    """A country of the registry in the middle. ISO 9362."""
    code = value.upper()
    return None if _iban_shape(code[4:6]) or code[4:6] in _MORE_COUNTRIES else False


_OTHERS = "US CA AU NZ JP CN HK SG IN ZA KR TW TH VN PH ID MY MX AR CL CO PE UY NG KE GH ET TZ UG MA BD LK NP"
_MORE_COUNTRIES = frozenset(_OTHERS.split())
"""Countries with banks and without IBANs."""

VALIDATORS: Mapping[str, Validator] = MappingProxyType(
    {
        "card": card,
        "iban": iban,
        "sepa_creditor": sepa_creditor,
        "aba_routing": aba_routing,
        "clabe": clabe,
        "account": account,
        "bic": bic,
    }
)
"""Validators of this module, by the names that catalogue entries use."""
