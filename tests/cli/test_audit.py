"""``llmguard audit verify`` on a log of real calls, and on copies that were tampered with."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from llmguard import audit
from llmguard.approvals.evidence import pack
from llmguard.cli import app
from llmguard.config import DATABASE, Settings
from llmguard.guard import Guard
from llmguard.testing import Fakes
from tests.desks import BO, Desk


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
    assert "entries      6" in done.output  # the policy took effect before the first of them
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


# --------------------------------------------------------------------------- evidence of one approval


@pytest.fixture
def evidence(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """The evidence of an approval, and the checkpoints outside that it continues."""
    desk = Desk(tmp_path / "guard").staff()
    outside, origin = tmp_path / "outside", f"llmguard/{desk.vault.keyring.log_id()}"
    approval = desk.hold()
    audit.checkpoint(desk.store, desk.vault.keyring, origin, outside)
    desk.vote(approval, BO, reason="fine")
    audit.checkpoint(desk.store, desk.vault.keyring, origin)
    document = desk.store.read(lambda tx: pack(tx, desk.vault, desk.get(approval), payload=True))
    path = tmp_path / "evidence.json"
    path.write_text(json.dumps(document))
    yield path, outside
    desk.store.close()


def check(path: Path, *more: str) -> Result:
    return CliRunner().invoke(app, ["audit", "evidence", "verify", str(path), *more])


def test_untouched_evidence_holds(evidence: tuple[Path, Path]) -> None:
    path, outside = evidence
    done = check(path, "--checkpoints", str(outside))
    assert done.exit_code == 0, done.output
    assert "the evidence holds" in done.output
    key = (outside / "log.vkey").read_text().strip()
    assert check(path, "--key", key).exit_code == 0


def test_altered_evidence_is_refused_and_what_was_altered_is_named(evidence: tuple[Path, Path]) -> None:
    path, outside = evidence
    document = json.loads(path.read_text())
    document["votes"][0]["reason"] = "fine\x1b[2J"
    path.write_text(json.dumps(document))
    done = check(path, "--checkpoints", str(outside))
    assert done.exit_code == 1
    assert "votes[0].reason" in done.output
    assert "\x1b" not in done.output


def test_what_is_no_evidence_or_has_no_key_is_refused(evidence: tuple[Path, Path], tmp_path: Path) -> None:
    path, outside = evidence
    assert check(path, "--checkpoints", str(tmp_path / "nowhere")).exit_code != 0
    path.write_text('{"kind": "llmguard evidence", "kind": "x"}')
    assert check(path, "--checkpoints", str(outside)).exit_code != 0
    path.write_text("[]")
    assert check(path, "--checkpoints", str(outside)).exit_code == 1
