"""What must hold after processes were killed. Violations are sentences, with markers and ids and no text."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from time import sleep

from benchmarks.crashes import victims
from benchmarks.crashes.known import Known
from benchmarks.crashes.yard import Yard
from llmguard import audit
from llmguard.config import DATABASE
from llmguard.model import Approval

SPENT = ("EXECUTED", "INDETERMINATE")


def look(yard: Yard) -> None:
    """Recovers as a start of the guard does, then holds what is stored against what is known."""
    sleep(0.3)  # what the dead had written to a socket arrives
    yard.sweep()
    stored = yard.approvals()
    arrived: defaultdict[str, list[int]] = defaultdict(list)
    for marker, time in [*yard.known.arrived, *victims.effects(yard.ground.effects)]:
        arrived[marker].append(time)
    for marker in sorted({*stored, *arrived}):
        _once(yard.known, marker, stored[marker], len(arrived[marker]))
    _nothing_lost(yard.known, {a.id: a for found in stored.values() for a in found}, stored)
    _logged(yard, stored, arrived)
    yard.known.violations[:] = dict.fromkeys(yard.known.violations)  # what stays wrong is told once
    yard.known.states = {a.id: a.state for found in stored.values() for a in found}
    yard.known.outcomes = {marker: found[0].state for marker, found in stored.items() if found}


def _once(known: Known, marker: str, found: tuple[Approval, ...], arrived: int) -> None:
    states = Counter(a.state for a in found)
    if not states["EXECUTED"] <= arrived <= states["EXECUTED"] + states["INDETERMINATE"]:
        known.violations.append(f"{marker} arrived {arrived} times and is {dict(states)}")
    if states["EXECUTING"]:
        known.violations.append(f"{marker} is still EXECUTING although nobody lives who does")


def _nothing_lost(known: Known, by_id: dict[str, Approval], stored: dict[str, tuple[Approval, ...]]) -> None:
    for id_ in known.held:
        if id_ not in by_id:
            known.violations.append(f"approval {id_}, which a caller was told of, is gone")
    for id_, who, verdict in known.voted:
        if not any((v.human, v.verdict) == (who, verdict) for a in (by_id.get(id_),) if a for v in a.votes):
            known.violations.append(f"a vote on {id_}, which was acknowledged, is gone")
    for marker in known.answered:
        if not any(a.state in SPENT for a in stored[marker]):
            known.violations.append(f"{marker} was answered, and none of its approvals is spent")


def _logged(yard: Yard, stored: dict[str, tuple[Approval, ...]], arrived: dict[str, list[int]]) -> None:
    folder, data = yard.site.settings.checkpoint_folder, yard.site.settings.data
    audit.checkpoint(yard.guard.store, yard.guard.vault.keyring, yard.guard.origin, folder)
    report = audit.verify(data / DATABASE, folder / audit.CHECKPOINTS)
    yard.known.violations += [f"the log: {p}" for p in report.problems]
    if report.unwitnessed:
        yard.known.violations.append(f"{report.unwitnessed} entries of the log have no checkpoint")
    yard.known.log = f"{report.entries} entries, {report.checkpoints} checkpoints" + (
        ", verified" if report.ok else ", NOT verified"
    )
    decided, held, claimed = _entries(yard)
    for marker, times in arrived.items():
        claims = sorted(t for a in stored[marker] for t in claimed.get(a.id, ()))
        if len(claims) < len(times) or any(c > t for c, t in zip(claims, sorted(times), strict=False)):
            yard.known.violations.append(f"{marker} arrived before the log had a claim")
        if any(held.get(a.id) not in decided for a in stored[marker]):
            yard.known.violations.append(f"{marker} was held without a decision in the log")


def _entries(yard: Yard) -> tuple[set[str], dict[str, str], dict[str, list[int]]]:
    """Decided calls, the call of each approval, the times of its claims."""
    rows = yard.guard.store.read(
        lambda tx: tx.all(
            "SELECT kind, time, leaf FROM audit_entries"
            " WHERE kind IN ('call.decided', 'approval.held', 'approval.claimed') ORDER BY idx"
        )
    )
    decided: set[str] = set()
    held: dict[str, str] = {}
    claimed: defaultdict[str, list[int]] = defaultdict(list)
    for row in rows:
        details = json.loads(row["leaf"])["details"]
        match row["kind"]:
            case "call.decided":
                decided.add(details["call"])
            case "approval.held":
                held[details["approval"]] = details["call"] if details["call"] in decided else "not decided before"
            case _:
                claimed[details["approval"]].append(row["time"])
    return decided, held, claimed
