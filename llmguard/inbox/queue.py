"""Queue: what waits, and for whom; the first page of the inbox. It follows what happens while it is looked at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from llmguard.inbox.pages import Page
from llmguard.inbox.text import STATES
from llmguard.inbox.visit import Visit

VIEWS: Mapping[str, tuple[str, Mapping[str, str | int]]] = {
    "me": ("Waiting for me", {"waiting": 1}),
    "open": ("All that waits", {"open": 1}),
    "mine": ("Asked by me", {"mine": 1}),
    "all": ("Everything", {}),
}
"""What of the list a tab shows, as the API says it."""
FILTERS = ("text", "operation", "requester", "type", "risk", "subject", "state")
SUBJECTS = {"call": "call", "action": "action", "change": "change of the guard", "review": "review of an emergency"}
PAGE = 50


async def show(visit: Visit) -> Response:
    """The list of a tab, with its filters; for a script, once it is something else."""
    view = visit.query.get("view", "me")
    view = view if view in VIEWS else "me"
    chosen = {name: visit.query[name].strip() for name in FILTERS if visit.query.get(name, "").strip()}
    asked: dict[str, str | int] = {**VIEWS[view][1], **chosen, "counts": 1, "limit": PAGE}
    answer = await visit.watched("/approvals", **asked, cursor=visit.query.get("cursor", ""))
    listed: dict[str, Any] = answer.json()
    older = urlencode({"view": view, **chosen, "cursor": listed["next"]}) if listed["next"] else ""
    return visit.page(
        "queue.html",
        part="queue_rows.html",
        etag=answer.etag,
        view=view,
        views={name: words for name, (words, _) in VIEWS.items()},
        chosen=chosen,
        rows=listed["approvals"],
        counts=listed["counts"],
        older=older,
        states=STATES,
        subjects=SUBJECTS,
    )


PAGES = (Page("GET", "/inbox", show, nav="Queue"),)
