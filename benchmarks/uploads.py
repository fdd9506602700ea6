"""Uploads: files through ``llmguard serve`` with the real openai client: rate, memory, and what others feel meanwhile.

Three processes on loopback: a provider that counts what arrives and keeps none of it, the guard, and this one. A file
is made while it is sent: nothing here holds it. Memory is the guard's resident set, looked at ten times a second; what
others feel is the time of small calls that are made one after the other while the file is on its way.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import tempfile
import threading
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from time import perf_counter, sleep
from typing import Any

import openai

from benchmarks.plot import lines
from benchmarks.proxy import _key
from benchmarks.report import Row, percentile
from benchmarks.site import free_port, start, wait_until_ready
from llmguard.testing import Fakes

PACKAGES = ("llmguard", "openai", "uvicorn", "aiohttp", "multipart", "hyperscan")
SIZES = (30, 300)
"""Megabytes, unless ``--files`` says otherwise."""
PARTS_ABOVE = 512
"""Megabytes from which on a file is sent as an upload in parts: what OpenAI takes at once ends there."""
POLICY = """
[[rules]]
name = "everything-passes"
when = "true"
verdict = "redact"
reason = "what is measured is the way through, not the wait for people"
"""
PART = 32_000_000
"""Bytes of a part, about."""
EVERY = 50
"""Lines of which one has values in it."""


def run(options: Namespace) -> list[Row]:
    """One row for each size."""
    sizes = tuple(options.files or SIZES)
    with tempfile.TemporaryDirectory() as folder, _site(Path(folder)) as (url, key, pid):
        client = openai.OpenAI(base_url=url, api_key=key, max_retries=0, timeout=3600)
        _ask(client)
        alone = [_ask(client) for _ in range(200)]
        series: dict[str, list[tuple[float, float]]] = {}
        rows = []
        for size in sizes:
            row, memory = _sent(client, size, pid, Path(folder))
            series[f"{size} MB"] = memory[:: max(1, len(memory) // 150)]
            rows.append({**row, "small call alone p50 ms": median(alone)})
    if options.plot:
        plot = lines("Memory of the guard while a file passes", series, "seconds", "resident MB", logarithmic=False)
        (options.plot / "uploads-memory.svg").write_text(plot)
    return rows


@contextlib.contextmanager
def _site(folder: Path) -> Iterator[tuple[str, str, int]]:
    upstream, port = free_port(), free_port()
    base = f"http://127.0.0.1:{upstream}"
    environment = {"LLMGUARD_DATA": str(folder / "data"), "LLMGUARD_NAMES": "false", "LLMGUARD_UPSTREAM_KEY": "none"}
    policy = folder / "policy.toml"
    policy.write_text(POLICY)
    environment |= {"LLMGUARD_UPSTREAM": base, "LLMGUARD_POLICY": str(policy)}
    started = [start("benchmarks.servers", "files", str(upstream))]
    try:
        key = _key(environment)
        ports = ("--port", str(port), "--control-port", str(free_port()))
        started.append(start("llmguard.cli", "serve", *ports, environment=environment))
        for process, url in zip(started, (base, f"http://127.0.0.1:{port}"), strict=True):
            wait_until_ready("a server", url, process)
        yield f"http://127.0.0.1:{port}/v1", key, started[1].pid
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(20)


# --------------------------------------------------------------------------- one file


def _sent(client: openai.OpenAI, size: int, pid: int, folder: Path) -> tuple[Row, list[tuple[float, float]]]:
    file = Made(size * 1_000_000)
    watch, others = _Watch(pid, folder / "data" / "spool"), _Others(client)
    begun = perf_counter()
    with watch, others:
        if size > PARTS_ABOVE:
            arrived = _in_parts(client, file)
        else:
            arrived = client.files.create(file=("chats.jsonl", file), purpose="user_data").bytes
    taken = perf_counter() - begun
    sleep(1)
    left = sum(p.stat().st_size for p in (folder / "data" / "spool").rglob("*") if p.is_file())
    row = {
        "MB": size,
        "way": "in parts" if size > PARTS_ABOVE else "at once",
        "seconds": taken,
        "MB/s": size / taken,
        "changed": arrived != file.size,
        "memory before MB": watch.memory[0][1],
        "memory most MB": max(m for _, m in watch.memory),
        "spool most MB": watch.spooled / 1e6,
        "spool after bytes": left,
        "small calls": len(others.taken),
        "small call p50 ms": median(others.taken) if others.taken else 0.0,
        "p99 ms": percentile(others.taken, 0.99) if others.taken else 0.0,
    }
    return row, watch.memory


def _in_parts(client: openai.OpenAI, file: Made) -> int:
    """What the SDK's own helper does, which takes nothing but paths and bytes in memory. Bytes that arrived."""
    upload = client.uploads.create(filename="chats.jsonl", bytes=file.size, mime_type="text/jsonl", purpose="user_data")
    ids = []
    while piece := file.read(PART):
        ids.append(client.uploads.parts.create(upload.id, data=bytes(piece)).id)
    done = client.uploads.complete(upload.id, part_ids=ids)
    return done.file.bytes if done.file and done.file.bytes is not None else 0


class Made(io.RawIOBase):
    """Lines of chats, of which some have an address and a card in them; made as they are read."""

    def __init__(self, size: int) -> None:
        fakes = Fakes(size)
        talk = "please compare the two offers and write a short summary of them for our partners; " * 10
        plain = [_line(f"{i}: {talk}") for i in range(400)]
        told = [_line(f"{talk} my address is {fakes.email()}, my card {fakes.card()}") for _ in range(40)]
        block = b"".join(told[i // EVERY % 40] if i % EVERY == 0 else plain[i % 400] for i in range(2000))
        self._block, self.size, self._at = block, size - size % len(block), 0
        self.name = "chats.jsonl"

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = {0: 0, 1: self._at, 2: self.size}[whence] + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        start = self._at % len(self._block)
        n = min(len(buffer), self.size - self._at)
        times = (start + n) // len(self._block) + 1
        buffer[:n] = (self._block * times)[start : start + n]
        self._at += n
        return n


def _line(text: str) -> bytes:
    said = {"role": "assistant", "content": "Both offers are fine; the second one is cheaper by a tenth. " * 8}
    return json.dumps({"messages": [{"role": "user", "content": text}, said]}).encode() + b"\n"


class _Watch:
    """Memory of a process (MB by seconds), and the most bytes of its spool."""

    def __init__(self, pid: int, spool: Path) -> None:
        self.memory: list[tuple[float, float]] = []
        self.spooled = 0
        self._pid, self._spool = pid, spool
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> _Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        begun, page = perf_counter(), os.sysconf("SC_PAGE_SIZE")
        while True:
            pages = int(Path(f"/proc/{self._pid}/statm").read_text().split()[1])
            self.memory.append((perf_counter() - begun, pages * page / 1e6))
            with contextlib.suppress(OSError):
                self.spooled = max(self.spooled, sum(p.stat().st_size for p in self._spool.rglob("*") if p.is_file()))
            if self._stop.wait(0.1):
                return


class _Others:
    """Somebody else's small calls, one after the other. ``taken``: milliseconds of each."""

    def __init__(self, client: openai.OpenAI) -> None:
        self.taken: list[float] = []
        self._client = client
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._go)

    def __enter__(self) -> _Others:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _go(self) -> None:
        while not self._stop.wait(0.02):
            self.taken.append(_ask(self._client))


def _ask(client: openai.OpenAI) -> float:
    begun = perf_counter()
    client.chat.completions.create(model="echo", messages=[{"role": "user", "content": "How does sorting work?"}])
    return (perf_counter() - begun) * 1000
