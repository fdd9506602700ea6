"""Checks of the Americas.

Invariant: linear, raises nothing for a value of the shape that the table names for it.
"""

from __future__ import annotations

import re

from llmguard.validators.national.checks.arithmetic import luhn, weighted

_PUBLISHED_SSN = frozenset({"078051120", "219099999"})
"""Numbers that were printed in advertisements and are void. SSA, "Social Security Cards Issued by Woolworth"."""


def us_social(value: str) -> bool:
    """Never issued: areas 000, 666 and 9xx, group 00, serial 0000. SSA, "SSN Randomization". No check digit exists."""
    area, group, serial = value[:3], value[3:5], value[5:]
    never = area in {"000", "666"} or area[0] == "9" or group == "00" or serial == "0000"
    return not never and value not in _PUBLISHED_SSN and len(set(value)) > 1


def us_medicare(value: str) -> bool:
    """CMS, Understanding the Medicare Beneficiary Identifier format. No check."""
    return bool(re.fullmatch(rf"[1-9]{_MBI}{_MBI_OR}\d{_MBI}{_MBI_OR}\d{_MBI}{{2}}\d\d", value))


_MBI, _MBI_OR = "[AC-HJKMNP-RT-Y]", "[AC-HJKMNP-RT-Y0-9]"


def us_provider(value: str) -> bool:
    """NPI: 1 or 2, Luhn behind 80840. 45 CFR 162.406."""
    return value[0] in "12" and luhn("80840" + value)


def us_drug(value: str) -> bool:
    """DEA registration: digits 1 3 5 and twice 2 4 6. DEA Diversion Control Division."""
    if value[0] not in "ABCDEFGHJKLMPRSTUX":
        return False
    d = [int(c) for c in value[2:]]
    return (d[0] + d[2] + d[4] + 2 * (d[1] + d[3] + d[5])) % 10 == d[6]


def br_driver(value: str) -> bool:
    """CNH: two check digits modulo 11. Contran, resolução 598/2016."""
    first = weighted(value[:9], (9, 8, 7, 6, 5, 4, 3, 2, 1)) % 11
    second = weighted(value[:9], (1, 2, 3, 4, 5, 6, 7, 8, 9)) % 11
    if first > 9:
        first, second = 0, (second - 2) % 11
    return (first, 0 if second > 9 else second) == (int(value[9]), int(value[10]))


def br_worker(value: str) -> bool:
    """PIS, PASEP, NIS: weights 3 2 9 … 2 modulo 11. Caixa Econômica Federal."""
    check = 11 - weighted(value[:10], (3, 2, 9, 8, 7, 6, 5, 4, 3, 2)) % 11
    return (0 if check > 9 else check) == int(value[10])


def br_voter(value: str) -> bool:
    """Título de eleitor: state 01-28, two check digits modulo 11. TSE, resolução 21.538/2003."""
    first = weighted(value[:8], (2, 3, 4, 5, 6, 7, 8, 9)) % 11 % 10
    second = weighted(value[8:10] + str(first), (7, 8, 9)) % 11 % 10
    return 1 <= int(value[8:10]) <= 28 and (first, second) == (int(value[10]), int(value[11]))


def mx_social(value: str) -> bool:
    """NSS: Luhn. Instituto Mexicano del Seguro Social."""
    return luhn(value)


def uy_person(value: str) -> bool:
    """Cédula: weights 2 9 8 7 6 3 4 modulo 10. Dirección Nacional de Identificación Civil."""
    return (10 - weighted(value[:7], (2, 9, 8, 7, 6, 3, 4)) % 10) % 10 == int(value[7])


def sv_person(value: str) -> bool:
    """DUI: weights 9 to 2 modulo 10. Registro Nacional de las Personas Naturales."""
    return (10 - weighted(value[:8], (9, 8, 7, 6, 5, 4, 3, 2)) % 10) % 10 == int(value[8])


def gt_person(value: str) -> bool:
    """CUI: weights 2 to 9 modulo 11, department 01-22. Registro Nacional de las Personas."""
    return weighted(value[:8], (2, 3, 4, 5, 6, 7, 8, 9)) % 11 == int(value[8]) and 1 <= int(value[9:11]) <= 22
