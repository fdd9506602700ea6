"""What a live view follows: the queue, as the control plane's long poll tells it, and the login it is asked with.

It owns patience: a control plane that is gone is asked again, ever more slowly; a session that is over is waited for,
and never replaced by somebody else's. ``follow`` prints a line for each change, for pipes; ``live`` shows a screen.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import click

from llmguard.cli.client import LONGEST_WAIT, ControlClient, read_credentials
from llmguard.cli.screen import visible
from llmguard.cli.sheet import title, who
from llmguard.cli.times import moment
from llmguard.config import Settings
from llmguard.errors import Conflict, GuardUnavailable, LLMGuardError, NotFound, Unauthenticated

MOST = 200
"""Approvals of a queue; those behind them come up as these are decided."""
_LEAST, _LONGEST = 1.0, 30.0
"""Seconds until a control plane that is gone is asked again."""
_FLOOR = 0.2
"""Seconds between two answers at least, however fast things change."""


class Link:
    """The stored login as a client, also after the same person logged in anew. For several threads, until it ends."""

    def __init__(self, settings: Settings) -> None:
        """Raises Unauthenticated if nobody is logged in."""
        self._settings = settings
        self._lock = threading.Lock()
        first = read_credentials(settings.credentials)
        if first is None:
            raise Unauthenticated("llmguard login first: llmguard login --code CODE")
        self._held = first
        self._client = ControlClient(first.url, first.token)
        self._opened = [self._client]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for client in self._opened:
            client.__exit__(kind, error, at)

    @property
    def email(self) -> str:
        return self._held.email

    def client(self) -> ControlClient:
        """Raises Unauthenticated without a login, Conflict if it is somebody else's by now."""
        with self._lock:
            found = read_credentials(self._settings.credentials)
            if found is None:
                raise Unauthenticated("you are logged out: llmguard login")
            if (found.email, found.url) != (self._held.email, self._held.url):
                raise Conflict("somebody else is logged in by now: end this and start it again")
            if found.token != self._held.token:
                self._held, self._client = found, ControlClient(found.url, found.token)
                self._opened.append(self._client)
            return self._client


@dataclass(frozen=True, slots=True)
class Listed:
    """What waits, newest first. ``more``: there is more than ``MOST``."""

    rows: tuple[dict[str, Any], ...]
    more: bool


@dataclass(frozen=True, slots=True)
class Down:
    """Nobody answers; the next try is in ``pause`` seconds. ``over``: it is the login that does not count any more."""

    message: str
    pause: float
    over: bool = False


def feed(link: Link, sleep: Callable[[float], object] = time.sleep) -> Iterator[Listed | Down]:
    """For ever: the queue whenever it changes, and what is wrong. Raises what no patience mends."""
    etag: str | None = None
    pause = _LEAST
    while True:
        begun = time.monotonic()
        try:
            wait = None if etag is None else LONGEST_WAIT
            page, etag = link.client().poll("/approvals", etag, state="PENDING", limit=MOST, wait=wait)
        except (GuardUnavailable, Unauthenticated) as e:
            yield Down(e.message, pause, isinstance(e, Unauthenticated))
            sleep(pause)
            pause, etag = min(pause * 2, _LONGEST), None
            continue
        pause = _LEAST
        if page is not None:
            yield Listed(tuple(page["approvals"]), page["next"] is not None)
        sleep(max(0.0, _FLOOR - (time.monotonic() - begun)))


# --------------------------------------------------------------------------- lines for pipes


def follow(settings: Settings, as_json: bool) -> None:
    """A line for each approval that begins to wait, changes, or is decided.

    Raises Unauthenticated when the session ends.
    """
    known: dict[str, dict[str, Any]] = {}
    gone = False
    with Link(settings) as link:
        for event in feed(link):
            if isinstance(event, Listed):
                gone = False
                for row in _changed(link, known, event):
                    click.echo(json.dumps(row) if as_json else _line(row))
            elif event.over:
                raise Unauthenticated(event.message)
            elif not gone:
                gone = True
                click.echo(f"llmguard: {event.message}; trying again", err=True)


def _changed(link: Link, known: dict[str, dict[str, Any]], event: Listed) -> list[dict[str, Any]]:
    """What is not as it was, oldest first; ``known`` is brought up to date."""
    rows = {str(row["id"]): row for row in event.rows}
    changed = [row for id_, row in rows.items() if known.get(id_) != row]
    for id_ in known.keys() - rows.keys():
        ended = _ended(link, id_)
        if ended is not None and ended["state"] != "PENDING":
            changed.append(ended)
    known.clear()
    known.update(rows)
    return sorted(changed, key=lambda row: (row["updated"], row["id"]))


def _ended(link: Link, id_: str) -> dict[str, Any] | None:
    try:
        full: dict[str, Any] = link.client().get(f"/approvals/{id_}")
    except NotFound:
        return None  # it is not this person's to see any more
    except LLMGuardError as e:
        click.echo(f"llmguard: {visible(id_)} does not wait any more; {e.message}", err=True)
        return None
    return {name: value for name, value in full.items() if name not in ("egress", "changes", "proposal")}


def _line(row: dict[str, Any]) -> str:
    risk = f"risk {int(row['risk']['inherent'])} → {int(row['risk']['residual'])}"
    wanted = f"{int(row['missing'])} missing" if row["state"] == "PENDING" else f"version {int(row['version'])}"
    words = (title(row), visible(f"to {row['destination']}"), visible(f"for {who(row)}"), risk, wanted)
    return f"{moment(row['updated'])}  {'  '.join(words)}"
