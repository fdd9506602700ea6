"""Told: figures of a report in words, the same on its page and in its card."""

from __future__ import annotations

from llmguard.census.lowest import Estimate
from llmguard.census.report import Report
from llmguard.risk.words import named


def told(report: Report) -> str:
    """The report in one sentence or two."""
    if not report.records:
        return "There is nothing in it."
    found = sum(s.records for s in report.strata if s.name not in ("clean", "bad"))
    unit, share = report.unit, percent(found / report.records)
    said = f"{found:,} of {report.records:,} {unit}s ({share}) held personal data, secrets or internal data"
    if report.people.distinct.value > 1:
        said += f" of at least {rough(report.people.distinct)} people"
    if report.copies.surplus.value:
        copies = rough(report.copies.surplus)
        said += f". {copies[0].upper()}{copies[1:]} {unit}s are copies of others: what repeats is learnt by heart"
    return f"{said}."


def size(count: int) -> str:
    """Bytes in words."""
    for unit, least in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= least:
            return f"{count / least:.3g} {unit}"
    return f"{count} bytes"


def percent(share: float) -> str:
    """A share in words, never 0 or 100 where it is neither."""
    if 0 < share < 0.001:
        return "< 0.1 %"
    if 0.999 < share < 1:
        return "> 99.9 %"
    return f"{100 * share:.1f} %"


def rough(count: Estimate) -> str:
    """An estimate without its error."""
    return str(count).partition(" (")[0]


def brief(count: Estimate) -> str:
    """An estimate where there is little room."""
    n, about = count.value, "≈ " if count.error else ""
    for unit, least in (("G", 10**9), ("M", 10**6)):
        if n >= least:
            return f"{about}{n / least:.3g} {unit}"
    return about + (rough(count).removeprefix("about ") if count.error else f"{n:,}")


def between(most: tuple[int, int]) -> str:
    """A number that is known, or lies between two."""
    low, high = most
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def typed(type_: str) -> str:
    """A type, to begin a line with."""
    said = named(type_, 2)
    return said[0].upper() + said[1:]
