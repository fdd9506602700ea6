"""``llmguard scan`` at a terminal, in a pipe, over folders; what it explains and what it leaves out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from llmguard.cli import app
from llmguard.testing import Fakes


@pytest.fixture
def fakes() -> Fakes:
    return Fakes(11)


@pytest.fixture
def tree(tmp_path: Path, fakes: Fakes, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an address in two files, a picture and a dependency."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "docs" / "a.md").write_text(f"write to {fakes.email()}\n")
    (tmp_path / "b.py").write_text(f"CARD = '{fakes.card()}'\n")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\0\0")
    (tmp_path / "node_modules" / "c.js").write_text(f"// {fakes.email()}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str, stdin: str | bytes = "") -> Result:
    return CliRunner().invoke(app, ["scan", "--no-names", *arguments], input=stdin)


def test_scan_tells_type_and_place_never_the_value(tmp_path: Path, fakes: Fakes) -> None:
    email = fakes.email()
    path = tmp_path / "letter.txt"
    path.write_text(f"hello\nwrite to {email}\n")
    done = run(str(path))
    assert done.exit_code == 1
    assert done.stdout.startswith(f"{path}:2:10: EMAIL (pii, ")
    assert email not in done.output


def test_clean_text_exits_with_zero() -> None:
    done = run(stdin="nothing to see here")
    assert (done.exit_code, done.output) == (0, "")


def test_scan_as_json_has_spans(fakes: Fakes) -> None:
    card = fakes.card()
    done = run("--format", "json", stdin=f"card {card}")
    [finding] = json.loads(done.stdout)["findings"]
    assert (finding["start"], finding["end"], finding["type"]) == (5, 5 + len(card), "CREDIT_CARD")


def test_scan_of_lines_answers_each_with_its_id(fakes: Fakes) -> None:
    lines = [{"id": 1, "text": fakes.email()}, {"id": "b", "text": "clean"}]
    done = run("--jsonl", stdin="".join(json.dumps(line) + "\n" for line in lines))
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(a["id"], len(a["findings"])) for a in answers] == [(1, 1), ("b", 0)]


@pytest.mark.parametrize("line", ["no json", '{"id": 1}', '{"id": 1, "text": 2}', '{"id": 1, "text": "half'])
def test_line_that_is_not_a_document_is_named_without_its_content(line: str) -> None:
    done = run("--jsonl", stdin='{"id": 1, "text": "x"}\n' + line + "\n")
    assert done.exit_code != 0
    assert "line 2" in str(done.exception)
    assert "half" not in str(done.exception)


def test_file_that_is_not_text_is_said(tmp_path: Path) -> None:
    path = tmp_path / "picture"
    path.write_bytes(b"\xff\xfe\x00")
    assert "not UTF-8" in str(run(str(path)).exception)


def test_folder_is_read_file_by_file_and_what_is_passed_over_is_told(tree: Path) -> None:
    done = run(".")
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == ["b.py", "docs/a.md"]
    assert done.stderr == "left out: 1 files: binary\n"
    assert "node_modules" in run("node_modules").stdout


@pytest.mark.parametrize(
    ("rules", "left"),
    [
        ("docs/\n", ["b.py"]),
        ("docs/a.md EMAIL\n*.py pii.financial.*\n", []),
        ("# none\n\n*.txt\n", ["b.py", "docs/a.md"]),
    ],
)
def test_ignore_file_leaves_out_files_or_findings_of_some(tree: Path, rules: str, left: list[str]) -> None:
    (tree / ".llmguardignore").write_text(rules)
    done = run(".")
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == left
    assert done.exit_code == bool(left)
    assert len(run(".", "--no-ignore").stdout.splitlines()) == 2


def test_ignore_file_with_a_wrong_line_is_refused_with_its_number(tree: Path) -> None:
    (tree / ".llmguardignore").write_text("docs/\n*.py 4111!\n")
    assert ".llmguardignore:2" in str(run(".").exception)


@pytest.mark.parametrize(
    ("comment", "found"),
    [
        ("# llmguard:allow", 0),
        ("# llmguard:allow EMAIL", 0),
        ("# llmguard:allow pii.contact.*, JWT", 0),
        ("# llmguard:allow CREDIT_CARD", 1),
    ],
)
def test_comment_allows_what_begins_on_its_line(fakes: Fakes, comment: str, found: int) -> None:
    done = run(stdin=f"a = '{fakes.email()}'  {comment}\n")
    assert len(done.stdout.splitlines()) == found
    assert ("left out: 1 findings" in done.stderr) is not bool(found)


def test_comment_for_the_next_line_does_not_reach_further(fakes: Fakes) -> None:
    done = run(stdin=f"# llmguard:allow-next-line\n{fakes.email()}\n{fakes.email()}\n")
    assert done.stdout.splitlines()[0].startswith("-:3:1: EMAIL")


def test_ignore_rules_and_comments_never_reach_redact(
    tree: Path, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMGUARD_DATA", str(tree / "data"))
    (tree / ".llmguardignore").write_text("*\n")
    email = fakes.email()
    done = CliRunner().invoke(app, ["redact"], input=f"{email}  # llmguard:allow")
    assert email not in done.output


def test_explanation_names_detector_validator_context_and_near_misses(fakes: Fakes) -> None:
    card = fakes.card()
    wrong = card[:-1] + str((int(card[-1]) + 1) % 10)
    done = run("--explain", stdin=f"mail {fakes.email()} pay {card} not {wrong} password = changeme")
    assert "pii.contact.email: found, confidence" in done.stdout
    assert "pii.financial.card_number: found, confidence 0.90, validator card proves it\n" in done.stdout
    assert "pii.financial.card_number: the confidence is too low without a context word or proof" in done.stdout
    assert "a context word is near" in run("--explain", stdin=f"card {card}").stdout
    assert card not in done.output
    assert wrong not in done.output


def test_explanation_as_json_has_a_verdict_for_every_rule_that_looked(fakes: Fakes) -> None:
    done = run("--explain", "--format", "json", stdin=f"grüße {fakes.email()}")
    [mail] = [e for e in json.loads(done.stdout)["explained"] if e["detector"] == "pii.contact.email"]
    assert (mail["verdict"], mail["start"]) == ("found", 6)


def test_explanation_and_sarif_do_not_mix() -> None:
    assert run("--explain", "--format", "sarif").exit_code == 2


def test_sarif_has_rules_places_and_levels_and_no_value(tree: Path) -> None:
    done = run(".", "--format", "sarif")
    document: dict[str, Any] = json.loads(done.stdout)
    [told] = document["runs"]
    rules = told["tool"]["driver"]["rules"]
    for result in told["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
    places = [r["locations"][0]["physicalLocation"] for r in told["results"]]
    assert [p["artifactLocation"]["uri"] for p in places] == ["b.py", "docs/a.md"]
    assert places[1]["region"]["startColumn"] == 10
    assert [r["level"] for r in told["results"]] == ["error", "warning"]
    assert "@" not in done.output


def test_category_narrows_what_is_told(tree: Path) -> None:
    assert run(".", "--category", "secret").exit_code == 0
    assert run(".", "--category", "pii").exit_code == 1
