"""The inbox in a real browser: without barriers, without scripts, by keyboard, on a phone, and while things happen."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from llmguard.inbox.app import ROOMS
from tests.desks import ANN, BO, CY
from tests.inbox.chromium import NARROW, WIDE, Window
from tests.inbox.site import COOKIE, Site

Open = Callable[..., Window]
OPEN_PAGES = ("/inbox/login", "/inbox/setup", "/inbox/login?again=1", "/inbox/login?over=1")
OWN_PAGES = ("/inbox", "/inbox?view=open&operation=resp", "/inbox?view=mine", "/inbox/account", "/inbox/nowhere")
IDLE = 3600 * 1000


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.id || document.activeElement.className"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_every_page_is_without_barriers_and_fits_a_phone(
    site: Site, window: Open, size: dict[str, int], scheme: str
) -> None:
    site.desk.hold(body=b'{"input": "x"}')
    for who, paths in ((None, OPEN_PAGES), (BO, OWN_PAGES)):
        seen = window(who, viewport=size, color_scheme=scheme)
        for path in paths:
            seen.open(path)
            assert seen.axe() == [], path
            assert not seen.too_wide(), path
            assert seen.violations() == [], path


def test_the_policy_holds_in_the_browser_and_is_not_only_said(window: Open) -> None:
    seen = window(BO)
    page = seen.open("/inbox")
    page.evaluate("""() => {
      const script = document.createElement("script");
      script.textContent = "window.ran = 1";
      document.body.append(script);
      const image = new Image(); image.src = "https://evil.example/x.png"; document.body.append(image);
      document.querySelector("h1").setAttribute("style", "color: red");
    }""")
    page.wait_for_function("window.violations.length >= 3")
    assert page.evaluate("window.ran") is None
    page.evaluate("window.violations.length = 0")
    seen.complaints.clear()


def test_no_other_page_can_frame_ours(site: Site, window: Open) -> None:
    seen = window(BO)
    seen.page.route(
        "http://evil.example/",
        lambda route: route.fulfill(content_type="text/html", body=f'<iframe src="{site.url}/inbox"></iframe>'),
    )
    seen.page.goto("http://evil.example/")
    seen.page.wait_for_timeout(300)
    assert all("Queue" not in frame.content() for frame in seen.page.frames[1:])
    seen.complaints.clear()
    seen.open("/inbox")


def test_a_link_from_another_site_arrives_logged_in(site: Site, window: Open) -> None:
    seen = window(BO)
    seen.page.route(
        "http://mail.example/",
        lambda route: route.fulfill(content_type="text/html", body=f'<a href="{site.url}/inbox?view=open">look</a>'),
    )
    seen.page.goto("http://mail.example/")
    seen.page.click("text=look")
    expect(seen.page.locator("h1")).to_have_text("Queue")
    assert seen.page.url.endswith("/inbox?view=open")


def test_a_form_that_another_site_posts_changes_nothing(site: Site, window: Open) -> None:
    seen = window(BO)
    before = site.desk.log()
    form = f'<form method="post" action="{site.url}/inbox/logout"><button>go</button></form>'
    seen.page.route("http://evil.example/", lambda route: route.fulfill(content_type="text/html", body=form))
    seen.page.goto("http://evil.example/")
    seen.page.click("text=go")
    assert "foreign_origin" in seen.page.content()
    seen.open("/inbox")
    expect(seen.page.locator("h1")).to_have_text("Queue")
    assert site.desk.log() == before


# --------------------------------------------------------------------------- without scripts


def test_everything_works_without_scripts(site: Site, window: Open) -> None:
    site.desk.hold()
    page = window(None, java_script_enabled=False).page
    page.goto("/inbox?view=open")
    page.fill("[name=code]", site.desk.code(BO))
    page.click("text=Log in with the code")
    expect(page.locator("h1")).to_have_text("Queue")
    assert page.url.endswith("/inbox?view=open")
    page.click("summary")
    page.fill("[name=operation]", "nothing")
    page.click("text=Show >> nth=0")
    expect(page.locator(".empty-title")).to_have_text("Nothing here fits")
    page.click(f"text={BO}")
    page.select_option("[name=theme]", "dark")
    page.click("text=Keep")
    assert page.get_attribute("html", "data-theme") == "dark"
    page.click("text=Log out")
    expect(page.locator("h1")).to_have_text("You are logged out")


# --------------------------------------------------------------------------- by keyboard


def test_keys_move_along_the_list_open_it_and_ask_for_help(site: Site, window: Open) -> None:
    ids = [site.desk.hold(site.desk.principal(id_=f"key:{n}"), key=str(n)).id for n in range(3)][::-1]
    page = window(BO).open("/inbox")
    at = "document.activeElement.closest('[data-row]')?.id"
    moved = []
    for key in "jjjjk":
        page.keyboard.press(key)
        moved.append(page.evaluate(at))
    assert moved == [f"a{ids[n]}" for n in (0, 1, 2, 2, 1)]
    page.keyboard.press("?")
    expect(page.locator("dialog#keys")).to_be_visible()
    page.keyboard.press("j")
    page.keyboard.press("Escape")
    expect(page.locator("dialog#keys")).not_to_be_visible()
    assert page.evaluate(at) == f"a{ids[1]}"
    page.keyboard.press("a")
    page.wait_for_url(f"**/inbox/approvals/{ids[1]}#approve")
    assert site.desk.store.read(lambda tx: tx.all("SELECT * FROM votes")) == []


def test_keys_are_letters_in_a_field_and_nothing_with_a_modifier_or_turned_off(site: Site, window: Open) -> None:
    site.desk.hold()
    page = window(BO).open("/inbox")
    page.keyboard.press("/")
    page.keyboard.type("jakdr?/")
    assert page.input_value("[name=text]") == "jakdr?/"
    page.keyboard.press("Tab")
    page.locator("h1").click()
    page.keyboard.press("Control+j")
    page.keyboard.press("Alt+k")
    assert page.evaluate("document.activeElement.closest('[data-row]')") is None
    page.goto("/inbox/account")
    page.uncheck("[name=keys]")
    page.click("text=Keep")
    page.goto("/inbox")
    page.keyboard.press("j")
    assert page.evaluate("document.activeElement.closest('[data-row]')") is None


def test_all_of_the_queue_is_reached_with_tab_and_the_focus_is_seen(site: Site, window: Open) -> None:
    site.desk.hold()
    page = window(BO).open("/inbox")
    seen = []
    for _ in range(30):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.textContent.trim().slice(0, 24)"))
        if seen[-1] == "Keyboard":
            break
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none", seen[-1]
    assert seen[0] == "Skip to the content"
    for word in ("Queue", "Waiting for me", "Search and filter", "responses.create → openai"[:24], "Keyboard"):
        assert word in seen
    page.keyboard.press("Enter")
    expect(page.locator("dialog#keys")).to_be_visible()


# --------------------------------------------------------------------------- while things happen


def test_what_happens_appears_by_itself_and_leaves_focus_and_typing_alone(site: Site, window: Open) -> None:
    first = site.desk.hold(key="1")
    page = window(BO).open("/inbox")
    page.keyboard.press("j")
    row = page.locator(f"#a{first.id}")
    page.evaluate("id => { document.getElementById(id).kept = true }", f"a{first.id}")
    second = site.desk.hold(site.desk.principal(id_="key:2"), key="2")
    expect(page.locator(f"#a{second.id}")).to_be_visible()
    expect(page).to_have_title("(2) Queue · llmguard")
    expect(page.locator("#news")).to_have_text("2 waiting for you")
    assert page.evaluate("document.activeElement.closest('[data-row]').id") == f"a{first.id}"
    assert page.evaluate("id => document.getElementById(id).kept", f"a{first.id}")
    page.keyboard.press("/")
    page.keyboard.type("half a wo")
    site.desk.vote(first, CY)
    expect(row).to_have_count(0)
    assert page.input_value("[name=text]") == "half a wo"
    expect(page).to_have_title("(1) Queue · llmguard")


def test_a_page_says_when_its_session_is_over(site: Site, window: Open) -> None:
    page = window(BO).open("/inbox?view=open")
    site.desk.now += IDLE + 1
    site.desk.hold()
    expect(page.locator("#notice")).to_contain_text("Your session is over")
    page.click("#notice a")
    expect(page.locator("h1")).to_have_text("Log in")
    page.fill("[name=code]", site.desk.code(BO))
    page.click("text=Log in with the code")
    expect(page.locator("h1")).to_have_text("Queue")
    assert page.url.endswith("/inbox?view=open")


def test_a_page_says_when_the_guard_does_not_answer_and_goes_on_when_it_does(site: Site, window: Open) -> None:
    page = window(BO).open("/inbox")
    page.route("**/inbox", lambda route: route.abort())
    site.desk.hold(key="1")
    page.wait_for_timeout(400)  # the poll that was under way is answered, the next one is not
    expect(page.locator("#notice")).to_contain_text("does not answer", timeout=15_000)
    page.unroute("**/inbox")
    site.desk.hold(site.desk.principal(id_="key:2"), key="2")
    expect(page.locator("[data-row]")).to_have_count(2, timeout=15_000)
    expect(page.locator("#notice")).to_be_hidden()


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_what_was_chosen_when_the_session_ended_is_there_again_after_the_login(
    site: Site, window: Open, scripts: bool
) -> None:
    page = window(BO, java_script_enabled=scripts).page
    page.goto("/inbox/account")
    page.select_option("[name=theme]", "dark")
    page.uncheck("[name=keys]")
    site.desk.now += IDLE + 1
    page.click("text=Keep")
    expect(page.locator(".box")).to_contain_text("Nothing you typed is lost")
    page.fill("[name=code]", site.desk.code(BO))
    page.click("text=Log in with the code")
    if not scripts:
        page.click("text=Go on")
    expect(page.locator("h1")).to_have_text("Account")
    assert page.url.endswith("/inbox/account")
    expect(page.locator("[name=theme]")).to_have_value("dark")
    expect(page.locator("[name=keys]")).not_to_be_checked()
    assert page.get_attribute("html", "data-theme") == "auto"
    page.click("text=Keep")
    assert page.get_attribute("html", "data-theme") == "dark"


def test_a_password_is_never_written_into_a_page_again(site: Site, window: Open) -> None:
    page = window(BO).open("/inbox/account")
    page.fill("[name=password]", "correct horse 7")
    page.fill("[name=again]", "correct horse 7")
    site.desk.now += IDLE + 1
    page.click("text=Set the password")
    expect(page.locator("h1")).to_have_text("Log in")
    assert "correct horse" not in page.content()


def test_a_slow_answer_says_that_it_is_under_way(window: Open) -> None:
    page = window(BO).open("/inbox")
    page.evaluate("dispatchEvent(new Event('beforeunload'))")  # the browser has left, and nothing comes
    expect(page.locator("html.slow #news")).to_have_text("Loading …")


def test_an_old_login_sets_no_password_before_it_is_made_anew(site: Site, window: Open) -> None:
    page = window(BO).open("/inbox/account")
    site.desk.now += 16 * 60 * 1000
    page.fill("[name=password]", "correct horse 7")
    page.fill("[name=again]", "correct horse 7")
    page.click("text=Set the password")
    expect(page.locator("h1")).to_have_text("Log in again")
    page.fill("[name=code]", site.desk.code(BO))
    page.click("text=Log in with the code")
    expect(page.locator("h1")).to_have_text("Account")
    page.fill("[name=password]", "correct horse 7")
    page.fill("[name=again]", "correct horse 7")
    page.click("text=Set the password")
    expect(page.locator(".box")).to_contain_text("The password is set")


def test_the_cookie_is_out_of_reach_of_scripts(window: Open) -> None:
    seen = window(BO)
    page = seen.open("/inbox")
    assert page.evaluate("document.cookie") == ""
    [kept] = [c for c in seen.context.cookies() if c["name"] == COOKIE]
    assert (kept["httpOnly"], kept["sameSite"]) == (True, "Strict")


def test_two_people_in_two_browsers_see_the_same_decision(site: Site, window: Open) -> None:
    made = site.desk.hold()
    bos, anns = window(BO).open("/inbox?view=open"), window(ANN).open("/inbox?view=mine")
    for page in (bos, anns):
        expect(page.locator(f"#a{made.id} .state")).to_contain_text("waiting")
    site.desk.vote(made, CY)
    for page in (bos, anns):
        expect(page.locator(f"#a{made.id} .state")).to_contain_text("approved")


def every_page() -> list[Any]:
    return [page for room in ROOMS for page in room]


def test_every_page_of_the_navigation_has_a_word_and_a_form_has_no_get() -> None:
    assert all(page.method == "GET" for page in every_page() if page.nav)
    assert all(re.fullmatch(r"/inbox(/[a-z{}/-]+)?", page.path) for page in every_page())
