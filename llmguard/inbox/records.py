"""Records: what people decide and say of single records of training data, on the page of its approval.

It sends what was chosen otherwise than it was, and shows what went wrong where it was chosen.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from llmguard.inbox import approval
from llmguard.inbox.api import Problem, segment
from llmguard.inbox.pages import Page
from llmguard.inbox.training import CHOICES, chosen
from llmguard.inbox.visit import Visit

MOST_POSTED = 256 * 1024


async def decide(visit: Visit) -> Response:
    """Sends what is decided otherwise than it was: of records of the sample, and of those that were typed."""
    id_, form = segment(visit.part("id")), visit.form
    review = await visit.api.get(f"/approvals/{id_}/report")
    wanted: dict[str, str] = {}
    for sampled in review["report"]["sample"]:
        number = sampled["record"] + 1
        if form[f"r{number}"] and form[f"r{number}"] != chosen(review["decisions"], number)[0]:
            wanted[str(number)] = form[f"r{number}"]
    for choice, _ in CHOICES:
        for named in form[f"also_{choice}"].replace(",", " ").split():
            if wanted.setdefault(named, choice) != choice:
                return await approval.page(visit, form, _wrong(f"record {named} is named twice"))
    if not wanted:
        return await approval.page(visit, form, _wrong("nothing is decided otherwise than it was: choose for a record"))
    body = {"digest": form["digest"], "version": _version(form["version"]), "decisions": wanted}
    return await _posted(visit, f"/approvals/{id_}/records", body, "records")


async def label(visit: Visit) -> Response:
    """Sends what was seen in records of the sample."""
    id_, form = segment(visit.part("id")), visit.form
    review = await visit.api.get(f"/approvals/{id_}/report")
    numbers = [str(s["record"] + 1) for s in review["report"]["sample"]]
    now = {n: review["labels"].get(n, {}).get("label", "none") for n in numbers}
    labels = {n: form[f"l{n}"] for n in numbers if form[f"l{n}"] and form[f"l{n}"] != now[n]}
    if not labels:
        return await approval.page(visit, form, _wrong("no label is another than it was: say of a record what you saw"))
    return await _posted(visit, f"/approvals/{id_}/labels", {"digest": form["digest"], "labels": labels}, "labels")


async def _posted(visit: Visit, path: str, body: Mapping[str, Any], done: str) -> Response:
    try:
        answer = await visit.api.post(path, body)
    except Problem as e:
        if e.code in ("unauthenticated", "login_too_old") or e.status in (404, 429) or e.status >= 500:
            raise
        return await approval.page(visit, visit.form, e)
    return visit.to(f"/inbox/approvals/{answer.get('id') or segment(visit.part('id'))}?done={done}")


def _version(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and 0 < len(text) < 10 else 0


def _wrong(words: str) -> Problem:
    return Problem(422, "not_complete", words)


async def report(visit: Visit) -> Response:
    """The report as a file: its own style stands in it, which no page of ours may have."""
    id_ = segment(visit.part("id"))
    answer = await visit.api.call("GET", f"/approvals/{id_}/report.html")
    disposition = answer.headers["content-disposition"]
    return Response(answer.body, headers={"content-disposition": disposition}, media_type="text/html")


PAGES = (
    Page("POST", "/inbox/approvals/{id}/records", decide, most=MOST_POSTED),
    Page("POST", "/inbox/approvals/{id}/labels", label, most=MOST_POSTED),
    Page("GET", "/inbox/approvals/{id}/report", report),
)
