"""Figures: what was decided, counted by the hour in memory, so that a look reads only calls that came since the last.

It owns the counts and when they are believed: calls are filed by the time they arrived at, and stored a little later,
so the newest ``LATE_MS`` are looked at again each time. Invariant: every kept call of a counted hour counts once; what
was forgotten leaves the counts within ``CHECK_MS``. Memory is bounded by hours and names, work by a look's deadline.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from llmguard.approvals.history import begins
from llmguard.facts import Facts
from llmguard.store import Store, Transaction, calls

T = TypeVar("T")
HOUR_MS = 3_600_000
WINDOW_MS = 31 * 24 * HOUR_MS
"""How far back is counted at most."""
LATE_MS = 300_000
"""How long after its arrival a call may still be stored."""
CHECK_MS = 300_000
"""Between looks at whether calls were forgotten meanwhile."""
WORK = 1.0
"""Seconds that one look counts at most; the next one goes on."""
PAGE, IDS = 500, 5000
NAMES = 300
"""Different names of a kind that one hour tells apart; later ones are counted as ``OTHERS``."""
OTHERS = "(others)"
BINS = 10
TENANTS = 16
"""Tenants, and people who see their own calls, whose counts are kept."""
_REPLACES = ("redact", "require_approval")


class Tally:
    """Counts of some calls. ``types``: found, and replaced before it left. ``risks``: as written and as it left, in
    tenths. ``principals``: name, human, calls, held, blocked, findings.
    """

    __slots__ = ("calls", "principals", "risks", "rules", "shadow", "types", "verdicts")

    def __init__(self) -> None:
        self.calls = 0
        self.verdicts: Counter[str] = Counter()
        self.types: dict[str, list[int]] = {}
        self.risks = [[0, 0] for _ in range(BINS)]
        self.rules: Counter[tuple[str, str]] = Counter()
        self.shadow: Counter[tuple[str, str]] = Counter()
        self.principals: dict[str, list[Any]] = {}

    def add(self, kept: calls.Kept, facts: Facts) -> None:
        verdict = kept.verdict
        self.calls += 1
        self.verdicts[verdict] += 1
        for i, risk in enumerate((kept.inherent, kept.residual)):
            self.risks[min(risk * BINS // 100, BINS - 1)][i] += 1
        self._count(self.rules, (kept.rule, verdict), 1)
        for said in kept.shadow:
            self._count(self.shadow, said, 1)
        found = 0
        for f in facts.found:
            found += f.times
            row = _row(self.types, f.type, lambda: [0, 0])
            row[0] += f.times
            row[1] += f.times if verdict in _REPLACES and f.redactable else 0
        row = _row(self.principals, facts.principal, lambda: [facts.principal_name, facts.human, 0, 0, 0, 0])
        _sum(row, (1, verdict == "require_approval", verdict == "block", found), 2)

    def merge(self, other: Tally) -> None:
        self.calls += other.calls
        self.verdicts.update(other.verdicts)
        for mine, theirs in zip(self.risks, other.risks, strict=True):
            _sum(mine, theirs)
        for counts, more in ((self.rules, other.rules), (self.shadow, other.shadow)):
            for key, n in more.items():
                self._count(counts, key, n)
        for type_, counted in other.types.items():
            _sum(_row(self.types, type_, lambda: [0, 0]), counted)
        for id_, (name, human, *counted) in other.principals.items():
            _sum(_row(self.principals, id_, lambda n=name, h=human: [n, h, 0, 0, 0, 0]), counted, 2)  # type: ignore[misc]

    @staticmethod
    def _count(counts: Counter[tuple[str, str]], key: tuple[str, str], n: int) -> None:
        counts[key if key in counts or len(counts) < NAMES else (OTHERS, key[1])] += n


class Counted:
    """The hours of one tenant, or of the calls that one ``human`` answers for."""

    def __init__(self, store: Store, tenant: str, human: str | None, kept_ms: int) -> None:
        self._store, self._tenant, self._human = store, tenant, human
        self._window = min(WINDOW_MS, kept_ms)
        self._hours: dict[int, Tally] = {}
        self._floor = 0  # from here on all is counted, or will be by _news
        self._mark = ""  # an id up to which nothing comes any more
        self._recent: set[str] = set()  # ids behind it that are counted
        self._half = ""  # how far the hour before the floor is counted
        self._checked = 0

    def look(self, now: int, begin: int, seconds: float = WORK) -> bool:
        """Counts what is new, and back to ``begin`` (UTC ms), for some seconds; whether all of it is counted."""
        deadline = time.monotonic() + seconds
        if now - self._checked > CHECK_MS:
            self._check(now)
        oldest = -(-(now - self._window) // HOUR_MS) * HOUR_MS
        self._prune(oldest)
        return self._news(now, deadline) and self._former(max(begin, oldest), deadline)

    def since(self, begin: int) -> Iterator[tuple[int, Tally]]:
        """The counted hours since a moment, with their beginnings."""
        return ((hour, tally) for hour, tally in sorted(self._hours.items()) if hour >= begin)

    # ----------------------------------------------------------------- reading

    def _read(self, work: Callable[[Transaction], T]) -> T:
        return self._store.read(work)

    def _check(self, now: int) -> None:
        """Begins anew if calls are gone that were counted; of one human's that is not known, so they are."""
        whole = self._floor and self._human is None
        if whole:
            settled = sum(t.calls for h, t in self._hours.items() if h >= self._floor) - len(self._recent)
            before, after = self._mark + "0", _before(begins(self._floor))
            whole = self._read(lambda tx: calls.count(tx, self._tenant, after, before)) == settled
        if not whole:
            self._hours.clear()
            self._recent.clear()
            self._half = ""
            self._floor = (now - LATE_MS) // HOUR_MS * HOUR_MS
            self._mark = _before(begins(self._floor))
        self._checked = now

    def _prune(self, oldest: int) -> None:
        if oldest > self._floor:
            self._floor, self._half = oldest, ""
        for hour in [h for h in self._hours if h < min(oldest, self._floor)]:
            del self._hours[hour]

    def _news(self, now: int, deadline: float) -> bool:
        """Calls behind the mark that are not counted yet. What came long enough ago moves the mark on."""
        settled, at = begins(now - LATE_MS), self._mark
        while True:
            ids = self._read(lambda tx, at=at: calls.ids(tx, self._tenant, at, IDS, human=self._human))  # type: ignore[misc]
            if not self._known([i for i in ids if i not in self._recent], deadline):
                return False
            at = ids[-1] if ids else at
            mark = at if at < settled and len(ids) == IDS else settled
            if mark > self._mark:
                self._mark, self._recent = mark, {i for i in self._recent if i > mark}
            if len(ids) < IDS:
                return True

    def _known(self, new: list[str], deadline: float) -> bool:
        for start in range(0, len(new), PAGE):
            if start and time.monotonic() > deadline:  # each look gets on
                return False
            some = new[start : start + PAGE]
            self._add(self._read(lambda tx, some=some: calls.several(tx, self._tenant, some)))  # type: ignore[misc]
            self._recent.update(some)
        return True

    def _former(self, begin: int, deadline: float) -> bool:
        """Hours before the floor, the newest first."""
        while self._floor > begin:
            hour = self._floor - HOUR_MS
            after, before = self._half or _before(begins(hour)), begins(self._floor)
            ids = self._read(lambda tx, a=after, b=before: calls.ids(tx, self._tenant, a, PAGE, b, self._human))  # type: ignore[misc]
            self._add(self._read(lambda tx, ids=ids: calls.several(tx, self._tenant, ids)))  # type: ignore[misc]
            self._half = ids[-1] if len(ids) == PAGE else ""
            if not self._half:
                self._floor = hour
            if time.monotonic() > deadline and self._floor > begin:
                return False
        return True

    def _add(self, found: Iterable[calls.Kept]) -> None:
        for kept in found:
            facts = kept.facts
            if self._human is None or facts.human == self._human:
                hour = facts.received // HOUR_MS * HOUR_MS
                self._hours.setdefault(hour, Tally()).add(kept, facts)


class Figures:
    """The counts of every tenant that is looked at. Safe for threads: one counts at a time."""

    def __init__(self, store: Store, kept_ms: int) -> None:
        self._store = store
        self._kept_ms = kept_ms
        self._counted: OrderedDict[tuple[str, str | None], Counted] = OrderedDict()
        self._lock = threading.Lock()

    def look(
        self, tenant: str, human: str | None, now: int, begin: int, seconds: float = WORK
    ) -> tuple[list[tuple[int, Tally]], bool]:
        """The hours since ``begin``, and whether they are all counted. ``human``: of the calls of this one alone."""
        with self._lock:
            key = (tenant, human)
            counted = self._counted.pop(key, None) or Counted(self._store, tenant, human, self._kept_ms)
            self._counted[key] = counted
            if len(self._counted) > TENANTS:
                self._counted.popitem(last=False)
            whole = counted.look(now, begin, seconds)
            return list(counted.since(begin)), whole


def _before(id_: str) -> str:
    """Something right before an id that ends with zeros, so that the id itself lies behind it."""
    return id_[:10] + "/"


def _row(rows: dict[str, list[Any]], name: str, new: Callable[[], list[Any]]) -> list[Any]:
    if name not in rows:
        if len(rows) >= NAMES:
            return rows.setdefault(OTHERS, [*("" if isinstance(v, str) else 0 for v in new())])
        rows[name] = new()
    return rows[name]


def _sum(row: list[Any], more: Iterable[int], start: int = 0) -> None:
    for i, n in enumerate(more, start):
        row[i] += n
