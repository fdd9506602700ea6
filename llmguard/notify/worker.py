"""Worker: takes what was announced to the channels that hear it, beside the traffic. Several processes may do so.

One task for each channel: one that is slow or down delays itself alone. Nothing of it holds a call up, and no failure
of it decides anything. Invariant: what is told is read from the approval at the moment of telling.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from llmguard import audit
from llmguard.approvals import Approvals
from llmguard.channels import CALLS, Channel
from llmguard.errors import GuardUnavailable, LLMGuardError, NotFound
from llmguard.model import Approval, AuditEntry, new_id, window
from llmguard.notify import deliveries
from llmguard.notify.card import card
from llmguard.notify.deliveries import URGENT, Delivery
from llmguard.notify.excerpt import Redact, excerpt
from llmguard.notify.failure import Undelivered
from llmguard.notify.interactions import Interactions
from llmguard.notify.mail import Mail
from llmguard.notify.message import Message, Sender
from llmguard.notify.outgoing import Outgoing, outgoing
from llmguard.notify.quiet import quiet_until
from llmguard.notify.slack import Slack
from llmguard.notify.socketmode import SocketMode
from llmguard.notify.teams import Teams
from llmguard.notify.webhook import Webhook
from llmguard.store import Store, Transaction, wall_ms
from llmguard.vault import Vault

log = logging.getLogger("llmguard")
T = TypeVar("T")
EXCERPTED = 256 * 1024
"""Bytes of what leaves that an excerpt is made from."""
PERIOD = 0.5
"""Seconds between looks."""
TIDY = 3600.0
"""Seconds between looks for what is old."""
SENDERS: Mapping[str, Callable[[Channel], Sender]] = {"slack": Slack, "teams": Teams, "webhook": Webhook, "email": Mail}


_ASKING = ("pending", "reminder", "escalated")
"""Events that are no news once it is decided."""


@dataclass(frozen=True, slots=True)
class Found:
    """A message, and what leaves if the channel is to see a piece of it."""

    message: Message
    leaves: bytes = field(repr=False)


class Worker:
    """Serves the ``channels`` of one installation. ``redact``: for excerpts, the guard's own."""

    def __init__(
        self,
        store: Store,
        vault: Vault,
        approvals: Approvals,
        channels: Sequence[Channel],
        tenant: str,
        redact: Redact,
    ) -> None:
        self._store = store
        self._vault = vault
        self._approvals = approvals
        self._tenant = tenant
        self._redact = redact
        self._channels = usable(channels)
        self._senders = {c.name: SENDERS[c.kind](c) for c in self._channels}
        self._owner = new_id(wall_ms())

    async def run(self) -> None:
        """Until it is cancelled."""
        async with outgoing() as out, asyncio.TaskGroup() as tasks:
            tasks.create_task(self._announcing())
            tasks.create_task(self._tidying())
            for channel in self._channels:
                tasks.create_task(self._serving(out, channel))
            for served in self._sockets():
                tasks.create_task(served.run())

    def _sockets(self) -> list[SocketMode]:
        """One for each app."""
        apps: dict[str, list[Channel]] = {}
        for channel in self._channels:
            if channel.socket:
                apps.setdefault(channel.app_token or "", []).append(channel)
        acts = Interactions(self._store, self._vault, self._approvals, self._tenant)
        return [SocketMode(self._store, acts, channels) for channels in apps.values()]

    async def once(self) -> None:
        """Takes and delivers what is due at this moment."""
        while await self._fanned_out():
            pass
        async with outgoing() as out:
            for channel in self._channels:
                await self._served(out, channel)

    # ----------------------------------------------------------------- loops

    async def _announcing(self) -> None:
        while True:
            if not await self._unless_down(self._fanned_out):
                await asyncio.sleep(PERIOD)

    async def _serving(self, out: Outgoing, channel: Channel) -> None:
        while True:
            await asyncio.sleep(PERIOD)
            await self._unless_down(lambda: self._served(out, channel))

    async def _tidying(self) -> None:
        while True:
            await self._unless_down(lambda: self._write(deliveries.forget))
            await asyncio.sleep(TIDY)

    async def _unless_down(self, work: Callable[[], Any]) -> Any:
        """The store may be away for a while: what is not done now is done later."""
        try:
            return await work()
        except LLMGuardError as e:
            log.error("notifications wait: %s", e.code)
        except Exception as e:  # noqa: BLE001  a driver: what breaks one channel must not end the others
            log.error("notifications failed: %s", type(e).__name__)
        await asyncio.sleep(PERIOD * 10)
        return None

    async def _fanned_out(self) -> int:
        if not await asyncio.to_thread(self._store.read, deliveries.news):
            return 0
        return await self._write(lambda tx: deliveries.fan_out(tx, self._vault, self._tenant, self._channels))

    # ----------------------------------------------------------------- one channel

    async def _served(self, out: Outgoing, channel: Channel) -> None:
        """What is due there, while nobody else serves it."""
        name, owner = channel.name, self._owner
        if not await asyncio.to_thread(self._store.read, lambda tx: deliveries.due(tx, self._tenant, name)):
            return
        while batch := await self._write(lambda tx: deliveries.claim(tx, self._tenant, name, owner)):
            try:
                for delivery in batch:
                    if not await self._settled(out, channel, delivery):
                        return
            finally:
                await self._write(lambda tx: deliveries.release(tx, self._tenant, name, owner))
        await self._write(lambda tx: deliveries.release(tx, self._tenant, name, owner))

    async def _settled(self, out: Outgoing, channel: Channel, d: Delivery) -> bool:
        """Whether the channel can take another."""
        found = await asyncio.to_thread(self._store.read, lambda tx: self._found(tx, channel, d))
        if isinstance(found, int):
            await self._write(lambda tx: deliveries.put_off(tx, d, found))
            return True
        failure, kept = None, ""
        try:
            if found is not None:
                message = await self._with_excerpt(channel, d, found)
                kept = await self._senders[channel.name].deliver(out, message)
        except Undelivered as e:
            failure = e
        except LLMGuardError:
            raise
        except Exception as e:  # noqa: BLE001  a driver: what one message breaks must not end the channel
            failure = Undelivered(f"internal_{type(e).__name__}", permanent=True)
        if failure is not None:
            log.error("the channel %s did not take approval %s: %s", channel.name, d.approval, failure.code)

        def work(tx: Transaction) -> bool:
            if channel.kind == "slack" and failure is None and found is not None:
                deliveries.keep_message(tx, d, kept)
            return deliveries.settle(tx, d, self._owner, failure)

        return bool(await self._write(work))

    def _found(self, tx: Transaction, channel: Channel, d: Delivery) -> Found | int | None:
        """What to tell. None: nothing any more; a number: when it is not quiet any more (UTC ms)."""
        try:
            approval = self._approvals.get(tx, d.tenant, d.approval)
        except (NotFound, GuardUnavailable):  # erased, or altered in the database
            return None
        former, over = deliveries.message_of(tx, d), approval.expires <= tx.now
        event = approval.state.lower() if d.topic.startswith("card:") else d.kind
        stale = event in _ASKING and (approval.state != "PENDING" or over)
        call = event in channel.hears and not stale
        if channel.kind != "webhook" and not call and not former:
            return None
        silent = not call or (former and event not in CALLS[1:])  # a card that changes calls nobody
        if not silent and event not in URGENT and (until := quiet_until(channel, tx.now)):
            return until
        title = event if event in CALLS[1:] else ""
        told = card(tx, self._vault, self._approvals, approval, channel, title)
        leaves = self._leaves(tx, approval) if channel.excerpts and told.open else b""
        return Found(Message(d.event, event, told, d.body, d.created, former, call), leaves)

    def _leaves(self, tx: Transaction, approval: Approval) -> bytes:
        try:
            return window(self._approvals.egress(tx, approval).body, 0, EXCERPTED)
        except NotFound:
            return b""

    async def _with_excerpt(self, channel: Channel, d: Delivery, found: Found) -> Message:
        """The message, with what a channel is set to receive of the call; that is in the log before it leaves."""
        made = await asyncio.to_thread(excerpt, self._redact, found.leaves) if found.leaves else ""
        if not made:
            return found.message
        details = {"approval": d.approval, "channel": channel.name, "event": d.kind}
        await self._write(lambda tx: audit.append(tx, [AuditEntry("notification.excerpt", d.tenant, details)]))
        return replace(found.message, card=replace(found.message.card, excerpt=made))

    async def _write(self, work: Callable[[Transaction], T]) -> T:
        return await asyncio.wrap_future(self._store.submit(work))


def usable(channels: Sequence[Channel]) -> tuple[Channel, ...]:
    """Those whose secrets are there; the log names what the others lack."""
    for channel in channels:
        if channel.missing:
            log.error("the channel %s is not used: set %s", channel.name, ", ".join(channel.missing))
    return tuple(c for c in channels if not c.missing)
