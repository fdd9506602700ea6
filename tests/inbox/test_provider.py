"""People log in on a page at a real identity provider, in a real browser, and come back to where they were."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from llmguard.config import OidcProvider
from llmguard.inbox.login import WAY
from tests.desks import Desk
from tests.identity.provider import ALICE, IdentityProvider
from tests.inbox.chromium import Window
from tests.inbox.site import COOKIE, Site, served


@pytest.fixture(scope="module")
def idp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IdentityProvider]:
    made = IdentityProvider(tmp_path_factory.mktemp("provider"))
    made.user("alice", "guard-reviewers", "staff")
    made.user("mallory", email="mallory@elsewhere.example")
    made.start()
    yield made
    made.stop()


@pytest.fixture
def site(desk: Desk, idp: IdentityProvider) -> Iterator[Site]:
    configured = OidcProvider.of(idp.table(provision=True, domains=["example.com"]))
    with served(desk, oidc=(configured,)) as running:
        yield running


def at_the_provider(page: Page, name: str) -> None:
    """Fills in what the provider asks; it sends the browser back."""
    page.fill("[name=login]", name)
    page.press("[name=login]", "Enter")
    page.wait_for_url(re.compile("/inbox"))


def test_a_person_logs_in_at_the_provider_and_arrives_where_the_link_led(
    site: Site, window: Callable[..., Window]
) -> None:
    seen = window(None)
    page = seen.open("/inbox?view=all")
    page.click("text=Log in with corp")
    at_the_provider(page, "alice")
    expect(page.locator("h1")).to_have_text("Queue")
    assert page.url.endswith("/inbox?view=all")
    assert ALICE in page.content()
    kept = {c["name"]: c for c in seen.context.cookies()}
    assert kept[COOKIE]["sameSite"] == "Strict"
    assert WAY not in kept
    page.click("text=Log out")
    expect(page.locator("text=Log out there too")).to_have_attribute("href", idp_end(page))


def idp_end(page: Page) -> Any:
    href = page.locator("text=Log out there too").get_attribute("href")
    assert href is not None
    assert "/session/end?client_id=llmguard" in href
    return href


def test_whom_the_guard_does_not_take_reads_why_on_the_login_page(site: Site, window: Callable[..., Window]) -> None:
    page = window(None).open("/inbox")
    page.click("text=Log in with corp")
    at_the_provider(page, "mallory")
    expect(page.locator("h1")).to_have_text("Log in")
    expect(page.locator("[role=alert].box")).to_contain_text("Not done")
    assert page.request.get("/inbox", max_redirects=0).status == 303


def test_a_return_that_this_browser_did_not_ask_for_logs_nobody_in(site: Site, idp: IdentityProvider) -> None:
    visitor = site.browser(None)
    begun = visitor.get("/inbox/login/start", params={"provider": "corp", "next": "https://evil.example"})
    assert begun.status_code == 303
    told = begun.headers["set-cookie"].lower()
    assert all(word in told for word in ("httponly", "samesite=lax", "path=/inbox/login"))
    assert "evil" not in told
    challenge = httpx.URL(begun.headers["location"]).params["challenge"]
    stranger = site.browser(None)
    for query in ({}, {"code": "x"}, {"code": "x", "challenge": challenge}, {"challenge": "é"}):
        answer = stranger.get("/inbox/login/return", params=query)
        assert answer.status_code == 400
        assert "set-cookie" not in answer.headers
    assert visitor.get("/inbox/login/return", params={"code": "x", "challenge": "other"}).status_code == 400
    assert visitor.get("/inbox/login/return", params={"code": "x", "challenge": challenge}).status_code == 401
    shown = visitor.get("/inbox/login/start", params={"provider": "<b>"})
    assert visitor.get(shown.headers["location"]).status_code == 400
    visitor.close()
    stranger.close()


def test_the_way_to_the_provider_begins_where_the_provider_sends_people_back_to(site: Site) -> None:
    visitor = site.browser(None)
    del visitor.http.headers["origin"]
    port = httpx.URL(site.url).port
    elsewhere = visitor.get("/inbox/login/start?provider=corp", headers={"host": f"localhost:{port}"})
    assert elsewhere.headers["location"].startswith(f"{site.url}/inbox/login/start?")
    assert visitor.get(elsewhere.headers["location"]).headers["location"].startswith("/guard/v1/login/start?")
    visitor.close()


def test_who_has_to_log_in_again_does_so_at_the_provider_and_comes_back(
    site: Site, window: Callable[..., Window], desk: Desk
) -> None:
    seen = window(None)
    page = seen.open("/inbox/account")
    page.click("text=Log in with corp")
    at_the_provider(page, "alice")
    expect(page.locator("h1")).to_have_text("Account")
    [former] = [c["value"] for c in seen.context.cookies() if c["name"] == COOKIE]
    page.goto("/inbox/login?again=1&next=%2Finbox%2Faccount")
    page.click("text=Log in with corp")
    expect(page.locator("[name=login]")).to_have_count(1)  # it asks anew, though it knows the browser
    at_the_provider(page, "alice")
    expect(page.locator("h1")).to_have_text("Account")
    [now] = [c["value"] for c in seen.context.cookies() if c["name"] == COOKIE]
    assert now != former
    assert site.call("GET", "/guard/v1/me", headers={"authorization": f"Bearer {former}"}).status_code == 401
