"""The catalogue: ``detectors/*.toml`` and further files, read strictly into Detectors.

Owns: which files there are and their order; their format (``format``), expressions (``patterns``), examples
(``templates``) and the tables made from other packages (``build``). Never does: scanning. Invariant: what ``load``
returns compiles in RE2, names known validators, has unique ids, and each rule brings an example of what it matches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path

from llmguard.catalogue.format import check_anchor, parse
from llmguard.catalogue.patterns import Pattern, anchor_of
from llmguard.catalogue.templates import fill, spans
from llmguard.errors import ConfigError
from llmguard.model import Detector

__all__ = ["Pattern", "anchor_of", "fill", "load", "read", "shipped", "spans"]


def load(extra: Sequence[Path] = ()) -> tuple[Detector, ...]:
    """The shipped detectors, then those of ``extra`` files, in a stable order.

    Raises: ConfigError, naming file, line and id, for anything that is not exactly understood. Anchors of ``extra``
    files are tried in Hyperscan one by one; those of the shipped files are compiled by the engine.
    """
    detectors: dict[str, Detector] = {}
    for name, parsed in shipped():
        _add(detectors, name, parsed)
    for path in extra:
        _add(detectors, str(path), read(path))
    return tuple(detectors.values())


def shipped() -> Iterator[tuple[str, tuple[Detector, ...]]]:
    """Name and detectors of each file that ships with llmguard: our own first, since the first of equals speaks."""
    for entry in sorted(files("llmguard.detectors").iterdir(), key=lambda e: (e.name.startswith("from_"), e.name)):
        if entry.name.endswith(".toml"):
            name = f"detectors/{entry.name}"
            yield name, parse(name, entry.read_text(encoding="utf-8"))


def read(path: Path) -> tuple[Detector, ...]:
    """The detectors of one further file, each anchor tried in Hyperscan. Raises: ConfigError."""
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError(f"{path}: cannot be read as a catalogue file: {type(e).__name__}") from None
    parsed = parse(str(path), content)
    for detector in parsed:
        if not detector.needs_context:
            check_anchor(f"{path}: {detector.id}", detector)
    return parsed


def _add(detectors: dict[str, Detector], name: str, parsed: Sequence[Detector]) -> None:
    for detector in parsed:
        if detector.id in detectors:
            raise ConfigError(f"{name}: {detector.id}: this id exists already; choose another")
        detectors[detector.id] = detector
