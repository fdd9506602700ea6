"""Waiting: a room for calls that wait for people, so that hundreds of them cost one query a moment.

It owns one thread, which lives while somebody waits and looks for all of them at once; a decision that another process
stored is found the same way. It decides nothing: whoever is woken looks for himself. Invariant: a waiter is woken when
his approval is not what he saw any more, when its time is over, or when the room closes.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import weakref
from collections import Counter
from concurrent.futures import Future

from llmguard.errors import GuardUnavailable, LLMGuardError
from llmguard.model import Approval
from llmguard.store import Store, Transaction

log = logging.getLogger("llmguard")
PERIOD = 0.25
"""Seconds between looks."""
_CHANGED = """
SELECT w.value ->> 0 AS waiter FROM json_each(?) w
LEFT JOIN approvals a ON a.tenant = w.value ->> 1 AND a.id = w.value ->> 2
WHERE a.version IS NOT w.value ->> 3 OR (a.state = 'PENDING' AND a.expires <= ?)
"""


class WaitingRoom:
    """``enter`` with the approval as it was seen; the future resolves when there is news, or fails at the end."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._closed = False
        self._reset()
        _rooms.add(self)

    def _reset(self) -> None:
        """Also in a forked child, where neither the thread nor anybody who waited exists."""
        self._lock = threading.Lock()
        self._waiters: dict[int, tuple[Approval, Future[None]]] = {}
        self._over = threading.Event()
        self._looking = False

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiters)

    @property
    def closed(self) -> bool:
        return self._closed

    def enter(self, approval: Approval) -> Future[None]:
        """Raises GuardUnavailable once the room is closed."""
        news: Future[None] = Future()
        with self._lock:
            if self._closed:
                raise _closing()
            self._waiters[id(news)] = (approval, news)
            if not self._looking:
                self._looking = True
                threading.Thread(target=self._look, name="llmguard-waiting", daemon=True).start()
        return news

    def leave(self, news: Future[None]) -> None:
        """Whoever entered leaves, with news or without. Idempotent."""
        with self._lock:
            self._waiters.pop(id(news), None)

    def others(self, approval: Approval) -> bool:
        """Whether somebody in this process waits for the same approval."""
        with self._lock:
            seen = Counter((a.tenant, a.id) for a, _ in self._waiters.values())
        return seen[(approval.tenant, approval.id)] > 0

    def close(self) -> None:
        """Sends everybody away with GuardUnavailable, now and later. Their approvals stay."""
        with self._lock:
            self._closed = True
            waiting, self._waiters = list(self._waiters.values()), {}
            self._over.set()
        for _, news in waiting:
            _tell(news, _closing())

    def _look(self) -> None:
        """Until nobody waits any more."""
        over = self._over
        while True:
            over.wait(PERIOD)
            with self._lock:
                waiting = dict(self._waiters)
                if not waiting:
                    self._looking = False
                    return
            try:
                changed = self._store.read(lambda tx, w=waiting: _changed(tx, w))  # type: ignore[misc]
            except LLMGuardError as e:  # whoever waits does so until his own time is over; nothing leaves
                log.error("approvals that calls wait for were not looked at: %s", e.code)
                continue
            with self._lock:
                told = [self._waiters.pop(number) for number in changed if number in self._waiters]
            for _, news in told:
                _tell(news)


def _changed(tx: Transaction, waiting: dict[int, tuple[Approval, Future[None]]]) -> list[int]:
    seen = json.dumps([[number, a.tenant, a.id, a.version] for number, (a, _) in waiting.items()])
    return [row["waiter"] for row in tx.all(_CHANGED, seen, tx.now)]


def _tell(news: Future[None], error: Exception | None = None) -> None:
    if not news.set_running_or_notify_cancel():
        return
    if error is not None:
        news.set_exception(error)
    else:
        news.set_result(None)


def _closing() -> GuardUnavailable:
    return GuardUnavailable("the guard stops; the approval stays, and the same request, sent again, joins it")


_rooms: weakref.WeakSet[WaitingRoom] = weakref.WeakSet()


def _after_fork() -> None:
    for room in list(_rooms):
        room._reset()


os.register_at_fork(after_in_child=_after_fork)
