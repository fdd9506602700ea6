"""Egress: requests generated from the API description, with canaries in random places and encodings; none may arrive.

Every operation that takes JSON gets the same number of calls, half of them under the shipped policy and half under one
that sends all that can be redacted. Every operation that takes a form gets forms besides, with files of every kind, and
uploads come in parts (``forms``). What takes neither gets canaries in its path, query and headers. A twentieth of the
calls goes over HTTP through a guard on loopback. Which kinds of values are found in a text is not asked here: all are,
in plain text. What is asked is whether the guard looks everywhere.

A canary that arrives fails the run. It is reproduced by its operation and number: both say the whole request.

  python -m benchmarks egress --calls 100000 --seed 1
  python -m benchmarks egress --seed 1 --operation createResponse --number 17
"""

from __future__ import annotations

import multiprocessing
import os
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import cache
from multiprocessing.util import Finalize
from time import perf_counter
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks.egress import calls
from benchmarks.egress.calls import POLICIES, Leak, Tally, Way
from benchmarks.egress.description import Described, description
from benchmarks.egress.forms import FORMS
from benchmarks.report import Row, say

PACKAGES = ("llmguard", "hyperscan", "bpe-openai")
WIRE = 1_000_000
"""Numbers of calls from here on go over the wire; so do those of forms, counted from ``FORMS``."""
_SHARES = {"body": 0.75, "plain": 0.1, "form": 0.1, "wire": 0.05}
_PIECE = 25
SHOWN = 40


class Leaked(RuntimeError):
    """A provider could read planted values. Comes with the figures."""

    def __init__(self, rows: list[Row], leaks: int) -> None:
        super().__init__(f"{leaks} canaries arrived")
        self.rows = rows


def run(options: Namespace) -> list[Row]:
    """One row for each operation, and one for all. Raises Leaked."""
    seed = 1 if options.seed is None else options.seed
    chosen = calls.named(options.operation or ())
    if options.number is not None:
        jobs = [Job(o.id, seed, options.number, options.number + 1) for o in chosen]
    else:
        jobs = list(_jobs(chosen, seed, options.calls))
    start = perf_counter()
    tally = _all(jobs)
    options.facts |= facts(tally) | {"seed": seed, "seconds": round(perf_counter() - start, 1)}
    _tell(tally, seed)
    options.facts["leaks described"] = f"{len(tally.leaks)} in the JSON file"
    rows = table(tally)
    if options.json:
        options.facts["leaks"] = [asdict(leak) for leak in tally.leaks]
    if leaks := tally.total("seen"):
        raise Leaked(rows, leaks)
    return rows


# --------------------------------------------------------------------------- work for several processes


@dataclass(frozen=True, slots=True)
class Job:
    """Calls of one operation: numbers from ``start`` to before ``stop``."""

    operation: str
    seed: int
    start: int
    stop: int

    @property
    def calls(self) -> int:
        return self.stop - self.start


def _jobs(chosen: Sequence[Described], seed: int, wanted: int) -> Iterator[Job]:
    """At least ``wanted`` calls in all."""
    with_body = [o for o in chosen if o.body is not None]
    without = [o for o in chosen if o.body is None]
    with_form = [o for o in chosen if o.form is not None]
    for operations, share, first in ((with_body, "body", 0), (without, "plain", 0), (with_form, "form", FORMS)):
        each = -(-int(wanted * _SHARES[share]) // len(operations)) if operations else 0
        for operation in operations:
            for start in range(0, each, _PIECE):
                yield Job(operation.id, seed, first + start, first + min(each, start + _PIECE))
    each = -(-int(wanted * _SHARES["wire"]) // (len(chosen) + len(with_form)))
    for operation in chosen:
        yield Job(operation.id, seed, WIRE, WIRE + each)
        if operation.form is not None:
            yield Job(operation.id, seed, FORMS + WIRE, FORMS + WIRE + each)


def _all(jobs: Sequence[Job]) -> Tally:
    tally = Tally()
    columns = (TextColumn("calls"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    context = multiprocessing.get_context("spawn")
    with Progress(*columns) as progress, ProcessPoolExecutor(os.cpu_count(), mp_context=context) as pool:
        bar = progress.add_task("calls", total=sum(job.calls for job in jobs))
        for done in as_completed({pool.submit(work, job): job for job in jobs}):
            part = done.result()
            tally.add(part)
            progress.advance(bar, part.total("calls"))
    return tally


def work(job: Job) -> Tally:
    """The calls of a job, by the guards of this process."""
    operations = calls.named([job.operation])
    return calls.run(_ways(job.start % FORMS >= WIRE), operations, job.seed, range(job.start, job.stop))


@cache
def _ways(wire: bool) -> Mapping[str, Way]:
    """This process's guards, one for each policy, until it ends."""
    stack = ExitStack()
    Finalize(None, stack.close, exitpriority=10)
    opened = calls.over_the_wire if wire else calls.in_process
    return {name: stack.enter_context(opened(rules)) for name, rules in POLICIES.items()}


# --------------------------------------------------------------------------- figures


def facts(tally: Tally) -> dict[str, Any]:
    """What holds for all calls together."""
    sums: dict[str, Counter[str]] = {name: Counter() for name in POLICIES}
    for (_, policy), counter in tally.counts.items():
        sums[policy].update(counter)
    return {
        "description": description().source,
        "calls": tally.total("calls"),
        **{f"under the {name} policy": _sums(counter) for name, counter in sums.items()},
        "refused or held": {f"{policy} {code}": n for (policy, code), n in sorted(tally.codes.items())},
        "canaries": {"planted": tally.total("planted"), "of them seen upstream": tally.total("seen")},
        "bare digits": {"planted": tally.total("bare"), "of them seen upstream": tally.total("seen bare")},
        "planted by place": _by(tally.planted, 0),
        "planted by encoding": _by(tally.planted, 1),
        "seen by place and encoding": {f"{p}, {e}": n for (p, e), n in tally.leaked.most_common()},
    }


def _sums(counter: Counter[str]) -> dict[str, int]:
    return {name: counter[name] for name in ("calls", "unchanged", "redacted", "held", "refused", "planted", "seen")}


def _by(counts: Counter[tuple[str, str]], part: int) -> dict[str, int]:
    sums: Counter[str] = Counter()
    for key, n in counts.items():
        sums[key[part]] += n
    return dict(sums.most_common())


def table(tally: Tally) -> list[Row]:
    """A row for each operation that takes JSON, one for each that takes a form, one for the others, one for all."""
    rows: dict[str, Counter[str]] = {}
    whole: Counter[str] = Counter()
    for (operation, policy), counter in sorted(tally.counts.items()):
        form = operation.endswith(calls.OF_FORMS)
        name = operation if form or description().operations[operation].body is not None else "without a body"
        into = rows.setdefault(name, Counter())
        for key, n in counter.items():
            for row in (into, whole):
                row[key] += n
                row[policy, key] += n  # type: ignore[index]
    return [_row(name, counter) for name, counter in (*rows.items(), ("all", whole))]


def _row(name: str, counter: Counter[Any]) -> Row:
    counted = {key: counter[key] for key in ("calls", "unchanged", "redacted", "held", "refused")}
    left = {f"sent, {policy}": counter[policy, "unchanged"] + counter[policy, "redacted"] for policy in POLICIES}
    planted = {
        "planted": counter["planted"] + counter["bare"],
        "seen": counter["seen"],
        "bare seen": counter["seen bare"],
    }
    return {"operation": name, **counted, **left, **planted}


def _tell(tally: Tally, seed: int) -> None:
    """One leak of each place and encoding, with what reproduces it."""
    shown: dict[tuple[str, str], Leak] = {}
    for leak in tally.leaks:
        shown.setdefault((leak.place, leak.encoding), leak)
    for leak in list(shown.values())[:SHOWN]:
        say(
            f"arrived: {leak.kind} ({leak.form}) in a {leak.place} ({leak.address}) as {leak.encoding}, "
            f"read as {leak.way}, under the {leak.policy} policy: "
            f"--seed {seed} --operation {leak.operation} --number {leak.number}"
        )
