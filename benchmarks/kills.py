"""Data sets cleaned by processes that are killed at random moments: the output is that of an undisturbed run.

Each round takes a form (JSONL, CSV, Parquet; plain, gzip, zstd), kills the run once to four times (the whole process
group, the main process alone, or a worker), and lets the same job go on. Two values of the file are surrogates that
others of it would get, so that every run has a second pass. Checked each time: nothing stands at the output before the
end, the bytes at the end, what is left beside it, and that the log has the file.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.report import Row
from llmguard.config import DATABASE, Settings
from llmguard.dataset.engine import LocalEngine
from llmguard.dataset.job import Job
from llmguard.dataset.run import sanitize
from llmguard.store import Store

PACKAGES = ("llmguard", "hyperscan", "pyarrow")
RECORDS = 1_500
BLOCK = 8 << 10
"""Bytes of a block: small, for a file to have many."""
WORDS = ("the", "order", "was", "sent", "to", "another", "city", "please", "tell", "when", "it", "will", "be", "there")
CHILD = """
import sys
from dataclasses import replace
from pathlib import Path
from llmguard.config import load
from llmguard.dataset import run
from llmguard.dataset.engine import LocalEngine
from llmguard.dataset.job import Job
run.EVERY = 0.05
source, output, block = sys.argv[1:]
job = Job(load(), Path(source), Path(output), names=False, size=int(block), census=True)
run.sanitize(job, LocalEngine(2), print)
"""
"""A run that commits much more often than others, so that kills come between its steps."""


@dataclass(slots=True)
class Case:
    """``seconds`` of a run, lately: other work on the machine changes it."""

    name: str
    source: Path
    output: str
    whole: bytes
    seconds: float


class Violated(RuntimeError):
    """Something that must not be was seen; ``rows`` is what was measured."""

    def __init__(self, message: str, rows: Sequence[Row]) -> None:
        super().__init__(message)
        self.rows = rows


def run(options: Namespace) -> list[Row]:
    """A row for each form. Raises Violated."""
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["LLMGUARD_DATA"] = str(folder / "data")
        cases = _cases(folder)
        tallies = {case.name: Counter[str]() for case in cases}
        wrong: list[str] = []
        kills = rounds = 0
        while kills < options.kills:
            case = cases[rounds % len(cases)]
            tally = tallies[case.name]
            wrong += _round(case, folder / f"round-{rounds}", chance, tally)
            kills = sum(t[how] for t in tallies.values() for how in ("group", "main", "worker"))
            rounds += 1
        rows = [_row(case, tallies[case.name]) for case in cases]
        wrong += _log(folder, rounds + len(cases))
        if wrong:
            raise Violated("; ".join(wrong), rows)
        return rows


def _row(case: Case, tally: Counter[str]) -> Row:
    columns = ("rounds", "group", "main", "worker", "too early or late", "went on", "violations")
    return {"form": case.name, "seconds, lately": round(case.seconds, 2), **{name: tally[name] for name in columns}}


def _round(case: Case, folder: Path, chance: random.Random, tally: Counter[str]) -> list[str]:
    """Kills a run once or more, lets it end, and says what is wrong then."""
    folder.mkdir()
    output, wrong = folder / case.output, []
    tally["rounds"] += 1
    for _ in range(chance.randint(1, 4)):
        if output.exists():
            break
        if said := _disturbed(case, output, chance, tally):
            wrong.append(f"{case.name}: a run whose worker was killed failed: {said}")
    if not output.exists() or any(folder.glob(".*")):  # also after a kill between the output's name and the end
        tally["went on"] += any(folder.rglob("state"))
        child = _start(case, output)
        said, errors = child.communicate(timeout=120)
        if child.returncode or b"anew" in said:
            wrong.append(f"{case.name}: the last run: {(said + errors).decode()[-300:]}")
    if not output.exists() or output.read_bytes() != case.whole:
        wrong.append(f"{case.name}: the output is not that of an undisturbed run")
    if left := [p.name for p in folder.iterdir() if p.name != case.output]:
        wrong.append(f"{case.name}: left behind: {left}")
    tally["violations"] += len(wrong)
    return wrong


def _disturbed(case: Case, output: Path, chance: random.Random, tally: Counter[str]) -> str:
    """What a run said that failed although nothing but a worker was killed."""
    how, began = chance.choice(("group", "main", "worker")), time.monotonic()
    child = _start(case, output)
    _wait(child, chance.uniform(0, 1.1) * case.seconds)
    if child.poll() is not None:
        killed = False
        case.seconds = max(0.5, time.monotonic() - began)
    elif how == "worker":
        killed = _kill_worker(child, chance)
    else:
        killed = True
        (os.killpg if how == "group" else os.kill)(child.pid, signal.SIGKILL)
    tally[how if killed else "too early or late"] += 1
    _, said = child.communicate(timeout=120)
    return said.decode()[-300:] if child.returncode > 0 else ""


def _wait(child: subprocess.Popen[bytes], seconds: float) -> None:
    with suppress(subprocess.TimeoutExpired):
        child.wait(seconds)


def _start(case: Case, output: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603  ourselves
        [sys.executable, "-c", CHILD, str(case.source), str(output), str(BLOCK)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def _kill_worker(child: subprocess.Popen[bytes], chance: random.Random) -> bool:
    """One of its children."""
    with suppress(OSError):
        workers = Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()
        others = [w for t in Path(f"/proc/{child.pid}/task").iterdir() for w in (t / "children").read_text().split()]
        if every := sorted({*workers, *others}):
            os.kill(int(chance.choice(every)), signal.SIGKILL)
            return True
    return False


def _log(folder: Path, least: int) -> list[str]:
    """Every output is in the log; one that was killed right behind its entry may be there twice."""
    store = Store(folder / "data" / DATABASE)
    try:
        found = store.read(
            lambda tx: tx.one("SELECT count(*) AS n FROM audit_entries WHERE kind = 'dataset.sanitized'")
        )
    finally:
        store.close()
    return [] if found["n"] >= least else [f"the log has {found['n']} entries of at least {least} data sets"]


# --------------------------------------------------------------------------- files


def _cases(folder: Path) -> list[Case]:
    texts = _texts(folder)
    lines = [json.dumps({"prompt": text, "completion": "thank you"}) for text in texts]
    plain = "\n".join(lines).encode()
    (folder / "in.jsonl").write_bytes(plain)
    (folder / "in.jsonl.gz").write_bytes(gzip.compress(plain))
    (folder / "in.txt").write_text("\n".join(texts))
    with (folder / "in.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("id", "text"), *enumerate(texts)])
    import pyarrow as pa
    import pyarrow.parquet as parquet

    parquet.write_table(pa.table({"id": range(len(texts)), "text": texts}), folder / "in.parquet", row_group_size=50)
    outputs = {
        "in.jsonl": "out.jsonl",
        "in.jsonl.gz": "out.jsonl.zst",
        "in.csv": "out.csv.gz",
        "in.txt": "out.txt",
        "in.parquet": "out.parquet",
    }
    return [_case(folder, source, output) for source, output in outputs.items()]


def _case(folder: Path, source: str, output: str) -> Case:
    """With what an undisturbed run gives, in the same processes as the others."""
    case, made = Case(source, folder / source, output, b"", 0.0), folder / output
    began = time.monotonic()
    child = _start(case, made)
    _, said = child.communicate(timeout=300)
    if child.returncode:
        raise RuntimeError(f"{source}: {said.decode()[-500:]}")
    return Case(source, folder / source, output, made.read_bytes(), time.monotonic() - began)


def _texts(folder: Path) -> list[str]:
    """Values of which two are surrogates that others would get."""
    chance = random.Random(5)
    values = [f"{chance.choice(WORDS)}.{chance.choice(WORDS)}{n}@mail-of-many.net" for n in range(200)]
    (folder / "first.txt").write_text("\n".join(values[:2]))
    settings = Settings(data=folder / "data")
    first = Job(settings, folder / "first.txt", folder / "first.out", names=False)
    sanitize(first, LocalEngine(1), print)
    values += (folder / "first.out").read_text().split()
    words = (" ".join(chance.choices(WORDS, k=chance.randint(10, 60))) for _ in range(RECORDS))
    return [f"{some} {chance.choice(values)}" if chance.random() < 0.3 else some for some in words] + values
