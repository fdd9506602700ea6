"""Data sets of a few records, and an engine in the test's own process with one scanner for all tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from llmguard import catalogue
from llmguard.config import Settings
from llmguard.dataset.job import Job
from llmguard.dataset.run import Summary, sanitize
from llmguard.dataset.task import Done, Numbered, Task
from llmguard.detection import Engine, Scanner


class Here:
    """An engine without processes: what is tested with it has nothing to do with them."""

    def __init__(self, scanner: Scanner) -> None:
        self.scanner = scanner
        self.tasks: list[Task] = []
        self.between: Callable[[int], object] = lambda _: None
        """Called before each block with its number."""

    def run(self, task: Task, blocks: Iterable[Numbered]) -> Iterator[Done]:
        self.tasks.append(task)
        work = task.opened(self.scanner)
        for item in blocks:
            self.between(item.number)
            yield work(item)


@pytest.fixture(scope="session")
def scanner(compiled_detectors: Path) -> Scanner:
    return Scanner(Engine(catalogue.load(), cache=compiled_detectors / "llmguard"))


@pytest.fixture
def here(scanner: Scanner) -> Here:
    return Here(scanner)


@pytest.fixture
def job(tmp_path: Path, compiled_detectors: Path) -> Callable[..., Job]:
    """A job on a file of this content."""
    settings = Settings(data=tmp_path / "data", cache=compiled_detectors / "llmguard")

    def made(content: bytes | str, name: str = "in.jsonl", output: str = "", **options: Any) -> Job:
        source = tmp_path / name
        source.write_bytes(content.encode() if isinstance(content, str) else content)
        return Job(settings, source, tmp_path / (output or f"out-{name}"), **{"names": False, **options})

    return made


@pytest.fixture
def cleaned(job: Callable[..., Job], here: Here) -> Callable[..., tuple[bytes, Summary]]:
    """The output of a data set of this content, and its summary."""

    def made(*arguments: Any, **options: Any) -> tuple[bytes, Summary]:
        one = job(*arguments, **options)
        summary = sanitize(one, here, lambda _: None)
        return one.output.read_bytes(), summary

    return made
