"""People before a running control plane."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from llmguard.cli.client import Credentials, write_credentials
from llmguard.store import wall_ms
from tests.desks import Desk, Plane, Shell, control_plane


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path / "guard", wall_ms()).staff()
    yield made
    made.store.close()


@pytest.fixture
def plane(desk: Desk) -> Iterator[Plane]:
    with control_plane(desk) as running:
        yield running


@pytest.fixture
def shell(plane: Plane, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[[str], Shell]:
    def of(email: str) -> Shell:
        made = Shell(tmp_path / email, plane.url, capsys)
        write_credentials(made.credentials, Credentials(plane.url, email, plane.desk.session(email), 0))
        return made

    return of
