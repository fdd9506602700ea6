"""``llmguard sanitize`` with folders, pipes and URLs in the place of files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from llmguard.cli import app
from llmguard.testing import Fakes


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LLMGUARD_DATA", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    for i, name in enumerate(("a", "b")):
        (tmp_path / "in" / f"{name}.jsonl").write_text(f'{{"text": "{Fakes(i).email()}"}}\n')
    return tmp_path / "in"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["sanitize", "--no-names", "--workers", "1", *arguments])


def test_folder_becomes_a_folder(folder: Path, tmp_path: Path) -> None:
    done = run("in", "-o", "out")
    assert done.exit_code == 0, done.output
    assert "2 records, 2 changed in out" in done.stderr
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.jsonl", "b.jsonl"]
    assert Fakes(0).email() not in (tmp_path / "out" / "a.jsonl").read_text()


def test_output_at_a_url_is_delivered_once_and_nothing_stays_behind(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    url = f"file://{tmp_path}/there/clean.jsonl"
    done = run("in/a.jsonl", "-o", url)
    assert done.exit_code == 0, done.output
    assert f"delivered to {url}" in done.stderr
    assert (tmp_path / "there" / "clean.jsonl").read_text().startswith('{"text": ')
    assert not [p for p in (tmp_path / "state" / "datasets").rglob("*") if p.is_file()]
    again = run("in/a.jsonl", "-o", url)
    assert "--overwrite" in str(again.exception)


def test_input_and_output_that_cannot_be_read_twice_or_appear_whole_are_refused(folder: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "no regular file" in str(run("pipe", "-o", "out").exception)
    assert run("-", "-o", "out").exit_code == 2
    assert run("in/a.jsonl", "-o", "-").exit_code == 2
    assert "file" in str(run("in/*.gone", "-o", "out").exception)
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "-").exists()
