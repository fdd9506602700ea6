"""Suggestions: only from enough cases, with rules that compile, and never more than words."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard.policy import Policy
from llmguard.policy.suggest import (
    APPROVED,
    DECIDED,
    SLOW,
    TRIED,
    WRONG,
    Evidence,
    Outcome,
    Suggestion,
    Use,
    Wrong,
    suggest,
    toml,
    uses,
    wilson,
)
from tests.desks import BO, CY
from tests.kept import CARD, EMAIL, HOLD_CARDS, OLD, facts, kept

RULES = list(OLD.document["rules"])
TRIES = Policy([{**HOLD_CARDS, "shadow": True}, *RULES])


def ended(verdict: str, n: int, **more: Any) -> list[Outcome]:
    told = {"residual": 12, "types": frozenset({"CREDIT_CARD"}), "by": frozenset({BO, CY}), "seconds": 60.0}
    return [Outcome(**{"rule": "training", "operation": "files.create", "verdict": verdict, **told, **more})] * n


def only(found: tuple[Suggestion, ...]) -> Suggestion:
    [one] = found
    return one


def usable(one: Suggestion) -> dict[str, Any]:
    """Its one rule, which compiles."""
    [rule] = tomllib.loads(one.toml)["rules"]
    Policy([rule])
    return dict(rule)


def test_a_rule_whose_calls_were_all_approved_suggests_a_narrower_one_before_it() -> None:
    one = only(suggest(OLD, Evidence(500, ended("approved", APPROVED))))
    assert (one.kind, one.place) == ("always_approved", "before the rule 'training'")
    assert one.evidence == {"approved": 20, "denied": 0, "at_least": 0.839, "people": 2}
    rule = usable(one)
    assert rule["verdict"] == "redact"
    freed = Policy([rule, *RULES])
    like = facts(CARD, kind="training", operation="files.create")
    held = OLD.decide(like, OLD.risk(like))
    assert (held.verdict, freed.decide(like, freed.risk(like)).rule) == ("require_approval", rule["name"])
    for other in (facts(CARD, EMAIL, kind="training", operation="files.create"), facts(CARD, kind="training")):
        assert freed.decide(other, freed.risk(other)).rule == "training"


def test_one_person_who_approves_everything_is_named_as_the_risk() -> None:
    one = only(suggest(OLD, Evidence(500, ended("approved", APPROVED, by=frozenset({BO})))))
    assert "One person alone" in one.risk


@pytest.mark.parametrize(
    "outcomes",
    [
        ended("approved", APPROVED - 1),
        ended("approved", 200) + ended("denied", 1),
        ended("denied", DECIDED - 1),
        ended("expired", DECIDED - 1),
        ended("approved", DECIDED - 1, seconds=SLOW * 9.0),
        ended("approved", 200, rule="gone"),
        ended("approved", 200, rule="credential"),  # holds nothing
        ended("", 200, seconds=None),
    ],
)
def test_a_few_cases_and_mixed_ones_suggest_nothing(outcomes: list[Outcome]) -> None:
    assert suggest(OLD, Evidence(500, outcomes)) == ()


def test_a_rule_whose_calls_are_mostly_denied_suggests_to_block_them() -> None:
    one = only(suggest(OLD, Evidence(500, ended("denied", 18) + ended("approved", 2))))
    rule = usable(one)
    assert (one.kind, rule["verdict"], rule["name"]) == ("mostly_denied", "block", "training")
    assert "the 2 that were approved" in one.risk


def test_calls_that_nobody_answers_suggest_reminders_and_more_time() -> None:
    one = only(suggest(OLD, Evidence(500, ended("expired", 8, by=frozenset(), seconds=None) + ended("denied", 2))))
    rule = usable(one)
    assert (one.kind, rule["expires_in"], rule["remind_after"]) == ("unanswered", 7200, 900)


def test_slow_decisions_suggest_tickets() -> None:
    one = only(suggest(OLD, Evidence(500, ended("approved", DECIDED, seconds=SLOW + 1.0))))
    assert (one.kind, usable(one)["hold"]) == ("slow", "ticket")


def test_a_shadow_rule_that_would_have_held_few_calls_suggests_to_enforce_it() -> None:
    seen = Evidence(1000, tried=1000, shadow={"cards": {"require_approval": 12}})
    one = only(suggest(TRIES, seen))
    assert (one.kind, one.evidence["share"]) == ("shadow", 0.012)
    assert "shadow" not in usable(one)
    for tried, would in ((TRIED - 1, {"require_approval": 1}), (1000, {"require_approval": 51}), (1000, {"error": 1})):
        assert suggest(TRIES, Evidence(1000, tried=tried, shadow={"cards": would})) == ()


def test_a_type_that_was_marked_wrong_or_is_mostly_guessed_suggests_a_rule_to_try() -> None:
    wrong = only(suggest(OLD, Evidence(50, wrong=[Wrong("PHONE", WRONG)])))
    rule = usable(wrong)
    assert (wrong.kind, rule["shadow"], rule["verdict"]) == ("uncertain", True, "redact")
    guessed = only(suggest(OLD, Evidence(TRIED, uses=[Use("PERSON", 40, 60, 31)])))
    assert guessed.evidence == {"marked_wrong": 0, "calls": 40, "findings": 60, "guesses": 31}
    for quiet in (
        Evidence(50, wrong=[Wrong("PHONE", WRONG - 1)]),
        Evidence(50, wrong=[Wrong("API_KEY", 9, secret=1)]),
        Evidence(TRIED - 1, uses=[Use("PERSON", 40, 60, 60)]),
        Evidence(TRIED, uses=[Use("PERSON", 19, 60, 60), Use("EMAIL", 200, 200, 99)]),
    ):
        assert suggest(OLD, quiet) == ()
    again = Policy([rule, *RULES])
    assert suggest(again, Evidence(50, wrong=[Wrong("PHONE", WRONG)])) == ()


def test_types_are_counted_by_calls_findings_and_guesses() -> None:
    calls = [kept(facts(EMAIL, EMAIL, CARD)), kept(facts(EMAIL))]
    assert uses(calls) == (Use("EMAIL", 2, 3, 0), Use("CREDIT_CARD", 1, 1, 0))


def test_the_lower_end_of_a_share_is_wilsons() -> None:
    assert wilson(0, 0) == 0.0
    assert round(wilson(81, 263), 4) == 0.2553  # Newcombe 1998, table I
    assert wilson(20, 20) < 1


@given(st.text(max_size=20), st.integers(), st.booleans())
def test_a_rule_survives_its_toml(text: str, number: int, flag: bool) -> None:
    text = text.encode(errors="replace").decode()
    rule = {"name": text, "quorum": number % 2**60, "shadow": flag, "groups": {text: 1}}
    assert tomllib.loads(toml(rule)) == {"rules": [rule]}
