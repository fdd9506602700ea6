"""Arithmetic that checks of several countries share: weighted sums, Luhn, ICAO, days of the calendar.

Owns: no country. Invariant: linear in the length of the value.
"""

from __future__ import annotations

from datetime import date
from operator import mul


def weighted(value: str, weights: tuple[int, ...]) -> int:
    """Sum of the digits, each times its weight; what has no weight does not count."""
    return sum(map(mul, map(int, value), weights))


def is_date(digits: str) -> bool:
    """Whether six digits are a year, month and day of any century."""
    month, day = int(digits[2:4]), int(digits[4:6])
    return 1 <= month <= 12 and 1 <= day <= (29 if month == 2 else 30 if month in (4, 6, 9, 11) else 31)


def is_calendar_date(digits: str) -> bool:
    """Whether eight digits are a day of the calendar since 1800."""
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:8])).year >= 1800
    except ValueError:
        return False


def luhn(digits: str) -> bool:
    """ISO/IEC 7812-1 annex B."""
    doubled = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
    return sum(doubled[int(d)] if i % 2 else int(d) for i, d in enumerate(reversed(digits))) % 10 == 0


def icao(value: str) -> int:
    """ICAO Doc 9303-3 §4.9: weights 7 3 1, letters from 10 on."""
    return sum(int(c, 36) * (7, 3, 1)[i % 3] for i, c in enumerate(value)) % 10


def cross_sum(digits: str, weights: tuple[int, ...]) -> int:
    """Sum of the digit sums of weighted digits."""
    return sum(n // 10 + n % 10 for n in (int(d) * w for d, w in zip(digits, weights, strict=False)))
