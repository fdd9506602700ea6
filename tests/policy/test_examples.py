"""The policies of examples/policies: their own tests pass, and there is nothing to complain of."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmguard.config import Settings
from llmguard.policy.check import check
from llmguard.policy.document import read, written
from llmguard.policy.vocabulary import Vocabulary

FOLDER = Path(__file__).parents[2] / "examples" / "policies"
NAMES = sorted(path.stem for path in FOLDER.glob("*.toml"))
GROUPS = {
    "startup": {"reviewers": 1},
    "bank": {"reviewers": 1, "compliance": 1, "duty": 1, "heads": 1},
    "hospital": {"reviewers": 1, "privacy": 2, "emergency": 1},
}


def test_there_are_three_of_them() -> None:
    assert sorted(GROUPS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_an_example_passes_its_check_without_a_warning(name: str) -> None:
    text, document = written(Settings(), FOLDER / f"{name}.toml")
    report = check(document, Vocabulary.of(Settings()), text=text, members=GROUPS[name])
    assert [f"{p.line}: {p.about}: {p.text}" for p in report.problems] == []
    assert len(report.results) >= 12


@pytest.mark.parametrize("name", NAMES)
def test_each_rule_of_an_example_is_the_one_that_a_test_expects(name: str) -> None:
    found = read(FOLDER / f"{name}.toml")
    expected = {test.get("rule") for test in found.tests}
    assert {r.name for r in found.policy.rules if not r.shadow} - expected == set()


@pytest.mark.parametrize("name", NAMES)
def test_what_an_example_holds_says_why(name: str) -> None:
    for rule in read(FOLDER / f"{name}.toml").policy.rules:
        assert rule.reason != rule.name
