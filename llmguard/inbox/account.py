"""Account: who one is here, where one is logged in, the password, accounts in chats, and how pages look."""

from __future__ import annotations

from starlette.responses import Response

from llmguard.inbox.api import Problem, segment
from llmguard.inbox.cookies import THEMES
from llmguard.inbox.pages import Page
from llmguard.inbox.visit import Visit


async def show(visit: Visit) -> Response:
    return await _page(visit)


async def _page(visit: Visit, problem: Problem | None = None, code: str = "") -> Response:
    sessions = (await visit.api.get("/sessions"))["sessions"]
    chats = await visit.api.get("/links")
    return visit.page(
        "account.html",
        status=problem.status if problem else 200,
        sessions=sessions,
        links=chats["links"],
        teams=chats["teams"],
        code=code,
        problem=problem,
        done="" if problem else visit.query.get("done", ""),
        themes=THEMES,
    )


async def set_password(visit: Visit) -> Response:
    """Asked twice, since nobody sees what was typed. Other sessions end."""
    if visit.form["password"] != visit.form["again"]:
        return await _page(visit, Problem(400, "invalid_request", "the two passwords are not the same"))
    try:
        await visit.api.post("/password", {"password": visit.form["password"]})
    except Problem as e:
        if e.code in ("unauthenticated", "login_too_old"):
            raise
        return await _page(visit, e)
    return visit.to("/inbox/account?done=password")


async def end_session(visit: Visit) -> Response:
    await visit.api.post(f"/sessions/{segment(visit.part('id'))}/end")
    return visit.to("/inbox/account?done=session")


async def link(visit: Visit) -> Response:
    """The code is on this one page, and nowhere else."""
    made = await visit.api.post("/links")
    return await _page(visit, code=made["code"])


async def unlink(visit: Visit) -> Response:
    await visit.api.post(f"/links/{segment(visit.part('id'))}/remove")
    return visit.to("/inbox/account?done=link")


PAGES = (
    Page("GET", "/inbox/account", show),
    Page("POST", "/inbox/account/password", set_password),
    Page("POST", "/inbox/account/sessions/{id}/end", end_session),
    Page("POST", "/inbox/account/links", link),
    Page("POST", "/inbox/account/links/{id}/remove", unlink),
)
