"""Policy: rules in order, first match decides. The one place where a Decision is made.

A policy is a document: ``rules``, ``styles`` (how a type is redacted), ``weights`` (of the risk) and ``mode``. Its
version is the digest of all of that. It decides from facts alone, so a kept call can be decided anew.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llmguard.errors import ConfigError, GuardUnavailable
from llmguard.facts import Facts, Found
from llmguard.model import Category, Decision, Requirement, Risk, Verdict
from llmguard.policy.conditions import Activation, Reads, Several, seen
from llmguard.policy.rules import Rule
from llmguard.policy.styles import STYLES, Style, checked_styles
from llmguard.risk import assess, weights

__all__ = ["DEFAULT_RULE", "STYLES", "Policy", "Rule", "Style", "shipped"]

DEFAULT_RULE = "default"
KEYS = ("rules", "styles", "weights", "mode")
"""What a policy is made of."""
MODES = ("enforce", "shadow")
MAX_RULES = 2000
TOGETHER = 24
"""Rules that are asked at once whether any of them holds."""


class Policy:
    """A compiled policy and its version: the SHA-256 of its document as canonical JSON."""

    def __init__(
        self,
        rules: Sequence[Mapping[str, Any]] | None = None,
        *,
        styles: Mapping[str, Any] | None = None,
        weights: Mapping[str, Any] | None = None,
        mode: str = "enforce",
    ) -> None:
        """``rules`` None: the shipped ones. Raises ConfigError, which names the rule."""
        raw = shipped()["rules"] if rules is None else rules
        if not isinstance(raw, Sequence) or not all(isinstance(r, Mapping) for r in raw) or len(raw) > MAX_RULES:
            raise ConfigError(f"a policy is a list of at most {MAX_RULES} rules: [[rules]]")
        if mode not in MODES:
            raise ConfigError(f"mode of a policy is one of {', '.join(MODES)}")
        self.rules = tuple(Rule.of(i, r) for i, r in enumerate(raw))
        if len({r.name for r in self.rules}) < len(self.rules):
            raise ConfigError("two rules of the policy share a name")
        self._groups = tuple(_grouped(self.rules))
        self.reads = Reads.of([r.condition for r in self.rules])
        self.styles = checked_styles(styles or {})
        self.mode = mode
        self._weights = _weighed(weights)
        document = {
            "rules": [dict(r) for r in raw],
            "styles": self.styles,
            "weights": dict(weights or {}),
            "mode": mode,
        }
        self.document: Mapping[str, Any] = {k: v for k, v in document.items() if (v and v != "enforce") or k == "rules"}
        self.source = json.dumps(self.document, sort_keys=True, separators=(",", ":"))
        self.version = hashlib.sha256(self.source.encode()).hexdigest()

    @classmethod
    def of(cls, document: Any) -> Policy:
        """From a document, as it is stored or written in a file. Raises ConfigError."""
        if not isinstance(document, Mapping) or "rules" not in document:
            raise ConfigError("a policy is a document with rules: [[rules]]")
        if unknown := sorted(set(document) - set(KEYS)):
            raise ConfigError(f"a policy has no {unknown[0]!r}; it has {', '.join(KEYS)}")
        return cls(**document)

    def style(self, type_: str, category: Category) -> Style:
        """How values of a type are redacted: as the type says, else its category, else by placeholders."""
        return self.styles.get(type_) or self.styles.get(category) or "placeholder"

    def risk(self, facts: Facts, *, as_written: bool = False) -> Risk:
        """The risk of a call under this policy's weights and styles; ``as_written``: nothing of it is redacted."""
        return assess(facts, self._weights, _raw if as_written else self._leaving)

    def _leaving(self, found: Found) -> str:
        return self.style(found.type, found.category) if found.redactable else ""

    def decide(self, facts: Facts, risk: Risk) -> Decision:
        """The first rule that holds, else redact what can be redacted and block what cannot.

        Raises GuardUnavailable if a condition errs. In shadow mode everything is allowed but actions, and the decision
        says what it would have been.
        """
        if self.mode != "shadow" or facts.kind == "action":
            return self.enforced(facts, risk)
        try:
            would = self.enforced(facts, risk)
            shadow = (*would.shadow, (would.rule, would.verdict))
        except GuardUnavailable:
            shadow = (("policy", "error"),)
        return Decision(
            "allow", "shadow", self.version, "the policy is in shadow mode: nothing is enforced", None, shadow
        )

    def enforced(self, facts: Facts, risk: Risk) -> Decision:
        """What the rules say, whatever the mode. Raises GuardUnavailable if a condition errs."""
        activation = self.activation(facts, risk)
        shadow: list[tuple[str, str]] = []
        for rule in self._asked(activation):
            if not rule.shadow:
                if rule.condition.holds(activation):
                    return self._decision(rule.verdict, rule.name, rule.reason, rule.requirement, shadow)
            elif said := _said(rule, activation):
                shadow.append((rule.name, said))
        if facts.unscanned or not all(f.redactable for f in facts.found):
            reason = "something in it cannot be redacted or looked into, and no rule allows it"
            return self._decision("block", DEFAULT_RULE, reason, Requirement(), shadow)
        return self._decision("redact", DEFAULT_RULE, "no rule matched", Requirement(), shadow)

    def activation(self, facts: Facts, risk: Risk) -> Activation:
        """The facts as the conditions of this policy read them."""
        return Activation(facts, risk, self.reads)

    def alike(self, facts: Facts, risk: Risk) -> tuple[Any, ...]:
        """Calls of which this is equal are decided alike."""
        left = facts.kind == "action", all([f.redactable for f in facts.found])  # beside what conditions read
        return (*left, *seen(facts, risk, self.reads))

    def _asked(self, activation: Activation) -> Iterator[Rule]:
        """The rules in order, without groups of which none holds and none errs."""
        for group, several in self._groups:
            if several is None or not several.none(activation):
                yield from group

    def _decision(
        self, verdict: Verdict, rule: str, reason: str, needed: Requirement, shadow: Sequence[tuple[str, str]]
    ) -> Decision:
        requirement = needed if verdict == "require_approval" else None
        return Decision(verdict, rule, self.version, reason, requirement, tuple(shadow[:1]))


def shipped() -> Mapping[str, Any]:
    """The document of the shipped policy, without the tests beside its rules."""
    return {key: value for key, value in tomllib.loads(shipped_text()).items() if key in KEYS}


def shipped_text() -> str:
    """The file of the shipped policy."""
    return importlib.resources.files("llmguard.policy").joinpath("default.toml").read_text(encoding="utf-8")


def _grouped(rules: Sequence[Rule]) -> Iterator[tuple[Sequence[Rule], Several | None]]:
    for i in range(0, len(rules), TOGETHER):
        group = rules[i : i + TOGETHER]
        yield group, Several([r.condition for r in group]) if len(group) > 1 else None


def _weighed(overrides: Mapping[str, Any] | None) -> Any:
    if overrides is not None and not isinstance(overrides, Mapping):
        raise ConfigError("weights of a policy are tables of numbers: [weights.severity]")
    return weights(overrides)


def _raw(_: Found) -> str:
    return ""


def _said(rule: Rule, activation: Activation) -> str:
    """What a rule in shadow mode would have decided; "" if it does not hold."""
    try:
        return rule.verdict if rule.condition.holds(activation) else ""
    except GuardUnavailable:
        return "error"
