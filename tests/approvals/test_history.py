"""What experience says: figures for replays and suggestions, read from what is kept. Nothing is written by reading."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmguard.approvals import exceptions, history, rules
from llmguard.approvals.exceptions import Scope
from llmguard.approvals.history import ASSUMED, ENOUGH
from llmguard.identity import Cause
from llmguard.policy import Policy
from tests.desks import BO, CY, START, TENANT, Desk
from tests.kept import CARD, EMAIL, HOLD_CARDS, OLD, facts, keep

RULES = list(OLD.document["rules"])


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path / "guard").staff()
    made.store.transact(lambda tx: rules.adopt(tx, made.vault, TENANT, OLD))
    yield made
    made.store.close()


def everything(desk: Desk) -> dict[str, list[Any]]:
    """Every row of every table."""

    def work(tx: Any) -> dict[str, list[Any]]:
        names = [r["name"] for r in tx.all("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: [tuple(row) for row in tx.all(f"SELECT * FROM {name}")] for name in names}

    return desk.store.read(work)


def decided(desk: Desk, n: int, verdict: str = "approve", after: int = 90_000) -> None:
    """Held calls that were voted on ``after`` milliseconds."""
    for i in range(n):
        approval = desk.hold(key=f"{verdict}{i}{desk.now}")
        keep(desk, facts(CARD, at=desk.now, unscanned=("image",)))
        desk.now += after
        desk.vote(approval, BO, verdict)


def test_what_a_decision_takes_is_the_median_once_there_are_enough(desk: Desk) -> None:
    decided(desk, ENOUGH - 1)
    few = desk.store.read(lambda tx: history.reviewing(tx, TENANT, START))
    assert (few.seconds, few.assumed, few.votes) == (ASSUMED, True, ENOUGH - 1)
    decided(desk, 2, "deny")
    enough = desk.store.read(lambda tx: history.reviewing(tx, TENANT, START))
    assert (enough.seconds, enough.assumed, enough.votes) == (90.0, False, ENOUGH + 1)
    assert (enough.held, enough.approvals) == (11, 11)
    assert enough.minutes(20) == 30.0
    later = desk.store.read(lambda tx: history.reviewing(tx, TENANT, desk.now + 1))
    assert (later.votes, later.held, later.minutes(2)) == (0, 0, 10.0)


def test_calls_that_were_sent_again_cost_reviewers_once(desk: Desk) -> None:
    decided(desk, ENOUGH)
    for i in range(30):
        keep(desk, facts(CARD, at=desk.now + i, unscanned=("image",)))
    figures = desk.store.read(lambda tx: history.reviewing(tx, TENANT, START))
    assert (figures.held, figures.approvals) == (40, 10)
    assert figures.minutes(40) == 15.0


def test_a_proposal_is_told_in_one_sentence(desk: Desk) -> None:
    new = Policy([HOLD_CARDS, *(rule for rule in RULES if rule["name"] != "unscanned")])

    def told() -> str:
        return desk.store.read(lambda tx: history.at_a_glance(tx, desk.vault, TENANT, new))

    assert "no call of the last 7 days is kept" in told()
    for i in range(3):
        keep(desk, facts(CARD, at=START + i))
    keep(desk, facts(at=START + 9, unscanned=("image",)))
    assert told() == "of 4 calls of a day: 3 newly held, 1 newly freed"
    keep(desk, facts(EMAIL, at=START + 3 * 86_400_000))
    desk.now = START + 4 * 86_400_000
    assert told() == "of 5 calls of the last 3 days: 3 newly held, 1 newly freed"
    desk.now = START + 30 * 86_400_000
    assert "no call" in told()


def test_suggestions_come_from_what_people_did_and_write_nothing(desk: Desk) -> None:
    for i in range(20):
        desk.now += 1000
        approval = desk.hold(key=str(i), body=b"{}")
        desk.vote(approval, BO if i % 2 else CY)
    ordered = [{"name": "risky", "verdict": "require_approval", "when": 'call.kind == "training"'}]
    policy = Policy(ordered)
    for value in ("one@example.com", "two@example.com", "three@example.com"):

        def work(tx: Any, value: str = value) -> None:
            change = exceptions.asked(tx, desk.vault, TENANT, "EMAIL", value, Scope(), "wrong", 86_400, False)
            exceptions.apply(tx, desk.vault, TENANT, change, Cause("set-up", bootstrap=True))

        desk.store.transact(work)
    before = everything(desk)
    advice = desk.store.read(lambda tx: history.advice(tx, desk.vault, TENANT, policy, START))
    assert [s.kind for s in advice.suggestions] == ["always_approved", "uncertain"]
    assert (advice.approvals, advice.exceptions, advice.calls) == (20, 3, 0)
    assert everything(desk) == before


def test_an_altered_approval_suggests_nothing(desk: Desk) -> None:
    for i in range(20):
        desk.now += 1000
        desk.vote(desk.hold(key=str(i)), BO)
    desk.edit("UPDATE approvals SET rule = 'another'")
    policy = Policy([{"name": "another", "verdict": "require_approval", "when": 'call.kind == "training"'}])
    advice = desk.store.read(lambda tx: history.advice(tx, desk.vault, TENANT, policy, START))
    assert (advice.approvals, advice.suggestions) == (0, ())


def test_shadow_rules_are_counted_under_the_policy_in_force_alone(desk: Desk) -> None:
    tries = Policy([{**HOLD_CARDS, "shadow": True}, *RULES])
    for i in range(250):
        keep(desk, facts(*([CARD] if i < 5 else []), at=START + i), policy=tries)
    keep(desk, facts(CARD, at=START + 300))
    advice = desk.store.read(lambda tx: history.advice(tx, desk.vault, TENANT, tries, START))
    [one] = advice.suggestions
    assert (one.kind, one.evidence["calls"], one.evidence["would"]) == ("shadow", 250, 5)
    assert (advice.calls, advice.first, advice.last) == (251, START, START + 300)
