"""Numbers of documents, and of those who treat people.

Invariant: True means proved by a checksum or a parser, False drops the finding, None cannot say. Each is linear in the
length of its value, and raises nothing on any text.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from llmguard.validators.base import Validator, digits_of


def practitioner(value: str) -> bool | None:
    """Nine digits (Germany: BSNR has no check, LANR one of six digits), a United States NPI or a DEA number."""
    digits = digits_of(value)
    if len(digits) < 9 or not digits.isascii() or not digits[2:].isdigit() or len(set(digits)) < 3:
        return False
    if digits.isdigit() and len(digits) == 10:
        return None if _npi(digits) else False
    return None if digits.isdigit() or _dea(digits) else False


def _npi(digits: str) -> bool:
    """Luhn over 80840 and the number. 45 CFR 162.406; CMS, NPI check digit."""
    total = 24  # what 80840 adds
    for i, d in enumerate(reversed(digits)):
        doubled = int(d) * (1 + i % 2)
        total += doubled // 10 + doubled % 10
    return total % 10 == 0


def _dea(number: str) -> bool:
    """Of the last seven digits, odd places plus twice the even ones end in the last. DEA, registration numbers."""
    digits = [int(d) for d in number[-7:]]
    return (digits[0] + digits[2] + digits[4] + 2 * (digits[1] + digits[3] + digits[5])) % 10 == digits[6]


def document_number(value: str) -> bool | None:
    """At least three digits, or a last one that checks the others. ICAO Doc 9303-3 §4.9."""
    digits = sum(c.isdigit() for c in value)
    return None if digits > 2 or (digits and _icao(value)) else False


def _icao(value: str) -> bool:
    """Weights 7, 3, 1; letters count from 10."""
    try:
        total = sum(int(c, 36) * (7, 3, 1)[i % 3] for i, c in enumerate(value[:-1]))
    except ValueError:
        return False
    return value[-1] == str(total % 10)


VALIDATORS: Mapping[str, Validator] = MappingProxyType(
    {"document_number": document_number, "practitioner": practitioner}
)
"""Validators of this module, by the names that catalogue entries use."""
