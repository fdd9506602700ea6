"""Spending: exactly the approved bytes, once, under what holds at that moment; and rows that somebody edited."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from llmguard import errors
from llmguard.approvals import record
from llmguard.errors import (
    ApprovalDenied,
    ApprovalExecuting,
    ApprovalExpired,
    ApprovalPending,
    GuardUnavailable,
    NotFound,
)
from tests.desks import ANN, BO, CY, DEE, Desk, decision

REST = "verdict, reason, digest, time, authenticated, attestation"


def approved(desk: Desk, **more: Any) -> Any:
    approval = desk.hold(**more)
    return desk.vote(approval, BO)


def test_what_is_claimed_is_what_was_approved(desk: Desk) -> None:
    approval = approved(desk)
    egress = desk.claim(approval)
    assert egress == desk.request().egress
    assert egress.digest() == approval.egress_digest
    assert desk.get(approval).state == "EXECUTING"


def test_nothing_is_claimed_before_it_is_approved(desk: Desk) -> None:
    with pytest.raises(ApprovalPending):
        desk.claim(desk.hold())


def test_an_approval_sends_once(desk: Desk) -> None:
    approval = approved(desk)
    desk.claim(approval)
    with pytest.raises(ApprovalExecuting):
        desk.claim(approval)
    desk.store.transact(lambda tx: desk.approvals.settle(tx, approval.tenant, approval.id, "EXECUTED"))
    with pytest.raises(errors.AlreadyExecuted):
        desk.claim(approval)


def test_of_many_threads_one_claims(desk: Desk) -> None:
    approval = approved(desk)

    def attempt(_: int) -> bool:
        try:
            return bool(desk.claim(approval))
        except ApprovalExecuting:
            return False

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(8))) == 1


def _claim_elsewhere(folder: Any, now: int, approval: Any, go: Any, told: Any, results: Any) -> None:
    """``told``: both have said how it went; whose process ends before that would be taken for dead."""
    desk = Desk(folder, now)
    go.wait()
    try:
        desk.claim(approval)
        results.put("sent")
    except ApprovalExecuting:
        results.put("refused")
    told.wait(60)


def test_of_two_processes_one_claims(desk: Desk) -> None:
    approval = approved(desk)
    context = multiprocessing.get_context("spawn")  # a fork of threads could wait for ever
    go, told, results = context.Event(), context.Event(), context.Queue()
    processes = [
        context.Process(target=_claim_elsewhere, args=(desk.folder, desk.now, approval, go, told, results))
        for _ in range(2)
    ]
    for process in processes:
        process.start()
    go.set()
    assert sorted(results.get(timeout=60) for _ in processes) == ["refused", "sent"]
    told.set()
    for process in processes:
        process.join()


def test_another_principal_or_tenant_cannot_claim(desk: Desk) -> None:
    approval = approved(desk)
    for principal in (desk.principal(id_="key:2"), desk.principal(tenant="other")):
        with pytest.raises(NotFound):
            desk.claim(approval, principal)
    with pytest.raises(NotFound):
        desk.store.transact(
            lambda tx: desk.approvals.claim(tx, "other", approval.id, desk.principal(tenant="other"), decision(), "1:x")
        )


def test_an_approval_ends_with_its_time(desk: Desk) -> None:
    approval = approved(desk)
    desk.now = approval.expires
    with pytest.raises(ApprovalExpired):
        desk.claim(approval)
    assert desk.get(approval).state == "EXPIRED"
    assert desk.store.transact(desk.approvals.sweep) == 0


def test_a_sweep_ends_what_nobody_asks_for_any_more(desk: Desk) -> None:
    approval = approved(desk)
    desk.now = approval.expires
    assert desk.store.transact(desk.approvals.sweep) == 1
    assert desk.get(approval).state == "EXPIRED"


@pytest.mark.parametrize(("groups", "active"), [(("reviewers",), False), (("security",), True), ((), True)])
def test_a_vote_ends_with_its_voters_right_to_vote(desk: Desk, groups: tuple[str, ...], active: bool) -> None:
    approval = approved(desk)
    desk.put(BO, *groups, active=active)
    with pytest.raises(ApprovalPending):
        desk.claim(approval)
    assert desk.hold().state == "PENDING"
    assert desk.vote(approval, CY).state == "APPROVED"
    assert desk.claim(approval)


def test_a_voter_who_turns_out_to_be_behind_the_key_does_not_count(desk: Desk) -> None:
    approval = approved(desk)
    with pytest.raises(ApprovalPending):
        desk.claim(approval, desk.principal(BO))


def test_a_stricter_decision_needs_more_people(desk: Desk) -> None:
    approval = approved(desk)
    with pytest.raises(ApprovalPending):
        desk.claim(approval, quorum=2)
    reopened = desk.get(approval)
    assert (reopened.state, reopened.requirement.quorum) == ("PENDING", 2)
    assert desk.vote(approval, CY).state == "APPROVED"
    assert desk.claim(approval, quorum=2)


def test_a_decision_for_another_group_asks_that_group(desk: Desk) -> None:
    approval = approved(desk)
    with pytest.raises(ApprovalPending):
        desk.claim(approval, group="security")
    assert desk.hold(group="security").requirement.groups == (("reviewers", 1), ("security", 1))
    assert desk.vote(approval, DEE).state == "APPROVED"
    assert desk.claim(approval, group="security")


def test_a_policy_that_blocks_by_now_denies(desk: Desk) -> None:
    approval = approved(desk)
    with pytest.raises(ApprovalDenied):
        desk.claim(approval, verdict="block")
    assert desk.get(approval).state == "DENIED"


@pytest.mark.parametrize("verdict", ["allow", "redact"])
def test_a_milder_decision_changes_nothing(desk: Desk, verdict: str) -> None:
    assert desk.claim(approved(desk), verdict=verdict)


# --------------------------------------------------------------------------- edited rows


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("state", "APPROVED"),
        ("egress_digest", "00" * 32),
        ("human", "x@example.com"),
        ("expires", 9999999999999),
        ("requirement", '{"expires_in":1,"groups":[["reviewers",0]]}'),
        ("principal", "key:1 "),
        ("version", 9),
    ],
)
def test_an_approval_edited_in_the_database_decides_nothing(desk: Desk, column: str, value: Any) -> None:
    approval = desk.hold()
    desk.edit(f"UPDATE approvals SET {column} = ?", value)
    with pytest.raises(GuardUnavailable, match="altered"):
        desk.claim(approval)
    with pytest.raises(GuardUnavailable, match="altered"):
        desk.vote(approval, BO)
    desk.store.transact(desk.approvals.sweep)
    page, _ = desk.store.read(lambda tx: desk.approvals.list(tx, approval.tenant))
    assert page == ()


def test_a_spent_approval_set_back_in_the_database_does_not_send_again(desk: Desk) -> None:
    approval = approved(desk)
    desk.claim(approval)
    desk.edit("UPDATE approvals SET state = 'APPROVED', owner = NULL")
    with pytest.raises(GuardUnavailable, match="altered"):
        desk.claim(approval)


def test_a_vote_forged_in_the_database_is_no_vote(desk: Desk) -> None:
    approval = desk.hold(quorum=2)
    desk.vote(approval, BO)
    desk.edit(
        f"INSERT INTO votes SELECT tenant, approval, ?, {REST} FROM votes",
        CY,
    )
    assert len(desk.get(approval).votes) == 1
    with pytest.raises(ApprovalPending):
        desk.claim(approval)


@pytest.mark.parametrize(("column", "value"), [("human", CY), ("verdict", "approve"), ("digest", "x"), ("time", 1)])
def test_a_vote_edited_in_the_database_is_no_vote(desk: Desk, column: str, value: Any) -> None:
    approval = approved(desk)
    desk.edit(f"UPDATE votes SET {column} = ?", value if column != "verdict" else "deny")
    with pytest.raises(ApprovalPending):
        desk.claim(approval)


def test_a_vote_copied_from_another_approval_is_no_vote(desk: Desk) -> None:
    approved(desk, key="harmless")
    approval = desk.hold(key="harmful")
    desk.edit(
        f"INSERT INTO votes SELECT tenant, ?, human, {REST} FROM votes",
        approval.id,
    )
    assert desk.get(approval).votes == ()


def test_groups_edited_in_the_database_give_no_vote(desk: Desk) -> None:
    approval = desk.hold()
    desk.edit("UPDATE people SET groups = ? WHERE email = ?", '["reviewers"]', DEE)
    with pytest.raises(errors.NotAllowed):
        desk.vote(approval, DEE)
    desk.vote(approval, BO)
    desk.edit("UPDATE people SET groups = ? WHERE email = ?", '["reviewers","x"]', BO)
    with pytest.raises(ApprovalPending):
        desk.claim(approval)


def test_bytes_swapped_in_the_database_do_not_leave(desk: Desk) -> None:
    approval, other = approved(desk), approved(desk, key="other", body=b'{"input": "all of it"}')
    desk.edit(
        "UPDATE approval_payloads SET egress = (SELECT egress FROM approval_payloads WHERE id = ?) WHERE id = ?",
        *(other.id, approval.id),
    )
    with pytest.raises(GuardUnavailable):
        desk.claim(approval)


def test_bytes_sealed_anew_by_the_guards_own_key_do_not_leave_either(desk: Desk) -> None:
    approval = approved(desk)
    asked = desk.request()
    other = replace(asked, egress=replace(asked.egress, url="https://elsewhere.example"))
    desk.store.transact(lambda tx: tx.run("DELETE FROM approval_payloads"))
    desk.store.transact(lambda tx: record.seal(tx, desk.vault, approval, other, b"salt"))
    with pytest.raises(GuardUnavailable, match="not the approved one"):
        desk.claim(approval)


def test_the_attestation_of_one_installation_is_worth_nothing_in_another(desk: Desk, tmp_path: Any) -> None:
    approval = approved(desk)
    foreign = Desk(tmp_path / "foreign")
    try:
        with pytest.raises(GuardUnavailable, match="altered"):
            desk.store.transact(
                lambda tx: foreign.approvals.claim(
                    tx, approval.tenant, approval.id, desk.principal(ANN), decision(), "1:x"
                )
            )
    finally:
        foreign.store.close()
