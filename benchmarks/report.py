"""What every figure comes with: machine, load, commit, versions. And the table that shows figures."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter
from typing import Any

from rich.console import Console
from rich.table import Table

Row = Mapping[str, Any]
Tables = Mapping[str, Sequence[Row]]
"""Rows by the table's title."""


def about(packages: Sequence[str]) -> dict[str, Any]:
    """Machine, commit and versions of ``packages``."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "load": [round(x, 2) for x in os.getloadavg()],
        "system": platform.platform(),
        "python": platform.python_version(),
        "commit": _commit(),
        "versions": {p: _version(p) for p in packages},
    }


def timed(work: Callable[[], object], seconds: float, least: int = 7) -> dict[str, float]:
    """Median and quartiles of one call in microseconds, warmed up, over ``seconds`` and at least ``least`` calls."""
    work()
    taken: list[float] = []
    end = perf_counter() + seconds
    while len(taken) < least or perf_counter() < end:
        start = perf_counter()
        work()
        taken.append((perf_counter() - start) * 1e6)
    low, _, high = quantiles(taken, n=4)
    return {"p50_us": median(taken), "q1_us": low, "q3_us": high, "calls": len(taken)}


def percentile(values: Sequence[float], share: float) -> float:
    """The value that ``share`` of ``values`` do not exceed (nearest rank)."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))]


def say(text: str) -> None:
    Console().print(text, highlight=False)


def show(facts: Mapping[str, Any], rows: Sequence[Row] | Tables) -> None:
    """Prints the facts, then the rows; every row of a table has the same keys."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=150)  # or a pipe cuts the table at 80
    for name, value in facts.items():
        text = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)
        console.print(f"{name}: {text}", highlight=False)
    tables = rows if isinstance(rows, Mapping) else {"": rows}
    for title, body in tables.items():
        table = Table(title=title or None, title_justify="left")
        for name in body[0]:
            table.add_column(name, justify="left" if isinstance(body[0][name], str) else "right")
        for row in body:
            table.add_row(*(_cell(v) for v in row.values()))
        console.print(table)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.1f}" if value >= 10 else f"{value:.3f}"
    return str(value)


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parent)  # noqa: S603
    return done.stdout.strip() or "none"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
