"""Dashboard: what went through in the last days, in counts, as charts with their numbers behind them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup
from starlette.responses import Response

from llmguard.inbox import charts
from llmguard.inbox.charts import Series
from llmguard.inbox.pages import Page
from llmguard.inbox.text import STATES
from llmguard.inbox.visit import Unchanged, Visit

PERIODS = {1: "24 hours", 7: "7 days", 30: "30 days"}
VERDICTS = {
    "redact": ("sent, redacted", 1),
    "allow": ("sent as written", 0),
    "require_approval": ("held for people", 2),
    "block": ("blocked", 3),
}
"""A verdict in words, and its mark."""
WOULD = {
    "redact": "would redact",
    "allow": "would send as written",
    "require_approval": "would hold",
    "block": "would block",
    "error": "would err, and refuse",
}
MOST = 10
"""Bars of a chart; the table behind it has them all."""
NAMES = ("times", "types", "risks", "states", "taken", "rules", "shadow", "principals", "groups")
_UNITS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1000, "s"))


async def show(visit: Visit) -> Response:
    asked = visit.query.get("days", "7")
    days = int(asked) if asked in map(str, PERIODS) else 7
    told = await visit.api.get("/statistics", days=days)
    etag = f'"{hashlib.sha256(repr({**told, "until": 0}).encode()).hexdigest()[:32]}"'
    if visit.live and visit.request.headers.get("if-none-match") == etag:
        raise Unchanged(etag)
    return visit.page(
        "dashboard.html",
        part="dashboard_part.html",
        etag=etag,
        days=days,
        periods=PERIODS,
        told=told,
        patterns=charts.PATTERNS,
        verdicts=VERDICTS,
        would=WOULD,
        states=STATES,
        pictures=pictures(told),
        span=span,
        replaced=sum(row["replaced"] for row in told["types"]),
    )


def pictures(told: Mapping[str, Any]) -> dict[str, Markup]:
    """The charts by name; empty where there is nothing to show."""
    drawn = dict.fromkeys(NAMES, Markup(""))
    if told["calls"]:
        labels = [_label(slot["begin"], told["days"]) for slot in told["times"]]
        kinds = [
            Series(words, [slot["verdicts"][v] for slot in told["times"]], mark)
            for v, (words, mark) in VERDICTS.items()
        ]
        drawn["times"] = charts.columns(labels, kinds, wide=charts.WHOLE)
        written = Series("as written", [bin_["inherent"] for bin_ in told["risks"]], 0)
        left = Series("as it left, or would", [bin_["residual"] for bin_ in told["risks"]], 1)
        risks = [str(bin_["least"]) for bin_ in told["risks"]]
        drawn["risks"] = charts.columns(risks, [written, left], stacked=False)
        drawn["rules"] = _rules(told["rules"][:MOST])
        drawn["principals"] = charts.ranked([(_caller(row), row["calls"]) for row in told["principals"][:MOST]])
        groups = [(row["group"] or "no group", row["calls"]) for row in told["groups"][:MOST]]
        drawn["groups"] = charts.ranked(groups)
    if told["types"]:
        rows = [(row["type"], row["found"], row["replaced"]) for row in told["types"][:MOST]]
        drawn["types"] = charts.shares(rows, ("found", "of them replaced"))
    if told["shadow"]:
        drawn["shadow"] = _rules(told["shadow"][:MOST], WOULD)
    return drawn | _people(told["approvals"])


def _rules(rows: Sequence[Mapping[str, Any]], words: Mapping[str, str] | None = None) -> Markup:
    """Rules by their calls, each bar with the mark of its verdict."""
    marks = [VERDICTS.get(row["verdict"], ("", 3))[1] for row in rows]
    sums: dict[str, Series] = {}
    for row, mark in zip(rows, marks, strict=True):
        name = (words or {v: w for v, (w, _) in VERDICTS.items()}).get(row["verdict"], row["verdict"])
        known = sums.get(name, Series(name, (), mark))
        sums[name] = Series(name, (*known.values, row["calls"]), mark)
    return charts.legend([*sums.values()]) + charts.ranked([(row["rule"], row["calls"]) for row in rows], marks)


def _people(approvals: Mapping[str, Any]) -> dict[str, Markup]:
    drawn = {}
    if approvals["states"]:
        drawn["states"] = charts.ranked([(STATES.get(s, s), n) for s, n in approvals["states"].items()])
    if approvals["decided"]:
        bins = approvals["times"]
        drawn["taken"] = charts.columns(bin_labels(bins), [Series("decided", [b["decided"] for b in bins], 1)])
    return drawn


def bin_labels(bins: Sequence[Mapping[str, Any]]) -> list[str]:
    """``< 5 min`` and so on; the last one is open."""
    ends = [b["most"] for b in bins]
    return [f"≥ {span(ends[i - 1])}" if end is None else f"< {span(end)}" for i, end in enumerate(ends)]


def span(ms: int | None) -> str:
    """A length of time in its largest unit that fits: ``4 min``."""
    if ms is None:
        return "none yet"
    if ms < 1000:
        return "a second"
    unit, word = next(((unit, word) for unit, word in _UNITS if ms >= unit), _UNITS[-1])
    number = ms / unit
    return f"{number:.0f} {word}" if number >= 10 or number == int(number) else f"{number:.1f} {word}"


def _label(ms: int, days: int) -> str:
    at = datetime.fromtimestamp(ms / 1000, UTC)
    return at.strftime("%H:00") if days == 1 else f"{at:%b} {at.day}"


def _caller(row: Mapping[str, Any]) -> str:
    return str(row["name"] or row["id"])


PAGES = (Page("GET", "/inbox/dashboard", show, nav="Dashboard"),)
