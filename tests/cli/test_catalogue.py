"""``llmguard catalogue``: what is looked for, and a detector file of one's own before it is put in force."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from llmguard.cli import app

DOCS = Path(__file__).parents[2] / "docs" / "detectors.md"
RULE = """
[[detector]]
id = "internal.acme.project"
type = "PROJECT"
category = "internal"
severity = "low"
confidence = 0.8
pattern = '''\\bPRJ-(?P<value>\\d{4})\\b'''
source = "project handbook"
match = ["see PRJ-«{digits:4}»"]
no_match = ["PRJ-12345"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "acme.toml"
    made.write_text(RULE)
    return made


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["catalogue", *map(str, arguments)])


def test_list_is_narrowed_by_type_category_and_source() -> None:
    found = json.loads(run("list", "--type", "email", "--json").stdout)
    assert {d["type"] for d in found} == {"EMAIL"}
    assert "pii.contact.email" in [d["id"] for d in found]
    assert {d["category"] for d in json.loads(run("list", "--category", "secret", "--json").stdout)} == {"secret"}
    table = run("list", "--source", "detect-secrets 1")
    assert "secret.detect_secrets.assigned" in table.stdout
    assert "pii.contact.email" not in table.stdout


def test_show_tells_pattern_validator_and_examples() -> None:
    shown = run("show", "pii.contact.email")
    assert shown.exit_code == 0
    assert "RFC 5321" in shown.stdout
    assert "jane.roe" in shown.stdout
    assert json.loads(run("show", "pii.contact.email", "--json").stdout)["validator"] == "email"


def test_show_of_what_does_not_exist_says_where_to_look() -> None:
    done = run("show", "pii.nothing")
    assert "llmguard catalogue list" in str(done.exception)
    assert done.exit_code != 0


def test_a_good_file_passes_and_what_it_would_find_is_shown_by_place_never_by_value(file: Path, tmp_path: Path) -> None:
    sample = tmp_path / "minutes.txt"
    sample.write_text("Subject\nabout PRJ-4711 and others\n")
    done = run("test", file, "--on", sample, "--json")
    assert done.exit_code == 0
    told = json.loads(done.stdout)
    assert (told["detectors"], told["problems"], told["warnings"]) == (["internal.acme.project"], [], [])
    [found] = told["found"]
    assert (found["line"], found["column"], found["length"], found["type"]) == (2, 11, 4, "PROJECT")
    assert "4711" not in done.output


def test_a_failing_example_and_a_rule_that_looks_everywhere_are_named_and_the_code_is_one(file: Path) -> None:
    everywhere = RULE.replace("acme.project", "acme.word").replace(r"\bPRJ-(?P<value>\d{4})\b", r"\b[A-Z]?[a-z]{4}\b")
    file.write_text(RULE.replace("PRJ-«{digits:4}»", "«PRJ-{digits:4}»") + everywhere)
    done = run("test", file)
    assert done.exit_code == 1
    assert "internal.acme.project: match 'see «PRJ-{digits:4}»'" in done.stdout
    assert "internal.acme.word: its anchor hits all over clean prose" in done.stdout
    assert "values in 65,536 characters of clean prose" in done.stdout


def test_an_entry_that_is_not_understood_is_named_with_its_line(file: Path) -> None:
    file.write_text(RULE + RULE.replace("acme.project", "acme.second").replace("low", "loud"))
    done = run("test", file)
    assert f"{file}:13: internal.acme.second: severity is one of" in str(done.exception)


def test_the_company_file_of_the_documentation_passes(tmp_path: Path) -> None:
    [written] = re.findall(r"```toml\n(# acme\.toml.*?)```", DOCS.read_text(), re.DOTALL)
    path = tmp_path / "acme.toml"
    path.write_text(written)
    done = run("test", path, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["warnings"] == []


def test_tables_are_built_into_a_folder_and_are_those_that_ship(tmp_path: Path) -> None:
    done = run("build", "--to", tmp_path, "--json")
    assert sorted(p.name for p in tmp_path.iterdir()) == json.loads(done.stdout)["tables"]
    assert run("build", "--check").exit_code == 0
