"""Case: a test beside the rules: a call in facts, and what the policy is expected to decide of it.

    [[tests]]
    name = "training data with card numbers waits"
    call = { kind = "training" }
    findings = [{ type = "CREDIT_CARD", n = 3 }]
    expect = "require_approval"
    rule = "training"

What is left out has a plain value (``DEFAULTS``); an unknown key is an error, so that no test passes by a slip.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, get_args

from llmguard.errors import ConfigError, GuardUnavailable
from llmguard.facts import Facts, Found
from llmguard.model import Category, Kind, Origin, Place, Risk, Severity, Trust, Verdict
from llmguard.policy import Policy
from llmguard.policy.advice import near
from llmguard.policy.explain import Explained, explain
from llmguard.policy.vocabulary import Vocabulary

CALL = {
    "operation": str,
    "kind": Kind,
    "method": str,
    "rendered": bool,
    "bytes": int,
    "characters": int,
    "justified": bool,
    "unscanned": list,
}
FINDING = {
    "type": str,
    "category": Category,
    "severity": Severity,
    "confidence": float,
    "place": Place,
    "origin": Origin,
    "redactable": bool,
    "n": int,
}
PRINCIPAL = {"id": str, "kind": ("human", "service", "agent"), "name": str, "human": str}
DESTINATION = {"name": str, "trust": Trust}
RISK = {"inherent": int, "residual": int}
KEYS = ("name", "call", "findings", "principal", "destination", "risk", "time", "expect", "rule")
EXPECTED = (*get_args(Verdict), "refused")
"""``refused``: a condition errs, so nothing is sent."""
DEFAULTS: Mapping[str, Any] = {
    "operation": "chat.completions.create",
    "kind": "inference",
    "method": "POST",
    "characters": 400,
    "human": "ann@example.com",
    "principal": "key:test",
    "destination": "openai",
    "trust": "public",
    "time": datetime(2026, 3, 4, 12, tzinfo=UTC),
    "confidence": 0.9,
}
"""A chat of a service that Ann answers for, on a Wednesday at noon (UTC), to a public provider."""
_OPERATIONS = {
    "inference": "chat.completions.create",
    "stored": "files.create",
    "training": "fine_tuning.jobs.create",
    "administration": "organization",
    "action": "action.test",
    "unknown": "unknown",
}
MOST = 100_000
"""Findings of one case."""


@dataclass(frozen=True, slots=True)
class Case:
    """``risk`` None: as the policy assesses it."""

    name: str
    facts: Facts
    risk: Risk | None
    expect: str
    rule: str


@dataclass(frozen=True, slots=True)
class Result:
    """``said``: the verdict and the rule that decided."""

    case: Case
    passed: bool
    said: tuple[str, str]
    explained: Explained


def parsed(index: int, raw: Mapping[str, Any], vocabulary: Vocabulary) -> Case:
    """The test at ``index`` (from 0). Raises ConfigError, which names the case."""
    name = raw.get("name", f"test {index + 1}")
    where = f"policy test {name!r}"
    _checked(where, raw, KEYS)
    if not isinstance(name, str):
        raise ConfigError(f"policy test {index + 1}: name is text")
    expect, rule = raw.get("expect"), raw.get("rule", "")
    if expect not in EXPECTED or not isinstance(rule, str):
        raise ConfigError(f"{where}: expect is one of {', '.join(EXPECTED)}; rule is the name of one")
    return Case(name, _facts(where, raw, vocabulary), _risk(where, raw.get("risk")), str(expect), rule)


def run(policy: Policy, case: Case) -> Result:
    """What the policy decides, and whether that was expected."""
    risk = case.risk or policy.risk(case.facts)
    try:
        decision = policy.decide(case.facts, risk)
        said = (str(decision.verdict), decision.rule)
    except GuardUnavailable:
        said = ("refused", "")
    explained = explain(policy, case.facts, risk)
    if said[0] == "refused":
        said = ("refused", next((s.rule for s in explained.steps if s.outcome == "error" and not s.shadow), ""))
    return Result(case, said[0] == case.expect and case.rule in ("", said[1]), said, explained)


def facts_of(raw: Mapping[str, Any], vocabulary: Vocabulary) -> tuple[Facts, Risk | None]:
    """Facts and, if it says so, the risk of a call that was written by hand, as in a case. Raises ConfigError."""
    where = "facts"
    _checked(where, raw, tuple(k for k in KEYS if k not in ("expect", "rule")))
    return _facts(where, raw, vocabulary), _risk(where, raw.get("risk"))


# --------------------------------------------------------------------------- reading


def _facts(where: str, raw: Mapping[str, Any], vocabulary: Vocabulary) -> Facts:
    call = _table(where, "call", raw.get("call", {}), CALL)
    who = _table(where, "principal", raw.get("principal", {}), PRINCIPAL)
    to = _table(where, "destination", raw.get("destination", {}), DESTINATION)
    unscanned = call.get("unscanned", [])
    if not all(isinstance(u, str) for u in unscanned):
        raise ConfigError(f"{where}: call.unscanned is a list of words")
    kind = call.get("kind", DEFAULTS["kind"])
    characters = call.get("characters", DEFAULTS["characters"])
    return Facts(
        operation=call.get("operation", _OPERATIONS[kind]),
        kind=kind,
        trust=to.get("trust", DEFAULTS["trust"]),
        found=_found(where, raw.get("findings", []), vocabulary),
        unscanned=tuple(sorted(unscanned)),
        method=call.get("method", "RUN" if kind == "action" else DEFAULTS["method"]),
        rendered=call.get("rendered", False),
        size=call.get("bytes", characters),
        characters=characters,
        principal=who.get("id", DEFAULTS["principal"]),
        principal_kind=who.get("kind", "service"),
        principal_name=who.get("name", "test"),
        human=who.get("human", DEFAULTS["human"]),
        destination=to.get("name", DEFAULTS["destination"]),
        received=_time(where, raw.get("time", DEFAULTS["time"])),
        justified=call.get("justified", False),
    )


def _found(where: str, raw: Any, vocabulary: Vocabulary) -> tuple[Found, ...]:
    if not isinstance(raw, list):
        raise ConfigError(f'{where}: findings is a list of tables: [{{ type = "EMAIL", n = 3 }}]')
    found: list[Found] = []
    for one in raw:
        f = _table(where, "findings", one, FINDING)
        found += _repeated(where, f, vocabulary)
        if len(found) > MOST:
            raise ConfigError(f"{where}: at most {MOST} findings")
    return tuple(found)


def _repeated(where: str, f: dict[str, Any], vocabulary: Vocabulary) -> list[Found]:
    """``n`` different values of a type, each in a record and a line of its own: one of each type is one person's."""
    type_, count, place = f.pop("type", None), f.pop("n", 1), f.get("place", "body")
    if type_ is None or not 1 <= count <= MOST:
        raise ConfigError(f"{where}: a finding has a type, and n from 1 to {MOST}")
    known = vocabulary.types.get(type_)
    if known is None and not {"category", "severity"} <= set(f):
        meant = near(type_, vocabulary.types)
        hint = f"did you mean {meant}? Else" if meant else "if it is one of yours,"
        raise ConfigError(f"{where}: no detector finds {type_}; {hint} say its category and severity")
    category, severity = known or (f["category"], f["severity"])
    values = {"category": category, "severity": severity, "confidence": DEFAULTS["confidence"]}
    values |= {"redactable": place in ("body", "key"), **f}
    return [Found(type_, **values, identity=f"{type_} {i}", record=i, row=i) for i in range(count)]


def _risk(where: str, raw: Any) -> Risk | None:
    if raw is None:
        return None
    risk = _table(where, "risk", raw, RISK)
    residual = risk.get("residual", 0)
    inherent = risk.get("inherent", residual)
    if not 0 <= residual <= inherent <= 100:
        raise ConfigError(f"{where}: risk is 0 to 100, and what is left is not more than there was")
    return Risk(inherent, residual)


def _time(where: str, raw: Any) -> int:
    """UTC milliseconds of a moment; one without a time zone is UTC."""
    if isinstance(raw, str):
        try:
            raw = datetime.fromisoformat(raw)
        except ValueError:
            raw = None
    if not isinstance(raw, datetime):
        raise ConfigError(f"{where}: time is a moment: 2026-03-04T12:00:00Z")
    return int((raw if raw.tzinfo else raw.replace(tzinfo=UTC)).timestamp() * 1000)


def _table(where: str, name: str, raw: Any, fields: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(raw, Mapping):
        raise ConfigError(f"{where}: {name} is a table with {', '.join(fields)}")
    _checked(f"{where}: {name}", raw, tuple(fields))
    for key, value in raw.items():
        kind = fields[key]
        if isinstance(kind, type):
            fits = type(value) is kind or (kind is float and type(value) is int)
            told = {"str": "text", "int": "a whole number", "float": "a number", "bool": "true or false"}
            if not fits:
                raise ConfigError(f"{where}: {name}.{key} is {told.get(kind.__name__, 'a list')}")
        elif value not in (words := kind if isinstance(kind, tuple) else get_args(kind)):
            raise ConfigError(f"{where}: {name}.{key} is one of {', '.join(words)}")
    return dict(raw)


def _checked(where: str, raw: Mapping[str, Any], keys: tuple[str, ...]) -> None:
    if unknown := sorted(set(raw) - set(keys)):
        meant = near(str(unknown[0]), keys)
        hint = f"did you mean {meant!r}?" if meant else f"it has {', '.join(keys)}"
        raise ConfigError(f"{where} has no {unknown[0]!r}; {hint}")
