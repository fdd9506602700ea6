"""What is told of a data set: as JSON, as a page and as a card."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest
import yaml

from llmguard.census import Census, Looked, Report, facts_of, report
from llmguard.facts import Found
from llmguard.policy import Policy
from tests.census.made import SMALL, census, holding, plain

_MANY = [plain(i, f"some text {i % 90}") for i in range(100)] + [holding(100 + i, f"u{i % 7}@b.org") for i in range(30)]


@pytest.fixture(scope="module")
def told() -> Report:
    return report(census(_MANY), name="<b>chats</b>\u202e.jsonl", version="1.2.3")


def test_json_comes_back_as_the_same_report(told: Report) -> None:
    labelled = told.labelled({"clean": Looked(60), "medium": Looked(30, 1)})
    assert Report.of_json(labelled.to_json()) == labelled
    assert Report.of_json(told.to_json(sample=False)).sample == ()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 9}', "nonsense"])
def test_json_of_something_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  json's own, or ours
        Report.of_json(text)


def test_figures_add_up(told: Report) -> None:
    assert told.records == sum(s.records for s in told.strata) == 130
    assert told.findings == 30
    assert told.types[0].values.value == 7
    assert told.types[0].most == (5, 5)
    assert told.copies.distinct.value == 97
    assert told.copies.surplus.value == 33
    assert sum(g.count.value for g in told.people.records) == 130
    assert sum(g.count.value for g in told.tokens.groups) == 130
    assert not told.tokens.total.error


def test_a_large_data_set_is_told_in_estimates_that_add_up_nearly() -> None:
    told = report(census(_MANY, SMALL), name="x")
    assert told.tokens.total.error
    assert abs(told.tokens.total.value - report(census(_MANY), name="x").tokens.total.value) < 130
    assert "≈" in told.html()
    assert "estimated" in told.html()


def test_the_page_is_whole_escaped_and_loads_nothing(told: Report) -> None:
    page = told.labelled({"clean": Looked(60)}).html()

    class Reader(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.open: list[str] = []

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            assert tag not in ("script", "b", "img", "link", "iframe")
            assert not {"src", "href", "onclick"} & {name for name, _ in attrs}
            if tag in ("svg", "figure", "section", "details", "div", "table"):
                self.open.append(tag)

        def handle_endtag(self, tag: str) -> None:
            if tag in ("svg", "figure", "section", "details", "div", "table"):
                assert self.open.pop() == tag

    reader = Reader()
    reader.feed(page)
    assert not reader.open
    assert "&lt;b&gt;chats&lt;/b&gt;\\u{202e}.jsonl" in page
    assert "Content-Security-Policy" in page


def test_the_sample_can_be_left_out(told: Report) -> None:
    assert "it says [X] there" in told.html()
    assert "it says [X] there" not in told.html(sample=False) + told.to_json(sample=False) + told.card()


def test_the_card_has_a_head_that_hubs_read(told: Report) -> None:
    _, head, body = told.card().split("---\n", 2)
    fields = yaml.safe_load(head)
    assert fields["pretty_name"] == told.name
    assert fields["size_categories"] == ["n<1K"]
    assert fields["dataset_info"]["splits"] == [{"name": "train", "num_bytes": told.leaving, "num_examples": 130}]
    assert "\\<b\\>chats" in body
    assert "Nobody has looked at a sample" in body


def test_labels_give_a_bound_for_each_stratum_and_for_all(told: Report) -> None:
    labelled = told.labelled({"clean": Looked(60), "medium": Looked(30)})
    assert [b.stratum for b in labelled.residual] == ["clean", "medium", ""]
    assert labelled.residual[-1].most == 4
    assert "5.0 %" in labelled.html()
    with pytest.raises(ValueError, match="than was sampled"):
        told.labelled({"clean": Looked(61)})


def test_an_empty_data_set_has_a_report_too() -> None:
    told = report(Census(), name="x")
    assert "There is nothing in it." in told.html()
    assert told.card()
    assert Report.of_json(told.to_json()) == told


def test_facts_of_a_data_set_are_assessed_as_training_and_repeats_count() -> None:
    made = census(_MANY)

    def assessed(times: int) -> float:
        found = [Found("EMAIL", "pii", "medium", 1.0, identity="a", times=times)]
        facts = facts_of(found, made, unscanned=["names", "names"])
        assert (facts.kind, facts.unscanned, facts.characters) == ("training", ("names",), made.characters)
        reasons = {r.term: r.points for r in Policy().risk(facts).reasons}
        return reasons["memorization"]

    assert assessed(1) == 0
    assert 0 < assessed(3) < assessed(30)


def test_values_that_were_not_kept_do_not_count_as_repeats_of_one() -> None:
    facts = facts_of([Found("EMAIL", "pii", "medium", 1.0, times=5_000)], census(_MANY))
    assert facts.counts == {"EMAIL": 5_000}
    assert {r.term: r.points for r in Policy().risk(facts).reasons}["memorization"] == 0


def test_json_is_the_same_each_time_and_holds_numbers(told: Report) -> None:
    assert told.to_json() == report(census(_MANY), name=told.name, version="1.2.3").to_json()
    assert json.loads(told.to_json())["copies"]["distinct"] == {"error": 0.0, "value": 97}
