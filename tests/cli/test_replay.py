"""Replays and suggestions on the command line, against a running control plane."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from llmguard.approvals import rules
from llmguard.approvals.history import Reviewing
from llmguard.cli import replay as command
from llmguard.cli.replay_page import page
from llmguard.identity import Cause
from llmguard.policy import Policy
from llmguard.policy.replay import replay
from llmguard.policy.suggest import toml
from tests.desks import BO, TENANT, Desk
from tests.kept import CARD, EMAIL, HOLD_CARDS, OLD, facts, keep, kept

RULES = list(OLD.document["rules"])
HOUR = 3_600_000


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Rules that hold cards."""
    made = tmp_path / "rules.toml"
    made.write_text("\n".join(toml(rule) for rule in (HOLD_CARDS, *RULES)))
    return made


@pytest.fixture
def week(desk: Desk) -> list[str]:
    """A call every twelve hours."""
    desk.store.transact(lambda tx: rules.adopt(tx, desk.vault, TENANT, OLD))
    times = [desk.now - 12 * HOUR * i - HOUR for i in reversed(range(13))]
    return [
        keep(desk, facts(CARD if i % 3 else EMAIL, at=at, principal_name="app\u202e")) for i, at in enumerate(times)
    ]


def test_what_other_rules_would_have_done_is_shown(shell: Any, week: list[str], file: Path) -> None:
    ran = shell(BO)("policy", "replay", str(file))
    assert ran.code == 0, ran
    assert "of 13 calls of the last 6 days: 8 newly held" in ran.out
    for word in (
        "newly held",
        "redact (default)",
        "require_approval (cards)",
        week[1],
        "type CREDIT_CARD: 8 newly held",
    ):
        assert word in ran.out
    assert "caller app\\u{202e} (key:1)" in ran.out
    assert "reviewers: 0 minutes before, 80 now (assumed: 5 min a vote, 0 were timed here)" in ran.out
    assert "\u202e" not in ran.out


def test_it_is_json_and_a_page_too(shell: Any, week: list[str], file: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    ran = shell(BO)("policy", "replay", str(file), "--since", "100h", "--json", "--html", str(page))
    told = json.loads(ran.out)
    assert (told["report"]["calls"], told["report"]["effects"]) == (9, {"newly_held": 6, "same": 3})
    assert told["against"] == OLD.version
    assert "newly held" in page.read_text()


def test_the_rules_in_force_change_nothing(shell: Any, week: list[str]) -> None:
    ran = shell(BO)("policy", "replay")
    assert "nothing would change" in ran.err
    assert "none is decided otherwise" in ran.out


def test_rules_that_change_meanwhile_stop_it(monkeypatch: pytest.MonkeyPatch) -> None:
    part = replay([kept(facts(CARD))], OLD, OLD).as_json()
    told = {"report": part, "reviewing": {"seconds": 1.0, "votes": 0, "assumed": True, "held": 0, "approvals": 0}}
    answers = [{**told, "against": a, "version": "v", "left": 1, "next": "X"} for a in ("one", "two")]
    monkeypatch.setattr(command, "_pages", lambda *_: iter(answers))
    with pytest.raises(command.Conflict, match="start again"):
        command._replayed(None, {}, 0)  # type: ignore[arg-type]


def test_too_little_suggests_nothing(shell: Any, week: list[str]) -> None:
    ran = shell(BO)("policy", "suggest")
    assert (ran.code, ran.out) == (0, "")
    assert "looked at 13 calls, 0 approvals, 0 exceptions" in ran.err
    assert "nothing to suggest" in ran.err


def test_what_is_suggested_is_shown_with_its_toml(desk: Desk, shell: Any, week: list[str]) -> None:
    tries = Policy([{**HOLD_CARDS, "shadow": True}, *RULES])
    desk.store.transact(lambda tx: rules.apply(tx, desk.vault, TENANT, rules.PolicyChange(tries.source), Cause("test")))
    for i in range(250):
        keep(desk, facts(*([CARD] if i < 5 else []), at=desk.now - 250 + i), policy=tries)
    bo = shell(BO)
    ran = bo("policy", "suggest")
    assert ran.code == 0, ran
    for word in (
        "1. 'cards' would have decided 5 of 250 calls",
        "in place of the rule 'cards'",
        "     [[rules]]",
        "risk:",
    ):
        assert word in ran.out
    [one] = json.loads(bo("policy", "suggest", "--json").out)["suggestions"]
    assert one["evidence"] == {"calls": 250, "would": 5, "share": 0.02}


def test_the_page_is_whole_escaped_and_says_every_number_without_colour_and_script() -> None:
    nasty = {**HOLD_CARDS, "name": "<b>&cards\u202e"}
    new = Policy([nasty, *RULES])
    calls = [kept(facts(CARD, at=1_800_000_000_000 + i * 20 * HOUR, principal_name="<script>")) for i in range(9)]
    calls.append(kept(facts(EMAIL, at=1_800_700_000_000, unscanned=("image",))))
    shown = page(replay(calls, OLD, new), Reviewing(90, 12, False, 4, 2), new.version, OLD.version, title="x<y")
    for word in ("<script", "<b>", "\u202e", "http://", "https://", "src=", "@import"):
        assert word not in shown
    assert "&lt;b&gt;&amp;cards" in shown
    assert "median from the hold to a vote: 1 min 30 s, of 12 votes" in shown
    pictures = [ET.fromstring("<svg" + piece.partition("</svg>")[0] + "</svg>") for piece in shown.split("<svg")[2:]]
    assert len(pictures) == 3
    texts = [[t.text for t in picture.iter("text")] for picture in pictures]
    assert texts[0][texts[0].index("held") :][:3] == ["held", "1", "10"]
    assert "prefers-color-scheme:dark" in shown


def test_a_page_of_no_calls_says_so() -> None:
    shown = page(replay([], OLD, OLD), Reviewing(300, 0, True, 0, 0), OLD.version, OLD.version, title="x")
    assert "no call" in shown
    assert "<svg viewBox" not in shown
