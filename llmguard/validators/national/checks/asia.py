"""Checks of Asia, of the Middle East and of Oceania.

Invariant: linear, raises nothing for a value of the shape that the table names for it.
"""

from __future__ import annotations

from llmguard.validators.national.checks.arithmetic import is_calendar_date, is_date, luhn, weighted


def ae_person(value: str) -> bool:
    """Emirates ID: 784, year of birth, seven digits, Luhn. Federal Authority for Identity and Citizenship."""
    return value.startswith(("78419", "78420")) and luhn(value)


def sa_person(value: str) -> bool:
    """National number (1…) or residence number (2…), Luhn. Saudi National Information Center."""
    return value[0] in "12" and luhn(value)


def kw_person(value: str) -> bool:
    """Civil id: century, birthday, serial, weights modulo 11. Kuwait, Public Authority for Civil Information."""
    check = 11 - weighted(value[:11], (2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)) % 11
    return value[0] in "123" and is_date(value[1:7]) and check == int(value[11])


def ir_person(value: str) -> bool:
    """National code: weights 10 to 2 modulo 11. National Organization for Civil Registration of Iran."""
    rest = weighted(value[:9], (10, 9, 8, 7, 6, 5, 4, 3, 2)) % 11
    return int(value[9]) == (rest if rest < 2 else 11 - rest)


_SG = {"S": "JZIHGFEDCBA", "T": "GFEDCBAJZIH", "F": "XWUTRQPNMLK", "G": "RQPNMLKXWUT"}
_SG_M = "XWUTRQPNJLK"


def sg_person(value: str) -> bool:
    """NRIC and FIN: weights 2 7 6 5 4 3 2, a table of letters for each first letter. ICA."""
    if value[0] not in "STFGM":
        return False
    total = weighted(value[1:8], (2, 7, 6, 5, 4, 3, 2)) + {"T": 4, "G": 4, "M": 3}.get(value[0], 0)
    return value[8] == (_SG_M[10 - total % 11] if value[0] == "M" else _SG[value[0]][total % 11])


_TW = {c: n for n, c in enumerate("ABCDEFGHJKLMNPQRSTUVXYWZIO", start=10)}


def tw_person(value: str) -> bool:
    """Identity or residence number: a letter as two digits, weights 1 9 8 … 1 1. Household Registration Act."""
    if value[1] not in "1289":
        return False
    first = _TW[value[0]]
    return (first // 10 + first % 10 * 9 + weighted(value[1:], (8, 7, 6, 5, 4, 3, 2, 1, 1))) % 10 == 0


def hk_person(value: str) -> bool:
    """Identity card: one or two letters, six digits, check 0-9 or A, modulus 11. Immigration Department."""
    if value[-1] not in "0123456789A":
        return False
    padded = [36, *(int(c, 36) for c in value)] if len(value) == 8 else [int(c, 36) for c in value]
    return sum(n * (9 - i) for i, n in enumerate(padded)) % 11 == 0


def cn_person(value: str) -> bool:
    """Resident identity: district, birthday, serial, check modulo 11 with X for ten. GB 11643-1999."""
    total = weighted(value[:17], (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2))
    return value[0] in "12345689" and is_calendar_date(value[6:14]) and "10X98765432"[total % 11] == value[17]


def kr_company(value: str) -> bool:
    """BRN: weights 1 3 7 1 3 7 1 3 5, tens of the last product added. National Tax Service."""
    total = weighted(value[:9], (1, 3, 7, 1, 3, 7, 1, 3, 5)) + int(value[8]) * 5 // 10
    return (10 - total % 10) % 10 == int(value[9])


def kr_person(value: str) -> bool:
    """RRN and FRN: birthday, sex and century; until 2020 a check, since then random, as in many FRN before."""
    if not is_date(value[:6]) or value[6] in "09":
        return False
    check = (11 - weighted(value[:12], (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5)) % 11) % 10
    recent = value[6] in "34" and value[:2] >= "20"
    return value[6] in "5678" or recent or int(value[12]) == check


def lk_person(value: str) -> bool:
    """Nine digits and V or X, or twelve: year, day of the year (women plus 500). Registration of Persons Act."""
    if value[-1].isalpha() and value[-1] not in "VX":
        return False
    day = int(value[2:5] if len(value) == 10 else value[4:7])
    return 1 <= day <= 366 or 501 <= day <= 866


def ph_passport(value: str) -> bool:
    """Passports since 2016: a letter, seven digits, a letter. Those of Spain's NIE and Singapore's NRIC have checks."""
    return value[0] not in "XYZSTFGMW"


def in_tax(value: str) -> bool:
    """PAN by its shape: the kinds of holders have grown. Income Tax Department of India, Rule 114."""
    return len(value) == 10


def ph_tax(value: str) -> bool:
    """TIN of nine digits, with or without a branch: weights 9 to 2 modulo 11. Bureau of Internal Revenue."""
    return weighted(value[:8], (9, 8, 7, 6, 5, 4, 3, 2)) % 11 == int(value[8])


def vn_person(value: str) -> bool:
    """Citizen identity: province, sex and century, year, serial. Circular 59/2021/TT-BCA. No check."""
    return value[0] == "0" and 1 <= int(value[1:3]) <= 96 and value[3] in "0123"


def au_medicare(value: str) -> bool:
    """Card number: 2 to 6, weights 1 3 7 9, issue. Services Australia."""
    return value[0] in "23456" and weighted(value[:8], (1, 3, 7, 9) * 2) % 10 == int(value[8]) and value[9] != "0"
