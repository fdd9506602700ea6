"""``llmguard audit verify`` on a log of real calls, and on copies that were tampered with."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from llmguard import audit
from llmguard.cli import app
from llmguard.config import DATABASE, Settings
from llmguard.guard import Guard
from llmguard.testing import Fakes


@pytest.fixture
def kept(tmp_path: Path) -> Settings:
    """A data folder with five redactions, witnessed by one checkpoint outside."""
    settings = Settings(data=tmp_path / "data", names=False)
    fakes = Fakes(1)
    with Guard(settings) as guard:
        for _ in range(5):
            guard.redact(f"mail {fakes.email()}")
        audit.checkpoint(guard.store, guard.vault.keyring, guard.origin, settings.checkpoint_folder)
    return settings


def verify(database: Path, checkpoints: Path) -> Result:
    return CliRunner().invoke(app, ["audit", "verify", "--database", str(database), "--checkpoints", str(checkpoints)])


def test_untouched_log_holds(kept: Settings) -> None:
    done = verify(kept.data / DATABASE, kept.checkpoint_folder)
    assert done.exit_code == 0, done.output
    assert "entries      5" in done.output
    assert "unwitnessed  0" in done.output


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entries SET leaf = replace(CAST(leaf AS TEXT), 'EMAIL', 'PHONE') WHERE idx = 2",
        "DELETE FROM audit_entries WHERE idx = 4",
        "DELETE FROM audit_entries WHERE idx = 1",
        "UPDATE audit_entries SET idx = CASE idx WHEN 1 THEN -1 ELSE idx END",
    ],
    ids=["edited", "tail cut", "middle cut", "reordered"],
)
def test_tampered_copy_is_found(kept: Settings, tmp_path: Path, statement: str) -> None:
    copy = tmp_path / "copy.db"
    with sqlite3.connect(kept.data / DATABASE) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    shutil.copy(kept.data / DATABASE, copy)
    with sqlite3.connect(copy) as db:
        db.execute(statement)
    db.close()
    done = verify(copy, kept.checkpoint_folder)
    assert done.exit_code == 1, done.output
    assert "PROBLEM" in done.output


def test_missing_database_says_so(tmp_path: Path) -> None:
    done = verify(tmp_path / "none.db", tmp_path)
    assert done.exit_code != 0
