"""Changes that reviewers ask for: a proposal, a revision in the old one's place, voted on anew."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmguard import identity
from llmguard.approvals import view
from llmguard.config import Settings
from llmguard.errors import Conflict, InvalidRequest, NotAllowed, NotFound
from llmguard.guard import Guard
from llmguard.model import Approval, Principal
from llmguard.request import Request
from llmguard.store import placeholders
from tests.desks import ANN, BO, CY, DEE, TENANT, Desk

CAUSE = identity.Cause("test")
RULES = ({"name": "hold", "verdict": "require_approval", "when": "size(findings) > 1"},)


def changes_requested(desk: Desk, **more: Any) -> Approval:
    return desk.vote(desk.hold(), BO, "request_changes", reason="less of it", **more)


def revised(desk: Desk, old: Approval, key: str = "v2", **more: Any) -> Approval:
    hold = replace(desk.request(key=key, body=b'{"input": "less"}', **more), revises=old.id)
    return desk.store.transact(lambda tx: desk.approvals.hold(tx, hold))


def test_votes_start_again_and_the_former_is_done(desk: Desk) -> None:
    old = changes_requested(desk)
    new = revised(desk, old)
    assert (new.state, new.revision, new.revises, new.votes) == ("PENDING", 2, old.id, ())
    assert desk.get(old).state == "SUPERSEDED"
    assert desk.vote(new, BO).state == "APPROVED"
    assert b"less" in desk.claim(new).body


def test_reviewers_see_what_changed(desk: Desk) -> None:
    new = revised(desk, changes_requested(desk))
    shown = desk.store.read(lambda tx: view.full(tx, desk.approvals, desk.approvals.get(tx, TENANT, new.id), {}))
    assert '-  "input": "[PERSON_abcdefghij]"' in shown["changes"]
    assert '+  "input": "less"' in shown["changes"]


def test_what_nobody_wants_changed_is_not_revised(desk: Desk) -> None:
    with pytest.raises(Conflict, match="no changes were asked for"):
        revised(desk, desk.hold())


def test_nobody_elses_request_is_revised(desk: Desk) -> None:
    old = changes_requested(desk)
    with pytest.raises(NotFound):
        revised(desk, old, principal=desk.principal(id_="key:2"))
    assert desk.get(old).state == "CHANGES_REQUESTED"


def test_a_proposal_is_sealed_and_for_the_caller_alone(desk: Desk) -> None:
    old = changes_requested(desk, proposal=b'{"table": "orders"}')
    assert desk.store.read(lambda tx: desk.approvals.proposal(tx, TENANT, old.id, desk.principal())) == (
        b'{"table": "orders"}'
    )
    with pytest.raises(NotFound):
        desk.store.read(lambda tx: desk.approvals.proposal(tx, TENANT, old.id, desk.principal(id_="key:2")))
    assert b"orders" not in desk.path.read_bytes()


def test_only_who_asks_for_changes_proposes_some(desk: Desk) -> None:
    with pytest.raises(InvalidRequest, match="request_changes"):
        desk.vote(desk.hold(), BO, "approve", proposal=b"{}")


# --------------------------------------------------------------------------- by the human behind a call


@pytest.fixture
def guard(tmp_path: Path) -> Iterator[Guard]:
    with Guard(Settings(data=tmp_path / "data", names=False, rules=RULES)) as made:
        for email in (ANN, BO, CY, DEE):
            change = identity.PersonChange(email, ("reviewers",))
            made.store.transact(lambda tx, c=change: identity.apply(tx, made.vault, TENANT, c, CAUSE))  # type: ignore[misc]
        yield made


def body(*values: str) -> bytes:
    content = " and ".join(values)
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": content}]}).encode()


TWO = ("jo.doe@mail.example", "al.roe@mail.example")


def ask(guard: Guard, content: bytes) -> Approval:
    """Ann's key sends it, in ticket mode; the approval that it joins or makes."""
    request = Request("POST", "/chat/completions", "", (("content-type", "application/json"),), content)
    principal = Principal("key:1", TENANT, "human", "app", ANN)
    call = replace(guard.call(request, principal, guard.settings.destination, "acct"), ticket=True)
    with pytest.raises(Exception, match=r".") as refused:
        list(guard.run(call, None))  # type: ignore[arg-type]
    id_ = refused.value.approval_id  # type: ignore[attr-defined]
    assert id_, refused.value
    return guard.store.read(lambda tx: guard.approvals.get(tx, TENANT, id_))


def person(guard: Guard, email: str) -> identity.Person:
    found = guard.store.read(lambda tx: identity.person(tx, guard.vault, TENANT, email))
    assert found
    return found


def vote(guard: Guard, approval: Approval, email: str, verdict: Any) -> Approval:
    who, digest = person(guard, email), approval.egress_digest
    return guard.store.transact(lambda tx: guard.approvals.vote(tx, TENANT, approval.id, who, verdict, digest))


def test_the_human_puts_another_body_in_its_place_and_the_same_request_joins_it(guard: Guard) -> None:
    old = ask(guard, body(*TWO))
    vote(guard, old, BO, "request_changes")
    new = guard.revise(person(guard, ANN), old.id, old.egress_digest, body(TWO[0]))
    assert (new.state, new.revises, new.operation) == ("PENDING", old.id, old.operation)
    shown = guard.store.read(lambda tx: guard.approvals.egress(tx, new)).body
    assert b"jo.doe" not in shown  # it went through the pipeline as any request
    assert ask(guard, body(*TWO)).id == new.id
    assert vote(guard, new, BO, "approve").state == "APPROVED"


def test_placeholders_that_stay_in_a_revision_come_back_and_no_others(guard: Guard) -> None:
    old = ask(guard, body(*TWO))
    vote(guard, old, BO, "request_changes")
    before = json.loads(guard.store.read(lambda tx: guard.approvals.egress(tx, old)).body)
    first, second = re.findall(r"\[EMAIL_\w+\]", before["messages"][0]["content"])
    stranger = guard.redact("cy.moe@mail.example").text
    new = guard.revise(person(guard, ANN), old.id, old.egress_digest, body(f"only {first}, or {stranger}"))
    scope = f"approval:{new.id}"
    owner = Principal("key:1", TENANT, "human", "app", ANN)
    back = guard.store.read(lambda tx: placeholders.granted(tx, guard.vault, owner, [scope]))
    assert {e.placeholder: e.value for e in back} == {first: TWO[0]}
    assert second != first


def test_only_the_human_behind_it_revises(guard: Guard) -> None:
    old = ask(guard, body(*TWO))
    vote(guard, old, BO, "request_changes")
    with pytest.raises(NotAllowed):
        guard.revise(person(guard, CY), old.id, old.egress_digest, body(TWO[0]))


def test_a_revision_of_something_else_than_was_shown_is_refused(guard: Guard) -> None:
    old = ask(guard, body(*TWO))
    with pytest.raises(Conflict):
        guard.revise(person(guard, ANN), old.id, old.egress_digest, body(TWO[0]))
    vote(guard, old, BO, "request_changes")
    with pytest.raises(Conflict, match="other bytes"):
        guard.revise(person(guard, ANN), old.id, "0" * 64, body(TWO[0]))
