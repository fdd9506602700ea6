"""Decisions: the shipped policy, first match, and errors that refuse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from llmguard.config import load
from llmguard.errors import ConfigError, GuardUnavailable
from llmguard.facts import Facts, Found
from llmguard.model import Kind, Requirement, Risk
from llmguard.policy import Policy
from llmguard.policy.document import read

BODY = Found("EMAIL", "pii", "medium", 0.9)
FIXED = replace(BODY, redactable=False)


def call(kind: Any = "inference", *found: Found, rendered: bool = False, unscanned: tuple[str, ...] = ()) -> Facts:
    return Facts("op", kind, "public", found, unscanned, rendered=rendered, human="ann@example.org", principal="key:1")


SHIPPED = [
    ("inference", False, [], 0, 0, "redact", "default"),
    ("inference", False, [BODY], 40, 5, "redact", "default"),
    ("administration", False, [], 0, 0, "block", "administration"),
    ("unknown", False, [], 0, 0, "block", "administration"),
    ("inference", False, [replace(FIXED, place="query")], 9, 9, "block", "address"),
    ("inference", True, [BODY], 9, 0, "require_approval", "drawn-or-spoken"),
    ("inference", False, [FIXED], 9, 9, "require_approval", "not-redactable"),
    ("training", False, [BODY], 29, 2, "redact", "default"),
    ("training", False, [BODY], 30, 2, "require_approval", "training"),
    ("inference", False, [BODY], 99, 70, "require_approval", "residual-risk"),
]


@pytest.mark.parametrize(("kind", "rendered", "parts", "inherent", "residual", "verdict", "rule"), SHIPPED)
def test_shipped_policy(
    kind: str, rendered: bool, parts: list[Found], inherent: int, residual: int, verdict: str, rule: str
) -> None:
    decision = Policy().decide(call(kind, *parts, rendered=rendered), Risk(inherent, residual))
    assert (decision.verdict, decision.rule) == (verdict, rule)


CREDENTIAL = replace(FIXED, place="credential")
SECRET = replace(CREDENTIAL, type="MCP_CREDENTIAL", category="secret")


def test_a_credential_for_a_tools_server_goes_on_and_a_rule_can_hold_it() -> None:
    assert Policy().decide(call("inference", SECRET), Risk(9, 9)).rule == "credential"
    assert Policy().decide(call("inference", SECRET, BODY), Risk(9, 9)).verdict == "redact"
    assert Policy().decide(call("inference", CREDENTIAL), Risk(9, 9)).rule == "not-redactable"
    hold = {"name": "mcp", "when": 'findings.exists(f, f.place == "credential")', "verdict": "require_approval"}
    assert Policy([hold]).decide(call("inference", SECRET), Risk(9, 9)).verdict == "require_approval"


def test_the_example_for_conformance_tests_allows_everything() -> None:
    rules = load(Path(__file__).parents[2] / "examples" / "conformance.toml").rules
    assert rules
    for kind in get_args(Kind):
        facts = call(kind, replace(FIXED, place="query"), rendered=True, unscanned=("image",))
        assert Policy(rules).decide(facts, Risk(99, 99)).verdict == "allow"


def test_first_rule_that_holds_decides() -> None:
    policy = Policy([{"name": "a", "when": "true", "verdict": "allow"}, {"name": "b", "verdict": "block"}])
    assert policy.decide(call(), Risk(0, 0)).rule == "a"


def test_without_a_rule_what_cannot_be_redacted_is_blocked() -> None:
    assert Policy([]).decide(call("inference", FIXED), Risk(9, 9)).verdict == "block"


@pytest.mark.parametrize(
    "when", ["findings[3].type == 'X'", "1 / 0 == 1", "findings[0].redactable", "findings[9].type"]
)
def test_condition_that_errs_or_is_not_a_truth_value_refuses(when: str) -> None:
    with pytest.raises(GuardUnavailable, match="odd"):
        Policy([{"name": "odd", "when": when, "verdict": "allow"}]).decide(call(), Risk(0, 0))


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ({"verdict": "perhaps"}, "verdict is one of"),
        ({"verdict": "allow", "wen": "true"}, "no key 'wen'"),
        ({"verdict": "allow", "when": "nobody == 1"}, "rule 1"),
        ({"verdict": "allow", "when": "1 + 1"}, "not true or false"),
        ({"verdict": "allow", "when": "call.operation"}, "not true or false"),
        ({"verdict": "allow", "when": "call.nothing == 1"}, "call.nothing"),
        ({"verdict": "allow", "when": "call.kind == 1"}, "text with a whole number"),
        ({"verdict": "allow", "when": "findings.exists(f, f.typ == 'EMAIL')"}, "f.typ"),
        ({"verdict": "allow", "when": "findings.all(x, x.confidence > 'a')"}, "compare"),
        ({"verdict": "allow", "when": "true" + " || true" * 1000}, "at most 4000"),
        ({"verdict": "allow", "shadow": 1}, "shadow is true or false"),
        ({"verdict": "allow", "hold": "later"}, "hold is one of"),
        ({"verdict": "allow", "name": 5}, "name and reason are text"),
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
    need = Policy([{"name": "hold", "verdict": "require_approval", **more}]).decide(call(), Risk(0, 0)).requirement
    assert need == Requirement((("reviewers", 1), ("legal", 2)), escalate_to="leads", break_glass="oncall", **times)
    assert need.audience == ("leads", "legal", "oncall", "reviewers")


def test_version_names_the_rules() -> None:
    one = Policy([{"name": "a", "verdict": "allow"}])
    assert one.version == Policy([{"verdict": "allow", "name": "a"}]).version
    assert one.version != Policy([{"name": "a", "verdict": "block"}]).version


def test_version_names_styles_weights_and_mode_too() -> None:
    rules = [{"name": "a", "verdict": "allow"}]
    others = [Policy(rules, styles={"pii": "mask"}), Policy(rules, weights={"scale": 50}), Policy(rules, mode="shadow")]
    assert len({p.version for p in (Policy(rules), *others)}) == 4
    for policy in others:
        assert Policy.of(policy.document).version == policy.version


def test_a_rule_in_shadow_mode_is_told_and_never_decides() -> None:
    strict = {"name": "strict", "verdict": "block", "when": "size(findings) > 0", "shadow": True}
    decision = Policy([strict]).decide(call("inference", BODY), Risk(9, 1))
    assert (decision.verdict, decision.shadow) == ("redact", (("strict", "block"),))
    assert Policy([strict]).decide(call(), Risk(0, 0)).shadow == ()
    errs = {"name": "errs", "verdict": "block", "when": "1 / 0 == 1", "shadow": True}
    assert Policy([errs]).decide(call(), Risk(0, 0)).shadow == (("errs", "error"),)


def test_a_policy_in_shadow_mode_enforces_nothing_and_says_what_it_would_have_decided() -> None:
    policy = Policy(mode="shadow")
    decision = policy.decide(call("administration"), Risk(0, 0))
    assert (decision.verdict, decision.rule, decision.shadow) == ("allow", "shadow", (("administration", "block"),))
    assert Policy([{"when": "1 / 0 == 1", "verdict": "block"}], mode="shadow").decide(call(), Risk(0, 0)).shadow == (
        ("policy", "error"),
    )


def test_an_action_waits_for_people_in_shadow_mode_too() -> None:
    assert Policy(mode="shadow").decide(call("action"), Risk(0, 0)).verdict == "require_approval"


def test_a_style_is_that_of_the_type_else_of_the_category() -> None:
    policy = Policy(styles={"CREDIT_CARD": "mask", "secret": "drop"})
    assert policy.style("CREDIT_CARD", "pii") == "mask"
    assert policy.style("PASSWORD", "secret") == "drop"
    assert policy.style("EMAIL", "pii") == "placeholder"
    assert policy.risk(call("inference", replace(BODY, type="PASSWORD", category="secret"))).residual == 0


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"rules": [], "styles": {"EMAIL": "blur"}}, "styles: EMAIL is one of"),
        ({"rules": [], "styles": {"e mail": "mask"}}, "no type"),
        ({"rules": [], "mode": "off"}, "mode of a policy"),
        ({"rules": [], "weights": {"severity": {"high": -1}}}, "severity.high"),
        ({"rules": [], "weights": {"severity": {"high": 1}}}, "never falls"),
        ({"rules": [], "weights": {"luck": 1}}, "no 'luck'"),
        ({"rules": [], "tests": []}, "no 'tests'"),
        ({"styles": {}}, "rules"),
        ([], "rules"),
        ({"rules": "all"}, "list of at most"),
        ({"rules": [{"verdict": "allow"}] * 2001}, "list of at most"),
    ],
)
def test_a_document_that_cannot_be_used_says_what_is_wrong(document: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Policy.of(document)


def test_a_policy_file_has_its_tests_beside_its_rules(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text('mode = "shadow"\n[[rules]]\nverdict = "block"\n[[tests]]\nname = "one"\n')
    written = read(file)
    assert (written.policy.mode, len(written.policy.rules), written.tests) == ("shadow", 1, ({"name": "one"},))
    assert load(policy=file).policy == file
    file.write_text('mode = "shadow"\n[[rulez]]\n')
    with pytest.raises(ConfigError, match=r"policy.toml: no 'rulez'"):
        read(file)
    with pytest.raises(ConfigError, match="not both"):
        load(policy=file, rules=[])
