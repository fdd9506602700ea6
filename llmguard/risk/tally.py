"""Tally: what one pass over the findings of a call counts, as written and as it would leave.

Invariant: it is the same in whatever order the findings come, and no figure falls when one more comes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from llmguard.facts import Found
from llmguard.model import Severity
from llmguard.risk.weights import HUMANITY, Weights

StyleOf = Callable[[Found], str]
"""In which style a finding leaves; "" if it leaves as it was written."""
RANK: dict[Severity, int] = {"low": 0, "medium": 1, "high": 2, "critical": 3}
ONE_EACH = frozenset(
    (
        *("PERSON", "US_SSN", "UK_NINO", "US_ITIN", "NATIONAL_ID", "PASSPORT_NUMBER", "DRIVER_LICENSE", "TAX_ID"),
        *("NHS_NUMBER", "MEDICAL_RECORD", "MEDICAL_ID", "EMAIL", "PHONE", "CREDIT_CARD", "IBAN", "BANK_ACCOUNT"),
        "CUSTOMER_ID",
    )
)
"""Types of which somebody has about one."""
Value = list[float]
"""One distinct value: the most points that it has, the most that are left of them, and how often it comes."""
POINTS, LEFT, TIMES = range(3)


class Side:
    """Who and how much is concerned, by a part of the findings. ``people`` by type, ``bits`` by record and type."""

    __slots__ = ("bits", "people", "rows")

    def __init__(self) -> None:
        self.people: dict[str, set[str]] = {}
        self.rows: set[int] = set()
        self.bits: dict[int, dict[str, float]] = {}

    def add(self, f: Found, bits: float) -> None:
        """One finding, whose type narrows somebody down by so many bits."""
        self.rows.add(f.row)
        if f.type in ONE_EACH and f.category == "pii":
            if f.type not in self.people:
                self.people[f.type] = set()
            self.people[f.type].add(f.person or f.identity)
        if bits:
            record = self.bits.get(f.record)
            if record is None:
                record = self.bits[f.record] = {}
            if bits > record.get(f.type, 0.0):
                record[f.type] = bits

    @property
    def heads(self) -> int:
        """How many people can be told apart, at least: distinct values of the kind of which there are most."""
        return max(map(len, self.people.values())) if self.people else 0

    def told(self) -> tuple[float, list[str]]:
        """The most bits that one record says of who somebody is, and by which types."""
        records = [(math.fsum(r.values()), sorted(r)) for r in self.bits.values()]
        bits, types = max(records, default=(0.0, []))
        return min(bits, HUMANITY), types


class Tally:
    """``values`` by type and identity; ``severity`` the worst of a type; ``personal``: types that are a person's;
    ``written``: everything; ``leaving``: what leaves as it was written, and ``open`` how many findings do.
    """

    __slots__ = ("leaving", "open", "personal", "severity", "values", "written")

    def __init__(self, found: Sequence[Found], weigh: Weights, style: StyleOf) -> None:
        self.values: dict[str, dict[str, Value]] = {}
        self.severity: dict[str, int] = {}
        self.personal: set[str] = set()
        self.written, self.leaving, self.open = Side(), Side(), 0
        shares, bits = weigh.left, weigh.bits
        for f in found:
            points = left = weigh.severity[f.severity] * f.confidence
            narrowed = bits.get(f.type, 0.0) * f.confidence
            self.written.add(f, narrowed)
            if leaves := style(f):
                left *= shares[leaves]
            else:
                self.open += 1
                self.leaving.add(f, narrowed)
            self._value(f, points, left)

    def _value(self, f: Found, points: float, left: float) -> None:
        values = self.values.get(f.type)
        if values is None:
            values = self.values[f.type] = {}
            self.severity[f.type] = 0
        if f.category == "pii":
            self.personal.add(f.type)
        self.severity[f.type] = max(self.severity[f.type], RANK[f.severity])
        value, times = values.get(f.identity), f.times if f.identity else 0  # nobody knows which of those are equal
        if value is None:
            values[f.identity] = [points, left, times or 1]
        else:
            values[f.identity] = [max(value[0], points), max(value[1], left), value[2] + times]


def people(found: Iterable[Found]) -> int:
    """How many people can be told apart in these findings, at least."""
    side = Side()
    for f in found:
        side.add(f, 0.0)
    return side.heads
