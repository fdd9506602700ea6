"""Suggestions: what findings marked wrong, reviewers' decisions and shadow rules say of a policy.

Each comes with what speaks for it, the TOML to propose, and its risk. It never applies one: whoever agrees proposes it,
and somebody else approves. Nothing is suggested from a few cases. Pure: no clock, no I/O.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from llmguard.policy import Policy
from llmguard.policy.replay import Recorded
from llmguard.policy.rules import LONGEST

WRONG = 3
"""Findings of a type marked wrong, before anything is said of the type."""
APPROVED, DECIDED = 20, 10
"""Decisions of people before a rule is called needless; and before anything else is said of how it is decided."""
TRIED = 200
"""Calls before anything is said of a rule in shadow mode, or of a type that fires often."""
SURE = 0.6
"""Confidence below which a finding is a guess."""
SLOW = 15 * 60
"""Seconds of a median decision beyond which no caller waits on the line."""
_Z = 1.96  # 95 %
_DAY = 86_400
_MOST_TYPES = 10


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one held call ended. ``by``: who voted; ``seconds``: from the hold to the last vote, None without one.

    ``verdict``: ``approved``, ``denied``, ``expired``, or "" for whatever else.
    """

    rule: str
    operation: str
    verdict: str
    residual: int
    types: frozenset[str]
    by: frozenset[str] = frozenset()
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Wrong:
    """Findings of a type that people marked wrong: how often, and by how many detectors they were found, if known."""

    type: str
    times: int
    secret: int = 0


@dataclass(frozen=True, slots=True)
class Use:
    """How often a type was found: in how many calls, how many findings, how many of these are guesses."""

    type: str
    calls: int
    findings: int
    guesses: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a period left behind. ``tried``: calls under the policy in force; ``shadow``: of these, what its rules in
    shadow mode would have said, by rule and verdict."""

    calls: int
    outcomes: Sequence[Outcome] = ()
    wrong: Sequence[Wrong] = ()
    uses: Sequence[Use] = ()
    tried: int = 0
    shadow: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Suggestion:
    """``place``: where the TOML goes. ``evidence``: counts by name."""

    kind: str
    title: str
    evidence: Mapping[str, int | float]
    place: str
    toml: str
    risk: str


def suggest(policy: Policy, evidence: Evidence) -> tuple[Suggestion, ...]:
    """What the evidence says of ``policy``, what speaks loudest first within a kind."""
    rules = {rule.name: dict(raw) for rule, raw in zip(policy.rules, policy.document["rules"], strict=True)}
    by_rule: dict[str, list[Outcome]] = {}
    for outcome in evidence.outcomes:
        if outcome.rule in rules and rules[outcome.rule].get("verdict") == "require_approval":
            by_rule.setdefault(outcome.rule, []).append(outcome)
    made: list[Suggestion] = []
    for name, found in sorted(by_rule.items(), key=lambda item: (-len(item[1]), item[0])):
        made += _needless(name, rules[name], found)
        made += _denied(name, rules[name], found)
        made += _unanswered(name, rules[name], found)
        made += _slow(name, rules[name], found)
    made += _tried(policy, rules, evidence)
    made += _uncertain(evidence, taken=set(rules))
    return tuple(made)


def wilson(hits: int, n: int) -> float:
    """The lower end of the 95 % interval of a share (Wilson 1927)."""
    if not n:
        return 0.0
    share, z2 = hits / n, _Z * _Z
    middle = share + z2 / (2 * n)
    return max(0.0, (middle - _Z * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n))


def uses(calls: Iterable[Recorded]) -> tuple[Use, ...]:
    """How often each type was found, the most frequent first."""
    counts: Counter[tuple[str, str]] = Counter()
    for kept in calls:
        for type_ in {f.type for f in kept.facts.found}:
            counts[type_, "calls"] += 1
        for f in kept.facts.found:
            counts[f.type, "findings"] += f.times
            counts[f.type, "guesses"] += f.times * (f.confidence < SURE)
    types = {type_ for type_, _ in counts}
    made = [Use(t, counts[t, "calls"], counts[t, "findings"], counts[t, "guesses"]) for t in types]
    return tuple(sorted(made, key=lambda u: (-u.calls, u.type)))


def toml(rule: Mapping[str, Any]) -> str:
    """A rule as a policy file has it."""
    lines = [f"{key} = {_written(value)}" for key, value in rule.items()]
    return "\n".join(["[[rules]]", *lines]) + "\n"


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_written(str(k))} = {_written(v)}" for k, v in value.items()) + " }"
    if isinstance(value, str) and '"' in value and "'" not in value and value.isprintable():
        return f"'{value}'"
    if isinstance(value, str):  # TOML's basic strings are JSON's, but for DEL
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value)


# --------------------------------------------------------------------------- what reviewers decided


def _needless(name: str, rule: Mapping[str, Any], found: Sequence[Outcome]) -> Iterable[Suggestion]:
    """Everything of one operation that the rule held was approved."""
    by_operation: dict[str, list[Outcome]] = {}
    for outcome in found:
        if outcome.verdict in ("approved", "denied"):
            by_operation.setdefault(outcome.operation, []).append(outcome)
    for operation, decided in sorted(by_operation.items()):
        n = len(decided)
        if n < APPROVED or any(o.verdict == "denied" for o in decided):
            continue
        residual, people = max(o.residual for o in decided), frozenset[str]().union(*(o.by for o in decided))
        types = sorted(frozenset[str]().union(*(o.types for o in decided)))
        limits = [f"call.operation == {_written(operation)}", f"risk.residual <= {residual}"]
        if len(types) <= _MOST_TYPES:
            limits.append(
                f"findings.all(f, f.type in [{', '.join(map(_written, types))}])" if types else "size(findings) == 0"
            )
        freed = {
            "name": f"{name}: {operation} as approved"[:LONGEST],
            "when": " && ".join([*limits, f"({rule.get('when', 'true')})"]),
            "verdict": "redact",
            "reason": "reviewers approved every such call",
        }
        alone = " One person alone decided all of them." if len(people) == 1 else ""
        yield Suggestion(
            "always_approved",
            f"{name!r} held {n} calls of {operation}, and people approved all of them",
            {"approved": n, "denied": 0, "at_least": round(wilson(n, n), 3), "people": len(people)},
            f"before the rule {name!r}",
            toml(freed),
            "such calls leave without anybody looking; what cannot be redacted leaves as it is written." + alone,
        )


def _denied(name: str, rule: Mapping[str, Any], found: Sequence[Outcome]) -> Iterable[Suggestion]:
    decided = [o for o in found if o.verdict in ("approved", "denied")]
    denied = sum(o.verdict == "denied" for o in decided)
    if len(decided) >= DECIDED and (least := wilson(denied, len(decided))) >= 0.5:
        needs = ("quorum", "group", "groups", "hold", "justification", "expires_in", "spend_in", "fresh")
        later = ("remind_after", "escalate_after", "escalate_to", "break_glass")
        blocked = {k: v for k, v in rule.items() if k not in (*needs, *later)} | {"verdict": "block"}
        yield Suggestion(
            "mostly_denied",
            f"people denied {denied} of {len(decided)} calls that {name!r} held",
            {"denied": denied, "approved": len(decided) - denied, "at_least": round(least, 3)},
            f"in place of the rule {name!r}",
            toml(blocked),
            f"the {len(decided) - denied} that were approved would have been refused; nobody can let one through.",
        )


def _unanswered(name: str, rule: Mapping[str, Any], found: Sequence[Outcome]) -> Iterable[Suggestion]:
    ended = [o for o in found if o.verdict]
    expired = sum(o.verdict == "expired" for o in ended)
    if len(ended) >= DECIDED and (least := wilson(expired, len(ended))) >= 0.2:
        expires = int(rule.get("expires_in", 3600))
        longer = min(2 * expires, 7 * _DAY)
        yield Suggestion(
            "unanswered",
            f"nobody answered {expired} of {len(ended)} calls that {name!r} held",
            {"expired": expired, "ended": len(ended), "at_least": round(least, 3)},
            f"in place of the rule {name!r}",
            toml({**rule, "expires_in": longer, "remind_after": max(60, expires // 4)})
            + '# Or let another group stand in: escalate_after = 1800, escalate_to = "GROUP"\n',
            "callers wait longer, and groups hear of a call more than once.",
        )


def _slow(name: str, rule: Mapping[str, Any], found: Sequence[Outcome]) -> Iterable[Suggestion]:
    taken = [o.seconds for o in found if o.seconds is not None]
    if len(taken) >= DECIDED and (middle := median(taken)) > SLOW and rule.get("hold") != "ticket":
        yield Suggestion(
            "slow",
            f"half of the decisions about {name!r} take longer than {round(middle / 60):,} minutes",
            {"decided": len(taken), "median_seconds": round(middle)},
            f"in place of the rule {name!r}",
            toml({**rule, "hold": "ticket"}),
            "callers get an answer at once and have to send the call again once it is approved.",
        )


# --------------------------------------------------------------------------- what was tried, and what was found


def _tried(policy: Policy, rules: Mapping[str, Mapping[str, Any]], evidence: Evidence) -> Iterable[Suggestion]:
    for rule in policy.rules:
        would = evidence.shadow.get(rule.name, {})
        held = sum(would.values())
        if not rule.shadow or evidence.tried < TRIED or "error" in would or not 0 < held <= evidence.tried // 20:
            continue
        yield Suggestion(
            "shadow",
            f"{rule.name!r} would have decided {held:,} of {evidence.tried:,} calls ({rule.verdict})",
            {"calls": evidence.tried, "would": held, "share": round(held / evidence.tried, 4)},
            f"in place of the rule {rule.name!r}",
            toml({k: v for k, v in rules[rule.name].items() if k != "shadow"}),
            f"from then on such calls are decided by it: {rule.verdict}. Replay shows which.",
        )


def _uncertain(evidence: Evidence, taken: set[str]) -> Iterable[Suggestion]:
    """Types that people marked wrong, or that are found in many calls and mostly guessed."""
    wrong = {w.type: w for w in evidence.wrong}
    used = {u.type: u for u in evidence.uses}
    for type_ in sorted({*wrong, *used}, key=lambda t: (-(wrong[t].times if t in wrong else 0), t)):
        w, u = wrong.get(type_, Wrong(type_, 0)), used.get(type_, Use(type_, 0, 0, 0))
        often = evidence.calls >= TRIED and u.calls * 10 >= evidence.calls and 2 * u.guesses >= u.findings
        name = f"only uncertain {type_}"[:LONGEST]
        if w.secret or name in taken or not (w.times - w.secret >= WRONG or often):
            continue
        each = f"f.type == {_written(type_)} && f.confidence < {SURE} && f.redactable"
        condition = f"size(findings) > 0 && findings.all(f, {each})"
        tried = {"name": name, "when": condition, "verdict": "redact", "shadow": True}
        said = f"marked wrong {w.times} times" if w.times >= WRONG else "mostly guessed"
        yield Suggestion(
            "uncertain",
            f"{type_} was {said}: in {u.calls:,} of {evidence.calls:,} calls, {u.guesses:,} of {u.findings:,} guessed",
            {"marked_wrong": w.times, "calls": u.calls, "findings": u.findings, "guesses": u.guesses},
            "before all other rules",
            toml(tried),
            "none in shadow mode, where it counts calls with nothing else in them; without it they are not held.",
        )
