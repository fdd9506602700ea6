"""Login: into the inbox and out of it, by code, password or identity provider; the first person; and how pages look.

It owns what the browser carries while somebody is away at an identity provider. Invariant: a session begins with a new
token, in the cookie alone, and after it the browser goes to a page of ours, with what was typed before.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Sequence
from urllib.parse import parse_qsl, urlencode

from starlette.responses import Response

from llmguard.inbox import cookies
from llmguard.inbox.api import BASE, Problem
from llmguard.inbox.cookies import THEMES, Look
from llmguard.inbox.forms import HERE, local
from llmguard.inbox.pages import Page
from llmguard.inbox.visit import Visit

WAY = "llmguard_way"
"""Cookie of a browser that is at an identity provider: the verifier of its code, and the page that it wants."""
_WAY_PATH = "/inbox/login"
_WAY_SECONDS = 600
_KEPT = "kept."
_OLD = Problem(400, "invalid_request", "this browser began no such login, or too long ago: log in again")


# --------------------------------------------------------------------------- asked for


async def asked(
    visit: Visit, back: str, typed: Sequence[tuple[str, str]] = (), *, over: bool = False, again: bool = False
) -> Response:
    """Whoever has to log in does so first. With nothing ``typed``, on a page of its own.

    ``over``: there was a session. ``again``: there is one, and it is too old for this.
    """
    if not typed:
        return visit.leading(_address(back, over=over, again=again))
    return await _page(visit, back, typed, over=over, again=again, status=401)


async def _page(
    visit: Visit,
    back: str,
    typed: Sequence[tuple[str, str]] = (),
    *,
    over: bool = False,
    again: bool = False,
    problem: Problem | None = None,
    status: int = 200,
) -> Response:
    providers = (await visit.api.get("/login/providers"))["providers"]
    first = (await visit.api.get("/setup"))["open"]
    email = visit.form["email"] or visit.me.get("email", "")
    return visit.page(
        "login.html",
        status=status,
        providers=providers,
        first=first,
        back=back,
        typed=typed,
        over=over,
        again=again,
        problem=problem,
        email=email,
    )


def _address(back: str, *, over: bool, again: bool) -> str:
    asked = {"next": back if back != "/inbox" else "", "over": "1" if over else "", "again": "1" if again else ""}
    query = urlencode({name: value for name, value in asked.items() if value})
    return "/inbox/login" + (f"?{query}" if query else "")


async def show(visit: Visit) -> Response:
    """Where people log in."""
    query = visit.query
    return await _page(visit, local(query.get("next", "/inbox")), over="over" in query, again="again" in query)


# --------------------------------------------------------------------------- by code or password


async def log_in(visit: Visit) -> Response:
    """A code, or an address and its password."""
    form, back = visit.form, local(visit.form["next"])
    typed = [(name.removeprefix(_KEPT), value) for name, value in form.typed() if name.startswith(_KEPT)]
    if form["code"].strip():
        sent = {"code": form["code"]}
    else:
        sent = {"email": form["email"].strip(), "password": form["password"]}
    try:
        session = await visit.api.post("/login", sent)
    except Problem as e:
        return await _page(visit, back, typed, again=bool(form["again"]), problem=e, status=e.status)
    await _end_former(visit)
    visit.token = session["token"]
    if typed:
        return visit.begin(visit.page("kept.html", back=back, typed=typed, problem=None), visit.token)
    return visit.begin(visit.to(back), visit.token)


async def _end_former(visit: Visit) -> None:
    """The session that the browser had is over: its own person's already, and anybody else's now."""
    if not visit.token:
        return
    try:
        await visit.api.post("/logout")
    except Problem as e:
        if e.code != "unauthenticated":
            raise


# --------------------------------------------------------------------------- at an identity provider


async def start(visit: Visit) -> Response:
    """Leads to an identity provider. ``tab``: in a tab of its own, since something typed waits in another."""
    query = visit.query
    if visit.elsewhere and "here" not in query:  # providers send people back to one address, where the cookies must be
        return visit.leading(f"{visit.home}/inbox/login/start?{urlencode({**query, 'here': '1'})}")
    verifier = secrets.token_urlsafe(48)
    kept = {"verifier": verifier, "next": local(query.get("next", "/inbox")), "tab": query.get("tab", "")[:1]}
    asked = {"challenge": cookies.s256(verifier), "provider": query.get("provider", "")[:32]}
    asked |= {"max_age": "0"} if "again" in query else {}
    answer = visit.leading(f"{BASE}/login/start?{urlencode(asked)}")
    answer.set_cookie(
        WAY, urlencode(kept), _WAY_SECONDS, path=_WAY_PATH, secure=visit.secure, httponly=True, samesite="lax"
    )
    return answer


async def returned(visit: Visit) -> Response:
    """The browser comes back from the provider: with a one-time code, or with what went wrong there."""
    kept = dict(parse_qsl(visit.request.cookies.get(WAY, "")))
    verifier, back = kept.get("verifier", ""), local(kept.get("next", "/inbox"))
    if not verifier or not hmac.compare_digest(cookies.s256(verifier), visit.query.get("challenge", "")):
        raise _OLD
    try:
        if "error" in visit.query:
            raise Problem(403, "not_logged_in", visit.query["error"][:500])
        session = await visit.api.post("/login", {"code": visit.query.get("code", "")[:200], "verifier": verifier})
    except Problem as e:
        answer = await _page(visit, back, problem=e, status=e.status)
    else:
        await _end_former(visit)
        shown = visit.page("tab.html") if kept.get("tab") else visit.page("step.html", to=back)
        answer = visit.begin(shown, session["token"])
    answer.delete_cookie(WAY, path=_WAY_PATH, secure=visit.secure, httponly=True, samesite="lax")
    return answer


async def log_out(visit: Visit) -> Response:
    """Ends the session, and says where the one at the identity provider ends."""
    ended = await visit.api.post("/logout")
    visit.token, visit.me = "", {}
    answer = visit.page("out.html", end_session=ended["end_session"])
    cookies.end_session(answer, secure=visit.secure)
    return answer


# --------------------------------------------------------------------------- the first person


async def set_up(visit: Visit) -> Response:
    """The form that makes the first person, while nobody is active."""
    first = (await visit.api.get("/setup"))["open"]
    return visit.page("setup.html", first=first, problem=None, email="")


async def set_up_done(visit: Visit) -> Response:
    form = visit.form
    sent = {"token": form["token"], "email": form["email"].strip()}
    sent |= {"password": form["password"]} if form["password"] else {}
    try:
        session = await visit.api.post("/setup", sent)
    except Problem as e:
        return visit.page("setup.html", status=e.status, first=True, problem=e, email=form["email"])
    return visit.begin(visit.to("/inbox/account"), session["token"])


# --------------------------------------------------------------------------- how pages look


async def choose(visit: Visit) -> Response:
    """Light or dark, and whether single keys do something: kept in the browser."""
    theme = visit.form["theme"]
    answer = visit.to(local(visit.form[HERE]))
    Look(theme if theme in THEMES else "auto", bool(visit.form["keys"])).keep(answer, secure=visit.secure)
    return answer


PAGES = (
    Page("GET", "/inbox/login", show, open=True),
    Page("POST", "/inbox/login", log_in, open=True, most=2 * 1024 * 1024),
    Page("GET", "/inbox/login/start", start, open=True),
    Page("GET", "/inbox/login/return", returned, open=True),
    Page("POST", "/inbox/logout", log_out),
    Page("GET", "/inbox/setup", set_up, open=True),
    Page("POST", "/inbox/setup", set_up_done, open=True),
    Page("POST", "/inbox/look", choose),
)
