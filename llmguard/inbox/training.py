"""Training: the part of an approval's page that is about training data: its report, and the sample with what was
decided and said of its records.

It shows what the API says; ``records`` sends what people choose. Texts of the sample are redacted; they are somebody
else's all the same, and escaped like any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from llmguard.census.lowest import Estimate
from llmguard.census.told import brief, percent
from llmguard.inbox import seen
from llmguard.inbox.api import Problem
from llmguard.inbox.charts import ranked
from llmguard.inbox.forms import Form
from llmguard.inbox.visit import Visit

CHOICES = (("redact", "redact"), ("keep", "keep as written"), ("drop", "drop"))
LABELS = (("none", "not looked at"), ("fine", "fine"), ("missed", "missed something"))
STRATA = {"clean": "nothing found", "bad": "could not be read"}
SHORT = 600
"""Characters of a sampled record that stand in the table; the rest is folded."""
DRAWN = 12
"""Types that are drawn; the table behind the picture has all."""


@dataclass(frozen=True, slots=True)
class Row:
    """One record of the sample. ``number`` counts from 1; ``places``: what was found where."""

    number: int
    begins: str
    rest: str
    cut: int
    places: tuple[str, ...]
    choice: str
    by: str
    label: str


@dataclass(frozen=True, slots=True)
class Group:
    """The sampled records of one stratum."""

    name: str
    words: str
    records: int
    rows: tuple[Row, ...]
    opened: bool


async def look(visit: Visit, held: Mapping[str, Any], kept: Form) -> dict[str, Any] | None:
    """What the page shows of training data; None for everything else."""
    if held["subject"] != "call" or held["kind"] != "training" or visit.live:
        return None
    try:
        review = await visit.api.get(f"/approvals/{held['id']}/report")
    except Problem as e:
        if e.status != 404:
            raise
        return None
    return _shown(held, review, kept)


async def lineage(visit: Visit, held: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What came of a call that was sent, as far as the provider named it."""
    if held["state"] != "EXECUTED" or held["subject"] != "call" or visit.live:
        return []
    try:
        steps: list[Mapping[str, Any]] = (await visit.api.get(f"/lineage/{held['id']}"))["steps"]
    except Problem as e:
        if e.status != 404:
            raise
        return []
    return [step for step in steps if step["kind"] != "approval"]


def _shown(held: Mapping[str, Any], review: Mapping[str, Any], kept: Form) -> dict[str, Any]:
    report = review["report"]
    types = [(t["type"], int(t["findings"])) for t in report["types"]]
    types.sort(key=lambda t: (-t[1], t[0]))
    return {
        "report": report,
        "facts": list(_facts(report)),
        "chart": ranked(types[:DRAWN]) if types else Markup(""),
        "types": types,
        "groups": _groups(report, review, kept),
        "decisions": review["decisions"],
        "decided": review["decided"],
        "labels": review["labels"],
        "bound": report["residual"][-1] if report["residual"] else None,
        "bounds": [(_words(b["stratum"]), b) for b in report["residual"][:-1]],
        "percent": percent,
        "tick": seen.tick(held["digest"], 0, 1, 1),
        "choices": CHOICES,
        "says": LABELS,
    }


def _facts(report: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Figures: a name, a number, and what it says."""
    people, copies, alike = report["people"], report["copies"], report["alike"]
    gone = sum(s["records"] - s["leaving"] for s in report["strata"])
    bad = sum(s["records"] for s in report["strata"] if s["name"] == "bad")
    near = f"{alike['records']:,} of {alike['looked']:,} nearly equal another" if alike["installed"] else ""
    rows = [
        ("records", f"{report['records']:,}", f"{gone:,} do not leave" if gone else "all leave"),
        ("tokens", _brief(report["tokens"]["total"]), f"half have up to {report['tokens']['median']:,}"),
        ("people, at least", _brief(people["distinct"]), f"up to {people['most']:,} in one record"),
        ("duplicates", _brief(copies["surplus"]), near),
        ("bad records", f"{bad:,}", "left out" if bad else "all could be read"),
        ("canary-like strings", _brief(report["strings"]["repeated"]), "drawn by a machine, and come back"),
    ]
    return rows


def _brief(estimate: Mapping[str, Any]) -> str:
    return brief(Estimate(estimate["value"], estimate["error"]))


def _groups(report: Mapping[str, Any], review: Mapping[str, Any], kept: Form) -> list[Group]:
    """The worst first; what was found nothing in comes last, folded."""
    made: list[Group] = []
    counts = {s["name"]: int(s["records"]) for s in report["strata"]}
    for name in ("critical", "high", "medium", "low", "bad", "clean"):
        drawn = sorted((s for s in report["sample"] if s["stratum"] == name), key=lambda s: s["record"])
        if drawn:
            rows = tuple(_row(s, review, kept) for s in drawn)
            made.append(Group(name, _words(name), counts[name], rows, opened=not made))
    return made


def _words(stratum: str) -> str:
    return STRATA.get(stratum, f"worst finding: {stratum}")


def _row(sampled: Mapping[str, Any], review: Mapping[str, Any], kept: Form) -> Row:
    number, text = sampled["record"] + 1, str(sampled["text"])
    choice, by = chosen(review["decisions"], number)
    label = review["labels"].get(str(number), {}).get("label", "none")
    places = tuple(f"{kind}{f' ×{times}' if times > 1 else ''}: {where}" for kind, where, times in sampled["found"])
    return Row(
        number,
        text[:SHORT],
        text[SHORT:],
        sampled["size"] if sampled["size"] > 4 * len(text) else 0,
        places,
        kept[f"r{number}"] or choice,
        by,
        kept[f"l{number}"] or label,
    )


def chosen(decisions: Sequence[Mapping[str, Any]], number: int) -> tuple[str, str]:
    """What was decided of a record, and by whom."""
    for decision in decisions:
        first, _, last = str(decision["records"]).partition("-")
        if int(first) <= number <= int(last or first):
            return str(decision["choice"]), str(decision["by"])
    return "redact", ""
