"""What the world outside of the guard knows of a run, and the figures made of it. Nothing here looks at a guard."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.report import Row


class Violated(RuntimeError):
    """Invariants did not hold. ``rows`` are the figures all the same."""

    def __init__(self, rows: Sequence[Row], violations: Sequence[str]) -> None:
        super().__init__("; ".join(violations[:20]))
        self.rows = rows


@dataclass(frozen=True)
class Kill:
    """One process that was killed: what it was, what it was doing, and on whose behalf."""

    victim: str
    phase: str
    marker: str = ""


@dataclass
class Known:
    """What the world outside of the guard knows. Appended to by many threads."""

    arrived: list[tuple[str, int]] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    voted: list[tuple[str, str, str]] = field(default_factory=list)
    answered: list[str] = field(default_factory=list)
    kills: list[Kill] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    log: str = ""
    states: dict[str, str] = field(default_factory=dict)
    """Of all approvals, by id."""
    outcomes: dict[str, str] = field(default_factory=dict)
    """The state of the newest approval of each marker."""


def facts(known: Known) -> dict[str, Any]:
    """What is true of all kills together."""
    states = Counter(known.states.values())
    spent = states["EXECUTED"] + states["INDETERMINATE"]
    wrong = sum("arrived" in v and "times" in v for v in known.violations)
    return {
        "approvals": dict(states.most_common()),
        "INDETERMINATE of those spent": f"{100 * states['INDETERMINATE'] / max(1, spent):.1f} %",
        "told of": f"{len(set(known.held))} approvals, {len(known.voted)} votes, {len(set(known.answered))} answers",
        "sent twice, or by nobody's leave": wrong,
        "lost": sum("is gone" in v for v in known.violations),
        "log": known.log,
        "violations": len(known.violations),
    }


def table(known: Known) -> list[Row]:
    """Kills by what was killed and what it was doing, with how the approval behind it ended."""
    groups: dict[tuple[str, str], list[Kill]] = defaultdict(list)
    for kill in known.kills:
        groups[(kill.victim, kill.phase)].append(kill)
    rows = [_row(*key, kills, known) for key, kills in sorted(groups.items())]
    return [*rows, _row("all", "", known.kills, known)]


def _row(victim: str, phase: str, kills: Sequence[Kill], known: Known) -> Row:
    ends = Counter(known.outcomes.get(k.marker, "none") for k in kills)
    refused = ends["DENIED"] + ends["CHANGES_REQUESTED"] + ends["EXPIRED"] + ends["CANCELLED"]
    return {
        "killed": victim,
        "while": phase,
        "kills": len(kills),
        "EXECUTED": ends["EXECUTED"],
        "INDETERMINATE": ends["INDETERMINATE"],
        "FAILED": ends["FAILED"],
        "unspent": ends["PENDING"] + ends["APPROVED"],
        "refused": refused,
        "none": ends["none"],
    }
