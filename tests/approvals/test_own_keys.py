"""Keys for oneself need nobody, up to a number: each has a queue of its own."""

from __future__ import annotations

from typing import Any

from llmguard import identity
from llmguard.approvals.changes import OWN_KEYS
from tests.desks import BO, TENANT, Desk


def test_more_than_some_keys_for_oneself_need_somebody_else(desk: Desk) -> None:
    def another(tx: Any) -> Any:
        who = identity.person(tx, desk.vault, TENANT, BO)
        assert who
        _, change = identity.new_key(tx, desk.vault, "mine", BO)
        return desk.approvals.propose(tx, who, change)

    alone = [desk.store.transact(another) for _ in range(OWN_KEYS)]
    assert alone == [None] * OWN_KEYS
    assert desk.store.transact(another).state == "PENDING"
