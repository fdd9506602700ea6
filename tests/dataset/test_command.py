"""``llmguard sanitize`` as its user sees it: what is said, what is shown, how it exits."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from llmguard.cli import app
from llmguard.dataset import engine

MAIL = "jane.doe@mail-of-many.net"
LINES = "".join(json.dumps({"prompt": f"mail {MAIL}" if i % 2 else f"hello {i}"}) + "\n" for i in range(10))


@pytest.fixture(autouse=True)
def own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMGUARD_DATA", str(tmp_path / "data"))


@pytest.fixture
def quick(here: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without processes, which the first test has."""
    monkeypatch.setattr(engine, "LocalEngine", lambda workers: here)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    path.write_text(LINES)
    return path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["sanitize", *map(str, arguments), "--no-names"])


def test_a_file_is_cleaned_and_summed_up(tmp_path: Path, source: Path) -> None:
    output = tmp_path / "out.jsonl"
    done = run(source, "-o", output, "--workers", "1")
    assert done.exit_code == 0, done.output
    assert done.stdout == ""
    assert "10 records, 5 changed" in done.stderr
    assert "EMAIL" in done.stderr
    assert "MB/s" in done.stderr
    assert MAIL not in done.stderr + output.read_text()
    again = run(source, "-o", output)
    assert again.exit_code == 1
    assert isinstance(again.exception, SystemExit) or "--overwrite" in str(again.exception)


@pytest.mark.usefixtures("quick")
def test_what_openai_would_refuse_the_whole_file_for_is_told(tmp_path: Path, source: Path) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
    row = {"custom_id": "one", "method": "POST", "url": "/v1/chat/completions", "body": body}
    source.write_text((json.dumps(row) + "\n") * 2)
    done = run(source, "-o", tmp_path / "out.jsonl", "--kind", "batch")
    assert done.exit_code == 0, done.output
    assert "warning: OpenAI would refuse the file: the same custom_id again (line 2)" in done.stderr


@pytest.mark.usefixtures("quick")
def test_bad_records_are_told_by_number_and_all_of_them_beside_the_report(tmp_path: Path, source: Path) -> None:
    source.write_text(LINES + "secret nonsense\n" * 30)
    output, report = tmp_path / "out.jsonl", tmp_path / "r.html"
    done = run(source, "-o", output, "--report", report, "--fail-on-bad")
    assert done.exit_code == 1
    assert done.stderr.count("record ") >= 20
    assert "record 11:" in done.stderr
    assert "and 10 more" in done.stderr
    assert "30 bad records" in done.stderr
    assert len((tmp_path / "r.bad.tsv").read_text().splitlines()) == 30
    assert output.read_text().count("\n") == 10
    for text in (done.output, (tmp_path / "r.bad.tsv").read_text(), report.read_text()):
        assert "nonsense" not in text
        assert MAIL not in text


@pytest.mark.usefixtures("quick")
def test_a_dry_run_writes_nothing(tmp_path: Path, source: Path) -> None:
    done = run(source, "--dry-run")
    assert done.exit_code == 0, done.output
    assert "nothing was written" in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir() if p.name not in ("data", "config", "share")) == ["in.jsonl"]


def test_a_sample_shows_cleaned_records_alone(source: Path) -> None:
    done = run(source, "--sample", "2")
    assert done.exit_code == 0, done.output
    assert len([json.loads(line) for line in done.stdout.splitlines()]) == 2
    assert MAIL not in done.output
    assert "2 of the first 4 records" in done.stderr
    asked = run(source, "--sample", "1", "--originals")
    assert [line[0] for line in asked.stdout.splitlines()] == ["-", "+"]
    assert asked.stdout.count(MAIL) == 1


def test_what_a_terminal_would_obey_is_made_visible(source: Path) -> None:
    source.write_text(
        json.dumps({"prompt": f"\x1b]0;owned\x07 {MAIL}"}, ensure_ascii=False).replace("\\u001b", "\u202e")
    )
    done = run(source, "--sample", "1")
    assert "\u202e" not in done.stdout
    assert "\\u{202e}" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [((), "--output"), (("-o", "x.jsonl", "--originals"), "--originals"), (("--sample", "0"), "--sample")],
)
def test_wrong_use_is_told(source: Path, arguments: tuple[str, ...], said: str) -> None:
    done = run(source, *arguments)
    assert done.exit_code == 2
    assert said in done.output


def test_missing_packages_are_told_with_what_to_install(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.write_bytes(b"PAR1....PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    done = run(source, "-o", tmp_path / "out.parquet")
    assert "llmguard[data]" in str(done.exception)


def test_one_process_a_core_unless_told() -> None:
    assert engine.LocalEngine().workers == engine.cores()
    assert engine.LocalEngine(3).workers == 3
