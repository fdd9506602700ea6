"""Client: the command line's way to the control plane, and the file that keeps a login.

It owns the credentials file (0600, in a folder 0700). The session goes only to the address that gave it, over TLS
unless that is this machine, never through a redirect. Errors of the control plane come out as LLMGuardError.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit

import httpx

from llmguard.cli.screen import visible
from llmguard.config import Settings
from llmguard.errors import (
    ConfigError,
    Conflict,
    GuardUnavailable,
    InvalidRequest,
    LLMGuardError,
    LoginTooOld,
    NotAllowed,
    NotFound,
    RequestRefused,
    TooManyAttempts,
    Unauthenticated,
)

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
TIMEOUT = 30.0
"""Seconds that one answer may take."""
LONGEST_WAIT = 25
"""Seconds that an answer may be waited for on purpose, less than ``TIMEOUT``."""
_LOST = (httpx.NetworkError, httpx.RemoteProtocolError)
"""The connection broke: whether the request was carried out is not known."""
_KINDS: dict[int, type[LLMGuardError]] = {
    401: Unauthenticated,
    403: NotAllowed,
    404: NotFound,
    409: Conflict,
    429: TooManyAttempts,
    503: GuardUnavailable,
}


@dataclass(frozen=True, slots=True)
class Credentials:
    """A login: where, who, and the session. ``expires`` is UTC milliseconds."""

    url: str
    email: str
    token: str
    expires: int

    def __repr__(self) -> str:
        return f"Credentials({self.email} at {self.url})"


def read_credentials(path: Path) -> Credentials | None:
    """The stored login, or None. Raises ConfigError if others can read the file or it is damaged."""
    try:
        content, mode = path.read_text(), path.stat().st_mode
    except FileNotFoundError:
        return None
    if mode & 0o077:
        raise ConfigError(f"{path} can be read by others: remove it, then log in again")
    try:
        return Credentials(**json.loads(content))
    except (ValueError, TypeError):
        raise ConfigError(f"{path} is damaged: remove it, then log in again") from None


def write_credentials(path: Path, credentials: Credentials) -> None:
    """Replaces the file whole; it is private from its first byte (mkstemp makes it 0600)."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd, temporary = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(fd, "w") as f:
            json.dump(asdict(credentials), f)
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


class ControlClient:
    """Speaks to one control plane, with or without a session. Used as a context manager."""

    def __init__(self, url: str, token: str | None = None, *, timeout: float = TIMEOUT) -> None:
        """Raises ConfigError if the address would carry the session in the clear. ``timeout`` in seconds."""
        parts = urlsplit(url)
        local = parts.hostname in LOOPBACK
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"{visible(url)} is no address of a control plane")
        if parts.scheme == "http" and not local:
            raise ConfigError("the control plane is reached over https, or on this machine: a session is a secret")
        self._url = url.rstrip("/")
        # A proxy of the environment is never in between on this machine.
        self._http = httpx.Client(timeout=timeout, trust_env=not local, follow_redirects=False)
        if token:
            self._http.headers["authorization"] = f"Bearer {token}"

    @classmethod
    def of(cls, settings: Settings, *, timeout: float = TIMEOUT) -> ControlClient:
        """With the stored login. Raises Unauthenticated if there is none."""
        credentials = read_credentials(settings.credentials)
        if credentials is None:
            raise Unauthenticated("llmguard login first: llmguard login --code CODE")
        return cls(credentials.url, credentials.token, timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._http.close()

    def get(self, path: str, **query: str | int | None) -> Any:
        """The JSON answer of a GET below ``/guard/v1``."""
        return self._send("GET", path, params={k: v for k, v in query.items() if v is not None})

    def poll(self, path: str, etag: str | None, **query: str | int | None) -> tuple[Any, str | None]:
        """The JSON answer of a GET and its ETag; None in its place if it is still what ``etag`` names."""
        known = {k: v for k, v in query.items() if v is not None}
        headers = {} if etag is None else {"if-none-match": etag}
        answer = self._answer("GET", path, params=known, headers=headers)
        return (None if answer.status_code == 304 else _content(answer)), answer.headers.get("etag", etag)

    def pages(self, path: str, name: str, **query: str | int | None) -> Iterator[dict[str, Any]]:
        """Every row of a list, page by page."""
        cursor = None
        while True:
            page = self.get(path, cursor=cursor, **query)
            yield from page[name]
            cursor = page.get("next")
            if cursor is None:
                return

    def post(self, path: str, body: Mapping[str, Any], *, version: int | None = None, once: bool = False) -> Any:
        """The JSON answer of a POST below ``/guard/v1``. ``version`` goes into If-Match.

        ``once``: however often it arrives, it is done once; so it is sent again where the connection was lost.
        """
        headers = {} if version is None else {"if-match": f'"{version}"'}
        if once:
            headers["idempotency-key"] = secrets.token_hex(16)
        return self._send("POST", path, again=once, json=dict(body), headers=headers)

    def find(self, prefix: str) -> str:
        """The one approval whose id begins so. Raises NotFound or InvalidRequest."""
        wanted = prefix.strip().upper()
        if not wanted.isalnum() or len(wanted) > 26:
            raise InvalidRequest("an approval is named by its id or the beginning of it: llmguard approvals list")
        if len(wanted) == 26:
            return wanted
        found = [str(a["id"]) for a in self.get("/approvals", prefix=wanted, limit=5)["approvals"]]
        if not found:
            raise NotFound(f"no approval begins with {visible(prefix)}: llmguard approvals list shows them")
        if len(found) > 1:
            raise InvalidRequest(f"several approvals begin so: {', '.join(map(visible, found))}")
        return found[0]

    def _send(self, method: str, path: str, *, again: bool = False, **more: Any) -> Any:
        return _content(self._answer(method, path, again=again, **more))

    def _answer(self, method: str, path: str, *, again: bool = False, **more: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, f"{self._url}/guard/v1{path}", **more)
        except httpx.HTTPError as e:
            if again and isinstance(e, _LOST):
                return self._answer(method, path, **more)
            silent = f"the control plane at {visible(self._url)} does not answer ({type(e).__name__})"
            raise GuardUnavailable(f"{silent}: is llmguard serve running?") from None
        if answer.is_success or answer.status_code == 304:
            return answer
        raise _error(answer)


def _content(answer: httpx.Response) -> Any:
    """Raises RequestRefused for what is no JSON: something else answers at that address."""
    try:
        return answer.json() if answer.content else None
    except ValueError:
        raise RequestRefused("what answers there is no control plane: llmguard login --url URL") from None


def segment(text: str) -> str:
    """One segment of a path."""
    return quote(text, safe="@")


def _error(answer: httpx.Response) -> LLMGuardError:
    code = ""
    try:
        problem = answer.json()
        message = visible(str(problem["detail"]))[:1000]
        code = str(problem.get("type", "")).rpartition(":")[2]
    except (ValueError, KeyError, TypeError, AttributeError):
        message = f"the control plane answered {answer.status_code} and said nothing that can be read"
    kind = LoginTooOld if code == LoginTooOld.code else _KINDS.get(answer.status_code, RequestRefused)
    return kind(message)
