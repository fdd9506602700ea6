"""Detectors: a text to try them with. What was typed goes to the guard and back, and is kept nowhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from starlette.responses import Response

from llmguard.inbox.api import Problem
from llmguard.inbox.dashboard import VERDICTS
from llmguard.inbox.pages import Page
from llmguard.inbox.visit import Visit

LONGEST = 64 * 1024
"""Characters of a text."""
FORM = 13 * LONGEST
"""Bytes of a form with so many of the longest characters."""
ROWS = 300
"""Findings that are listed; marked in the text are all."""
USES = {
    "inference": "be answered by a model",
    "stored": "be stored there",
    "training": "train a model",
}
Piece = tuple[str, Mapping[str, Any] | None, int]


async def show(visit: Visit) -> Response:
    return _page(visit, visit.kept["text"], visit.kept["use"])


async def scan(visit: Visit) -> Response:
    text, use = visit.form["text"], visit.form["use"]
    use = use if use in USES else "inference"
    if not text.strip():
        return _page(visit, text, use, problem=Problem(400, "invalid_request", "there is no text to look through"))
    try:
        told = await visit.api.post("/scan", {"text": text, "use": use})
    except Problem as e:
        if e.code == "unauthenticated":
            raise
        return _page(visit, text, use, problem=e)
    return _page(visit, text, use, told=told, pieces=pieces(text, told["findings"]))


def pieces(text: str, findings: Sequence[Mapping[str, Any]]) -> Iterator[Piece]:
    """The text cut at its findings: each piece with the finding that it is, and that one's number."""
    at = 0
    for number, finding in enumerate(findings, 1):
        if finding["start"] > at:
            yield text[at : finding["start"]], None, 0
        at = finding["end"]
        yield text[finding["start"] : at], finding, number
    if at < len(text):
        yield text[at:], None, 0


def _page(visit: Visit, text: str, use: str, problem: Problem | None = None, **result: Any) -> Response:
    values = {"told": None, "pieces": (), **result}
    status = problem.status if problem else 200
    words = {verdict: said for verdict, (said, _) in VERDICTS.items()} | {"error": "refused: a rule errs on it"}
    return visit.page(
        "detectors.html",
        status=status,
        text=text,
        use=use,
        uses=USES,
        problem=problem,
        longest=LONGEST,
        most=ROWS,
        words=words,
        **values,
    )


PAGES = (
    Page("GET", "/inbox/detectors", show, nav="Detectors"),
    Page("POST", "/inbox/detectors", scan, most=FORM),
)
