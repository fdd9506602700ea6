"""A running control plane with people and approvals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.desks import Desk, Plane, control_plane


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path / "guard").staff()
    yield made
    made.store.close()


@pytest.fixture
def plane(desk: Desk) -> Iterator[Plane]:
    with control_plane(desk) as running:
        yield running
