"""Conditions: what is evaluated says the same as what is written, errs as it does, and has a bounded cost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from llmguard.errors import ConfigError, GuardUnavailable
from llmguard.facts import Facts, Found
from llmguard.model import Risk
from llmguard.policy import Policy
from llmguard.policy.conditions import ALL, Activation, Condition, _environment
from llmguard.policy.samples import samples
from llmguard.policy.vocabulary import Vocabulary

EMAIL = Found("EMAIL", "pii", "medium", 0.9)
NO_RISK = Risk(0, 0)
CONDITIONS = [
    'findings.exists(f, f.type == "EMAIL" && f.place == "body")',
    "findings.all(f, f.redactable)",
    "size(findings) > 2 && findings.size() < 20",
    'size(findings.filter(f, f.type == "EMAIL")) >= 3',
    'findings.exists_one(f, f.type == "CREDIT_CARD")',
    'findings.map(f, f.type).exists(t, t == "PHONE")',
    'findings.filter(f, f.severity == "high").exists(f, f.category == "pii")',
    "findings.exists(f, f.confidence > 0.5 && findings.exists(g, g.type != f.type))",
    'findings.exists(f, f.type == "findings.exists(x, x.type)") || call.people > 1',
    '"image" in call.unscanned || call.unscanned.all(u, u == "names")',
    "risk.residual >= 30 && time.hour < 12 && time.weekday in [1, 6] // findings.all(f, f.type)",
    "findings\n  .exists(f,\n  !f.redactable)",
    "findings.exists(f, size(findings.filter(g, g.type == f.type)) > 2)",
    'findings.exists(f, f.type == "PHONE" && !f.redactable) || !findings.exists(g, g . type=="EMAIL")',
    'findings.exists(f, f.type == "PHONE" || f.category == "secret")',
    'findings.exists(f, f.type == "CREDIT_CARD" ? f.redactable : f.place == "path")',
    'findings.exists(f, f.type == "EMAIL" && findings[50].redactable)',
    'findings.filter(f, f.redactable).filter(g, g.severity == "high").exists(h, h.type != "EMAIL")',
    "size(findings.filter(f, findings.exists(g, g.type != f.type) && size(findings) > 2)) > 3",
    'findings.filter(f, f.category == "pii" // it\'s pii) \n && f.redactable).size() >= 2 // size(findings)',
    "findings.filter(f, f.type == '''EMAIL''' || f.place == \"\"\"a ) b\"\"\").size() == 1",
    "size(findings.filter(f, f.confidence < 0.9).map(f, f.type)) >= 1 || findings[0].redactable == true",
    'call.kind == "training" ? risk.inherent > 50 : principal.accountable',
    'principal.name.startsWith("a") && !call.rendered && call.justified && call.bytes > 10',
]


def facts(*found: Found, **more: Any) -> Facts:
    return Facts("op", "inference", "public", found, **more)


def plainly(source: str, call: Facts, risk: Risk) -> bool | None:
    """As it is written, with every finding in the list; None where that errs."""
    value = _environment().compile(source).eval(Activation(call, risk, ALL).activation).value()
    return value if isinstance(value, bool) else None


def decided(policy: Policy, call: Facts, risk: Risk) -> str | None:
    """The rule that decides; None where the call is refused."""
    try:
        return policy.enforced(call, risk).rule
    except GuardUnavailable:
        return None


def test_what_is_evaluated_says_the_same_as_what_is_written() -> None:
    rules = [{"name": f"r{i}", "when": when, "verdict": "block"} for i, when in enumerate(CONDITIONS)]
    policies = [Policy([rule]) for rule in rules]
    together = Policy(rules)
    tried = [0, 0]
    for sample in samples(together.rules, Vocabulary.of(), 150):
        said = [plainly(when, sample.facts, sample.risk) for when in CONDITIONS]
        for policy, expected in zip(policies, said, strict=True):
            rule = None if expected is None else policy.rules[0].name if expected else "default"
            assert decided(policy, sample.facts, sample.risk) == rule
            tried[bool(expected)] += 1
        first = next(((f"r{i}" if holds else None) for i, holds in enumerate(said) if holds is not False), "default")
        assert decided(together, sample.facts, sample.risk) == first
    assert min(tried) > 300


@pytest.mark.parametrize("kinds", [1, 60, 900])
@pytest.mark.parametrize("limit", [5, 100, 400])
def test_a_count_of_very_many_findings_is_told_from_its_limit(kinds: int, limit: int) -> None:
    rule = {"name": "many", "when": f'size(findings.filter(f, f.type == "T0")) > {limit}', "verdict": "block"}
    policy = Policy([rule])
    others = [replace(EMAIL, type=f"T{1 + i % kinds}") for i in range(3000)]
    for count, expected in ((limit, "default"), (limit + 1, "many")):
        call = facts(*[replace(EMAIL, type="T0")] * count, *others)
        assert policy.decide(call, NO_RISK).rule == expected
    assert Policy([{**rule, "when": "size(findings) == 3001"}]).decide(facts(EMAIL, *others), NO_RISK).rule == "many"


def test_a_finding_that_is_kept_with_a_count_counts_as_often() -> None:
    kept = facts(replace(EMAIL, times=12))
    for when in ("size(findings) == 12", 'size(findings.filter(f, f.type == "EMAIL")) == 12'):
        assert Policy([{"name": "n", "when": when, "verdict": "block"}]).decide(kept, NO_RISK).rule == "n"


ERRS = {
    "an element that is not there": "findings[3].type == 'X'",
    "a division by nothing": "1 / (call.bytes) == 1",
    "no truth value": "findings[0].type",
    "another type behind dyn": "dyn(call.kind) > 1",
    "a word that is no number": "int(call.operation) == 1",
    "a pattern that is none": "call.operation.matches(call.method)",
    "more steps than it takes": "findings.exists(f, findings.exists(g, g.confidence == -1.0 - f.confidence))",
    "a number that is too large": "9223372036854775807 + call.characters > 0",
    "not one of two": "findings.exists_one(f, f.type.size() / (f.type.size() - 5) == 1)",
}


@pytest.mark.parametrize("when", ERRS.values(), ids=ERRS.keys())
def test_a_rule_that_errs_refuses_the_call(when: str) -> None:
    very_many = [replace(EMAIL, confidence=i / 200) for i in range(200)] if "-1.0" in when else [EMAIL]
    call = facts(*very_many, method="(", characters=5)
    odd = {"name": "odd", "when": when, "verdict": "allow"}
    for rules in ([odd], [{"name": "first", "when": "call.rendered", "verdict": "block"}, odd]):
        with pytest.raises(GuardUnavailable, match="odd"):
            Policy(rules).decide(call, NO_RISK)


def test_a_rule_that_errs_behind_one_that_holds_is_not_asked() -> None:
    rules = [{"name": "a", "verdict": "redact"}, {"name": "odd", "when": "1 / 0 == 1", "verdict": "allow"}]
    assert Policy(rules).decide(facts(), NO_RISK).rule == "a"


def test_a_rule_that_errs_is_not_hidden_by_one_that_holds_behind_it() -> None:
    rules = [{"name": "odd", "when": "1 / 0 == 1", "verdict": "block"}, {"name": "a", "verdict": "allow"}]
    with pytest.raises(GuardUnavailable, match="odd"):
        Policy(rules).decide(facts(), NO_RISK)


def test_conditions_over_very_many_findings_are_decided() -> None:
    call = facts(*[replace(EMAIL, type=f"T{i % 50}", confidence=i / 10_000) for i in range(10_000)])
    assert Policy().decide(call, NO_RISK).verdict == "redact"
    many = {"name": "m", "when": 'findings.exists(f, f.type == "T49") && size(findings) == 10000', "verdict": "block"}
    assert Policy([many] * 1).decide(call, NO_RISK).rule == "m"


@pytest.mark.parametrize("when", ["size(findings.map(f, f.type)) > 500", "findings[1200].redactable"])
def test_a_condition_that_takes_very_many_findings_one_by_one_refuses(when: str) -> None:
    policy = Policy([{"name": "many", "when": when, "verdict": "block"}])
    with pytest.raises(GuardUnavailable, match="many"):
        policy.decide(facts(*[EMAIL] * 1300), NO_RISK)
    if "1200" not in when:
        assert policy.decide(facts(*[EMAIL] * 1000), NO_RISK).verdict == "block"
    unasked = Policy([{**policy.document["rules"][0], "when": f'call.kind == "training" && {when}'}])
    assert unasked.decide(facts(*[EMAIL] * 1300), NO_RISK).verdict == "redact"


def test_a_condition_does_not_name_our_own_variables() -> None:
    with pytest.raises(ConfigError, match="findings__"):
        Condition("odd", "findings__count > 3")


def test_a_policy_of_very_many_rules_decides_by_the_first_that_holds() -> None:
    rules: list[dict[str, Any]] = [
        {"name": f"r{i}", "when": f'call.operation == "op{i}" || risk.residual == {i}', "verdict": "block"}
        for i in range(300)
    ]
    policy = Policy(rules)
    for i in (0, 23, 24, 47, 48, 99):
        assert policy.decide(facts(), Risk(100, i)).rule == f"r{i}"
    assert policy.decide(replace(facts(), operation="op299"), Risk(100, 0)).rule == "r0"
    assert policy.decide(replace(facts(), operation="op299"), Risk(0, 100)).rule == "r100"


ADVICE = [
    ('call.knd == "x"', "did you mean call.kind?"),
    ('findings.exists(f, f.typ == "EMAIL")', "did you mean f.type?"),
    ('f.type == "EMAIL"', "findings.exists(f"),
    ("risk.residul > 70", "did you mean risk.residual?"),
    ('risk.residual > "70"', "write the number without quotes"),
    ("risk.residual > 70.5", "write 70 for 70.0"),
    ("findings.exists(f, f.confidence > 1)", "write 1.0 for 1"),
    ("call.kind == 3", "write the text in quotes"),
    ('call.kind = "x"', "write =="),
    ('call.kind == "a" & call.rendered', "write &&"),
    ('call.kind == "a" and call.rendered', "write &&"),
    ("not call.rendered", "write !"),
    ("len(findings) > 3", "write size"),
    ('findings.any(f, f.type == "X")', "write exists"),
    ('"a" in principal.name', "contains"),
    ("principal.groups == 1", "principal has id, kind"),
    ("call == 1", "call has operation, kind"),
    ("call.kind ==", "ends too early"),
    ("time.hour > 3 &&\n  tme.hour < 5", "line 2, column 6: there is no tme.hour; did you mean time.hour?"),
    ('findings.exists(finding, finding.typ == "X")', "line 1, column 33: there is no finding.typ"),
]


@pytest.mark.parametrize(("when", "says"), ADVICE)
def test_a_condition_that_cannot_be_used_says_what_to_write_instead(when: str, says: str) -> None:
    with pytest.raises(ConfigError) as told:
        Policy([{"when": when, "verdict": "block"}])
    assert says in told.value.message
    assert "\n" not in told.value.message
