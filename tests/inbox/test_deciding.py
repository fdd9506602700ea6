"""Deciding in a real browser: two people, what happens meanwhile, by keyboard, without scripts, and on a phone."""

from __future__ import annotations

import re
from collections.abc import Callable

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from llmguard.model import Approval
from llmguard.testing import LocalGuard
from tests.desks import ANN, BO, CY, DEE
from tests.inbox.cases import CARD, JANE, VALUES, action, held, written
from tests.inbox.chromium import NARROW, WIDE, Window
from tests.inbox.site import Site

Open = Callable[..., Window]
HELD = ({"name": "all", "when": "size(findings) > 0", "verdict": "require_approval"},)
TWO = ("jo.doe@mail.example", "al.roe@mail.example")


def path(approval: Approval) -> str:
    return f"/inbox/approvals/{approval.id}"


def read_all(page: Page) -> None:
    """Looks at each part to its end, as somebody does who reads."""
    for box in page.locator("input[name=seen]").all():
        box.scroll_into_view_if_needed()
        expect(box).to_be_checked()


def approve(page: Page, reason: str = "") -> None:
    read_all(page)
    if reason:
        page.get_by_label("Reason").fill(reason)
    page.locator("#approve").click()


def test_two_people_decide_in_two_browsers_and_each_sees_the_other(site: Site, window: Open) -> None:
    approval = held(site.desk, quorum=2)
    bo, cy = window(BO).open(path(approval)), window(CY).open(path(approval))
    expect(bo.locator("#approve")).to_be_disabled()
    approve(bo, "known customer")
    expect(bo.get_by_text("Your approval is counted.")).to_be_visible()
    expect(cy.locator("#votes")).to_contain_text("bo@example.com approved")
    expect(cy.locator("#votes")).to_contain_text("known customer")
    expect(cy.locator("#status")).to_contain_text("1 of 2 of reviewers")
    approve(cy)
    expect(cy.locator("#status")).to_contain_text("approved")
    expect(bo.locator("#status")).to_contain_text("approved")
    assert site.desk.get(approval).state == "APPROVED"


def test_approve_opens_part_by_part_and_says_what_is_left(site: Site, window: Open) -> None:
    approval = held(site.desk, more="\n" * 120)
    page = window(BO).open(path(approval))
    expect(page.locator("#left")).to_contain_text("still to be looked at")
    page.locator("#left a").click()
    read_all(page)
    expect(page.locator("#left")).to_be_hidden()
    expect(page.locator("#approve")).to_be_enabled()


def test_a_folded_part_has_to_be_opened(site: Site, window: Open) -> None:
    tools = [{"type": "function", "function": {"name": f"tool_{n}", "description": "x" * 60}} for n in range(20)]
    body = written({"messages": [{"role": "user", "content": "hello"}], "tools": tools})
    page = window(BO).open(path(held(site.desk, body=body, entries={})))
    folded = page.locator("details.part")
    expect(folded).to_have_count(1)
    page.locator("input[name=seen]").first.scroll_into_view_if_needed()
    expect(page.locator("input[name=seen]").first).to_be_checked()
    expect(page.locator("#approve")).to_be_disabled()
    folded.locator("> summary").click()
    read_all(page)
    expect(page.locator("#approve")).to_be_enabled()


def test_the_life_of_an_approval_with_changes_and_a_revision(
    local_with: Callable[..., LocalGuard], browser: Browser
) -> None:
    """Ann's program asks; Bo wants changes; Ann revises; Cy sees the difference and approves; the retry is answered."""
    local = local_with(rules=HELD, hold="ticket")
    local.person(ANN)
    key = local.key("app", ANN)
    site = Site(None, local.control_url)  # type: ignore[arg-type]  a whole guard, which has its own people

    def entered(who: str) -> Window:
        made = Window(browser, site, None)
        page = made.open("/inbox")
        page.get_by_label("Code").fill(local.person(who))
        page.get_by_role("button", name="Log in with the code").click()
        expect(page.get_by_text(who)).to_be_visible()
        return made

    def send() -> httpx.Response:
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        content = written({"model": "m", "messages": [{"role": "user", "content": " and ".join(TWO)}]})
        return httpx.post(f"{local.url}/chat/completions", content=content, headers=headers, trust_env=False)

    ann, bo, cy = (entered(who) for who in (ANN, BO, CY))
    waiting = send().headers["x-llmguard-approval"]
    page = bo.page
    page.get_by_role("link", name="chat.completions.create").click()
    expect(page.locator(".part mark.ph")).to_have_count(2)
    page.get_by_label("Reason").fill("one address will do")
    page.locator("#changes").click()
    expect(page.get_by_text("You have asked for changes.")).to_be_visible()

    page = ann.open(f"/inbox/approvals/{waiting}")
    page.get_by_role("link", name="Revise it").click()
    expect(page.get_by_text("one address will do")).to_be_visible()
    editor = page.locator("textarea[name=body]")
    editor.fill(re.sub(r" and \[EMAIL_\w+\]", "", editor.input_value()))
    page.get_by_role("button", name="See the difference").click()
    expect(page.locator("#changed .del")).to_have_count(1)
    expect(page.locator("#changed .add")).to_have_count(1)
    page.get_by_role("button", name="Send it for approval").click()
    expect(page.get_by_text("This is your revision")).to_be_visible()
    expect(bo.page.locator("#over")).to_contain_text("A revision took its place")

    page = cy.open(page.url.removeprefix(local.control_url).partition("?")[0])
    expect(page.get_by_role("heading", name="What this revision changed")).to_be_visible()
    expect(page.locator(".diff .del mark")).to_have_count(2)
    for value in TWO:
        assert value not in page.content()
    approve(page)
    expect(page.get_by_text("Your approval is counted.")).to_be_visible()
    assert send().status_code == 200
    expect(page.locator("#events")).to_contain_text("Sent")
    for one in (ann, bo, cy):
        one.close()


def test_its_time_ends_while_it_is_looked_at(site: Site, window: Open) -> None:
    approval = held(site.desk, expires_in=60)
    page = window(BO).open(path(approval))
    page.get_by_label("Reason").fill("half a thought")
    site.desk.now += 61_000
    page.evaluate("document.getElementById('status').dataset.expires = '1'")
    expect(page.locator("#over")).to_contain_text("Its time is over")
    expect(page.locator("#approve")).to_have_count(0)
    expect(page.locator("#had-typed")).to_contain_text("half a thought")
    expect(page.locator("#news")).to_contain_text("expired")


def test_somebody_else_decides_while_one_types(site: Site, window: Open) -> None:
    approval = held(site.desk)
    page = window(BO).open(path(approval))
    page.get_by_label("Reason").type("she called")
    site.desk.vote(approval, CY, "deny", reason="no ticket")
    expect(page.locator("#over")).to_contain_text("It is denied")
    expect(page.locator("#votes")).to_contain_text("no ticket")
    expect(page.locator("#had-typed")).to_contain_text("she called")


def test_news_leave_what_one_types_and_where_one_is(site: Site, window: Open) -> None:
    approval = held(site.desk, quorum=2)
    page = window(BO).open(path(approval))
    read_all(page)
    page.get_by_label("Reason").type("she cal")
    site.desk.vote(approval, CY, reason="known")
    expect(page.locator("#votes")).to_contain_text("known")
    page.keyboard.type("led")
    expect(page.get_by_label("Reason")).to_have_value("she called")
    expect(page.locator("#approve")).to_be_enabled()


def test_a_reviewer_who_loses_access_sees_nothing_any_more(site: Site, window: Open) -> None:
    approval = held(site.desk)
    page = window(BO).open(path(approval))
    expect(page.get_by_text(JANE).first).to_be_visible()
    site.desk.put(BO, "interns")
    site.desk.vote(approval, CY)
    expect(page.locator("#notice")).to_contain_text("not yours to see any more")
    expect(page.get_by_text(JANE)).to_have_count(0)


def test_by_keyboard_alone(site: Site, window: Open) -> None:
    held(site.desk, body=written({"input": "hello"}), entries={})
    page = window(BO).open("/inbox")
    page.keyboard.press("j")
    page.keyboard.press("a")
    page.wait_for_url("**/inbox/approvals/*")
    expect(page.locator("input[name=seen]")).to_have_count(1)
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.name") == "seen":
            break
    expect(page.locator("input[name=seen]")).to_be_focused()
    page.keyboard.press("Enter")  # in a box it presses no button
    if not page.locator("input[name=seen]").is_checked():
        page.keyboard.press("Space")
    expect(page.locator("#approve")).to_be_enabled()
    page.keyboard.press("a")
    expect(page.locator("#approve")).to_be_focused()
    assert page.url.endswith(page.url.rpartition("/")[2])
    page.keyboard.press("Enter")
    expect(page.get_by_text("Your approval is counted.")).to_be_visible()


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
def test_the_enter_key_in_a_box_decides_nothing(site: Site, window: Open, scripts: bool) -> None:
    approval = held(site.desk)
    page = window(BO, java_script_enabled=scripts).open(path(approval))
    for at in range(4):
        box = page.locator("input[name=seen]").nth(at)
        box.check()
        box.press("Enter")
        expect(page.locator("input[name=seen]").nth(at)).to_be_checked()
    assert page.url.endswith(path(approval))
    assert site.desk.get(approval).state == "PENDING"
    assert not site.desk.get(approval).votes
    assert "approval.raw_view" not in site.desk.log()


def test_without_scripts_each_part_has_its_box(site: Site, window: Open) -> None:
    approval = held(site.desk)
    page = window(BO, java_script_enabled=False).open(path(approval))
    page.locator("#approve").click()
    expect(page.get_by_text("you have not looked at all of what would leave")).to_be_visible()
    assert site.desk.get(approval).state == "PENDING"
    for box in page.locator("input[name=seen]").all():
        box.check()
    page.get_by_label("Reason").fill("fine")
    page.locator("#approve").click()
    expect(page.get_by_text("Your approval is counted.")).to_be_visible()
    assert site.desk.get(approval).votes[0].reason == "fine"


def test_raw_values_come_by_a_button_and_go_with_the_page(site: Site, window: Open) -> None:
    approval = held(site.desk)
    page = window(BO).open(path(approval))
    assert CARD not in page.content()
    page.get_by_role("button", name="Show what was written").click()
    expect(page.locator("mark.raw", has_text=CARD).first).to_be_visible()
    assert "approval.raw_view" in site.desk.log()
    page.goto(path(approval))
    for value in VALUES.values():
        assert value not in page.content()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_every_page_of_deciding_is_without_barriers_and_fits_a_phone(
    site: Site, window: Open, size: dict[str, int], scheme: str
) -> None:
    desk = site.desk
    wide = {"messages": [{"role": "user", "content": "x" * 900 + "\u202e<h1>Approved</h1>\u05d0" + "Z\u0301" * 90}]}
    first = held(desk, break_glass="reviewers", quorum=2)
    second, third = held(desk, key="2", body=written(wide), entries={}), held(desk, key="3")
    desk.vote(first, CY, reason="known")
    desk.vote(third, CY, "request_changes", reason="less", proposal=b'{"model": "x"}')
    person = site.call("POST", "/guard/v1/people", CY, json={"email": DEE, "groups": ["reviewers"]}).json()
    paths = [path(first), path(second), path(third), path(action(desk)), "/inbox/history"]
    paths += [f"/inbox/approvals/{person['approval']['id']}"]
    seen = window(BO, viewport=size, color_scheme=scheme)
    for one in paths:
        seen.open(one)
        seen.page.evaluate("for (const fold of document.querySelectorAll('details')) fold.open = true")
        assert seen.axe() == [], one
        assert not seen.too_wide(), one
    seen.open(path(first)).get_by_role("button", name="Show what was written").click()
    expect(seen.page.locator("mark.raw").first).to_be_visible()
    assert seen.axe() == []
    assert not seen.too_wide()
    asks = window(ANN, viewport=size, color_scheme=scheme)
    asks.open(path(third) + "/revise")
    assert asks.axe() == []
    assert not asks.too_wide()


def test_nothing_in_a_text_leaves_its_border(site: Site, window: Open) -> None:
    """Stacked marks, wide characters and lines without end: each quotation stays as large as it says."""
    loud = "Z" + "\u0301" * 3000 + "\n" + "\N{ARABIC LIGATURE BISMILLAH AR-RAHMAN AR-RAHEEM}" * 40 + "W" * 5000
    page = window(BO).open(path(held(site.desk, body=written({"input": loud}), entries={})))
    assert page.locator(".quote").first.evaluate("e => getComputedStyle(e).contain") in ("layout paint", "content")
    inside = page.locator(".quote pre").first.evaluate(
        "e => { const b = e.getBoundingClientRect(), q = e.closest('.quote').getBoundingClientRect();"
        " return b.left >= q.left && b.right <= q.right + 1; }"
    )
    assert inside


def test_evidence_comes_as_a_file_and_the_page_stays(site: Site, window: Open) -> None:
    approval = held(site.desk)
    site.desk.vote(approval, CY, "deny")
    for one in (path(approval), "/inbox/history"):
        page = window(BO).open(one)
        page.evaluate("for (const fold of document.querySelectorAll('details')) fold.open = true")
        with page.expect_download() as coming:
            page.get_by_role("button", name=re.compile("vidence")).click()
        assert coming.value.suggested_filename == f"evidence-{approval.id}.json"
        expect(page.get_by_role("button", name=re.compile("vidence"))).to_be_enabled()
