"""Samples: facts of made-up calls, drawn from what the conditions of a policy compare with. Seeded, the same each time.

Each is made for one rule in turn: what that rule compares with is mostly met, everything else is drawn from all rules
and from the vocabulary. Numbers come one below, at, and one above those in the conditions. The risk of a sample is
drawn too: not every pair of facts and risk can come of a real call.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from llmguard.facts import Facts, Found
from llmguard.model import Risk
from llmguard.policy.literals import COUNT, Comparison, comparisons
from llmguard.policy.rules import Rule
from llmguard.policy.vocabulary import Vocabulary

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
MOST = 300
"""Findings of one sample, whatever number stands in a condition."""
MET = 0.8
"""How often a sample does what the rule that it is made for compares with."""
_PLAIN_TYPES = ("EMAIL", "PERSON", "CREDIT_CARD", "US_SSN", "AWS_SECRET_KEY", "PHONE")
_COUNTS = (0, 0, 1, 1, 2, 3, 8, 25)
_RISKS = (0, 1, 20, 29, 30, 50, 69, 70, 90, 100)
_Wanted = Mapping[str, Sequence[Comparison]]


@dataclass(frozen=True, slots=True)
class Sample:
    """A made-up call."""

    facts: Facts
    risk: Risk


def samples(rules: Sequence[Rule], vocabulary: Vocabulary, count: int, seed: int = 7) -> Iterator[Sample]:
    """``count`` samples for these rules; of several policies, give the rules of all."""
    maker = _Maker(rules, vocabulary, random.Random(seed))  # noqa: S311  not for secrets
    for i in range(count):
        yield maker.make(i)


class _Maker:
    def __init__(self, rules: Sequence[Rule], vocabulary: Vocabulary, chance: random.Random) -> None:
        self._rng = chance
        self._vocabulary = vocabulary
        self._rules = [_by_path(comparisons(r.when)) for r in rules] or [{}]
        self._all = _by_path([c for r in rules for c in comparisons(r.when)])

    def make(self, index: int) -> Sample:
        wanted = self._rules[index % len(self._rules)]
        if self._rng.random() > MET:
            wanted = {}
        kind = self._word(wanted, "call.kind", "inference")
        found = self._findings(wanted)
        hour, weekday = (self._number(wanted, f"time.{n}", *r) for n, r in (("hour", (0, 23)), ("weekday", (1, 7))))
        moment = MONDAY + timedelta(days=weekday - 1, hours=hour)
        facts = Facts(
            operation=self._word(wanted, "call.operation", "chat.completions.create"),
            kind=cast(Any, kind),
            trust=cast(Any, self._word(wanted, "destination.trust", "public")),
            found=found,
            unscanned=self._unscanned(wanted),
            method=self._word(wanted, "call.method", "POST"),
            rendered=self._rng.random() < 0.3,
            size=self._number(wanted, "call.bytes", 0, 100_000),
            characters=self._number(wanted, "call.characters", 0, 100_000),
            principal=self._word(wanted, "principal.id", "key:1"),
            principal_kind=self._word(wanted, "principal.kind", "service"),
            principal_name=self._word(wanted, "principal.name", "app"),
            human=self._word(wanted, "principal.human", "ann@example.com") if self._rng.random() < 0.8 else "",
            destination=self._word(wanted, "destination.name", "openai"),
            received=int(moment.timestamp() * 1000),
            justified=self._rng.random() < 0.5,
        )
        return Sample(facts, self._risk(wanted))

    def _risk(self, wanted: _Wanted) -> Risk:
        first, second = (
            self._near(c[0].value, c[0].sign, 0, 100) if (c := self._asked(wanted, path)) else self._rng.choice(_RISKS)
            for path in ("risk.inherent", "risk.residual")
        )
        return Risk(max(first, second), second)

    def _asked(self, wanted: _Wanted, path: str) -> list[Comparison]:
        """One comparison of a path, first of the rule that the sample is for, else now and then of any."""
        known = wanted.get(path) or (self._all.get(path) if self._rng.random() < 0.5 else None)
        return [self._rng.choice(known)] if known else []

    def _word(self, wanted: _Wanted, path: str, plain: str) -> str:
        for c in self._asked(wanted, path):
            if isinstance(c.value, str) and c.sign != "size":
                other = {"!=": plain if plain != c.value else f"{c.value}x", "startsWith": f"{c.value}x"}
                return other.get(c.sign, f"x{c.value}" if c.sign == "endsWith" else c.value)
        known = sorted(self._vocabulary.words.get(path, ()))
        return self._rng.choice(known) if known and self._rng.random() < 0.5 else plain

    def _number(self, wanted: _Wanted, path: str, least: int, most: int) -> int:
        for c in self._asked(wanted, path):
            return self._near(c.value, c.sign, least, most)
        return self._rng.choice((least, (least + most) // 2, most))

    def _near(self, value: str | float, sign: str, least: int, most: int) -> int:
        figure = 0 if isinstance(value, str) else int(value)
        met = {">": 1, "<": -1, "!=": 1}.get(sign, 0)
        step = met if self._rng.random() < MET else self._rng.choice((-1, 0, 1))
        return min(max(figure + step, least), max(most, figure + 1))

    def _unscanned(self, wanted: _Wanted) -> tuple[str, ...]:
        asked = [str(c.value) for c in wanted.get("call.unscanned", ())]
        known = sorted(self._vocabulary.words.get("call.unscanned", ()))
        count = self._rng.choice((0, 1, 1, 2)) if asked else self._rng.choice((0, 0, 0, 1))
        return tuple(sorted({self._rng.choice([*asked, *known]) for _ in range(count)}))

    def _findings(self, wanted: _Wanted) -> tuple[Found, ...]:
        paths = [p for p in wanted if p.startswith("findings") or p == "call.people"]
        kinds = self._rng.choice((1, 1, 2, 3)) if paths else self._rng.choice((0, 0, 1, 2))
        sizes = [int(c.value) for c in wanted.get(COUNT, ()) if not isinstance(c.value, str)]
        found: list[Found] = []
        for k in range(kinds):
            count = self._rng.choice(_COUNTS) if not paths else max(1, self._rng.choice(_COUNTS))
            if sizes and self._rng.random() < MET:
                count = self._rng.choice(sizes) + self._rng.choice((0, 1))
            one = self._finding(wanted)
            if many := self._asked(wanted, "call.people"):
                count, one = self._near(many[0].value, many[0].sign, 0, MOST), self._person(one)
            found += [_numbered(one, k, i) for i in range(min(count, MOST))]
        return tuple(found)

    def _finding(self, wanted: _Wanted) -> Found:
        type_ = self._word(wanted, "findings.type", self._rng.choice(_PLAIN_TYPES))
        category, severity = self._vocabulary.types.get(type_, ("pii", "medium"))
        if "findings.category" in wanted:
            category = cast(Any, self._word(wanted, "findings.category", category))
        if "findings.severity" in wanted:
            severity = cast(Any, self._word(wanted, "findings.severity", severity))
        place = self._word(wanted, "findings.place", "body") if self._rng.random() < 0.7 else "body"
        confident = [float(c.value) for c in wanted.get("findings.confidence", ()) if not isinstance(c.value, str)]
        return Found(
            type_,
            category,
            severity,
            min(1.0, max(0.0, self._rng.choice(confident) + self._rng.choice((-0.01, 0, 0.01)))) if confident else 0.9,
            cast(Any, place),
            cast(Any, self._word(wanted, "findings.origin", "user")),
            self._rng.random() < 0.8,
        )

    def _person(self, found: Found) -> Found:
        return Found("PERSON", "pii", "medium", found.confidence, found.place, found.origin, found.redactable)


def _numbered(f: Found, kind: int, i: int) -> Found:
    plain = (f.type, f.category, f.severity, f.confidence, f.place, f.origin, f.redactable)
    return Found(*plain, identity=f"{kind}:{i}", record=i, row=i)


def _by_path(found: Sequence[Comparison]) -> dict[str, list[Comparison]]:
    by: defaultdict[str, list[Comparison]] = defaultdict(list)
    for c in found:
        by[c.path].append(c)
    return dict(by)
