"""The store as its callers see it: units of work, time, isolation, closing."""

from __future__ import annotations

import gc
import os
import sqlite3
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmguard.errors import ConfigError, GuardUnavailable
from llmguard.store import Store, Transaction, schema


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "data" / "guard.db")
    yield store
    store.close()


def insert(tx: Transaction, id_: str) -> str:
    tx.run("INSERT INTO outbox (id, tenant, kind, body, created) VALUES (?, 'default', 'k', 'b', ?)", id_, tx.now)
    return id_


def ids(store: Store) -> list[str]:
    return store.read(lambda tx: [row["id"] for row in tx.all("SELECT id FROM outbox ORDER BY id")])


def test_a_work_is_stored_once_its_future_resolves(store: Store) -> None:
    assert store.submit(lambda tx: insert(tx, "a")).result() == "a"
    assert store.transact(lambda tx: insert(tx, "b"), durable=True) == "b"
    assert ids(store) == ["a", "b"]


def test_an_error_rolls_back_its_own_work_alone(store: Store) -> None:
    def fails(tx: Transaction) -> None:
        insert(tx, "lost")
        raise LookupError("of the work")

    futures = [store.submit(lambda tx, i=i: insert(tx, f"k{i}")) for i in range(3)]
    bad = store.submit(fails)
    futures += [store.submit(lambda tx, i=i: insert(tx, f"k{i}")) for i in range(3, 6)]
    with pytest.raises(LookupError, match="of the work"):
        bad.result()
    with pytest.raises(LookupError, match="of the work"):
        store.transact(fails)
    assert [f.result() for f in futures] == ids(store) == [f"k{i}" for i in range(6)]


def test_a_work_may_expect_an_integrity_error_and_go_on(store: Store) -> None:
    def twice(tx: Transaction) -> str:
        insert(tx, "a")
        with pytest.raises(sqlite3.IntegrityError):
            insert(tx, "a")
        return insert(tx, "b")

    store.transact(twice)
    assert ids(store) == ["a", "b"]


def test_returning_and_many_and_rowcount(store: Store) -> None:
    def work(tx: Transaction) -> tuple[int, list[str], object]:
        tx.many("INSERT INTO outbox (id, tenant, kind, body, created) VALUES (?, 't', 'k', 'b', 1)", [("a",), ("b",)])
        rows = tx.all("UPDATE outbox SET sent = 1 WHERE id = 'a' RETURNING id")
        return tx.run("DELETE FROM outbox"), [r["id"] for r in rows], tx.one("SELECT * FROM outbox")

    assert store.transact(work) == (2, ["a"], None)


def test_many_threads_share_commits_and_lose_nothing(store: Store) -> None:
    def burst(n: int) -> None:
        for i in range(25):
            (store.transact if i % 2 else lambda w: store.submit(w).result())(lambda tx, i=i: insert(tx, f"{n}-{i}"))

    threads = [threading.Thread(target=burst, args=(n,)) for n in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(ids(store)) == 200


@settings(max_examples=40, deadline=None)
@given(readings=st.lists(st.integers(min_value=0, max_value=2**41), min_size=1, max_size=20))
def test_time_never_goes_back(tmp_path_factory: pytest.TempPathFactory, readings: list[int]) -> None:
    wall = iter(readings)
    store = Store(tmp_path_factory.mktemp("clock") / "guard.db", clock=lambda: next(wall))
    times = [store.transact(lambda tx: tx.now) for _ in readings]
    store.close()
    assert times == [max(readings[: i + 1]) for i in range(len(readings))]


def test_a_clock_that_was_set_back_does_not_turn_time_back_after_a_restart(tmp_path: Path) -> None:
    for clock in (5000, 1000):
        store = Store(tmp_path / "guard.db", clock=lambda clock=clock: clock)
        assert store.transact(lambda tx: tx.now) == 5000
        assert store.read(lambda tx: tx.now) == 5000
        store.close()


def test_a_transaction_is_of_no_use_after_its_work(store: Store) -> None:
    kept = store.transact(lambda tx: tx)
    with pytest.raises(sqlite3.ProgrammingError, match="over"):
        kept.all("SELECT 1")


def test_a_work_cannot_commit_by_itself_and_go_on(store: Store) -> None:
    def sly(tx: Transaction) -> None:
        tx.run("COMMIT")
        insert(tx, "alone")

    with pytest.raises(sqlite3.ProgrammingError, match="over"):
        store.transact(sly)
    assert ids(store) == []


@pytest.mark.parametrize("inner", ["transact", "from_the_thread"])
def test_a_work_that_waits_for_another_work_is_told_so(store: Store, inner: str) -> None:
    def nested(_: Transaction) -> object:
        return store.transact(lambda tx: tx.now)

    with pytest.raises(RuntimeError, match="cannot wait"):
        _ = store.transact(nested) if inner == "transact" else store.submit(nested).result()


class TestReading:
    def test_reading_cannot_write(self, store: Store) -> None:
        with pytest.raises(sqlite3.ProgrammingError, match="use transact"):
            store.read(lambda tx: insert(tx, "a"))
        with pytest.raises(GuardUnavailable, match="SQLITE_READONLY"):
            store.read(lambda tx: tx.all("UPDATE clock SET last = 1 RETURNING last"))

    def test_a_snapshot_stays_the_same_while_others_write(self, store: Store) -> None:
        def work(tx: Transaction) -> tuple[object, object]:
            before = tx.all("SELECT id FROM outbox")
            store.submit(lambda t: insert(t, "a")).result()
            store.transact(lambda t: insert(t, "b"))
            return before, tx.all("SELECT id FROM outbox")

        assert store.read(work) == ([], [])
        assert ids(store) == ["a", "b"]

    def test_reading_does_not_wait_for_a_writer(self, store: Store) -> None:
        go = threading.Event()
        future = store.submit(lambda tx: (insert(tx, "a"), go.wait(10)))
        assert ids(store) == []
        go.set()
        future.result()
        assert ids(store) == ["a"]

    def test_an_error_of_the_reader_leaves_the_store_usable(self, store: Store) -> None:
        with pytest.raises(KeyError):
            store.read(lambda tx: {}["x"])
        assert ids(store) == []


class TestClosing:
    def test_close_finishes_what_is_queued(self, tmp_path: Path) -> None:
        store = Store(tmp_path / "guard.db")
        futures = [store.submit(lambda tx, i=i: insert(tx, f"{i:03}")) for i in range(600)]
        store.close()
        assert [f.result(0) for f in futures] == [f"{i:03}" for i in range(600)]

    def test_a_closed_store_refuses(self, tmp_path: Path) -> None:
        store = Store(tmp_path / "guard.db")
        store.close()
        store.close()
        for use in (store.transact, store.read, lambda work: store.submit(work).result()):
            with pytest.raises(GuardUnavailable, match="closed"):
                use(lambda tx: tx.now)

    def test_a_forgotten_store_ends_its_thread(self, tmp_path: Path) -> None:
        before = threading.active_count()
        store = Store(tmp_path / "guard.db")
        store.submit(lambda tx: tx.now).result()
        gone = weakref.ref(store)
        del store
        gc.collect()
        assert gone() is None
        assert threading.active_count() == before

    def test_a_process_that_ends_without_closing_keeps_what_it_queued(self, tmp_path: Path) -> None:
        path = tmp_path / "guard.db"
        code = (
            "import sys; from pathlib import Path; from llmguard.store import Store; s = Store(Path(sys.argv[1]))\n"
            "sql = \"INSERT INTO login_codes VALUES (?, 't', 'e', 1, '', 0, '', NULL, NULL, '', '')\"\n"
            "for i in range(50): s.submit(lambda tx, i=i: tx.run(sql, i))"
        )
        subprocess.run([sys.executable, "-c", code, path], check=True, env={**os.environ, "PYTHONPATH": os.getcwd()})
        store = Store(path)
        count = store.read(lambda tx: tx.one("SELECT count(*) FROM login_codes"))
        store.close()
        assert count is not None
        assert count[0] == 50


class TestOpening:
    def test_a_database_that_is_up_to_date_opens_without_sqlite_utils(self, tmp_path: Path) -> None:
        path = tmp_path / "guard.db"
        Store(path).close()
        code = (
            "import sys; from pathlib import Path; from llmguard.store import Store; Store(Path(sys.argv[1])).close()\n"
            "sys.exit('sqlite_utils' in sys.modules)"
        )
        subprocess.run([sys.executable, "-c", code, path], check=True, env={**os.environ, "PYTHONPATH": os.getcwd()})

    def test_a_newer_database_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "guard.db"
        Store(path).close()
        with sqlite3.connect(path) as connection:
            connection.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
        connection.close()
        with pytest.raises(ConfigError, match="newer llmguard"):
            Store(path)

    def test_every_table_of_the_schema_is_there(self, store: Store) -> None:
        names = store.read(
            lambda tx: {r["name"] for r in tx.all("SELECT name FROM sqlite_master WHERE type = 'table'")}
        )
        assert {"clock", "audit_entries", "approvals", "outbox", "_sqlite_migrations"} <= names

    @pytest.mark.parametrize("umask", [0o000, 0o077, 0o177])
    def test_folder_and_files_are_private_whatever_the_umask(self, tmp_path: Path, umask: int) -> None:
        if umask & 0o100 and os.geteuid() != 0:
            pytest.skip("this umask takes the right to enter one's own new folder")
        old = os.umask(umask)
        try:
            store = Store(tmp_path / "data" / "guard.db")
            store.transact(lambda tx: insert(tx, "a"))
        finally:
            os.umask(old)
        assert (tmp_path / "data").stat().st_mode & 0o077 == 0
        modes = {p.name: p.stat().st_mode & 0o777 for p in (tmp_path / "data").iterdir()}
        store.close()
        assert modes == {"guard.db": 0o600, "guard.db-wal": 0o600, "guard.db-shm": 0o600}

    def test_a_file_that_others_could_read_becomes_private(self, tmp_path: Path) -> None:
        path = tmp_path / "guard.db"
        path.touch()
        path.chmod(0o644)
        Store(path).close()
        assert path.stat().st_mode & 0o777 == 0o600

    def test_a_folder_in_which_others_can_replace_files_is_refused(self, tmp_path: Path) -> None:
        folder = tmp_path / "open"
        folder.mkdir()
        folder.chmod(0o777)
        with pytest.raises(ConfigError, match="chmod 700"):
            Store(folder / "guard.db")

    def test_a_link_is_not_followed(self, tmp_path: Path) -> None:
        (tmp_path / "elsewhere").touch()
        (tmp_path / "guard.db").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(GuardUnavailable, match="cannot be created or opened"):
            Store(tmp_path / "guard.db")
