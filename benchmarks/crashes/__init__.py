"""Crashes: processes killed (SIGKILL) at random moments while they ask, wait, vote, claim, send, carry out and tidy up.

One data folder for all kills, so that each starts on what the last one left. Victims are real ``llmguard serve``
processes under load, and processes with a guard of their own: actions, wrapped clients, voters, sweepers. This process
is never killed; it holds the provider, which counts what arrives, and remembers what callers and voters were told.

After each batch everything is swept and looked at:

* at most once: what carries one marker arrived, or took effect, at most as often as its approvals were spent;
* EXECUTED arrived; INDETERMINATE may have; nothing of any other state did; nothing is left EXECUTING;
* every approval that a caller was told of exists, and every vote that was acknowledged is counted;
* the log verifies against its checkpoints, and has a decision and a claim before each arrival.

``--seed`` repeats the choices; the moments are the machine's. A violation makes the run fail.
"""

from __future__ import annotations

import contextlib
import logging
import random
import tempfile
from argparse import Namespace
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter

from benchmarks.crashes.invariants import look
from benchmarks.crashes.known import Known, Violated, facts, table
from benchmarks.crashes.lanes import Lane
from benchmarks.crashes.serving import ServeLane
from benchmarks.crashes.yard import Provider, Yard
from benchmarks.report import Row
from llmguard.testing import EchoUpstream

__all__ = ["PACKAGES", "Known", "Violated", "crash", "facts", "run", "table"]
PACKAGES = ("llmguard", "uvicorn", "aiohttp", "openai")
BATCH = 50
SERVED = 0.16
"""Share of kills that hit ``llmguard serve``."""
LANES = 2
"""Lanes that kill other processes, beside the one that kills servers."""


def run(options: Namespace) -> list[Row]:
    """One row for each kind of victim and phase, and one over all. Raises Violated."""
    seed = random.randrange(10**6) if options.seed is None else options.seed
    begun = perf_counter()
    known = crash(options.kills, seed)
    options.facts |= facts(known) | {"seed": seed, "seconds": round(perf_counter() - begun)}
    rows = table(known)
    if known.violations:
        raise Violated(rows, known.violations)
    return rows


def crash(kills: int, seed: int) -> Known:
    """Kills, in batches, and looks after each of them."""
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)  # the provider, on callers who broke off
    with tempfile.TemporaryDirectory() as folder:
        known = Known()
        with contextlib.ExitStack() as stack:
            provider = Provider(known, seed)
            upstream = stack.enter_context(EchoUpstream(say=provider.say))
            yard = stack.enter_context(Yard(Path(folder), upstream.url, known, provider))
            left, number = kills, 0
            while left > 0:
                batch = min(left, BATCH)
                _batch(yard, batch, seed * 1000 + number)
                look(yard)
                left, number = kills - len(known.kills), number + 1
            yard.spend_the_rest()
            look(yard)
        return known


def _batch(yard: Yard, kills: int, seed: int) -> None:
    """Kills about as many processes, on all lanes at once."""
    servers = max(1, round(kills * SERVED))
    before = len(yard.known.kills)
    with ThreadPoolExecutor(LANES + 1) as lanes:
        running = [lanes.submit(ServeLane(yard, random.Random(seed)).run, servers)]
        enough = before + kills - servers

        def lane(number: int) -> None:
            mine = Lane(yard, random.Random(seed + 1 + number))
            while sum(k.victim != "serve" for k in yard.known.kills[before:]) < enough - before:
                mine.step()

        running += [lanes.submit(lane, n) for n in range(LANES)]
        for one in running:
            one.result()
