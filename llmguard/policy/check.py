"""Check: what is wrong with a policy as it is written, before it decides anything.

Errors cannot be used. Warnings can, and are probably not meant: words that no call can have, rules that never decide,
groups that nobody is in. The tests beside the rules are run. It reads text and facts; it asks no guard.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from llmguard.errors import ConfigError, GuardUnavailable
from llmguard.policy import Policy
from llmguard.policy.advice import near
from llmguard.policy.cases import Result, parsed, run
from llmguard.policy.literals import Comparison, comparisons
from llmguard.policy.reach import unreachable
from llmguard.policy.rules import Rule
from llmguard.policy.samples import samples
from llmguard.policy.vocabulary import RANGES, Vocabulary

SAMPLES = 5000
"""Made-up calls that are tried before a rule is suspected never to decide."""
SEED = 7
_HEAD = re.compile(r"^\s*\[\[\s*(\w+)\s*\]\]")
_WHEN = re.compile(r"^\s*when\s*=")
_COLUMN = re.compile(r"line (\d+), (column \d+)")


@dataclass(frozen=True, slots=True)
class Problem:
    """``about``: ``rule 'name'`` and the like. ``line`` of the file, from 1; 0 if it is not known."""

    level: Literal["error", "warning"]
    about: str
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Report:
    """``policy`` None: it cannot be used. ``tried``: samples that were tried; 0 where nothing had to be suspected."""

    policy: Policy | None
    problems: tuple[Problem, ...]
    results: tuple[Result, ...]
    tried: int

    @property
    def errors(self) -> int:
        return sum(p.level == "error" for p in self.problems)

    @property
    def warnings(self) -> int:
        return len(self.problems) - self.errors


def check(
    document: Mapping[str, Any],
    vocabulary: Vocabulary,
    *,
    text: str = "",
    members: Mapping[str, int] | None = None,
    count: int = SAMPLES,
) -> Report:
    """Looks at a policy's document with its ``tests``. ``text``: the file that it stands in, for the lines.

    ``members``: how many people each group has; None if that is not known, and then it is not looked at.
    """
    raw, tests = _rows(document, "rules"), _rows(document, "tests")
    lines = _Lines(text, len(raw), len(tests))
    problems = list(_broken(raw, lines))
    try:
        policy = Policy.of({k: v for k, v in document.items() if k != "tests"})
    except ConfigError as e:
        if not any(p.level == "error" for p in problems):
            problems.append(Problem("error", "policy", 0, e.message))
        return Report(None, tuple(problems), (), 0)
    worded = list(_words(policy, vocabulary, lines))
    problems += [*worded, *_styled(policy, vocabulary)]
    said = {p.about for p in worded}  # of these it is known already why they do not hold
    proved = {n: w for n, w in unreachable(policy.rules, vocabulary).items() if f"rule {n!r}" not in said}
    problems += [_at(lines, policy, name, f"it never decides: {why}") for name, why in proved.items()]
    known = {*proved, *(r.name for r in policy.rules if f"rule {r.name!r}" in said)}
    tried, never = _suspected(policy, vocabulary, known, count)
    told = f"it decided none of {tried:,} made-up calls; it may stand behind others that hold whenever it does"
    problems += [_at(lines, policy, name, told) for name in never]
    problems += _groups(policy, lines, members) if members is not None else ()
    results, failed = _tested(policy, tests, vocabulary, lines)
    return Report(policy, tuple(sorted([*problems, *failed], key=lambda p: p.line)), results, tried)


def _rows(document: Mapping[str, Any], name: str) -> Sequence[Any]:
    rows = document.get(name, ())
    return rows if isinstance(rows, Sequence) and not isinstance(rows, str) else ()


# --------------------------------------------------------------------------- where it stands


class _Lines:
    """Lines of rules and tests in a file; 0 where they cannot be told."""

    def __init__(self, text: str, rules: int, tests: int) -> None:
        self._rules: list[int] = []
        self._tests: list[int] = []
        self._when: dict[int, int] = {}
        self._read(text)
        if len(self._rules) != rules:  # written in another way, or what looks like a head stands inside of a text
            self._rules, self._when = [], {}
        if len(self._tests) != tests:
            self._tests = []

    def _read(self, text: str) -> None:
        inside = ""
        for number, line in enumerate(text.splitlines(), 1):
            if head := _HEAD.match(line):
                inside = head[1]
                {"rules": self._rules, "tests": self._tests}.get(inside, []).append(number)
            elif inside == "rules" and _WHEN.match(line) and len(self._rules) - 1 not in self._when:
                opens = re.search(r"('''|\"\"\")\s*$", line) is not None  # TOML drops the line feed after it
                self._when[len(self._rules) - 1] = number + opens

    def rule(self, index: int) -> int:
        return self._rules[index] if index < len(self._rules) else 0

    def when(self, index: int) -> int:
        return self._when.get(index, self.rule(index))

    def test(self, index: int) -> int:
        return self._tests[index] if index < len(self._tests) else 0


def _index(policy: Policy, name: str) -> int:
    return next(i for i, r in enumerate(policy.rules) if r.name == name)


def _at(lines: _Lines, policy: Policy, name: str, text: str) -> Problem:
    return Problem("warning", f"rule {name!r}", lines.rule(_index(policy, name)), text)


# --------------------------------------------------------------------------- what cannot be used


def _broken(raw: Sequence[Any], lines: _Lines) -> Iterator[Problem]:
    """Every rule that cannot be used, not only the first."""
    for i, one in enumerate(raw):
        if not isinstance(one, Mapping):
            yield Problem("error", f"rule {i + 1}", lines.rule(i), "a rule is a table: [[rules]]")
            continue
        try:
            Rule.of(i, one)
        except ConfigError as e:
            about, _, said = e.message.partition(": ")
            line = lines.rule(i)
            if place := _COLUMN.match(said):
                line = lines.when(i) + int(place[1]) - 1 if lines.when(i) else 0
                said = f"{place[2]}{said[place.end() :]}"
            yield Problem("error", about.removeprefix("policy "), line, said)


# --------------------------------------------------------------------------- what is probably not meant


def _words(policy: Policy, vocabulary: Vocabulary, lines: _Lines) -> Iterator[Problem]:
    """Comparisons with what no call can have."""
    for i, rule in enumerate(policy.rules):
        for c in dict.fromkeys(comparisons(rule.when)):
            if said := _never(c, vocabulary):
                yield Problem("warning", f"rule {rule.name!r}", lines.when(i), said)


def _never(c: Comparison, vocabulary: Vocabulary) -> str:
    if isinstance(c.value, str):
        if c.sign not in ("==", "!=") or vocabulary.possible(c.path, c.value):
            return ""
        known = vocabulary.words[c.path]
        meant = near(c.value, known)
        all_of = ", ".join(sorted(known)) if len(known) < 12 else f"one of {len(known)} (llmguard {_LISTED[c.path]})"
        return f'{c.path} is never "{c.value}"; ' + (f'did you mean "{meant}"?' if meant else f"it is {all_of}")
    least, most = RANGES.get(c.path, (c.value, c.value))
    inside = {"<": least < c.value, "<=": least <= c.value, ">": c.value < most, ">=": c.value <= most}
    if least < most and not inside.get(c.sign, least <= c.value <= most):
        return f"{c.path} is never {c.sign} {c.value}: it is {least:g} to {most:g}"
    return ""


_LISTED = {"findings.type": "catalogue list", "call.operation": "operations", "call.method": "operations"}


def _styled(policy: Policy, vocabulary: Vocabulary) -> Iterator[Problem]:
    for name in policy.styles:
        types = vocabulary.words.get("findings.type")
        if types is None or name in types or name in vocabulary.words["findings.category"]:
            continue
        meant = near(name, types)
        hint = f"did you mean {meant}?" if meant else "llmguard catalogue list shows the types"
        yield Problem("warning", "styles", 0, f"no detector finds {name}; {hint}")


def _suspected(
    policy: Policy, vocabulary: Vocabulary, known: Collection[str], count: int
) -> tuple[int, tuple[str, ...]]:
    """Rules that decided none of the samples, and how many were tried: no more than it takes."""
    waiting = {r.name for r in policy.rules if r.name not in known and not r.shadow}
    tried = 0
    for sample in samples(policy.rules, vocabulary, count, SEED):
        if not waiting:
            break
        tried += 1
        try:
            waiting.discard(policy.enforced(sample.facts, sample.risk).rule)
        except GuardUnavailable:  # a rule that errs for this one refuses it: that is a way to decide
            continue
    return tried, tuple(r.name for r in policy.rules if r.name in waiting)


def _groups(policy: Policy, lines: _Lines, members: Mapping[str, int]) -> Iterator[Problem]:
    for i, rule in enumerate(policy.rules):
        if rule.verdict != "require_approval":
            continue
        need = rule.requirement
        wanted = {**dict.fromkeys(need.audience, 1), **dict(need.groups)}
        for group, count in wanted.items():
            if members.get(group, 0) < count:
                has = members.get(group, 0)
                who = "nobody is in it" if not has else f"{has} {'person is' if has == 1 else 'people are'} in it"
                text = f"it wants {count} of the group {group!r}, and {who}"
                yield Problem("warning", f"rule {rule.name!r}", lines.rule(i), text)


# --------------------------------------------------------------------------- tests


def _tested(
    policy: Policy, tests: Sequence[Any], vocabulary: Vocabulary, lines: _Lines
) -> tuple[tuple[Result, ...], list[Problem]]:
    results, problems = [], []
    names = {r.name for r in policy.rules} | {"default", "shadow"}
    for i, raw in enumerate(tests):
        try:
            if not isinstance(raw, Mapping):
                raise ConfigError("tests are tables: [[tests]]")
            case = parsed(i, raw, vocabulary)
            if case.rule and case.rule not in names:
                raise ConfigError(f"policy test {case.name!r}: there is no rule {case.rule!r}")
        except ConfigError as e:
            problems.append(Problem("error", f"test {i + 1}", lines.test(i), e.message))
            continue
        result = run(policy, case)
        results.append(result)
        if not result.passed:
            problems.append(Problem("error", f"test {case.name!r}", lines.test(i), _failed(result)))
    return tuple(results), problems


def _failed(result: Result) -> str:
    case, (verdict, rule) = result.case, result.said
    expected = f"{case.expect} by {case.rule!r}" if case.rule else case.expect
    return f"expected {expected}, and it is {verdict}" + (f" by {rule!r}" if rule else "")
