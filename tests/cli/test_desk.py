"""The live view without a terminal: keys and news go in, rows and wishes come out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from llmguard.cli.desk import Desk, Fetch, Refused, Ring, Vote, Voted, opened
from llmguard.cli.live import Keys
from llmguard.cli.watch import Down, Listed
from llmguard.errors import InvalidRequest
from tests.cli.samples import AT, answered

LONG = json.dumps({"input": ["line"] * 400 + ["the hidden end"]}).encode()


def sitting(*approvals: dict[str, Any]) -> Desk:
    """Bo, before the first of these."""
    desk = Desk("bo@example.com")
    [wish] = desk.told(Listed(approvals, False))
    assert wish == Fetch(approvals[0]["id"])
    desk.told(opened(approvals[0], AT))
    return desk


def screen(desk: Desk, width: int = 100, height: int = 40, at: int = AT) -> str:
    return "\n".join(row.plain for row in desk.draw(width, height, at))


def press(desk: Desk, *keys: str, at: int = AT) -> list[Any]:
    return [wish for key in keys for wish in desk.key(key, at)]


def test_a_vote_is_for_what_was_on_the_screen() -> None:
    one = answered()
    desk = sitting(one)
    screen(desk, height=60)
    assert press(desk, "a") == []
    assert f"approve {one['digest'][:12]}… as bo@example.com? y/N" in screen(desk)
    assert press(desk, "y") == [Vote(one, "approve", "")]
    assert press(desk, "a", "y") == []  # a second one while the first is on its way
    desk.told(Voted({**one, "state": "APPROVED", "missing": 0}))
    assert f"{one['id']} is APPROVED" in screen(desk)


def test_no_is_the_answer_of_every_other_key() -> None:
    for key in ("n", "enter", "esc", "q", "paste:y", " "):
        desk = sitting(answered())
        screen(desk, height=60)
        assert press(desk, "a", key) == []
        assert "nothing was voted" in screen(desk)


def test_nothing_is_approved_before_all_of_it_was_on_the_screen() -> None:
    desk = sitting(answered(body=LONG))
    screen(desk)
    press(desk, "a")
    assert "were not on the screen yet" in screen(desk)
    assert press(desk, "y") == []
    press(desk, "enter", "G")  # the end alone is not all of it
    assert "the hidden end" in screen(desk)
    assert press(desk, "a", "y") == []
    press(desk, "g")
    for _ in range(20):
        press(desk, " ")
        screen(desk)
    press(desk, "a")
    [vote] = press(desk, "y")
    assert vote.verdict == "approve"


def test_what_was_read_stays_read_when_the_screen_changes_its_size() -> None:
    desk = sitting(answered(body=json.dumps({"input": "word " * 500}).encode()))
    for _ in range(80):
        press(desk, " ")
        screen(desk, 60, 14)
    assert "all read" in screen(desk, 60, 14)
    assert "all read" in screen(desk, 133, 50)


def test_a_denial_needs_no_reading_and_takes_a_reason() -> None:
    one = answered(body=LONG)
    desk = sitting(one)
    assert press(desk, "d", *"no", "backspace", "paste:ot\nnow\x1b", "enter") == [Vote(one, "deny", "not now\x1b")]


def test_changes_are_requested_with_a_reason() -> None:
    one = answered()
    desk = sitting(one)
    assert press(desk, "r", " ", "enter") == []
    assert press(desk, *"less", "enter") == [Vote(one, "request_changes", "less")]


def test_escape_sends_nothing() -> None:
    desk = sitting(answered())
    assert press(desk, "d", *"because", "esc") == []
    assert desk.question is None


def test_a_question_is_dropped_when_somebody_else_decides_meanwhile() -> None:
    one = answered()
    desk = sitting(one)
    screen(desk, height=60)
    press(desk, "a")
    assert desk.told(Listed((), False)) == [Fetch(one["id"])]
    vote = {**one["votes"][0], "human": "cy@example.com", "verdict": "deny"}
    desk.told(opened({**one, "state": "DENIED", "version": 2, "votes": [vote]}, AT))
    assert press(desk, "y") == []
    desk.note = ""
    press(desk, "a")
    assert "nothing is left to vote on: this is DENIED" in screen(desk)


def test_a_vote_of_somebody_else_is_told_and_the_question_stays() -> None:
    one = answered(votes=[])
    desk = sitting(one)
    screen(desk, height=60)
    press(desk, "a")
    assert desk.told(Listed((answered(votes=[], missing=1),), False)) == [Fetch(one["id"])]
    desk.told(opened(answered(missing=1), AT))
    assert "a moment ago: PENDING, cy@example.com: approve" in screen(desk)
    assert len(press(desk, "y")) == 1


def test_a_question_is_dropped_when_it_expires_meanwhile() -> None:
    one = answered()
    desk = sitting(one)
    screen(desk, height=60)
    press(desk, "a")
    late = one["expires"]
    assert "nothing was voted: this expired" in screen(desk, at=late)
    assert press(desk, "y", "a", "y", at=late) == []
    assert "EXPIRED" in screen(desk, at=late)


def test_another_body_under_the_same_id_is_unread() -> None:
    desk = sitting(answered())
    screen(desk, height=60)
    press(desk, "d")
    desk.told(opened(answered(body=LONG, version=2), AT))
    assert press(desk, "enter") == []
    assert press(desk, "a", "y") == []


def test_without_a_control_plane_nothing_is_decided_and_it_says_so() -> None:
    desk = sitting(answered())
    screen(desk, height=60)
    press(desk, "a")
    desk.told(Down("the control plane does not answer", 2))
    assert press(desk, "y", "a", "y") == []
    assert "again in 2 s: the control plane does not answer" in screen(desk)
    desk.told(Down("this session is over", 2, over=True))
    assert "waiting for llmguard login: this session is over" in screen(desk)
    desk.told(Listed((answered(),), False))
    assert press(desk, "a", "y")[-1].verdict == "approve"


def test_a_refusal_says_why_and_looks_again() -> None:
    one = answered()
    desk = sitting(one)
    screen(desk, height=60)
    press(desk, "a", "y")
    assert desk.told(Refused(one["id"], "you are behind this request", True)) == [Fetch(one["id"])]
    assert "nothing was voted: you are behind this request" in screen(desk)


def test_leaving_waits_for_a_vote_that_is_on_its_way() -> None:
    desk = sitting(answered())
    screen(desk, height=60)
    press(desk, "a", "y", "q")
    assert not desk.over
    desk.told(Voted(answered(state="APPROVED")))
    assert desk.over


def test_moving_opens_the_next_and_news_keep_the_place() -> None:
    one, two, three = answered(1), answered(2), answered(3)
    desk = sitting(one, two)
    assert press(desk, "j") == [Fetch(two["id"])]
    assert press(desk, "j") == []
    desk.told(opened(two, AT))
    assert desk.told(Listed((three, one, two), False)) == [Ring()]
    assert desk.selected == two["id"]
    assert press(desk, "k", "k") == [Fetch(one["id"]), Fetch(three["id"])]


def test_what_comes_late_for_another_one_is_not_shown() -> None:
    one, two = answered(1), answered(2)
    desk = sitting(one, two)
    press(desk, "j")
    desk.told(opened(one, AT))
    assert desk.open is None


def test_a_filter_keeps_what_has_its_letters() -> None:
    one, two = answered(1), answered(2, operation="files.create")
    desk = sitting(one, two)
    assert press(desk, "/", *"FILES", "enter") == [Fetch(two["id"])]
    assert "responses.create" not in screen(desk)
    press(desk, "esc")
    assert "responses.create" in screen(desk)


def test_help_names_every_key() -> None:
    desk = sitting(answered())
    press(desk, "?")
    for word in ("approve", "deny", "request changes", "quit"):
        assert word in screen(desk)
    assert press(desk, "a") == []  # any key leaves the help
    assert desk.question is None


def test_what_is_too_long_for_a_screen_names_the_command() -> None:
    one = answered()
    one["egress"]["body"]["total"] += 1
    with pytest.raises(InvalidRequest, match="--full"):
        opened(one, AT)


def test_pasted_text_is_no_command() -> None:
    desk = sitting(answered())
    screen(desk, height=60)
    assert press(desk, "paste:a", "y") == []


HOSTILE = st.text(max_size=30) | st.sampled_from(
    ["\x1b[2J", "\u202egnp.exe", "\u200b", "\x9b31m", "漢字", "\u0301" * 9, "\t"]
)


@given(HOSTILE, st.integers(40, 170), st.integers(12, 60), st.sampled_from(["", "enter", "f", "?", "d", "a", "/", " "]))
def test_every_row_is_visible_and_fits(text: str, width: int, height: int, key: str) -> None:
    text = text.encode(errors="replace").decode()
    one = answered(text=text, body=json.dumps({"input": text * 20}, ensure_ascii=False).encode())
    desk = sitting(one)
    desk.told(Refused(one["id"], "why" + text, False))
    before = desk.draw(width, height, AT)
    press(desk, *filter(None, [key]), f"paste:{text}")
    for rows in (before, desk.draw(width, height, AT)):
        assert len(rows) == height
        for row in rows:
            assert row.plain.isprintable()
            assert cell_len(row.plain) <= width


def test_a_small_terminal_is_told_so_and_decides_nothing() -> None:
    desk = sitting(answered())
    assert "40 columns" in screen(desk, 30, 8) or "needs" in screen(desk, 30, 8)
    assert press(desk, "a", "y") == []


@given(st.lists(st.binary(max_size=12), max_size=8))
def test_keys_come_in_any_pieces(pieces: list[bytes]) -> None:
    keys = Keys(-1)
    for piece in pieces:
        for key in keys.feed(piece):
            assert key.startswith("paste:") or key.isprintable()


def test_keys_have_names_and_a_paste_is_one() -> None:
    keys = Keys(-1)
    assert keys.feed(b"j\x1b[A\x1b") == ["j", "up"]
    assert keys.pending
    assert keys.read(False) == ["esc"]
    assert keys.feed("é\x1b[200~a\ny".encode()) == ["é"]
    assert keys.feed(b"z\x1b[201~\r") == ["paste:a\nyz", "enter"]
    assert keys.feed(b"\x1b[99;3u\x07") == []
