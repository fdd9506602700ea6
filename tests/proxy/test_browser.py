"""People log in at a real identity provider, through a browser that is scripted with its forms and cookies."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from llmguard.config import OidcProvider
from llmguard.errors import ApprovalPending
from llmguard.identity import oidc
from llmguard.identity.sessions import s256
from llmguard.proxy.control.browser import COOKIE, LOGIN_MS
from llmguard.proxy.renewal import Renewals
from llmguard.store import wall_ms
from tests.desks import ANN, BO, Desk, Plane, control_plane
from tests.identity.provider import ALICE, BOB, Browser, IdentityProvider

VERIFIER = secrets.token_urlsafe(48)
START = {"port": "5000", "challenge": s256(VERIFIER)}
TTL = 60
"""Seconds, so short that a word is due while the provider's own times still hold."""


@pytest.fixture(scope="module")
def idp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IdentityProvider]:
    made = IdentityProvider(tmp_path_factory.mktemp("provider"))
    made.start()
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def users(idp: IdentityProvider) -> None:
    idp.user("alice", "guard-reviewers", "staff")
    idp.user("bob", "staff", "reviewers")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path / "guard", wall_ms()).staff()
    yield made
    made.store.close()


@pytest.fixture
def plane(desk: Desk, idp: IdentityProvider) -> Iterator[Plane]:
    other = OidcProvider("other", "http://127.0.0.1:1", "llmguard")
    with control_plane(desk, oidc=(configured(idp), other), membership_ttl=TTL) as running:
        yield running


@pytest.fixture
def browser() -> Iterator[Browser]:
    made = Browser()
    yield made
    made.close()


def configured(idp: IdentityProvider, **more: Any) -> OidcProvider:
    return OidcProvider.of(idp.table(**{"provision": True, **more}))


def start(plane: Plane, **query: str) -> str:
    return f"{plane.url}/guard/v1/login/start?{httpx.QueryParams({**START, 'provider': 'corp', **query})}"


def brought(answer: httpx.Response) -> httpx.QueryParams:
    """What the browser brings to the command line."""
    assert answer.status_code == 303, answer.text
    url = httpx.URL(answer.headers["location"])
    assert (url.host, url.port, url.path) == ("127.0.0.1", 5000, "/")
    assert url.params["challenge"] == START["challenge"]
    return url.params


def session(plane: Plane, browser: Browser, name: str, held: str | None = None, **query: str) -> str:
    """A session's token. ``held``: the session that it takes the place of."""
    code = brought(browser.walk(start(plane, **query), name))["code"]
    headers = {"authorization": f"Bearer {held}"} if held else {}
    answer = plane.call("POST", "/guard/v1/login", json={"code": code, "verifier": VERIFIER}, headers=headers)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["token"])


def me(plane: Plane, token: str) -> httpx.Response:
    return plane.call("GET", "/guard/v1/me", headers={"authorization": f"Bearer {token}"})


def renewals(plane: Plane, idp: IdentityProvider) -> Renewals:
    provider = oidc.Provider(configured(idp), "")
    return Renewals(plane.desk.store, plane.desk.vault, {"corp": provider}, TTL)


# --------------------------------------------------------------------------- logging in


def test_a_person_logs_in_and_has_the_groups_that_the_mapping_names(plane: Plane, browser: Browser) -> None:
    shown = me(plane, session(plane, browser, "alice")).json()
    assert (shown["email"], shown["groups"], shown["source"]) == (ALICE, ["reviewers"], "provider")
    assert shown["session"]["method"] == "oidc"
    assert shown["session"]["amr"] == ["pwd", "otp"]
    assert abs(shown["session"]["auth_time"] - plane.desk.now) < 60_000
    other = Browser()
    assert me(plane, session(plane, other, "bob")).json()["groups"] == []
    other.close()


def test_the_code_in_the_browser_is_worth_nothing_without_its_verifier(plane: Plane, browser: Browser) -> None:
    code = brought(browser.walk(start(plane), "alice"))["code"]
    for attempt in ({}, {"verifier": ""}, {"verifier": "x" * 43}, {"verifier": START["challenge"]}):
        assert plane.call("POST", "/guard/v1/login", json={"code": code, **attempt}).status_code == 401
    taken = [plane.call("POST", "/guard/v1/login", json={"code": code, "verifier": VERIFIER}) for _ in range(2)]
    assert [a.status_code for a in taken] == [200, 401]


def test_an_answer_that_another_browser_asked_for_is_refused(plane: Plane, browser: Browser) -> None:
    walked = browser.walk(start(plane), "alice")
    with httpx.Client(trust_env=False) as victim:
        assert victim.get(walked.url).status_code == 400
        victim.get(start(plane))
        assert victim.get(walked.url).status_code == 400


def test_an_answer_is_taken_from_the_asked_provider_only(plane: Plane, browser: Browser) -> None:
    asked = browser.http.get(start(plane))
    state = httpx.URL(asked.headers["location"]).params["state"]
    callback = f"{plane.url}/guard/v1/login/callback"
    answer = browser.http.get(f"{callback}/other", params={"state": state, "code": "x"})
    assert answer.status_code == 400
    wrong = browser.http.get(f"{callback}/corp", params={"state": state, "code": "x", "iss": "http://127.0.0.1:1"})
    assert "another identity provider" in brought(wrong)["error"]
    browser.http.get(start(plane))


def test_a_login_that_took_too_long_is_refused(plane: Plane, browser: Browser) -> None:
    asked = browser.http.get(start(plane))
    state = httpx.URL(asked.headers["location"]).params["state"]
    plane.desk.now += LOGIN_MS + 1
    answer = browser.http.get(f"{plane.url}/guard/v1/login/callback/corp", params={"state": state, "code": "x"})
    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("answered", "told"),
    [
        ({"error": "access_denied"}, "access_denied"),
        ({"error": "<b>"}, "an error"),
        ({}, "no code"),
        ({"code": "x"}, ""),
    ],
)
def test_a_refusal_reaches_the_command_line_that_waits(
    plane: Plane, browser: Browser, idp: IdentityProvider, answered: dict[str, str], told: str
) -> None:
    asked = browser.http.get(start(plane))
    query = {"state": httpx.URL(asked.headers["location"]).params["state"], "iss": idp.issuer, **answered}
    error = brought(browser.http.get(f"{plane.url}/guard/v1/login/callback/corp", params=query))["error"]
    assert told in error
    assert "<" not in error


@pytest.mark.parametrize(
    "query",
    [
        {"port": "80"},
        {"port": "70000"},
        {"port": "5000@evil.example"},
        {"challenge": "short"},
        {"challenge": "x" * 42 + "/"},
        {"provider": "nobody"},
        {"max_age": "-1"},
        {"redirect": "https://evil.example"},
    ],
)
def test_a_start_that_is_not_the_command_lines_is_refused(plane: Plane, query: dict[str, str]) -> None:
    assert httpx.get(start(plane, **query), trust_env=False).status_code == 400


def test_the_cookie_is_for_the_callback_alone_and_scripts_never_see_it(plane: Plane, browser: Browser) -> None:
    told = browser.http.get(start(plane)).headers["set-cookie"].lower()
    assert told.startswith(COOKIE)
    for word in ("httponly", "samesite=lax", "path=/guard/v1/login/callback"):
        assert word in told
    assert "secure" not in told
    with control_plane(plane.desk, oidc=(configured_like(plane),), control_url="https://guard.example") as behind_tls:
        assert "secure" in browser.http.get(start(behind_tls)).headers["set-cookie"].lower()


def configured_like(plane: Plane) -> OidcProvider:
    """The provider of the plane, found through its start."""
    url = httpx.URL(httpx.get(start(plane), trust_env=False).headers["location"])
    return OidcProvider("corp", f"http://{url.host}:{url.port}", "llmguard")


# --------------------------------------------------------------------------- who they are


def test_without_provisioning_only_known_people_log_in(desk: Desk, idp: IdentityProvider, browser: Browser) -> None:
    with control_plane(desk, oidc=(configured(idp, provision=False),)) as plane:
        assert "llmguard users add" in brought(browser.walk(start(plane), "alice"))["error"]
        desk.put(ALICE, "security")
        assert me(plane, session(plane, browser, "alice")).json()["groups"] == ["security"]


@pytest.mark.parametrize(
    "claims",
    [
        {"email_verified": False},
        {"email_verified": "true"},
        {"email": "alice@elsewhere.example"},
        {"email": "аlice@example.com"},
        {"email": None},
        {"email": "alice+two@example.com"},
    ],
)
def test_an_address_that_is_not_believed_logs_nobody_in(
    desk: Desk, idp: IdentityProvider, browser: Browser, claims: dict[str, Any]
) -> None:
    desk.put(ALICE)
    idp.user("mallory", **{"email": ALICE, **claims})
    with control_plane(desk, oidc=(configured(idp, domains=["example.com"]),)) as plane:
        assert "error" in brought(browser.walk(start(plane), "mallory"))


def test_another_subject_with_the_same_address_is_somebody_else(
    plane: Plane, browser: Browser, idp: IdentityProvider
) -> None:
    session(plane, browser, "alice")
    idp.user("mallory", "guard-reviewers", email=ALICE)
    stranger = Browser()
    assert "somebody else" in brought(stranger.walk(start(plane), "mallory"))["error"]
    stranger.close()


# --------------------------------------------------------------------------- again, and out


def test_step_up_asks_for_the_login_anew_and_replaces_the_session(plane: Plane, browser: Browser) -> None:
    first = session(plane, browser, "alice")
    assert browser.forms == 1
    second = session(plane, browser, "alice")
    assert browser.forms == 1
    before = me(plane, second).json()["session"]["auth_time"]
    third = session(plane, browser, "alice", held=second, max_age="0")
    assert browser.forms == 2
    assert me(plane, third).json()["session"]["auth_time"] >= before
    assert [me(plane, token).status_code for token in (first, second, third)] == [200, 401, 200]


def test_logging_out_ends_our_session_and_says_where_the_providers_ends(
    plane: Plane, browser: Browser, idp: IdentityProvider
) -> None:
    token = session(plane, browser, "alice")
    answer = plane.call("POST", "/guard/v1/logout", headers={"authorization": f"Bearer {token}"})
    url = answer.json()["end_session"]
    assert url == f"{idp.issuer}/session/end?client_id=llmguard"
    assert browser.http.get(url).status_code == 200
    assert me(plane, token).status_code == 401


# --------------------------------------------------------------------------- what the provider says later


def approved(plane: Plane, token: str) -> Any:
    """Something that Ann asked for and the holder of the session approved."""
    held = plane.desk.hold()
    ballot = {"verdict": "approve", "digest": held.egress_digest}
    headers = {"authorization": f"Bearer {token}"}
    answer = plane.call("POST", f"/guard/v1/approvals/{held.id}/votes", json=ballot, headers=headers)
    assert answer.status_code == 200, answer.text
    assert plane.desk.get(held).state == "APPROVED"
    return held


def test_a_vote_of_somebody_disabled_at_the_provider_does_not_count_at_the_claim(
    plane: Plane, browser: Browser, idp: IdentityProvider
) -> None:
    token = session(plane, browser, "alice")
    held = approved(plane, token)
    idp.user("alice", "guard-reviewers", disabled=True)
    plane.desk.now += TTL * 500
    renewals(plane, idp).once()
    assert me(plane, token).status_code == 401
    with pytest.raises(ApprovalPending):
        plane.desk.claim(held)
    assert "person.withdrawn" in plane.desk.log()


def test_who_is_confirmed_in_time_keeps_the_vote_and_the_session(
    plane: Plane, browser: Browser, idp: IdentityProvider
) -> None:
    token = session(plane, browser, "alice")
    held = approved(plane, token)
    for _ in range(2):  # the second time with the token that the first one brought
        plane.desk.now += TTL * 500
        renewals(plane, idp).once()
    plane.desk.now += TTL * 500
    assert me(plane, token).json()["groups"] == ["reviewers"]
    assert plane.desk.claim(held)


def test_who_lost_the_group_at_the_provider_loses_the_vote_and_keeps_the_session(
    plane: Plane, browser: Browser, idp: IdentityProvider
) -> None:
    token = session(plane, browser, "alice")
    held = approved(plane, token)
    idp.user("alice", "staff")
    plane.desk.now += TTL * 500
    renewals(plane, idp).once()
    assert me(plane, token).json()["groups"] == []
    with pytest.raises(ApprovalPending):
        plane.desk.claim(held)


def test_a_vote_is_confirmed_after_its_voter_logged_out(plane: Plane, browser: Browser, idp: IdentityProvider) -> None:
    token = session(plane, browser, "alice")
    held = approved(plane, token)
    plane.call("POST", "/guard/v1/logout", headers={"authorization": f"Bearer {token}"})
    plane.desk.now += TTL * 500
    renewals(plane, idp).once()
    plane.desk.now += TTL * 900
    assert plane.desk.claim(held)
    renewals(plane, idp).once()
    assert plane.desk.store.read(lambda tx: tx.all("SELECT * FROM refresh_tokens")) == []


def test_while_the_provider_is_down_its_word_runs_out_and_codes_still_work(
    plane: Plane, browser: Browser, idp: IdentityProvider
) -> None:
    token = session(plane, browser, "alice")
    held = approved(plane, token)
    idp.stop()
    try:
        plane.desk.now += TTL * 500
        renewals(plane, idp).once()
        assert me(plane, token).json()["groups"] == ["reviewers"]
        plane.desk.now += TTL * 500
        assert "identity provider has not confirmed" in me(plane, token).json()["detail"]
        with pytest.raises(ApprovalPending):
            plane.desk.claim(held)
        down = plane.call("GET", "/guard/v1/login/start", params={**START, "provider": "other"})
        assert (down.status_code, down.json()["type"]) == (503, "urn:llmguard:problem:guard_unavailable")
        assert plane.call("POST", "/guard/v1/login", json={"code": plane.desk.code(BO)}).status_code == 200
    finally:
        idp.start()
    idp.users.pop("mallory", None)


def test_a_person_is_asked_about_once_also_by_two_guards(plane: Plane, browser: Browser, idp: IdentityProvider) -> None:
    token = session(plane, browser, "alice")
    plane.desk.now += TTL * 500
    for _ in range(2):
        renewals(plane, idp).once()
    assert me(plane, token).json()["email"] == ALICE
    tokens = plane.desk.store.read(lambda tx: tx.all("SELECT sealed FROM refresh_tokens"))
    assert len(tokens) == 1
    assert ANN not in str(tokens[0]["sealed"])


def test_nothing_of_the_provider_is_stored_in_the_clear(plane: Plane, browser: Browser, idp: IdentityProvider) -> None:
    session(plane, browser, "alice")
    tables = ("people", "login_codes", "sessions", "refresh_tokens", "audit_entries")
    stored = plane.desk.store.read(lambda tx: [tuple(r) for t in tables for r in tx.all(f"SELECT * FROM {t}")])
    assert idp.secret not in repr(stored)
    assert VERIFIER not in repr(stored)
    assert BOB not in repr(stored)
