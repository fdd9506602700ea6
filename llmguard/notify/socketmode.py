"""Socket Mode: interactions of Slack over a WebSocket that we open, for guards that nobody reaches from outside.

The address of each connection comes from Slack's answer and has to be of the API's own domain. A connection that ends
is opened again, ever more slowly while that fails. It owns the connection, and what is answered on it; no act.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from llmguard.channels import Channel
from llmguard.errors import LLMGuardError
from llmguard.notify import callers, slack
from llmguard.notify.deliveries import pause_ms
from llmguard.notify.failure import Undelivered
from llmguard.notify.interactions import Interactions, Reply, follow_up
from llmguard.notify.outgoing import MAX_ANSWER, Outgoing, outgoing
from llmguard.store import Store

log = logging.getLogger("llmguard")
HEARTBEAT = 30.0
STEADY = 20.0
"""Seconds after which a connection was one: a server that takes it and hangs up is left alone ever longer, too."""
AT_ONCE = 8
"""Interactions that are worked on at a time."""


class SocketMode:
    """Serves the channels of one app. ``pause`` gives the milliseconds before a next try, by how many failed."""

    def __init__(
        self,
        store: Store,
        interactions: Interactions,
        channels: Sequence[Channel],
        pause: Callable[[int], int] = pause_ms,
    ) -> None:
        self._store = store
        self._interactions = interactions
        self._channels = tuple(channels)
        self._pause = pause
        self._room = asyncio.Semaphore(AT_ONCE)
        self._failures = 0

    async def run(self) -> None:
        """Until it is cancelled."""
        clock = asyncio.get_running_loop().time
        while True:
            began = clock()
            try:
                async with outgoing() as out:
                    await self._connected(out)
            except Undelivered as e:
                log.error("Socket Mode of %s: %s", self._channels[0].name, e.code)
            except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as e:
                log.error("Socket Mode of %s: %s", self._channels[0].name, type(e).__name__)
            self._failures = 0 if clock() - began >= STEADY else self._failures + 1
            await asyncio.sleep(self._pause(self._failures) / 1000 if self._failures else 0.5)

    async def _connected(self, out: Outgoing) -> None:
        """One connection, from its ticket to its end. Raises Undelivered, and what aiohttp raises."""
        first = self._channels[0]
        answer = await slack.call(out, first, "apps.connections.open", {}, token=first.app_token)
        url = answer.get("url")
        if not isinstance(url, str) or not ours(url, first.address):
            raise Undelivered("slack_foreign_socket")
        work: set[asyncio.Task[None]] = set()
        async with out.http.ws_connect(URL(url, encoded=True), heartbeat=HEARTBEAT, max_msg_size=MAX_ANSWER) as ws:
            try:
                await self._listen(ws, work)
            finally:
                for task in work:
                    task.cancel()

    async def _listen(self, ws: aiohttp.ClientWebSocketResponse, work: set[asyncio.Task[None]]) -> None:
        """Until either side ends it."""
        async for message in ws:
            if message.type is not aiohttp.WSMsgType.TEXT:
                return
            envelope = _object(message.data)
            if envelope.get("type") == "disconnect":
                await asyncio.gather(*work)
                return
            if isinstance(envelope.get("envelope_id"), str):
                await self._room.acquire()
                task = asyncio.create_task(self._answer(ws, envelope))
                work.add(task)
                task.add_done_callback(work.discard)

    async def _answer(self, ws: aiohttp.ClientWebSocketResponse, envelope: dict[str, Any]) -> None:
        try:
            reply = await self._acted(envelope)
            told = {"envelope_id": envelope["envelope_id"]}
            if reply.content is not None:
                told["payload"] = reply.content
            if not ws.closed:
                await ws.send_str(json.dumps(told))
            await follow_up(reply.then)
        except LLMGuardError as e:  # not acknowledged: Slack tells its user that it did not work
            log.error("Socket Mode of %s: an interaction was refused (%s)", self._channels[0].name, e.code)
        except (aiohttp.ClientError, OSError) as e:
            log.error("Socket Mode of %s: %s", self._channels[0].name, type(e).__name__)
        finally:
            self._room.release()

    async def _acted(self, envelope: dict[str, Any]) -> Reply:
        payload = envelope.get("payload")
        if not isinstance(payload, dict) or envelope.get("type") not in ("interactive", "slash_commands"):
            return Reply()  # events that the app was not asked to subscribe to
        mark = f"envelope {envelope['envelope_id']}"
        await asyncio.wrap_future(self._store.submit(lambda tx: callers.once(tx, mark)))
        if envelope["type"] == "slash_commands":
            return await self._interactions.command(payload, self._channels)
        return await self._interactions.interaction(payload, self._channels)


def ours(url: str, api: str) -> bool:
    """Whether a socket's address is of the API's own domain, and as secret as the API."""
    if not re.fullmatch("[!-~]{1,2000}", url):
        return False
    try:
        there, here = urlsplit(url), urlsplit(api)
    except ValueError:
        return False
    if there.username or here.hostname is None or there.hostname is None:
        return False
    if here.scheme == "http":  # on this machine
        return there.scheme == "ws" and there.hostname == here.hostname
    return there.scheme == "wss" and (there.hostname == here.hostname or there.hostname.endswith(f".{here.hostname}"))


def _object(text: str) -> dict[str, Any]:
    """Raises ValueError."""
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError from None
    if not isinstance(value, dict):
        raise ValueError
    return value
