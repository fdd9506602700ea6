"""How held calls ended, and how long people took: counts and times for the dashboard. It reads, and decides nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from llmguard.approvals.history import begins
from llmguard.store import Transaction

MOST = 20_000
"""The newest approvals that one look counts."""
_UNDECIDED = frozenset(("PENDING", "EXPIRED", "CANCELLED"))


@dataclass(frozen=True, slots=True)
class Endings:
    """``states``: approvals by state. ``taken``: milliseconds from the hold to the last vote of each that people
    decided, sorted. ``partial``: there are more than were counted.
    """

    states: Mapping[str, int]
    taken: tuple[int, ...]
    partial: bool = False

    def quantile(self, share: float) -> int | None:
        """Within how many milliseconds this share of the decisions was there; None without any."""
        return self.taken[min(len(self.taken) - 1, int(share * len(self.taken)))] if self.taken else None


def endings(tx: Transaction, tenant: str, since: int, human: str | None = None) -> Endings:
    """Of the calls and actions held since a moment (UTC ms), all of them or those of one accountable ``human``."""
    mine, who = ("", ()) if human is None else (" AND human = ?", (human,))
    votes = "SELECT max(time) FROM votes WHERE votes.tenant = approvals.tenant AND approval = id"
    sql = (
        f"SELECT state, created, ({votes}) AS voted FROM approvals WHERE tenant = ? AND id > ?"  # noqa: S608  own words
        f" AND subject IN ('call', 'action'){mine} ORDER BY id DESC LIMIT ?"
    )
    rows = tx.all(sql, tenant, begins(since), *who, MOST + 1)
    counted = rows[:MOST]
    taken = [
        max(0, row["voted"] - row["created"])
        for row in counted
        if row["voted"] is not None and row["state"] not in _UNDECIDED
    ]
    return Endings(Counter(row["state"] for row in counted), tuple(sorted(taken)), len(rows) > MOST)
