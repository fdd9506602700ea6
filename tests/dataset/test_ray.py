"""The engine of Ray, on a cluster of this machine: the bytes of the local one, whatever happens to its workers.

Ray is 490 MB and in no environment of ours by default: these tests are skipped where it is not, in CI too.
"""

from __future__ import annotations

import importlib.util
import os
import pickle
import random
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from llmguard.config import Settings
from llmguard.dataset import ray as ours
from llmguard.dataset.engine import LocalEngine
from llmguard.dataset.ray import RayEngine
from llmguard.dataset.task import Done, Numbered, Task
from llmguard.errors import ConfigError, DatasetError
from llmguard.sifting import Block, Recipe
from llmguard.testing import Fakes

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="pip install 'llmguard[ray]': 490 MB")
quiet = pytest.mark.filterwarnings("ignore")  # Ray leaves sockets and warns of its own plans


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory, compiled_detectors: Path) -> Task:
    settings = Settings(data=tmp_path_factory.mktemp("data"), names=False, cache=compiled_detectors)
    return Task(Recipe(settings), "jsonl")


def some(count: int) -> list[Numbered]:
    fakes, draw = Fakes(41), random.Random(41)
    made = []
    for number in range(count):
        lines = [f'{{"text": "{fakes.email()} paid {draw.random()} with {fakes.card()}"}}\n' for _ in range(20)]
        made.append(Numbered(number, Block(20 * number, "".join(lines).encode())))
    return made


def working() -> list[int]:
    """Processes that clean a block of Ray's at this moment."""
    found = []
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and Path("/proc", name, "cmdline").read_bytes().startswith(b"ray::_clean"):
                found.append(int(name))
        except OSError:
            continue
    return found


@pytest.fixture
def killer() -> Iterator[threading.Event]:
    """Kills every worker that cleans, for as long as it is set."""
    kills, ends = threading.Event(), threading.Event()

    def kill() -> None:
        while not ends.is_set():
            for process in working() if kills.is_set() else ():
                os.kill(process, signal.SIGKILL)
            time.sleep(0.05)  # between two looks

    thread = threading.Thread(target=kill)
    thread.start()
    yield kills
    ends.set()
    thread.join()


def said(done: Iterator[Done]) -> list[tuple[int, int, bytes, bytes]]:
    return [(d.number, d.records, d.data, d.drawn) for d in done]


@quiet
@needs_ray
def test_ray_gives_the_bytes_of_the_local_engine_also_when_workers_die(task: Task, killer: threading.Event) -> None:
    items = some(24)
    wanted = said(LocalEngine(1).run(task, items))
    assert said(RayEngine(2).run(task, items)) == wanted
    running = RayEngine(2).run(task, items)
    got = [next(running)]
    while not (busy := working()):
        time.sleep(0.01)  # between two looks
    os.kill(busy[0], signal.SIGKILL)
    got += running
    assert said(iter(got)) == wanted


@quiet
@needs_ray
def test_block_over_which_workers_die_again_and_again_ends_the_run(task: Task, killer: threading.Event) -> None:
    slow = replace(task, recipe=replace(task.recipe, names_budget=1))  # opens its detectors first
    killer.set()
    with pytest.raises(DatasetError, match=r"3 workers died .* begins with record 1\b"):
        list(RayEngine(1).run(slow, some(1)))


@quiet
@needs_ray
def test_what_is_wrong_on_a_worker_is_told_as_it_is_here(task: Task, tmp_path: Path) -> None:
    missing = replace(task.recipe.settings, detectors=(tmp_path / "gone.toml",))
    with pytest.raises(ConfigError, match=r"gone\.toml"):
        list(RayEngine(1).run(replace(task, recipe=replace(task.recipe, settings=missing)), some(1)))


def test_error_of_a_worker_holds_no_content() -> None:
    assert ours._clean((b"secret", b""), 0, 0, (b"", b"")) == ("other", "UnpicklingError")


def test_machine_with_other_keys_cleans_nothing(task: Task, tmp_path: Path) -> None:
    elsewhere = replace(task, recipe=replace(task.recipe, settings=replace(task.recipe.settings, data=tmp_path)))
    kind, message = ours._clean((pickle.dumps(elsewhere), ours._proof(task)), 0, 0, (b"", b'{"a": "b"}'))
    assert kind == "config"
    assert "has not the keys" in message
    assert not (tmp_path / "keys").exists(), "and makes none"


def test_engine_says_what_to_install(task: Task) -> None:
    if importlib.util.find_spec("ray") is not None:
        pytest.skip("it is installed")
    with pytest.raises(ConfigError, match=r"llmguard\[ray\]"):
        next(RayEngine().run(task, some(1)))
