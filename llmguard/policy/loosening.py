"""Loosening: what another policy lets through that the one in force would not. For whoever approves the change.

Made-up calls (``samples``, for the rules of both) and kept ones are decided by both policies; what comes out weaker is
counted by the rules that decided before and now. Beside it stand the rules, styles and weights that differ, and the
mode. That nothing is found loosened proves nothing: it was not found in so many calls, and their number is said.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, NamedTuple

from llmguard.errors import GuardUnavailable
from llmguard.facts import Facts
from llmguard.model import Requirement, Risk
from llmguard.policy import DEFAULT_RULE, Policy
from llmguard.policy.samples import samples
from llmguard.policy.vocabulary import Vocabulary
from llmguard.risk import Weights, weights

SAMPLES = 2000
_STRENGTH = {"allow": 0, "redact": 1, "require_approval": 2, "block": 3, "refused": 4}
WORDS = {
    "allow": "leaves as written",
    "redact": "redacted",
    "require_approval": "held",
    "block": "blocked",
    "refused": "refused",
}
_LOWER = ("severity", "trust", "use", "left", "terms", "bits")
"""Tables of weights of which a lower figure makes a lower risk."""


@dataclass(frozen=True, slots=True)
class Shift:
    """Calls that one rule decided so before, and others so, and weaker, now."""

    before: str
    before_rule: str
    when: str
    after: str
    after_rules: tuple[str, ...]
    how: str
    samples: int
    calls: int

    def told(self) -> str:
        """``held → redacted: what training held (when …); now by default; 12 made-up and 31 kept calls``."""
        what = self.how or f"{WORDS[self.before]} → {WORDS[self.after]}"
        held = f"what {self.before_rule!r} decided" + (f" (when {' '.join(self.when.split())})" if self.when else "")
        others = [repr(r) for r in self.after_rules if r not in (DEFAULT_RULE, self.before_rule)]
        nows = ["by the same rule"] if self.before_rule in self.after_rules else []
        nows += [f"now by {', '.join(others)}"] if others else []
        nows += ["no rule matches any more"] if DEFAULT_RULE in self.after_rules else []
        now = " or ".join(nows)
        return f"{what}: {held}; {now}; {self.samples:,} made-up and {self.calls:,} kept calls"


@dataclass(frozen=True, slots=True)
class Loosening:
    """What a change of policy loosens, and what else it changes. ``looser``: of styles, weights and mode, what lowers
    protection or the risk that is seen.
    """

    shifts: tuple[Shift, ...]
    looser: tuple[str, ...]
    changed: tuple[str, ...]
    samples: int
    calls: int
    stricter: int

    @property
    def loosens(self) -> bool:
        return bool(self.shifts or self.looser)

    def told(self) -> list[str]:
        """Lines for a reviewer, what matters most first."""
        tried = f"in {self.samples:,} made-up and {self.calls:,} kept calls"
        lines = [s.told() for s in self.shifts] + [f"looser: {text}" for text in self.looser]
        lines = lines or [f"nothing comes out weaker {tried}"]
        lines += [f"stricter: {self.stricter:,} of these calls"] if self.stricter else []
        return lines + list(self.changed)


@dataclass(frozen=True, slots=True)
class _Said:
    verdict: str
    rule: str
    requirement: Requirement | None


def compared(old: Policy, new: Policy, kept: Iterable[Facts] = (), count: int = SAMPLES) -> Loosening:
    """``kept``: facts of calls of this installation, assessed by both policies; samples have a risk of their own."""
    made, real = _Count(), _Count()
    for sample in samples([*old.rules, *new.rules], _vocabulary(), count):
        made.add(_said(old, sample.facts, sample.risk), _said(new, sample.facts, sample.risk))
    for facts in kept:
        real.add(_said(old, facts, old.risk(facts)), _said(new, facts, new.risk(facts)))
    when = {r.name: r.when for r in old.rules}
    keys = sorted({*made.weaker, *real.weaker}, key=lambda k: (-_STRENGTH[k.before], _STRENGTH[k.after], k))
    shifts = [
        Shift(
            *(k.before, k.before_rule, when.get(k.before_rule, ""), k.after),
            tuple(sorted(made.rules[k] | real.rules[k])),
            *(k.how, made.weaker[k], real.weaker[k]),
        )
        for k in keys
    ]
    looser, changed = _differences(old, new)
    stricter = made.stricter + real.stricter
    return Loosening(tuple(shifts), tuple(looser), tuple(changed), made.calls, real.calls, stricter)


class _Key(NamedTuple):
    before: str
    before_rule: str
    after: str
    how: str


class _Count:
    """What came out weaker, and by which rules now."""

    def __init__(self) -> None:
        self.calls = self.stricter = 0
        self.weaker: Counter[_Key] = Counter()
        self.rules: defaultdict[_Key, set[str]] = defaultdict(set)

    def add(self, before: _Said, after: _Said) -> None:
        self.calls += 1
        if _STRENGTH[after.verdict] != _STRENGTH[before.verdict]:
            how, weaker = "", _STRENGTH[after.verdict] < _STRENGTH[before.verdict]
            self.stricter += not weaker
        elif before.requirement and after.requirement:
            how = _easier(before.requirement, after.requirement)
            how, weaker = f"held, by less: {how}", bool(how)
            self.stricter += bool(_easier(after.requirement, before.requirement))
        else:
            return
        if weaker:
            key = _Key(before.verdict, before.rule, after.verdict, how)
            self.weaker[key] += 1
            self.rules[key].add(after.rule)


@cache
def _vocabulary() -> Vocabulary:
    return Vocabulary.of()


def _said(policy: Policy, facts: Facts, risk: Risk) -> _Said:
    try:
        decision = policy.decide(facts, risk)
    except GuardUnavailable:
        return _Said("refused", "", None)
    return _Said(decision.verdict, decision.rule, decision.requirement)


def _easier(before: Requirement, after: Requirement) -> str:
    """How an approval needs less than before; "" if it does not."""
    was, now = dict(before.groups), dict(after.groups)
    less = [f"{now.get(g, 0)} of {g}, not {count}" for g, count in sorted(was.items()) if now.get(g, 0) < count]
    if before.quorum > after.quorum and len(less) != 1:
        less.insert(0, f"{after.quorum} {'person' if after.quorum == 1 else 'people'}, not {before.quorum}")
    if before.justified and not after.justified:
        less.append("no justification")
    if before.fresh and (not after.fresh or after.fresh > before.fresh):
        less.append("an older login will do")
    if after.break_glass and after.break_glass != before.break_glass:
        less.append(f"one of {after.break_glass} alone in an emergency")
    if after.escalate_to and after.escalate_to != before.escalate_to:
        less.append(f"{after.escalate_to} may stand in")
    if after.spend_in > before.spend_in:
        less.append("more time to use it")
    return ", ".join(less)


# --------------------------------------------------------------------------- what is written differently


def _differences(old: Policy, new: Policy) -> tuple[list[str], list[str]]:
    looser: list[str] = []
    changed = list(_rules(old, new))
    if old.mode != new.mode:
        (looser if new.mode == "shadow" else changed).append(f"mode: {old.mode} → {new.mode}")
    was, now = _weights(old), _weights(new)
    for text, lower in (*_styles(old, new, was), *_weighed(was, now)):
        (looser if lower else changed).append(text)
    return looser, changed


def _rules(old: Policy, new: Policy) -> Iterator[str]:
    was, now = (_by_name(p) for p in (old, new))
    gone, added = [n for n in was if n not in now], [n for n in now if n not in was]
    edited = [n for n in was if n in now and was[n] != now[n]]
    for what, names in (("removed", gone), ("added", added), ("changed", edited)):
        if names:
            yield f"rules {what}: {', '.join(names)}"
    if [n for n in was if n in now] != [n for n in now if n in was]:
        yield "rules stand in another order"


def _by_name(policy: Policy) -> dict[str, Mapping[str, Any]]:
    return {r.name: raw for r, raw in zip(policy.rules, policy.document["rules"], strict=True)}


def _styles(old: Policy, new: Policy, weigh: Weights) -> Iterator[tuple[str, bool]]:
    """Styles that differ, each with whether more is left of a value."""
    for name in sorted({*old.styles, *new.styles}):
        category = _vocabulary().types.get(name, ("pii",))[0]
        was, now = old.style(name, category), new.style(name, category)
        if was != now:
            more = weigh.left[now] > weigh.left[was]
            back = was != "placeholder" and now == "placeholder"
            told = " (comes back in answers)" if back else ""
            yield f"{name}: {was} → {now}{told}", more or back


def _weights(policy: Policy) -> Weights:
    return weights(policy.document.get("weights"))


def _weighed(was: Weights, now: Weights) -> Iterator[tuple[str, bool]]:
    """Weights that differ, each with whether a risk is lower by it."""
    for field in fields(Weights):
        before, after = getattr(was, field.name), getattr(now, field.name)
        if field.name == "scale":
            if before != after:
                yield f"weight scale: {before:g} → {after:g}", after > before
        elif field.name in _LOWER:
            for key in sorted({*before, *after}):
                one, other = before.get(key, 0.0), after.get(key, 0.0)
                if one != other:
                    yield f"weight {field.name}.{key}: {one:g} → {other:g}", other < one
