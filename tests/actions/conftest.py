from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmguard import identity
from llmguard.config import Settings
from llmguard.guard import Guard
from llmguard.identity import PersonChange
from tests.actions import staff


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A guard whose calls Ann is accountable for, with Bob to review them."""
    plain = Settings(data=tmp_path / "data", names=False)
    with Guard(plain) as guard:
        for email in (staff.ANN, staff.BOB):
            change = PersonChange(email, (identity.DEFAULT_GROUP,), True)
            guard.store.transact(lambda tx, c=change: identity.apply(tx, guard.vault, "default", c, staff.SETUP))

        def key(tx: Any) -> str:
            token, made = identity.new_key(tx, guard.vault, "job", staff.ANN)
            identity.apply(tx, guard.vault, "default", made, staff.SETUP)
            return token

        return replace(plain, key=guard.store.transact(key))


@pytest.fixture
def guard(settings: Settings) -> Iterator[Guard]:
    with Guard(settings) as opened:
        yield opened


@pytest.fixture
def customers(tmp_path: Path) -> Path:
    return staff.customers(tmp_path / "customers.db")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.csv"
