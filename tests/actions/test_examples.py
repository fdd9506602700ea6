"""The examples do what they say: the script before a real guard with a voter, the pipelines' files and their script."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmguard.config import Settings
from llmguard.guard import Guard
from tests.actions.staff import ROWS, decide, lines, rows, shown, waiting

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def environment(settings: Settings, tmp_path: Path) -> dict[str, str]:
    return {
        "PATH": f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "LLMGUARD_DATA": str(settings.data),
        "LLMGUARD_KEY": settings.key or "",
        "LLMGUARD_NAMES": "false",
    }


def started(environment: dict[str, str], *words: str) -> subprocess.Popen[str]:
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(list(words), env=environment, **pipes)


def test_script_exports_what_was_proposed_and_clears_nothing_that_was_denied(
    guard: Guard, environment: dict[str, str], customers: Path, out: Path
) -> None:
    process = started(environment, sys.executable, str(EXAMPLES / "actions.py"), str(customers), str(out))
    first = waiting(guard)
    assert json.loads(shown(guard, first))["evidence"] == {"rows": ROWS}
    decide(guard, "request_changes", reason="five are enough", proposal=b'{"limit": 5}', approval=first)
    revision = waiting(guard, first.id)
    assert not out.exists()
    decide(guard, approval=revision)
    decide(guard, "deny", approval=waiting(guard, first.id, revision.id))
    printed, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "exported 5 rows" in printed
    assert "not cleared" in printed
    assert (lines(out), rows(customers, "customers")) == (5, ROWS)


SQLITE = """#!{python}
import sqlite3, sys
db = sqlite3.connect(sys.argv[-1])
db.executescript(sys.stdin.read())
print("migrated")
"""


def test_migration_of_a_pipeline_runs_once_it_is_approved(
    guard: Guard, environment: dict[str, str], customers: Path, tmp_path: Path
) -> None:
    if shutil.which("sqlite3") is None:  # the same as its shell does with a script on standard input
        (tmp_path / "sqlite3").write_text(SQLITE.format(python=sys.executable))
        (tmp_path / "sqlite3").chmod(0o755)
    (tmp_path / "0001.sql").write_text("CREATE TABLE orders (id INTEGER); SELECT 'migrated';\n")
    script = [str(EXAMPLES / "ci" / "migrate.sh"), str(tmp_path / "0001.sql"), str(customers)]
    early = started({**environment, "WAIT_SECONDS": "0"}, *script)
    _, errors = early.communicate(timeout=60)
    assert (early.returncode, "run this job again" in errors) == (75, True), errors
    body = json.loads(shown(guard, waiting(guard)))
    assert body["description"] == "Migrate customers.db with 0001.sql"
    assert body["evidence"]["dry run"]["output"].startswith("CREATE TABLE orders")
    decide(guard)
    again = started(environment | {"WAIT_SECONDS": "0"}, *script)
    printed, errors = again.communicate(timeout=60)
    assert (again.returncode, printed) == (0, "migrated\n"), errors
    assert rows(customers, "orders") == 0


@pytest.mark.parametrize("name", ["github.yml", "gitlab.yml"])
def test_file_of_a_pipeline_runs_the_script_with_a_file_and_a_database(name: str) -> None:
    document = yaml.safe_load((EXAMPLES / "ci" / name).read_text())
    job = document["jobs"]["migrate"] if "jobs" in document else document["migrate"]
    steps = job.get("script") or [step["run"] for step in job["steps"] if "run" in step]
    assert steps == ['examples/ci/migrate.sh "$MIGRATION" "$DATABASE"']
    settings = job.get("env") or job["variables"]
    assert {"LLMGUARD_DATA", "MIGRATION", "DATABASE"} <= settings.keys()
    assert os.access(EXAMPLES / "ci" / "migrate.sh", os.X_OK)
