"""Dates of birth: shifted by a keyed number of days, in the format that they were written in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, timedelta

from llmguard.redaction.surrogates.draw import Draw, says

_MOST = 1000
"""Days by which a date is shifted at most, into the past; less recent ones may also go the other way."""
_RECENT = 2005
_NUMBERS = re.compile(r"\d+")
_MONTHS = tuple(
    tuple(names.split())
    for names in (
        "january february march april may june july august september october november december",
        "jan feb mar apr may jun jul aug sep oct nov dec",
        "januar februar märz april mai juni juli august september oktober november dezember",
        "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
        "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
        "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
        "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro",
        "januari februari maart april mei juni juli augustus september oktober november december",
    )
)
_BETWEEN = "st nd rd th of the den der er le de del do di d г года р н 年 月 日 년 월 일"
_KNOWN = frozenset((*_BETWEEN.split(), *(name for names in _MONTHS for name in names)))
"""Words of a date."""
_WORD = re.compile(r"[^\W\d_]{3,}")
_ORDINAL = re.compile(r"\b(\d{1,2})(?:st|nd|rd|th)\b")


def date_of_birth(value: str, draw: Draw) -> str:
    """Another date in the same format; of what is not understood, other numbers that could stand there."""
    if not says(value, _KNOWN):
        return draw.shaped(value)
    numbers = list(_NUMBERS.finditer(value))
    named = _named_month(value)
    if named is not None and len(numbers) == 2:
        return _shifted_named(value, numbers, named, draw)
    if len(numbers) == 3 and named is None:
        return _shifted(value, numbers, draw)
    return _plausible(value, draw)


def _named_month(value: str) -> tuple[re.Match[str], tuple[str, ...], int] | None:
    """Where a month stands, the names of its language, and which it is (0 to 11)."""
    for match in _WORD.finditer(value):
        for names in _MONTHS:
            if match[0].casefold() in names:
                return match, names, names.index(match[0].casefold())
    return None


def _shifted(value: str, numbers: list[re.Match[str]], draw: Draw) -> str:
    """Three numbers: year first or last. Where day and month could be either, they still can afterwards."""
    texts = [m[0] for m in numbers]
    order = _order(texts)
    by = dict(zip(order, texts, strict=True))
    born = _date(_whole_year(by["year"]), int(by["month"]), int(by["day"]))
    if born is None:
        return _plausible(value, draw)
    either = order == ("day", "month", "year") and int(by["day"]) <= 12
    new = next(d for d in _others(born, draw) if not either or d.day <= 12)
    return _filled(value, numbers, tuple(int(getattr(new, part)) for part in order))


def _order(texts: list[str]) -> tuple[str, str, str]:
    if len(texts[0]) == 4:
        return ("year", "month", "day") if int(texts[1]) <= 12 else ("year", "day", "month")
    return ("month", "day", "year") if int(texts[1]) > 12 else ("day", "month", "year")


def _shifted_named(
    value: str, numbers: list[re.Match[str]], named: tuple[re.Match[str], tuple[str, ...], int], draw: Draw
) -> str:
    word, names, month = named
    long = max(numbers, key=lambda m: len(m[0]))
    short = next(m for m in numbers if m is not long)
    born = _date(_whole_year(long[0]), month + 1, int(short[0]))
    if born is None:
        return _plausible(value, draw)
    several = sum(word[0].casefold() in others for others in _MONTHS) > 1  # the language is not known: it stays
    new = next(d for d in _others(born, draw) if not several or d.month == born.month)
    name = names[new.month - 1]
    name = name.upper() if word[0].isupper() else name.capitalize() if word[0][0].isupper() else name
    pieces = sorted([(long, new.year), (short, new.day)], key=lambda pair: pair[0].start())
    text = _filled(value, [m for m, _ in pieces], tuple(n for _, n in pieces))
    at = text.find(word[0])
    return _ORDINAL.sub(_ordinal, text[:at] + name + text[at + len(word[0]) :])


def _ordinal(match: re.Match[str]) -> str:
    day = int(match[1])
    return match[1] + ("th" if day in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th"))


def _others(born: date, draw: Draw) -> Iterator[date]:
    """Dates near ``born``, without end."""
    while True:
        days = 31 + draw.below(_MOST - 31)
        later = born.year < _RECENT and draw.below(2)
        if later or born.year > 3:
            yield born + timedelta(days if later else -days)


def _date(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None


def _whole_year(written: str) -> int:
    return int(written) if len(written) == 4 else 1900 + int(written) % 100


def _filled(value: str, numbers: list[re.Match[str]], new: tuple[int, ...]) -> str:
    """The numbers replaced, each as long as it was written; a day or month without zeros keeps to that."""
    out, end = [], 0
    for match, number in zip(numbers, new, strict=True):
        width = len(match[0]) if len(match[0]) > 1 else 1
        out += [value[end : match.start()], str(number).zfill(width)[-max(width, 2) :]]
        end = match.end()
    return "".join([*out, value[end:]])


def _plausible(value: str, draw: Draw) -> str:
    """A year near the one that is written, a month or day that every month has."""

    def number(match: re.Match[str]) -> str:
        written = int(match[0])
        if len(match[0]) == 4:
            return str(written - 1 - draw.below(3))
        if len(match[0]) > 2:
            return draw.digits(len(match[0]))
        return str(1 + draw.below(12 if written <= 12 else 28)).zfill(len(match[0]))

    return _NUMBERS.sub(number, value)
