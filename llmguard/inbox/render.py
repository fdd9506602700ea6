"""Templates: jinja2 with everything escaped, a name that is missing an error, and our own filters. Compiled once."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import jinja2

from llmguard.inbox import cookies, text
from llmguard.inbox.pages import Page
from llmguard.inbox.static_files import StaticFiles

if TYPE_CHECKING:
    from llmguard.inbox.visit import Visit

_FILTERS: Mapping[str, Callable[..., Any]] = {
    "visible": text.visible,
    "body": text.body,
    "count": text.count,
    "moment": text.moment,
    "since": text.since,
    "size": text.size,
    "digits": text.digits,
    "level": text.level,
    "state": text.state,
    "points": text.points,
}


class Templates:
    """The templates of ``llmguard/inbox/templates``; ``pages`` are those that the navigation names."""

    def __init__(self, static: StaticFiles, pages: tuple[Page, ...]) -> None:
        self._environment = jinja2.Environment(
            loader=jinja2.PackageLoader("llmguard.inbox"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            auto_reload=False,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters.update(_FILTERS)
        self._environment.globals.update(
            asset=static.url,
            nav=[(page.path, page.nav) for page in pages if page.nav],
            once=lambda: secrets.token_urlsafe(16),
        )

    def render(self, name: str, /, *, visit: Visit, **values: Any) -> str:
        """Every template has ``visit``, ``me``, ``look`` and ``form_token`` beside its own values."""
        token = cookies.form_token(visit.token) if visit.token else ""
        own = {"visit": visit, "me": visit.me, "look": visit.look, "form_token": token}
        return self._environment.get_template(name).render(**own, **values)
