"""The inbox as an application: which page answers, who may see it, and what every answer says to the browser.

Order is security: origin, then session, then the form's token, then the page. Whoever has no session any more logs in
and gets what was typed back; nothing is decided by a form of another session.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from llmguard.config import Settings
from llmguard.inbox import (
    account,
    approval,
    audit,
    cookies,
    dashboard,
    detectors,
    history,
    login,
    people,
    policy,
    queue,
    records,
    revise,
)
from llmguard.inbox.api import Api, Problem
from llmguard.inbox.forms import HERE, RESUME, TOKEN, Form, local, posted, same_origin
from llmguard.inbox.pages import Page
from llmguard.inbox.render import Templates
from llmguard.inbox.static_files import StaticFiles
from llmguard.inbox.visit import Unchanged, Visit

log = logging.getLogger("llmguard")
ROOMS: tuple[tuple[Page, ...], ...] = (
    queue.PAGES,
    approval.PAGES,
    revise.PAGES,
    records.PAGES,
    history.PAGES,
    dashboard.PAGES,
    audit.PAGES,
    policy.PAGES,
    people.PAGES,
    detectors.PAGES,
    account.PAGES,
    login.PAGES,
)
"""The pages of each module, in the order of the navigation."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "referrer-policy": "same-origin",  # with none at all, browsers post forms without their origin
    "x-frame-options": "DENY",
}


def inbox(app: ASGIApp, settings: Settings) -> ASGIApp:
    """The pages over the control plane's ``app``."""
    return Inbox(app, settings).application()


class Inbox:
    """Pages, and the way of each request to one."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._home = settings.control_url.rstrip("/")
        self._pages = tuple(page for room in ROOMS for page in room)
        self._static = StaticFiles()
        self._templates = Templates(self._static, self._pages)

    def application(self) -> Starlette:
        paths: dict[str, dict[str, Page]] = {}
        for page in self._pages:
            paths.setdefault(page.path, {})[page.method] = page
        routes = [Route("/", self._first), Route("/inbox/static/{name}", self._file)]
        routes += [Route(path, self._served(methods), methods=["GET", "POST"]) for path, methods in paths.items()]
        handlers = {HTTPException: self._refused, Exception: self._crashed}
        app = Starlette(routes=routes, exception_handlers=handlers)
        app.router.redirect_slashes = False
        return app

    # ----------------------------------------------------------------- the way to a page

    def _served(self, methods: Mapping[str, Page]) -> Callable[[Request], Awaitable[Response]]:
        async def serve(request: Request) -> Response:
            visit = self._visit(request)
            try:
                answer = await self._answered(visit, methods)
            except Unchanged as e:
                answer = Response(status_code=304, headers={"etag": e.etag})
            except Problem as e:
                answer = await self._wrong(visit, e)
            answer.headers.update(HEADERS)
            return answer

        return serve

    async def _answered(self, visit: Visit, methods: Mapping[str, Page]) -> Response:
        method = "GET" if visit.request.method == "HEAD" else visit.request.method
        if method == "POST":
            return await self._posted(visit, methods)
        if "GET" not in methods:
            raise Problem(405, "method_not_allowed", "this address takes a form only")
        return await self._shown(visit, methods["GET"])

    async def _shown(self, visit: Visit, page: Page) -> Response:
        if not page.open:
            if not visit.token and visit.request.headers.get("sec-fetch-site") == "cross-site":
                return visit.page("step.html", to=visit.here)  # from another site no browser sends the session
            await visit.enter()
        return await page.handler(visit)

    async def _posted(self, visit: Visit, methods: Mapping[str, Page]) -> Response:
        if not same_origin(visit.request):
            raise Problem(403, "foreign_origin", "forms of other sites are refused")
        page = methods.get("POST", methods.get("GET"))
        assert page is not None  # noqa: S101  a route has a page
        visit.form = await posted(visit.request, page.most)
        if RESUME in visit.form and "GET" in methods:
            visit.kept = Form(visit.form.typed())
            return await self._shown(visit, methods["GET"])
        if page.method != "POST":
            raise Problem(405, "method_not_allowed", "this page takes no form")
        if not page.open:
            await visit.enter()
            if not cookies.same_form(visit.token, visit.form[TOKEN]):
                raise Problem(403, "form_too_old", "this form is of an earlier login, so nothing was done")
        return await page.handler(visit)

    async def _wrong(self, visit: Visit, problem: Problem) -> Response:
        """Who has to log in does so, and comes back with what was typed; everything else is said."""
        if visit.live:
            return Response(status_code=problem.status)
        typed, back = visit.form.typed(), local(visit.form[HERE] or visit.here)
        if problem.code == "unauthenticated" and visit.request.url.path != "/inbox/login":
            return await login.asked(visit, back, typed, over=bool(visit.token))
        if problem.code == "login_too_old":
            return await login.asked(visit, back, typed, again=True)
        return visit.problem(problem, back=back, typed=typed)

    def _visit(self, request: Request) -> Visit:
        secure = self._home.startswith("https:")
        token = cookies.session_of(request, secure=secure)
        api = Api(self._app, request, token, background="x-llmguard-live" in request.headers)
        return Visit(request, api, self._templates, token, home=self._home)

    # ----------------------------------------------------------------- beside the pages

    async def _first(self, _: Request) -> Response:
        return Response(status_code=303, headers={"location": "/inbox"})

    async def _file(self, request: Request) -> Response:
        found = self._static.answer(request.path_params["name"], request.query_params.get("v", ""))
        if found is None:
            raise HTTPException(404)
        return found

    async def _refused(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101  registered for this type
        words = {404: ("not_found", "there is no such page"), 405: ("method_not_allowed", "this page takes no form")}
        code, detail = words.get(error.status_code, ("http", error.detail))
        return await self._plain(request, Problem(error.status_code, code, detail))

    async def _crashed(self, request: Request, error: Exception) -> Response:
        log.error("a page of the inbox failed: %s", type(error).__name__)
        return await self._plain(
            request, Problem(500, "internal_error", "a part of the guard failed; its log names which")
        )

    async def _plain(self, request: Request, problem: Problem) -> Response:
        """A problem outside of every page, with the navigation for whoever is logged in."""
        visit = self._visit(request)
        if visit.token and problem.status < 500:
            with contextlib.suppress(Problem):
                await visit.enter()
        answer = visit.problem(problem, back="/inbox", typed=())
        answer.headers.update(HEADERS)
        return answer
