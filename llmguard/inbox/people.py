"""People and keys: who may decide, who may call, and the powers that people gave for a time.

Almost every change of them is an approval by somebody else: whoever asks is told so, and shown where it waits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from llmguard.inbox.api import Problem, segment
from llmguard.inbox.pages import Page
from llmguard.inbox.visit import Visit

VIEWS = {
    "people": "People",
    "keys": "Keys",
    "delegations": "Delegations",
    "grants": "Standing grants",
    "exceptions": "Exceptions",
}
"""A list in its own words; its name is the API's."""
PAGE = 50
DAY = 86_400
_ID = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}")
_PASSED_ON = ("unauthenticated", "login_too_old")
_SCOPES = ("principal", "operation", "destination", "detector")


async def show(visit: Visit) -> Response:
    return await _page(visit, visit.query.get("view", "people"))


async def _page(visit: Visit, view: str, problem: Problem | None = None) -> Response:
    view = view if view in VIEWS else "people"
    told = await visit.api.get(f"/{view}", limit=PAGE, cursor=visit.query.get("cursor", ""))
    asked = visit.query.get("asked", "") if problem is None else ""
    return visit.page(
        "people.html",
        status=problem.status if problem else 200,
        view=view,
        views=VIEWS,
        rows=told[view],
        more=urlencode({"view": view, "cursor": told["next"]}) if told["next"] else "",
        problem=problem,
        typed=visit.kept if visit.kept.typed() else visit.form,
        asked=asked if _ID.fullmatch(asked) else "",
        done=problem is None and "done" in visit.query,
        now=int(datetime.now(UTC).timestamp() * 1000),
    )


async def _ask(visit: Visit, view: str, path: str, body: Mapping[str, Any] | None = None) -> Response:
    """Acts; then leads back to the list, which says whether it is done or where it waits."""
    try:
        told = await visit.api.post(path, body, once=visit.form["once"])
    except Problem as e:
        if e.code in _PASSED_ON:
            raise
        return await _page(visit, view, e)
    return visit.to(f"/inbox/people?{urlencode({'view': view, **_said(told)})}")


def _said(told: Mapping[str, Any]) -> dict[str, str]:
    """Whether it waits, and where. What ended at once has no ``applied``."""
    return {"asked": told["approval"]["id"]} if told.get("applied") is False else {"done": "1"}


# --------------------------------------------------------------------------- people and keys


async def put_person(visit: Visit) -> Response:
    groups = [group for group in re.split(r"[\s,;]+", visit.form["groups"]) if group]
    return await _ask(visit, "people", "/people", {"email": visit.form["email"].strip(), "groups": groups})


async def deactivate(visit: Visit) -> Response:
    return await _ask(visit, "people", f"/people/{segment(visit.part('email'))}/deactivate")


async def make_key(visit: Visit) -> Response:
    """The secret is in this answer alone: no address leads to it again."""
    form = visit.form
    body: dict[str, Any] = {"name": form["name"].strip(), "agent": form["agent"] == "1"}
    body |= {"human": form["human"].strip()} if form["human"].strip() else {}
    try:
        told = await visit.api.post("/keys", {**body, **_limits(visit)})
    except Problem as e:
        if e.code in _PASSED_ON:
            raise
        return await _page(visit, "keys", e)
    return visit.page("key.html", told=told, name=body["name"])


async def link_key(visit: Visit) -> Response:
    try:
        body = {"digest": visit.form["digest"].strip().lower(), "human": visit.form["human"].strip(), **_limits(visit)}
    except Problem as e:
        return await _page(visit, "keys", e)
    return await _ask(visit, "keys", "/keys/link", body)


async def revoke_key(visit: Visit) -> Response:
    return await _ask(visit, "keys", f"/keys/{segment(visit.part('id'))}/revoke")


def _limits(visit: Visit) -> dict[str, Any]:
    """What a key is for, and for how long. Raises Problem."""
    scopes = [scope for scope in re.split(r"[\s,;]+", visit.form["scopes"]) if scope]
    days = _days(visit, least=0)
    return {"scopes": scopes} | ({"expires_in": days * DAY} if days else {})


def _days(visit: Visit, least: int = 1) -> int:
    days = visit.form["days"].strip() or "0"
    if not days.isdecimal() or len(days) > 5 or int(days) < least:
        raise Problem(400, "invalid_request", "the days are a whole number")
    return int(days)


# --------------------------------------------------------------------------- powers for a time


async def delegate(visit: Visit) -> Response:
    form = visit.form
    try:
        times = {name: _moment(form[name]) for name in ("starts", "ends")}
    except Problem as e:
        return await _page(visit, "delegations", e)
    body = {"receiver": form["receiver"].strip(), "groups": form.several("group"), **times}
    return await _ask(visit, "delegations", "/delegations", body)


def _moment(typed: str) -> int:
    """A time of a form, in UTC milliseconds. Raises Problem."""
    try:
        return int(datetime.fromisoformat(typed).replace(tzinfo=UTC).timestamp() * 1000)
    except ValueError:
        raise Problem(400, "invalid_request", "begin and end are times: 2026-01-31T12:00") from None


async def end_delegation(visit: Visit) -> Response:
    return await _ask(visit, "delegations", f"/delegations/{segment(visit.part('id'))}/revoke")


async def end_grant(visit: Visit) -> Response:
    return await _ask(visit, "grants", f"/grants/{segment(visit.part('id'))}/revoke")


async def add_exception(visit: Visit) -> Response:
    form = visit.form
    try:
        seconds = _days(visit) * DAY
    except Problem as e:
        return await _page(visit, "exceptions", e)
    body: dict[str, Any] = {
        "type": form["type"].strip().upper(),
        "value": form["value"],
        "reason": form["reason"].strip(),
    }
    body |= {name: form[name].strip() for name in _SCOPES if form[name].strip()}
    body |= {"seconds": seconds, "secret": "secret" in form}
    return await _ask(visit, "exceptions", "/exceptions", body)


async def remove_exception(visit: Visit) -> Response:
    return await _ask(visit, "exceptions", f"/exceptions/{segment(visit.part('id'))}/remove")


PAGES = (
    Page("GET", "/inbox/people", show, nav="People"),
    Page("POST", "/inbox/people/put", put_person),
    Page("POST", "/inbox/people/of/{email}/deactivate", deactivate),
    Page("POST", "/inbox/people/keys", make_key),
    Page("POST", "/inbox/people/keys/link", link_key),
    Page("POST", "/inbox/people/keys/{id}/revoke", revoke_key),
    Page("POST", "/inbox/people/delegations", delegate),
    Page("POST", "/inbox/people/delegations/{id}/end", end_delegation),
    Page("POST", "/inbox/people/grants/{id}/end", end_grant),
    Page("POST", "/inbox/people/exceptions", add_exception),
    Page("POST", "/inbox/people/exceptions/{id}/remove", remove_exception),
)
