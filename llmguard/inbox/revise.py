"""Revise: the human behind a held call puts another body in its place, after reviewers asked for changes.

The difference is shown before anything is sent; what is sent is voted on anew, by the same rules.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from llmguard.inbox.api import Problem, segment
from llmguard.inbox.approval import MAX_EDITED, MOST_POSTED
from llmguard.inbox.forms import Form
from llmguard.inbox.marks import Marks
from llmguard.inbox.pages import Page
from llmguard.inbox.spelling import spaced
from llmguard.inbox.visit import Visit

MOST_LINES = 2000
"""Lines of a difference that are shown."""


async def show(visit: Visit) -> Response:
    """The editor; with what was typed, also what it would change."""
    return await _page(visit, visit.kept)


async def _page(visit: Visit, kept: Form, problem: Problem | None = None) -> Response:
    approval = await visit.api.get(f"/approvals/{segment(visit.part('id'))}")
    body = approval["egress"]["body"]
    own = body["encoding"] == "utf-8" and body["bytes"] == body["total"] and len(body["text"]) <= MAX_EDITED
    now = spaced(body["text"]) if own else ""
    proposal = spaced(approval["proposal"] or "")
    typed = kept["body"] or proposal or now
    return visit.page(
        "revise.html",
        status=problem.status if problem else 200,
        a=approval,
        problem=problem,
        own=own,
        typed=typed,
        proposed=difference(now, proposal) if proposal else None,
        changed=difference(now, typed) if "body" in kept else None,
        same=typed == now,
        marks=Marks(approval["placeholders"], certain=False),
        asked=_asked(approval),
    )


def _asked(approval: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Who asked for changes, and why."""
    return [vote for vote in approval["votes"] if vote["verdict"] == "request_changes"]


def difference(before: str, after: str) -> list[str]:
    """Lines of a unified diff."""
    old, new = before.splitlines()[:MOST_LINES], spaced(after).splitlines()[:MOST_LINES]
    return list(difflib.unified_diff(old, new, "now", "then", lineterm="", n=2))[:MOST_LINES]


async def revise(visit: Visit) -> Response:
    body = {"body": visit.form["body"], "digest": visit.form["digest"]}
    try:
        after = await visit.api.post(f"/approvals/{segment(visit.part('id'))}/revise", body)
    except Problem as e:
        if e.code in ("unauthenticated", "login_too_old") or e.status in (404, 429) or e.status >= 500:
            raise
        return await _page(visit, visit.form, e)
    return visit.to(f"/inbox/approvals/{after['id']}?done=revised")


PAGES = (
    Page("GET", "/inbox/approvals/{id}/revise", show, most=MOST_POSTED),
    Page("POST", "/inbox/approvals/{id}/revise", revise, most=MOST_POSTED),
)
