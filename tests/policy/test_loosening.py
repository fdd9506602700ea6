"""Loosening: what a change of the policy lets through is said, with the rule that kept it before."""

from __future__ import annotations

from typing import Any

import pytest

from llmguard.facts import Facts, Found
from llmguard.policy import Policy, shipped
from llmguard.policy.loosening import compared
from llmguard.risk import weights

SAMPLES = 400
HIGH, SCALE = weights().severity["high"], weights().scale
CARD = Found("CREDIT_CARD", "pii", "high", 0.9, identity="1")


def changed(*without: str, **more: Any) -> Policy:
    """The shipped policy without some of its rules, or with something else."""
    rules = [dict(r) for r in shipped()["rules"] if r["name"] not in without]
    return Policy.of({"rules": rules, **more})


def rule(name: str, **values: Any) -> Policy:
    """The shipped policy with a rule that says something else."""
    return Policy.of({"rules": [{**r, **values} if r["name"] == name else dict(r) for r in shipped()["rules"]]})


def told(old: Policy, new: Policy, kept: tuple[Facts, ...] = ()) -> str:
    return "\n".join(compared(old, new, kept, SAMPLES).told())


def test_nothing_is_loosened_by_the_same_policy() -> None:
    found = compared(Policy(), Policy(), (), SAMPLES)
    assert (found.loosens, found.stricter) == (False, 0)
    assert found.told() == [f"nothing comes out weaker in {SAMPLES} made-up and 0 kept calls"]


def test_a_rule_that_is_gone_is_told_with_what_it_held() -> None:
    found = compared(Policy(), changed("training"), (), SAMPLES)
    (shift,) = [s for s in found.shifts if s.after == "redact"]
    assert (shift.before, shift.before_rule) == ("require_approval", "training")
    assert "what 'training' decided (when call.kind == \"training\" && risk.inherent >= 30)" in shift.told()
    assert "rules removed: training" in found.told()


def test_a_limit_that_is_raised_is_told_and_one_that_is_lowered_is_stricter() -> None:
    loose = rule("residual-risk", when="risk.residual >= 90")
    assert "held → redacted: what 'residual-risk' decided (when risk.residual >= 70)" in told(Policy(), loose)
    back = compared(loose, Policy(), (), SAMPLES)
    assert not back.loosens
    assert back.stricter > 0


def test_a_rule_that_moves_before_the_others_is_told() -> None:
    first = Policy.of({"rules": [{"name": "all", "verdict": "allow"}, *shipped()["rules"]]})
    assert "blocked → leaves as written: what 'administration' decided" in told(Policy(), first)


def test_shadow_mode_loosens_all_but_actions() -> None:
    lines = told(Policy(), changed(mode="shadow"))
    assert "looser: mode: enforce → shadow" in lines
    assert "what 'action' decided" not in lines


@pytest.mark.parametrize(
    ("was", "now", "says"),
    [
        ({"quorum": 2}, {"quorum": 1}, "1 of reviewers, not 2"),
        ({"groups": {"a": 1, "b": 1}}, {"groups": {"a": 1}}, "0 of b, not 1"),
        ({"justification": True}, {}, "no justification"),
        ({"fresh": 60}, {"fresh": 600}, "an older login will do"),
        ({}, {"break_glass": "duty"}, "one of duty alone in an emergency"),
        ({}, {"escalate_to": "all", "escalate_after": 60}, "all may stand in"),
        ({"spend_in": 60}, {"spend_in": 600}, "more time to use it"),
    ],
)
def test_an_approval_that_needs_less_is_told(was: dict[str, Any], now: dict[str, Any], says: str) -> None:
    old, new = rule("training", **was), rule("training", **now)
    assert f"held, by less: {says}" in told(old, new)
    assert not compared(new, old, (), SAMPLES).loosens


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"styles": {"CREDIT_CARD": "mask"}}, "looser: CREDIT_CARD: placeholder → mask"),
        ({"weights": {"severity": {"high": HIGH - 1}}}, f"looser: weight severity.high: {HIGH:g} → {HIGH - 1:g}"),
        ({"weights": {"scale": SCALE + 1}}, f"looser: weight scale: {SCALE:g} → {SCALE + 1:g}"),
        ({"styles": {"CREDIT_CARD": "drop"}}, "\nCREDIT_CARD: placeholder → drop"),
        ({"weights": {"severity": {"critical": 900}}}, " → 900"),
    ],
)
def test_styles_and_weights_that_differ_are_told(document: dict[str, Any], says: str) -> None:
    assert says in told(Policy(), changed(**document))


def test_kept_calls_are_assessed_by_both_policies() -> None:
    call = Facts("files.create", "training", "public", (CARD, CARD))
    light = changed(weights={"severity": {"low": 0, "medium": 0, "high": 1, "critical": 1}})
    found = compared(Policy(), light, (call,) * 3, SAMPLES)
    assert found.calls == 3
    assert [s.calls for s in found.shifts if s.before_rule == "training"] == [3]


def test_a_rule_that_errs_now_is_stricter_and_one_that_erred_is_not() -> None:
    errs = Policy.of({"rules": [{"name": "odd", "when": "1 / 0 == 1", "verdict": "block"}]})
    assert not compared(Policy(), errs, (), SAMPLES).loosens
    assert "refused → redacted" in told(errs, Policy())
