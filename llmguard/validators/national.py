"""Numbers that states give to people and things.

Invariant: True means proved by a checksum or a parser, False drops the finding, None cannot say. Each is linear in the
length of its value, and raises nothing on any text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from operator import mul
from types import MappingProxyType

from llmguard.validators.base import DATE, Validator, any_of, digits_of, registry, stdnum

_PUBLISHED_SSN = frozenset({"078051120", "219099999"})
"""Numbers that were printed in advertisements and are void. SSA, "Social Security Cards Issued by Woolworth"."""


def us_ssn(value: str) -> bool | None:
    """Never issued: areas 000, 666 and 9xx, group 00, serial 0000. SSA, "SSN Randomization". No check digit exists."""
    digits = digits_of(value)
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    if len(digits) != 9 or area in {"000", "666"} or area[0] == "9" or group == "00" or serial == "0000":
        return False
    return False if digits in _PUBLISHED_SSN or len(set(digits)) == 1 else None


def uk_nino(value: str) -> bool | None:
    """Prefixes that are never given. HMRC, National Insurance Manual NIM39110. It has no check digit."""
    return False if value[:2] in {"BG", "GB", "KN", "NK", "NT", "TN", "ZZ"} else None


def _date(digits: str) -> bool:
    """Whether six digits are a year, month and day (of any century)."""
    return 1 <= int(digits[2:4]) <= 12 and 1 <= int(digits[4:6]) <= 31


_WEIGHTS_KVNR = (1, 2, 1, 2, 1, 2, 1, 2, 1, 2)
_WEIGHTS_RVNR = (2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1)


def _cross(digits: str, weights: tuple[int, ...]) -> int:
    """Sum of the digit sums of weighted digits."""
    return sum(n // 10 + n % 10 for n in (int(d) * w for d, w in zip(digits, weights, strict=False)))


def _de_health(value: str) -> bool:
    """Health insurance number: a letter as two digits, eight digits, check. § 290 SGB V."""
    digits = f"{ord(value[0]) - 64:02}{value[1:]}"
    return _cross(digits[:10], _WEIGHTS_KVNR) % 10 == int(digits[10])


def _de_pension(value: str) -> bool:
    """Pension insurance number: area, birthday, letter as two digits, serial, check. § 147 SGB VI, VKVV § 2."""
    digits = f"{value[:8]}{ord(value[8]) - 64:02}{value[9:]}"
    day, month = int(value[2:4]), int(value[4:6])
    return (
        (1 <= day <= 31 or 51 <= day <= 81)
        and 1 <= month <= 12
        and _cross(digits[:12], _WEIGHTS_RVNR) % 10 == int(digits[12])
    )


_SG_LETTERS = {"S": "JZIHGFEDCBA", "T": "GFEDCBAJZIH", "F": "XWUTRQPNMLK", "G": "RQPNMLKXWUT", "M": "XWUTRQPNJLK"}


def _sg_nric(value: str) -> bool:
    """Singapore's NRIC and FIN: weights 2 7 6 5 4 3 2, a table of letters for each first letter. ICA."""
    total = sum(int(d) * w for d, w in zip(value[1:8], (2, 7, 6, 5, 4, 3, 2), strict=True))
    total += {"T": 4, "G": 4, "M": 3}.get(value[0], 0)
    letters = _SG_LETTERS[value[0]]
    return value[8] == (letters[10 - total % 11] if value[0] == "M" else letters[total % 11])


def national_lettered(value: str) -> bool | None:
    """Numbers with letters that prove themselves, by their shape."""
    if not _LETTERED.fullmatch(value):
        return False
    bare = value.replace("-", "") if value[0] in "XYZ" or len(value) < 11 else value
    if len(bare) == 9 and bare[0] in "STFGM" and bare[1:8].isdigit():
        return _sg_nric(bare)
    if len(bare) == 10 and bare[0].isalpha() and bare[1:].isdigit():
        return None if _de_health(bare) else False  # one digit proves too little without a word for it
    if len(bare) == 12 and (bare[:8] + bare[9:]).isdigit() and bare[8].isalpha():
        return _de_pension(bare)
    if len(bare) in (8, 9):
        return any_of(bare.rjust(9, "0"), ("es.nif", "es.nie"))
    return any_of(value, ("fi.hetu", "it.codicefiscale", "mx.curp"))


_LETTERED = re.compile(r"[0-9A-Z][0-9A-Z+-]{7,17}")


def fr_nir(value: str) -> bool | None:
    """97 minus the number modulo 97, with Corsica's departments as numbers. INSEE."""
    return registry("fr.nir")(value)


def national_formatted(value: str) -> bool | None:
    """Numbers whose separators say what they may be, and whose check proves it."""
    digits = digits_of(value)
    if len(set(digits)) < 2 or not (digits.isascii() and digits.isdigit()):
        return False
    if "." in value:
        return any_of(value, ("br.cpf", "br.cnpj", "ch.ssn", "be.nn"))
    if len(digits) == 13:  # Korea: since 2020 the last six digits are random
        return _date(digits)
    if value[4:5] in " -" and len(digits) == 12 and value[9:10] == value[4]:
        return registry("in_.aadhaar")(digits)
    return any_of(value, ("se.personnummer", "se.orgnr")) or (registry("dk.cpr")(value) and None)


def _mod_11_10(digits: list[int]) -> bool:
    """ISO/IEC 7064, MOD 11,10."""
    check = 5
    for d in digits:
        check = (((check or 10) * 2) % 11 + d) % 10
    return check == 1


_ELEVEN: tuple[tuple[str, tuple[int, ...], int, tuple[int, ...]], ...] = (
    ("pl.pesel", (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1), 10, (0,)),
    ("tr.tckimlik", (1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 9), 10, (0,)),
    ("br.cpf", (10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0), 11, (0, 1)),
    ("no.fodselsnummer", (3, 7, 6, 1, 8, 9, 4, 5, 2, 1, 0), 11, (0,)),
)
"""Module of python-stdnum; a sum of its check that is cheap and necessary: weights, modulus, remainders."""


def national_eleven(value: str) -> bool | None:
    """Eleven digits that one of eight countries could have given. One in twelve by chance: no proof."""
    text = digits_of(value)
    if len(text) != 11 or not (text.isascii() and text.isdigit()) or len(set(text)) < 3:
        return False
    digits = list(map(int, text))
    likely = [n for n, weights, m, rest in _ELEVEN if sum(map(mul, digits, weights)) % m in rest]
    if _mod_11_10(digits):
        likely += ["de.idnr", "hr.oib"]
    if 0 < digits[0] < 9 and _date(text[1:7]):
        likely += ["ee.ik", "lt.asmens"]
    return None if any_of(text, tuple(likely)) else False


def national_thirteen(value: str) -> bool | None:
    """Twelve or thirteen digits of South Africa, Romania, Thailand, South Korea, the Balkans, India or Japan."""
    digits = digits_of(value)
    names = ("in_.aadhaar", "jp.in_") if len(digits) == 12 else ("za.idnr", "ro.cnp", "th.pin", "kr.rrn", "si.emso")
    if len(set(digits)) < 3:
        return False
    return any_of(digits, names)


_SHORT: Mapping[int, tuple[str, ...]] = {
    7: ("ie.pps",),
    8: ("nz.ird", "au.tfn"),
    9: ("nl.bsn", "ca.sin", "au.tfn", "au.acn", "pt.nif", "nz.ird", "cz.rc"),
    10: ("se.personnummer", "se.orgnr", "dk.cpr", "bg.egn", "cz.rc", "gb.utr", "kr.brn"),
    11: ("au.abn", "gr.amka", "ar.cuit"),
}
"""Modules of python-stdnum by number of digits."""


def national_short(value: str) -> bool | None:
    """Seven to eleven digits that a country could have given; believed beside a word for them only."""
    text = value.replace(" ", "")
    return len(set(digits_of(value))) > 1 and any_of(text, _SHORT.get(sum(c.isdigit() for c in text), ()))


def some_digits(value: str) -> bool | None:
    """At least three digits that are not a year or a date: what may be a number of a document."""
    digits = [c for c in value if c.isdigit()]
    return False if len(digits) < 3 or _YEAR.fullmatch(value) or DATE.fullmatch(value) else None


def record_number(value: str) -> bool | None:
    """At least five characters, four of them digits, and no date: what may be the number of a customer or policy."""
    digits = sum(c.isdigit() for c in value)
    return False if digits < 4 or len(value) < 5 or DATE.fullmatch(value) else None


_YEAR = re.compile(r"(?:19|20)\d\d")


_VIN = {
    c: v for v, letters in enumerate(("", "AJ", "BKS", "CLT", "DMU", "ENV", "FW", "GPX", "HY", "RZ")) for c in letters
}
_VIN_SHAPE = re.compile(r"[A-HJ-NPR-Z0-9]{13}[0-9]{4}")
_VIN_WEIGHTS = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)


def vin(value: str) -> bool | None:
    """Letters and digits, with the check digit of North America; elsewhere it cannot say. ISO 3779, 49 CFR 565.15."""
    if not _VIN_SHAPE.fullmatch(value) or value.isdigit():
        return False
    total = sum((int(c) if c.isdigit() else _VIN[c]) * w for c, w in zip(value, _VIN_WEIGHTS, strict=True))
    proved = value[8] == ("X" if total % 11 == 10 else str(total % 11))
    return True if proved else False if value[0] in "12345" else None


VALIDATORS: Mapping[str, Validator] = MappingProxyType(
    {
        "us_ssn": us_ssn,
        "uk_nino": uk_nino,
        "nhs": stdnum("gb.nhs"),
        "fr_nir": fr_nir,
        "national_lettered": national_lettered,
        "national_formatted": national_formatted,
        "national_eleven": national_eleven,
        "national_thirteen": national_thirteen,
        "national_short": national_short,
        "some_digits": some_digits,
        "record_number": record_number,
        "vin": vin,
    }
)
"""Validators of this module, by the names that catalogue entries use."""
