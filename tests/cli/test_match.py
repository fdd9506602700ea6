"""``llmguard match``: files without values, built, listed, tried and shortened at a terminal."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from llmguard.cli import app

CSV = "id,name\n10001,Quirin Zwergfalke\n10002,Ada Wundersam\n10003,\n10004,Hase\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LLMGUARD_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("LLMGUARD_NAMES", "false")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "customers.csv").write_text(CSV)
    return tmp_path


def run(*arguments: str, stdin: str | bytes = "", code: int = 0) -> Result:
    done = CliRunner().invoke(app, list(arguments), input=stdin)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == code, done.output
    return done


def build(*more: str) -> Result:
    columns = ("--column", "name", "--column", "id", "--type", "CUSTOMER")
    return run("match", "build", "customers.csv", *columns, "-o", "customers.match", *more)


def test_build_tells_counts_and_lines_and_no_value(folder: Path) -> None:
    done = build()
    assert "7 records of 8 values in customers.match (0 repeated, 1 empty)" in done.stderr
    assert "Zwergfalke" not in done.output
    (folder / "customers.csv").write_text("id,name\n10001,Quirin Zwergfalke\n12,Ada Wundersam\n")
    assert "refused 1: numbers of fewer than 5 digits (first in line 3)" in build().stderr
    assert "refused" not in build("--allow-short").stderr


def test_scan_and_test_find_what_the_settings_file_names(folder: Path) -> None:
    build()
    text = "first line\nask ada-wundersam about 10-001\n"
    done = run("match", "test", "--match", "customers.match", stdin=text, code=1)
    assert done.stdout == (
        "-:2:5: internal.match.customers (13 characters)\n-:2:25: internal.match.customers (6 characters)\n"
    )
    assert run("match", "test", "--match", "customers.match", stdin="nothing here").stdout == ""
    (folder / "config.toml").write_text('match = ["customers.match"]\n')
    done = run("--config", "config.toml", "scan", "--format", "json", stdin=text, code=1)
    assert {f["type"] for line in done.stdout.splitlines() for f in json.loads(line)["findings"]} == {"CUSTOMER"}
    assert run("--config", "config.toml", "match", "test", stdin=text, code=1).stdout.count("internal.match") == 2


def test_list_tells_what_holds_and_what_does_not(folder: Path) -> None:
    build()
    [row] = json.loads(run("match", "list", "customers.match", "--json").stdout)
    assert (row["name"], row["type"], row["records"], row["state"]) == ("customers", "CUSTOMER", 7, "ok")
    assert "internal.match.customers" in run("match", "list", "customers.match").stdout
    content = (folder / "customers.match").read_bytes()
    (folder / "customers.match").write_bytes(content[:-1])
    [row] = json.loads(run("match", "list", "customers.match", "--json").stdout)
    assert "cut off or was altered" in row["state"]
    assert "no match file is set" in run("match", "list").stderr


def test_key_file_builds_on_another_machine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("match", "key", "match.key")
    assert stat.S_IMODE((folder / "match.key").stat().st_mode) == 0o600
    build("--key-file", "match.key")
    monkeypatch.setenv("LLMGUARD_DATA", str(folder / "elsewhere"))
    text = "Ada Wundersam"
    assert run("match", "test", "--match", "customers.match", "--key-file", "match.key", stdin=text, code=1).stdout
    from llmguard.errors import ConfigError

    with pytest.raises(ConfigError, match="built under the key"):
        run("match", "test", "--match", "customers.match", stdin=text)
    with pytest.raises(ConfigError, match="exists already"):
        run("match", "key", "match.key")


def test_removed_records_are_gone(folder: Path) -> None:
    build()
    done = run("match", "remove", "customers.match", stdin="Ada Wundersam\nnobody at all\n")
    assert done.stderr == "1 records are removed, 6 are left\n"
    run("match", "test", "--match", "customers.match", stdin="Ada Wundersam")


@pytest.mark.parametrize("more", [("--type", "lower"), ("--name", "With Space")])
def test_names_that_no_detector_has_are_refused(more: tuple[str, ...]) -> None:
    from llmguard.errors import ConfigError

    with pytest.raises(ConfigError, match="--name is of"):
        run("match", "build", "customers.csv", "--column", "name", "-o", "x.match", *more)
