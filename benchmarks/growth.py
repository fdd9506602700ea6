"""How the cost of a scan grows: with threads, values in a text, rules, and the length of hostile text."""

from __future__ import annotations

import os
import random
import threading
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

from benchmarks.plot import lines
from benchmarks.report import Row, Tables, timed
from llmguard.detection import Engine
from llmguard.model import Detector, TextPart

HOSTILE: Mapping[str, Callable[[int], str]] = {
    "digits": lambda n: "".join(random.Random(1).choices("0123456789", k=n)),
    "digits and spaces": lambda n: "".join(random.Random(2).choices("0123456789    ", k=n)),
    "@": lambda n: "@" * n,
    "a.": lambda n: "a." * (n // 2),
    "base64": lambda n: "".join(
        random.Random(3).choices("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", k=n)
    ),
    "hex": lambda n: "".join(random.Random(4).choices("0123456789abcdef", k=n)),
    "password=": lambda n: "password=" * (n // 9),
    "one word": lambda n: "a" * n,
    "e-mails": lambda n: "a@b.co " * (n // 7),
    "zero-width": lambda n: "a\u200b" * (n // 2),
    "percent": lambda n: "%41" * (n // 3),
}
"""Texts without an end to what they might be, by length in characters."""
LENGTHS = (10_000, 100_000, 1_000_000, 10_000_000)


def tables(engine: Engine, texts: Mapping[str, str], values: Sequence[str], options: Namespace) -> Tables:
    hostile = list(_hostile(engine))
    if options.plot:
        _draw(hostile, options.plot)
    return {
        "threads, 20 KB a scan": list(_threads(engine, texts, options.seconds)),
        "one more value in 2 KB of prose": list(_values(engine, texts["prose"][:2000], values, options.seconds)),
        "one kind of value many times in 20 KB": list(_findings(engine, texts["prose"], values, options.seconds)),
        "more rules, 2 KB of prose": list(_rules(engine, texts["prose"][:2000], options.seconds)),
        "hostile texts": [_told(name, times) for name, times in hostile],
    }


def _scan(engine: Engine, text: str) -> Callable[[], int]:
    part = [TextPart(text, "")]
    return lambda: len(engine.scan(part)[0])


def _threads(engine: Engine, texts: Mapping[str, str], seconds: float) -> Iterator[Row]:
    """Scans a second by several threads; what does not scale is Python's lock, which Hyperscan and RE2 let go."""
    for kind, text in texts.items():
        base = 0.0
        for count in sorted({1, 2, os.cpu_count() or 1}):
            done = [0] * count
            end = perf_counter() + seconds

            def work(place: int, text: str = text, done: list[int] = done, end: float = end) -> None:
                scan = _scan(engine, text)
                while not done[place] or perf_counter() < end:
                    scan()
                    done[place] += 1

            threads = [threading.Thread(target=work, args=(i,)) for i in range(count)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            rate = sum(done) * len(text) / seconds / 1e6
            base = base or rate
            yield {"text": kind, "threads": count, "MB/s": rate, "× one": rate / base}


def _values(engine: Engine, prose: str, values: Sequence[str], seconds: float) -> Iterator[Row]:
    base = timed(_scan(engine, prose), seconds)["p50_us"]
    yield {"value": "none", "p50 µs": base, "more µs": 0.0, "findings": _scan(engine, prose)()}
    for value in values:
        scan = _scan(engine, f"{prose[:1000]} {value} {prose[1000:]}")
        figures = timed(scan, seconds)
        yield {
            "value": value.split()[0],
            "p50 µs": figures["p50_us"],
            "more µs": figures["p50_us"] - base,
            "findings": scan(),
        }


def _findings(engine: Engine, prose: str, values: Sequence[str], seconds: float) -> Iterator[Row]:
    drawn = random.Random(7)
    for count in (0, 4, 16, 64, 256):
        every = max(1, len(prose) // max(1, count))
        pieces = [prose[i : i + every] + f" {drawn.choice(values)} " for i in range(0, every * count, every)]
        scan = _scan(engine, "".join(pieces) or prose)
        figures = timed(scan, seconds)
        yield {
            "values": count,
            "p50 µs": figures["p50_us"],
            "µs a value": figures["p50_us"] / max(1, count),
            "findings": scan(),
        }


def _rules(engine: Engine, prose: str, seconds: float) -> Iterator[Row]:
    """A company's own rules: prefixes that nobody else uses."""
    for more in (0, 100, 1000, 4000):
        detectors = (*engine.detectors, *(_own(i) for i in range(more)))
        start = perf_counter()
        with TemporaryDirectory() as folder:
            grown = Engine(detectors, cache=Path(folder) / "cache")
            compiled = perf_counter() - start
            start = perf_counter()
            Engine(detectors, cache=Path(folder) / "cache")
            cached = perf_counter() - start
        figures = timed(_scan(grown, prose), seconds)
        yield {"own rules": more, "p50 µs": figures["p50_us"], "start s": compiled, "start s, cached": cached}


def _own(number: int) -> Detector:
    prefix = f"own{number:04d}"
    pattern = rf"\b{prefix}-[A-Z0-9]{{8}}\b"
    return Detector(
        f"internal.own.n{number}",
        "OWN",
        "internal",
        "high",
        0.9,
        pattern,
        "benchmark",
        match=(f"«{prefix}-{'A1' * 4}»",),
    )


def _hostile(engine: Engine) -> Iterator[tuple[str, list[tuple[int, float]]]]:
    """Seconds of the fastest of three scans, by length; of one scan above a megabyte."""
    for name, make in HOSTILE.items():
        times = []
        for length in LENGTHS:
            scan = _scan(engine, make(length))
            taken = []
            for _ in range(3 if length <= 1_000_000 else 1):
                start = perf_counter()
                scan()
                taken.append(perf_counter() - start)
            times.append((length, min(taken)))
        yield name, times


def _told(name: str, times: Sequence[tuple[int, float]]) -> Row:
    row: dict[str, object] = {"text": name}
    row |= {f"{n // 1000} kB, ms": seconds * 1000 for n, seconds in times}
    rates = [b[1] / a[1] / (b[0] / a[0]) for a, b in pairwise(times)]
    row["growth (1 = linear)"] = median(rates)
    row["most"] = max(rates)
    return row


def _draw(hostile: Sequence[tuple[str, Sequence[tuple[int, float]]]], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    series = {name: [(float(n), seconds * 1000) for n, seconds in times] for name, times in hostile}
    picture = lines("Time of one scan by the length of a hostile text", series, "characters", "ms")
    (folder / "hostile.svg").write_text(picture, encoding="utf-8")
