"""Page: one row of the table that the inbox is. Routes and navigation are made from nothing else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from starlette.responses import Response

if TYPE_CHECKING:
    from llmguard.inbox.visit import Visit

MAX_FORM = 64 * 1024
"""Bytes of a form, unless its page says otherwise."""


@dataclass(frozen=True, slots=True)
class Page:
    """What a method does at a path. A POST acts and then sends the browser to a page (303), or shows what went wrong.

    ``path`` begins with ``/inbox``. ``nav``: its word in the navigation, if it is there. ``open``: needs no session.
    ``most``: bytes of its form.
    """

    method: Literal["GET", "POST"]
    path: str
    handler: Callable[[Visit], Awaitable[Response]]
    nav: str = ""
    open: bool = False
    most: int = MAX_FORM
