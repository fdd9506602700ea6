from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from llmguard.testing import EchoUpstream, LocalGuard
from tests.abuse.offices import HOLD, Office
from tests.desks import Desk, Plane, control_plane


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A store with people in it."""
    made = Desk(tmp_path / "guard").staff()
    yield made
    made.store.close()


@pytest.fixture
def plane(desk: Desk) -> Iterator[Plane]:
    """A control plane over it."""
    with control_plane(desk) as running:
        yield running


@pytest.fixture
def office_with(local_with: Callable[..., LocalGuard], upstream: EchoUpstream) -> Callable[..., Office]:
    """A whole guard that holds every call, with people, before an upstream that counts."""

    def open_(**settings: Any) -> Office:
        return Office(local_with(**{"rules": HOLD, "names": False, "hold": "ticket", **settings}), upstream)

    return open_


@pytest.fixture
def office(office_with: Callable[..., Office]) -> Office:
    return office_with()
