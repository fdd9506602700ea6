from __future__ import annotations

import pytest

from benchmarks.crashes import Known, Violated, crash, facts, invariants, table


@pytest.fixture(scope="module")
def known() -> Known:
    return crash(20, seed=7)


def test_nothing_is_sent_twice_or_lost_when_processes_are_killed(known: Known) -> None:
    assert known.violations == []


def test_servers_and_processes_with_a_guard_of_their_own_were_killed(known: Known) -> None:
    victims = {kill.victim for kill in known.kills}
    assert "serve" in victims
    assert victims & {"action", "wrapped call"}
    assert len(known.kills) >= 20


def test_figures_count_every_kill_once(known: Known) -> None:
    rows = table(known)
    assert sum(row["kills"] for row in rows[:-1]) == rows[-1]["kills"] == len(known.kills)
    assert facts(known)["violations"] == 0
    assert "verified" in facts(known)["log"]


def test_a_violation_comes_with_the_figures() -> None:
    failed = Violated([{"kills": 1}], ["mark-call-000001 arrived 2 times"])
    assert failed.rows == [{"kills": 1}]
    assert "arrived 2 times" in str(failed)


def test_what_arrived_and_was_never_spent_is_a_violation() -> None:
    known = Known()
    invariants._once(known, "mark-call-000001", (), 1)
    assert "arrived 1 times" in known.violations[0]
    assert facts(known)["sent twice, or by nobody's leave"] == 1


def test_what_was_acknowledged_and_is_gone_is_a_violation() -> None:
    known = Known(held=["01A"], voted=[("01B", "bob@example.org", "approve")], answered=["mark-call-000001"])
    invariants._nothing_lost(known, {}, {"mark-call-000001": ()})
    assert len(known.violations) == 3
