"""``llmguard scan`` and ``redact`` at a terminal and in a pipe."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from llmguard.cli import app
from llmguard.testing import Fakes


@pytest.fixture
def fakes() -> Fakes:
    return Fakes(11)


def run(*arguments: str, stdin: str | bytes = "") -> Result:
    return CliRunner().invoke(app, list(arguments), input=stdin)


def test_scan_tells_type_and_place_never_the_value(tmp_path: Path, fakes: Fakes) -> None:
    email = fakes.email()
    path = tmp_path / "letter.txt"
    path.write_text(f"hello\nwrite to {email}\n")
    done = run("scan", str(path))
    assert done.exit_code == 1
    assert done.stdout.startswith(f"{path}:2:10: EMAIL (pii, ")
    assert email not in done.output


def test_clean_text_exits_with_zero() -> None:
    done = run("scan", stdin="nothing to see here")
    assert (done.exit_code, done.output) == (0, "")


def test_scan_as_json_has_spans(fakes: Fakes) -> None:
    card = fakes.card()
    done = run("scan", "--format", "json", stdin=f"card {card}")
    [finding] = json.loads(done.stdout)["findings"]
    assert (finding["start"], finding["end"], finding["type"]) == (5, 5 + len(card), "CREDIT_CARD")


def test_scan_of_lines_answers_each_with_its_id(fakes: Fakes) -> None:
    lines = [{"id": 1, "text": fakes.email()}, {"id": "b", "text": "clean"}]
    done = run("scan", "--jsonl", stdin="".join(json.dumps(line) + "\n" for line in lines))
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(a["id"], len(a["findings"])) for a in answers] == [(1, 1), ("b", 0)]


@pytest.mark.parametrize("line", ["no json", '{"id": 1}', '{"id": 1, "text": 2}', '{"id": 1, "text": "half'])
def test_line_that_is_not_a_document_is_named_without_its_content(line: str) -> None:
    done = run("scan", "--jsonl", stdin='{"id": 1, "text": "x"}\n' + line + "\n")
    assert done.exit_code != 0
    assert "line 2" in str(done.exception)
    assert "half" not in str(done.exception)


def test_file_that_is_not_text_is_said(tmp_path: Path) -> None:
    path = tmp_path / "picture"
    path.write_bytes(b"\xff\xfe\x00")
    assert "not UTF-8" in str(run("scan", str(path)).exception)


def test_redact_writes_the_text_alone_to_stdout(tmp_path: Path, fakes: Fakes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMGUARD_DATA", str(tmp_path / "data"))
    email = fakes.email()
    done = run("redact", stdin=f"to {email}\n")
    assert done.exit_code == 0
    assert email not in done.output
    assert done.stdout.startswith("to [EMAIL_")
    assert done.stderr == "1 findings redacted\n"


def test_unknown_command_is_a_usage_error() -> None:
    assert run("scam").exit_code == 2
