"""Decisions: the shipped policy, first match, and errors that refuse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from llmguard.config import load
from llmguard.errors import ConfigError, GuardUnavailable
from llmguard.model import Body, Call, Destination, Finding, Kind, Operation, Principal, Requirement, Risk, TextPart
from llmguard.policy import Policy

FINDING = Finding(0, 3, "EMAIL", "pii", 0.9, "test", "medium")
BODY = TextPart("abc", "/messages/0/content")


def call(kind: Any = "inference", rendered: bool = False, human: str | None = "ann@example.org") -> Call:
    return Call(
        id="01",
        principal=Principal("key:1", "default", "service", "app", human),
        operation=Operation("op", "POST", "/op", kind, rendered=rendered),
        destination=Destination("p", "http://p/v1"),
        method="POST",
        path="/op",
        query="",
        headers=(),
        body=Body("empty"),
        account="a",
        received=1_700_000_000_000,
    )


SHIPPED = [
    ("inference", False, [], 0, 0, "redact", "default"),
    ("inference", False, [BODY], 40, 5, "redact", "default"),
    ("administration", False, [], 0, 0, "block", "administration"),
    ("unknown", False, [], 0, 0, "block", "administration"),
    ("inference", False, [replace(BODY, place="query", redactable=False)], 9, 9, "block", "address"),
    ("inference", True, [BODY], 9, 0, "require_approval", "drawn-or-spoken"),
    ("inference", False, [replace(BODY, redactable=False)], 9, 9, "require_approval", "not-redactable"),
    ("training", False, [BODY], 29, 2, "redact", "default"),
    ("training", False, [BODY], 30, 2, "require_approval", "training"),
    ("inference", False, [BODY], 99, 70, "require_approval", "residual-risk"),
]


@pytest.mark.parametrize(("kind", "rendered", "parts", "inherent", "residual", "verdict", "rule"), SHIPPED)
def test_shipped_policy(
    kind: str, rendered: bool, parts: list[TextPart], inherent: int, residual: int, verdict: str, rule: str
) -> None:
    found = [(p, FINDING) for p in parts]
    decision = Policy().decide(call(kind, rendered), found, Risk(inherent, residual))
    assert (decision.verdict, decision.rule) == (verdict, rule)


CREDENTIAL = replace(BODY, place="credential", redactable=False)
SECRET = replace(FINDING, type="MCP_CREDENTIAL", category="secret")


def test_a_credential_for_a_tools_server_goes_on_and_a_rule_can_hold_it() -> None:
    assert Policy().decide(call(), [(CREDENTIAL, SECRET)], Risk(9, 9)).rule == "credential"
    assert Policy().decide(call(), [(CREDENTIAL, SECRET), (BODY, FINDING)], Risk(9, 9)).verdict == "redact"
    assert Policy().decide(call(), [(CREDENTIAL, FINDING)], Risk(9, 9)).rule == "not-redactable"
    hold = {"name": "mcp", "when": 'findings.exists(f, f.place == "credential")', "verdict": "require_approval"}
    assert Policy([hold]).decide(call(), [(CREDENTIAL, SECRET)], Risk(9, 9)).verdict == "require_approval"


def test_the_example_for_conformance_tests_allows_everything() -> None:
    rules = load(Path(__file__).parents[1] / "examples" / "conformance.toml").rules
    assert rules
    for kind in get_args(Kind):
        found = [(replace(BODY, place="query", redactable=False), FINDING)]
        assert Policy(rules).decide(call(kind, True), found, Risk(99, 99), ("image",)).verdict == "allow"


def test_first_rule_that_holds_decides() -> None:
    policy = Policy([{"name": "a", "when": "true", "verdict": "allow"}, {"name": "b", "verdict": "block"}])
    assert policy.decide(call(), [], Risk(0, 0)).rule == "a"


def test_without_a_rule_what_cannot_be_redacted_is_blocked() -> None:
    found = [(replace(BODY, redactable=False), FINDING)]
    assert Policy([]).decide(call(), found, Risk(9, 9)).verdict == "block"


@pytest.mark.parametrize(
    "when", ["findings[3].type == 'X'", "call.nothing == 1", "1 / 0 == 1", "call.operation", "risk.inherent"]
)
def test_condition_that_errs_or_is_not_a_truth_value_refuses(when: str) -> None:
    with pytest.raises(GuardUnavailable, match="odd"):
        Policy([{"name": "odd", "when": when, "verdict": "allow"}]).decide(call(), [], Risk(0, 0))


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ({"verdict": "perhaps"}, "verdict is one of"),
        ({"verdict": "allow", "wen": "true"}, "no key 'wen'"),
        ({"verdict": "allow", "when": "nobody == 1"}, "rule 1"),
        ({"verdict": "allow", "when": "1 + 1"}, "not true or false"),
        ({"verdict": "block", "quorum": 0}, "quorum"),
        ({"verdict": "block", "expires_in": 1}, "expires_in"),
        ({"verdict": "block", "group": ""}, "group"),
        ({"verdict": "block", "groups": {"a": 1}, "quorum": 2}, "groups says it all"),
        ({"verdict": "block", "groups": {"a": 12, "b": 12}}, "in all"),
        ({"verdict": "block", "fresh": 1}, "fresh"),
        ({"verdict": "block", "escalate_to": "leads"}, "go together"),
    ],
)
def test_rule_that_cannot_be_used_is_an_error_of_configuration(rule: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Policy([rule])


def test_a_rule_says_whom_it_needs_and_by_when() -> None:
    times = {"expires_in": 600, "spend_in": 60, "fresh": 300, "remind_after": 120, "escalate_after": 300}
    more = {"groups": {"reviewers": 1, "legal": 2}, "escalate_to": "leads", "break_glass": "oncall", **times}
    need = Policy([{"name": "hold", "verdict": "require_approval", **more}]).decide(call(), [], Risk(0, 0)).requirement
    assert need == Requirement((("reviewers", 1), ("legal", 2)), escalate_to="leads", break_glass="oncall", **times)
    assert need.audience == ("leads", "legal", "oncall", "reviewers")


def test_version_names_the_rules() -> None:
    one = Policy([{"name": "a", "verdict": "allow"}])
    assert one.version == Policy([{"verdict": "allow", "name": "a"}]).version
    assert one.version != Policy([{"name": "a", "verdict": "block"}]).version
