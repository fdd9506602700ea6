"""A running guard with its inbox, people who have logged in, and what a browser does there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from llmguard.inbox import inbox
from tests.desks import BO, Desk, Plane, control_plane

COOKIE = "llmguard"


class Site(Plane):
    """The control plane with its pages."""

    def browser(self, who: str | None = BO, **headers: str) -> Visitor:
        """Cookies and forms without scripts; logged in as ``who``."""
        return Visitor(self, who, headers)


class Visitor:
    """A browser without scripts: follows links, posts forms as they stand, keeps cookies."""

    def __init__(self, site: Site, who: str | None, headers: dict[str, str]) -> None:
        self.site = site
        own = {"origin": site.url, "sec-fetch-site": "same-origin", **headers}
        self.http = httpx.Client(base_url=site.url, trust_env=False, headers=own)
        if who is not None:
            self.http.cookies.set(COOKIE, site.desk.session(who), domain="127.0.0.1", path="/")

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.http.get(path, **more)

    def post(self, path: str, page: str = "/inbox/account", **fields: str) -> httpx.Response:
        """Posts a form with the token that the forms of ``page`` carry."""
        return self.http.post(path, data={"_form": self.token(page), "_here": page, **fields})

    def token(self, page: str = "/inbox/account") -> str:
        found = re.search(r'name="_form" value="([0-9a-f]{64})"', self.get(page).text)
        return found[1] if found else ""

    @property
    def session(self) -> str:
        return self.http.cookies.get(COOKIE) or ""

    def close(self) -> None:
        self.http.close()


@contextmanager
def served(desk: Desk, **settings: Any) -> Iterator[Site]:
    """The control plane of a desk with its pages, on a free port."""
    with control_plane(desk, pages=inbox, **settings) as plane:
        yield Site(desk, plane.url)
