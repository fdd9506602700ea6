"""Figures: every kept call counts once, however late it is stored and however often somebody looks, in its tenant."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmguard.facts import Found
from llmguard.policy import Policy
from llmguard.proxy.control.figures import HOUR_MS, LATE_MS, NAMES, OTHERS, WINDOW_MS, Figures, Tally
from llmguard.store import calls
from tests.desks import ANN, BO, START, TENANT, Desk, Plane
from tests.kept import CARD, EMAIL, HOLD_CARDS, facts, keep

NOW = START // HOUR_MS * HOUR_MS + 10 * HOUR_MS + 1_800_000
DAY = 24 * HOUR_MS


def counted(figures: Figures, now: int = NOW, begin: int = NOW - 7 * DAY, **more: Any) -> int:
    """How many calls a look counts, and that it is over."""
    hours, whole = figures.look(more.pop("tenant", TENANT), more.pop("human", None), now, begin, 60.0)
    assert whole
    return sum(tally.calls for _, tally in hours)


@pytest.fixture
def figures(desk: Desk) -> Figures:
    return Figures(desk.store, 30 * DAY)


def test_a_second_look_reads_only_what_came_since(
    desk: Desk, figures: Figures, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(30):
        keep(desk, facts(EMAIL, at=NOW - i * HOUR_MS))
    assert counted(figures) == 30
    read: list[int] = []
    former = calls.several
    monkeypatch.setattr(calls, "several", lambda tx, t, wanted: read.append(len(wanted)) or former(tx, t, wanted))
    assert counted(figures, NOW + 1000) == 30
    keep(desk, facts(EMAIL, at=NOW + 500))
    assert counted(figures, NOW + 1000) == 31
    assert read == [1]


def test_a_call_that_is_stored_late_still_counts_once(desk: Desk, figures: Figures) -> None:
    keep(desk, facts(EMAIL, at=NOW))
    assert counted(figures) == 1
    keep(desk, facts(EMAIL, at=NOW - LATE_MS + 5000))
    assert counted(figures, NOW + 1000) == 2
    assert counted(figures, NOW + 2 * LATE_MS) == 2


def test_what_was_forgotten_leaves_the_counts(desk: Desk, figures: Figures) -> None:
    for i in range(4):
        keep(desk, facts(EMAIL, at=NOW - 2 * DAY + i))
    assert counted(figures) == 4
    desk.store.transact(lambda tx: tx.run("DELETE FROM calls WHERE id = (SELECT min(id) FROM calls)"))
    assert counted(figures, NOW + 2 * LATE_MS) == 3


def test_a_restart_counts_the_same(desk: Desk, figures: Figures) -> None:
    for i in range(5):
        keep(desk, facts(EMAIL, at=NOW - i * DAY))
    assert counted(figures) == counted(Figures(desk.store, 30 * DAY)) == 5


def test_tenants_and_people_have_figures_of_their_own(desk: Desk, figures: Figures) -> None:
    keep(desk, facts(EMAIL, at=NOW))
    keep(desk, facts(EMAIL, at=NOW, human=BO))
    keep(desk, facts(EMAIL, at=NOW, human="", principal_name=f'says "{BO}"'))
    keep(desk, facts(EMAIL, at=NOW), tenant="other")
    assert [counted(figures), counted(figures, tenant="other"), counted(figures, tenant="none")] == [3, 1, 0]
    assert [counted(figures, human=who) for who in (ANN, BO, "eve@example.com")] == [1, 1, 0]


def test_one_look_works_for_so_long_and_the_next_goes_on(desk: Desk, figures: Figures) -> None:
    for i in range(40):
        keep(desk, facts(EMAIL, at=NOW - i * HOUR_MS * 3))
    looks = [figures.look(TENANT, None, NOW, NOW - 7 * DAY, 0.0) for _ in range(400)]
    sums = [sum(t.calls for _, t in hours) for hours, _ in looks]
    assert not looks[0][1]
    assert looks[-1][1]
    assert sums == sorted(sums)
    assert sums[-1] == 40


def test_hours_are_dropped_when_they_are_too_old(desk: Desk, figures: Figures) -> None:
    keep(desk, facts(EMAIL, at=NOW))
    assert counted(figures) == 1
    later = NOW + WINDOW_MS + HOUR_MS
    assert counted(figures, later, later - 30 * DAY) == 0
    assert not figures._counted[TENANT, None]._hours


def test_names_beyond_the_most_are_counted_together() -> None:
    tally, known = Tally(), facts(*(Found(f"T{i}", "pii", "low", 0.9) for i in range(NAMES + 50)))
    from tests.kept import kept

    tally.add(kept(known), known)
    assert len(tally.types) == NAMES + 1
    assert tally.types[OTHERS] == [50, 50]
    both = Tally()
    both.merge(tally)
    both.merge(tally)
    assert sum(found for found, _ in both.types.values()) == 2 * (NAMES + 50)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ages=st.lists(st.integers(0, 6 * DAY), max_size=25), steps=st.lists(st.integers(0, 2 * DAY), max_size=4))
def test_every_call_counts_once_whatever_the_looks(desk: Desk, ages: list[int], steps: list[int]) -> None:
    desk.store.transact(lambda tx: tx.run("DELETE FROM calls"))
    figures, now, kept = Figures(desk.store, 30 * DAY), NOW, 0
    for i, step in enumerate([0, *steps]):
        now += step
        for age in ages[i::5]:
            keep(desk, facts(EMAIL, at=now - min(age, LATE_MS - 1) if i else now - age))
            kept += 1
        assert counted(figures, now, now - 30 * DAY) == kept


# --------------------------------------------------------------------------- over HTTP


def test_statistics_say_what_was_decided_and_how_people_ended_it(plane: Plane) -> None:
    desk = plane.desk
    policy = Policy([HOLD_CARDS, {"name": "all", "verdict": "block", "shadow": True}])
    for i, found in enumerate((CARD, EMAIL, EMAIL)):
        keep(desk, facts(found, at=desk.now - i), policy)
    held = desk.hold()
    desk.hold(key="other")
    desk.now += 600_000
    desk.vote(held, BO)
    told = plane.call("GET", "/guard/v1/statistics?days=1", BO).json()
    assert (told["calls"], told["whose"], told["complete"]) == (3, "everybody", True)
    assert told["verdicts"] == {"allow": 0, "redact": 2, "require_approval": 1, "block": 0}
    assert sum(slot["calls"] for slot in told["times"]) == 3
    assert len(told["times"]) == 24
    assert {"rule": "cards", "verdict": "require_approval", "calls": 1} in told["rules"]
    assert told["shadow"] == [{"rule": "all", "verdict": "block", "calls": 2}]
    assert told["types"][0] == {"type": "EMAIL", "found": 2, "replaced": 2}
    assert told["principals"][0]["calls"] == 3
    assert {g["group"] for g in told["groups"]} == {"reviewers", "admins"}
    assert told["approvals"]["states"] == {"PENDING": 1, "APPROVED": 1}
    assert (told["approvals"]["median"], told["approvals"]["p90"]) == (600_000, 600_000)
    assert [b["decided"] for b in told["approvals"]["times"]] == [0, 0, 1, 0, 0, 0, 0]


def test_statistics_of_somebody_without_a_group_are_his_own(plane: Plane) -> None:
    plane.desk.put("eve@example.com")
    keep(plane.desk, facts(EMAIL, at=plane.desk.now))
    keep(plane.desk, facts(EMAIL, at=plane.desk.now, human="eve@example.com"))
    plane.desk.hold()
    told = plane.call("GET", "/guard/v1/statistics?days=7", "eve@example.com").json()
    assert (told["whose"], told["calls"]) == ("own", 1)
    assert [row["human"] for row in told["principals"]] == ["eve@example.com"]
    assert told["approvals"]["states"] == {}
    for query in ("", "?days=0", "?days=31", "?days=x", "?days=1&human=ann"):
        assert plane.call("GET", f"/guard/v1/statistics{query}", BO).status_code == 400
