"""Units of work of the control plane: each request is one, and begins with the session of its person.

So a person who was deactivated a moment ago does nothing more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from llmguard import identity
from llmguard.approvals import Approvals, view
from llmguard.identity import Person
from llmguard.model import Approval
from llmguard.proxy.control import http
from llmguard.store import Store, Transaction
from llmguard.vault import Vault

T = TypeVar("T")
Table = Sequence[tuple[str, str, Callable[[Request], Awaitable[Response]]]]
"""Method, path below ``/guard/v1``, endpoint."""


class Units:
    """Looks and acts as the person of a session."""

    def __init__(self, store: Store, vault: Vault, approvals: Approvals) -> None:
        self.store = store
        self.vault = vault
        self.approvals = approvals

    async def look(self, request: Request, work: Callable[[Transaction, Person], T]) -> T:
        """Runs ``work`` on a snapshot, as the person of the session."""
        token = http.bearer(request)
        return await asyncio.to_thread(self.store.read, lambda tx: work(tx, identity.session(tx, self.vault, token)))

    async def act(self, request: Request, work: Callable[[Transaction, Person], T]) -> T:
        """Runs ``work`` as one unit of work that begins with the session, and waits until it is on the disk."""
        token = http.bearer(request)
        future = self.store.submit(lambda tx: work(tx, identity.session(tx, self.vault, token)), durable=True)
        return await asyncio.wrap_future(future)

    def summary(self, tx: Transaction, who: Person, approval: Approval) -> dict[str, Any]:
        """An approval as one row of a list."""
        return view.summary(tx, self.approvals, approval, view.names(tx, self.vault, who.tenant))
