"""Approval: one held request as its reviewers see it, and what they decide about it.

It shows what the API says and sends what people press; the one thing that it asks for itself is that whoever approves
has looked at all of what leaves. Raw values come by a POST alone, which the log has.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from llmguard.inbox import seen, training
from llmguard.inbox.api import Problem, segment
from llmguard.inbox.charts import scale, term
from llmguard.inbox.content import Section, plain, read
from llmguard.inbox.events import told
from llmguard.inbox.forms import Form
from llmguard.inbox.marks import Marks
from llmguard.inbox.pages import Page
from llmguard.inbox.spelling import spaced
from llmguard.inbox.visit import Visit

MOST_PARTS = 40
FOLDED = 600
"""Characters from which on a part that seldom matters is folded."""
MAX_EDITED = 64 * 1024
"""Characters of a body that can be edited on a page."""
MOST_POSTED = 4 * 1024 * 1024
VERDICTS = ("approve", "deny", "request_changes")
DONE = {
    "approve": "Your approval is counted.",
    "deny": "You have denied it: nothing leaves.",
    "request_changes": "You have asked for changes. Whoever asked is told, with your reason.",
    "break_glass": "You have let it through alone. Everybody is told, and others review it.",
    "cancel": "It is withdrawn.",
    "revoke": "The approval is taken back.",
    "standing": "You have asked that calls like this one are approved in advance.",
    "exception": "You have asked that this finding is none any more.",
    "revised": "This is your revision; it is voted on anew.",
    "records": "This is the revision with what you decided of its records; it is voted on anew.",
    "labels": "What you saw is kept.",
}
HOURS = (1, 2, 4, 8)
DAYS = (1, 7, 30, 90)


@dataclass(frozen=True, slots=True)
class Shown:
    """A part of what leaves, with the tick that says it was looked at, and what was written in its place."""

    sections: tuple[Section, ...]
    tick: str
    folded: bool
    written: tuple[Section, ...] | None = None


# --------------------------------------------------------------------------- looking


async def show(visit: Visit) -> Response:
    return await page(visit, visit.kept)


async def raw(visit: Visit) -> Response:
    """The page with what was written beside what leaves. The API writes down who looked."""
    id_ = segment(visit.part("id"))
    content = await visit.api.post(f"/approvals/{id_}/payload", {})
    return await page(visit, visit.form, written=content["original"])


async def page(
    visit: Visit, kept: Form, problem: Problem | None = None, written: Mapping[str, Any] | None = None
) -> Response:
    """``kept``: what was typed before. ``written``: the raw content, if it was asked for."""
    id_ = segment(visit.part("id"))
    news = (await visit.watched(f"/approvals/{id_}/timeline")) if problem is None else None
    at = _offset(visit.query.get("at", "0"))
    approval = await visit.api.get(f"/approvals/{id_}", offset=at, length=1 if visit.live else None)
    events = (news.json() if news else await visit.api.get(f"/approvals/{id_}/timeline"))["events"]
    values = {**_decision(approval, kept, at, live=visit.live), "events": told(events), "problem": problem}
    if not visit.live:
        values |= _content(approval, at, written) | _look(approval)
        values |= {"review": await training.look(visit, approval, kept), "onward": values["next_at"]}
        values["lineage"] = await training.lineage(visit, approval)
        if values["review"]:
            values["next_at"] = None  # nobody reads a whole data set: who approves looks at its report and the sample
    return visit.page(
        "approval.html",
        part="approval_live.html",
        status=problem.status if problem else 200,
        etag=news.etag if news else "",
        a=approval,
        kept=kept,
        done=DONE.get(visit.query.get("done", ""), "") if problem is None else "",
        made=visit.query.get("made", "") if visit.query.get("made", "").isalnum() else "",
        **values,
    )


def _offset(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 11 else 0


def _look(approval: Mapping[str, Any]) -> dict[str, Any]:
    """The risk as a picture, and the words around it."""
    reasons = [r for r in approval["risk"]["reasons"] if r["points"] or r["left"]]
    numbers = [0.0, *(n for r in reasons for n in (r["points"], r["left"]))]
    terms = [{**r, "chart": term(r["points"], r["left"], min(numbers), max(numbers))} for r in reasons]
    where = {r["term"]: r["text"] for r in approval["risk"]["reasons"]}
    return {
        "terms": terms,
        "silent": [r["text"] for r in approval["risk"]["reasons"] if not r["points"] and not r["left"]],
        "scales": [(n, scale(approval["risk"][n])) for n in ("inherent", "residual")],
        "trust": where.get("where", "").removeprefix("sent to "),
        "use": where.get("use", ""),
    }


def _decision(approval: Mapping[str, Any], kept: Form, at: int, *, live: bool) -> dict[str, Any]:
    """What the form of a vote needs. Ticks of windows before this one are carried along."""
    body = approval["egress"]["body"]
    of, digest = body["total"], approval["digest"]
    ticks = kept.several("seen")
    behind = seen.reached(digest, ticks, of)
    carried = [seen.tick(digest, 0, behind, of)] if body["total"] > body["bytes"] and behind else []
    return {
        "ticks": frozenset(ticks),
        "carried": carried,
        "behind": behind,
        "editable": _editable(approval) if approval["may"]["vote"] else None,
        "next_at": at + body["bytes"] if at + body["bytes"] < of and not live else None,
        "windowed": body["total"] > body["bytes"],
        "hours": HOURS,
        "days": DAYS,
    }


def _content(approval: Mapping[str, Any], at: int, written: Mapping[str, Any] | None) -> dict[str, Any]:
    egress, digest = approval["egress"], approval["digest"]
    body = egress["body"]
    marks = Marks(approval["placeholders"], certain=bool(approval["placeholders"]) or not approval["findings"])
    if body["total"] > body["bytes"]:  # one window of it, as it is
        end = body["offset"] + body["bytes"]
        tick = seen.tick(digest, body["offset"], end, body["total"])
        before = (plain(content_of(written)),) if written and at == 0 else None
        parts = [Shown((plain(content_of(body)),), tick, folded=False, written=before)]
    else:
        sections = read(approval["subject"], media_of(egress), content_of(body))
        pairs = _paired(sections, read(approval["subject"], media_of(egress), content_of(written)) if written else None)
        parts = _parts(sections, digest, pairs)
    unpaired = written is not None and all(p.written is None for p in parts)
    return {
        "marks": marks,
        "parts": parts,
        "raw": written is not None,
        "whole_written": content_of(written).decode(errors="replace") if unpaired and written else None,
        "cut_written": written is not None and written["bytes"] < written["total"],
        "exact": body["text"] if body["total"] == body["bytes"] else None,
    }


def media_of(egress: Mapping[str, Any]) -> str:
    return next((str(value) for name, value in egress["headers"] if name.lower() == "content-type"), "")


def content_of(body: Mapping[str, Any]) -> bytes:
    """The bytes of a content of the API."""
    text = str(body["text"])
    return base64.b64decode(text) if body["encoding"] == "base64" else text.encode()


def _paired(leaving: tuple[Section, ...], written: tuple[Section, ...] | None) -> tuple[Section, ...] | None:
    """What was written, section by section, if it has the same shape."""
    if written is None or len(leaving) != len(written):
        return None
    same = all(
        a.title == b.title
        and [(x.kind, len(x.rows), len(x.table)) for x in a.blocks]
        == [(x.kind, len(x.rows), len(x.table)) for x in b.blocks]
        for a, b in zip(leaving, written, strict=True)
    )
    return written if same else None


def _parts(sections: tuple[Section, ...], digest: str, written: tuple[Section, ...] | None) -> list[Shown]:
    """One part for each section, or for several where there are many."""
    each = -(-len(sections) // MOST_PARTS)
    starts = range(0, len(sections), each)
    of = len(starts)
    made = []
    for n, start in enumerate(starts):
        own = sections[start : start + each]
        folded = each == 1 and own[0].folded and own[0].size > FOLDED
        beside = written[start : start + each] if written else None
        made.append(Shown(own, seen.tick(digest, n, n + 1, of), folded, beside))
    return made


def _editable(approval: Mapping[str, Any]) -> dict[str, str] | None:
    """What a reviewer who asks for changes may rewrite: the body of a call, the arguments of an action."""
    body = approval["egress"]["body"]
    if body["encoding"] != "utf-8" or body["bytes"] < body["total"] or approval["subject"] not in ("call", "action"):
        return None
    text = spaced(body["text"])
    if approval["subject"] == "action":
        try:
            text = json.dumps(json.loads(text)["arguments"], indent=2, ensure_ascii=False)
        except (ValueError, KeyError, TypeError, RecursionError):
            return None
    if len(text) > MAX_EDITED:
        return None
    return {"text": text, "digest": _digest(text)}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


# --------------------------------------------------------------------------- deciding


async def vote(visit: Visit) -> Response:
    """Approve, deny, or ask for changes. What is refused leaves everything that was typed where it was."""
    form = visit.form
    verdict = form["verdict"]
    if verdict not in VERDICTS:
        return await page(visit, form, _wrong("choose: approve, deny or request changes"))
    if verdict == "approve" and not seen.complete(form["digest"], form.several("seen")):
        words = "you have not looked at all of what would leave: tick each part, and then approve"
        return await page(visit, form, _wrong(words))
    body = {"verdict": verdict, "digest": form["digest"], "reason": form["reason"].strip()}
    if verdict == "request_changes":
        if not body["reason"]:
            return await page(visit, form, _wrong("say what has to change: the reason is all that the requester sees"))
        if form["proposal"].strip() and _digest(form["proposal"]) != form["proposal_was"]:
            body["proposal"] = form["proposal"]
    return await _acted(visit, "votes", body, verdict)


async def break_glass(visit: Visit) -> Response:
    form = visit.form
    if form["sure"] != "1":
        return await page(visit, form, _wrong("tick that everybody is told of it, and that others review it"))
    return await _acted(visit, "break-glass", {"digest": form["digest"], "reason": form["emergency"]}, "break_glass")


async def cancel(visit: Visit) -> Response:
    return await _acted(visit, "cancel", {}, "cancel")


async def revoke(visit: Visit) -> Response:
    return await _acted(visit, "revoke", {}, "revoke")


async def standing(visit: Visit) -> Response:
    hours = _offset(visit.form["hours"])
    return await _acted(visit, "standing", {"seconds": hours * 3600}, "standing")


async def exception(visit: Visit) -> Response:
    """Asks that a finding is none; what it is stays where it is, behind its placeholder."""
    form = visit.form
    body: dict[str, Any] = {
        "approval": segment(visit.part("id")),
        "placeholder": form["placeholder"],
        "reason": form["why"].strip(),
        "seconds": _offset(form["days_of"]) * 86400,
    }
    body |= {name: True for name in ("everywhere", "secret") if form[name] == "1"}
    return await _acted(visit, "", body, "exception", path="/exceptions")


async def _acted(visit: Visit, act: str, body: Mapping[str, Any], done: str, path: str = "") -> Response:
    """Sends it, once and on the version that was shown; shows what went wrong where it was typed."""
    id_ = segment(visit.part("id"))
    version = visit.form["version"] if act in ("votes", "break-glass") else ""
    try:
        answer = await visit.api.post(
            path or f"/approvals/{id_}/{act}",
            body,
            version=int(version) if version.isascii() and version.isdecimal() and len(version) < 10 else None,
            once=visit.form["once"] if visit.form["once"].isascii() else "",
        )
    except Problem as e:
        if e.code in ("unauthenticated", "login_too_old") or e.status in (404, 429) or e.status >= 500:
            raise
        return await page(visit, visit.form, e)
    made = (answer.get("approval") or {}).get("id", "") if isinstance(answer, dict) and "applied" in answer else ""
    return visit.to(f"/inbox/approvals/{id_}?done={done}" + (f"&made={made}" if made else ""))


def _wrong(words: str) -> Problem:
    return Problem(422, "not_complete", words)


async def evidence(visit: Visit) -> Response:
    """The evidence as a file. The API writes down who took it."""
    id_ = segment(visit.part("id"))
    asked = json.dumps({"payload": visit.form["payload"] == "1"}).encode()
    headers = [("content-type", "application/json")]
    answer = await visit.api.call("POST", f"/approvals/{id_}/evidence", asked, headers=headers)
    name = "".join(c for c in id_ if c.isalnum())
    disposition = f'attachment; filename="evidence-{name}.json"'
    return Response(answer.body, headers={"content-disposition": disposition}, media_type="application/json")


def _acts(handlers: Iterable[tuple[str, Any]]) -> tuple[Page, ...]:
    return tuple(
        Page("POST", f"/inbox/approvals/{{id}}/{name}", handler, most=MOST_POSTED) for name, handler in handlers
    )


PAGES = (
    Page("GET", "/inbox/approvals/{id}", show, most=MOST_POSTED),
    Page("POST", "/inbox/approvals/{id}", raw, most=MOST_POSTED),
    *_acts(
        (
            ("vote", vote),
            ("break-glass", break_glass),
            ("cancel", cancel),
            ("revoke", revoke),
            ("standing", standing),
            ("exception", exception),
            ("evidence", evidence),
        )
    ),
)
