"""Data sets: how fast ``llmguard sanitize`` cleans a fine-tuning file, in how much memory, and what it leaves.

A file is made from a seed with identities and keys planted in it, plain, in JSON's escapes, in base64, in URLs and in
JSON inside JSON. The real command cleans it in processes of its own, rules only with one and with two workers, and a
smaller one with names. What was planted is then searched for in the output by ``grep``, through every encoding that
anybody would try; the same search over the file as it came says that it would have found it. Presidio's batch engines
take a sample of the same file in the same run. MB are 10^6 bytes.

Fails if a planted value is left that rules look for. Names are looked for by a model: what it misses is told.
"""

from __future__ import annotations

import itertools
import json
import tempfile
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks import plot
from benchmarks.dataset import lengths, peer, runs, seek
from benchmarks.dataset.corpus import Corpus, Plant, contents
from benchmarks.report import Row, Tables, say

PACKAGES = ("llmguard", "hyperscan", "presidio-analyzer", "presidio-anonymizer", "spacy", "bpe-openai")
NAMED = ("PERSON", "ADDRESS")
"""Kinds of planted values that only a model finds."""
LOOKED = 2_000
"""Lines whose tokens are counted."""


class Left(RuntimeError):
    """Planted values can be read in the output. ``rows`` is what was measured."""

    def __init__(self, count: int, rows: Tables) -> None:
        super().__init__(f"{count} planted values can be read in what was cleaned")
        self.rows = rows


@dataclass(frozen=True, slots=True)
class File:
    """A corpus on disk."""

    corpus: Corpus
    path: Path
    took: float

    @property
    def size(self) -> int:
        return self.path.stat().st_size


def run(options: Namespace) -> Tables:
    """Tables by title. Raises Left."""
    seed = 1 if options.seed is None else options.seed
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        plain = _made(folder / "rules.jsonl", options.size, seed, names=False)
        small = _made(folder / "names.jsonl", options.names_size, seed, names=True)
        tiny = _made(folder / "tiny.jsonl", 0.05, seed, names=False)
        idle = [runs.sanitize(tiny.path, folder / "out", folder / "data", 1, names=False) for _ in range(3)]
        start, warm = median(r.seconds for r in idle), median(r.busy for r in idle)
        done: dict[str, tuple[File, int, list[runs.Ran]]] = {
            "rules, 1 worker": (plain, 1, []),
            "rules, 2 workers": (plain, 2, []),
            "names, 1 worker": (small, 1, []),
        }
        for _ in range(options.repeat):
            for title, (file, workers, ran) in done.items():
                say(f"{title}, {file.size / 1e6:.1f} MB")
                output = _output(file)
                ran.append(runs.sanitize(file.path, output, folder / "data", workers, names="names" in title))
        rows = list(_rates(done, start, warm))
        searched = [_searched(plain), _searched(small)]
        tables: dict[str, Sequence[Row]] = {
            f"llmguard sanitize; rates without the {start:.1f} s of its start; medians of {options.repeat}": rows,
            "planted values, and those that grep can read": [row for rows, _ in searched for row in rows],
            f"tokens ({lengths.ENCODING})": list(_tokens(plain, small)),
            "tokens of values and surrogates, each by itself": list(
                lengths.by_type(contents(_some(small.path)), names=True)
            ),
            "the same sample": list(_peers(small, options.sample, folder, start)),
        }
        if options.plot:
            _plotted(options.plot, done)
        bad = sum(count for _, count in searched)
        if bad:
            raise Left(bad, tables)
        return tables


def _made(path: Path, megabytes: float, seed: int, *, names: bool) -> File:
    corpus = Corpus(int(megabytes * 1e6), seed, names=names)
    took = runs.write(corpus.chunks(), path)
    return File(corpus, path, took)


def _output(file: File) -> Path:
    return file.path.with_suffix(".clean.jsonl")


def _rates(done: dict[str, tuple[File, int, list[runs.Ran]]], start: float, warm: float) -> Iterator[Row]:
    alone = 0.0
    for title, (file, workers, ran) in done.items():
        seconds = median(r.seconds for r in ran)
        rate = file.size / 1e6 / max(seconds - start, 1e-3)
        alone = rate if workers == 1 else alone
        last = max(ran, key=lambda r: r.most)
        yield {
            "run": title,
            "MB": file.size / 1e6,
            "lines": file.corpus.lines,
            "seconds": seconds,
            "MB/s": rate,
            "MB a CPU s": file.size / 1e6 / max(median(r.busy for r in ran) - warm, 1e-3),
            "× one worker": f"{rate / alone:.2f}",
            "spread s": f"{min(r.seconds for r in ran):.1f}-{max(r.seconds for r in ran):.1f}",
            "most memory MB": last.most / 1e6,
            "in its 2nd quarter": last.between(0.25, 0.5) / 1e6,
            "in its last": last.between(0.75, 1.0) / 1e6,
            "made at MB/s": file.size / 1e6 / max(file.took, 1e-3),
        }


def _searched(file: File) -> tuple[list[Row], int]:
    """By wrapping: planted, read before, read after. And how many are left that rules look for."""
    plants = file.corpus.plants
    began = time.monotonic()
    before = Counter(map(_wrapping, seek.left(plants, seek.lines(file.path))))
    left = seek.left(plants, seek.lines(_output(file)))
    after = Counter(map(_wrapping, left))
    for plant in left[:20]:
        say(f"left: {plant.kind}, {plant.encoding}, line {plant.line + 1}")
    rows: list[Row] = [
        {"file": file.path.stem, "what": what, "planted": count, "before": before[what], "after": after[what]}
        for what, count in sorted(Counter(map(_wrapping, plants)).items())
    ]
    say(f"searched {2 * file.size / 1e6:.0f} MB in {time.monotonic() - began:.0f} s")
    return rows, sum(plant.kind not in NAMED for plant in left)


def _wrapping(plant: Plant) -> str:
    return plant.kind if plant.kind in NAMED else f"value, {plant.encoding}"


def _some(path: Path) -> list[bytes]:
    with path.open("rb") as file:
        return list(itertools.islice(file, LOOKED))


def _tokens(*files: File) -> Iterator[Row]:
    for file in files:
        yield {"file": file.path.stem, **lengths.whole(_some(file.path), _some(_output(file)))}


def _peers(file: File, kilobytes: int, folder: Path, start: float) -> Iterator[Row]:
    """The first lines of a file, cleaned by everybody; what of the planted values grep can read afterwards."""
    lines: list[bytes] = []
    for line in _some(file.path):
        if sum(map(len, lines)) > kilobytes * 1000:
            break
        lines.append(line)
    size = sum(map(len, lines)) / 1e6
    plants = [p for p in file.corpus.plants if p.line < len(lines)]
    sample, clean = folder / "sample.jsonl", folder / "sample.clean.jsonl"
    sample.write_bytes(b"".join(lines))
    for title, names in (("llmguard sanitize, rules", False), ("llmguard sanitize, names", True)):
        seconds = runs.sanitize(sample, clean, folder / "data", 1, names=names).seconds - start
        yield _peer(title, size, seconds, plants, seek.lines(clean))
    try:
        engine = peer.presidio()
    except ImportError as e:
        say(f"Presidio's batch engines are not measured: {e}")
        return
    texts = contents(lines)
    seconds, said = peer.timed(engine, texts)
    written = [json.dumps(text, ensure_ascii=False).encode() + b"\n" for text in said]
    yield _peer(f"Presidio batch, {peer.spacy_model()}", size, seconds, plants, iter([b"".join(written)]))


def _peer(title: str, size: float, seconds: float, plants: Sequence[Plant], chunks: Iterator[bytes]) -> Row:
    left = seek.left(plants, chunks)
    named = sum(p.kind in NAMED for p in plants)
    return {
        "engine": title,
        "MB": size,
        "seconds": seconds,
        "MB/s": size / max(seconds, 1e-3),
        "values left": f"{sum(p.kind not in NAMED for p in left)}/{len(plants) - named}",
        "names and addresses left": f"{sum(p.kind in NAMED for p in left)}/{named}",
    }


def _plotted(folder: Path, done: dict[str, tuple[File, int, list[runs.Ran]]]) -> None:
    """Memory over time of the runs with rules."""
    folder.mkdir(parents=True, exist_ok=True)
    series = {
        title: runs.thinned(ran[-1].memory)
        for title, (_, _, ran) in done.items()
        if "rules" in title and ran[-1].memory
    }
    size = next(iter(done.values()))[0].size / 1e9
    title = f"Memory of llmguard sanitize, all processes, over {size:.1f} GB"
    if series:
        figure = plot.lines(title, series, "seconds", "MB (PSS)", logarithmic=False)
        (folder / "dataset-memory.svg").write_text(figure, encoding="utf-8")
