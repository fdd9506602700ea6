"""Replay: what another policy would have decided of calls that were kept, counted by what it changes.

It owns no calls and no clock: calls come one by one, memory stays the same however many there are, and the same calls
make the same report in any pieces. Invariant: whatever was decided under the policy that is compared with counts as it
was decided; only what a former one decided is decided anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from llmguard.errors import GuardUnavailable
from llmguard.facts import Facts, undated
from llmguard.model import Requirement, Risk
from llmguard.policy import Policy

EXAMPLES = 5
"""Ids of calls that stand for a row."""
NAMES = 1000
"""Principals that are told apart; of more, the later ones are counted together."""
OTHERS = "others"
BINS = 10
"""Of the residual risk, each as wide."""
REMEMBERED = 20_000
"""Different decisions that are remembered, and calls that are alike."""
LARGEST, FEW = 1200, 50
"""Bytes of kept facts, and findings, beyond which they are not: calls with many findings are hardly ever alike."""
_STRICTNESS = {"allow": 0, "redact": 1, "require_approval": 2, "block": 3, "error": 4}
EFFECTS = {
    "newly_refused": "refused, for a rule errs",
    "newly_blocked": "newly blocked",
    "newly_held": "newly held",
    "newly_redacted": "newly redacted",
    "unredacted": "no longer redacted",
    "newly_freed": "newly freed",
    "unblocked": "held, no longer blocked",
    "other_rule": "decided the same by another rule",
    "same": "decided the same",
}
"""What a change of policy does to a call, the strictest first, in words."""
LOOSENS = ("unredacted", "newly_freed", "unblocked")
CHANGED = tuple(effect for effect in EFFECTS if effect not in ("other_rule", "same"))
People = Callable[[Requirement, str], int]
"""How many people a requirement means for a call with such a human behind it ("": nobody is accountable)."""


class Recorded(Protocol):
    """A kept call (``store.calls.Kept``)."""

    @property
    def id(self) -> str: ...
    @property
    def verdict(self) -> str: ...
    @property
    def rule(self) -> str: ...
    @property
    def policy(self) -> str: ...
    @property
    def inherent(self) -> int: ...
    @property
    def residual(self) -> int: ...
    @property
    def kept(self) -> bytes: ...
    @property
    def facts(self) -> Facts: ...


@dataclass(frozen=True, slots=True)
class Row:
    """Calls that one rule decided so before, and one rule so now. ``examples``: ids of the first of them."""

    effect: str
    before: str
    before_rule: str
    after: str
    after_rule: str
    calls: int
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """What was counted. ``first`` and ``last``: when the calls came (UTC ms), 0 if there are none.

    ``anew``: calls that a former policy had decided, so that what stands before is decided anew. ``partial``: calls of
    which more was found than is kept. ``by``: changed calls by ``principal``, ``operation``, ``type``, each by effect.
    ``days``: UTC day → calls, held before, held now. ``risks``: residual risk in tenths → calls and held before, calls
    and held now. ``people``: people who had to decide, and would have to, over all held calls. ``moved``: calls whose
    risk is higher and lower now, and the largest move of one. ``shadow``: rules that would be tried in shadow mode, by
    what they would have said.
    """

    calls: int = 0
    first: int = 0
    last: int = 0
    anew: int = 0
    partial: int = 0
    rows: tuple[Row, ...] = ()
    by: Mapping[str, Mapping[str, Mapping[str, int]]] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    days: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    risks: tuple[tuple[int, int, int, int], ...] = ((0, 0, 0, 0),) * BINS
    people: tuple[int, int] = (0, 0)
    moved: tuple[int, int, int] = (0, 0, 0)
    shadow: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @property
    def effects(self) -> dict[str, int]:
        """Calls by effect, the strictest first; without those that there are none of."""
        counts: Counter[str] = Counter()
        for row in self.rows:
            counts[row.effect] += row.calls
        return {effect: counts[effect] for effect in EFFECTS if counts[effect]}

    def verdicts(self) -> dict[str, tuple[int, int]]:
        """Calls by verdict, before and now."""
        before: Counter[str] = Counter()
        after: Counter[str] = Counter()
        for row in self.rows:
            before[row.before] += row.calls
            after[row.after] += row.calls
        return {v: (before[v], after[v]) for v in _STRICTNESS if before[v] or after[v]}

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "effects": self.effects}

    @classmethod
    def of_json(cls, told: Mapping[str, Any]) -> Report:
        """The reverse of ``as_json``. Raises ValueError for anything else."""
        try:
            plain = {
                name: told[name] for name in ("calls", "first", "last", "anew", "partial", "by", "names", "shadow")
            }
            rows = tuple(Row(**{**row, "examples": tuple(row["examples"])}) for row in told["rows"])
            days = {str(day): (int(a), int(b), int(c)) for day, (a, b, c) in told["days"].items()}
            risks = tuple((int(a), int(b), int(c), int(d)) for a, b, c, d in told["risks"])
            (more, fewer), (up, down, most) = told["people"], told["moved"]
            return cls(**plain, rows=rows, days=days, risks=risks, people=(more, fewer), moved=(up, down, most))
        except (KeyError, TypeError, AttributeError) as e:
            raise ValueError(f"this is no report of a replay ({type(e).__name__})") from None

    def __add__(self, later: Report) -> Report:
        """Of the calls of both; those of ``later`` came behind these."""
        tally = _Tally()
        tally.report(self)
        tally.report(later)
        return tally.whole()


def replay(calls: Iterable[Recorded], old: Policy, new: Policy, needs: People | None = None) -> Report:
    """What ``new`` would have decided of ``calls``, oldest first, against ``old``.

    Raises ValueError for calls that another version of the guard kept.
    """
    tally, anew = _Tally(needs or (lambda requirement, _: requirement.quorum)), _Anew(old, new)
    for kept in calls:
        tally.add(kept.id, *anew.decided(kept))
    return tally.whole()


def effect(before: str, before_rule: str, after: str, after_rule: str) -> str:
    """What became of a call, as ``EFFECTS`` names it."""
    if before == after:
        return "same" if before_rule == after_rule else "other_rule"
    if _STRICTNESS[after] > _STRICTNESS[before]:
        stricter = {"error": "refused", "block": "blocked", "require_approval": "held", "redact": "redacted"}
        return f"newly_{stricter[after]}"
    if before == "redact":
        return "unredacted"
    return "unblocked" if after in ("require_approval", "block") else "newly_freed"


# --------------------------------------------------------------------------- deciding anew


@dataclass(frozen=True, slots=True)
class _Said:
    verdict: str
    rule: str
    requirement: Requirement | None
    shadow: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class _Both:
    """What is said of a call before and now, with its risk then and now. ``anew``: before is decided anew as well."""

    facts: Facts
    before: _Said
    was: Risk
    after: _Said
    risk: Risk
    anew: bool


class _Anew:
    """Decides kept calls anew, and calls that are alike but for their time and size once."""

    def __init__(self, old: Policy, new: Policy) -> None:
        self._old, self._new = old, new
        self._before, self._after = _Decider(old), _Decider(new)
        self._alike = all(old.document.get(key) == new.document.get(key) for key in ("weights", "styles"))
        self._required = {rule.name: rule.requirement for rule in old.rules}
        read = old.reads.variables | new.reads.variables
        self._timeless = not read & {"time.hour", "time.weekday"}
        self._weightless = self._alike and not read & {"call.bytes", "call.characters", "call.people"}
        self._known: dict[Any, _Both] = {}

    def decided(self, kept: Recorded) -> tuple[int, _Both]:
        """When the call came, and what is said of it."""
        recorded = kept.policy == self._old.version
        # the risk of what left as written was kept as written, so that it is worked out again
        told = recorded and kept.verdict != "allow"
        few = len(kept.kept) <= LARGEST
        rest, moment = undated(kept.kept, weighed=not (self._weightless and told and few))
        key = (rest, kept.verdict, kept.rule, kept.inherent, kept.residual) if recorded else (rest, kept.policy)
        both = self._known.get(key)
        if both is None:
            both = self._both(kept, recorded, told)
            if self._timeless and few:
                if len(self._known) >= REMEMBERED:
                    self._known.clear()
                self._known[key] = both
        return moment, both

    def _both(self, kept: Recorded, recorded: bool, told: bool) -> _Both:
        facts = kept.facts
        was = Risk(kept.inherent, kept.residual) if told and self._alike else self._old.risk(facts)
        risk = was if self._alike else self._new.risk(facts)
        if recorded:
            held = self._required.get(kept.rule, Requirement()) if kept.verdict == "require_approval" else None
            before = _Said(kept.verdict, kept.rule, held)
        else:
            before = self._before.said(facts, was)
        return _Both(facts, before, was, self._after.said(facts, risk), risk, not recorded)


class _Decider:
    """Decides with a policy, and remembers what it decided by all that its conditions can see of a call."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._known: dict[Any, _Said] = {}

    def said(self, facts: Facts, risk: Risk) -> _Said:
        if len(facts.found) > FEW:
            return self._decided(facts, risk)
        key = self._policy.alike(facts, risk)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            known = self._known[key] = self._decided(facts, risk)
        return known

    def _decided(self, facts: Facts, risk: Risk) -> _Said:
        try:
            decision = self._policy.decide(facts, risk)
        except GuardUnavailable:
            return _Said("error", "policy", None)
        return _Said(decision.verdict, decision.rule, decision.requirement, decision.shadow)


# --------------------------------------------------------------------------- counting


class _Tally:
    """The counts while calls come."""

    def __init__(self, needs: People | None = None) -> None:
        self.calls = self.first = self.last = self.anew = self.partial = 0
        self._needs = needs or (lambda requirement, _: requirement.quorum)
        self._rows: dict[tuple[str, str, str, str], list[Any]] = {}
        self._by: dict[str, dict[str, Counter[str]]] = {"principal": {}, "operation": {}, "type": {}}
        self._names: dict[str, str] = {}
        self._days: dict[int | str, list[int]] = {}
        self._risks = [[0, 0, 0, 0] for _ in range(BINS)]
        self._people, self._moved = [0, 0], [0, 0, 0]
        self._shadow: dict[str, Counter[str]] = {}

    def add(self, id_: str, moment: int, both: _Both) -> None:
        before, after, facts = both.before, both.after, both.facts
        self.calls += 1
        self.anew += both.anew
        self.first, self.last = self.first or moment, moment
        self.partial += facts.partial
        key = before.verdict, before.rule, after.verdict, after.rule
        row = self._rows.get(key)
        if row is None:
            row = self._rows[key] = [effect(*key), 0, []]
        row[1] += 1
        if len(row[2]) < EXAMPLES:
            row[2].append(id_)
        if row[0] not in ("same", "other_rule"):
            self._changed(facts, row[0])
        held = before.verdict == "require_approval", after.verdict == "require_approval"
        day = self._days.setdefault(moment // 86_400_000, [0, 0, 0])
        day[0] += 1
        day[1] += held[0]
        day[2] += held[1]
        self._risk(both, held)
        for i, said in enumerate((before, after)):
            if said.requirement is not None:
                self._people[i] += self._needs(said.requirement, facts.human)
        for rule, would in after.shadow:
            self._shadow.setdefault(rule, Counter())[would] += 1

    def _changed(self, facts: Facts, what: str) -> None:
        principal = facts.principal
        if principal not in self._names:
            if len(self._names) < NAMES:
                self._names[principal] = facts.principal_name
            else:
                principal = OTHERS
        named = (("principal", [principal]), ("operation", [facts.operation]), ("type", {f.type for f in facts.found}))
        for table, names in named:
            for name in names:
                self._by[table].setdefault(name, Counter())[what] += 1

    def _risk(self, both: _Both, held: tuple[bool, bool]) -> None:
        was, risk = both.was, both.risk
        left = _left(both.before, was), _left(both.after, risk)
        for i in (0, 1):
            tenth = self._risks[min(left[i] * BINS // 100, BINS - 1)]
            tenth[2 * i] += 1
            tenth[2 * i + 1] += held[i]
        if move := risk.residual - was.residual or risk.inherent - was.inherent:
            self._moved[move < 0] += 1
            self._moved[2] = max(self._moved[2], abs(risk.residual - was.residual), abs(risk.inherent - was.inherent))

    def report(self, other: Report) -> None:
        """Takes in what was counted elsewhere."""
        self.calls += other.calls
        self.anew += other.anew
        self.partial += other.partial
        self.first, self.last = self.first or other.first, other.last or self.last
        for r in other.rows:
            row = self._rows.setdefault((r.before, r.before_rule, r.after, r.after_rule), [r.effect, 0, []])
            row[1] += r.calls
            row[2] = [*row[2], *r.examples][:EXAMPLES]
        for name, shown in other.names.items():
            if len(self._names) < NAMES:
                self._names.setdefault(name, shown)
        for table, names in other.by.items():
            for name, counts in names.items():
                known = table != "principal" or name in self._names
                self._by[table].setdefault(name if known else OTHERS, Counter()).update(counts)
        for day, counted in other.days.items():
            self._days[day] = [a + b for a, b in zip(self._days.get(day, (0, 0, 0)), counted, strict=True)]
        self._risks = [
            [a + b for a, b in zip(*pair, strict=True)] for pair in zip(self._risks, other.risks, strict=True)
        ]
        self._people = [a + b for a, b in zip(self._people, other.people, strict=True)]
        up, down, most = self._moved
        self._moved = [up + other.moved[0], down + other.moved[1], max(most, other.moved[2])]
        for rule, would in other.shadow.items():
            self._shadow.setdefault(rule, Counter()).update(would)

    def whole(self) -> Report:
        order = list(EFFECTS)
        rows = [Row(what, *key, calls, tuple(ids)) for key, (what, calls, ids) in self._rows.items()]
        rows.sort(key=lambda r: (order.index(r.effect), -r.calls, r.before, r.before_rule, r.after, r.after_rule))
        by = {table: {name: dict(sorted(c.items())) for name, c in sorted(t.items())} for table, t in self._by.items()}
        days = {day if isinstance(day, str) else _day(day): (a, b, c) for day, (a, b, c) in self._days.items()}
        return Report(
            self.calls,
            self.first,
            self.last,
            self.anew,
            self.partial,
            tuple(rows),
            by,
            dict(sorted(self._names.items())),
            dict(sorted(days.items())),
            tuple((a, b, c, d) for a, b, c, d in self._risks),
            (self._people[0], self._people[1]),
            (self._moved[0], self._moved[1], self._moved[2]),
            {rule: dict(sorted(would.items())) for rule, would in sorted(self._shadow.items())},
        )


def _left(said: _Said, risk: Risk) -> int:
    """What leaves as it was written leaves with all of its risk."""
    return risk.inherent if said.verdict == "allow" else risk.residual


def _day(number: int) -> str:
    return datetime.fromtimestamp(number * 86_400, UTC).strftime("%Y-%m-%d")
