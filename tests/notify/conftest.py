"""People, approvals, and somebody to tell."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from llmguard.channels import Channel
from llmguard.notify.worker import Worker
from tests.desks import TENANT, Desk
from tests.notify.counterparts import BOT, SIGNING, Counterpart

SECRET = "whsec_" + "QUJD" * 8
"""Made of letters alone: no real secret looks so."""


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path / "guard").staff()
    yield made
    made.store.close()


@pytest.fixture
def there() -> Iterator[Counterpart]:
    with Counterpart() as running:
        yield running


@pytest.fixture
def slack(there: Counterpart) -> Callable[..., Channel]:
    """A Slack channel at the counterpart."""

    def make(name: str = "reviews", **more: Any) -> Channel:
        fixed = {"url": there.api, "conversation": "C0000000001", "team": "T0000000001"}
        secrets = {"token": BOT, "signing_secret": SIGNING}
        return Channel(name, "slack", **{"notify_only_above": 100, **fixed, **secrets, **more})

    return make


@pytest.fixture
def hook(there: Counterpart) -> Callable[..., Channel]:
    def make(name: str = "siem", **more: Any) -> Channel:
        return Channel(name, "webhook", **{"url": f"{there.url}/hook", "token": SECRET, **more})

    return make


@pytest.fixture
def tell(desk: Desk) -> Callable[..., None]:
    """Delivers what is due to these channels, as a process of its own would."""

    def once(*channels: Channel, redact: Callable[[str], str] = lambda text: text) -> None:
        worker = Worker(desk.store, desk.vault, desk.approvals, channels, TENANT, redact)
        asyncio.run(worker.once())

    return once
