"""Runs: the real command in processes of its own, its time, and the memory of all of them while it works."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

EVERY = 0.2
"""Seconds between two looks at the memory."""


@dataclass(frozen=True, slots=True)
class Ran:
    """Seconds of one run, those of processors in all its processes, and (seconds, bytes) of memory: what no other
    process shares, and its part of what is shared (PSS).
    """

    seconds: float
    busy: float
    memory: tuple[tuple[float, int], ...]
    said: str

    @property
    def most(self) -> int:
        return max((size for _, size in self.memory), default=0)

    def between(self, start: float, end: float) -> int:
        """The most memory in a part of the run, in shares of its time."""
        last = self.memory[-1][0] if self.memory else 0.0
        return max((size for at, size in self.memory if start * last <= at <= end * last), default=0)


def sanitize(source: Path, output: Path, data: Path, workers: int, *, names: bool) -> Ran:
    """``llmguard sanitize``. Raises RuntimeError if it fails."""
    command = [sys.executable, "-m", "llmguard.cli", "sanitize", str(source), "-o", str(output), "--overwrite"]
    command += ["--workers", str(workers), "--names" if names else "--no-names"]
    environment = {**os.environ, "LLMGUARD_DATA": str(data)}
    start, busy, memory = time.monotonic(), _busy(), []
    with subprocess.Popen(  # noqa: S603
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(EVERY)
                break
            memory.append((time.monotonic() - start, used(process.pid)))
        seconds = time.monotonic() - start
        said = process.stdout.read() if process.stdout else ""
    if process.returncode:
        raise RuntimeError(f"llmguard sanitize ended with {process.returncode}: {said[-500:]}")
    return Ran(seconds, _busy() - busy, tuple(memory), said)


def _busy() -> float:
    """Seconds of processors in processes that have ended."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def used(root: int) -> int:
    """Bytes of memory of a process and of all that it started (PSS)."""
    return sum(map(_used, _with_children(root)))


def _used(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has ended
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:")), 0)


def _with_children(root: int) -> Iterator[int]:
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    family = {root}
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    yield from family


def write(chunks: Iterator[bytes], path: Path) -> float:
    """Writes a file. Returns seconds."""
    start = time.monotonic()
    with path.open("wb") as file:
        for chunk in chunks:
            file.write(chunk)
    return time.monotonic() - start


def thinned(points: Sequence[tuple[float, int]], most: int = 240) -> list[tuple[float, float]]:
    """At most so many points, the highest of each stretch, as (seconds, MB)."""
    step = max(1, -(-len(points) // most))
    pieces = [points[i : i + step] for i in range(0, len(points), step)]
    return [(piece[0][0], max(size for _, size in piece) / 1e6) for piece in pieces]
