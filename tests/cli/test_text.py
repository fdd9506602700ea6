"""``llmguard redact`` in a pipe."""

from __future__ import annotations

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
