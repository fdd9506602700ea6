"""A running inbox with people; a browser without scripts, and Chromium."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from llmguard.store import wall_ms
from tests.desks import BO, Desk
from tests.inbox.chromium import Window, chromium
from tests.inbox.site import Site, Visitor, served


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path / "guard", wall_ms()).staff()
    yield made
    made.store.close()


@pytest.fixture
def site(desk: Desk) -> Iterator[Site]:
    with served(desk) as running:
        yield running


@pytest.fixture
def bo(site: Site) -> Iterator[Visitor]:
    """Bo, who reviews, in a browser without scripts."""
    made = site.browser(BO)
    yield made
    made.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture
def window(browser: Browser, site: Site) -> Iterator[Callable[..., Window]]:
    """Opens Chromium as somebody: ``window(BO)``; each window fails the test if its pages broke their own policy."""
    opened: list[Window] = []

    def open_(who: str | None = BO, **options: Any) -> Window:
        opened.append(Window(browser, site, who, **options))
        return opened[-1]

    yield open_
    for one in opened:
        one.close()
