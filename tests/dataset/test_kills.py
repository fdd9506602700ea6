"""Runs in processes of their own that are killed, or find the disk full: the same command goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from llmguard.config import load
from llmguard.dataset.job import Job
from llmguard.dataset.run import sanitize

MAIL = "jane.doe@mail-of-many.net"
LINES = "".join(json.dumps({"prompt": f"{i}: mail {MAIL}" if i % 3 else f"{i}: hello"}) + "\n" for i in range(4000))
CHILD = """
import resource, sys
from pathlib import Path
from llmguard.config import load
from llmguard.dataset import run
from llmguard.dataset.engine import LocalEngine
from llmguard.dataset.job import Job
from llmguard.errors import LLMGuardError
run.EVERY = 0.0
source, output, room, workers = sys.argv[1:]
if int(room):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(room), resource.RLIM_INFINITY))
try:
    job = Job(load(), Path(source), Path(output), names=False, size=2000)
    summary = run.sanitize(job, LocalEngine(int(workers)), print)
except LLMGuardError as e:
    sys.exit(e.message)
print("resumed", summary.resumed)
"""


@pytest.fixture(autouse=True)
def own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMGUARD_DATA", str(tmp_path / "data"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    path.write_text(LINES)
    return path


def start(source: Path, output: Path, room: int = 0, workers: int = 1) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", CHILD, str(source), str(output), str(room), str(workers)]
    return subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def ended(child: subprocess.Popen[str]) -> str:
    said, errors = child.communicate(timeout=100)
    assert child.returncode == 0, errors
    return said


def under_way(output: Path, child: subprocess.Popen[str]) -> None:
    """Until something is committed."""
    while not output.with_name(f".{output.name}.sanitizing").joinpath("state").exists():
        assert child.poll() is None
        time.sleep(0.005)  # between two looks


def workers(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that ends meanwhile has none
            found += map(int, (task / "children").read_text().split())
    return found


@pytest.fixture
def whole(tmp_path: Path, source: Path, here: Any) -> bytes:
    """What an undisturbed run gives."""
    output = tmp_path / "whole.jsonl"
    sanitize(Job(load(), source, output, names=False, size=2000), here, lambda _: None)
    return output.read_bytes()


def test_killed_runs_go_on_and_killed_workers_are_replaced(tmp_path: Path, source: Path, whole: bytes) -> None:
    assert MAIL.encode() not in whole
    output = tmp_path / "out.jsonl"
    for kill in (os.killpg, os.kill):
        child = start(source, output)
        under_way(output, child)
        kill(child.pid, signal.SIGKILL)
        child.communicate()
        assert not output.exists()
    child = start(source, output, workers=2)
    under_way(output, child)
    for worker in workers(child.pid)[:1]:
        os.kill(worker, signal.SIGKILL)
    said = ended(child)
    assert "anew" not in said
    assert int(said.split()[-1]) > 0
    assert output.read_bytes() == whole
    assert not list(tmp_path.glob(".*"))


def test_a_full_disk_is_told_and_the_same_command_goes_on(tmp_path: Path, source: Path, whole: bytes) -> None:
    output = tmp_path / "out.jsonl"
    child = start(source, output, len(whole) // 2)
    _, errors = child.communicate(timeout=100)
    assert child.returncode == 1
    assert "no room is left" in errors
    assert "goes on where it stopped" in errors
    assert not output.exists()
    assert int(ended(start(source, output)).split()[-1]) > 0
    assert output.read_bytes() == whole
