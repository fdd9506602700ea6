"""Exceptions: findings that were marked wrong, narrow, for a time, approved by somebody else and taken back at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from llmguard import identity
from llmguard.approvals import Approvals, exceptions
from llmguard.approvals.exceptions import ExceptionChange, Scope
from llmguard.errors import ApprovalExpired, ApprovalImpossible, GuardUnavailable, InvalidRequest, NotAllowed, NotFound
from llmguard.excepted import Exceptions
from llmguard.identity import Cause
from llmguard.model import Approval, Body, Call, Category, Destination, Finding, Operation, TextPart
from tests.desks import ANN, BO, CY, TENANT, Desk

HOUR = 3600 * 1000
VALUE = "hotline@example.com"


def change(desk: Desk, value: str = VALUE, type_: str = "EMAIL", **more: Any) -> ExceptionChange:
    seconds, secret = more.pop("seconds", 3600), more.pop("secret", False)
    scope = Scope(**more)
    return desk.store.read(
        lambda tx: exceptions.asked(tx, desk.vault, TENANT, type_, value, scope, "our hotline", seconds, secret)
    )


def proposed(desk: Desk, asked: ExceptionChange, by: str = BO) -> Approval:
    def work(tx: Any) -> Approval:
        who = identity.person(tx, desk.vault, TENANT, by)
        assert who
        made = desk.approvals.propose(tx, who, asked, written=b'{"value": "..."}')
        assert made
        return made

    return desk.store.transact(work)


def added(desk: Desk, *args: Any, **more: Any) -> ExceptionChange:
    asked = change(desk, *args, **more)
    assert desk.vote(proposed(desk, asked), CY).state == "EXECUTED"
    return asked


def in_force(desk: Desk, **more: bool) -> Exceptions:
    return desk.store.read(lambda tx: exceptions.in_force(tx, desk.vault, TENANT, **more))


def call(desk: Desk, **more: Any) -> Call:
    return Call(
        **{
            "id": "1",
            "principal": desk.principal(),
            "operation": Operation("chat.completions.create", "POST", "/chat/completions", "inference"),
            "destination": Destination("openai", "https://api.example/v1"),
            "method": "POST",
            "path": "/chat/completions",
            "query": "",
            "headers": (),
            "body": Body("empty"),
            "account": "",
            "received": desk.now,
            **more,
        }
    )


def left(desk: Desk, text: str, *, category: Category = "pii", type_: str = "EMAIL", **more: Any) -> int:
    """How many of the findings of ``VALUE`` are left in a text of it."""
    at = text.find(VALUE)
    found = ((Finding(at, at + len(VALUE), type_, category, 0.9, "pii.contact.email"),),)
    kept, used = in_force(desk).applied(
        lambda t, v: desk.vault.exception(TENANT, t, v), call(desk, **more), (TextPart(text, "/x"),), found
    )
    assert sum(used.values()) == 1 - len(kept[0])
    return len(kept[0])


# ------------------------------------------------------------------ asking


def test_somebody_else_approves_and_then_it_counts(desk: Desk) -> None:
    waiting = proposed(desk, change(desk))
    assert left(desk, f"to {VALUE}") == 1
    with pytest.raises(NotAllowed):
        desk.vote(waiting, BO)
    desk.vote(waiting, CY)
    assert left(desk, f"to {VALUE}") == 0


def test_a_secret_needs_two_others(desk: Desk) -> None:
    waiting = proposed(desk, change(desk, secret=True))
    assert desk.vote(waiting, CY).state == "PENDING"
    assert desk.vote(waiting, ANN).state == "EXECUTED"
    assert left(desk, f"to {VALUE}", category="secret") == 0
    desk.put(ANN, "admins")
    with pytest.raises(ApprovalImpossible):
        proposed(desk, change(desk, secret=True, type_="API_KEY"))


def test_one_for_personal_data_is_none_for_secrets(desk: Desk) -> None:
    added(desk)
    assert left(desk, f"to {VALUE}", category="secret") == 1


def test_those_for_secrets_stop_to_count_by_setting(desk: Desk) -> None:
    waiting = proposed(desk, change(desk, secret=True))
    desk.vote(waiting, CY)
    desk.vote(waiting, ANN)
    assert in_force(desk).types == {"EMAIL"}
    assert in_force(desk, secrets=False).types == frozenset()
    [one] = desk.store.read(lambda tx: exceptions.of(tx, desk.vault, TENANT))[0]
    held = desk.store.transact(lambda tx: desk.approvals.hold(tx, replace(desk.request(), exceptions=(one.id,))))
    desk.vote(held, CY)
    desk.approvals = Approvals(desk.vault, secret_exceptions=False)
    with pytest.raises(ApprovalExpired):
        desk.claim(desk.get(held))


@pytest.mark.parametrize("more", [{"seconds": 59}, {"seconds": 367 * 86400}, {"value": ""}, {"value": "x" * 4097}])
def test_what_lasts_too_long_or_says_nothing_is_refused(desk: Desk, more: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        change(desk, **more)


def test_none_takes_effect_without_an_approval_but_while_one_sets_up_alone(desk: Desk) -> None:
    for cause, asked in (
        (Cause(BO), change(desk)),
        (Cause("operator:0", bootstrap=True), change(desk, secret=True)),
    ):
        with pytest.raises(InvalidRequest, match="made by an approval"):
            desk.store.transact(lambda tx, a=asked, c=cause: exceptions.apply(tx, desk.vault, TENANT, a, c))
    alone = change(desk)
    desk.store.transact(lambda tx: exceptions.apply(tx, desk.vault, TENANT, alone, Cause("operator:0", bootstrap=True)))
    assert left(desk, VALUE) == 0


# ------------------------------------------------------------------ scope


@pytest.mark.parametrize(
    ("scope", "counts"),
    [
        ({}, True),
        ({"principal": "key:1"}, True),
        ({"principal": "key:2"}, False),
        ({"operation": "chat.*"}, True),
        ({"operation": "inference"}, True),
        ({"operation": "files.*"}, False),
        ({"destination": "openai"}, True),
        ({"destination": "other"}, False),
        ({"detector": "pii.contact.email"}, True),
        ({"detector": "pii.contact.phone"}, False),
    ],
)
def test_it_counts_in_its_scope_alone(desk: Desk, scope: dict[str, str], counts: bool) -> None:
    added(desk, **scope)
    assert left(desk, f"to {VALUE}") == (not counts)


def test_another_value_type_or_tenant_is_found_as_ever(desk: Desk) -> None:
    added(desk, VALUE.upper())
    added(desk, type_="PHONE")
    assert left(desk, f"to {VALUE}") == 1
    added(desk)
    assert left(desk, f"to {VALUE}", type_="PERSON") == 1
    assert desk.store.read(lambda tx: exceptions.in_force(tx, desk.vault, "other")).types == frozenset()


# ------------------------------------------------------------------ its end


def test_it_ends_by_itself(desk: Desk) -> None:
    added(desk)
    kept = in_force(desk)
    desk.now += HOUR
    assert left(desk, VALUE) == 1
    assert not in_force(desk).types
    finding = Finding(0, len(VALUE), "EMAIL", "pii", 0.9, "d")
    later = call(desk)  # what was read before it ended counts no longer than it does
    assert kept.applied(lambda t, v: desk.vault.exception(TENANT, t, v), later, (TextPart(VALUE, ""),), ((finding,),))[
        0
    ] == ((finding,),)


def test_it_is_removed_at_once_and_the_log_says_by_whom(desk: Desk) -> None:
    made = added(desk)
    before = desk.store.read(lambda tx: exceptions.current(tx, TENANT))
    gone = desk.store.transact(lambda tx: exceptions.remove(tx, desk.vault, TENANT, made.id, BO))
    assert gone.removed == desk.now
    assert left(desk, VALUE) == 1
    assert desk.store.read(lambda tx: exceptions.current(tx, TENANT)) != before
    assert desk.log()[-1] == "exception.removed"
    with pytest.raises(NotFound):
        desk.store.transact(lambda tx: exceptions.remove(tx, desk.vault, TENANT, "none", BO))


@pytest.mark.parametrize(
    "edit", ["ends = ends + 999999999", "principal = ''", "secret = 1", "type = 'IBAN'", "tag = 'ff'", "detector = ''"]
)
def test_an_altered_entry_excepts_nothing(desk: Desk, edit: str) -> None:
    made = added(desk, principal="key:1", detector="pii.contact.email")
    desk.edit(f"UPDATE exceptions SET {edit} WHERE id = ?", made.id)
    assert left(desk, VALUE) == 1
    assert not desk.store.read(lambda tx: exceptions.still(tx, desk.vault, TENANT, [made.id]))
    with pytest.raises(GuardUnavailable):
        desk.store.transact(lambda tx: exceptions.remove(tx, desk.vault, TENANT, made.id, BO))


def _removed(desk: Desk, id_: str) -> None:
    desk.store.transact(lambda tx: exceptions.remove(tx, desk.vault, TENANT, id_, BO))


def _over(desk: Desk, _: str) -> None:
    desk.now += HOUR


def _deleted(desk: Desk, id_: str) -> None:
    desk.edit("DELETE FROM exceptions WHERE id = ?", id_)


@pytest.mark.parametrize("happens", [_removed, _over, _deleted])
@pytest.mark.parametrize("approved", [True, False])
def test_what_was_held_under_one_is_not_spent_when_that_is_over(
    desk: Desk, happens: Callable[[Desk, str], None], approved: bool
) -> None:
    made = added(desk)
    held = desk.store.transact(
        lambda tx: desk.approvals.hold(tx, replace(desk.request(expires_in=86400), exceptions=(made.id,)))
    )
    if approved:
        assert desk.vote(held, CY).state == "APPROVED"
    happens(desk, made.id)
    with pytest.raises(ApprovalExpired):
        desk.claim(desk.get(held))
    assert desk.get(held).state == "EXPIRED"


def test_what_was_held_under_one_is_spent_while_that_counts(desk: Desk) -> None:
    made = added(desk)
    hold = replace(desk.request(), exceptions=(made.id,))
    held = desk.store.transact(lambda tx: desk.approvals.hold(tx, hold))
    desk.vote(held, CY)
    assert desk.claim(desk.get(held))


# ------------------------------------------------------------------ what is said of it


def test_neither_value_nor_digest_nor_reason_stands_in_log_outbox_or_table(desk: Desk) -> None:
    made = added(desk)
    rows = desk.store.read(
        lambda tx: (
            [bytes(r["leaf"]).decode() for r in tx.all("SELECT leaf FROM audit_entries")]
            + [str(r["body"]) for r in tx.all("SELECT body FROM outbox")]
        )
    )
    table = desk.store.read(lambda tx: [repr(tuple(r)) for r in tx.all("SELECT * FROM exceptions")])
    for text in (*rows, *table):
        assert VALUE not in text
        assert "our hotline" not in text
    assert not any(made.tag in text for text in rows)
    [entry] = [json.loads(r) for r in rows if '"exception.added"' in r]
    assert entry["details"]["exception"] == made.id
    assert VALUE not in repr(made)


def test_the_list_tells_reason_and_scope_and_no_digest(desk: Desk) -> None:
    made = added(desk, principal="key:1")
    (told,), following = desk.store.read(lambda tx: exceptions.of(tx, desk.vault, TENANT))
    assert (told.id, told.reason, told.principal, told.by, following) == (made.id, "our hotline", "key:1", BO, None)
    assert not hasattr(told, "tag")
