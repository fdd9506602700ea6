"""Tests beside the rules: strict to write, plain by default, and clear where they fail."""

from __future__ import annotations

from typing import Any

import pytest

from llmguard.errors import ConfigError
from llmguard.policy import Policy
from llmguard.policy.cases import facts_of, parsed, run
from llmguard.policy.check import check
from llmguard.policy.vocabulary import Vocabulary


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary.of()


def test_what_is_left_out_is_a_chat_of_somebody_at_noon(vocabulary: Vocabulary) -> None:
    facts = parsed(0, {"expect": "redact"}, vocabulary).facts
    assert (facts.operation, facts.kind, facts.trust, facts.found) == (
        "chat.completions.create",
        "inference",
        "public",
        (),
    )
    assert facts.human
    assert Policy([{"when": "time.hour == 12 && time.weekday == 3", "verdict": "block"}]).decide(
        facts, Policy().risk(facts)
    ).verdict == ("block")


def test_findings_are_as_the_catalogue_has_them_and_one_person_each(vocabulary: Vocabulary) -> None:
    raw = {"findings": [{"type": "PERSON", "n": 3}, {"type": "CREDIT_CARD", "n": 3}, {"type": "PIN", "place": "path"}]}
    facts, risk = facts_of(raw, vocabulary)
    assert facts.counts == {"CREDIT_CARD": 3, "PERSON": 3, "PIN": 1}
    assert {(f.type, f.category, f.redactable) for f in facts.found} == {
        ("PERSON", "pii", True),
        ("CREDIT_CARD", "pii", True),
        ("PIN", "secret", False),
    }
    assert len({f.identity for f in facts.found}) == 7
    assert risk is None


def test_a_risk_that_is_left_out_is_that_of_the_findings(vocabulary: Vocabulary) -> None:
    rule = {"name": "risky", "when": "risk.inherent >= 30", "verdict": "block"}
    cards = {"findings": [{"type": "CREDIT_CARD", "n": 5}], "expect": "block", "rule": "risky"}
    assert run(Policy([rule]), parsed(0, cards, vocabulary)).passed
    assert not run(Policy([rule]), parsed(0, {**cards, "risk": {"inherent": 29}}, vocabulary)).passed


WRONG = [
    ({"expect": "blok"}, "expect is one of"),
    ({}, "expect is one of"),
    ({"expect": "block", "exspect": "block"}, "did you mean 'expect'?"),
    ({"expect": "block", "call": {"knd": "training"}}, "did you mean 'kind'?"),
    ({"expect": "block", "call": {"kind": "trainng"}}, "call.kind is one of"),
    ({"expect": "block", "call": {"bytes": "many"}}, "call.bytes is a whole number"),
    ({"expect": "block", "call": {"rendered": 1}}, "call.rendered is true or false"),
    ({"expect": "block", "call": {"unscanned": [3]}}, "list of words"),
    ({"expect": "block", "findings": {"type": "EMAIL"}}, "list of tables"),
    ({"expect": "block", "findings": [{"n": 3}]}, "has a type"),
    ({"expect": "block", "findings": [{"type": "EMAIL", "n": 0}]}, "n from 1"),
    ({"expect": "block", "findings": [{"type": "EMIAL"}]}, "did you mean EMAIL?"),
    ({"expect": "block", "findings": [{"type": "STAFF_NUMBER"}]}, "category and severity"),
    ({"expect": "block", "findings": [{"type": "EMAIL", "typ": 1}]}, "no 'typ'"),
    ({"expect": "block", "risk": {"residual": 101}}, "0 to 100"),
    ({"expect": "block", "risk": {"residual": 50, "inherent": 40}}, "not more than there was"),
    ({"expect": "block", "time": "noon"}, "time is a moment"),
    ({"expect": "block", "principal": "ann"}, "principal is a table"),
    ({"expect": "block", "rule": 3}, "rule is the name"),
]


@pytest.mark.parametrize(("raw", "says"), WRONG)
def test_a_test_that_says_something_else_is_an_error(raw: dict[str, Any], says: str, vocabulary: Vocabulary) -> None:
    with pytest.raises(ConfigError) as told:
        parsed(0, {"name": "odd", **raw}, vocabulary)
    assert "'odd'" in told.value.message
    assert says in told.value.message


def test_types_of_ones_own_say_what_they_are(vocabulary: Vocabulary) -> None:
    own = {"type": "STAFF_NUMBER", "category": "internal", "severity": "high"}
    (found,) = facts_of({"findings": [own]}, vocabulary)[0].found
    assert (found.type, found.category, found.severity) == ("STAFF_NUMBER", "internal", "high")


def test_a_rule_that_errs_can_be_expected(vocabulary: Vocabulary) -> None:
    odd = {"name": "odd", "when": "1 / call.bytes == 1", "verdict": "allow"}
    case = parsed(0, {"call": {"bytes": 0}, "expect": "refused", "rule": "odd"}, vocabulary)
    assert run(Policy([odd]), case).passed
    assert run(Policy([]), case).said == ("redact", "default")


def test_a_test_that_fails_tells_what_was_decided_and_why(vocabulary: Vocabulary) -> None:
    document = {
        "rules": [
            {"name": "many", "when": "size(findings) >= 3", "verdict": "block"},
            {"name": "training", "when": 'call.kind == "training"', "verdict": "require_approval"},
        ],
        "tests": [
            {"name": "t", "call": {"kind": "training"}, "findings": [{"type": "EMAIL", "n": 2}], "expect": "block"},
            {"name": "u", "expect": "redact"},
            {"name": "v", "expect": "redact", "rule": "manny"},
        ],
    }
    report = check(document, vocabulary)
    assert [p.text for p in report.problems] == [
        "expected block, and it is require_approval by 'training'",
        "policy test 'v': there is no rule 'manny'",
    ]
    failed = next(r for r in report.results if not r.passed)
    assert [(s.rule, s.outcome, dict(s.read)) for s in failed.explained.steps] == [
        ("many", "not", {"findings": {"EMAIL": 2}}),
        ("training", "held", {"call.kind": "training"}),
    ]
