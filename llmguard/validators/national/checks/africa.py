"""Checks of Africa.

Invariant: linear, raises nothing for a value of the shape that the table names for it.
"""

from __future__ import annotations

from llmguard.validators.base import registry
from llmguard.validators.national.checks.arithmetic import is_date, luhn


def eg_person(value: str) -> bool:
    """National number: century, birthday, governorate, serial. Egypt, Civil Status law 143 of 1994. No public check."""
    return value[0] in "23" and is_date(value[1:7]) and (1 <= int(value[7:9]) <= 35 or value[7:9] == "88")


def ng_person(value: str) -> bool:
    """NIN: Verhoeff. Nigerian National Identity Management Commission."""
    valid: bool = registry("verhoeff")(value)
    return valid


def za_person(value: str) -> bool:
    """South Africa: birthday, serial, citizen, resident or refugee, 8 or 9, Luhn. Identification Act 68 of 1997."""
    return is_date(value[:6]) and _real_day(value[:6]) and value[10] in "012" and value[11] in "89" and luhn(value)


def _real_day(digits: str) -> bool:
    return digits[2:] != "0229" or int(digits[:2]) % 4 == 0


def za_tax(value: str) -> bool:
    """Income tax and VAT reference numbers. South African Revenue Service, BRS PAYE: modulus 10."""
    return value[0] in "012349" and luhn(value)
