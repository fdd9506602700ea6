"""History: what was decided, when and how it ended. Looking changes nothing; evidence is taken by a POST."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from llmguard.inbox.pages import Page
from llmguard.inbox.queue import SUBJECTS
from llmguard.inbox.text import STATES
from llmguard.inbox.visit import Visit

FILTERS = ("text", "operation", "requester", "type", "risk", "subject", "state")
OUTCOMES = {word: told for word, told in STATES.items() if word not in ("PENDING", "CHANGES_REQUESTED")}
PAGE = 50
_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


async def show(visit: Visit) -> Response:
    mine = visit.query.get("mine") == "1"
    chosen = {name: visit.query[name].strip() for name in FILTERS if visit.query.get(name, "").strip()}
    asked: dict[str, str | int] = {"closed": 1, "limit": PAGE, **({"mine": 1} if mine else {}), **chosen}
    listed: dict[str, Any] = await visit.api.get("/approvals", **asked, cursor=visit.query.get("cursor", ""))
    own = {"mine": "1"} if mine else {}
    older = urlencode({**own, **chosen, "cursor": listed["next"]}) if listed["next"] else ""
    rows = [{**row, "took": took(row)} for row in listed["approvals"]]
    return visit.page(
        "history.html", rows=rows, chosen=chosen, mine=mine, older=older, outcomes=OUTCOMES, subjects=SUBJECTS
    )


def took(row: Mapping[str, Any]) -> str:
    """How long people took to decide; "" if they did not."""
    return span(row["decided"] - row["created"]) if row["decided"] is not None else ""


def span(ms: int) -> str:
    """``4 min``, ``2 h 5 min``: a time in at most two units."""
    seconds = max(0, ms) // 1000
    told = []
    for size, unit in _UNITS:
        count, seconds = divmod(seconds, size)
        if count:
            told.append(f"{count} {unit}")
    return " ".join(told[:2]) or "less than a second"


PAGES = (Page("GET", "/inbox/history", show, nav="History"),)
