"""A database that fails refuses by name, and works again when the cause has gone."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from llmguard.errors import GuardUnavailable
from llmguard.store import Store, Transaction

CANARY = "canary-of-the-customer"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "guard.db", timeout=0.1)
    yield store
    store.close()


def insert(tx: Transaction, id_: str, size: int = 10) -> None:
    sql = "INSERT INTO outbox (id, tenant, kind, body, created) VALUES (?, 'default', ?, ?, 1)"
    tx.run(sql, id_, CANARY, "x" * size)


def count(store: Store) -> int:
    return store.read(lambda tx: len(tx.all("SELECT id FROM outbox")))


def test_locked_by_another_process_beyond_the_timeout(store: Store, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "guard.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for use in (store.transact, lambda work: store.submit(work).result()):
            with pytest.raises(GuardUnavailable, match=r"another process.*SQLITE_BUSY") as caught:
                use(lambda tx: insert(tx, "a"))
            assert CANARY not in str(caught.value)
        other.execute("ROLLBACK")
    store.transact(lambda tx: insert(tx, "a"))
    assert count(store) == 1


def test_full_disk_loses_the_whole_group_and_recovers(store: Store) -> None:
    pages = store.transact(lambda tx: tx.one("PRAGMA page_count"))
    assert pages is not None

    def limit(tx: Transaction) -> None:
        tx.all(f"PRAGMA max_page_count = {pages[0] + 2}")

    store.transact(limit)  # of the connection, which is dropped with the failure
    with pytest.raises(GuardUnavailable, match=r"disk space.*SQLITE_FULL") as caught:
        store.transact(lambda tx: insert(tx, "a", 100_000))
    assert CANARY not in str(caught.value)
    store.transact(lambda tx: insert(tx, "b", 100_000))
    assert count(store) == 1


def test_a_work_that_swallows_a_full_disk_is_not_taken_for_stored(store: Store) -> None:
    def swallow(tx: Transaction) -> str:
        insert(tx, "small")
        tx.all("PRAGMA max_page_count = 1")
        try:
            insert(tx, "big", 100_000)
        except GuardUnavailable:
            return "as if nothing had happened"
        return "fits"

    with pytest.raises(GuardUnavailable):
        store.transact(swallow)
    assert count(store) == 0


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mount"), reason="mounting a small disk needs root")
def test_a_really_full_disk(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "size=600k,mode=700", "none", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("mounting is not permitted here")
    try:
        store = Store(disk / "guard.db")
        outcomes = [store.submit(lambda tx, i=i: insert(tx, f"{i}", 20_000)) for i in range(100)]
        errors = [e for future in outcomes if (e := future.exception())]
        assert errors
        assert all(isinstance(e, GuardUnavailable) and "free" in e.message for e in errors)
        stored = len(outcomes) - len(errors)
        assert count(store) == stored
        subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
        store.transact(lambda tx: insert(tx, "room again", 20_000))
        assert count(store) == stored + 1
        store.close()
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_read_only_folder_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    folder = tmp_path / "data"
    folder.mkdir()
    Store(folder / "guard.db").close()
    folder.chmod(0o555)
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom llmguard.store import Store\nimport llmguard.errors\n"
        "if os.geteuid() == 0: os.setgid(65534); os.setuid(65534)\n"
        "try: Store(Path(sys.argv[1])).transact(lambda tx: tx.run('UPDATE clock SET last = 1'))\n"
        "except llmguard.errors.GuardUnavailable as e: print(e)"
    )
    environment = {**os.environ, "PYTHONPATH": os.getcwd(), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, folder / "guard.db"], capture_output=True, text=True, env=environment, check=False
    )
    if "ModuleNotFoundError" in done.stderr or "PermissionError" in done.stderr:
        pytest.skip("another user cannot read this checkout")
    assert "cannot be" in done.stdout, done.stderr


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "guard.db").write_bytes(CANARY.encode() * 500)
    with pytest.raises(GuardUnavailable, match=r"not a database.*SQLITE_NOTADB") as caught:
        Store(tmp_path / "guard.db")
    assert CANARY not in str(caught.value)


def test_a_damaged_file_refuses_until_it_is_restored(tmp_path: Path) -> None:
    path = tmp_path / "guard.db"
    store = Store(path)
    for i in range(50):
        store.transact(lambda tx, i=i: insert(tx, f"{i:02}", 3000))
    store.close()
    backup = path.read_bytes()
    path.write_bytes(backup[: len(backup) // 2] + b"\xff" * (len(backup) - len(backup) // 2))
    store = Store(path)
    with pytest.raises(GuardUnavailable, match="restore a backup"):
        store.transact(lambda tx: insert(tx, "a"))
    with pytest.raises(GuardUnavailable, match="restore a backup"):
        store.read(lambda tx: tx.all("SELECT * FROM outbox"))
    restored = tmp_path / "restored"
    restored.write_bytes(backup)
    restored.replace(path)
    store.transact(lambda tx: insert(tx, "a"))
    assert count(store) == 51
    store.close()


def test_a_database_that_is_taken_away_does_not_come_back_empty(tmp_path: Path) -> None:
    path = tmp_path / "guard.db"
    store = Store(path)
    store.transact(lambda tx: insert(tx, "a"))
    store.close()
    store = Store(path)
    store.read(lambda tx: tx.now)
    path.rename(tmp_path / "away")
    for _ in range(2):
        with pytest.raises(GuardUnavailable, match="SQLITE_CANTOPEN"):
            store.transact(lambda tx: insert(tx, "b"))
        with pytest.raises(GuardUnavailable, match="SQLITE_CANTOPEN"):
            count(store)
    assert not path.exists()
    (tmp_path / "away").rename(path)
    store.transact(lambda tx: insert(tx, "b"))
    assert count(store) == 2
    store.close()


def test_whatever_a_work_raises_the_writing_thread_goes_on(store: Store) -> None:
    def leave(_: Transaction) -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        store.submit(leave).result()
    store.submit(lambda tx: insert(tx, "a")).result()
    assert count(store) == 1


def test_a_clock_that_fails_refuses_the_work_and_no_more(tmp_path: Path) -> None:
    readings: list[int] = []
    store = Store(tmp_path / "guard.db", clock=readings.pop)
    with pytest.raises(GuardUnavailable, match="IndexError"):
        store.submit(lambda tx: insert(tx, "a")).result()
    readings.extend([5, 5])
    store.submit(lambda tx: insert(tx, "a")).result()
    assert count(store) == 1
    store.close()
