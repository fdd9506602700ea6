"""Checks of Europe and of the states that were the Soviet Union.

Invariant: linear, raises nothing for a value of the shape that the table names for it.
"""

from __future__ import annotations

import re

from llmguard.validators.national.checks.arithmetic import cross_sum, icao, is_calendar_date, is_date, luhn, weighted


def de_health(value: str) -> bool:
    """Health insurance number: a letter as two digits, eight digits, check. § 290 SGB V."""
    digits = f"{ord(value[0]) - 64:02}{value[1:]}"
    return cross_sum(digits[:10], (1, 2) * 5) % 10 == int(digits[10])


def de_pension(value: str) -> bool:
    """Pension insurance number: area, birthday, letter as two digits, serial, check. § 147 SGB VI, VKVV § 2."""
    digits = f"{value[:8]}{ord(value[8]) - 64:02}{value[9:]}"
    day, month = int(value[2:4]), int(value[4:6])
    dated = (1 <= day <= 31 or 51 <= day <= 81) and 1 <= month <= 12
    return dated and cross_sum(digits[:12], (2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1)) % 10 == int(digits[12])


def de_document(value: str) -> bool:
    """Identity card or passport: nine characters without vowels, or ten with the check digit. ICAO Doc 9303."""
    if not re.fullmatch(r"[CFGHJKLMNPRTVWXYZ][CFGHJKLMNPRTVWXYZ0-9]{8}\d?", value):
        return False
    return icao(value[:-1]) == int(value[-1]) if value[-1].isdigit() else False


def de_local(value: str) -> bool:
    """Tax number of a state: office, district, serial. Its check differs by state: shape only. § 139a AO."""
    return value[0] != "0" or value[1] != "0"


def de_doctor(value: str) -> bool:
    """Physician's number: weights 4 9 over six digits. KBV, Arztnummern-Richtlinie § 75 SGB V."""
    return (10 - weighted(value[:6], (4, 9, 4, 9, 4, 9)) % 10) % 10 == int(value[6])


def fi_person(value: str) -> bool:
    """HETU, also temporary ones: day, sign of the century, serial, letter modulo 31. Act 661/2009, decree 128/2010."""
    compact = value.replace(" ", "")
    m = re.fullmatch(r"(\d{6})[-+A-FU-Y](\d{3})([0-9A-Y])", compact)
    if not m or int(m[2]) < 2:
        return False
    day = m[1][4:] + m[1][2:4] + m[1][:2]
    return is_date(day) and "0123456789ABCDEFHJKLMNPRSTUVWXY"[int(m[1] + m[2]) % 31] == m[3]


def hu_person(value: str) -> bool:
    """Personal identifier: digit, birthday, serial, weights 1 to 10 modulo 11. Act XX of 1996."""
    return (
        value[0] in "12345678"
        and is_date(value[1:7])
        and weighted(value[:10], tuple(range(1, 11))) % 11 == int(value[10])
    )


def hu_health(value: str) -> bool:
    """TAJ number: weights 3 7 modulo 10. Act XX of 1996."""
    return weighted(value[:8], (3, 7) * 4) % 10 == int(value[8])


def hu_tax(value: str) -> bool:
    """Tax identification of persons: starts with 8, weights 1 to 9 modulo 11. Act CL of 2017, annex 3."""
    return value[0] == "8" and weighted(value[:9], tuple(range(1, 10))) % 11 == int(value[9])


def lu_person(value: str) -> bool:
    """National identification number: birthday, serial, Luhn (and Verhoeff). Règlement grand-ducal of 28.11.2013."""
    return is_calendar_date(value[:8]) and luhn(value[:12])


def lv_person(value: str) -> bool:
    """Personas kods: birthday and a check, or 32 and no birthday since 2017. Law on the Population Register."""
    if value[:2] == "32":
        return True
    check = (1101 - weighted(value[:10], (1, 6, 3, 7, 9, 10, 5, 8, 4, 2))) % 11
    return is_date(value[4:6] + value[2:4] + value[:2]) and check == int(value[10])


def by_person(value: str) -> bool:
    """Belarus: century and sex, birthday, region, serial, PB or PA or PK, check. Decree 297 of 2003: shape only."""
    return value[0] in "123456" and is_date(value[5:7] + value[3:5] + value[1:3])


def uk_nino(value: str) -> bool:
    """Letters that begin no number, and prefixes never given. HMRC, National Insurance Manual NIM39110."""
    return bool(re.fullmatch(r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]\d{6}[A-D]", value)) and value[:2] not in _NO_NINO


_NO_NINO = frozenset({"BG", "GB", "KN", "NK", "NT", "TN", "ZZ"})


def uk_driver(value: str) -> bool:
    """Driver number: surname, birthday (months of women plus 50), initials. DVLA, form D1."""
    return bool(_UK_DRIVER.fullmatch(value))


_UK_DRIVER = re.compile(
    r"[A-Z]{1,5}9{0,4}\d(?:0[1-9]|1[0-2]|5[1-9]|6[0-2])(?:0[1-9]|[12]\d|3[01])\d[A-Z9]{2}[A-Z0-9][A-Z]{2}"
)


def it_driver(value: str) -> bool:
    """Two letters and seven digits, or U1 and seven, and a letter. Ministero delle Infrastrutture e dei Trasporti."""
    return bool(re.fullmatch(r"[A-Z]{2}\d{7}[A-Z]|U1[BCDEFGHLJKMNPRSTUWYXZ0-9]{7}[A-Z]", value))


def it_fiscal(value: str) -> bool:
    """Codice fiscale by its shape; digits may be letters. Decreto ministeriale of 12 March 1974."""
    return bool(re.fullmatch(r"[A-Z]{6}[\dLMNP-V]{2}[A-EHLMPRST][\dLMNP-V]{2}[A-Z][\dLMNP-V]{3}[A-Z]", value))


def ru_pension(value: str) -> bool:
    """SNILS: weights 9 to 1, modulo 101. Pension Fund of Russia, order 192p of 2006."""
    return weighted(value[:9], (9, 8, 7, 6, 5, 4, 3, 2, 1)) % 101 % 100 == int(value[9:])


def kz_person(value: str) -> bool:
    """IIN and BIN: date, weights 1 to 11 modulo 11, then 3 to 11, 1, 2. Government decree 853 of 2003."""
    check = weighted(value[:11], tuple(range(1, 12))) % 11
    if check == 10:
        check = weighted(value[:11], (3, 4, 5, 6, 7, 8, 9, 10, 11, 1, 2)) % 11
    dated = is_date(value[:6]) or (1 <= int(value[2:4]) <= 12 and value[4] in "456")
    return dated and check == int(value[11])


def uz_person(value: str) -> bool:
    """PINFL: sex and century, birthday, district, serial, weights 7 3 1. Resolution 2015 of 2013."""
    day = value[5:7] + value[3:5] + value[1:3]
    return value[0] in "123456" and is_date(day) and weighted(value[:13], (7, 3, 1) * 5) % 10 == int(value[13])
