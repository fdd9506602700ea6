"""Conditions: CEL expressions over the facts of a call, compiled once, with every variable's type known.

An unknown variable, a field that findings do not have, or a comparison of text with a number is an error when the
condition is compiled. At run time cel-expr-python returns errors as truthy values, so the type and the identity of an
outcome are both tested: whatever is not exactly true or false refuses the call. An evaluation takes at most 10,000 steps
over lists, which is an error like any other.

What conditions cost does not grow with how many findings are alike: only what they read is made ready, ``exists`` and
``all`` look at findings that differ in it, and of more than ``MANY`` findings no more alike are listed than the largest
number in a condition, plus one; so a count compared with a number comes out the same.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from operator import attrgetter
from typing import Any

from llmguard.errors import ConfigError, GuardUnavailable
from llmguard.facts import Facts, Found
from llmguard.model import Risk
from llmguard.policy.advice import told
from llmguard.risk import people

LONGEST = 4000
"""Characters of a condition."""
VARIABLES = {
    "call.operation": "STRING",
    "call.kind": "STRING",
    "call.method": "STRING",
    "call.rendered": "BOOL",
    "call.bytes": "INT",
    "call.characters": "INT",
    "call.justified": "BOOL",
    "call.people": "INT",
    "call.unscanned": "TEXTS",
    "principal.id": "STRING",
    "principal.kind": "STRING",
    "principal.name": "STRING",
    "principal.human": "STRING",
    "principal.accountable": "BOOL",
    "destination.name": "STRING",
    "destination.trust": "STRING",
    "risk.inherent": "INT",
    "risk.residual": "INT",
    "findings": "FINDINGS",
    "time.hour": "INT",
    "time.weekday": "INT",
}
"""What a condition can see. Hours and weekdays (1 is Monday) are UTC."""
FIELDS = {
    "type": "STRING",
    "category": "STRING",
    "severity": "STRING",
    "confidence": "DOUBLE",
    "place": "STRING",
    "origin": "STRING",
    "redactable": "BOOL",
}
"""What a condition can see of a finding."""
_OVER_FINDINGS = re.compile(r"\bfindings\s*\.\s*(exists_one|exists|all|filter|map)\s*\(\s*([A-Za-z_]\w*)\s*,")
_COUNTED = re.compile(r"\bsize\s*\(\s*findings\s*\)|\bfindings\s*\.\s*size\s*\(\s*\)")
_TEXT = re.compile(r""""(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'""")
_NUMBER = re.compile(r"(?<![\w.])\d{1,9}(?![\w.])")
KINDS, COUNT = "findings__kinds", "findings__count"
"""Variables of our own: findings that differ in what is read of them, and how many findings there are."""
MANY = 1000
"""Findings up to which a condition has each of them."""


class Condition:
    """A compiled expression. ``ran`` is what is evaluated: the same, over fewer findings where that says the same."""

    __slots__ = ("_expression", "name", "ran", "source")

    def __init__(self, name: str, source: str) -> None:
        """Raises ConfigError, which names the rule ``name``."""
        if not isinstance(source, str) or len(source) > LONGEST:
            raise ConfigError(f"policy rule {name!r}: when is an expression of at most {LONGEST} characters")
        self.name, self.source, self.ran = name, source, _shortened(source)
        self._expression = _compiled(name, source, self.ran)

    def holds(self, facts: Activation) -> bool:
        """Raises GuardUnavailable if the condition errs or is neither true nor false."""
        value = _truth(self._expression, facts)
        if value is None:
            raise GuardUnavailable(f"policy rule {self.name!r} failed, so nothing is sent; see: llmguard policy check")
        return value


class Several:
    """Conditions that are asked at once: ``(a) || (b) || …`` is false only if each of them is false and none errs."""

    __slots__ = ("_expression",)

    def __init__(self, conditions: Sequence[Condition]) -> None:
        try:  # a comment may end a condition: hence the line feed
            self._expression = _environment().compile(" || ".join(f"({c.ran}\n)" for c in conditions))
        except RuntimeError:  # together too long for the compiler: each is asked by itself
            self._expression = None

    def none(self, facts: Activation) -> bool:
        """Whether none holds and none errs; false also where that is not known."""
        return self._expression is not None and _truth(self._expression, facts) is False


@dataclass(frozen=True, slots=True)
class Reads:
    """What conditions may read: nothing else is made ready for them. More than they do read is harmless.

    ``each``: whether findings are counted or taken one by one; then ``alike`` of those that no condition could tell
    apart are enough.
    """

    variables: frozenset[str]
    fields: tuple[str, ...]
    each: bool
    alike: int

    @classmethod
    def of(cls, conditions: Iterable[Condition]) -> Reads:
        sources = [c.source for c in conditions]
        words = frozenset(re.findall(r"\w+", "\n".join(sources)))
        over = [s for s in sources if "findings" in s]
        numbers = [int(n) for s in over for n in _NUMBER.findall(s)]
        return cls(
            variables=frozenset(name for name in VARIABLES if name.rpartition(".")[2] in words),
            fields=tuple(name for name in FIELDS if name in words),
            each=any(re.search(r"\bfindings\b", _bare(c.ran)) for c in conditions),
            alike=1 + max(100, *numbers) if numbers else 101,
        )


ALL = Reads(frozenset(VARIABLES), tuple(FIELDS), True, MANY)


class Activation:
    """The facts of one call as conditions see them."""

    __slots__ = ("activation",)

    def __init__(self, facts: Facts, risk: Risk, reads: Reads = ALL) -> None:
        self.activation = _environment().Activation(values(facts, risk, reads))


_VALUES: Mapping[str, Callable[[Facts, Risk], Any]] = {
    "call.operation": lambda facts, _: facts.operation,
    "call.kind": lambda facts, _: facts.kind,
    "call.method": lambda facts, _: facts.method,
    "call.rendered": lambda facts, _: facts.rendered,
    "call.bytes": lambda facts, _: facts.size,
    "call.characters": lambda facts, _: facts.characters,
    "call.justified": lambda facts, _: facts.justified,
    "call.people": lambda facts, _: people(facts.found),
    "call.unscanned": lambda facts, _: list(facts.unscanned),
    "principal.id": lambda facts, _: facts.principal,
    "principal.kind": lambda facts, _: facts.principal_kind,
    "principal.name": lambda facts, _: facts.principal_name,
    "principal.human": lambda facts, _: facts.human,
    "principal.accountable": lambda facts, _: bool(facts.human),
    "destination.name": lambda facts, _: facts.destination,
    "destination.trust": lambda facts, _: facts.trust,
    "risk.inherent": lambda _, risk: risk.inherent,
    "risk.residual": lambda _, risk: risk.residual,
    "time.hour": lambda facts, _: _moment(facts).hour,
    "time.weekday": lambda facts, _: _moment(facts).isoweekday(),
}


def values(facts: Facts, risk: Risk, reads: Reads = ALL) -> dict[str, Any]:
    """The variables of a call that are read: types and counts, never text."""
    made = {name: of(facts, risk) for name, of in _VALUES.items() if name in reads.variables}
    kinds: Counter[tuple[Any, ...]] = Counter()
    of_finding = _picked(reads.fields)
    for f in facts.found:
        kinds[of_finding(f)] += f.times
    total = kinds.total()
    made[COUNT] = total
    made[KINDS] = [dict(zip(reads.fields, kind, strict=True)) for kind in kinds]
    if reads.each:
        most = total if total <= MANY else reads.alike
        made["findings"] = [
            found
            for found, count in zip(made[KINDS], kinds.values(), strict=True)
            for _ in range(min(count, most))
        ]
    return made


def seen(facts: Facts, risk: Risk, reads: Reads) -> tuple[Any, ...]:
    """All that conditions could tell calls apart by: calls of which this is equal are decided alike."""
    made = [of(facts, risk) for name, of in _VALUES.items() if name in reads.variables and name != "call.unscanned"]
    kinds: Counter[tuple[Any, ...]] = Counter()
    of_finding = _picked(reads.fields)
    for f in facts.found:
        kinds[of_finding(f)] += f.times
    return (facts.unscanned, tuple(kinds.items()), *made)


def _picked(fields: Sequence[str]) -> Callable[[Found], tuple[Any, ...]]:
    if len(fields) == 1:
        one = attrgetter(fields[0])
        return lambda f: (one(f),)
    return attrgetter(*fields) if fields else lambda _: ()


def _moment(facts: Facts) -> datetime:
    return datetime.fromtimestamp(facts.received / 1000, UTC)


def _truth(expression: Any, facts: Activation) -> bool | None:
    """True or false; None for whatever else it is, and where its steps are more than the evaluator takes."""
    try:
        outcome = expression.eval(facts.activation)
    except RuntimeError:  # "Iteration budget exceeded" is raised, where other errors are returned
        return None
    value = outcome.value()
    if outcome.type() != _cel().Type.BOOL or (value is not True and value is not False):
        return None
    return bool(value)


def _bare(source: str) -> str:
    """A condition of the same length whose texts say nothing: what looks like code inside text is text."""
    return _TEXT.sub(lambda m: '"' + "x" * (len(m[0]) - 2) + '"', source)


def _shortened(source: str) -> str:
    """The condition with ``exists`` and ``all`` over findings that differ, and without lists that are only counted."""
    bare = _bare(source)
    changes = [(m.start(), m.start() + len("findings"), KINDS) for m in _OVER_FINDINGS.finditer(bare) if m[1] in _EVERY]
    changes += [(*m.span(), COUNT) for m in _COUNTED.finditer(bare)]
    for start, end, by in sorted(changes, reverse=True):
        source = source[:start] + by + source[end:]
    return source


_EVERY = ("exists", "all")
"""Macros that say the same of a list whatever stands in it twice."""


def _compiled(name: str, source: str, ran: str) -> Any:
    if "findings__" in source:
        raise ConfigError(f"policy rule {name!r}: no variable begins with findings__")
    try:
        expression = _environment().compile(source)
        for checked in _checkable(source):
            checked[0].compile(checked[1])
        if ran != source:
            expression = _environment().compile(ran)
    except (RuntimeError, TypeError) as e:
        said = told(str(e), source, tuple(VARIABLES), tuple(FIELDS))
        raise ConfigError(f"policy rule {name!r}: {said}") from None
    if expression.return_type() not in (_cel().Type.BOOL, _cel().Type.DYN):
        raise ConfigError(f"policy rule {name!r}: the condition is not true or false")
    return expression


def _checkable(source: str) -> list[tuple[Any, str]]:
    """The condition once more, with the fields of findings as variables of their types.

    Findings are maps for CEL, whose fields have no types: ``findings.exists(f, f.typ == 1)`` would compile. So the
    macro's list is replaced by one that the compiler knows, and ``f.type`` and the like are declared.
    """
    bare = _bare(source)
    names = frozenset(m[2] for m in _OVER_FINDINGS.finditer(bare))
    if not names:
        return []
    swapped, end = [], 0
    for m in _OVER_FINDINGS.finditer(bare):
        over = source[m.start() : m.start(2)].replace("findings", "[true]  ", 1)  # columns stay what they are
        swapped += [source[end : m.start()], over, "_" * len(m[2])]
        end = m.end(2)
    return [(_environment(names), "".join([*swapped, source[end:]]))]


@cache
def _environment(over: frozenset[str] = frozenset()) -> Any:
    cel = _cel()
    kinds = {name: getattr(cel.Type, name) for name in ("STRING", "BOOL", "INT", "DOUBLE")}
    kinds["TEXTS"] = cel.Type.List(cel.Type.STRING)
    kinds["FINDINGS"] = cel.Type.List(cel.Type.Map(cel.Type.STRING, cel.Type.DYN))
    fields = {f"{v}.{field}": kind for v in over for field, kind in FIELDS.items()}
    declared: Mapping[str, str] = {**VARIABLES, KINDS: "FINDINGS", COUNT: "INT", **fields}
    return cel.NewEnv(variables={name: kinds[kind] for name, kind in declared.items()})


@cache
def _cel() -> Any:
    from cel_expr_python import cel

    return cel
