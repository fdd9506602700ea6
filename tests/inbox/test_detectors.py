"""The try-out: what is found in a text that somebody typed; and that nothing of it is kept."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import cache

import pytest

from llmguard import catalogue
from llmguard.detection import Engine, Scanner
from llmguard.inbox.detectors import LONGEST, pieces
from llmguard.model import Destination
from llmguard.policy import Policy
from llmguard.proxy.control import Bench
from tests.desks import BO, Desk
from tests.inbox.chromium import NARROW, Window
from tests.inbox.site import Site, Visitor, served

PATH = "/inbox/detectors"
CARD = "4111 1111 1111 1111"
TEXT = f"mail quentin.zz@acme.test, card {CARD}\u202e <b>x</b>"


@cache
def bench() -> Bench:
    """Compiled once for the module."""
    held = {"name": "cards", "when": 'findings.exists(f, f.type == "CREDIT_CARD")', "verdict": "require_approval"}
    policy = Policy([{**held, "reason": "cards wait", "group": "reviewers"}])
    return Bench(Scanner(Engine(catalogue.load())), lambda: policy, Destination("openai", "https://api.example/v1"))


@pytest.fixture
def site(desk: Desk) -> Iterator[Site]:
    with served(desk, bench=bench()) as running:
        yield running


def test_findings_are_marked_in_the_text_with_type_detector_confidence_and_why(bo: Visitor) -> None:
    page = bo.post(PATH, PATH, text=TEXT, use="inference").text
    assert re.search(r'<mark class="pii">4111 1111 1111 1111<span class="kind">\d CREDIT_CARD</span></mark>', page)
    assert "pii.financial.card_number" in page
    assert "validator card proves it" in page
    assert "held for people" in page
    assert "1 of reviewers" in page
    assert re.search(r"\[CREDIT_CARD_[a-z0-9]{10}\]", page)
    assert "1 card number" in page


def test_the_text_is_escaped_and_what_steers_the_eye_is_a_chip(bo: Visitor) -> None:
    page = bo.post(PATH, PATH, text=TEXT).text
    shown = page[page.index('<pre class="marked"') :]
    assert "<b>x" not in page
    assert "U+202E" in shown
    assert "\u202e" not in shown


def test_nothing_of_the_text_is_stored_or_logged_but_that_somebody_tried(
    site: Site, bo: Visitor, caplog: pytest.LogCaptureFixture
) -> None:
    answer = bo.post(PATH, PATH, text=TEXT)
    assert answer.headers["cache-control"] == "no-store"
    site.desk.store.read(lambda tx: None)
    with closing(sqlite3.connect(site.desk.path)) as db:
        dump = "\n".join(db.iterdump())
    for value in ("quentin", CARD, CARD.encode().hex()):
        assert value not in dump
        assert value not in caplog.text
    assert site.desk.log()[-1] == "text.tried"
    leaf = site.desk.store.read(lambda tx: tx.all("SELECT leaf FROM audit_entries ORDER BY idx"))[-1]["leaf"].decode()
    assert f'"characters":{len(TEXT)}' in leaf
    assert '"by":"bo@example.com"' in leaf


def test_placeholders_of_the_try_out_tell_nobody_which_ones_real_calls_have(site: Site, bo: Visitor) -> None:
    """Else whoever sees a placeholder could try values until one gives the same."""
    made = [re.findall(r"\[CREDIT_CARD_[a-z0-9]+\]", bo.post(PATH, PATH, text=TEXT).text)[0] for _ in range(2)]
    real = site.desk.vault.digest("default", "CREDIT_CARD", CARD)
    assert len(set(made)) == 2
    assert real is not None


def test_a_get_never_looks_through_a_text(site: Site, bo: Visitor) -> None:
    before = site.desk.log()
    page = bo.get(f"{PATH}?text=4111+1111+1111+1111&use=training").text
    assert "CREDIT_CARD" not in page
    assert site.desk.log() == before


@pytest.mark.parametrize(("text", "words"), [("", "no text"), (" \n", "no text"), ("x" * (LONGEST + 1), "65536")])
def test_what_cannot_be_looked_through_is_said_and_the_text_stays(bo: Visitor, text: str, words: str) -> None:
    answer = bo.post(PATH, PATH, text=text)
    assert answer.status_code in (400, 413)
    assert words in answer.text


def test_64_kb_of_findings_and_of_emoji_are_looked_through(bo: Visitor) -> None:
    many = bo.post(PATH, PATH, text="a@b-corp.com " * 1000)
    assert many.status_code == 200
    assert many.text.count("<mark") == 1000
    assert "And 700 more, marked above" in many.text
    assert bo.post(PATH, PATH, text="\U0001f600" * LONGEST).status_code == 200


def test_without_detectors_beside_it_the_page_says_so(desk: Desk) -> None:
    with served(desk) as bare:
        visitor = bare.browser(BO)
        answer = visitor.post(PATH, PATH, text="x")
        visitor.close()
    assert answer.status_code == 404
    assert "no detectors run" in answer.text


def test_what_was_typed_comes_back_after_a_login(site: Site, bo: Visitor) -> None:
    token = bo.token(PATH)
    site.desk.now += 3601 * 1000
    asked = bo.http.post(PATH, data={"_form": token, "_here": PATH, "text": "typed text", "use": "training"})
    assert asked.status_code == 401
    assert "typed text" in asked.text


def test_it_works_by_keyboard_on_a_phone_in_the_dark(window: Callable[..., Window]) -> None:
    seen = window(BO, viewport=NARROW, color_scheme="dark")
    page = seen.open(PATH)
    page.keyboard.press("/")
    page.keyboard.insert_text(TEXT)
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("mark")
    assert seen.axe() == []
    assert not seen.too_wide()


def test_pieces_are_the_whole_text_in_order() -> None:
    found = [{"start": 2, "end": 4}, {"start": 4, "end": 6}]
    cut = list(pieces("abCDEFgh", found))
    assert [(text, number) for text, _, number in cut] == [("ab", 0), ("CD", 1), ("EF", 2), ("gh", 0)]
    assert list(pieces("", [])) == []
