"""Presidio's batch engines as they ship, on the same texts: analyzed with a spaCy model, anonymized, put together."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.peers import presidio_analyzer, spacy_model

Clean = Callable[[Sequence[str]], list[str]]


def presidio() -> Clean:
    """Texts to clean texts. Raises ImportError where it or a spaCy model is not installed."""
    analyzer = presidio_analyzer()
    from presidio_analyzer import BatchAnalyzerEngine
    from presidio_anonymizer import BatchAnonymizerEngine

    batch, anonymizer = BatchAnalyzerEngine(analyzer_engine=analyzer), BatchAnonymizerEngine()

    def clean(texts: Sequence[str]) -> list[str]:
        found: list[Any] = batch.analyze_iterator(list(texts), language="en", batch_size=64)
        return [str(text) for text in anonymizer.anonymize_list(list(texts), found)]

    return clean


def timed(clean: Clean, texts: Sequence[str]) -> tuple[float, list[str]]:
    """Seconds, and what came out; warmed up on a few texts."""
    clean(texts[:4])
    start = time.monotonic()
    said = clean(texts)
    return time.monotonic() - start, said


__all__ = ["presidio", "spacy_model", "timed"]
