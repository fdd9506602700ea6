"""The proxy: ``llmguard serve`` as operators start it, a bare pass-through of the same parts, and the upstream itself.

Four processes on loopback: echo upstream, pass-through, guard, and this one, which asks. All targets take turns inside
one run, so that a noisy machine is noisy for each of them. ``chat`` is a 2 KB call, ``values`` the same with four
values in it, which the guard redacts and restores. A second guard looks for names too, where they are installed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from argparse import Namespace
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import perf_counter

import aiohttp

from benchmarks.hotpath import texts
from benchmarks.report import Row, percentile
from benchmarks.servers import EVENTS
from benchmarks.site import free_port, start, wait_until_ready

PACKAGES = ("llmguard", "uvicorn", "httptools", "aiohttp", "hyperscan")
CONNECTIONS = 16


@dataclass(frozen=True)
class Target:
    """Somebody who answers chat calls at ``url``."""

    name: str
    url: str
    key: str = "none"


def run(options: Namespace) -> list[Row]:
    """One row for each target and kind of call."""
    with tempfile.TemporaryDirectory() as folder, servers(Path(folder)) as targets:
        return asyncio.run(_measured(targets, options.seconds))


# --------------------------------------------------------------------------- servers


@contextlib.contextmanager
def servers(folder: Path, *, names: bool = True) -> Iterator[list[Target]]:
    started: list[subprocess.Popen[bytes]] = []
    upstream, bare = free_port(), free_port()
    base = f"http://127.0.0.1:{upstream}"
    try:
        started.append(start("benchmarks.servers", "upstream", str(upstream)))
        started.append(start("benchmarks.servers", "bare", str(bare), base))
        targets = [Target("upstream alone", f"{base}/v1"), Target("bare pass-through", f"http://127.0.0.1:{bare}/v1")]
        for name, on in (("llmguard, rules", "false"), ("llmguard, rules and names", "true")):
            if on == "true" and (not names or not find_spec("onnxruntime")):
                continue
            data = folder / on
            environment = {"LLMGUARD_DATA": str(data), "LLMGUARD_NAMES": on, "LLMGUARD_UPSTREAM_KEY": "none"}
            environment |= {"LLMGUARD_UPSTREAM": base}
            port = free_port()
            key = _key(environment)
            ports = ("--port", str(port), "--control-port", str(free_port()))
            started.append(start("llmguard.cli", "serve", *ports, environment=environment))
            targets.append(Target(name, f"http://127.0.0.1:{port}/v1", key))
        for target, process in zip(targets, started, strict=True):
            wait_until_ready(target.name, target.url, process)
        yield targets
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(20)


def _key(environment: dict[str, str]) -> str:
    """A key of a person who is there, as an operator would set both up."""
    _llmguard(environment, "users", "add", "bench@example.org")
    return _llmguard(environment, "keys", "add", "benchmark", "--human", "bench@example.org")


def _llmguard(environment: dict[str, str], *arguments: str) -> str:
    command = [sys.executable, "-m", "llmguard.cli", *arguments]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise RuntimeError(f"llmguard {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout.strip()


# --------------------------------------------------------------------------- calls


def call(text: str, stream: bool = False) -> bytes:
    return json.dumps({"model": "echo", "stream": stream, "messages": [{"role": "user", "content": text}]}).encode()


async def _measured(targets: list[Target], seconds: float) -> list[Row]:
    kinds = {"chat": texts(2_000)["prose"], "values": texts(2_000)["mixed"]}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        rows = []
        for kind, text in kinds.items():
            taken = await _in_turns(session, targets, text, seconds)
            bare = median(taken[targets[1]])
            rates = {t: await _rate(session, t, text, seconds) for t in targets}
            streams = {t: await _streams(session, t, text, seconds) for t in targets}
            for t in targets:
                first, rate = streams[t]
                rows.append(
                    {
                        "call": kind,
                        "target": t.name,
                        "p50 ms": median(taken[t]),
                        "p99 ms": percentile(taken[t], 0.99),
                        "+ ms": median(taken[t]) - bare,
                        "× bare": median(taken[t]) / bare,
                        "req/s": rates[t],
                        "of bare": rates[t] / rates[targets[1]],
                        "first token ms": first,
                        "+ ms first": first - streams[targets[1]][0],
                        "events/s": rate,
                    }
                )
        return rows


async def _ask(session: aiohttp.ClientSession, target: Target, body: bytes) -> float:
    """Milliseconds until the whole answer was there. Raises RuntimeError if it is not 200."""
    start = perf_counter()
    async with session.post(f"{target.url}/chat/completions", data=body, headers=_headers(target)) as answer:
        content = await answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{target.name} answered {answer.status}: {content[:200]!r}")
    return (perf_counter() - start) * 1e3


def _headers(target: Target) -> dict[str, str]:
    return {"authorization": f"Bearer {target.key}", "content-type": "application/json"}


async def _in_turns(
    session: aiohttp.ClientSession, targets: list[Target], text: str, seconds: float
) -> dict[Target, list[float]]:
    body = call(text)
    for target in targets:
        for _ in range(20):
            await _ask(session, target, body)
    taken: dict[Target, list[float]] = {t: [] for t in targets}
    end = perf_counter() + seconds * len(targets)
    while perf_counter() < end:
        for target in targets:
            taken[target].append(await _ask(session, target, body))
    return taken


async def _rate(session: aiohttp.ClientSession, target: Target, text: str, seconds: float) -> float:
    """Requests a second over all connections."""
    body, done, end = call(text), 0, perf_counter() + seconds

    async def connection() -> None:
        nonlocal done
        while perf_counter() < end:
            await _ask(session, target, body)
            done += 1

    start = perf_counter()
    await asyncio.gather(*(connection() for _ in range(CONNECTIONS)))
    return done / (perf_counter() - start)


async def _streams(session: aiohttp.ClientSession, target: Target, text: str, seconds: float) -> tuple[float, float]:
    """Median milliseconds to the first event of a stream, and median events a second."""
    body, firsts, rates, end = call(text, stream=True), [], [], perf_counter() + seconds
    while perf_counter() < end or len(firsts) < 3:
        start = perf_counter()
        times = [perf_counter() - start async for _ in events(session, target, body)]
        firsts.append(times[0] * 1e3)
        rates.append(EVENTS / times[-1])
    return median(firsts), median(rates)


async def events(session: aiohttp.ClientSession, target: Target, body: bytes) -> AsyncIterator[bytes]:
    async with session.post(f"{target.url}/chat/completions", data=body, headers=_headers(target)) as answer:
        if answer.status != 200:
            raise RuntimeError(f"{target.name} answered {answer.status} to a stream")
        async for line in answer.content:
            if line.startswith(b"data:"):
                yield line
