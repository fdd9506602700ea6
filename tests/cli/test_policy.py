"""Rules on the command line: looked at, compared, and proposed to somebody else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.desks import BO, CY

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
    assert '+    "name": "all\\u{202e}"' in compared.out
    assert '-    "name": "administration"' in compared.out
    asked = bo("policy", "propose", str(file))
    assert asked.code == 0
    assert '+    "name": "all\\u{202e}"' in asked.err
    id_ = asked.out.strip()
    assert '    "verdict": "block"' in cy("approvals", "show", id_).out
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
    for text, word in (("x", "[[rules]]"), ("rules = 1", "[[rules]]"), (BLOCK.replace("block", "maybe"), "verdict")):
        file = tmp_path / "wrong.toml"
        file.write_text(text)
        for command in ("check", "diff", "propose"):
            ran = bo("policy", command, str(file))
            assert (ran.code, ran.out) == (2, "")
            assert word in ran.err


def test_rules_are_checked_without_a_control_plane(shell: Any, file: Path) -> None:
    ran = shell(BO)("policy", "check", str(file))
    assert ran.out.splitlines()[0] == "all\\u{202e}: block when true"
