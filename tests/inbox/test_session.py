"""Logging in and out of the pages: cookies, rotation, time, and what was typed when a session ended."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from http.cookies import SimpleCookie

import pytest

from llmguard.identity import SESSION_MS
from llmguard.identity.passwords import hashed
from llmguard.inbox.forms import local
from tests.desks import BO, CY, Desk
from tests.inbox.site import COOKIE, Site, Visitor, served

HIDDEN = re.compile(r'<input type="hidden" name="([^"]+)" value="([^"]*)">')
IDLE = 3600 * 1000


@pytest.fixture
def stranger(site: Site) -> Iterator[Visitor]:
    made = site.browser(None)
    yield made
    made.close()


def password(desk: Desk, who: str) -> str:
    """A password of somebody's, set on the guard's host."""
    made = secrets.token_urlsafe(12)
    phc = hashed(desk.vault, "default", who, made)
    token = desk.session(who)

    def work(tx: object) -> None:
        from llmguard import identity
        from llmguard.identity import passwords

        person = identity.session(tx, desk.vault, token).person  # type: ignore[arg-type]
        passwords.set_password(tx, desk.vault, person, phc, keep=token)  # type: ignore[arg-type]

    desk.store.transact(work)
    return made


# --------------------------------------------------------------------------- in


def test_a_one_time_code_logs_in_once_and_leads_to_the_page_that_was_asked_for(site: Site, stranger: Visitor) -> None:
    asked = stranger.get("/inbox?view=open")
    assert asked.status_code == 303
    assert asked.headers["location"] == "/inbox/login?next=%2Finbox%3Fview%3Dopen"
    page = stranger.get(asked.headers["location"])
    sent = {"code": site.desk.code(BO), "next": dict(HIDDEN.findall(page.text))["next"]}
    answer = stranger.http.post("/inbox/login", data=sent)
    assert (answer.status_code, answer.headers["location"]) == (303, "/inbox?view=open")
    assert stranger.get("/inbox?view=open").status_code == 200
    again = site.browser(None)
    refused = again.http.post("/inbox/login", data=sent)
    assert refused.status_code == 401
    assert "wrong, used or too old" in refused.text
    again.close()


def test_an_address_and_its_password_log_in_and_a_wrong_one_does_not(site: Site, stranger: Visitor) -> None:
    known = password(site.desk, BO)
    wrong = stranger.http.post("/inbox/login", data={"email": BO, "password": known + "x", "next": "/inbox"})
    assert wrong.status_code == 401
    assert f'value="{BO}"' in wrong.text
    assert known not in wrong.text
    assert not stranger.session
    assert stranger.http.post("/inbox/login", data={"email": BO, "password": known}).status_code == 303
    assert BO in stranger.get("/inbox").text


def test_the_cookie_is_kept_from_scripts_and_other_sites_and_ends_with_the_browser(
    site: Site, stranger: Visitor
) -> None:
    told = stranger.http.post("/inbox/login", data={"code": site.desk.code(BO)}).headers["set-cookie"]
    morsel = SimpleCookie(told)[COOKIE]
    assert morsel.value.startswith("lgs_")
    assert (morsel["httponly"], morsel["samesite"].lower(), morsel["path"]) == (True, "strict", "/")
    assert not morsel["domain"] + morsel["max-age"] + morsel["expires"]
    assert not morsel["secure"]


def test_with_https_the_cookie_is_bound_to_this_very_host_and_goes_nowhere_in_the_clear(desk: Desk) -> None:
    with served(desk, control_url="https://guard.example") as site:
        visitor = site.browser(None)
        told = visitor.http.post("/inbox/login", data={"code": desk.code(BO)}).headers["set-cookie"]
        visitor.close()
    morsel = SimpleCookie(told)["__Host-llmguard"]
    assert (morsel["secure"], morsel["path"], morsel["domain"]) == (True, "/", "")


def test_logging_in_again_makes_a_new_session_and_ends_the_former(site: Site, bo: Visitor) -> None:
    former = bo.session
    bo.http.post("/inbox/login", data={"code": site.desk.code(BO)})
    assert bo.session not in ("", former)
    ended = site.call("GET", "/guard/v1/me", headers={"authorization": f"Bearer {former}"})
    assert ended.status_code == 401
    cys = bo.session
    bo.http.post("/inbox/login", data={"code": site.desk.code(CY)})
    assert site.call("GET", "/guard/v1/me", headers={"authorization": f"Bearer {cys}"}).status_code == 401
    assert CY in bo.get("/inbox").text


def test_a_session_that_somebody_planted_before_the_login_is_not_kept(site: Site) -> None:
    victim = site.browser(None)
    victim.http.cookies.set(COOKIE, "lgs_planted", domain="127.0.0.1", path="/")
    victim.http.post("/inbox/login", data={"code": site.desk.code(BO)})
    assert victim.session != "lgs_planted"
    victim.close()


def test_too_many_wrong_codes_are_answered_429_with_the_time_to_wait(stranger: Visitor) -> None:
    codes = [stranger.http.post("/inbox/login", data={"code": "wrong"}) for _ in range(11)]
    assert [c.status_code for c in codes] == [401] * 10 + [429]
    assert "wait a minute" in codes[-1].text


@pytest.mark.parametrize(
    "wanted",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "/inbox//evil.example/../..",
        "/inbox\\@evil.example",
        "/inboxevil",
        "/guard/v1/me",
        "javascript:alert(1)",
        "/inbox/../guard",
        "/inbox/%2E%2e/guard",
        "/inbox?\r\nset-cookie: a=b",
        "/inbox/login?next=/inbox",
        "/inbox/logout",
        "/inbox/" + "a" * 3000,
        "",
    ],
)
def test_after_a_login_the_browser_goes_to_a_page_of_ours_only(site: Site, stranger: Visitor, wanted: str) -> None:
    answer = stranger.http.post("/inbox/login", data={"code": site.desk.code(BO), "next": wanted})
    assert answer.headers["location"] == "/inbox"


def test_pages_of_ours_are_gone_back_to_with_their_query() -> None:
    for path in ("/inbox", "/inbox?view=open&text=a%20b", "/inbox/approvals/01J0?x=1", "/inbox/audit"):
        assert local(path) == path


# --------------------------------------------------------------------------- out, and time


def test_logging_out_ends_the_session_and_takes_the_cookie(site: Site, bo: Visitor) -> None:
    token = bo.session
    answer = bo.post("/inbox/logout")
    assert answer.status_code == 200
    assert "You are logged out" in answer.text
    assert not bo.session
    assert site.call("GET", "/guard/v1/me", headers={"authorization": f"Bearer {token}"}).status_code == 401


def test_an_idle_session_ends_and_the_page_says_why(site: Site, bo: Visitor) -> None:
    site.desk.now += IDLE + 1
    answer = bo.get("/inbox")
    assert answer.headers["location"] == "/inbox/login?over=1"
    assert "Your session is over" in bo.get(answer.headers["location"]).text


def test_a_page_that_stays_open_does_not_keep_an_idle_session_alive(site: Site, bo: Visitor) -> None:
    etag = bo.get("/inbox").headers["etag"]
    for _ in range(4):
        site.desk.now += IDLE // 5
        live = bo.get("/inbox", headers={"x-llmguard-live": "0", "if-none-match": etag})
        assert live.status_code == 304
    site.desk.now += IDLE // 5
    assert bo.get("/inbox", headers={"x-llmguard-live": "0"}).status_code == 401


def test_a_session_in_use_ends_after_twelve_hours(site: Site, bo: Visitor) -> None:
    for _ in range(SESSION_MS // (IDLE // 2)):
        assert bo.get("/inbox").status_code in (200, 303)
        site.desk.now += IDLE // 2
    assert bo.get("/inbox").status_code == 303


def test_one_sees_where_one_is_logged_in_and_ends_another_session(site: Site, bo: Visitor) -> None:
    other = site.desk.session(BO)
    cys = site.desk.session(CY)
    page = bo.get("/inbox/account").text
    assert page.count("one-time code</strong>") == 2
    [id_] = re.findall(r"/inbox/account/sessions/([0-9a-f]+)/end", page)
    assert bo.post(f"/inbox/account/sessions/{id_}/end").status_code == 303
    assert site.call("GET", "/guard/v1/me", headers={"authorization": f"Bearer {other}"}).status_code == 401
    assert site.call("GET", "/guard/v1/me", headers={"authorization": f"Bearer {cys}"}).status_code == 200
    assert bo.post(f"/inbox/account/sessions/{id_}/end").status_code == 404
    assert bo.get("/inbox").status_code == 200


def test_a_password_is_set_when_it_was_typed_twice_alike(site: Site, bo: Visitor) -> None:
    new = secrets.token_urlsafe(12)
    assert "not the same" in bo.post("/inbox/account/password", password=new, again=new + "x").text
    assert "8 to 200" in bo.post("/inbox/account/password", password="x", again="x").text
    assert bo.post("/inbox/account/password", password=new, again=new).headers["location"].endswith("?done=password")
    visitor = site.browser(None)
    assert visitor.http.post("/inbox/login", data={"email": BO, "password": new}).status_code == 303
    visitor.close()


# --------------------------------------------------------------------------- what was typed


def test_what_was_typed_when_the_session_ended_comes_back_after_the_login(site: Site, bo: Visitor) -> None:
    token = bo.token()
    site.desk.now += IDLE + 1
    typed = 'because <b>"quoted"</b>\nsecond line'
    form = {"_form": token, "_here": "/inbox?view=open", "theme": "dark", "reason": typed}
    asked = bo.http.post("/inbox/look", data=form)
    assert asked.status_code == 401
    assert "Nothing you typed is lost" in asked.text
    assert "<b>" not in asked.text
    kept = {name: unescaped(value) for name, value in HIDDEN.findall(asked.text)}
    assert kept["kept.reason"] == typed
    back = bo.http.post("/inbox/login", data={**kept, "code": site.desk.code(BO)})
    assert back.status_code == 200
    assert 'action="/inbox?view=open"' in back.text
    again = {name: unescaped(value) for name, value in HIDDEN.findall(back.text)}
    assert again == {"_resume": "1", "theme": "dark", "reason": typed}
    shown = bo.http.post("/inbox?view=open", data=again)
    assert shown.status_code == 200
    assert "Queue" in shown.text


def unescaped(text: str) -> str:
    from html import unescape

    return unescape(text)


def test_a_wrong_code_does_not_lose_what_was_typed(site: Site, bo: Visitor) -> None:
    site.desk.now += IDLE + 1
    asked = bo.http.post("/inbox/look", data={"_here": "/inbox", "reason": "typed"})
    kept = dict(HIDDEN.findall(asked.text))
    wrong = bo.http.post("/inbox/login", data={**kept, "code": "wrong"})
    assert dict(HIDDEN.findall(wrong.text))["kept.reason"] == "typed"


# --------------------------------------------------------------------------- the first person


def test_the_first_person_is_made_with_the_terminals_token_once_and_as_bootstrap(tmp_path: object) -> None:
    desk = Desk(tmp_path / "guard")  # type: ignore[operator]
    with served(desk, setup="abcd-efgh-2345") as site:
        visitor = site.browser(None)
        assert "/inbox/setup" in visitor.get("/inbox/login").text
        assert "Set-up token" in visitor.get("/inbox/setup").text
        sent = {"email": "First@Example.com", "password": secrets.token_urlsafe(12)}
        wrong = visitor.http.post("/inbox/setup", data={**sent, "token": "abcd-efgh-2346"})
        assert (wrong.status_code, desk.log()) == (401, [])
        weak = visitor.http.post("/inbox/setup", data={**sent, "token": "abcd-efgh-2345", "password": "short"})
        assert (weak.status_code, desk.log()) == (400, [])
        made = visitor.http.post("/inbox/setup", data={**sent, "token": " ABCD-efgh-2345 "})
        assert (made.status_code, made.headers["location"]) == (303, "/inbox/account")
        assert "first@example.com" in visitor.get("/inbox/account").text
        assert desk.log() == ["person.added", "login", "password.changed"]
        second = visitor.http.post("/inbox/setup", data={**sent, "email": "b@example.com", "token": "abcd-efgh-2345"})
        assert second.status_code == 409
        assert "/inbox/setup" not in visitor.get("/inbox/login").text
        visitor.close()
    desk.store.close()


def test_without_a_token_of_the_terminal_nobody_is_set_up(tmp_path: object) -> None:
    desk = Desk(tmp_path / "guard")  # type: ignore[operator]
    with served(desk) as site:
        visitor = site.browser(None)
        for token in ("", "x"):
            sent = {"email": "a@example.com", "token": token}
            assert visitor.http.post("/inbox/setup", data=sent).status_code == 401
        assert "Nothing is to be set up" in visitor.get("/inbox/setup").text
        visitor.close()
    desk.store.close()
