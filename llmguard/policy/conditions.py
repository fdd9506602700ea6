"""Conditions: CEL expressions over the facts of a call, compiled once, with every variable's type known.

An unknown variable, a field that findings do not have, or a comparison of text with a number is an error when the
condition is compiled. At run time cel-expr-python returns errors as truthy values, so the type and the identity of an
outcome are both tested: whatever is not exactly true or false refuses the call. An evaluation takes at most 10,000
steps over lists, which is an error like any other.

What conditions cost does not grow with how many findings are alike: only what they read is made ready, and they run
as ``rewriting`` has them, over findings that differ. A list that they take one by one (``findings[0]``, ``map``)
exists up to ``LISTED`` findings; of more there is none, and the condition errs.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, lru_cache
from operator import attrgetter
from typing import Any

from llmguard.errors import ConfigError, GuardUnavailable
from llmguard.facts import Facts, Found
from llmguard.model import Risk
from llmguard.policy.advice import told
from llmguard.policy.rewriting import COUNT, COUNTS, KINDS, SOME, TIMES, TYPES, Rewritten, blanked, checkable, rewritten
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
LISTED = 1000
"""Findings up to which a condition can take them one by one. Of more there is no list, so it errs: never a part."""
PIECE = 200
"""Kinds that are counted at a time: CEL copies a list at each step."""


class Condition:
    """A compiled expression. ``ran`` is what is evaluated: it says the same, over fewer findings."""

    __slots__ = ("_counts", "_expression", "name", "ran", "source")

    def __init__(self, name: str, source: str) -> None:
        """Raises ConfigError, which names the rule ``name``."""
        if not isinstance(source, str) or len(source) > LONGEST:
            raise ConfigError(f"policy rule {name!r}: when is an expression of at most {LONGEST} characters")
        self.name, self.source, self.ran = name, source, rewritten(source)
        self._expression = _compiled(name, source, self.ran)
        self._counts = _counters((self,))

    def holds(self, facts: Activation) -> bool:
        """Raises GuardUnavailable if the condition errs or is neither true nor false."""
        facts.count(self._counts)
        value = _truth(self._expression, facts)
        if value is None:
            raise GuardUnavailable(f"policy rule {self.name!r} failed, so nothing is sent; see: llmguard policy check")
        return value


class Several:
    """Conditions that are asked at once: ``(a) || (b) || …`` is false only if each of them is false and none errs."""

    __slots__ = ("_counts", "_expression")

    def __init__(self, conditions: Sequence[Condition]) -> None:
        self._counts = _counters(conditions)
        try:  # a comment may end a condition: hence the line feed
            self._expression = _environment().compile(" || ".join(f"({c.ran.text}\n)" for c in conditions))
        except RuntimeError:  # together too long for the compiler: each is asked by itself
            self._expression = None

    def none(self, facts: Activation) -> bool:
        """Whether none holds and none errs; false also where that is not known."""
        facts.count(self._counts)
        return self._expression is not None and _truth(self._expression, facts) is False


@dataclass(frozen=True, slots=True)
class Reads:
    """What conditions may read: nothing else is made ready for them. More than they do read is harmless.

    ``each``: whether findings are taken one by one. ``counted``: whether it matters how many there are of a kind.
    """

    variables: frozenset[str]
    fields: tuple[str, ...]
    each: bool
    counted: bool = True

    @classmethod
    def of(cls, conditions: Iterable[Condition]) -> Reads:
        sources = [c.source for c in conditions]
        words = frozenset(re.findall(r"\w+", "\n".join(sources)))
        return cls(
            variables=frozenset(name for name in VARIABLES if name.rpartition(".")[2] in words),
            fields=tuple(name for name in FIELDS if name in words),
            each=any(re.search(r"\bfindings\b", blanked(text)) for c in conditions for text in _texts(c.ran)),
            counted=any(c.ran.counts for c in conditions),
        )


ALL = Reads(frozenset(VARIABLES), tuple(FIELDS), True)


class Activation:
    """The facts of one call as conditions see them. What they count is counted when it is first asked for."""

    __slots__ = ("_counts", "_values", "activation")

    def __init__(self, facts: Facts, risk: Risk, reads: Reads = ALL) -> None:
        self._values = values(facts, risk, reads)
        self._counts: dict[str, int] = {}
        self.activation = _environment().Activation(self._values)

    def count(self, counters: Sequence[tuple[str, Any]]) -> None:
        """One that errs has no figure, so the condition that asks for it errs."""
        wanted = [(key, counter) for key, counter in counters if key not in self._counts]
        if not wanted:
            return
        kinds = self._values[KINDS]
        pieces = [{**self._values, SOME: kinds[i : i + PIECE]} for i in range(0, len(kinds), PIECE)]
        activations = [_environment().Activation(piece) for piece in pieces]
        for key, counter in wanted:
            total = _total(counter, activations)
            if total is not None:
                self._counts[key] = total
        self.activation = _environment().Activation({**self._values, COUNTS: dict(self._counts)})


def _total(counter: Any, activations: Sequence[Any]) -> int | None:
    """How many findings are of the kinds that are counted; None if that errs."""
    total = 0
    for activation in activations:
        try:
            outcome = counter.eval(activation)
        except RuntimeError:  # more steps than the evaluator takes
            return None
        if outcome.type() == _cel().Type.ERROR:
            return None
        total += sum(n.value() for n in outcome.value())
    return total


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
    made[KINDS] = [{**dict(zip(reads.fields, kind, strict=True)), TIMES: n} for kind, n in kinds.items()]
    made[COUNTS] = {}
    made[TYPES] = dict.fromkeys([kind["type"] for kind in made[KINDS]], True) if "type" in reads.fields else {}
    if reads.each and total <= LISTED:
        made["findings"] = [
            found for found, count in zip(made[KINDS], kinds.values(), strict=True) for _ in range(count)
        ]
    return made


def seen(facts: Facts, risk: Risk, reads: Reads) -> tuple[Any, ...]:
    """All that conditions could tell calls apart by: calls of which this is equal are decided alike."""
    made = [of(facts, risk) for name, of in _VALUES.items() if name in reads.variables and name != "call.unscanned"]
    kinds: Counter[tuple[Any, ...]] = Counter()
    of_finding = _picked(reads.fields)
    for f in facts.found:
        kinds[of_finding(f)] += f.times
    # where nothing counts them by kind, only which kinds there are and how many findings in all makes a difference
    found = tuple(kinds.items()) if reads.each or reads.counted else (frozenset(kinds), kinds.total())
    return (facts.unscanned, found, *made)


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


def _texts(ran: Rewritten) -> tuple[str, ...]:
    return (ran.text, *(count.source for count in ran.counts))


def _counters(conditions: Iterable[Condition]) -> tuple[tuple[str, Any], ...]:
    counts = {count.key: count.source for c in conditions for count in c.ran.counts}
    return tuple((key, _counter(source)) for key, source in counts.items())


@lru_cache(maxsize=4096)
def _counter(source: str) -> Any:
    return _environment().compile(source)


def _compiled(name: str, source: str, ran: Rewritten) -> Any:
    if "findings__" in source:
        raise ConfigError(f"policy rule {name!r}: no variable begins with findings__")
    try:
        expression = _environment().compile(source)
        names, checked = checkable(source)
        if names:
            _environment(names).compile(checked)
        if ran.text != source:
            expression = _environment().compile(ran.text)
    except (RuntimeError, TypeError) as e:
        said = told(str(e), source, tuple(VARIABLES), tuple(FIELDS))
        raise ConfigError(f"policy rule {name!r}: {said}") from None
    if expression.return_type() not in (_cel().Type.BOOL, _cel().Type.DYN):
        raise ConfigError(f"policy rule {name!r}: the condition is not true or false")
    return expression


@cache
def _environment(over: frozenset[str] = frozenset()) -> Any:
    cel = _cel()
    kinds = {name: getattr(cel.Type, name) for name in ("STRING", "BOOL", "INT", "DOUBLE")}
    kinds["TEXTS"] = cel.Type.List(cel.Type.STRING)
    kinds["FINDINGS"] = cel.Type.List(cel.Type.Map(cel.Type.STRING, cel.Type.DYN))
    fields = {f"{v}.{field}": kind for v in over for field, kind in FIELDS.items()}
    declared: Mapping[str, str] = {**VARIABLES, **dict.fromkeys((KINDS, SOME), "FINDINGS"), COUNT: "INT", **fields}
    counts = cel.Type.Map(cel.Type.STRING, cel.Type.INT)
    types = cel.Type.Map(cel.Type.STRING, cel.Type.BOOL)
    return cel.NewEnv(
        variables={COUNTS: counts, TYPES: types, **{name: kinds[kind] for name, kind in declared.items()}}
    )


@cache
def _cel() -> Any:
    from cel_expr_python import cel

    return cel
