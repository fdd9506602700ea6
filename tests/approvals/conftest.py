from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.desks import Desk


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A store with people in it."""
    made = Desk(tmp_path / "guard").staff()
    yield made
    made.store.close()
