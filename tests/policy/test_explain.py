"""Explanations: each rule with what it said and read, and the same decision as the policy makes."""

from __future__ import annotations

import json

from llmguard.facts import Facts, Found
from llmguard.model import Risk
from llmguard.policy import Policy
from llmguard.policy.explain import explain
from llmguard.policy.samples import samples
from llmguard.policy.vocabulary import Vocabulary

CALL = Facts("fine_tuning.jobs.create", "training", "public", (Found("EMAIL", "pii", "medium", 0.9, identity="1"),))


def test_every_rule_says_what_it_said_and_read() -> None:
    rules = [
        {"name": "a", "when": 'call.kind == "stored"', "verdict": "block"},
        {"name": "s", "when": "size(findings) > 0", "verdict": "block", "shadow": True},
        {"name": "b", "when": "risk.residual < 50 && time.hour < 24", "verdict": "require_approval", "quorum": 2},
        {"name": "c", "verdict": "allow"},
    ]
    told = explain(Policy(rules), CALL, Risk(60, 40))
    assert [(s.rule, s.outcome, dict(s.read)) for s in told.steps] == [
        ("a", "not", {"call.kind": "training"}),
        ("s", "held", {"findings": {"EMAIL": 1}}),
        ("b", "held", {"risk.residual": 40, "time.hour": 0}),
        ("c", "not reached", {}),
    ]
    assert told.decision
    assert (told.decision.rule, told.decision.shadow) == ("b", (("s", "block"),))
    assert json.loads(json.dumps(told.as_json()))["decision"]["people"] == {"reviewers": 2}


def test_a_rule_that_errs_ends_the_explanation() -> None:
    rules = [{"name": "odd", "when": "1 / 0 == 1", "verdict": "allow"}, {"name": "c", "verdict": "allow"}]
    told = explain(Policy(rules), CALL)
    assert [s.outcome for s in told.steps] == ["error", "not reached"]
    assert told.decision is None
    assert "'odd'" in told.refused


def test_the_step_that_held_is_the_rule_that_decides() -> None:
    policy = Policy()
    for sample in samples(policy.rules, Vocabulary.of(), 100):
        told = explain(policy, sample.facts, sample.risk)
        held = [s.rule for s in told.steps if s.outcome == "held"] or ["default"]
        assert told.decision
        assert [told.decision.rule] == held


def test_a_risk_that_is_not_given_is_that_of_the_policy() -> None:
    heavy = Policy(weights={"scale": 1})
    assert explain(heavy, CALL).risk == heavy.risk(CALL)
    assert explain(heavy, CALL).risk.reasons
