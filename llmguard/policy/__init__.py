"""Policy: rules in order, first match decides. The one place where a Decision is made.

A rule's condition is CEL, compiled once. A condition that errs, or that is anything but exactly ``true`` or ``false``,
refuses the call: cel-expr-python returns run-time errors as truthy values, so type and identity are both tested.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, get_args

from llmguard.errors import ConfigError, GuardUnavailable
from llmguard.model import Call, Decision, Finding, Requirement, Risk, TextPart, Verdict

VARIABLES = ("call", "principal", "destination", "risk", "findings", "time")
_TIMES = {"expires_in": (60, 7 * 86400), "spend_in": (10, 7 * 86400), "fresh": (30, 86400)}
"""Seconds that a rule may name, least and most."""
_LATER = {"remind_after": (60, 7 * 86400), "escalate_after": (60, 7 * 86400)}
_GROUPS = ("escalate_to", "break_glass")
_KEYS = {"name", "when", "verdict", "reason", "quorum", "group", "groups", *_TIMES, *_LATER, *_GROUPS}
MOST = 20
"""People that a rule may want."""
DEFAULT_RULE = "default"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; ``condition`` is the compiled expression of ``when``."""

    name: str
    when: str
    verdict: Verdict
    reason: str
    requirement: Requirement
    condition: Any


class Policy:
    """Compiled rules and their version: the SHA-256 of the rules as canonical JSON."""

    def __init__(self, rules: Sequence[Mapping[str, Any]] | None = None) -> None:
        from cel_expr_python import cel

        rules = shipped_rules() if rules is None else rules
        self._cel = cel
        self._env = cel.NewEnv(variables={name: cel.Type.DYN for name in VARIABLES})
        self.rules = tuple(self._compile(i, raw) for i, raw in enumerate(rules))
        if len({r.name for r in self.rules}) < len(self.rules):
            raise ConfigError("two rules of the policy share a name")
        self.source = json.dumps([dict(r) for r in rules], sort_keys=True, separators=(",", ":"))
        self.version = hashlib.sha256(self.source.encode()).hexdigest()

    def _compile(self, index: int, raw: Mapping[str, Any]) -> Rule:
        name = str(raw.get("name") or f"rule {index + 1}")
        if unknown := set(raw) - _KEYS:
            raise ConfigError(
                f"policy rule {name!r}: no key {sorted(unknown)[0]!r}; keys are {', '.join(sorted(_KEYS))}"
            )
        if raw.get("verdict") not in get_args(Verdict):
            raise ConfigError(f"policy rule {name!r}: verdict is one of {', '.join(get_args(Verdict))}")
        when = raw.get("when", "true")
        try:
            condition = self._env.compile(when)
        except (RuntimeError, TypeError) as e:
            raise ConfigError(f"policy rule {name!r}: {e}") from e
        if condition.return_type() not in (self._cel.Type.BOOL, self._cel.Type.DYN):
            raise ConfigError(f"policy rule {name!r}: the condition is not true or false")
        return Rule(name, when, raw["verdict"], str(raw.get("reason", name)), _requirement(name, raw), condition)

    def decide(
        self, call: Call, findings: Sequence[tuple[TextPart, Finding]], risk: Risk, unscanned: Sequence[str] = ()
    ) -> Decision:
        """The first rule that holds, else redact what can be redacted and block what cannot.

        Raises GuardUnavailable if a condition errs.
        """
        activation = self._env.Activation(_facts(call, findings, risk, unscanned))
        for rule in self.rules:
            if self._holds(rule, activation):
                return self._decision(rule.verdict, rule.name, rule.reason, rule.requirement)
        if unscanned or not all(part.redactable for part, _ in findings):
            return self._decision(
                "block",
                DEFAULT_RULE,
                "something in it cannot be redacted or looked into, and no rule allows it",
                Requirement(),
            )
        return self._decision("redact", DEFAULT_RULE, "no rule matched", Requirement())

    def _holds(self, rule: Rule, activation: Any) -> bool:
        outcome = rule.condition.eval(activation)
        value = outcome.value()
        if outcome.type() != self._cel.Type.BOOL or not isinstance(value, bool):
            raise GuardUnavailable(f"policy rule {rule.name!r} failed, so nothing is sent; see: llmguard policy check")
        return value

    def _decision(self, verdict: Verdict, rule: str, reason: str, needed: Requirement) -> Decision:
        return Decision(verdict, rule, self.version, reason, needed if verdict == "require_approval" else None)


def shipped_rules() -> tuple[Mapping[str, Any], ...]:
    """The rules of the shipped policy, as read from ``policy_default.toml``."""
    text = importlib.resources.files("llmguard").joinpath("policy_default.toml").read_text(encoding="utf-8")
    return tuple(tomllib.loads(text)["rules"])


def _requirement(name: str, raw: Mapping[str, Any]) -> Requirement:
    more: dict[str, Any] = {key: raw[key] for key in (*_TIMES, *_LATER) if key in raw}
    for key, value in more.items():
        least, most = {**_TIMES, **_LATER}[key]
        if type(value) is not int or not least <= value <= most:
            raise ConfigError(f"policy rule {name!r}: {key} is {least} to {most} seconds")
    more |= {key: _group(name, key, raw[key]) for key in _GROUPS if key in raw}
    if ("escalate_to" in raw) != ("escalate_after" in raw):
        raise ConfigError(f"policy rule {name!r}: escalate_after and escalate_to go together")
    return Requirement(_wanted(name, raw), **more)


def _wanted(name: str, raw: Mapping[str, Any]) -> tuple[tuple[str, int], ...]:
    """How many of which groups: ``groups = { reviewers = 1, legal = 1 }``, or ``group`` and ``quorum`` for one."""
    if "groups" in raw and ("group" in raw or "quorum" in raw):
        raise ConfigError(f"policy rule {name!r}: groups says it all; group and quorum are for one group")
    wanted = raw.get("groups", {raw.get("group", "reviewers"): raw.get("quorum", 1)})
    if not isinstance(wanted, Mapping) or not wanted:
        raise ConfigError(f"policy rule {name!r}: groups names groups and how many people of each")
    for group, count in wanted.items():
        _group(name, "group", group)
        if type(count) is not int or not 1 <= count <= MOST:
            raise ConfigError(f"policy rule {name!r}: quorum is a number of people, 1 to {MOST}")
    if sum(wanted.values()) > MOST:
        raise ConfigError(f"policy rule {name!r}: quorum is a number of people, 1 to {MOST} in all")
    return tuple(wanted.items())


def _group(name: str, key: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ConfigError(f"policy rule {name!r}: {key} is the name of a group of people")
    return value


def _facts(
    call: Call, findings: Sequence[tuple[TextPart, Finding]], risk: Risk, unscanned: Sequence[str]
) -> dict[str, Any]:
    """What a condition sees: types and counts, never text."""
    moment = datetime.fromtimestamp(call.received / 1000, UTC)
    return {
        "call": {
            "operation": call.operation.name,
            "kind": call.operation.kind,
            "method": call.method,
            "rendered": call.operation.rendered,
            "bytes": len(call.body.raw),
            "unscanned": list(unscanned),
        },
        "principal": {
            "id": call.principal.id,
            "kind": call.principal.kind,
            "name": call.principal.name,
            "human": call.principal.human or "",
            "accountable": call.principal.accountable,
        },
        "destination": {"name": call.destination.name, "trust": call.destination.trust},
        "risk": {"inherent": risk.inherent, "residual": risk.residual},
        "findings": [
            {
                "type": f.type,
                "category": f.category,
                "severity": f.severity,
                "confidence": f.confidence,
                "place": part.place,
                "origin": part.origin,
                "redactable": part.redactable,
            }
            for part, f in findings
        ],
        "time": {"hour": moment.hour, "weekday": moment.isoweekday()},
    }
