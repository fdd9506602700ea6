"""Polls: people who wait for news of approvals. Hundreds of them cost one look at the log's end a moment.

It owns one task, which lives while somebody waits, and reads what was logged since its last look: there is no change of
an approval without its entry, whichever process wrote it. It decides nothing: whoever is woken looks for himself.
Invariant: nobody waits on after their client hung up, after their time, or when the guard stops.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from starlette.requests import Request

from llmguard import audit
from llmguard.errors import LLMGuardError, TooManyAttempts
from llmguard.identity import Person
from llmguard.store import Store, Transaction

T = TypeVar("T")
log = logging.getLogger("llmguard")
PERIOD = 0.25
"""Seconds between looks."""
EACH, MOST = 32, 2000
"""How many polls of one person, and of everybody, wait at once."""
_NEWS = """
SELECT DISTINCT tenant, json_extract(CAST(leaf AS TEXT), '$.details.approval') AS approval
FROM audit_entries WHERE idx >= ? AND idx < ? AND kind >= 'approval.' AND kind < 'approval/'
"""


@dataclass(slots=True, eq=False)
class _Waiter:
    who: Person
    approval: str | None
    news: asyncio.Event = field(default_factory=asyncio.Event)


class Polls:
    """The long polls of one control plane. ``closed`` says that the guard stops."""

    def __init__(self, store: Store, closed: Callable[[], bool] = lambda: False) -> None:
        self._store = store
        self._closed = closed
        self._waiters: set[_Waiter] = set()
        self._looking: asyncio.Task[None] | None = None
        self._begun = asyncio.Event()
        self._seen: int | None = None

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiters)

    async def until(
        self,
        request: Request,
        who: Person,
        approval: str | None,
        seconds: float,
        look: Callable[[], Awaitable[T | None]],
    ) -> T | None:
        """What ``look`` finds, at once or once something happened to ``approval`` (None: to any of the tenant's).

        None if it found nothing for ``seconds``, the client hung up or the guard stops. Raises TooManyAttempts.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        async with self._waiting(who, approval) as waiter:
            gone = asyncio.ensure_future(_hung_up(request))
            try:
                while True:
                    waiter.news.clear()
                    found = await look()
                    if found is not None or gone.done() or self._closed() or loop.time() >= end:
                        return found
                    await self._news(waiter, gone, end - loop.time())
            finally:
                gone.cancel()

    async def _news(self, waiter: _Waiter, gone: asyncio.Future[None], seconds: float) -> None:
        news = asyncio.ensure_future(waiter.news.wait())
        try:
            await asyncio.wait((news, gone), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            news.cancel()

    @contextlib.asynccontextmanager
    async def _waiting(self, who: Person, approval: str | None) -> AsyncIterator[_Waiter]:
        of = Counter((w.who.tenant, w.who.email) for w in self._waiters)
        if of[(who.tenant, who.email)] >= EACH or of.total() >= MOST:
            raise TooManyAttempts("too many requests of yours wait already: let one of them end first")
        waiter = _Waiter(who, approval)
        self._waiters.add(waiter)
        try:
            if self._looking is None or self._looking.done():
                self._begun = asyncio.Event()
                self._looking = asyncio.ensure_future(self._look(self._begun))
            await self._begun.wait()
            yield waiter
        finally:
            self._waiters.discard(waiter)

    async def _look(self, begun: asyncio.Event) -> None:
        """Until nobody waits any more. What happens after ``begun`` is not missed."""
        self._seen = None
        while self._waiters:
            touched: set[tuple[str, str | None]] = set()
            try:
                touched, self._seen = await asyncio.to_thread(self._store.read, self._logged)
            except LLMGuardError as e:  # whoever waits does so until their own time is over
                log.error("approvals that people wait for were not looked at: %s", e.code)
            begun.set()
            for waiter in self._waiters:
                if self._closed() or (waiter.who.tenant, waiter.approval) in touched:
                    waiter.news.set()
            await asyncio.sleep(PERIOD)

    def _logged(self, tx: Transaction) -> tuple[set[tuple[str, str | None]], int]:
        """Approvals, and tenants of approvals, that something happened to since the last look."""
        size = audit.size(tx)
        start = size if self._seen is None else self._seen
        rows = tx.all(_NEWS, start, size) if size > start else []
        touched: set[tuple[str, str | None]] = {(row["tenant"], row["approval"]) for row in rows}
        return touched | {(tenant, None) for tenant, _ in touched}, size


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
