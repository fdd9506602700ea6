"""Several processes on one file, forks, and a process that is killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from llmguard.store import Store, Transaction

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.getcwd()}
WRITE = """
import sys
from pathlib import Path
from llmguard.store import Store
store = Store(Path(sys.argv[1]))
for i in range(int(sys.argv[3])):
    row = (f"{sys.argv[2]}-{i}",)
    sql = "INSERT INTO login_codes VALUES (?, 't', 'e', ?, '', 0, '', NULL, NULL, '', '')"
    store.transact(lambda tx: tx.run(sql, *row, tx.now))
    print(*row, flush=True)
"""


def insert(tx: Transaction, id_: str) -> None:
    tx.run("INSERT INTO login_codes VALUES (?, 't', 'e', ?, '', 0, '', NULL, NULL, '', '')", id_, tx.now)


def hashes(store: Store) -> list[str]:
    return store.read(lambda tx: [row["hash"] for row in tx.all("SELECT hash FROM login_codes ORDER BY hash")])


def start(path: Path, name: str, count: int) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", WRITE, str(path), name, str(count)]
    return subprocess.Popen(arguments, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)


def test_processes_that_start_at_once_on_a_new_file_all_write(tmp_path: Path) -> None:
    path = tmp_path / "guard.db"
    children = [start(path, f"p{n}", 40) for n in range(4)]
    for child in children:
        child.communicate()
        assert child.returncode == 0
    store = Store(path)
    assert len(hashes(store)) == 160
    store.close()


def test_a_killed_process_loses_nothing_that_it_was_told_is_stored(tmp_path: Path) -> None:
    path = tmp_path / "guard.db"
    child = start(path, "k", 10**9)
    assert child.stdout is not None
    told = [child.stdout.readline().strip() for _ in range(200)]
    child.send_signal(signal.SIGKILL)
    told += child.stdout.read().split()
    child.wait()
    child.stdout.close()
    store = Store(path)
    assert set(told) <= set(hashes(store))
    store.transact(lambda tx: insert(tx, "goes on"))
    store.close()


def _in_child(store: Store, name: str) -> None:
    store.transact(lambda tx: insert(tx, f"{name} waits"))
    store.submit(lambda tx: insert(tx, f"{name} queues")).result()
    store.read(lambda tx: tx.now)
    store.close()


def test_parent_and_forked_children_write_on(tmp_path: Path) -> None:
    store = Store(tmp_path / "guard.db")
    store.transact(lambda tx: insert(tx, "before"))
    store.submit(lambda tx: insert(tx, "before, queued")).result()
    stop = threading.Event()
    wrote: list[str] = []

    def busy() -> None:
        while not stop.is_set():
            wrote.append(f"busy {len(wrote)}")
            store.submit(lambda tx: insert(tx, wrote[-1])).result()
            store.read(lambda tx: tx.all("SELECT * FROM login_codes"))

    thread = threading.Thread(target=busy)
    thread.start()
    fork = multiprocessing.get_context("fork")
    children = [fork.Process(target=_in_child, args=(store, f"child {n}")) for n in range(4)]
    for child in children:
        child.start()
        store.transact(lambda tx: insert(tx, f"after {len(hashes(store))}"))
    for child in children:
        child.join(30)
        assert child.exitcode == 0
    stop.set()
    thread.join()
    found = hashes(store)
    store.close()
    assert set(wrote) <= set(found)
    assert sum(h.startswith("child") for h in found) == 8
    assert sum(h.startswith("after") for h in found) == 4


def test_no_connection_is_open_across_a_fork(tmp_path: Path) -> None:
    store = Store(tmp_path / "guard.db")
    store.transact(lambda tx: insert(tx, "a"))
    store.read(lambda tx: tx.now)
    child = os.fork()
    if child == 0:
        names = [os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]
        os._exit(any("guard.db" in name for name in names))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    store.close()


def test_second_store_of_a_process_leaves_the_first_its_locks(tmp_path: Path) -> None:
    """Without them, the next process to close the database takes its write-ahead log away under this one."""
    path = tmp_path / "guard.db"
    first = Store(path)
    first.transact(lambda tx: insert(tx, "here"))
    Store(path).close()
    command = [sys.executable, "-c", f"{WRITE}store.close()", str(path), "there", "1"]
    subprocess.run(command, check=True, env=ENVIRONMENT)
    assert path.with_name("guard.db-wal").exists()
    rows = first.read(lambda tx: tx.all("SELECT hash FROM login_codes ORDER BY hash"))
    assert [r["hash"] for r in rows] == ["here", "there-0"]
    first.close()
