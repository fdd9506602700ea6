"""The planes of an open guard, and what runs beside: checkpoints, the sweep of approvals, renewals, notifications, the
names model.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from llmguard import audit
from llmguard.errors import LLMGuardError
from llmguard.guard import Guard
from llmguard.identity import oidc
from llmguard.notify.worker import Worker
from llmguard.proxy.control import Bench, Detectors, Pages, control_app, repeats
from llmguard.proxy.data import DataPlane
from llmguard.proxy.front import Plane
from llmguard.proxy.renewal import Renewals
from llmguard.proxy.upstream import session

log = logging.getLogger("llmguard")
WARM_AFTER = 0.2
"""Seconds after which the names model loads: the first answers of a starting server come before it."""
REREAD = 1.0
"""Seconds between looks at the policy file; it is read once it has stayed the same for as long."""
SWEEP = 15
"""Seconds between looks for approvals whose time is over."""


@contextlib.asynccontextmanager
async def planes(guard: Guard, pages: Pages | None = None, setup: str = "") -> AsyncIterator[tuple[Plane, Plane]]:
    """The ASGI applications of the data plane and of the control plane with its ``pages``, while the block runs.

    ``setup``: the token that makes the first person.
    """
    renewals = Renewals(guard.store, guard.vault, oidc.providers(guard.settings), guard.settings.membership_ttl)
    works = _sweep(guard), _reread(guard), renewals.run(), _worker(guard).run()
    beside = [asyncio.ensure_future(work) for work in works]
    checkpoints = audit.Checkpointer(
        guard.store,
        guard.vault.keyring,
        guard.origin,
        guard.settings.checkpoint_folder,
        interval=guard.settings.checkpoint_every,
    )
    asyncio.get_running_loop().call_later(WARM_AFTER, guard.scanner.warm)
    try:
        async with session(guard.settings) as http:
            with checkpoints:
                control = control_app(
                    *(guard.store, guard.vault, guard.approvals, guard.settings),
                    revise=guard.revise,
                    decide=guard.decide_records,
                    room=guard.room,
                    pages=pages,
                    setup=setup,
                    detectors=Detectors(guard.scanner.types, guard.sight),
                    bench=Bench(guard.scanner, lambda: guard.kit.policy, guard.settings.destination),
                    file=guard.file,
                )
                yield DataPlane(guard, http), control
    finally:
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)


def _worker(guard: Guard) -> Worker:
    """What carries the outbox to the channels."""
    settings = guard.settings
    return Worker(
        *(guard.store, guard.vault, guard.approvals, settings.channels, settings.tenant),
        redact=lambda text: guard.redact(text).text,
    )


async def _reread(guard: Guard) -> None:
    """A changed policy file is taken while the guard runs: as pending, unless nobody else has to approve it."""
    taken = guard.file.policy.version
    while True:
        await asyncio.sleep(REREAD)
        try:
            await asyncio.to_thread(guard.file.look)
            if guard.file.policy.version != taken:
                await asyncio.to_thread(guard.reload)
                taken = guard.file.policy.version
        except LLMGuardError as e:
            log.error("the policy file was not taken, and is tried again: %s", e.code)


async def _sweep(guard: Guard) -> None:
    """Approvals expire by time also when nobody asks for them."""
    while True:
        await asyncio.sleep(SWEEP)
        try:
            await asyncio.to_thread(guard.sweep)
            await asyncio.wrap_future(guard.store.submit(repeats.forget))
        except LLMGuardError as e:
            log.error("approvals were not swept: %s", e.code)
