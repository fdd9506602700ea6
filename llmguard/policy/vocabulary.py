"""Vocabulary: the words that facts of calls can have in this installation, by what a condition calls them.

A condition that compares with another word never holds. Made from the operations table, the catalogue with configured
detectors, match files' types and the settings; nothing is asked of a running guard.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import get_args

from llmguard.config import Settings
from llmguard.model import EVASION, Category, Detector, Kind, Origin, Place, Severity, Trust

HERE = "action"
"""The destination of actions, which are carried out here."""
UNSCANNED = (
    *("archive", "audio", "encrypted", "file", "image", "names", "nesting", "pdf", "tokens", "unknown_file"),
    "video",
)
"""Kinds of content that nobody may have looked into (``payload.extract``, ``payload.files``, ``detection.scanner``)."""
RANGES: Mapping[str, tuple[float, float]] = {
    "risk.inherent": (0, 100),
    "risk.residual": (0, 100),
    "time.hour": (0, 23),
    "time.weekday": (1, 7),
    "findings.confidence": (0, 1),
    "call.bytes": (0, float("inf")),
    "call.characters": (0, float("inf")),
    "call.people": (0, float("inf")),
}
"""Least and most of what is a number."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """``words`` that a path (``call.kind``) can have; a path that is not in it can have any."""

    words: Mapping[str, frozenset[str]]
    types: Mapping[str, tuple[Category, Severity]] = field(default_factory=dict)
    """What the catalogue says of a type: its category, and the worst severity of its detectors."""

    def possible(self, path: str, word: str) -> bool:
        """Whether a call can have this word. Actions have names of their users' own."""
        known = self.words.get(path)
        return known is None or word in known or (path == "call.operation" and word.startswith("action."))

    @classmethod
    def of(cls, settings: Settings | None = None) -> Vocabulary:
        """Without settings, whatever depends on them is not in it. Raises ConfigError."""
        from llmguard import catalogue  # patterns are parsed only where somebody asks
        from llmguard.payload.operations import TABLE

        detectors = catalogue.load(settings.detectors if settings else ())
        closed = {
            "call.kind": get_args(Kind),
            "call.unscanned": UNSCANNED,
            "destination.trust": get_args(Trust),
            "principal.kind": ("human", "service", "agent"),
            "findings.category": get_args(Category),
            "findings.severity": get_args(Severity),
            "findings.place": get_args(Place),
            "findings.origin": get_args(Origin),
        }
        types = _types(detectors)
        words = {path: frozenset(known) for path, known in closed.items()}
        words["call.operation"] = frozenset(o.name for o in TABLE) | {"unknown"}
        words["call.method"] = frozenset(o.method for o in TABLE) | {"RUN"}
        if settings is not None:
            types = {**_matched(settings), **types}
            words["findings.type"] = frozenset(types)
            words["destination.name"] = frozenset((settings.upstream_name, HERE))
        return cls(words, types)


_SEVERITIES: tuple[Severity, ...] = get_args(Severity)
_PEOPLE: Mapping[str, tuple[Category, Severity]] = {
    "PERSON": ("pii", "medium"),
    "ADDRESS": ("pii", "medium"),
    EVASION: ("internal", "high"),
}
"""Types that are found without the catalogue."""


def _types(detectors: Sequence[Detector]) -> dict[str, tuple[Category, Severity]]:
    found: dict[str, tuple[Category, Severity]] = dict(_PEOPLE)
    for d in detectors:
        worst = max(found.get(d.type, (d.category, d.severity))[1], d.severity, key=_SEVERITIES.index)
        found[d.type] = (d.category, worst)
    return found


def _matched(settings: Settings) -> dict[str, tuple[Category, Severity]]:
    """Types of the company's own records."""
    if not settings.match:
        return {}
    from llmguard.detection import match

    headers = (f.header for f in match.opened(settings))
    return {h.type: (h.category, h.severity) for h in headers}
