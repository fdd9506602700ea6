"""Cookies: what the browser keeps for us: the session, how the pages look, and a login that is under way.

The session's token is in its cookie and nowhere else: scripts cannot read it, other sites cannot make the browser send
it, and the token of a form is derived from it one way. Invariant: a form counts only in the session of its page.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

LOOK = "llmguard_look"
THEMES = ("auto", "light", "dark")
_FORM = b"llmguard inbox form"
_YEAR = 365 * 86400


@dataclass(frozen=True, slots=True)
class Look:
    """What somebody chose for this browser."""

    theme: str = "auto"
    keys: bool = True

    @classmethod
    def of(cls, request: Request) -> Look:
        theme, _, keys = request.cookies.get(LOOK, "").partition(".")
        return cls(theme if theme in THEMES else "auto", keys != "off")

    def keep(self, response: Response, *, secure: bool) -> None:
        value = f"{self.theme}.{'on' if self.keys else 'off'}"
        response.set_cookie(LOOK, value, _YEAR, path="/inbox", secure=secure, httponly=True, samesite="strict")


def session_name(*, secure: bool) -> str:
    """With https a name that browsers take only from this very host, for all of it (RFC 6265bis §4.1.3.2)."""
    return "__Host-llmguard" if secure else "llmguard"


def session_of(request: Request, *, secure: bool) -> str:
    """The session's token, or ""."""
    token = request.cookies.get(session_name(secure=secure), "")
    return token if token.isascii() and token.isprintable() else ""


def begin_session(response: Response, token: str, *, secure: bool) -> None:
    """Ends with the browser; before that, when the API says so."""
    name = session_name(secure=secure)
    response.set_cookie(name, token, path="/", secure=secure, httponly=True, samesite="strict")


def end_session(response: Response, *, secure: bool) -> None:
    name = session_name(secure=secure)
    response.delete_cookie(name, path="/", secure=secure, httponly=True, samesite="strict")


def s256(verifier: str) -> str:
    """The challenge of a verifier (RFC 7636 §4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def form_token(session: str) -> str:
    """What every form of a session carries."""
    return hmac.new(session.encode(), _FORM, hashlib.sha256).hexdigest()


def same_form(session: str, token: str) -> bool:
    return hmac.compare_digest(form_token(session).encode(), token.encode())
