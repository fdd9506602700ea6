"""Sessions say who acts and how they logged in, and end: by time, by no use, by logging out or in again."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmguard import identity
from llmguard.errors import Unauthenticated
from llmguard.identity import IDLE_MS, SESSION_MS, TOUCH_MS, Authentication
from llmguard.identity.sessions import HANDOVER_MS, s256
from tests.desks import ANN, BO, TENANT, Desk, control_plane

VERIFIER = secrets.token_urlsafe(48)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    made.put(ANN, "reviewers")
    made.put(BO, "reviewers")
    yield made
    made.store.close()


def session(desk: Desk, token: str) -> identity.Session:
    return desk.store.read(lambda tx: identity.session(tx, desk.vault, token))


def used(desk: Desk, token: str) -> None:
    desk.store.transact(lambda tx: identity.touch(tx, desk.vault, token))


def opened(desk: Desk, how: Authentication, **more: Any) -> str:
    def work(tx: Any) -> str:
        who = identity.active_person(tx, desk.vault, TENANT, ANN)
        assert who
        return identity.open_session(tx, desk.vault, who, how, **more).token

    return desk.store.transact(work)


def handed_over(desk: Desk, how: Authentication, challenge: str) -> str:
    def work(tx: Any) -> str:
        who = identity.active_person(tx, desk.vault, TENANT, ANN)
        assert who
        return identity.hand_over(tx, desk.vault, who, how, challenge)

    return desk.store.transact(work)


def test_a_session_knows_how_and_when_its_person_logged_in(desk: Desk) -> None:
    how = Authentication("password", desk.now - 5000, ("pwd",))
    found = session(desk, opened(desk, how))
    assert (found.person.email, found.how, found.auth_time) == (ANN, how, desk.now - 5000)
    found = session(desk, desk.session(ANN))
    assert (found.how.method, found.how.amr, found.auth_time) == ("code", ("otp",), desk.now)


def test_a_session_in_use_ends_after_twelve_hours_and_an_idle_one_after_one(desk: Desk) -> None:
    token, idle = desk.session(ANN), desk.session(ANN)
    until = desk.now + SESSION_MS
    desk.now += IDLE_MS - 1
    used(desk, token)
    assert session(desk, idle)
    desk.now += 1
    with pytest.raises(Unauthenticated, match="over"):
        session(desk, idle)
    while desk.now + IDLE_MS // 2 < until:
        desk.now += IDLE_MS // 2
        used(desk, token)
    desk.now = until - 1
    assert session(desk, token)
    desk.now = until
    with pytest.raises(Unauthenticated, match="over"):
        session(desk, token)


def test_the_last_use_is_known_coarsely_so_that_looking_seldom_writes(desk: Desk) -> None:
    token = desk.session(ANN)
    begun = session(desk, token).seen
    desk.now += TOUCH_MS - 1
    used(desk, token)
    assert session(desk, token).seen == begun
    desk.now += 1
    used(desk, token)
    assert session(desk, token).seen == desk.now


def test_looking_keeps_a_session_alive(desk: Desk) -> None:
    with control_plane(desk, session_idle=120) as plane:
        answer = plane.call("POST", "/guard/v1/login", json={"code": desk.code(ANN)})
        headers = {"authorization": f"Bearer {answer.json()['token']}"}
        for _ in range(5):
            desk.now += 100_000
            assert plane.call("GET", "/guard/v1/me", headers=headers).status_code == 200
            desk.store.transact(lambda tx: None)
        desk.now += 120_000
        assert plane.call("GET", "/guard/v1/me", headers=headers).status_code == 401


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *(("auth_time", 2_000_000_000_000), ("amr", '["hwk"]'), ("method", "oidc"), ("issuer", "x"), ("email", BO)),
        *(("expires", 2_000_000_000_000), ("idle", 10**12), ("seen", 1_800_000_000_001), ("created", 1)),
    ],
)
def test_a_session_edited_in_the_database_is_refused(desk: Desk, column: str, value: Any) -> None:
    token = desk.session(ANN)
    desk.edit(f"UPDATE sessions SET {column} = ?", value)
    with pytest.raises(Unauthenticated, match="altered"):
        session(desk, token)
    assert desk.store.read(lambda tx: identity.live(tx, desk.vault)) == set()


@pytest.mark.parametrize(
    ("column", "value"), [("email", BO), ("challenge", ""), ("auth_time", 1), ("expires", 2 * 10**12)]
)
def test_a_code_edited_in_the_database_is_refused(desk: Desk, column: str, value: Any) -> None:
    code = handed_over(desk, Authentication("oidc", desk.now), s256(VERIFIER))
    desk.edit(f"UPDATE login_codes SET {column} = ?", value)
    for verifier in (VERIFIER, ""):
        with pytest.raises(Unauthenticated):
            desk.store.transact(lambda tx, v=verifier: identity.login(tx, desk.vault, code, verifier=v))


def test_a_handed_over_login_needs_its_verifier_and_keeps_how_it_was_made(desk: Desk) -> None:
    how = Authentication("oidc", desk.now - 1000, ("pwd", "otp"))
    code = handed_over(desk, how, s256(VERIFIER))
    for verifier in ("", "x" * 43, s256(VERIFIER), VERIFIER + "é"):
        with pytest.raises(Unauthenticated):
            desk.store.transact(lambda tx, v=verifier: identity.login(tx, desk.vault, code, verifier=v))
    token = desk.store.transact(lambda tx: identity.login(tx, desk.vault, code, verifier=VERIFIER)).token
    assert session(desk, token).how == how


def test_a_handed_over_login_ends_after_two_minutes(desk: Desk) -> None:
    code = handed_over(desk, Authentication("oidc", desk.now), s256(VERIFIER))
    desk.now += HANDOVER_MS
    with pytest.raises(Unauthenticated):
        desk.store.transact(lambda tx: identity.login(tx, desk.vault, code, verifier=VERIFIER))


def test_an_operators_code_takes_no_verifier(desk: Desk) -> None:
    code = desk.code(ANN)
    with pytest.raises(Unauthenticated):
        desk.store.transact(lambda tx: identity.login(tx, desk.vault, code, verifier=VERIFIER))


def test_logging_in_again_ends_the_own_session_and_nobody_elses(desk: Desk) -> None:
    ann, bo = desk.session(ANN), desk.session(BO)
    for held in (ann, bo):
        code = desk.code(ANN)
        desk.store.transact(lambda tx, h=held, c=code: identity.login(tx, desk.vault, c, replaces=h))
    assert session(desk, bo)
    with pytest.raises(Unauthenticated):
        session(desk, ann)


def test_what_is_over_is_forgotten(desk: Desk) -> None:
    desk.session(ANN)
    desk.code(ANN)
    desk.now += SESSION_MS + 1
    desk.store.transact(identity.forget_expired)
    for table in ("sessions", "login_codes"):
        assert desk.store.read(lambda tx, t=table: tx.all(f"SELECT * FROM {t}")) == []


def test_no_repr_shows_a_session(desk: Desk) -> None:
    login = desk.store.transact(lambda tx: identity.login(tx, desk.vault, desk_code(tx, desk)))
    assert login.token not in repr(login)


def desk_code(tx: Any, desk: Desk) -> str:
    return identity.issue_code(tx, desk.vault, TENANT, ANN, identity.Cause("test"))
