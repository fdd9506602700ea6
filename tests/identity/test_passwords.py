"""Passwords of local accounts: kept as argon2id over a keyed digest, bound to their person, tried slowly by anybody."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from llmguard import identity
from llmguard.errors import GuardUnavailable, InvalidRequest, NotAllowed, Unauthenticated
from llmguard.identity import Login, passwords
from llmguard.vault import Keyring, Vault
from tests.desks import ANN, BO, TENANT, Desk

WORD, OTHER = "correct horse battery staple", "another horse battery staple"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    made.put(ANN, "reviewers")
    made.put(BO, "reviewers")
    yield made
    made.store.close()


def put(desk: Desk, email: str = ANN, word: str = WORD, *, phc: str | None = None) -> str:
    """Sets a password in a session, which is returned."""
    token = desk.session(email)
    text = phc or passwords.hashed(desk.vault, TENANT, email, word)
    who = desk.store.read(lambda tx: identity.session(tx, desk.vault, token)).person
    desk.store.transact(lambda tx: passwords.set_password(tx, desk.vault, who, text, keep=token))
    return token


def stored(desk: Desk, email: str = ANN) -> str | None:
    return desk.store.read(lambda tx: passwords.stored(tx, desk.vault, TENANT, email))


def login(desk: Desk, email: str = ANN, word: str = WORD) -> Login:
    seen = stored(desk, email)
    proof = passwords.check(desk.vault, TENANT, email, word, seen)
    return desk.store.transact(lambda tx: passwords.login_with(tx, desk.vault, proof))


def test_a_password_opens_a_session_that_says_so(desk: Desk) -> None:
    put(desk)
    token = login(desk).token
    session = desk.store.read(lambda tx: identity.session(tx, desk.vault, token))
    assert session.person.email == ANN
    assert (session.how.method, session.how.amr, session.auth_time) == ("password", ("pwd",), desk.now)


def test_a_wrong_password_an_unknown_person_and_one_without_a_password_hear_the_same(desk: Desk) -> None:
    put(desk)
    heard = set()
    for email, word in ((ANN, OTHER), (BO, WORD), ("nobody@example.com", WORD), (ANN, ""), (ANN, WORD + "\x00")):
        with pytest.raises(Unauthenticated) as refused:
            login(desk, email, word)
        heard.add(refused.value.message)
    assert len(heard) == 1


def test_comparing_with_nobodys_password_is_the_same_work() -> None:
    assert passwords._NOBODY.startswith(passwords._PARAMETERS)
    vault = Vault(Keyring.generate())
    stored = passwords.hashed(vault, TENANT, ANN, WORD)
    assert stored.startswith(passwords._PARAMETERS)
    assert len(stored) == len(passwords._NOBODY)


def test_a_stolen_table_is_worth_nothing_without_the_guards_key(desk: Desk) -> None:
    text = passwords.hashed(desk.vault, TENANT, ANN, WORD)
    with pytest.raises(Unauthenticated):
        passwords.check(Vault(Keyring.generate()), TENANT, ANN, WORD, text)
    with pytest.raises(InvalidKey):
        Argon2id.verify_phc_encoded(WORD.encode(), text)
    assert passwords.hashed(desk.vault, TENANT, ANN, WORD) != text


def test_a_password_row_of_another_person_does_not_fit(desk: Desk) -> None:
    put(desk)
    put(desk, BO, OTHER)
    desk.edit("UPDATE passwords SET phc = (SELECT phc FROM passwords WHERE email = ?) WHERE email = ?", BO, ANN)
    with pytest.raises(GuardUnavailable, match="altered"):
        login(desk, ANN, OTHER)


@pytest.mark.parametrize(
    ("column", "value"), [("phc", passwords._NOBODY), ("changed", 1), ("attestation", ""), ("tenant", "other")]
)
def test_a_password_edited_in_the_database_stops_to_count(desk: Desk, column: str, value: Any) -> None:
    put(desk)
    desk.edit(f"UPDATE passwords SET {column} = ?", value)
    with pytest.raises((GuardUnavailable, Unauthenticated)):
        login(desk)


def test_setting_a_password_ends_every_other_session_and_code(desk: Desk) -> None:
    other, code = desk.session(ANN), desk.code(ANN)
    bo = desk.session(BO)
    mine = put(desk)
    for token in (mine, bo):
        assert desk.store.read(lambda tx, t=token: identity.session(tx, desk.vault, t))  # type: ignore[misc]
    with pytest.raises(Unauthenticated):
        desk.store.read(lambda tx: identity.session(tx, desk.vault, other))
    with pytest.raises(Unauthenticated):
        desk.store.transact(lambda tx: identity.login(tx, desk.vault, code))
    assert "password.changed" in desk.log()


def test_a_password_that_was_changed_meanwhile_does_not_open_a_session(desk: Desk) -> None:
    put(desk)
    proof = passwords.check(desk.vault, TENANT, ANN, WORD, stored(desk))
    put(desk, word=OTHER)
    with pytest.raises(Unauthenticated):
        desk.store.transact(lambda tx: passwords.login_with(tx, desk.vault, proof))
    with pytest.raises(Unauthenticated):
        login(desk)
    assert login(desk, word=OTHER)


def test_deactivating_a_person_drops_the_password_for_good(desk: Desk) -> None:
    put(desk)
    desk.put(ANN, active=False)
    with pytest.raises(Unauthenticated):
        login(desk)
    desk.put(ANN, "reviewers")
    assert stored(desk) is None
    assert not desk.store.read(lambda tx: tx.all("SELECT * FROM passwords"))


def test_a_hash_of_older_parameters_is_made_anew_at_the_next_login(desk: Desk) -> None:
    kdf = Argon2id(salt=b"0" * 16, length=32, iterations=1, lanes=1, memory_cost=64)
    old = kdf.derive_phc_encoded(desk.vault.attest("password", TENANT, ANN, WORD).encode())
    put(desk, phc=old)
    with pytest.raises(Unauthenticated):
        login(desk, word=OTHER)
    assert stored(desk) == old
    assert login(desk)
    after = stored(desk)
    assert after
    assert after.startswith(passwords._PARAMETERS)
    assert login(desk)


def test_people_of_an_identity_provider_have_no_password_here(desk: Desk) -> None:
    put(desk)

    def provided(tx: Any) -> Any:
        identity.apply(
            tx, desk.vault, TENANT, identity.PersonChange(ANN, (), source="provider"), identity.Cause("test")
        )
        return identity.person(tx, desk.vault, TENANT, ANN)

    who = desk.store.transact(provided)
    assert stored(desk) is None
    with pytest.raises(NotAllowed, match="identity provider"):
        desk.store.transact(lambda tx: passwords.set_password(tx, desk.vault, who, "", keep=""))


@pytest.mark.parametrize(
    "word", ["", "short", "x" * 201, ANN, f" {ANN.upper()} ", "aaaaaaaaaaaa", "abababababab", "12312312312"]
)
def test_what_everybody_would_try_first_is_no_password(word: str) -> None:
    with pytest.raises(InvalidRequest):
        passwords.acceptable(ANN, word)


@pytest.mark.parametrize("word", ["pass wörd ✓ 12", "x1y2" * 50, "        a b c d"])
def test_long_ones_and_any_letters_are_welcome(desk: Desk, word: str) -> None:
    passwords.acceptable(ANN, word)
    put(desk, word=word)
    assert login(desk, word=word)


def test_no_password_is_stored_logged_or_shown(desk: Desk) -> None:
    put(desk)
    opened = login(desk)
    tables = ("people", "passwords", "sessions", "audit_entries")
    kept = desk.store.read(lambda tx: [tuple(r) for t in tables for r in tx.all(f"SELECT * FROM {t}")])
    assert WORD not in repr(kept) + repr(opened)
    assert WORD.encode() not in desk.path.read_bytes()
