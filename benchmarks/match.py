"""The company's own records: what a million of them cost a scan, beside the same engine without them.

Records are names of people and companies and account numbers from a seed (Faker's lists); texts are those of the hot
path. Building, loading and memory are told with the facts.
"""

from __future__ import annotations

import gc
import random
import tempfile
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

from benchmarks.hotpath import texts
from benchmarks.report import Row, timed
from llmguard import catalogue
from llmguard.detection import Engine, match
from llmguard.detection.names.lexicon import lexicon
from llmguard.model import TextPart

PACKAGES = ("llmguard", "hyperscan", "faker")
RECORDS = 1_000_000
SIZE = 2_000


def run(options: Namespace) -> list[Row]:
    """One row for each text: the engine alone, and with the records."""
    with tempfile.TemporaryDirectory() as folder:
        path, key = Path(folder) / "records.match", match.MatchKey(b"k" * 32)
        before = perf_counter()
        report = _build(path, key)
        built = perf_counter() - before
        before = perf_counter()
        opened = match.read(path, [key])
        loaded = perf_counter() - before
        options.facts |= {
            "records": report.records,
            "built in s": round(built, 1),
            "loaded in s": round(loaded, 3),
            "bytes a record": round(path.stat().st_size / report.records, 1),
        }
    gc.collect()
    detectors = catalogue.load()
    alone, with_records = Engine(detectors), Engine(detectors, matcher=match.Matcher([opened]))
    return list(_rows(alone, with_records, options.seconds))


def _rows(alone: Engine, with_records: Engine, seconds: float) -> Iterator[Row]:
    for kind, text in texts(SIZE).items():
        part = [TextPart(text, "")]
        first = timed(lambda part=part: alone.scan(part), seconds)  # type: ignore[misc]
        second = timed(lambda part=part: with_records.scan(part), seconds)  # type: ignore[misc]
        yield {
            "text": f"{kind} {SIZE} B",
            "rules p50 µs": first["p50_us"],
            "with records p50 µs": second["p50_us"],
            "more µs": second["p50_us"] - first["p50_us"],
            "findings": len(with_records.scan(part)[0]),
        }


def _build(path: Path, key: match.MatchKey) -> match.Report:
    from faker import Faker

    fake, drawn = Faker("en_US"), random.Random(1)
    fake.seed_instance(1)
    given = sorted({fake.first_name() for _ in range(20_000)})
    family = sorted({fake.last_name() for _ in range(20_000)})
    builder = match.Builder(key, lexicon().common)
    line = 0
    while line < RECORDS * 1.05:  # some are drawn twice
        line += 1
        if line % 3 == 0:
            builder.add(line, f"{drawn.randrange(10**9, 10**10)}")
        elif line % 3 == 1:
            builder.add(line, f"{drawn.choice(given)} {drawn.choice(family)} {drawn.choice(family)}")
        else:
            builder.add(line, f"{drawn.choice(family)}, {drawn.choice(family)} and {drawn.choice(family)}")
    header = match.Header("records", "CUSTOMER", "internal", "high", key.id, 0, 0, 0)
    return builder.write(path, header)
