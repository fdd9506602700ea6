"""Where a value went: every tag key that there was, one tenant alone, a short closed list of spellings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard.approvals import incidents
from llmguard.approvals.incidents import Opened, missed, spellings
from llmguard.errors import RequestTooLarge
from llmguard.vault import Keyring, Vault
from tests.desks import BO, START, TENANT, Desk
from tests.kept import EMAIL, facts, keep

VALUE = "jane.roe@example.org"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path / "guard").staff()
    yield made
    made.store.close()


def held(desk: Desk, vault: Vault, tenant: str = TENANT, at: int = START, **more: Any) -> str:
    identity = vault.digest(tenant, "EMAIL", VALUE).hex()
    return keep(desk, facts(replace(EMAIL, identity=identity), at=at, **more), tenant=tenant)


def found(desk: Desk, vault: Vault, tenant: str = TENANT, value: str = VALUE) -> tuple[incidents.Stood, ...]:
    return desk.store.read(lambda tx: incidents.where(tx, vault, tenant, ["EMAIL", "PHONE"], value, "~", 50)[0])


def test_a_value_is_found_under_every_tag_key_there_was_and_in_its_tenant_alone(desk: Desk) -> None:
    keys = {kind: (b"1" * 32,) for kind in ("seal", "log", "session")}
    before = Vault(Keyring({**keys, "tag": (b"a" * 32,)}))
    after = Vault(Keyring({**keys, "tag": (b"a" * 32, b"b" * 32)}))
    first, second = held(desk, before), held(desk, after, at=START + 1)
    held(desk, after, tenant="other")
    assert [s.call for s in found(desk, after)] == [second, first]
    assert [s.call for s in found(desk, before)] == [first]
    assert len(found(desk, after, "other")) == 1
    assert found(desk, after, value="somebody@example.org") == ()


def test_how_it_left_follows_verdict_and_approval(desk: Desk) -> None:
    call = held(desk, desk.vault, unscanned=("image",))
    [joined] = found(desk, desk.vault)
    assert (joined.verdict, joined.left, joined.approval) == ("require_approval", "joined", "")
    hold = replace(desk.request(), call=call)
    approval = desk.store.transact(lambda tx: desk.approvals.hold(tx, hold))
    assert found(desk, desk.vault)[0].left == "waiting"
    desk.vote(approval, BO)
    desk.claim(approval)
    [sent] = found(desk, desk.vault)
    assert (sent.left, sent.state, sent.approval) == ("redacted", "EXECUTING", approval.id)
    desk.edit("UPDATE approvals SET rule = 'x'")
    [altered] = found(desk, desk.vault)
    assert (altered.left, altered.state) == ("unknown", "ALTERED")


@given(st.text(min_size=1, max_size=60))
def test_spellings_are_few_differ_and_begin_with_the_value_itself(value: str) -> None:
    ways = spellings(value)
    assert ways[0] == value
    assert len(ways) == len(set(ways)) <= 14
    assert "" not in ways


def test_grouped_numbers_are_tried_in_the_ways_that_people_write_them() -> None:
    assert {"4111 1111 1111 1111", "4111-1111-1111-1111", "4111111111111111"} <= set(spellings("4111.1111 1111-1111"))
    assert {"123-45-6789", "123456789"} <= set(spellings("123 45 6789"))
    assert "GB33 BUKB 2020 1555 5555 55" in spellings("gb33bukb20201555555555")


def test_what_is_missed_is_what_is_found_beyond_then_and_left_where_the_same_value_leaves(desk: Desk) -> None:
    held_call = desk.hold()
    one = Opened(held_call, desk.request().egress, b"original", {"EMAIL": 1})

    def find(_: Any, __: Any, body: bytes) -> Mapping[tuple[str, str], int]:
        written = {("PERSON", "a"): 1, ("CODE", "x"): 2, ("EMAIL", "e"): 1}
        leaving = {("CODE", "x"): 2, ("EMAIL", "e"): 1, ("PERSON", "surrogate"): 1}
        return written if body == b"original" else leaving

    told = missed(one, find)
    assert (told.missed, told.left) == ({"CODE": 2, "EMAIL": 1}, {"CODE": 2})
    assert "original" not in repr(one)

    def fails(*_: Any) -> Mapping[tuple[str, str], int]:
        raise RequestTooLarge("no")

    assert missed(one, fails).problem == "request_too_large"
