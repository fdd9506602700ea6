"""Spots: where in a record something was found, in words that no record can choose; and what stayed is covered.

Invariant: of an address only words of known formats and numbers are told, for a key can be somebody's name.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from llmguard.model import Finding, TextPart

_WORDS = frozenset((
    "messages", "content", "role", "name", "tools", "tool_calls", "function", "functions", "arguments", "parameters",
    "description", "properties", "prompt", "completion", "input", "output", "text", "preferred_output",
    "non_preferred_output", "item", "body", "instructions", "id", "url", "audio", "file", "image_url",
    "reference_answer", "response_format", "json_schema", "schema", "refusal", "system", "user", "assistant", "tool",
    "query", "path", "header",
))  # fmt: skip
_LEAST = 3
"""Characters of a value that is covered: a shorter one would cover what it only resembles."""


def spots(
    parts: Sequence[TextPart], findings: Sequence[Sequence[Finding]], most: int
) -> tuple[tuple[str, str, int], ...]:
    """Type, where, how often: what comes most often first."""
    counts = Counter((f.type, where(part.address)) for part, found in zip(parts, findings, strict=True) for f in found)
    return tuple((*key, n) for key, n in sorted(counts.items(), key=lambda c: (-c[1], c[0]))[:most])


def where(address: str) -> str:
    """An address in words: ``messages 2 content``; what is no word of a format is an ellipsis."""
    steps = [step for step in address.replace("#", "/").split("/") if step]
    if len(steps) == 2 and all(map(_numbers, steps)):  # a row of CSV
        return f"column {int(steps[1]) + 1}"
    return " ".join(_step(step) for step in steps[:8]) + (" …" if len(steps) > 8 else "")


def _step(step: str) -> str:
    if _numbers(step):
        return str(int(step) + 1)
    return step if step in _WORDS else "…"


def _numbers(step: str) -> bool:
    return step.isascii() and step.isdecimal() and len(step) < 10


def masked(text: str, parts: Sequence[TextPart], findings: Sequence[Sequence[Finding]]) -> str:
    """A text as it leaves, without the values of it that could not be replaced."""
    for part, found in zip(parts, findings, strict=True):
        if part.redactable:
            continue
        for f in found:
            value = part.text[f.start : f.end]
            for written in {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}:
                if len(written) >= _LEAST:
                    text = text.replace(written, f"‹{f.type}›")
    return text
