"""The dashboard: what is counted, for whom, and how it is drawn."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from llmguard.facts import Found
from llmguard.inbox.charts import Series, columns, legend, shares
from llmguard.inbox.dashboard import bin_labels, span
from llmguard.policy import Policy
from tests.desks import ANN, BO, Desk
from tests.inbox.chromium import NARROW, WIDE, Window
from tests.inbox.site import Site, Visitor, served
from tests.kept import CARD, EMAIL, facts, keep

HOLD = Policy(
    [{"name": "cards <wait>", "when": 'findings.exists(f, f.type == "CREDIT_CARD")', "verdict": "require_approval"}]
)


@pytest.fixture
def calls(desk: Desk) -> None:
    """Five calls of today: two held, of a caller whose name is markup."""
    for i, found in enumerate((CARD, CARD, EMAIL, EMAIL, EMAIL)):
        keep(desk, facts(found, at=desk.now - 60_000 + i, principal_name="<b>app</b>\u202e"), HOLD)
    held = desk.hold()
    desk.now += 90_000
    desk.vote(held, BO)


def test_calls_are_shown_by_verdict_type_rule_and_caller(site: Site, calls: None, bo: Visitor) -> None:
    page = bo.get("/inbox/dashboard").text
    assert re.search(r"<dt>Calls</dt><dd>5</dd>", page)
    assert re.search(r"<dt>Held calls</dt><dd>2</dd>", page)
    assert "held for people <b>2</b>" in page
    assert "CREDIT_CARD" in page
    assert "cards &lt;wait&gt;" in page
    assert "1.5 min" in page  # the decision
    assert "<b>app" not in page
    assert "\u202e" not in page


def test_every_chart_has_its_numbers_in_a_table(calls: None, bo: Visitor) -> None:
    page = bo.get("/inbox/dashboard?days=1").text
    figures = re.findall(r'<figure class="chart">.*?</figure>', page, re.S)
    assert len(figures) == 8
    assert all("<summary>As a table</summary>" in figure for figure in figures)


def test_with_nothing_to_show_each_chart_says_what_will_be_there(bo: Visitor) -> None:
    page = bo.get("/inbox/dashboard?days=30").text
    for words in ("No call yet", "Nothing was found", "Nothing was held", "No decision yet", "No shadow rule has held"):
        assert words in page
    assert "<figure" not in page


def test_whoever_is_in_no_group_sees_the_calls_that_he_answers_for(site: Site, calls: None) -> None:
    site.desk.put("eve@example.com")
    keep(site.desk, facts(EMAIL, at=site.desk.now, human="eve@example.com"))
    eve = site.browser("eve@example.com")
    page = eve.get("/inbox/dashboard").text
    eve.close()
    assert "The calls that you answer for" in page
    assert re.search(r"<dt>Calls</dt><dd>1</dd>", page)
    assert ANN not in page


def test_where_calls_are_not_kept_it_says_so(desk: Desk) -> None:
    with served(desk, calls_kept=0.0) as site:
        visitor = site.browser(BO)
        assert "Calls are not kept here" in visitor.get("/inbox/dashboard").text
        visitor.close()


def test_a_part_that_is_as_it_was_is_not_sent_again(site: Site, calls: None, bo: Visitor) -> None:
    etag = bo.get("/inbox/dashboard").headers["etag"]
    live = {"x-llmguard-live": "0", "if-none-match": etag}
    assert bo.get("/inbox/dashboard", headers=live).status_code == 304
    keep(site.desk, facts(EMAIL, at=site.desk.now))
    again = bo.get("/inbox/dashboard", headers=live)
    assert again.status_code == 200
    assert "<html" not in again.text


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_it_is_without_barriers_in_both_themes_and_fits_a_phone(
    site: Site, calls: None, window: Callable[..., Window], size: Any
) -> None:
    for scheme, days in (("light", 1), ("dark", 30)):
        seen = window(BO, viewport=size, color_scheme=scheme)
        page = seen.open(f"/inbox/dashboard?days={days}")
        page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert seen.axe() == []
        assert not seen.too_wide()


def test_marks_differ_without_colour_and_stand_in_a_legend() -> None:
    series = [Series(name, [n], n) for n, name in enumerate(("a", "b", "c", "d"))]
    drawn = legend(series)
    assert len(set(re.findall(r'class="mark ([a-z-]+)"', drawn))) == 4
    assert "url(#lines)" in drawn
    assert "url(#cross)" in drawn


def test_charts_have_no_style_and_no_script_and_escape_what_others_named() -> None:
    rows = [("<script>alert(1)</script>", 3, 1), ("x" * 200, 1, 1)]
    drawn = shares(rows, ("found", "replaced")) + columns(["a"], [Series("n", [0], 1)])
    assert "<script" not in drawn
    assert "style=" not in drawn
    assert "x" * 60 not in drawn


@pytest.mark.parametrize(
    ("ms", "words"),
    [
        (0, "a second"),
        (1500, "1.5 s"),
        (60_000, "1 min"),
        (5_400_000, "1.5 h"),
        (86_400_000, "1 d"),
        (None, "none yet"),
    ],
)
def test_times_are_told_in_the_largest_unit(ms: int | None, words: str) -> None:
    assert span(ms) == words


def test_bins_name_where_they_end() -> None:
    assert bin_labels([{"most": 60_000}, {"most": 3_600_000}, {"most": None}]) == ["< 1 min", "< 1 h", "≥ 1 h"]


def test_a_finding_that_leaves_as_written_does_not_count_as_replaced(site: Site, bo: Visitor) -> None:
    allow = Policy([{"name": "all", "verdict": "allow"}])
    keep(site.desk, facts(Found("EMAIL", "pii", "medium", 0.9, identity="aa", times=4), at=site.desk.now), allow)
    page = bo.get("/inbox/dashboard").text
    assert re.search(r"<dt>Values replaced</dt><dd>0</dd>", page)
    assert "found <b>4</b>" in page
