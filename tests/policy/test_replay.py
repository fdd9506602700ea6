"""What another policy would have decided: as if each call was decided anew, in any pieces, however it is remembered."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmguard.errors import GuardUnavailable
from llmguard.facts import Found, undated
from llmguard.policy import Policy
from llmguard.policy import replay as room
from llmguard.policy.replay import EFFECTS, NAMES, OTHERS, Report, effect, replay
from tests.desks import START
from tests.kept import CARD, EMAIL, HOLD_CARDS, OLD, facts, kept

RULES = list(OLD.document["rules"])
HOLDS = Policy([HOLD_CARDS, *RULES])
DAY = 86_400_000

EXPECTED = {
    ("redact", "require_approval"): "newly_held",
    ("allow", "require_approval"): "newly_held",
    ("redact", "block"): "newly_blocked",
    ("require_approval", "block"): "newly_blocked",
    ("require_approval", "redact"): "newly_freed",
    ("require_approval", "allow"): "newly_freed",
    ("block", "redact"): "newly_freed",
    ("block", "require_approval"): "unblocked",
    ("redact", "allow"): "unredacted",
    ("allow", "redact"): "newly_redacted",
    ("redact", "error"): "newly_refused",
    ("error", "redact"): "newly_freed",
    ("error", "block"): "unblocked",
}


@pytest.mark.parametrize(("before", "after"), EXPECTED)
def test_every_change_has_its_name(before: str, after: str) -> None:
    assert effect(before, "a", after, "b") == EXPECTED[before, after]


def test_every_pair_of_verdicts_has_a_name_that_is_known() -> None:
    verdicts = ("allow", "redact", "require_approval", "block", "error")
    named = {effect(a, "x", b, rule) for a, b, rule in product(verdicts, verdicts, "xy")}
    assert named == set(EFFECTS)


def test_calls_that_a_new_rule_holds_and_a_missing_one_frees() -> None:
    calls = [kept(facts(CARD, at=START + i)) for i in range(3)]
    calls += [kept(facts(EMAIL, at=START + 10))]
    calls += [kept(facts(at=START + DAY, unscanned=("image",)))]  # held by "unscanned"
    new = Policy([HOLD_CARDS, *(rule for rule in RULES if rule["name"] != "unscanned")])
    report = replay(calls, OLD, new)
    assert report.effects == {"newly_held": 3, "newly_freed": 1, "same": 1}
    held, freed, _ = report.rows
    assert (held.before, held.before_rule, held.after, held.after_rule) == (
        "redact",
        "default",
        "require_approval",
        "cards",
    )
    assert held.examples == tuple(call.id for call in calls[:3])
    assert (freed.before_rule, freed.after_rule) == ("unscanned", "unscanned-at-inference")
    assert report.by["type"] == {"CREDIT_CARD": {"newly_held": 3}}
    assert report.by["principal"] == {"key:1": {"newly_freed": 1, "newly_held": 3}}
    assert report.names == {"key:1": "app"}
    assert report.days == {"2027-01-15": (4, 0, 3), "2027-01-16": (1, 1, 0)}
    assert report.people == (1, 6)
    assert report.verdicts() == {"redact": (4, 2), "require_approval": (1, 3)}
    assert (report.first, report.last) == (START, START + DAY)


def test_what_the_policy_in_force_decided_counts_as_decided_and_what_a_former_one_did_is_decided_anew() -> None:
    recorded = kept(facts(EMAIL), verdict="block", rule="by-hand")  # whatever it was, it was so
    former = kept(facts(EMAIL, at=START + 1), policy=Policy([]), verdict="block", rule="gone")
    report = replay([recorded, former], OLD, HOLDS)
    assert report.anew == 1
    assert report.effects == {"newly_freed": 1, "same": 1}


def test_other_weights_and_styles_are_assessed_anew() -> None:
    calls = [kept(facts(CARD, at=START + i)) for i in range(4)]
    heavier = Policy(RULES, weights={"scale": 20.0})
    report = replay(calls, OLD, heavier)
    assert report.moved[0] == 4
    assert report.moved[1] == 0
    assert report.moved[2] > 5
    masked = replay(calls, OLD, Policy(RULES, styles={"pii": "drop"}))
    assert (masked.moved[0], masked.moved[1]) == (0, 4)
    assert replay(calls, OLD, HOLDS).moved == (0, 0, 0)


def test_what_leaves_as_written_leaves_with_all_of_its_risk() -> None:
    allowed = Policy([{"name": "all", "verdict": "allow"}])
    report = replay([kept(facts(CARD))], OLD, allowed)
    inherent = OLD.risk(facts(CARD)).inherent
    assert report.effects == {"unredacted": 1}
    assert report.risks[inherent // 10][2] == 1
    assert report.risks[0][0] == 1
    back = replay([kept(facts(CARD), policy=allowed)], allowed, OLD)
    assert back.effects == {"newly_redacted": 1}
    assert back.moved == (0, 0, 0)
    assert (back.risks[0][2], back.risks[inherent // 10][0]) == (1, 1)


def test_a_rule_that_errs_refuses_and_is_counted() -> None:
    errs = Policy([{"name": "errs", "when": "1 / call.bytes == 7", "verdict": "block"}])
    report = replay([kept(facts(EMAIL, size=0)), kept(facts(EMAIL, at=START + 1))], OLD, errs)
    assert report.effects == {"newly_refused": 1, "same": 1}


def test_rules_in_shadow_mode_are_counted_and_change_nothing() -> None:
    tried = Policy([{**HOLD_CARDS, "shadow": True}, *RULES])
    report = replay([kept(facts(CARD)), kept(facts(EMAIL, at=START + 1))], OLD, tried)
    assert report.shadow == {"cards": {"require_approval": 1}}
    assert report.effects == {"same": 2}
    everything = replay([kept(facts(CARD))], OLD, Policy(RULES, mode="shadow"))
    assert everything.effects == {"unredacted": 1}


def test_more_principals_than_are_told_apart_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    assert NAMES == 1000
    monkeypatch.setattr(room, "NAMES", 2)
    calls = [kept(facts(CARD, at=START + i, principal=f"key:{i}")) for i in range(5)]
    report = replay(calls, OLD, HOLDS)
    assert {name: counts["newly_held"] for name, counts in report.by["principal"].items()} == {
        "key:0": 1, "key:1": 1, OTHERS: 3
    }  # fmt: skip
    assert replay(calls[:3], OLD, HOLDS) + replay(calls[3:], OLD, HOLDS) == report


def test_a_report_survives_json_and_nothing_else_is_one() -> None:
    report = replay([kept(facts(CARD)), kept(facts(unscanned=("image",)))], OLD, HOLDS)
    assert Report.of_json(json.loads(json.dumps(report.as_json()))) == report
    for wrong in ({}, {**report.as_json(), "rows": [{}]}, {**report.as_json(), "days": []}):
        with pytest.raises(ValueError, match="no report"):
            Report.of_json(wrong)


# --------------------------------------------------------------------------- the same, however it is worked out

_SOURCES = (
    "risk.residual >= 3",
    "time.hour < 6",
    "time.weekday >= 6",
    "call.bytes > 600",
    "call.characters > 450 && risk.inherent > 5",
    'principal.name == "app"',
    "size(findings) > 2",
    "findings.exists_one(f, f.confidence < 0.5)",
    "findings.all(f, f.redactable)",
    "call.people > 1",
    'call.unscanned.exists(u, u == "image")',
    "1 / (call.bytes - 500) == 3",
    'findings[0].type == "EMAIL"',
)
_found = st.builds(
    Found,
    type=st.sampled_from(["EMAIL", "PERSON"]),
    category=st.just("pii"),
    severity=st.sampled_from(["low", "high"]),
    confidence=st.sampled_from([0.4, 0.9]),
    redactable=st.booleans(),
    identity=st.sampled_from(["1", "2", "3"]),
)
_facts = st.builds(
    lambda found, **more: facts(*found, **more),
    st.lists(_found, max_size=4),
    at=st.integers(START, START + 8 * DAY),
    kind=st.sampled_from(["inference", "training", "action"]),
    size=st.sampled_from([0, 500, 700]),
    characters=st.sampled_from([400, 500]),
    principal_name=st.sampled_from(["app", 'x"size":1,"characters":2,"received":3']),
    unscanned=st.sampled_from([(), ("image",), ("names",)]),
)


@cache
def policies() -> tuple[Policy, ...]:
    """One for each condition, and some that try rules, weigh otherwise or enforce nothing; compiled once."""
    verdicts = ("allow", "require_approval", "block")
    each = [Policy([{"when": when, "verdict": verdicts[i % 3]}]) for i, when in enumerate(_SOURCES)]
    first, second = ({"when": _SOURCES[i], "verdict": "block"} for i in (0, 4))
    heavy = {"scale": 20.0}
    more = [
        OLD,
        Policy([{**first, "shadow": True}, second]),
        Policy([first, second], weights=heavy),
        Policy([second], weights=heavy, styles={"EMAIL": "mask"}),
        Policy([first, second], mode="shadow"),
    ]
    return (*each, *more)


_policies = st.integers(0, len(_SOURCES) + 4)


def plainly(calls: list[Any], old: Policy, new: Policy) -> list[tuple[str, str, str, str]]:
    """Each call by itself, with nothing remembered."""

    def said(policy: Policy, known: Any) -> tuple[str, str]:
        try:
            decision = policy.decide(known, policy.risk(known))
        except GuardUnavailable:
            return "error", "policy"
        return decision.verdict, decision.rule

    rows = []
    for call in calls:
        before = (call.verdict, call.rule) if call.policy == old.version else said(old, call.facts)
        rows.append((*before, *said(new, call.facts)))
    return rows


@settings(max_examples=30, deadline=None)
@given(made=st.lists(_facts, max_size=8), a=_policies, b=_policies, cut=st.integers(0, 8), former=st.booleans())
def test_replaying_is_deciding_each_call_anew_in_any_pieces(
    made: list[Any], a: int, b: int, cut: int, former: bool
) -> None:
    old, new = policies()[a], policies()[b]
    calls = []
    for known in made * 2:  # alike ones come again
        try:
            calls.append(kept(known, policy=OLD if former else old))
        except GuardUnavailable:
            continue  # refused, so it was not kept
    report = replay(calls, old, new)
    counted: dict[tuple[str, ...], int] = {}
    for row in plainly(calls, old, new):
        counted[row] = counted.get(row, 0) + 1
    assert {(r.before, r.before_rule, r.after, r.after_rule): r.calls for r in report.rows} == counted
    assert replay(calls[:cut], old, new) + replay(calls[cut:], old, new) == report
    assert sum(row[0] for row in report.risks) == sum(row[2] for row in report.risks) == len(calls)


@given(known=_facts)
def test_only_time_and_size_are_left_out_where_calls_are_compared(known: Any) -> None:
    rest, moment = undated(known.encode(), weighed=False)
    assert moment == known.received
    later = replace(known, received=known.received + 1, size=known.size + 5, characters=7)
    assert undated(later.encode(), weighed=False)[0] == rest
    assert undated(later.encode(), weighed=True)[0] != undated(known.encode(), weighed=True)[0]
    assert undated(replace(known, principal="key:2").encode(), weighed=False)[0] != rest
