"""Rules on the command line: looked at, compared, and proposed to somebody else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llmguard.approvals import rules
from llmguard.policy import Policy
from tests.desks import ANN, BO, CY
from tests.proxy.control.test_calls import keep

BLOCK = '[[rules]]\nname = "all\u202e"\nwhen = "true"\nverdict = "block"\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "rules.toml"
    made.write_text(BLOCK)
    return made


def test_the_rules_in_force_are_shown(shell: Any) -> None:
    shown = shell(BO)("policy", "show")
    assert "unscanned: require_approval" in shown.out
    assert "version " in shown.out
    assert "administration" in json.loads(shell(CY)("policy", "show", "--json").out)["policy"]["rules"][0]["name"]


def test_rules_are_compared_then_proposed_and_approved_by_somebody_else(shell: Any, file: Path) -> None:
    bo, cy = shell(BO), shell(CY)
    compared = bo("policy", "diff", str(file))
    assert compared.code == 1
    assert '"name": "all\\u{202e}"' in compared.out
    assert '-      "name": "administration"' in compared.out
    asked = bo("policy", "propose", str(file))
    assert asked.code == 0
    assert '"name": "all\\u{202e}"' in asked.err
    id_ = asked.out.strip()
    assert '"verdict": "block"' in cy("approvals", "show", id_).out
    assert cy("approvals", "approve", id_).code == 0
    assert bo("policy", "diff", str(file)).code == 0
    again = bo("policy", "propose", str(file))
    assert (again.code, "in force already" in again.err) == (0, True)
    assert "the configuration has other rules" in bo("policy", "show").err


def test_the_rules_of_the_configuration_are_in_force_here(shell: Any) -> None:
    ran = shell(BO)("policy", "diff")
    assert (ran.code, ran.out) == (0, "")


def test_rules_that_cannot_be_used_are_named(shell: Any, tmp_path: Path) -> None:
    bo = shell(BO)
    for text, word in (
        ("x", "cannot be read"),
        ("rules = 1", "[[rules]]"),
        (BLOCK.replace("block", "maybe"), "verdict"),
    ):
        file = tmp_path / "wrong.toml"
        file.write_text(text)
        for command in ("check", "diff", "propose"):
            ran = bo("policy", command, str(file))
            assert (ran.code, ran.out) == (2, "")
            assert word in ran.err


def test_rules_are_checked_without_a_control_plane(shell: Any, file: Path) -> None:
    ran = shell(BO)("policy", "check", str(file))
    assert ran.out.splitlines()[0] == "all\\u{202e}: block when true"


WARNED = """[[rules]]
name = "one"
when = 'call.kind == "inferense"'
verdict = "block"

[[tests]]
name = "a chat leaves"
expect = "redact"
"""


def test_a_check_tells_what_no_call_can_have_with_its_line(shell: Any, tmp_path: Path) -> None:
    bo, file = shell(BO), tmp_path / "p.toml"
    file.write_text(WARNED)
    ran = bo("policy", "check", str(file))
    assert ran.code == 0
    assert f"{file}:3: warning: rule 'one': call.kind is never" in ran.err
    assert 'did you mean "inference"?' in ran.err
    assert "tests 1 of 1 passed" in ran.out
    assert "\x1b" not in ran.err
    assert bo("policy", "check", "--strict", str(file)).code == 1


def test_a_check_fails_with_a_test_and_shows_why(shell: Any, tmp_path: Path) -> None:
    file = tmp_path / "p.toml"
    file.write_text(WARNED.replace("inferense", "inference"))
    ran = shell(BO)("policy", "check", str(file))
    assert ran.code == 2
    assert "expected redact, and it is block by 'one'" in ran.err
    assert "held  one  (call.kind = inference)" in ran.err
    told = json.loads(shell(CY)("policy", "check", "--json", str(file)).out)
    assert (told["tests"][0]["passed"], told["tests"][0]["decided"]["rule"]) == (False, "one")


def test_a_check_asks_the_control_plane_who_is_in_which_group(shell: Any, tmp_path: Path) -> None:
    bo, file = shell(BO), tmp_path / "p.toml"
    file.write_text('[[rules]]\nname = "one"\nverdict = "require_approval"\ngroups = { reviewers = 9, legal = 1 }\n')
    told = bo("policy", "check", str(file))
    assert "it wants 1 of the group 'legal', and nobody is in it" in told.err
    assert "it wants 9 of the group 'reviewers', and 3 people are in it" in told.err
    bo.credentials.unlink()
    alone = bo("policy", "check", str(file))
    assert (alone.code, "groups were not checked: llmguard login first" in alone.err) == (0, True)


def test_a_difference_says_what_it_lets_through(shell: Any, desk: Any, tmp_path: Path) -> None:
    desk.store.transact(lambda tx: rules.adopt(tx, desk.vault, "default", Policy()))
    bo, cy, file = shell(BO), shell(CY), tmp_path / "p.toml"
    file.write_text('[[rules]]\nname = "all"\nverdict = "redact"\n')
    shown = bo("policy", "diff", str(file)).out
    assert "blocked → redacted: what 'administration' decided (when call.kind" in shown
    id_ = bo("policy", "propose", str(file)).out.strip()
    sheet = cy("approvals", "show", id_).out
    assert "what this change of the policy lets through" in sheet
    assert "held → redacted: what 'training' decided" in sheet


def test_a_made_up_call_is_explained_without_a_guard(shell: Any, tmp_path: Path) -> None:
    bo, facts = shell(BO), tmp_path / "call.json"
    bo.credentials.unlink()
    facts.write_text(json.dumps({"call": {"kind": "training"}, "findings": [{"type": "CREDIT_CARD", "n": 9}]}))
    ran = bo("policy", "explain", "--facts", str(facts))
    assert ran.code == 0
    assert "→ require_approval by training" in ran.out
    assert "9 card numbers" in ran.out
    told = json.loads(bo("policy", "explain", "--facts", str(facts), "--json").out)
    assert told["file"]["decision"]["rule"] == "training"
    for bad in ("[]", "{", '{"cal": {}}'):
        facts.write_text(bad)
        assert bo("policy", "explain", "--facts", str(facts)).code == 2
    assert bo("policy", "explain").code == 2


def test_a_kept_call_is_explained_by_a_file_too(shell: Any, desk: Any, tmp_path: Path, file: Path) -> None:
    desk.store.transact(lambda tx: rules.adopt(tx, desk.vault, "default", Policy()))
    id_ = keep(desk, Policy())
    ran = shell(BO)("policy", "explain", id_.lower(), "--file", str(file))
    assert ran.code == 0
    for line in ("decided  redact by default", "then, policy", "the same policy is in force now", "→ block by all"):
        assert line in ran.out
    assert "\u202e" not in ran.out
    told = json.loads(shell(CY)("policy", "explain", id_, "--file", str(file), "--json").out)
    assert (told["then"]["decision"]["verdict"], told["file"]["decision"]["verdict"]) == ("redact", "block")
    assert shell(ANN)("policy", "explain", "0" * 26).code == 1
