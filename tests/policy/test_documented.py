"""What a policy can say stands in its page of the documentation."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from llmguard.policy import KEYS, cases, rules
from llmguard.policy.check import SAMPLES, check
from llmguard.policy.conditions import FIELDS, VARIABLES
from llmguard.policy.vocabulary import UNSCANNED, Vocabulary

PAGE = (Path(__file__).parents[2] / "docs" / "policy.md").read_text()
NAMED = set(re.findall(r"`([\w.]+)`", PAGE))


def test_every_variable_field_and_key_is_documented() -> None:
    tables = (cases.CALL, cases.FINDING, cases.PRINCIPAL, cases.DESTINATION, cases.RISK)
    known = {*VARIABLES, *FIELDS, *rules.KEYS, *UNSCANNED, *cases.KEYS, *(key for table in tables for key in table)}
    assert known - NAMED == set()
    assert all(re.search(rf"\[?{key}\b", PAGE) for key in KEYS)
    assert f"{SAMPLES:,} made-up calls" in PAGE


def test_the_policy_of_the_documentation_passes_its_check() -> None:
    text = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)[0]
    report = check(tomllib.loads(text), Vocabulary.of(), text=text)
    assert report.problems == ()
    assert len(report.results) == 1
