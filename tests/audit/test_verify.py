"""Each way to tamper with a log is found, up to the last checkpoint that left the host."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmguard import audit
from llmguard.audit import merkle
from llmguard.audit.note import Head, sign
from llmguard.errors import ConfigError
from llmguard.vault import Keyring

if TYPE_CHECKING:
    from tests.audit.conftest import Installation


def only(report: audit.Report, *phrases: str) -> None:
    assert not report.ok
    text = "\n".join(report.problems)
    for phrase in phrases:
        assert phrase in text


def test_an_untouched_log_verifies(guard: Installation) -> None:
    assert guard.verify() == audit.Report(entries=12, checkpoints=2, unwitnessed=0, problems=())


def test_a_copy_verifies_without_the_guard(guard: Installation, tmp_path: Path) -> None:
    guard.append(3)
    guard.store.close()
    copy = tmp_path / "auditor"
    copy.mkdir()
    shutil.copy(guard.database, copy / "copy.db")
    shutil.copy(guard.checkpoints, copy / "notes")
    seen: list[tuple[int, int]] = []
    report = audit.verify(copy / "copy.db", copy / "notes", guard.key, progress=lambda *at: seen.append(at))
    assert report == audit.Report(entries=15, checkpoints=2, unwitnessed=3, problems=())
    assert seen == [(15, 15)]


def test_the_key_beside_the_checkpoints_is_used(guard: Installation) -> None:
    assert audit.verify(guard.database, guard.checkpoints).ok
    (guard.outside / "log.vkey").unlink()
    only(audit.verify(guard.database, guard.checkpoints), "signatures were not checked")


def test_without_checkpoints_everything_is_unwitnessed(guard: Installation) -> None:
    report = audit.verify(guard.database)
    assert (report.ok, report.unwitnessed, report.checkpoints) == (True, 12, 0)


def test_an_edited_byte_in_a_leaf(guard: Installation) -> None:
    guard.sql("UPDATE audit_entries SET leaf = CAST(replace(leaf, 'redact', 'reject') AS BLOB) WHERE idx = 7")
    only(guard.verify(), "Entry 7 was changed", "checkpoint of 12 entries", "entries 5 to 11")


def test_an_edited_leaf_with_its_hash_made_to_fit(guard: Installation) -> None:
    guard.sql(
        "UPDATE audit_entries SET leaf = CAST(replace(leaf, 'redact', 'reject') AS BLOB) WHERE idx = 3",
        "UPDATE audit_entries SET hash = leaf_hash(leaf) WHERE idx = 3",
    )
    report = guard.verify()
    only(report, "published checkpoint of 5 entries", "entries 0 to 4")
    assert (report.checkpoints, report.unwitnessed) == (0, 12)


def test_swapped_rows(guard: Installation) -> None:
    guard.sql(
        "UPDATE audit_entries SET idx = -1 WHERE idx = 6",
        "UPDATE audit_entries SET idx = 6 WHERE idx = 9",
        "UPDATE audit_entries SET idx = 9 WHERE idx = -1",
    )
    only(guard.verify(), "published checkpoint of 12 entries", "moved")


def test_a_deleted_tail(guard: Installation) -> None:
    guard.sql("DELETE FROM audit_entries WHERE idx >= 9", "DELETE FROM checkpoints WHERE size > 9")
    only(guard.verify(), "ends at entry 9", "covers 12", "entries from 9 on were cut off")


def test_a_deleted_middle(guard: Installation) -> None:
    guard.sql("DELETE FROM audit_entries WHERE idx BETWEEN 4 AND 5")
    only(guard.verify(), "Entry 4 is missing", "number 6")


def test_a_deleted_middle_closed_up(guard: Installation) -> None:
    guard.sql("DELETE FROM audit_entries WHERE idx = 8", "UPDATE audit_entries SET idx = idx - 1 WHERE idx > 8")
    only(guard.verify(), "ends at entry 11, but a published checkpoint covers 12")


def test_an_inserted_entry(guard: Installation) -> None:
    guard.sql(
        "UPDATE audit_entries SET idx = -idx - 1 WHERE idx >= 6",
        "UPDATE audit_entries SET idx = -idx WHERE idx < 0",
        "INSERT INTO audit_entries "
        "SELECT 6, tenant, id || 'x', time, kind, leaf, hash FROM audit_entries WHERE idx = 5",
    )
    only(guard.verify(), "Entry 6 says something else", "published checkpoint of 12 entries")


def test_a_copied_entry(guard: Installation) -> None:
    guard.sql(
        "CREATE TABLE other AS SELECT * FROM audit_entries",
        "DROP TABLE audit_entries",
        "ALTER TABLE other RENAME TO audit_entries",
        "INSERT INTO audit_entries SELECT 12, tenant, id, time, kind, leaf, hash FROM audit_entries WHERE idx = 5",
    )
    only(guard.verify(), "Entry 12 has the id of an entry before it")


def test_a_time_before_the_last(guard: Installation) -> None:
    guard.sql(
        "UPDATE audit_entries SET leaf = CAST(replace(leaf, time, time - 86400000) AS BLOB), time = time - 86400000 "
        "WHERE idx = 10"
    )
    only(guard.verify(), "Entry 10 is older than an entry before it")


@pytest.mark.parametrize("leaf", ["{}", "not json", '{"v":1, "id":"x"}', "[" * 100_000, '{"v":1,"v":1}', '{"v":1e999}'])
def test_a_leaf_that_the_guard_never_wrote(guard: Installation, leaf: str) -> None:
    guard.append(1)
    guard.sql(f"UPDATE audit_entries SET leaf = CAST('{leaf}' AS BLOB) WHERE idx = 12")
    guard.sql("UPDATE audit_entries SET hash = leaf_hash(leaf) WHERE idx = 12")
    only(guard.verify(), "Entry 12 is not canonical JSON")


def test_a_forked_log_that_was_rebuilt_and_signed_again(guard: Installation, tmp_path: Path) -> None:
    fork = type(guard).at(tmp_path / "fork", guard.keyring)
    fork.append(5)
    fork.checkpoint()
    fork.append(7)
    fork.checkpoint()
    assert fork.verify().ok
    only(audit.verify(fork.database, guard.checkpoints, guard.key), "published checkpoint of 5 entries")
    fork.store.close()


def test_two_heads_of_one_size_are_a_fork(guard: Installation) -> None:
    other = sign(Head(guard.origin, 12, merkle.leaf_hash(b"another history")), guard.keyring.signer())
    with guard.checkpoints.open("a") as f:
        f.write(other + "\n")
    only(guard.verify(), "number 3 covers 12 entries, no more than the one before")


def test_a_checkpoint_forged_with_another_key(guard: Installation) -> None:
    guard.append(1)
    root = guard.store.read(lambda tx: audit.log.root(tx, 13))
    with guard.checkpoints.open("a") as f:
        f.write(sign(Head(guard.origin, 13, root), Keyring.generate().signer()) + "\n")
    report = guard.verify()
    only(report, "published checkpoint number 3 is not valid: it is not signed with the key")
    assert report.unwitnessed == 1


def test_a_cut_file_of_checkpoints(guard: Installation) -> None:
    content = guard.checkpoints.read_bytes()
    guard.checkpoints.write_bytes(content[:-40])
    report = guard.verify()
    only(report, "published checkpoint number 2 is not valid")
    assert (report.checkpoints, report.unwitnessed) == (1, 7)


def test_a_tail_that_no_checkpoint_covers_is_named_and_not_vouched_for(guard: Installation) -> None:
    guard.append(4)
    assert guard.verify() == audit.Report(entries=16, checkpoints=2, unwitnessed=4, problems=())
    guard.sql("DELETE FROM audit_entries WHERE idx >= 14")
    assert guard.verify() == audit.Report(entries=14, checkpoints=2, unwitnessed=2, problems=())


def test_a_checkpoint_in_the_store_covers_what_was_not_published_yet(guard: Installation) -> None:
    guard.append(2)
    audit.checkpoint(guard.store, guard.keyring, guard.origin)
    guard.sql("DELETE FROM audit_entries WHERE idx >= 13")
    only(guard.verify(), "a stored checkpoint covers 14")


@pytest.mark.parametrize("defect", ["missing", "other file", "no table"])
def test_what_is_not_the_guards_database_is_refused(tmp_path: Path, defect: str) -> None:
    path = tmp_path / "guard.db"
    if defect != "missing":
        path.write_bytes(b"text" * 1000 if defect == "other file" else b"")
    with pytest.raises(ConfigError, match="database"):
        audit.verify(path)


def test_missing_checkpoints_and_damaged_keys_are_refused(guard: Installation) -> None:
    with pytest.raises(ConfigError, match="not a file of checkpoints"):
        audit.verify(guard.database, guard.outside / "elsewhere", guard.key)
    with pytest.raises(ConfigError, match="verifier key"):
        audit.verify(guard.database, guard.checkpoints, guard.key.replace("+", "-"))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_altered_byte_of_a_published_note_is_found(data: st.DataObject, forgeable: Installation) -> None:
    content = forgeable.checkpoints.read_bytes()
    at = data.draw(st.integers(min_value=0, max_value=len(content) - 2))  # but for the blank line after it
    altered = bytearray(content)
    altered[at] ^= 1 << data.draw(st.integers(min_value=0, max_value=7))
    notes = forgeable.root / "altered"
    notes.write_bytes(altered)
    assert not audit.verify(forgeable.database, notes, forgeable.key).ok


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_altered_byte_of_a_leaf_is_found(data: st.DataObject, forgeable: Installation) -> None:
    index = data.draw(st.integers(min_value=0, max_value=11))
    leaf = forgeable.store.read(lambda tx: audit.entries(tx, index, index + 1))[0].leaf
    altered = bytearray(leaf)
    altered[data.draw(st.integers(min_value=0, max_value=len(leaf) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    update = "UPDATE audit_entries SET leaf = x'{}', hash = leaf_hash(x'{}') WHERE idx = {}"
    forgeable.sql(update.format(altered.hex(), altered.hex(), index))
    assert not forgeable.verify().ok
    forgeable.sql(update.format(leaf.hex(), leaf.hex(), index))
    assert forgeable.verify().ok


APPEND = """
import sys
from pathlib import Path
from llmguard import audit
from llmguard.model import AuditEntry
from llmguard.store import Store
store = Store(Path(sys.argv[1]))
for i in range(10**9):
    store.transact(lambda tx: audit.append(tx, [AuditEntry("test", "default", {"number": i})]), durable=i % 5 == 0)
    print(i, flush=True)
"""


def test_a_killed_guard_leaves_a_log_that_verifies_and_holds_all_it_acknowledged(guard: Installation) -> None:
    arguments = [sys.executable, "-c", APPEND, str(guard.database)]
    with subprocess.Popen(
        arguments, env={**os.environ, "PYTHONPATH": os.getcwd()}, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        told = [child.stdout.readline() for _ in range(150)]
        child.send_signal(signal.SIGKILL)
        told += child.stdout.read().splitlines(keepends=True)
    told = [line for line in told if line.endswith("\n")]
    logged = guard.store.read(lambda tx: [e.details["number"] for e in audit.entries(tx, 12, 10**9)])
    assert logged[: len(told)] == list(range(len(told)))
    report = guard.verify()
    assert report.ok
    assert report.unwitnessed == len(logged)
    guard.checkpoint()
    assert guard.verify().unwitnessed == 0
