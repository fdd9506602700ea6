"""Explain: what each rule of a policy says of one call, and why that is decided. Pure: facts in, steps out.

Every rule is asked by itself, so that a reader sees the values that it looked at; what decides is ``Policy.decide``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from llmguard.errors import GuardUnavailable
from llmguard.facts import Facts
from llmguard.model import Decision, Risk
from llmguard.policy import Policy
from llmguard.policy.conditions import VARIABLES, values
from llmguard.policy.rewriting import COUNT
from llmguard.policy.rules import Rule

Outcome = Literal["held", "not", "error", "not reached"]


@dataclass(frozen=True, slots=True)
class Step:
    """One rule, and what it said. ``read``: the values of the variables that its condition names."""

    rule: str
    when: str
    verdict: str
    outcome: Outcome
    shadow: bool
    read: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Explained:
    """``decision`` None: a condition erred, and the call is refused with ``refused``."""

    version: str
    mode: str
    risk: Risk
    steps: tuple[Step, ...]
    decision: Decision | None
    refused: str = ""

    def as_json(self) -> dict[str, Any]:
        """For another process: kinds and counts, nothing of the call's text."""
        d = self.decision
        decided = d and {"verdict": d.verdict, "rule": d.rule, "reason": d.reason, "people": _people(d)}
        return {
            "version": self.version,
            "mode": self.mode,
            "risk": asdict(self.risk),
            "steps": [asdict(s) for s in self.steps],
            "decision": decided,
            "refused": self.refused,
        }


def _people(decision: Decision) -> dict[str, int]:
    """How many of which groups it waits for."""
    return dict(decision.requirement.groups) if decision.requirement else {}


def explain(policy: Policy, facts: Facts, risk: Risk | None = None) -> Explained:
    """``risk`` None: as this policy assesses it."""
    risk = risk or policy.risk(facts)
    known = values(facts, risk)
    activation = policy.activation(facts, risk)
    steps: list[Step] = []
    over = False
    for rule in policy.rules:
        outcome: Outcome = "not reached"
        if not over:
            try:
                outcome = "held" if rule.condition.holds(activation) else "not"
            except GuardUnavailable:
                outcome = "error"
            over = outcome != "not" and not rule.shadow
        steps.append(Step(rule.name, rule.when, rule.verdict, outcome, rule.shadow, _read(rule, known, facts)))
    try:
        decision, refused = policy.decide(facts, risk), ""
    except GuardUnavailable as e:
        decision, refused = None, e.message
    return Explained(policy.version, policy.mode, risk, tuple(steps), decision, refused)


def _read(rule: Rule, known: Mapping[str, Any], facts: Facts) -> dict[str, Any]:
    """Variables that a condition names, with their values; findings as counts by type and place."""
    read: dict[str, Any] = {}
    for name in VARIABLES:
        if re.search(rf"\b{re.escape(name)}\b", rule.when):
            read[name] = _findings(facts) if name == "findings" else known[name]
    if "findings" in read and not read["findings"]:
        read["findings"] = known[COUNT]
    return read


def _findings(facts: Facts) -> dict[str, int]:
    counts: dict[str, int] = {}
    for f in facts.found:
        where = f.type if f.place == "body" and f.redactable else f"{f.type} ({f.place}, not redactable)"
        where = where if f.redactable or f.place != "body" else f"{f.type} (not redactable)"
        counts[where] = counts.get(where, 0) + f.times
    return counts
