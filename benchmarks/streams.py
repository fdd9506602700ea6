"""Streams: first token and events a second through ``llmguard serve``, beside a bare pass-through of the same parts.

Events of 500 arrive as fast as they can. ``plain`` has nothing to restore, ``watched`` has a value in the question and
none in the answer, ``values`` repeats the values all over. All targets take turns in one run; medians and quartiles.
"""

from __future__ import annotations

import asyncio
import tempfile
from argparse import Namespace
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter

import aiohttp

from benchmarks import proxy
from benchmarks.hotpath import texts
from benchmarks.report import Row
from benchmarks.servers import EVENTS

PACKAGES = proxy.PACKAGES
LEAST = 5
"""Streams of each kind and target."""


def run(options: Namespace) -> list[Row]:
    """One row for each kind of stream and target."""
    with tempfile.TemporaryDirectory() as folder, proxy.servers(Path(folder), names=False) as targets:
        return asyncio.run(_measured(targets, options.seconds))


async def _measured(targets: list[proxy.Target], seconds: float) -> list[Row]:
    prose = texts(2_000)["prose"]
    kinds = {
        "plain": prose,
        "watched": prose + " " * 200 + "jane.roe@example.org",  # behind the characters that 500 events repeat
        "values": ("Ask jane.roe@example.org or call 4111 1111 1111 1111. " * 40)[:2_000],
    }
    rows: list[Row] = []
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        for kind, text in kinds.items():
            taken = await _in_turns(session, targets, text, seconds)
            bare = [median(column) for column in zip(*taken[targets[1]], strict=True)]
            rows += [_row(kind, t, taken[t], bare) for t in targets]
    return rows


def _row(kind: str, target: proxy.Target, taken: list[tuple[float, float]], bare: list[float]) -> Row:
    firsts, rates = (list(column) for column in zip(*taken, strict=True))
    low, _, high = quantiles(firsts, n=4)
    slow, _, fast = quantiles(rates, n=4)
    return {
        "stream": kind,
        "target": target.name,
        "first ms": median(firsts),
        "q1": low,
        "q3": high,
        "+ ms first": median(firsts) - bare[0],
        "events/s": median(rates),
        "slow q": slow,
        "fast q": fast,
        "of bare": median(rates) / bare[1],
        "streams": len(taken),
    }


async def _in_turns(
    session: aiohttp.ClientSession, targets: list[proxy.Target], text: str, seconds: float
) -> dict[proxy.Target, list[tuple[float, float]]]:
    """Milliseconds to the first event, and events a second, of one stream after the other."""
    body = proxy.call(text, stream=True)
    taken: dict[proxy.Target, list[tuple[float, float]]] = {t: [] for t in targets}
    end, rounds = perf_counter() + seconds * len(targets), 0
    while perf_counter() < end or rounds <= LEAST:
        for target in targets:
            start = perf_counter()
            times = [perf_counter() - start async for _ in proxy.events(session, target, body)]
            if rounds:  # the first round warms up
                taken[target].append((times[0] * 1e3, EVENTS / times[-1]))
        rounds += 1
    return taken
