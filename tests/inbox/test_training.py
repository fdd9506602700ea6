"""Training data in the inbox: what a reviewer sees of it, and decides and says of its records, also without scripts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, expect

from llmguard.config import Settings
from llmguard.testing import EchoUpstream, Fakes
from tests.desks import ANN, BO, CY
from tests.inbox.chromium import NARROW, WIDE, Window
from tests.inbox.site import Visitor
from tests.training import CARD, COUNT, Life, lines_of, living, numbers

FIELD = re.compile(r'<input type="hidden" name="(digest|version|once)" value="([^"]*)">')
TICK = re.compile(r'name="seen" form="decide" value="([^"]+)"')
TAG = re.compile(r"<[^>]*>")


@pytest.fixture
def life(settings: Settings, upstream: EchoUpstream, fakes: Fakes) -> Iterator[Life]:
    with living(settings, upstream, fakes) as made:
        yield made


class Reviewer:
    """Somebody before the page of an approval, in a browser without scripts."""

    def __init__(self, life: Life, who: str) -> None:
        self.browser = Visitor(life, who, {})  # type: ignore[arg-type]

    def page(self, held: dict[str, Any]) -> str:
        return self.browser.get(f"/inbox/approvals/{held['id']}").text

    def words(self, held: dict[str, Any]) -> str:
        return re.sub(r"\s+", " ", unescape(TAG.sub(" ", self.page(held))))

    def act(self, held: dict[str, Any], name: str, **fields: Any) -> httpx.Response:
        path, known = f"/inbox/approvals/{held['id']}", dict(FIELD.findall(self.page(held)))
        return self.browser.post(f"{path}/{name}", path, **{**known, **fields})


@pytest.fixture
def bo(life: Life) -> Iterator[Reviewer]:
    made = Reviewer(life, BO)
    yield made
    made.browser.close()


@pytest.fixture
def cy(life: Life) -> Iterator[Reviewer]:
    made = Reviewer(life, CY)
    yield made
    made.browser.close()


def test_the_page_shows_figures_and_a_sample_and_nothing_raw(life: Life, bo: Reviewer) -> None:
    held = life.held(name=f"{life.mails[1]}.jsonl")
    words = bo.words(held)
    for said in (f"records {COUNT} all leave", "people, at least", "duplicates", "bad records 0", "Findings by type"):
        assert said in words, said
    assert f"CREDIT_CARD {COUNT // 3}" in words
    assert "EMAIL: messages 1 content" in words
    assert "Nobody has looked through the sample yet" in words
    assert not [value for value in (*life.mails, CARD) if value in bo.page(held)]


def test_who_asked_sees_the_sample_and_chooses_nothing(life: Life, bo: Reviewer) -> None:
    held = life.held()
    assert 'type="radio" form="records"' in bo.page(held)
    ann = Reviewer(life, ANN)
    page = ann.page(held)
    ann.browser.close()
    assert "A sample, as it leaves" in page
    assert 'form="records"' not in page


def test_one_tick_is_for_the_report_and_the_sample(life: Life, bo: Reviewer) -> None:
    held = life.held()
    ticks = TICK.findall(bo.page(held))
    assert len(ticks) == 1
    refused = bo.act(held, "vote", verdict="approve")
    assert refused.status_code == 422
    assert bo.act(held, "vote", verdict="approve", seen=ticks[0]).status_code == 303
    assert life.get(f"/approvals/{held['id']}")["state"] == "APPROVED"


def test_what_is_decided_makes_a_revision_that_somebody_else_approves(life: Life, bo: Reviewer, cy: Reviewer) -> None:
    held = life.held()
    answer = bo.act(held, "records", r1="drop", r4="keep", r2="redact", also_drop="10-12, 20")
    assert answer.status_code == 303, answer.text
    location = answer.headers["location"]
    assert location.endswith("?done=records")
    after = life.get(location.removeprefix("/inbox").removesuffix("?done=records"), CY)
    words = cy.words(after)
    assert "1 record kept as written, 5 records dropped; all others are redacted" in words
    assert f"{BO}: kept something as it was written" in words
    assert f"leaves as it was written: {BO}" in words
    assert f"{BO} decided about its records: 1 kept as written, 5 dropped" in words
    sample = cy.page(after).partition('id="part-sample"')[2].partition("</section>")[0]
    assert "Done, 3." in sample
    assert not [value for value in (*life.mails, CARD) if value in sample]
    assert "You do not decide this one" in bo.words(after)
    tick = TICK.findall(cy.page(after))[0]
    assert cy.act(after, "vote", verdict="approve", seen=tick).status_code == 303
    life.upload()
    assert numbers(lines_of(life.received()[-1])) == [n for n in range(1, COUNT + 1) if n not in (1, 10, 11, 12, 20)]
    words = cy.words(after)
    assert "What came of it" in words
    assert "llmguard lineage file-" in words


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "nothing is decided otherwise"),
        ({"also_drop": "99"}, "the file has no record 99"),
        ({"also_drop": "5", "also_keep": "5"}, "record 5 is named twice"),
        ({"also_keep": "5-3"}, "backwards"),
    ],
)
def test_what_is_refused_is_said_and_what_was_chosen_stays(
    life: Life, bo: Reviewer, fields: dict[str, str], said: str
) -> None:
    answer = bo.act(life.held(), "records", **fields)
    assert answer.status_code in (400, 422)
    assert said in answer.text
    for value in fields.values():
        assert f'value="{value}"' in answer.text


def test_labels_give_the_bound_that_the_page_shows(life: Life, bo: Reviewer, cy: Reviewer) -> None:
    held = life.held()
    assert bo.act(held, "labels").status_code == 422
    assert bo.act(held, "labels", l1="fine", l2="missed", l3="fine").status_code == 303
    words = cy.words(held)
    assert "3 records of the sample looked at, something missed in 1." in words
    assert "With 95 % confidence at most" in words
    assert '<option value="missed" selected>' in cy.page(held)


def test_the_report_comes_as_a_file(life: Life, bo: Reviewer) -> None:
    held = life.held()
    answer = bo.browser.get(f"/inbox/approvals/{held['id']}/report")
    assert answer.headers["content-disposition"].startswith("attachment;")
    assert "style-src 'self'" in answer.headers["content-security-policy"]
    assert "Risk of a data set" in answer.text


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_the_page_is_without_barriers_and_fits_a_phone(
    life: Life, browser: Browser, size: dict[str, int], scheme: str
) -> None:
    held = life.held()
    seen = Window(browser, life, BO, viewport=size, color_scheme=scheme)  # type: ignore[arg-type]
    page = seen.open(f"/inbox/approvals/{held['id']}")
    for group in page.locator("#part-sample details.card > summary").all():
        group.focus()
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    assert seen.axe() == []
    assert not seen.too_wide()
    seen.close()


def test_records_are_decided_by_keyboard(life: Life, browser: Browser) -> None:
    held = life.held()
    seen = Window(browser, life, BO)  # type: ignore[arg-type]
    page = seen.open(f"/inbox/approvals/{held['id']}")
    first = page.locator("input[type=radio][form=records]:checked").first
    first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.get_by_role("button", name="Decide about these records").focus()
    page.keyboard.press("Enter")
    expect(page.locator("p.box.good")).to_contain_text("it is voted on anew")
    expect(page.locator("#report ~ h3, .head ~ h3").first).to_be_visible()
    assert life.get(page.url.split("/inbox")[1].split("?")[0] + "/report")["decided"] == {"drop": 1}
    seen.close()
