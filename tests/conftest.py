"""Real parts through real seams: a guard on loopback before an upstream on loopback, state in a temporary folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from llmguard.config import Settings
from llmguard.testing import EchoUpstream, Fakes, LocalGuard

PROVIDER_KEY = "provider-key-of-the-test"


@pytest.fixture(scope="session")
def compiled_detectors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the detectors are compiled once for all tests and the processes that they start."""
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, compiled_detectors: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's configuration."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(compiled_detectors))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    monkeypatch.delenv("LLMGUARD_CONFIG", raising=False)


@pytest.fixture
def fakes() -> Fakes:
    return Fakes(7)


@pytest.fixture
def upstream() -> Iterator[EchoUpstream]:
    with EchoUpstream() as running:
        yield running


@pytest.fixture
def settings(tmp_path: Path, upstream: EchoUpstream) -> Settings:
    return Settings(
        data=tmp_path / "data",
        credentials=tmp_path / "config" / "credentials.json",
        upstream=upstream.url,
        upstream_name="echo",
        upstream_key=PROVIDER_KEY,
        port=0,
        control_port=0,
    )


@pytest.fixture
def local(settings: Settings) -> Iterator[LocalGuard]:
    with LocalGuard(settings) as running:
        yield running


@pytest.fixture
def local_with(settings: Settings) -> Iterator[Callable[..., LocalGuard]]:
    """Starts guards with changed settings; all stop at the end."""
    from contextlib import ExitStack
    from dataclasses import replace

    with ExitStack() as stack:

        def start(**changes: Any) -> LocalGuard:
            return stack.enter_context(LocalGuard(replace(settings, **changes)))

        yield start
