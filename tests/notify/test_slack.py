"""Slack's cards: what stands on them, that they stay within Slack's limits, and that they follow the approval."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from slack_sdk.errors import SlackObjectFormationError
from slack_sdk.models.blocks import Block
from slack_sdk.models.blocks.basic_components import TextObject
from slack_sdk.models.blocks.block_elements import ButtonElement

from llmguard import identity
from llmguard.channels import Channel
from llmguard.identity import Cause
from llmguard.model import Approval, Hold, Reason, Risk
from llmguard.notify import deliveries
from llmguard.notify.card import card
from llmguard.notify.slack import blocks, modal, said
from tests.desks import ANN, BO, CY, TENANT, Desk
from tests.notify.counterparts import BOT, Answer, Counterpart

Make = Callable[..., Channel]
Tell = Callable[..., None]


def shown(desk: Desk, approval: Approval, channel: Channel) -> list[dict[str, Any]]:
    approval = desk.get(approval)
    return blocks(desk.store.read(lambda tx: card(tx, desk.vault, desk.approvals, approval, channel)), channel)


def texts(value: Any) -> list[dict[str, Any]]:
    """All text objects of blocks."""
    if isinstance(value, list):
        return [found for one in value for found in texts(one)]
    if not isinstance(value, dict):
        return []
    here = [value] if value.get("type") in ("plain_text", "mrkdwn") else []
    return here + [found for one in value.values() for found in texts(one)]


def buttons(made: list[dict[str, Any]]) -> list[str]:
    return [e["action_id"] for block in made if block["type"] == "actions" for e in block["elements"]]


def hold(desk: Desk, **more: Any) -> Approval:
    """An approval of whatever a caller or an operator may have called something."""
    request: Hold = desk.request(**{k: more.pop(k) for k in ("key", "quorum", "groups", "fresh", "body") if k in more})
    rule = more.pop("rule", None)
    if rule is not None:
        request = replace(request, decision=replace(request.decision, rule=rule))
    request = replace(request, **more)
    return desk.store.transact(lambda tx: desk.approvals.hold(tx, request))


def test_a_card_says_who_what_where_why_and_how_to_decide(desk: Desk, slack: Make) -> None:
    approval = desk.hold(quorum=2)
    desk.vote(approval, BO)
    made = shown(desk, approval, slack())
    said = "\n".join(t["text"] for t in texts(made))
    for words in (
        "Waits for approval",
        f"Asks\n{ANN}",
        "responses.create (call, unknown)",
        "Sends to\nopenai",
        "1 PERSON",
        "80 of 100 as written (high), 20 as it leaves",
        "rule risky",
        f"{BO} approved",
        "1 more of reviewers",
        "Until\n2027-01-15 09:00 UTC",
        approval.id,
        approval.egress_digest[:12],
    ):
        assert words in said
    assert buttons(made) == ["approve", "deny", "request_changes", "open"]
    links = [e["url"] for block in made if block["type"] == "actions" for e in block["elements"] if "url" in e]
    assert links == [desk.approvals.link(approval)]


def test_risk_is_given_with_its_heaviest_reasons(desk: Desk, slack: Make) -> None:
    reasons = tuple(Reason(f"t{i}", float(i), f"reason {i}") for i in range(5))
    made = shown(desk, hold(desk, risk=Risk(50, 10, reasons)), slack())
    assert "50 of 100 as written (medium), 10 as it leaves: reason 4; reason 3; reason 2" in json.dumps(made)


# --------------------------------------------------------------------------- who is shown buttons


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"subject": "change"}, "this change is read and decided in the inbox"),
        ({"subject": "action"}, "this action is read and decided in the inbox"),
        ({"fresh": 600}, "this needs a fresh login"),
        ({"risk": Risk(71, 10)}, "its risk is above 70"),
        ({"risk": Risk(10, 71)}, "its risk is above 70"),
    ],
)
def test_what_needs_more_than_a_button_has_a_link_alone(
    desk: Desk, slack: Make, more: dict[str, Any], why: str
) -> None:
    made = shown(desk, hold(desk, **{"risk": Risk(10, 10), **more}), slack(notify_only_above=70))
    assert buttons(made) == ["open"]
    assert why in made[-1]["elements"][0]["text"]


def test_what_is_decided_has_no_buttons_any_more(desk: Desk, slack: Make) -> None:
    approval = desk.hold()
    desk.vote(approval, BO)
    made = shown(desk, approval, slack())
    assert buttons(made) == ["open"]
    assert made[0]["text"]["text"] == "Approved"


def test_what_has_expired_unnoticed_has_none_either(desk: Desk, slack: Make) -> None:
    approval = desk.hold()
    desk.now += 3_600_000
    made = shown(desk, approval, slack())
    assert (made[0]["text"]["text"], buttons(made)) == ("Expired", ["open"])


# --------------------------------------------------------------------------- other people's words

HOSTILE = {
    "mention": "<!channel> @here <@U0000000001> <!subteam^S1>",
    "link": "<https://evil.example|Open in the inbox>",
    "imitation": "x\nNeeds\nnobody\n*Approved* by `you` :white_check_mark:",
    "fence": "```\nend of code",
    "rtl": "\u202egpj.evorppa\u202c \u05d0\u05d1\u05d2 \u2066x\u2069",
    "hidden": "pay\u200bpal\u2060 \U000e0041\ufe0f",
    "emoji": "\U0001f600" * 50_000,
    "quotes": "\"'\\\x00\x1b[31m&<>",
}


@pytest.mark.parametrize("words", HOSTILE.values(), ids=HOSTILE.keys())
def test_other_peoples_words_are_words(desk: Desk, there: Counterpart, slack: Make, tell: Tell, words: str) -> None:
    approval = hold(
        desk,
        principal=replace(desk.principal(), human=None, id=f"key:{words}"[:500]),
        rule=words,
        operation=words,
        risk=Risk(10, 10, (Reason("t", 1.0, words),)),
        findings={words: 3},
        quorum=2,
        body=json.dumps({"input": words[:3000]}).encode(),
    )
    tell(slack(excerpts=True))
    [posted] = there.called("chat.postMessage")
    for block in posted["blocks"]:
        assert_sound(block)
    for text in texts(posted["blocks"]):
        assert text["type"] == "plain_text"
        assert text["emoji"] is False
        lines = text["text"].split("\n")
        assert len(lines) <= 2, "a label and what it says: no words of others make a line"
        assert all(c.isprintable() for line in lines for c in line)
    assert "Leaves, redacted" in json.dumps(posted)
    assert posted["text"] == f"Waits for approval: approval {approval.id}"
    assert posted["link_names"] is False
    assert posted["parse"] == "none"
    assert len(json.dumps(posted)) < 20_000


def test_a_thousand_types_of_findings_are_counted(desk: Desk, slack: Make) -> None:
    made = shown(desk, hold(desk, findings={f"TYPE_{i}": 1 for i in range(1000)}), slack())
    assert "and 990 more of 990 types" in json.dumps(made)
    for block in made:
        assert_sound(block)


def test_the_longest_of_everything_is_within_slacks_limits(desk: Desk, slack: Make) -> None:
    wide = "\U0001f600" * 4000
    approval = hold(desk, rule=wide, operation=wide, findings={wide: 1}, risk=Risk(9, 9, (Reason("t", 1.0, wide),) * 9))
    channel = slack("n" * 32)
    made = desk.store.read(lambda tx: card(tx, desk.vault, desk.approvals, approval, channel))
    longest = blocks(replace(made, excerpt=wide[:400], link="https://guard.example/" + "x" * 2900), channel)
    for block in longest:
        assert_sound(block)
    assert len(longest) <= 50
    assert max(len(t["text"].encode("utf-16-le")) // 2 for t in texts(longest)) <= 1200


def assert_sound(block: dict[str, Any]) -> None:
    """As the SDK's own classes see it, and by the limits of Slack's reference that they do not check."""
    parsed = Block.parse(block)
    assert parsed is not None
    parsed.validate_json()
    for element in getattr(parsed, "elements", None) or []:
        element.validate_json()
        if isinstance(element, ButtonElement):
            assert len(element.value or "") <= 2000
            if element.confirm:
                element.confirm.validate_json()
    for field in getattr(parsed, "fields", None) or []:
        assert isinstance(field, TextObject)
        assert len(field.text) <= 2000
    assert len(block.get("fields", [])) <= 10


@pytest.mark.parametrize(
    "block",
    [
        {"type": "header", "text": {"type": "plain_text", "text": "x" * 151}},
        {"type": "section", "fields": [{"type": "plain_text", "text": "x"}] * 11},
        {"type": "section", "fields": [{"type": "plain_text", "text": "x" * 2001}]},
        {"type": "section"},
        {"type": "actions", "elements": [{"type": "button", "text": {"type": "plain_text", "text": "x" * 76}}]},
        {"type": "context", "elements": [{"type": "plain_text", "text": "x"}] * 11},
    ],
)
def test_a_shape_that_slack_would_refuse_is_found(block: dict[str, Any]) -> None:
    with pytest.raises((SlackObjectFormationError, AssertionError)):
        assert_sound(block)


def test_a_sentence_of_ours_mentions_nobody() -> None:
    made = said("only the groups '<!channel> *x*' decide this\nreally")
    assert made["text"] == "only the groups '&lt;!channel&gt; *x*' decide this[U+000A LF]really"
    [block] = made["blocks"]
    assert_sound(block)
    assert block["text"]["type"] == "plain_text"


def test_the_window_is_one_that_the_sdk_takes() -> None:
    from slack_sdk.models.views import View

    made = modal('["reviews", "x", 1, "y"]')
    View(**made).validate_json()
    assert made["callback_id"] == "llmguard_request_changes"


# --------------------------------------------------------------------------- in place


def test_a_card_follows_its_approval_whoever_decides(desk: Desk, there: Counterpart, slack: Make, tell: Tell) -> None:
    approval = desk.hold(quorum=2)
    tell(slack())
    desk.vote(approval, BO)
    tell(slack())
    desk.vote(approval, CY)
    tell(slack())
    desk.claim(approval)
    tell(slack())
    [posted], updates = there.called("chat.postMessage"), there.called("chat.update")
    assert posted["channel"] == "C0000000001"
    assert [u["ts"] for u in updates] == ["1800000000.000001"] * 3
    titles = [u["blocks"][0]["text"]["text"] for u in updates]
    assert titles == ["Waits for approval", "Approved", "Approved, on its way"]
    assert f"{BO} approved" in json.dumps(updates[0])
    assert all(got.headers["authorization"] == f"Bearer {BOT}" for got in there.got)


def test_what_was_decided_before_it_was_told_makes_no_card(
    desk: Desk, there: Counterpart, slack: Make, tell: Tell
) -> None:
    desk.vote(desk.hold(), BO)
    tell(slack())
    assert not there.got


def test_a_reminder_calls_people_below_the_card(desk: Desk, there: Counterpart, slack: Make, tell: Tell) -> None:
    desk.hold(remind_after=60)
    tell(slack())
    desk.now += 61_000
    desk.store.transact(desk.approvals.sweep)
    tell(slack())
    first, second = there.called("chat.postMessage")
    assert (second["thread_ts"], second["reply_broadcast"]) == ("1800000000.000001", True)
    assert second["blocks"][0]["text"]["text"] == "Still waits for approval"
    assert "thread_ts" not in first


def test_quiet_hours_keep_a_card_up_to_date_without_calling(
    desk: Desk, there: Counterpart, slack: Make, tell: Tell
) -> None:
    quiet = slack(quiet="09:00-10:00")
    approval = desk.hold(quorum=2, expires_in=86400)
    tell(quiet)
    desk.now += 3_600_000
    desk.vote(approval, BO)
    desk.hold(key="another", expires_in=86400)
    tell(quiet)
    assert len(there.called("chat.postMessage")) == 1
    assert len(there.called("chat.update")) == 1


def test_a_card_that_somebody_deleted_is_posted_again_only_if_it_is_news(
    desk: Desk, there: Counterpart, slack: Make, tell: Tell
) -> None:
    approval = desk.hold(quorum=2)
    tell(slack())
    there.next = [Answer(body={"ok": False, "error": "message_not_found"})]
    desk.vote(approval, BO)
    tell(slack())
    assert len(there.called("chat.postMessage")) == 2
    there.next = [Answer(body={"ok": False, "error": "message_not_found"})]
    desk.vote(approval, CY)
    tell(slack())
    assert len(there.called("chat.postMessage")) == 2


# --------------------------------------------------------------------------- trouble


@pytest.mark.parametrize(
    ("answer", "problem", "kept"),
    [
        ({"ok": False, "error": "invalid_auth"}, "slack_invalid_auth", True),
        ({"ok": False, "error": "internal_error"}, "slack_internal_error", True),
        ({"ok": False, "error": "invalid_blocks"}, "slack_invalid_blocks", False),
        ({"ok": False, "error": "<b>what\nSlack says</b>"}, "slack_unknown", False),
        ({"ok": "yes"}, "slack_unknown", False),
        ([], "slack_unknown", False),
        (b"no JSON", "slack_answer", True),
        (b"[" * 100_000, "slack_answer", True),
        ({"ok": True, "ts": "../../x"}, "slack_answer", False),
    ],
)
def test_slacks_errors(
    desk: Desk, there: Counterpart, slack: Make, tell: Tell, answer: Any, problem: str, kept: bool
) -> None:
    there.next = [Answer(body=answer)]
    desk.hold()
    tell(slack())
    found = desk.store.read(lambda tx: deliveries.health(tx, TENANT, "reviews"))
    assert (found.problem, bool(found.waiting)) == (problem, kept)


def test_the_name_of_a_key_is_shown(desk: Desk, slack: Make) -> None:
    def add(tx: Any) -> str:
        _, change = identity.new_key(tx, desk.vault, "billing-bot", ANN)
        identity.apply(tx, desk.vault, TENANT, change, Cause("test"))
        return change.id

    id_ = desk.store.transact(add)
    approval = desk.hold(desk.principal(id_=f"key:{id_}"))
    assert f"{ANN} (billing-bot)" in json.dumps(shown(desk, approval, slack()))
