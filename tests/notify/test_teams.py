"""Teams: Adaptive Cards that the schema takes, with a link and nothing else to press."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import adaptive_cards
import pytest
from jsonschema import Draft6Validator
from jsonschema.exceptions import best_match

from llmguard.channels import Channel
from llmguard.model import Reason, Risk
from llmguard.notify.card import Card
from llmguard.notify.teams import MAX_BYTES, adaptive, envelope
from tests.desks import BO, Desk
from tests.notify.counterparts import Counterpart
from tests.notify.test_slack import HOSTILE, hold

Tell = Callable[..., None]
FLOW = "/workflows/x/triggers/manual/paths/invoke?api-version=1&sp=%2Ftriggers%2Frun&sig=a%2Bb-_~%3D"
SCHEMA = json.loads((Path(adaptive_cards.__file__).parent / "schemas" / "schema-1.5.json").read_text())


def sound(card: Any) -> None:
    """Against the schema of Adaptive Cards 1.5. ``msteams`` is Teams' own member, which the schema does not know."""
    assert card["version"] == "1.5"
    card = {name: value for name, value in card.items() if name != "msteams"}
    error = best_match(Draft6Validator(SCHEMA).iter_errors(card))
    assert error is None, error


@pytest.fixture
def teams(there: Counterpart) -> Channel:
    return Channel("floor", "teams", url=f"{there.url}{FLOW}")


def card(there: Counterpart, index: int = 0) -> Any:
    [attachment] = there.got[index].json["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    return attachment["content"]


def runs(made: Any) -> list[str]:
    return [run["text"] for block in made["body"] for run in block["inlines"]]


def test_the_schema_would_find_a_mistake() -> None:
    made = adaptive(Card("01", "t", (), "https://x.example", "", True, "0", 1))
    sound(made)
    made["body"][0]["inlines"][0]["colour"] = "red"
    with pytest.raises(AssertionError):
        sound(made)


def test_a_card_says_what_is_asked_and_links_to_the_inbox(
    desk: Desk, there: Counterpart, teams: Channel, tell: Tell
) -> None:
    approval = desk.hold()
    tell(teams)
    made = card(there)
    sound(made)
    assert runs(made)[0] == "Waits for approval"
    assert "80 of 100 as written (high), 20 as it leaves" in runs(made)
    assert made["actions"] == [
        {"type": "Action.OpenUrl", "title": "Open in the inbox", "url": desk.approvals.link(approval)}
    ]
    assert there.got[0].target == FLOW, "as it is configured: its query is signed"


@pytest.mark.parametrize("words", HOSTILE.values(), ids=HOSTILE.keys())
def test_other_peoples_words_are_words(desk: Desk, there: Counterpart, teams: Channel, tell: Tell, words: str) -> None:
    words = f"[Open](https://evil.example) **x** {{{{DATE(2017-02-14T06:00Z)}}}} <at>all</at> {words}"
    hold(desk, operation=words, rule=words, findings={words: 2}, risk=Risk(9, 9, (Reason("t", 1.0, words),)))
    tell(teams)
    made = card(there)
    sound(made)
    assert {block["type"] for block in made["body"]} == {"RichTextBlock"}, "text runs know no Markdown"
    assert not any("{{" in text or not text.isprintable() for text in runs(made))
    assert len(there.got[0].body) < MAX_BYTES


def test_the_longest_card_is_taken(desk: Desk) -> None:
    wide = "\U0001f600" * 300
    made = Card("0" * 26, "t" * 50, (("label", wide),) * 9, "https://x.example/" + "x" * 2000, "", True, "0" * 64, 1)
    longest = adaptive(replace(made, excerpt="\U0001f600" * 400))
    sound(longest)
    assert len(json.dumps(envelope(longest), ensure_ascii=False).encode()) < MAX_BYTES


def test_an_outcome_is_told_where_it_was_asked_for(desk: Desk, there: Counterpart, teams: Channel, tell: Tell) -> None:
    both = replace(teams, events=("pending", "denied"))
    desk.vote(desk.hold(), BO, "deny")
    tell(both)
    assert [runs(card(there, i))[0] for i in range(len(there.got))] == ["Denied"]
    sound(card(there))
