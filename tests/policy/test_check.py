"""Checks: what is wrong with a policy as it is written, with its line and what to write instead."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from llmguard.config import Settings
from llmguard.policy import shipped_text
from llmguard.policy.check import Problem, Report, check
from llmguard.policy.literals import comparisons
from llmguard.policy.reach import unreachable
from llmguard.policy.rules import Rule
from llmguard.policy.vocabulary import Vocabulary


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary.of(Settings())


def looked(text: str, vocabulary: Vocabulary, **more: Any) -> Report:
    return check(tomllib.loads(text), vocabulary, text=text, **more)


def rules(*whens: str, verdict: str = "block") -> list[Rule]:
    return [Rule.of(i, {"name": f"r{i}", "when": when, "verdict": verdict}) for i, when in enumerate(whens)]


def test_the_shipped_policy_has_nothing_to_complain_of(vocabulary: Vocabulary) -> None:
    report = looked(shipped_text(), vocabulary, members={"reviewers": 1})
    assert report.problems == ()
    assert len(report.results) >= 12


def test_every_rule_that_cannot_be_used_is_named_with_its_line(vocabulary: Vocabulary) -> None:
    text = """mode = "enforce"
[[rules]]
name = "one"
when = 'call.knd == "x"'
verdict = "block"

[[rules]]
name = "two"
verdict = "blok"

[[rules]]
name = "three"
when = '''
call.kind == "training" &&
  risk.residul > 3'''
verdict = "block"
"""
    report = looked(text, vocabulary)
    assert [(p.level, p.about, p.line) for p in report.problems] == [
        ("error", "rule 'one'", 4),
        ("error", "rule 'two'", 7),
        ("error", "rule 'three'", 15),
    ]
    assert "did you mean call.kind?" in report.problems[0].text
    assert "did you mean 'block'?" in report.problems[1].text
    assert report.problems[2].text.startswith("column 7: there is no risk.residul")
    assert (report.policy, report.errors) == (None, 3)


def test_a_head_inside_of_a_text_does_not_move_the_lines(vocabulary: Vocabulary) -> None:
    text = """[[rules]]
name = "one"
reason = '''
[[rules]]
'''
when = "call.knd == 1"
verdict = "block"
"""
    assert [p.line for p in looked(text, vocabulary).problems] == [0]


NEVER = [
    ('call.kind == "inferense"', 'did you mean "inference"?'),
    ('findings.exists(f, f.type == "CREDITCARD")', 'did you mean "CREDIT_CARD"?'),
    ('findings.exists(x, x.severity == "criticall")', 'did you mean "critical"?'),
    ('findings.exists(f, f.place in ["body", "headers"])', 'did you mean "header"?'),
    ('findings.exists(f, f.origin == "asistant")', 'did you mean "assistant"?'),
    ('call.operation == "chat.completion.create"', 'did you mean "chat.completions.create"?'),
    ('destination.trust != "contracted"', 'did you mean "contract"?'),
    ('destination.name == "opanai"', 'did you mean "openai"?'),
    ('call.unscanned.exists(u, u == "images")', 'did you mean "image"?'),
    ('"vidoe" in call.unscanned', 'did you mean "video"?'),
    ('"Inference" == call.kind', 'did you mean "inference"?'),
    ("risk.residual > 100", "risk.residual is never > 100"),
    ("time.weekday == 0", "time.weekday is never == 0"),
    ("findings.exists(f, f.confidence >= 1.5)", "findings.confidence is never >= 1.5"),
]


@pytest.mark.parametrize(("when", "says"), NEVER)
def test_a_word_that_no_call_can_have_is_told(when: str, says: str, vocabulary: Vocabulary) -> None:
    report = check({"rules": [{"name": "a", "when": when, "verdict": "block"}]}, vocabulary)
    assert [p.level for p in report.problems] == ["warning"]
    assert says in report.problems[0].text


@pytest.mark.parametrize(
    "when",
    [
        'call.operation == "action.deploy"',
        'principal.name == "whoever"',
        'destination.name == "action"',
        'call.kind == "training" && call.unscanned.all(u, u == "encrypted")',
        'findings.exists(f, f.type.startsWith("AWS"))',
    ],
)
def test_a_word_that_a_call_can_have_is_not(when: str, vocabulary: Vocabulary) -> None:
    rule = {"name": "a", "when": when, "verdict": "block"}
    assert [p for p in check({"rules": [rule]}, vocabulary).problems if "never decides" not in p.text] == []


def test_types_of_styles_are_looked_up_too(vocabulary: Vocabulary) -> None:
    report = check({"rules": [], "styles": {"CREDITCARD": "mask", "pii": "mask"}}, vocabulary)
    assert [p.text for p in report.problems] == ["no detector finds CREDITCARD; did you mean CREDIT_CARD?"]


UNREACHABLE = [
    (["true", "call.rendered"], "'r0' before it always holds"),
    (["call.rendered", "call.rendered // again"], "the same condition"),
    (["false"], "is false"),
    (["risk.residual > 100"], "contradicts itself"),
    (["risk.residual > 50 && risk.residual < 40 && call.rendered"], "contradicts itself"),
    (['call.kind == "training" && call.kind == "stored"'], "contradicts itself"),
    (['call.kind == "training" && call.kind != "training"'], "contradicts itself"),
    (["time.weekday > 5 && time.weekday != 6 && time.weekday != 7 && time.weekday < 7"], "contradicts itself"),
    (["risk.residual >= 50", 'risk.residual >= 70 && call.kind == "training"'], "'r0' before it holds whenever"),
    (['call.kind != "training"', 'call.kind == "stored" && size(findings) > 3'], "'r0' before it holds whenever"),
    (["risk.residual > 49", "50 <= risk.residual && call.rendered"], "'r0' before it holds whenever"),
]


@pytest.mark.parametrize(("whens", "says"), UNREACHABLE)
def test_a_rule_that_can_never_decide_is_proved_to(whens: list[str], says: str, vocabulary: Vocabulary) -> None:
    proved = unreachable(rules(*whens), vocabulary)
    assert list(proved) == [f"r{len(whens) - 1}"]
    assert says in proved[f"r{len(whens) - 1}"]


REACHABLE = [
    ["risk.residual >= 70", "risk.residual >= 50"],
    ["risk.residual >= 50 && call.rendered", "risk.residual >= 70"],
    ["risk.residual >= 50 || call.rendered", "risk.residual >= 70"],
    ["risk.residual > 100 || call.rendered"],
    ['call.kind == "training"', 'call.kind == "stored"'],
    ["findings.exists(f, f.confidence > 0.5) && findings.exists(f, f.confidence < 0.2)"],
    ['findings.exists(f, f.type == "A" && f.type == "B" || f.redactable)'],
    ["call.bytes > 5 && call.bytes < 7"],
    ['call.operation == "action.a"', 'call.operation == "action.b"'],
    ['"a" == "a"', "call.rendered"],
]


@pytest.mark.parametrize("whens", REACHABLE)
def test_a_rule_that_may_decide_is_not(whens: list[str], vocabulary: Vocabulary) -> None:
    assert unreachable(rules(*whens), vocabulary) == {}


def test_a_rule_in_shadow_mode_keeps_no_other_from_deciding(vocabulary: Vocabulary) -> None:
    shadow = Rule.of(0, {"name": "s", "verdict": "block", "shadow": True})
    assert unreachable([shadow, *rules("call.rendered")], vocabulary) == {}


def test_a_rule_that_no_made_up_call_reaches_is_suspected(vocabulary: Vocabulary) -> None:
    document = {
        "rules": [
            {"name": "a", "when": "findings.exists(f, f.redactable) || size(findings) == 0", "verdict": "redact"},
            {"name": "b", "when": "findings.all(f, f.redactable) && call.rendered", "verdict": "block"},
        ]
    }
    report = check(document, vocabulary, count=500)
    assert report.tried == 500
    assert [(p.about, "none of 500 made-up calls" in p.text) for p in report.problems] == [("rule 'b'", True)]


@pytest.mark.parametrize(
    "when",
    [
        'size(findings.filter(f, f.type == "IBAN" && f.severity == "high")) >= 37',
        'call.people >= 120 && call.kind == "stored" && destination.trust == "contract"',
        'time.weekday == 7 && time.hour >= 22 && risk.residual == 41 && principal.kind == "agent"',
        'call.unscanned.exists(u, u == "video") && call.bytes > 900000 && principal.name.endsWith("-batch")',
        'findings.exists(f, f.place == "credential" && f.origin == "tool" && !f.redactable) && !principal.accountable',
    ],
)
def test_a_narrow_rule_is_reached_by_made_up_calls(when: str, vocabulary: Vocabulary) -> None:
    report = check({"rules": [{"name": "narrow", "when": when, "verdict": "block"}]}, vocabulary)
    assert report.problems == ()
    assert 0 < report.tried < 5000


def test_the_same_policy_is_tried_with_the_same_calls(vocabulary: Vocabulary) -> None:
    document = tomllib.loads(shipped_text())
    assert check(document, vocabulary).tried == check(document, vocabulary).tried


def test_groups_without_people_are_told_where_the_groups_are_known(vocabulary: Vocabulary) -> None:
    rule = {"name": "a", "verdict": "require_approval", "groups": {"legal": 2}, "break_glass": "duty"}
    about = [p.text for p in check({"rules": [rule]}, vocabulary, members={"legal": 1}).problems]
    assert about == [
        "it wants 1 of the group 'duty', and nobody is in it",
        "it wants 2 of the group 'legal', and 1 person is in it",
    ]
    assert check({"rules": [rule]}, vocabulary, members={"legal": 2, "duty": 1}).problems == ()
    assert check({"rules": [rule]}, vocabulary).problems == ()


def test_a_policy_that_is_none_is_told(vocabulary: Vocabulary) -> None:
    for document in ({}, {"rules": 3}, {"rules": [3]}, {"rules": [], "mode": "off"}, {"rules": [], "wieghts": {}}):
        report = check(document, vocabulary)
        assert (report.policy, report.errors) == (None, 1)
        assert isinstance(report.problems[0], Problem)


def test_comparisons_are_read_from_whatever_stands_around_them() -> None:
    source = """call.kind in ["a", "b"] && 3 < risk.residual // call.kind == "c"
        || findings.exists(f, f.type == 'X' && "f.type == 'Y'" != f.place) && call.unscanned.all(u, u != "z")
        || size(findings.filter(g, g.severity == r"high")) >= 7 && principal.name.startsWith("q")"""
    assert [(c.path, c.sign, c.value) for c in comparisons(source)] == [
        ("call.kind", "==", "a"),
        ("call.kind", "==", "b"),
        ("risk.residual", ">", 3),
        ("findings.type", "==", "X"),
        ("findings.place", "!=", "f.type == 'Y'"),
        ("call.unscanned", "!=", "z"),
        ("findings.severity", "==", "high"),
        ("size", ">=", 7),
        ("principal.name", "startsWith", "q"),
    ]
