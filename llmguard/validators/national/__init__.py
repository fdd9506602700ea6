"""Numbers that states give to people and things.

Owns: what a value must satisfy, by country and shape: ``table`` says who could have given it, ``checks`` what proves
it, ``dispatch`` what that is worth where it stood, ``documents`` what passports, licences and plates look like. Never
does: searching. Invariant: True means proved by a check digit, False drops the finding, None cannot say. Each is
linear in the length of its value, and raises nothing on any text.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from llmguard.validators.base import Validator, any_of, digits_of, stdnum
from llmguard.validators.national import dispatch, documents
from llmguard.validators.national.checks.americas import us_social
from llmguard.validators.national.table import COUNTRIES, compact


def us_ssn(value: str) -> bool | None:
    """Whether the number could have been issued. It has no check digit."""
    digits = digits_of(value)
    plausible = len(digits) == 9 and digits.isascii() and digits.isdigit() and us_social(digits)
    return None if plausible else False


def uk_nino(value: str) -> bool | None:
    """Prefixes that are never given. HMRC, National Insurance Manual NIM39110. It has no check digit."""
    return None if dispatch.country("GB")(value) is not False and compact(value)[:1].isalpha() else False


def national_eleven(value: str) -> bool | None:
    """Eleven digits with two check digits, or one and a birthday. A chance of some one in thirty: no proof."""
    text = digits_of(value)
    if len(text) != 11 or not (text.isascii() and text.isdigit()) or len(set(text)) < 3:
        return False
    return None if any_of(text, _ELEVEN) else False


_ELEVEN = ("pl.pesel", "tr.tckimlik", "br.cpf", "no.fodselsnummer", "de.idnr")

VALIDATORS: Mapping[str, Validator] = MappingProxyType(
    {
        "us_ssn": us_ssn,
        "uk_nino": uk_nino,
        "nhs": stdnum("gb.nhs"),
        "national_lettered": dispatch.lettered,
        "national_formatted": dispatch.formatted,
        "national_eleven": national_eleven,
        "national_worded": dispatch.worded,
        "national_alone": dispatch.alone,
        "passport": documents.passport,
        "licence": documents.licence,
        "plate": documents.plate,
        "plate_alone": documents.plate_alone,
        "some_digits": documents.some_digits,
        "record_number": documents.record_number,
        "vin": documents.vin,
        **{f"national_{code.lower()}": dispatch.country(code) for code in COUNTRIES},
    }
)
"""Validators of this package by the names that catalogue entries use: ``national_xx`` for each country of the table."""
