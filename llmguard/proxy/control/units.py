"""Units of work of the control plane: each request is one, and begins with the session of its person.

So a person who was deactivated a moment ago does nothing more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from llmguard import identity
from llmguard.approvals import Approvals, view
from llmguard.identity import Person, Session
from llmguard.model import Approval
from llmguard.proxy.control import http
from llmguard.proxy.control.endpoints import Endpoint, as_json
from llmguard.proxy.control.repeats import Repeatable
from llmguard.store import Store, Transaction
from llmguard.vault import Vault

T = TypeVar("T")
Table = Sequence[Endpoint]


@dataclass(frozen=True, slots=True)
class Done:
    """How an act is answered."""

    content: Any
    status: int = 200


class Units:
    """Looks and acts as the person of a session."""

    def __init__(self, store: Store, vault: Vault, approvals: Approvals) -> None:
        self.store = store
        self.vault = vault
        self.approvals = approvals

    async def admit(self, request: Request) -> Session:
        """Whoever has no session is told nothing else, nor read any further. Raises Unauthenticated."""
        return await self.look_in_session(request, lambda _, session: session)

    async def look(self, request: Request, work: Callable[[Transaction, Person], T]) -> T:
        """Runs ``work`` on a snapshot, as the person of the session."""
        return await self.look_in_session(request, lambda tx, session: work(tx, session.person))

    async def look_in_session(self, request: Request, work: Callable[[Transaction, Session], T]) -> T:
        """As ``look``, for work that asks how, and how long ago, the person logged in."""
        token = http.bearer(request)

        def looked(tx: Transaction) -> tuple[T, bool]:
            session = identity.session(tx, self.vault, token)
            return work(tx, session), session.seen + identity.TOUCH_MS <= tx.now

        result, used = await asyncio.to_thread(self.store.read, looked)
        if used and request.headers.get(http.BACKGROUND) != "1":
            # an idle session ends; nobody waits for the note that this one is not
            self.store.submit(lambda tx: identity.touch(tx, self.vault, token))
        return result

    async def show(self, request: Request, work: Callable[[Transaction, Person], Any]) -> bytes:
        """What ``work`` finds, as JSON that is written beside the event loop."""
        return await self.look(request, lambda tx, who: as_json(work(tx, who)))

    async def act(self, request: Request, work: Callable[[Transaction, Person], T]) -> T:
        """Runs ``work`` as one unit of work that begins with the session, and waits until it is on the disk."""
        return await self.act_in_session(request, lambda tx, session: work(tx, session.person))

    async def act_in_session(self, request: Request, work: Callable[[Transaction, Session], T]) -> T:
        """As ``act``, for work that asks how, and how long ago, the person logged in."""
        token = http.bearer(request)

        def acted(tx: Transaction) -> T:
            session = identity.session(tx, self.vault, token)
            identity.touch(tx, self.vault, token)
            return work(tx, session)

        return await asyncio.wrap_future(self.store.submit(acted, durable=True))

    async def act_once(self, request: Request, work: Callable[[Transaction, Session], Done]) -> Response:
        """As ``act``; sent again under its ``Idempotency-Key``, it is answered the same and nothing happens."""

        def once(tx: Transaction, session: Session) -> tuple[int, bytes]:
            who = session.person
            repeatable = Repeatable.of(self.vault, who.tenant, request, request.state.received)
            if repeatable and (before := repeatable.answered(tx, self.vault, who)):
                return before
            done = work(tx, session)
            answer = as_json(done.content)
            if repeatable:
                repeatable.keep(tx, self.vault, who, done.status, answer)
            return done.status, answer

        return http.json(*await self.act_in_session(request, once))

    def summary(self, tx: Transaction, approval: Approval) -> dict[str, Any]:
        """An approval as one row of a list."""
        return view.summary(tx, self.approvals, approval, view.names(tx, self.vault, [approval]))

    def proposed(self, tx: Transaction, approval: Approval | None, **more: Any) -> Done:
        """A change that took effect at once (None), or waits for somebody else."""
        shown = None if approval is None else self.summary(tx, approval)
        return Done({"applied": approval is None, "approval": shown, **more}, 200 if approval is None else 202)
