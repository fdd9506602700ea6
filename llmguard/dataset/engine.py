"""Engine: cleans the blocks of a data set, here with a process for each core.

Owns the workers and how much is under way. Never reads or writes a file. Invariants: what is done comes in the order in
which the blocks came; never more than a few blocks a worker are held; a block whose worker died is done again by
another one, at most twice.
"""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Protocol

from llmguard.dataset import pipes
from llmguard.dataset.kinds import Form
from llmguard.dataset.task import Done, Numbered, Task
from llmguard.errors import ConfigError, DatasetError, LLMGuardError

AHEAD = 3
"""Blocks that are held for each worker: one that it does, one that waits, one that is done."""
HELD = 96 << 20
"""Bytes that are held at most, unless a single block is larger."""
AGAIN = 2
"""How often a block is given to another worker after one died over it."""
_PIPE = 1 << 20


class Engine(Protocol):
    """``run`` gives what is done of ``blocks``, in their order. Raises ConfigError, DatasetError."""

    def run(self, task: Task, blocks: Iterable[Numbered]) -> Iterator[Done]: ...


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class LocalEngine:
    """Processes of this machine. They are started as blocks wait for one, so a small file has a single one."""

    def __init__(self, workers: int = 0) -> None:
        self.workers = workers or cores()

    def run(self, task: Task, blocks: Iterable[Numbered]) -> Iterator[Done]:
        crew = _Crew(task, self.workers)
        source, under_way = iter(blocks), deque[Numbered]()
        held, more = 0, True
        try:
            while more or under_way:
                while more and (not under_way or (len(under_way) < AHEAD * self.workers and held < HELD)):
                    item = next(source, None)
                    if item is None:
                        more = False
                        break
                    under_way.append(item)
                    held += len(item.block.data)
                    crew.give(item)
                if under_way:
                    item = under_way.popleft()
                    held -= len(item.block.data)
                    yield crew.take(item.number)
        finally:
            crew.close()


class _Crew:
    """A thread a worker, which waits for it: pipes are written and read at once without a select loop."""

    def __init__(self, task: Task, workers: int) -> None:
        self._task, self._workers = task, workers
        self._todo: queue.SimpleQueue[Numbered | None] = queue.SimpleQueue()
        self._done: dict[int, Done | LLMGuardError] = {}
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._running: set[_Worker] = set()
        self._idle = 0
        self._closed = False

    def give(self, item: Numbered) -> None:
        with self._changed:
            self._idle -= 1
            needed = self._idle < 0 and len(self._threads) < self._workers
        self._todo.put(item)
        if needed:
            thread = threading.Thread(target=self._serve, name="llmguard-dataset", daemon=True)
            self._threads.append(thread)
            thread.start()

    def take(self, number: int) -> Done:
        """Waits for a block. Raises what its worker said, and DatasetError if its workers died."""
        with self._changed:
            self._changed.wait_for(lambda: number in self._done)
            done = self._done.pop(number)
        if isinstance(done, LLMGuardError):
            raise done
        return done

    def close(self) -> None:
        """Ends the workers, also in the middle of a block."""
        with self._changed:
            self._closed = True
            running = list(self._running)
        for worker in running:
            worker.kill()
        for _ in self._threads:
            self._todo.put(None)
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        worker: _Worker | None = None
        while True:
            with self._changed:
                self._idle += 1
            item = self._todo.get()
            if item is None:
                break
            worker, done = self._carry(worker, item)
            with self._changed:
                self._done[item.number] = done
                self._changed.notify_all()
        self._forget(worker)

    def _carry(self, worker: _Worker | None, item: Numbered) -> tuple[_Worker | None, Done | LLMGuardError]:
        """A block by ``worker``, or by another one in its place where it dies."""
        for _ in range(AGAIN + 1):
            try:
                worker = worker or self._started()
                return worker, worker.does(item)
            except _Dead:
                self._forget(worker)
                worker = None
                if self._closed:
                    break
            except LLMGuardError as e:
                return worker, e
            except OSError as e:
                return worker, DatasetError(f"no worker process can be started: {e.strerror or type(e).__name__}")
        return None, died(place(item, self._task.form))

    def _started(self) -> _Worker:
        worker = _Worker(self._task)
        with self._changed:
            self._running.add(worker)
            closed = self._closed
        if closed:
            worker.kill()
        return worker

    def _forget(self, worker: _Worker | None) -> None:
        if worker is not None:
            worker.end()
            with self._changed:
                self._running.discard(worker)


class _Dead(Exception):
    """The worker is gone."""


class _Worker:
    """One process. What it would print goes nowhere: nobody has looked at it."""

    def __init__(self, task: Task) -> None:
        self._form = task.form
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "llmguard.dataset.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            pipesize=_PIPE,
            env={**os.environ, "OMP_NUM_THREADS": "1"},  # a process a core: their threads would only take turns
        )
        with suppress(OSError):  # a worker that died at once is noticed when it is given a block
            pipes.send(self._stdin, task)

    @property
    def _stdin(self) -> int:
        assert self._process.stdin is not None  # noqa: S101  what PIPE gives
        return self._process.stdin.fileno()

    def does(self, item: Numbered) -> Done:
        """Raises _Dead, and what the worker says."""
        assert self._process.stdout is not None  # noqa: S101  as above
        block = item.block
        try:
            with suppress(BrokenPipeError):  # it may have said why before it ended
                pipes.send(self._stdin, (item.number, block.first, block.head), block.data)
            head, data = pipes.receive(self._process.stdout.fileno())
        except (EOFError, OSError, ValueError):
            raise _Dead from None
        if isinstance(head, Done):
            return _with(head, data)
        raise raised(head, place(item, self._form))

    def kill(self) -> None:
        """From any thread: whoever waits for its answer finds it dead."""
        self._process.kill()

    def end(self) -> None:
        """Kills and reaps it. For the thread that speaks with it."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None  # noqa: S101  what PIPE gives
            pipe.close()


def _with(done: Done, data: bytes) -> Done:
    # Its other fields came pickled; ``replace`` would do the same in five times the time.
    object.__setattr__(done, "data", data)
    return done


def place(item: Numbered, form: Form) -> str:
    """Where a block stands in its file, in words."""
    first, data = item.block.first, item.block.data
    if form in ("jsonl", "text"):
        return f"records {first + 1:,} to {first + max(1, data.count(10)):,}"
    return f"the {len(data):,} bytes from record {first + 1:,} on"


def died(where: str) -> DatasetError:
    return DatasetError(
        f"{AGAIN + 1} worker processes died over {where}. Is memory short? Nothing was published; the same command "
        "goes on where it stopped"
    )


def raised(told: tuple[str, str], where: str) -> LLMGuardError:
    """What a worker told, as an error here."""
    kind, message = told
    if kind == "config":
        return ConfigError(message)
    if kind == "ours":
        return DatasetError(f"{where}: {message}")
    return DatasetError(f"{where}: an unexpected error ({message}), of which nothing is shown; nothing was published")
