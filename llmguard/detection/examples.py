"""Examples: every ``match`` and ``no_match`` of a catalogue, run through an engine of the whole catalogue.

Invariant: nothing is skipped; a rule that misses one of its own examples is named.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from llmguard.catalogue import fill, spans
from llmguard.detection.engine import Engine
from llmguard.model import Detector, TextPart

SEEDS = (1, 2, 3)
"""Each template is filled this often."""


def check(detectors: Sequence[Detector], only: Collection[str] | None = None) -> list[str]:
    """One sentence for each example that fails, with the detector's id and the example as the catalogue has it.

    ``only``: the ids of the detectors whose examples are run, all by default.
    """
    engine = Engine(detectors)
    chosen = [d for d in detectors if only is None or d.id in only]
    return [problem for d in chosen for seed in SEEDS for problem in _problems(engine, d, seed)]


def _problems(engine: Engine, detector: Detector, seed: int) -> Iterator[str]:
    for template in detector.match:
        text, marked = spans(fill(template, seed))
        found = _found(engine, detector, text)
        if found != marked:
            yield f"{detector.id}: match {template!r}: expected {marked}, found {found} (seed {seed})"
    for template in detector.no_match:
        found = _found(engine, detector, fill(template, seed))
        if found:
            yield f"{detector.id}: no_match {template!r}: found {found} (seed {seed})"


def _found(engine: Engine, detector: Detector, text: str) -> tuple[tuple[int, int], ...]:
    (findings,) = engine.scan([TextPart(text, "")])
    return tuple((f.start, f.end) for f in findings if f.detector == detector.id)
