"""SARIF: findings for code review tools, as OASIS SARIF 2.1.0. Places and detectors, never values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from llmguard import __version__
from llmguard.model import Detector, Finding

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS = {"critical": "error", "high": "error", "medium": "warning", "low": "note"}
_SCORES = {"critical": "9.5", "high": "8.0", "medium": "5.5", "low": "3.0"}
"""GitHub's ``security-severity`` (§3.49 property bag)."""


def document(found: Sequence[tuple[str, str, Finding]], detectors: Mapping[str, Detector]) -> dict[str, Any]:
    """One run. ``found``: name of the file, its text, a finding in it."""
    ids = sorted({f.detector for _, _, f in found})
    numbers = {id_: i for i, id_ in enumerate(ids)}
    severities = {f.detector: f.severity for _, _, f in found}
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "llmguard",
                        "semanticVersion": __version__,
                        "rules": [_rule(id_, severities[id_], detectors.get(id_)) for id_ in ids],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "results": [_result(name, text, f, numbers[f.detector]) for name, text, f in found],
            }
        ],
    }


def _rule(id_: str, severity: str, detector: Detector | None) -> dict[str, Any]:
    told = f"{detector.type}: {detector.source}" if detector else "names and addresses of people"
    return {
        "id": id_,
        "shortDescription": {"text": told},
        "defaultConfiguration": {"level": _LEVELS[severity]},
        "properties": {"security-severity": _SCORES[severity], "tags": ["security", id_.partition(".")[0]]},
    }


def _result(name: str, text: str, f: Finding, rule: int) -> dict[str, Any]:
    return {
        "ruleId": f.detector,
        "ruleIndex": rule,
        "level": _LEVELS[f.severity],
        "message": {"text": f"{f.type} ({f.category}), confidence {f.confidence:.2f}"},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": quote(name.replace("\\", "/"))},
                    "region": region(text, f.start, f.end),
                }
            }
        ],
    }


def region(text: str, start: int, end: int) -> dict[str, int]:
    """Lines and columns from 1; the end column is behind the last character. SARIF §3.30."""
    first, last = text.count("\n", 0, start), text.count("\n", 0, end)
    return {
        "startLine": first + 1,
        "startColumn": start - (text.rfind("\n", 0, start) + 1) + 1,
        "endLine": last + 1,
        "endColumn": end - (text.rfind("\n", 0, end) + 1) + 1,
    }
