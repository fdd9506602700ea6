"""Numbers of documents and vehicles: passports, licences, plates, chassis.

Owns: shapes beside a word for them. Never does: proof, but for the chassis number. Invariant: see the package.
"""

from __future__ import annotations

import re

from llmguard.validators.base import DATE
from llmguard.validators.national.table import compact


def some_digits(value: str) -> bool | None:
    """At least three digits that are not a year or a date: what may be a number of a document."""
    digits = [c for c in value if c.isdigit()]
    return False if len(digits) < 3 or _YEAR.fullmatch(value) or DATE.fullmatch(value) else None


def record_number(value: str) -> bool | None:
    """At least five characters, four of them digits, and no date: what may be the number of a customer or policy."""
    digits = sum(c.isdigit() for c in value)
    return False if digits < 4 or len(value) < 5 or DATE.fullmatch(value) else None


_YEAR = re.compile(r"(?:19|20)\d\d")

_LICENCE = re.compile(r"[0-9A-Z][0-9A-Z* -]{4,22}[0-9A-Z*]")


def licence(value: str) -> bool | None:
    """A driving licence's number: four digits or more among at most 22 characters, and no date or year."""
    digits = sum(c.isdigit() for c in value)
    fits = _LICENCE.fullmatch(value.upper()) and digits >= 4
    return None if fits and not DATE.search(value) and not _YEAR.fullmatch(value) else False


_PLATES = re.compile(
    r"""
    [A-ZÄÖÜ]{1,3}[ -][A-Z]{1,2}[ -]?\d{1,4}[EH]?                          # Germany
    | (?:0[1-9]|[1-7]\d|8[01])[ -]?[A-PR-VYZ]{1,3}[ -]?\d{2,4}             # Türkiye: 81 provinces
    | [A-HJ-PR-Y]{2}(?:0[1-9]|[1-7]\d)[ -]?[A-HJ-PR-Z]{3}                  # United Kingdom since 2001
    | [A-HJ-NPR-TV-Y]\d{1,3}[ -]?[A-HJ-PR-Y][A-HJ-PR-Z]{2}                 # and before
    | [A-HJ-PR-Z]{3}[ -]?\d{1,3}[ -]?[A-HJ-NPR-TV-Y]
    | [A-Z]{2}[ -]?\d{1,2}[ -]?[A-Z]{1,3}[ -]?\d{4}                        # India
    | [2-9]\d[ -]?BH[ -]?\d{4}[ -]?[A-HJ-NP-Z]{1,2}
    | \d{1,3}[ -]?(?:CD|CC|UN)[ -]?\d{2,4}
    | [A-Z]{2}[ -]?\d{3}[ -]?[A-Z]{2}                                      # France, Italy
    | \d{4}[ -]?[BCDFGHJ-NPR-TV-Z]{3}                                      # Spain
    | [A-Z]{3}[ -]?\d{3}[ -]?[A-Z]{2}                                      # Nigeria
    | [A-Z]{2,4}[ -]?\d{2,4}[ -]?[A-Z]{0,4}[ -]?(?:GP|ZN|WP|EC|NC|FS|LP|MP|NW)  # South Africa
    | [A-Z]{2,3}[ -]\d{2,3}[ -]\d{3} | C[A-Z]{1,2}[ -]?\d{2,6}
    | [A-Z]{3}[ -]?\d{1,4}[A-Z]? | [A-Z]{3}\d[A-Z]\d\d | \d[A-Z]{3}\d{3}    # Americas, Sweden, Kenya
    | [A-Z]{2}[ -]?\d{4,5}[ -]?[A-Z]{0,2} | \d{1,3}-?[A-Z]{2,3}-?\d{1,3}   # Norway, Denmark, Ukraine, the Netherlands
    | [A-Z]{2}-?\d{2}-?\d{2} | \d{2}-?\d{2}-?[A-Z]{2} | \d{2}-?[A-Z]{2}-?\d{2} | [A-Z]-?\d{3}-?[A-Z]{2}
    | [ABEKMHOPCTYX]\d{3}[ABEKMHOPCTYX]{2}\d{2,3}                          # Russia
    | \d{2,3}[가-힣]\d{4} | [가-힣]{2}\d{2}[가-힣]\d{4} | [\u4e00-\u9fff][A-Z][ ·]?[A-Z0-9]{5,6}
    """,
    re.VERBOSE,
)


def plate(value: str) -> bool | None:
    """A vehicle's plate beside a word for it."""
    if len(value) > 16:
        return False
    return None if _PLATES.fullmatch(value.upper()) and not _ZEROS.search(value) else False


_ZEROS = re.compile(r"(?<!\d)0+(?!\d)")

_ALONE = re.compile(
    r"""
    (?:0[1-9]|[1-7]\d|8[01])[ -]?[A-PR-VYZ]{1,3}[ -]?\d{2,4}
    | [A-Z]{2}\d{1,2}[ -]?[A-Z]{1,3}[ -]?\d{4} | [2-9]\dBH\d{4}[A-HJ-NP-Z]{1,2}
    | [A-HJ-PR-Y]{2}(?:0[1-9]|[1-7]\d)[ -]?[A-HJ-PR-Z]{3} | [A-Z]{2}[ -]\d{3}[ -][A-Z]{2} | [A-Z]{3}[ -]?\d{3}[A-Z]{2}
    | [A-HJ-NPR-TV-Y]\d{1,3}[ -]?[A-HJ-PR-Y][A-HJ-PR-Z]{2} | [A-HJ-PR-Z]{3}[ -]?\d{1,3}[ -]?[A-HJ-NPR-TV-Y]
    | [A-Z]{2,4}[ ]?\d{2,4}[ ]?[A-Z]{0,4}[ ]?(?:GP|ZN|WP|EC|NC|FS|LP|MP|NW) | [A-Z]{3}[ -]?\d{4}
    | [A-ZÄÖÜ]{1,3}[ -][A-Z]{1,2}[ -]\d{1,4}[EH]? | [A-Z]{3}\d[A-Z]\d\d
    """,
    re.VERBOSE,
)


def plate_alone(value: str) -> bool | None:
    """A text that is nothing but a plate of a shape that few other things have."""
    return None if len(value) <= 14 and _ALONE.fullmatch(value.upper()) and not _ZEROS.search(value) else False


def passport(value: str) -> bool | None:
    """A document's number beside a word for it: six to twelve letters and digits, no date. ICAO Doc 9303-4 §4.2."""
    bare = compact(value)
    digits = sum(c.isdigit() for c in bare)
    return None if 6 <= len(bare) <= 14 and digits >= 3 and not DATE.fullmatch(value) else False


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
