"""Forms: what a browser posts, bounded, and where it may be sent afterwards. It decides nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl

from starlette.requests import Request

from llmguard.inbox.api import Problem

MAX_FIELDS, MAX_PATH = 300, 2000
TOKEN, HERE, RESUME = "_form", "_here", "_resume"
"""The form's token, the page that it stands on, and the wish to have what was typed back on that page."""
OWN = frozenset({TOKEN, HERE, RESUME})
SECRET = frozenset({"password", "again", "code", "token"})
"""Fields that are never written into a page again."""
_LEADING_ON = ("/inbox/login", "/inbox/logout", "/inbox/setup", "/inbox/static")
_UP = re.compile(r"(?i)/(?:\.|%2e)")
"""What browsers take for a step up, and what begins like it."""
_LOCAL = re.compile(r"/inbox(?:[/?](?!/)[A-Za-z0-9._~%!$&'()*+,;=:@/?-]*)?")


class Form:
    """The fields of a posted form. A field that is missing is ""."""

    def __init__(self, pairs: Sequence[tuple[str, str]] = ()) -> None:
        self._pairs = tuple(pairs)

    def __getitem__(self, name: str) -> str:
        return next((value for key, value in self._pairs if key == name), "")

    def __contains__(self, name: str) -> bool:
        return any(key == name for key, _ in self._pairs)

    def several(self, name: str) -> list[str]:
        """All values of a field that may come more than once."""
        return [value for key, value in self._pairs if key == name]

    def typed(self) -> tuple[tuple[str, str], ...]:
        """What somebody typed or chose: everything but our own fields and secrets."""
        return tuple(pair for pair in self._pairs if pair[0] not in OWN | SECRET)


async def posted(request: Request, most: int) -> Form:
    """Raises Problem for what is no form of ours, or too long."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise Problem(415, "no_form", "this page takes its own forms only")
    received = bytearray()
    async for chunk in request.stream():
        received += chunk
        if len(received) > most:
            raise Problem(413, "request_too_large", f"a form has at most {most:,} bytes here: send less text")
    try:
        pairs = parse_qsl(
            received.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS, separator="&"
        )
    except ValueError:
        raise Problem(400, "invalid_request", "the form was not understood: load the page again") from None
    return Form([(name, value.replace("\r\n", "\n")) for name, value in pairs])


def same_origin(request: Request) -> bool:
    """Whether one of our own pages sent this. Browsers say so; what says nothing is no browser's form.

    The plane's door has compared ``Origin`` with the host already.
    """
    site = request.headers.get("sec-fetch-site")
    return site == "same-origin" if site is not None else "origin" in request.headers


def local(path: str) -> str:
    """A page of ours to go to, or the first one: never another site, nor a page that only leads on."""
    plain = len(path) <= MAX_PATH and _LOCAL.fullmatch(path) and not _UP.search(path.partition("?")[0])
    return path if plain and not path.startswith(_LEADING_ON) else "/inbox"


def query_of(values: Mapping[str, str | int]) -> dict[str, str]:
    """The parameters that say something."""
    return {name: str(value) for name, value in values.items() if value not in ("", 0)}
