"""The queue as a person reads it: what waits and for whom, filters and search, and text that tries to be more."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from llmguard.model import Approval
from tests.desks import ANN, BO, CY, DEE, Desk
from tests.inbox.site import Site, Visitor

ROW = re.compile(r'<li id="a([0-9A-Z]{26})"')


def shown(visitor: Visitor, **query: Any) -> list[str]:
    answer = visitor.get("/inbox", params=query)
    assert answer.status_code == 200, answer.text
    return ROW.findall(answer.text)


def held(desk: Desk, key: str, **more: Any) -> Approval:
    from dataclasses import replace

    hold = desk.request(desk.principal(more.pop("human", ANN), more.pop("principal", "key:1")), key=key)
    hold = replace(hold, **{name: value for name, value in more.items() if name != "decision"})
    return desk.store.transact(lambda tx: desk.approvals.hold(tx, hold))


@pytest.fixture
def ann(site: Site) -> Iterator[Visitor]:
    made = site.browser(ANN)
    yield made
    made.close()


def test_the_first_page_shows_what_waits_for_this_person_and_counts_it(site: Site, bo: Visitor, ann: Visitor) -> None:
    first, own = site.desk.hold(key="1"), held(site.desk, "2", human=BO)
    voted = site.desk.hold(key="3", quorum=2)
    site.desk.vote(voted, BO)
    assert shown(bo) == [first.id]
    assert "<title>(1) Queue" in bo.get("/inbox").text
    assert shown(bo, view="mine") == [own.id]
    assert shown(bo, view="open") == [voted.id, own.id, first.id]
    assert shown(ann) == [own.id]
    site.desk.vote(first, CY)
    assert shown(bo) == []
    assert "Nothing waits for you" in bo.get("/inbox").text
    assert "<title>Queue" in bo.get("/inbox").text


def test_what_time_has_ended_waits_for_nobody(site: Site, bo: Visitor) -> None:
    site.desk.hold(expires_in=60)
    assert len(shown(bo)) == 1
    site.desk.now += 61_000
    assert shown(bo) == shown(bo, view="open") == []
    assert "expired" in bo.get("/inbox?view=all").text


def test_whoever_stands_in_after_an_escalation_is_asked_then(site: Site) -> None:
    dee = site.browser(DEE)
    site.desk.hold(escalate_after=60, escalate_to="security")
    assert shown(dee) == []
    site.desk.now += 61_000
    site.desk.store.transact(lambda tx: site.desk.approvals.sweep(tx))
    assert len(shown(dee)) == 1
    dee.close()


def test_what_others_are_asked_is_not_shown(site: Site, bo: Visitor) -> None:
    site.desk.hold(group="security")
    for view in ("me", "open", "mine", "all"):
        assert shown(bo, view=view) == []


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ({"operation": "Files"}, "b"),
        ({"requester": "BO@"}, "c"),
        ({"requester": "key:9"}, "b"),
        ({"type": "iban"}, "b"),
        ({"type": "1"}, ""),
        ({"risk": "90"}, "b"),
        ({"risk": "80"}, "abc"),
        ({"text": "files openai"}, "b"),
        ({"text": "risky EXAMPLE.com"}, "abc"),
        ({"text": "files nothing"}, ""),
        ({"text": "%"}, ""),
        ({"text": "_"}, ""),
        ({"state": "DENIED"}, "a"),
        ({"subject": "action"}, "c"),
        ({"subject": "call", "operation": "respon"}, "a"),
        ({"operation": "'; DROP TABLE approvals; --"}, ""),
    ],
    ids=str,
)
def test_filters_and_words_narrow_the_list(site: Site, bo: Visitor, query: dict[str, str], wanted: str) -> None:
    from llmguard.model import Risk

    made = {
        "a": held(site.desk, "a"),
        "b": held(site.desk, "b", operation="files.create", findings={"IBAN": 2}, risk=Risk(95, 10), principal="key:9"),
        "c": held(site.desk, "c", subject="action", human=BO),
    }
    site.desk.vote(made["a"], CY, "deny")
    assert shown(bo, view="all", **query) == [made[name].id for name in sorted(wanted, reverse=True)]
    if not wanted:
        assert "Nothing here fits" in bo.get("/inbox", params={"view": "all", **query}).text


def test_a_filter_that_is_none_is_refused_in_words(bo: Visitor) -> None:
    for query in ({"risk": "high"}, {"state": "OPEN"}, {"text": "x" * 300}, {"cursor": "'"}):
        answer = bo.get("/inbox", params=query)
        assert answer.status_code == 400
        assert "<h1>" in answer.text
    assert bo.get("/inbox?view=nothing&unknown=1").status_code == 200


def test_a_long_list_has_further_pages_that_keep_the_filters(site: Site, bo: Visitor) -> None:
    ids = [held(site.desk, str(n), principal=f"key:{n}").id for n in range(53)]
    first = bo.get("/inbox?view=open&operation=resp")
    [older] = re.findall(r'href="(/inbox\?[^"]*cursor[^"]*)"', first.text)
    second = bo.get(older.replace("&amp;", "&"))
    assert ROW.findall(first.text) + ROW.findall(second.text) == ids[::-1]
    assert "Older" not in second.text


def test_somebody_elses_words_are_text_and_what_steers_the_eye_is_a_chip(site: Site, bo: Visitor) -> None:
    hostile = '<img src=x onerror=alert(1)>"\u202eevil\u200b{{7*7}}'
    held(site.desk, "h", operation=hostile, unscanned=(hostile,), findings={hostile: 1})
    page = bo.get("/inbox").text
    assert "<img" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert "\u202e" not in page
    assert "\u200b" not in page
    assert 'title="right-to-left override">U+202E RLO</span>' in page
    assert "U+200B ZWSP" in page
    assert "{{7*7}}" in page


def test_a_script_gets_the_list_alone_and_only_when_it_is_something_else(site: Site, bo: Visitor) -> None:
    etag = bo.get("/inbox").headers["etag"]
    live = {"x-llmguard-live": "0", "if-none-match": etag}
    unchanged = bo.get("/inbox", headers=live)
    assert (unchanged.status_code, unchanged.headers["etag"], unchanged.content) == (304, etag, b"")
    site.desk.hold()
    news = bo.get("/inbox", headers=live)
    assert news.status_code == 200
    assert news.headers["etag"] != etag
    assert len(ROW.findall(news.text)) == 1
    assert "<html" not in news.text


def test_a_row_that_was_altered_in_the_database_is_not_shown(site: Site, bo: Visitor) -> None:
    made = site.desk.hold()
    site.desk.edit("UPDATE approvals SET operation = 'nothing.bad' WHERE id = ?", made.id)
    assert shown(bo) == []
