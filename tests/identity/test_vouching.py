"""What a provider may say of whom, how long it counts, and that it never mixes with what people approved."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmguard import identity
from llmguard.errors import Conflict, GuardUnavailable, NotAllowed
from llmguard.identity import Authentication, Cause, Person, PersonChange, vouching
from llmguard.identity.sessions import HANDOVER_MS
from llmguard.identity.vouching import Renewal, Word
from tests.desks import ANN, BO, TENANT, Desk

ISSUER = "https://idp.example"
TTL_MS = 3_600_000
ALICE = "alice@example.com"
WORD = Word("corp", ISSUER, "sub-alice", ALICE, ("reviewers",), refresh="refresh-1")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    made.put(ANN, "reviewers")
    yield made
    made.store.close()


def welcome(desk: Desk, word: Word = WORD, *, provision: bool = True) -> Person:
    return desk.store.transact(
        lambda tx: vouching.welcome(tx, desk.vault, TENANT, word, provision=provision, ttl_ms=TTL_MS)
    )


def change(desk: Desk, email: str, *groups: str, **more: Any) -> None:
    asked = PersonChange(email, groups, **more)
    desk.store.transact(lambda tx: identity.apply(tx, desk.vault, TENANT, asked, Cause("test")))


def active(desk: Desk, email: str) -> Person | None:
    return desk.store.read(lambda tx: identity.active_person(tx, desk.vault, TENANT, email))


def due(desk: Desk, *needed: str) -> tuple[Renewal, ...]:
    return desk.store.transact(lambda tx: vouching.due(tx, desk.vault, {(TENANT, n) for n in needed}))


# --------------------------------------------------------------------------- who is who


def test_a_first_login_makes_a_person_only_where_that_is_configured(desk: Desk) -> None:
    with pytest.raises(NotAllowed, match="users add"):
        welcome(desk, provision=False)
    made = welcome(desk)
    assert (made.source, made.groups, made.subject) == ("provider", ("reviewers",), "sub-alice")
    assert desk.log()[-2:] == ["person.bound", "person.changed"]


def test_the_first_login_binds_and_every_later_one_is_the_same_subject(desk: Desk) -> None:
    welcome(desk)
    for word in (replace(WORD, subject="sub-mallory"), replace(WORD, issuer="https://other.example")):
        with pytest.raises(NotAllowed, match="somebody else"):
            welcome(desk, word)
    assert welcome(desk).email == ALICE


def test_a_subject_stays_the_same_person_when_its_address_changes(desk: Desk) -> None:
    welcome(desk)
    assert welcome(desk, replace(WORD, email="alice.new@example.com")).email == ALICE
    assert active(desk, "alice.new@example.com") is None


def test_a_subject_does_not_become_a_second_person(desk: Desk) -> None:
    welcome(desk)
    assert welcome(desk, replace(WORD, email=ANN)).email == ALICE
    assert active(desk, ANN)
    with pytest.raises(Conflict, match="one person, one vote"):
        welcome(desk, replace(WORD, subject="sub-2", email="alice+two@example.com"))


def test_somebody_deactivated_here_does_not_come_back_by_logging_in(desk: Desk) -> None:
    welcome(desk)
    change(desk, ALICE, active=False)
    with pytest.raises(NotAllowed, match="not active"):
        welcome(desk)
    change(desk, ALICE)
    assert active(desk, ALICE) is None
    assert welcome(desk, replace(WORD, subject="sub-new")).active


def test_a_binding_edited_in_the_database_counts_for_nothing(desk: Desk) -> None:
    welcome(desk)
    for column, value in (("subject", "sub-mallory"), ("until", 2 * 10**12), ("source", "guard")):
        before = desk.store.read(lambda tx, c=column: tx.one(f"SELECT {c} AS c FROM people WHERE email = ?", ALICE))
        assert before
        desk.edit(f"UPDATE people SET {column} = ? WHERE email = ?", value, ALICE)
        assert active(desk, ALICE) is None
        with pytest.raises(GuardUnavailable, match="altered"):
            welcome(desk, replace(WORD, subject="sub-mallory"))
        desk.edit(f"UPDATE people SET {column} = ? WHERE email = ?", before["c"], ALICE)


# --------------------------------------------------------------------------- two sources that never mix


def test_groups_that_people_approved_are_not_the_providers_to_change(desk: Desk) -> None:
    change(desk, ALICE, "security")
    assert welcome(desk).groups == ("security",)
    desk.now += 10 * TTL_MS
    assert active(desk, ALICE)


def test_groups_that_the_provider_says_are_not_changed_by_people(desk: Desk) -> None:
    welcome(desk)
    with pytest.raises(Conflict, match="identity provider says"):
        change(desk, ALICE, "admins")
    change(desk, ALICE, "security", source="guard")
    assert welcome(desk).groups == ("security",)


def test_a_person_handed_to_the_provider_has_no_group_until_it_says_one(desk: Desk) -> None:
    change(desk, ALICE, "security")
    change(desk, ALICE, source="provider")
    found = desk.store.read(lambda tx: identity.person(tx, desk.vault, TENANT, ALICE))
    assert found
    assert found.groups == ()
    assert active(desk, ALICE) is None
    assert welcome(desk, provision=False).groups == ("reviewers",)


def test_no_code_lets_the_providers_people_in(desk: Desk) -> None:
    welcome(desk)
    with pytest.raises(Conflict, match="logs in at the identity provider"):
        desk.code(ALICE)


# --------------------------------------------------------------------------- for how long


def test_a_word_counts_until_its_time_for_sessions_and_votes_but_not_for_being_accountable(desk: Desk) -> None:
    who = welcome(desk)
    held = desk.hold()
    desk.vote(held, ALICE)
    how = Authentication("oidc", desk.now, (), ISSUER, "sub-alice")
    token = desk.store.transact(lambda tx: identity.open_session(tx, desk.vault, who, how, idle_ms=10**9)).token
    desk.now += TTL_MS - 1
    assert desk.store.read(lambda tx: desk.approvals.supporters(tx, desk.get(held))) == (ALICE,)
    desk.now += 1
    assert desk.store.read(lambda tx: desk.approvals.supporters(tx, desk.get(held))) == ()
    with pytest.raises(Exception, match="has not confirmed"):
        desk.store.read(lambda tx: identity.session(tx, desk.vault, token))
    assert desk.store.read(lambda tx: identity.accountable_person(tx, desk.vault, TENANT, ALICE))


def test_a_word_is_due_at_half_its_life_for_one_asker_at_a_time(desk: Desk) -> None:
    welcome(desk)
    assert due(desk, ALICE) == ()
    desk.now += TTL_MS // 2
    [renewal] = due(desk, ALICE)
    assert renewal.refresh == "refresh-1"
    assert "refresh-1" not in repr(renewal)
    assert due(desk, ALICE) == ()


def test_what_renews_a_word_that_nobody_needs_is_forgotten(desk: Desk) -> None:
    welcome(desk)
    assert due(desk, BO) == ()
    assert desk.store.read(lambda tx: tx.all("SELECT * FROM refresh_tokens")) == []


def test_what_renews_a_word_is_kept_while_its_login_is_on_the_way(desk: Desk) -> None:
    who = welcome(desk)
    how = Authentication("oidc", desk.now, (), ISSUER, "sub-alice")
    desk.store.transact(lambda tx: identity.hand_over(tx, desk.vault, who, how, "c" * 43))
    assert desk.store.read(lambda tx: identity.live(tx, desk.vault)) == {(TENANT, ALICE)}
    desk.now += HANDOVER_MS
    assert desk.store.read(lambda tx: identity.live(tx, desk.vault)) == set()


def test_one_asker_renews_a_few_words_at_a_time(desk: Desk) -> None:
    emails = [f"p{i}@example.com" for i in range(vouching.BATCH + 1)]
    for email in emails:
        welcome(desk, replace(WORD, subject=email, email=email))
    desk.now += TTL_MS // 2
    assert [len(due(desk, *emails)) for _ in range(3)] == [vouching.BATCH, 1, 0]


def test_a_refresh_token_moved_to_another_person_opens_nothing(desk: Desk) -> None:
    welcome(desk)
    welcome(desk, replace(WORD, subject="sub-bob", email="bob@example.com", refresh="refresh-2"))
    desk.edit(
        "UPDATE refresh_tokens SET sealed = (SELECT sealed FROM refresh_tokens WHERE email = 'bob@example.com')"
        " WHERE email = ?",
        ALICE,
    )
    desk.now += TTL_MS // 2
    assert [r.person.email for r in due(desk, ALICE, "bob@example.com")] == ["bob@example.com"]


def test_a_renewal_does_not_bring_back_somebody_who_was_deactivated_meanwhile(desk: Desk) -> None:
    welcome(desk)
    desk.now += TTL_MS // 2
    [renewal] = due(desk, ALICE)
    change(desk, ALICE, active=False)
    desk.store.transact(lambda tx: vouching.renew(tx, desk.vault, renewal, WORD, TTL_MS))
    assert active(desk, ALICE) is None


def test_a_withdrawn_word_empties_groups_and_ends_sessions(desk: Desk) -> None:
    who = welcome(desk)
    how = Authentication("oidc", desk.now, (), ISSUER, "sub-alice")
    desk.store.transact(lambda tx: identity.open_session(tx, desk.vault, who, how))
    desk.now += TTL_MS // 2
    [renewal] = due(desk, ALICE)
    desk.store.transact(lambda tx: vouching.withdraw(tx, desk.vault, renewal))
    found = desk.store.read(lambda tx: identity.person(tx, desk.vault, TENANT, ALICE))
    assert found
    assert (found.groups, found.active) == ((), True)
    assert desk.store.read(lambda tx: identity.live(tx, desk.vault)) == set()
    assert welcome(desk).groups == ("reviewers",)


def test_of_the_guards_own_people_a_withdrawn_word_ends_only_the_providers_logins(desk: Desk) -> None:
    change(desk, ALICE, "security")
    who = welcome(desk)
    how = Authentication("oidc", desk.now, (), ISSUER, "sub-alice")
    theirs = desk.store.transact(lambda tx: identity.open_session(tx, desk.vault, who, how)).token
    ours = desk.session(ALICE)
    desk.now += TTL_MS // 2
    [renewal] = due(desk, ALICE)
    desk.store.transact(lambda tx: vouching.withdraw(tx, desk.vault, renewal))
    assert desk.store.read(lambda tx: identity.session(tx, desk.vault, ours)).person.groups == ("security",)
    with pytest.raises(Exception, match="over"):
        desk.store.read(lambda tx: identity.session(tx, desk.vault, theirs))
