from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard import identity
from llmguard.errors import Conflict, GuardUnavailable, InvalidRequest, NotFound, Unauthenticated
from llmguard.identity import CODE_MS, SESSION_MS, Cause, PersonChange
from tests.desks import ANN, BO, TENANT, Desk


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    made.put(ANN, "reviewers")
    yield made
    made.store.close()


def add_key(desk: Desk, human: str | None = ANN) -> tuple[str, str]:
    def work(tx: Any) -> tuple[str, str]:
        token, change = identity.new_key(tx, desk.vault, "app", human)
        identity.apply(tx, desk.vault, TENANT, change, Cause("test"))
        return token, change.id

    return desk.store.transact(work)


def who(desk: Desk, token: str) -> Any:
    return desk.store.read(lambda tx: identity.authenticate(tx, desk.vault, token))


def person(desk: Desk, token: str) -> Any:
    return desk.store.read(lambda tx: identity.session(tx, desk.vault, token).person)


def login(desk: Desk, code: str) -> str:
    return desk.store.transact(lambda tx: identity.login(tx, desk.vault, code).token)


# --------------------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    ("written", "meant"),
    [(" Ann@Example.COM\n", "ann@example.com"), ("ａｎｎ@example.com", "ann@example.com"), ("a+b@x.org", "a+b@x.org")],
)
def test_one_address_has_one_spelling(written: str, meant: str) -> None:
    assert identity.normal_email(written) == meant


@pytest.mark.parametrize(
    "written",
    [
        "",
        "ann",
        "a@b@c",
        "аnn@example.com",
        "ann\u200b@example.com",
        "ann\u202e@example.com",
        "a\x00@b.c",
        "a b@c.d",
        "a@-b.c",
        "a@b..c",
        "@b.c",
        "a@",
        "a" * 250 + "@b.cd",
    ],
)
def test_addresses_that_could_deceive_are_refused(written: str) -> None:
    with pytest.raises(InvalidRequest):
        identity.normal_email(written)


@given(st.text(max_size=40))
def test_an_accepted_address_is_always_plain_and_stays_itself(text: str) -> None:
    try:
        email = identity.normal_email(text)
    except InvalidRequest:
        return
    assert email.isascii()
    assert email.isprintable()
    assert email.count("@") == 1
    assert identity.normal_email(email) == email


def test_a_second_address_of_the_same_mailbox_is_not_a_second_person(desk: Desk) -> None:
    with pytest.raises(Conflict, match="one person, one vote"):
        desk.put("ann+two@example.com", "reviewers")


# --------------------------------------------------------------------------- codes and sessions


def test_a_code_logs_in_once(desk: Desk) -> None:
    code = desk.code(ANN)
    assert person(desk, login(desk, code)).email == ANN
    with pytest.raises(Unauthenticated):
        login(desk, code)


def test_a_code_is_typed_as_people_type(desk: Desk) -> None:
    assert login(desk, f" {desk.code(ANN).upper().replace('-', '')} ")


def test_a_code_ends_after_fifteen_minutes_and_when_the_next_one_is_made(desk: Desk) -> None:
    late, replaced = desk.code(ANN), desk.code(ANN)
    with pytest.raises(Unauthenticated):
        login(desk, late)
    desk.now += CODE_MS
    with pytest.raises(Unauthenticated):
        login(desk, replaced)


def test_logging_out_ends_the_session(desk: Desk) -> None:
    token = desk.session(ANN)
    desk.store.transact(lambda tx: identity.logout(tx, desk.vault, token))
    with pytest.raises(Unauthenticated):
        person(desk, token)


def test_a_deactivated_person_has_no_session_and_gets_no_code(desk: Desk) -> None:
    token, code = desk.session(ANN), desk.code(ANN)
    desk.put(ANN, active=False)
    with pytest.raises(Unauthenticated):
        person(desk, token)
    with pytest.raises(Unauthenticated):
        login(desk, code)
    with pytest.raises(NotFound):
        desk.code(ANN)


def test_credentials_of_one_plane_are_worth_nothing_on_the_other(desk: Desk) -> None:
    key, token = add_key(desk)[0], desk.session(ANN)
    with pytest.raises(Unauthenticated):
        who(desk, token)
    with pytest.raises(Unauthenticated):
        person(desk, key)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    made = Desk(tmp_path_factory.mktemp("identity"))
    yield made
    made.store.close()


@given(text=st.text(max_size=80))
def test_no_made_up_credential_gets_in(shared: Desk, text: str) -> None:
    for attempt, token in ((who, "lg_" + text), (person, "lgs_" + text), (login, text)):
        with pytest.raises(Unauthenticated):
            attempt(shared, token)


def test_no_credential_is_stored(desk: Desk) -> None:
    secrets = [add_key(desk)[0], desk.session(ANN), desk.code(ANN).replace("-", "")]
    tables = ("people", "login_codes", "sessions", "api_keys", "audit_entries")
    stored = desk.store.read(lambda tx: [tuple(r) for t in tables for r in tx.all(f"SELECT * FROM {t}")])
    assert not any(secret in repr(stored) for secret in secrets)


# --------------------------------------------------------------------------- edited rows


@pytest.mark.parametrize(("column", "value"), [("groups", '["admins","reviewers"]'), ("active", 1), ("created", 1)])
def test_a_person_edited_in_the_database_is_nobody(desk: Desk, column: str, value: Any) -> None:
    token = desk.session(ANN)
    desk.put(BO, "reviewers", active=True)
    desk.put(BO, "reviewers", active=False)
    desk.edit(f"UPDATE people SET {column} = ? WHERE email = ?", value, ANN if column != "active" else BO)
    if column != "active":
        with pytest.raises(Unauthenticated, match="altered"):
            person(desk, token)
    edited = ANN if column != "active" else BO
    assert edited not in {p.email for p in desk.store.read(lambda tx: identity.people(tx, desk.vault, TENANT))}
    with pytest.raises(GuardUnavailable, match="altered"):
        desk.store.read(lambda tx: identity.person(tx, desk.vault, TENANT, edited))
    with pytest.raises(GuardUnavailable, match="altered"):
        desk.store.read(lambda tx: identity.bootstrapping(tx, desk.vault, TENANT))


def test_a_session_given_to_somebody_else_in_the_database_is_refused(desk: Desk) -> None:
    desk.put(BO, "reviewers")
    token = desk.session(ANN)
    desk.edit("UPDATE sessions SET email = ?", BO)
    with pytest.raises(Unauthenticated, match="altered"):
        person(desk, token)


def test_a_session_or_code_prolonged_in_the_database_is_refused(desk: Desk) -> None:
    token, code = desk.session(ANN), desk.code(ANN)
    desk.now += SESSION_MS
    desk.edit("UPDATE sessions SET expires = expires * 2")
    desk.edit("UPDATE login_codes SET expires = expires * 2")
    for attempt, credential in ((person, token), (login, code)):
        with pytest.raises(Unauthenticated):
            attempt(desk, credential)


# --------------------------------------------------------------------------- changes


def test_a_change_survives_its_encoding(desk: Desk) -> None:
    change = PersonChange(BO, ("reviewers", "security"))
    assert identity.decode(identity.encode(change)) == change
    _, key = desk.store.transact(lambda tx: identity.new_key(tx, desk.vault, "app", ANN))
    assert identity.decode(identity.encode(key)) == key


def test_bootstrap_ends_with_the_second_active_person(desk: Desk) -> None:
    assert desk.store.read(lambda tx: identity.bootstrapping(tx, desk.vault, TENANT))
    desk.put(BO)
    assert not desk.store.read(lambda tx: identity.bootstrapping(tx, desk.vault, TENANT))


def test_every_change_is_in_the_log_with_who_and_whether_alone(desk: Desk) -> None:
    add = PersonChange(BO, ("reviewers",))
    desk.store.transact(lambda tx: identity.apply(tx, desk.vault, TENANT, add, Cause("operator:0", bootstrap=True)))
    _, id_ = add_key(desk)
    desk.store.transact(lambda tx: identity.revoke_key(tx, desk.vault, TENANT, id_, ANN))
    desk.put(BO, active=False)
    rows = desk.store.read(lambda tx: tx.all("SELECT kind, leaf FROM audit_entries ORDER BY idx"))
    assert [r["kind"] for r in rows] == [
        "person.added",
        "person.added",
        "key.added",
        "key.revoked",
        "person.deactivated",
    ]
    text = json.dumps(json.loads(rows[1]["leaf"]))
    assert '"bootstrap": true' in text
    assert "operator:0" in text
