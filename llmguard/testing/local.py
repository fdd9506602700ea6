"""A whole guard on loopback, both planes, in a thread of this process: what ``llmguard serve`` runs."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from llmguard import identity
from llmguard.config import Settings
from llmguard.guard import Guard
from llmguard.identity import Cause, PersonChange
from llmguard.proxy.serve import listener, running
from llmguard.store import Transaction

_SETUP = Cause(identity.OPERATOR, bootstrap=True)


class LocalGuard:
    """``with LocalGuard(settings) as local: local.url, local.control_url, local.key("ci", "ann@…")``."""

    def __init__(self, settings: Settings) -> None:
        self._sockets = listener("127.0.0.1", settings.port), listener("127.0.0.1", settings.control_port)
        self.port, self.control_port = (s.getsockname()[1] for s in self._sockets)
        self.settings = replace(
            settings, host="127.0.0.1", port=self.port, control_port=self.control_port, control_url=self.control_url
        )
        try:
            self.guard = Guard(self.settings, advisory=False)
        except BaseException:
            for listening in self._sockets:
                listening.close()
            raise
        self._thread = threading.Thread(target=self._run, name="local-guard", daemon=True)
        self._started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    @property
    def url(self) -> str:
        """Base URL for a client of the data plane, with ``/v1``."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def control_url(self) -> str:
        return f"http://127.0.0.1:{self.control_port}"

    def __enter__(self) -> LocalGuard:
        self._thread.start()
        self._started.result(20)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends what runs, after a last checkpoint. Idempotent."""
        if self._thread.is_alive():
            loop, stop = self._started.result()
            loop.call_soon_threadsafe(stop.set)
            self._thread.join(20)
        self.guard.close()

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        try:
            from llmguard.inbox import inbox

            async with running(lambda: self.guard, *self._sockets, inbox) as (_, stop):
                self._started.set_result((asyncio.get_running_loop(), stop))
                await stop.wait()
        except BaseException as e:
            if not self._started.done():
                self._started.set_exception(e)
            raise

    # ----------------------------------------------------------------- people and keys, as the host's operator

    def person(self, email: str, *groups: str) -> str:
        """Adds an active person; returns a one-time code for their login."""
        vault, tenant = self.guard.vault, self.settings.tenant
        change = PersonChange(email, groups or (identity.DEFAULT_GROUP,), True)
        self.guard.store.transact(lambda tx: identity.apply(tx, vault, tenant, change, _SETUP))
        return self.guard.store.transact(lambda tx: identity.issue_code(tx, vault, tenant, email, _SETUP))

    def key(self, name: str, human: str | None = None, **limits: Any) -> str:
        """A new ``lg_`` key that ``human`` is accountable for. ``limits`` as for ``identity.new_key``."""
        vault, tenant = self.guard.vault, self.settings.tenant

        def work(tx: Transaction) -> str:
            token, change = identity.new_key(tx, vault, name, human, **limits)
            identity.apply(tx, vault, tenant, change, _SETUP)
            return token

        return self.guard.store.transact(work)
