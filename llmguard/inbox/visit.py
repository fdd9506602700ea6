"""Visit: one request of a browser, as the handlers of pages see it: who asks, what was typed, and how to answer.

It owns the way from a template to an answer. Invariant: what a template gets is escaped by the engine or by ``text``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from llmguard.inbox import cookies
from llmguard.inbox.api import Answer, Api, Problem
from llmguard.inbox.cookies import Look
from llmguard.inbox.forms import Form, local
from llmguard.inbox.render import Templates

LIVE = "x-llmguard-live"
"""Of a request of inbox.js for the part of a page that may have changed; its value is the seconds it waits."""
POLL = 25
"""Seconds that such a request waits for news, at most."""


class Unchanged(Exception):
    """A part of a page is what the browser has already."""

    def __init__(self, etag: str) -> None:
        super().__init__(etag)
        self.etag = etag


class Visit:
    """``me``: who is logged in, as ``GET /me`` says; {} on open pages. ``kept``: what was typed before a login."""

    def __init__(self, request: Request, api: Api, templates: Templates, token: str, *, home: str) -> None:
        self.request = request
        self.api = api
        self.templates = templates
        self.token = token
        self.home = home
        self.look = Look.of(request)
        self.me: dict[str, Any] = {}
        self.form = Form()
        self.kept = Form()

    # ----------------------------------------------------------------- asked

    async def enter(self) -> None:
        """Learns who is logged in. Raises Problem for whoever is not."""
        self.me = await self.api.get("/me")

    @property
    def secure(self) -> bool:
        """Whether browsers reach us by https, so that cookies go nowhere else."""
        return self.home.startswith("https:")

    @property
    def elsewhere(self) -> bool:
        """Whether the browser calls this host by another name than identity providers do."""
        return urlsplit(self.home).netloc != self.request.headers.get("host", "")

    @property
    def here(self) -> str:
        """The path of this page, with its query."""
        query = self.request.url.query
        return self.request.url.path + (f"?{query}" if query else "")

    def at(self, path: str) -> bool:
        """Whether this page is the one at ``path``, or below it."""
        own = self.request.url.path
        return own == path or (path != "/inbox" and own.startswith(f"{path}/"))

    @property
    def query(self) -> Mapping[str, str]:
        return self.request.query_params

    def part(self, name: str) -> str:
        """A part of the path: ``{id}``."""
        return str(self.request.path_params[name])

    @property
    def live(self) -> bool:
        """Whether a script asks for what may have changed, and not a person for a page."""
        return LIVE in self.request.headers

    async def watched(self, path: str, /, **query: str | int | None) -> Answer:
        """A look at a list that can wait for news (``wait`` and ``If-None-Match``). Raises Problem, Unchanged."""
        if not self.live:
            return await self.api.call("GET", path, query=query)
        seconds = self.request.headers[LIVE]
        wait = min(int(seconds), POLL) if seconds.isdecimal() and len(seconds) < 4 else 0
        known = [("if-none-match", self.request.headers.get("if-none-match", ""))]
        answer = await self.api.call("GET", path, query={**query, "wait": wait}, headers=known)
        if answer.status == 304:
            raise Unchanged(answer.etag)
        return answer

    # ----------------------------------------------------------------- answered

    def page(self, template: str, *, status: int = 200, part: str = "", etag: str = "", **values: Any) -> Response:
        """A template as a page. ``part``: the template of what changes on it, which alone is sent to a script."""
        asked = part if part and self.live else template
        content = self.templates.render(asked, visit=self, etag=etag, **values)
        return Response(content, status, {"etag": etag} if etag else None, media_type="text/html")

    def problem(self, problem: Problem, **values: Any) -> Response:
        """What went wrong, and what to do about it."""
        wait = {"retry-after": str(problem.retry_after)} if problem.retry_after else {}
        answer = self.page("problem.html", status=problem.status, problem=problem, **values)
        answer.headers.update(wait)
        return answer

    @staticmethod
    def to(path: str) -> Response:
        """Sends the browser to a page of ours."""
        return Response(status_code=303, headers={"location": local(path)})

    @staticmethod
    def leading(url: str) -> Response:
        """Sends the browser to an address that we wrote ourselves."""
        return Response(status_code=303, headers={"location": url})

    def begin(self, answer: Response, token: str) -> Response:
        """From now on the browser is in this session."""
        cookies.begin_session(answer, token, secure=self.secure)
        return answer
