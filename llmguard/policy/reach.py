"""Reach: which rules of a policy can never decide. What is proved is proved from the text of plain comparisons.

It proves too little rather than too much: a condition that it cannot read may hold, and then nothing is said of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from llmguard.policy.literals import Comparison, Conjunction, conjunction, words
from llmguard.policy.rules import Rule
from llmguard.policy.vocabulary import RANGES, Vocabulary


@dataclass(slots=True)
class _Domain:
    """What a variable can still be: a number from ``least`` to ``most``, or one of ``words`` (None: any) but not of
    ``never``.
    """

    least: float = -math.inf
    most: float = math.inf
    step: float = 1.0
    words: frozenset[str] | None = None
    never: set[str | float] = field(default_factory=set)

    def narrow(self, sign: str, value: str | float) -> None:
        if sign == "!=":
            self.never.add(value)
        elif isinstance(value, str):
            if sign == "==":
                self.words = frozenset((value,)) if self.words is None else self.words & {value}
        else:
            self.least = max(self.least, {"==": value, ">=": value, ">": value + self.step}.get(sign, self.least))
            self.most = min(self.most, {"==": value, "<=": value, "<": value - self.step}.get(sign, self.most))

    @property
    def empty(self) -> bool:
        nothing = self.words is not None and not self.words - self.never
        return nothing or self.least > self.most or (self.least == self.most and self.least in self.never)

    def within(self, c: Comparison) -> bool:
        """Whether everything that it can be makes the comparison true."""
        if isinstance(c.value, str):
            if c.sign == "!=":
                return c.value in self.never or (self.words is not None and c.value not in self.words)
            return c.sign == "==" and self.words is not None and self.words - self.never <= {c.value}
        if c.sign == "!=":
            return c.value in self.never or not self.least <= c.value <= self.most
        inside = {"==": self.least == self.most == c.value, ">=": self.least >= c.value, "<=": self.most <= c.value}
        return inside.get(c.sign, self.least > c.value if c.sign == ">" else self.most < c.value)


def unreachable(rules: Sequence[Rule], vocabulary: Vocabulary) -> dict[str, str]:
    """Rules that can never decide, by name, with the reason. Rules in shadow mode never keep others from deciding."""
    proved: dict[str, str] = {}
    seen: dict[tuple[str, ...], str] = {}
    plain: list[tuple[str, Conjunction]] = []
    always = ""
    for rule in rules:
        said, text = conjunction(rule.when), words(rule.when)
        domains = _domains(said, vocabulary)
        if always:
            proved[rule.name] = f"the rule {always!r} before it always holds"
        elif text in seen:
            proved[rule.name] = f"the rule {seen[text]!r} before it has the same condition"
        elif text == ("false",):
            proved[rule.name] = "its condition is false"
        elif impossible := next((path for path, d in domains.items() if d.empty), ""):
            proved[rule.name] = f"its condition contradicts itself: {_told(said, impossible)}"
        elif earlier := next((name for name, c in plain if _implied(domains, c)), ""):
            proved[rule.name] = f"the rule {earlier!r} before it holds whenever it does"
        elif not rule.shadow:
            seen[text] = rule.name
            always = rule.name if text == ("true",) else ""
            if said.whole and said.parts:
                plain.append((rule.name, said))
    return proved


def _domains(said: Conjunction, vocabulary: Vocabulary) -> Mapping[str, _Domain]:
    domains: dict[str, _Domain] = {}
    for c in said.parts:
        if c.path not in domains:
            least, most = RANGES.get(c.path, (-math.inf, math.inf))
            step = 0.0 if isinstance(c.value, float) else 1.0
            known = vocabulary.words.get(c.path) if c.path != "call.operation" else None
            domains[c.path] = _Domain(least, most, step, known if isinstance(c.value, str) else None)
        domains[c.path].narrow(c.sign, c.value)
    return domains


def _implied(domains: Mapping[str, _Domain], earlier: Conjunction) -> bool:
    return all(c.path in domains and domains[c.path].within(c) for c in earlier.parts)


def _told(said: Conjunction, path: str) -> str:
    def shown(value: str | float) -> str:
        return f'"{value}"' if isinstance(value, str) else f"{value}"

    told = " && ".join(f"{path} {c.sign} {shown(c.value)}" for c in said.parts if c.path == path)
    if path in RANGES and all(not isinstance(c.value, str) for c in said.parts if c.path == path):
        least, most = RANGES[path]
        return f"{told}, where {path} is {least:g} to {most:g}" if math.isfinite(most) else told
    return told
