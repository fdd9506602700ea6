"""Rubric: how serious a labelled document is, by what people marked in it and never by what was found (rubric.toml)."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

Span = tuple[int, int, str]
"""Start, end, and the label that people gave."""
LEVELS = ("none", "low", "medium", "high", "critical")
_FILE = Path(__file__).with_name("rubric.toml")


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of labelled value. ``level`` "": such values cannot be judged."""

    name: str
    level: str
    labels: str
    why: str
    source: str


@cache
def kinds() -> tuple[Kind, ...]:
    """In the order in which they are tried."""
    return tuple(Kind(**k) for k in _read()["kind"])


@cache
def kind_of(label: str) -> Kind:
    """The first kind whose pattern is found in a label. Raises ValueError for one that the rubric does not know."""
    found = next((k for k in kinds() if re.search(k.labels, label.upper())), None)
    if found is None:
        raise ValueError(f"benchmarks/rubric.toml has no kind for the label {label!r}")
    return found


def serious(text: str, spans: Sequence[Span] | None) -> bool | None:
    """Whether losing the document is serious; None where the labels do not allow to say."""
    if spans is None:
        return None
    held = [(kind_of(label), text[start:end].casefold()) for start, end, label in spans]
    rules = _read()["serious"]
    if any(kind.level in rules["levels"] for kind, _ in held):
        return True
    if any(not kind.level for kind, _ in held):
        return None
    contacts = {(label.upper().removeprefix("UNIT_")) for _, _, label in spans if kind_of(label).level == "medium"}
    named = any("PERSON" in label.upper() for _, _, label in spans)
    personal = {
        (kind_of(label).name, text[start:end].casefold())
        for start, end, label in spans
        if kind_of(label).level == "medium" or "PERSON" in label.upper()
    }
    combined, many = int(rules["combined"]), int(rules["many"])
    return (named and len(contacts) >= combined) or len(personal) >= many


def table() -> str:
    """The rubric as a table of docs/risk.md."""
    rows = [f"| {k.name} | {k.level or 'not judged'} | {k.why} | {k.source} |" for k in kinds()]
    return "\n".join(["| labelled as | level | because | source |", "|---|---|---|---|", *rows])


@cache
def _read() -> dict[str, Any]:
    return tomllib.loads(_FILE.read_text(encoding="utf-8"))
