"""Keys of the data plane: who calls, what for and how long; and provider keys that are linked to somebody."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard import identity
from llmguard.errors import Conflict, InvalidRequest, NotFound, Unauthenticated
from llmguard.identity import Cause, KeyChange
from llmguard.model import Operation, Principal
from tests.desks import ANN, BO, TENANT, Desk

PROVIDER_KEY = "the-key-of-a-provider"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    made.put(ANN, "reviewers")
    yield made
    made.store.close()


def add_key(desk: Desk, human: str | None = ANN, **more: Any) -> tuple[str, str]:
    def work(tx: Any) -> tuple[str, str]:
        token, change = identity.new_key(tx, desk.vault, "app", human, **more)
        identity.apply(tx, desk.vault, TENANT, change, Cause("test"))
        return token, change.id

    return desk.store.transact(work)


def who(desk: Desk, token: str) -> Principal:
    return desk.store.read(lambda tx: identity.authenticate(tx, desk.vault, token))


def passed(desk: Desk, token: str = PROVIDER_KEY) -> Principal:
    return desk.store.read(lambda tx: identity.passed_through(tx, desk.vault, token))


def link(desk: Desk, human: str = ANN, **more: Any) -> str:
    digest = desk.vault.attest("api key hash", PROVIDER_KEY)

    def work(tx: Any) -> str:
        change = identity.link_key(tx, digest, human, **more)
        identity.apply(tx, desk.vault, TENANT, change, Cause("test"))
        return change.id

    return desk.store.transact(work)


# --------------------------------------------------------------------------- who


def test_a_key_names_its_accountable_human(desk: Desk) -> None:
    principal = who(desk, add_key(desk)[0])
    assert (principal.kind, principal.human, principal.tenant) == ("human", ANN, TENANT)
    assert not who(desk, add_key(desk, None)[0]).accountable


def test_an_agents_key_says_that_it_is_an_agent_and_for_whom(desk: Desk) -> None:
    principal = who(desk, add_key(desk, agent=True)[0])
    assert (principal.kind, principal.human) == ("agent", ANN)


def test_an_agent_acts_for_somebody(desk: Desk) -> None:
    with pytest.raises(InvalidRequest, match="--human"):
        add_key(desk, None, agent=True)


def test_a_key_of_somebody_unknown_is_refused(desk: Desk) -> None:
    with pytest.raises(NotFound, match="users add"):
        add_key(desk, BO)


def test_a_key_ends_with_its_human(desk: Desk) -> None:
    token, _ = add_key(desk)
    desk.put(ANN, active=False)
    with pytest.raises(Unauthenticated, match="not active"):
        who(desk, token)


def test_a_revoked_key_is_refused_and_stays_so(desk: Desk) -> None:
    token, id_ = add_key(desk)
    desk.store.transact(lambda tx: identity.revoke_key(tx, desk.vault, TENANT, id_, ANN))
    with pytest.raises(Unauthenticated, match="revoked"):
        who(desk, token)
    desk.edit("UPDATE api_keys SET revoked = NULL")
    with pytest.raises(Unauthenticated, match="altered"):
        who(desk, token)


# --------------------------------------------------------------------------- how long, and what for


def test_a_key_expires_to_the_millisecond(desk: Desk) -> None:
    token, id_ = add_key(desk, lifetime=60)
    desk.now += 59_999
    assert who(desk, token).human == ANN
    desk.now += 1
    with pytest.raises(Unauthenticated, match="expired: llmguard keys add"):
        who(desk, token)
    assert desk.store.read(lambda tx: identity.key(tx, desk.vault, TENANT, id_)).expires == desk.now


@pytest.mark.parametrize("lifetime", [0, -1, 10 * 366 * 86400 + 1])
def test_a_lifetime_that_makes_no_sense_is_refused(desk: Desk, lifetime: int) -> None:
    with pytest.raises(InvalidRequest):
        add_key(desk, lifetime=lifetime)


def test_a_key_that_was_approved_too_late_is_not_added(desk: Desk) -> None:
    _, change = desk.store.transact(lambda tx: identity.new_key(tx, desk.vault, "app", ANN, lifetime=60))
    desk.now += 60_000
    with pytest.raises(Conflict, match="expired"):
        desk.store.transact(lambda tx: identity.apply(tx, desk.vault, TENANT, change, Cause("test")))


OPERATIONS = {
    "chat": Operation("chat.completions.create", "POST", "/chat/completions", "inference"),
    "files": Operation("files.create", "POST", "/files", "stored"),
    "export": Operation("action.db.export", "RUN", "/db.export", "action"),
    "exports": Operation("action.db.exports", "RUN", "/db.exports", "action"),
    "unknown": Operation("unknown", "", "", "unknown"),
}


@pytest.mark.parametrize(
    ("scopes", "allowed"),
    [
        ((), set(OPERATIONS)),
        (("inference",), {"chat"}),
        (("chat.*",), {"chat"}),
        (("chat",), set()),
        (("action.db.export",), {"export"}),
        (("action",), {"export", "exports"}),
        (("inference", "stored"), {"chat", "files"}),
        (("*",), set(OPERATIONS)),
    ],
)
def test_scopes_are_kinds_or_patterns_of_operations(desk: Desk, scopes: tuple[str, ...], allowed: set[str]) -> None:
    principal = who(desk, add_key(desk, scopes=scopes)[0])
    assert {name for name, operation in OPERATIONS.items() if principal.may(operation)} == allowed


@pytest.mark.parametrize("scope", ["", "a b", "CHAT", "[a-z]", "chat.?", "a" * 65, "chat\n"])
def test_a_scope_that_could_mean_more_than_it_says_is_refused(desk: Desk, scope: str) -> None:
    with pytest.raises(InvalidRequest, match="scope"):
        add_key(desk, scopes=(scope,))


@given(
    scopes=st.lists(st.from_regex(r"[a-z0-9*][a-z0-9*._-]{0,20}", fullmatch=True), max_size=5),
    expires=st.none() | st.integers(1, 2**52),
    linked=st.booleans(),
)
def test_a_change_of_a_key_always_survives_being_shown_to_reviewers(
    scopes: list[str], expires: int | None, linked: bool
) -> None:
    change = KeyChange("01", "app", "00", "agent", ANN, tuple(scopes), expires, linked)
    assert identity.decode(identity.encode(change)) == change


# --------------------------------------------------------------------------- provider keys


def test_a_provider_key_is_a_tenant_of_its_own_that_nobody_answers_for(desk: Desk) -> None:
    one, other = passed(desk), passed(desk, "another-key")
    assert not one.accountable
    assert len({one.tenant, other.tenant, TENANT}) == 3
    assert PROVIDER_KEY not in repr(one)
    assert identity.unlinked(one.tenant)
    assert identity.unlinked(TENANT) is None


def test_a_linked_provider_key_belongs_to_its_human_and_to_the_installation(desk: Desk) -> None:
    digest = identity.unlinked(passed(desk).tenant)
    assert digest == desk.vault.attest("api key hash", PROVIDER_KEY)
    link(desk, scopes=("inference",))
    principal = passed(desk)
    assert (principal.human, principal.tenant, principal.scopes) == (ANN, TENANT, ("inference",))


def test_a_revoked_link_does_not_fall_back_to_nobody(desk: Desk) -> None:
    id_ = link(desk)
    desk.store.transact(lambda tx: identity.revoke_key(tx, desk.vault, TENANT, id_, ANN))
    with pytest.raises(Unauthenticated, match="revoked"):
        passed(desk)


def test_a_revoked_link_can_be_made_anew_for_somebody_else(desk: Desk) -> None:
    id_ = link(desk)
    with pytest.raises(Conflict, match="exists"):
        link(desk)
    desk.store.transact(lambda tx: identity.revoke_key(tx, desk.vault, TENANT, id_, ANN))
    desk.put(BO, "reviewers")
    link(desk, BO)
    assert passed(desk).human == BO


def test_a_link_makes_no_key_of_the_guard(desk: Desk) -> None:
    token, id_ = add_key(desk)
    digest = desk.vault.attest("api key hash", token)
    desk.store.transact(lambda tx: identity.revoke_key(tx, desk.vault, TENANT, id_, ANN))
    change = desk.store.transact(lambda tx: identity.link_key(tx, digest, ANN))
    desk.store.transact(lambda tx: identity.apply(tx, desk.vault, TENANT, change, Cause("test")))
    with pytest.raises(Unauthenticated):
        who(desk, token)


def test_linking_somebodys_provider_key_to_oneself_needs_somebody_else(desk: Desk) -> None:
    desk.put(BO, "reviewers")
    ann = desk.store.read(lambda tx: identity.person(tx, desk.vault, TENANT, ANN))
    assert ann
    digest = desk.vault.attest("api key hash", PROVIDER_KEY)

    def proposed(tx: Any, change: KeyChange) -> Any:
        return desk.approvals.propose(tx, ann, change)

    own = desk.store.transact(lambda tx: proposed(tx, identity.new_key(tx, desk.vault, "own", ANN)[1]))
    linked = desk.store.transact(lambda tx: proposed(tx, identity.link_key(tx, digest, ANN)))
    assert own is None
    assert linked.state == "PENDING"
    assert not passed(desk).accountable


@pytest.mark.parametrize("digest", ["", "0" * 63, "0" * 65, "G" * 64, "../" * 20, "A" * 64])
def test_what_is_no_digest_is_refused(desk: Desk, digest: str) -> None:
    with pytest.raises(InvalidRequest, match="64 hex"):
        desk.store.transact(lambda tx: identity.link_key(tx, digest, ANN))


# --------------------------------------------------------------------------- edited rows


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("human", BO),
        ("kind", "agent"),
        ("name", "other"),
        ("scopes", ""),
        ("scopes", "*"),
        ("expires", None),
        ("expires", 2**50),
        ("linked", 1),
        ("tenant", "other"),
    ],
)
def test_a_key_edited_in_the_database_is_refused(desk: Desk, column: str, value: Any) -> None:
    token, _ = add_key(desk, scopes=("inference",), lifetime=3600)
    desk.put(BO, "reviewers")
    desk.edit(f"UPDATE api_keys SET {column} = ?", value)
    with pytest.raises(Unauthenticated, match="altered"):
        who(desk, token)


def test_the_log_says_what_a_key_is_for(desk: Desk) -> None:
    add_key(desk, scopes=("inference",), lifetime=60)
    leaves = desk.store.read(lambda tx: [r["leaf"] for r in tx.all("SELECT leaf FROM audit_entries")])
    added = leaves[-1].decode()
    assert '"scopes":["inference"]' in added
    assert '"expires"' in added
