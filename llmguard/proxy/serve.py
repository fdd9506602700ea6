"""``llmguard serve``: both planes in one process and one event loop, checkpoints beside them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import uvicorn

from llmguard import audit
from llmguard.config import Settings
from llmguard.errors import ConfigError, LLMGuardError
from llmguard.guard import Guard
from llmguard.proxy.control import control_app
from llmguard.proxy.data import DataPlane
from llmguard.proxy.upstream import session

log = logging.getLogger("llmguard")
DRAIN = 10
"""Seconds that running answers get when the server stops."""
SWEEP = 15
"""Seconds between looks for approvals whose time is over."""


class _Server(uvicorn.Server):
    """A uvicorn server whose signals are ours: two of them share a process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


def listener(host: str, port: int) -> socket.socket:
    """A listening socket: who connects early waits. Raises ConfigError if the address is not to be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(1024)
    except OSError as e:
        sock.close()
        raise ConfigError(f"cannot listen on {host}:{port} ({e.strerror}); choose another port") from None
    return sock


def serve(settings: Settings, ready: Callable[[Guard], None] | None = None) -> None:
    """Runs until SIGINT or SIGTERM; answers under way get ``DRAIN`` seconds."""
    sockets = listener(settings.host, settings.port), listener(settings.host, settings.control_port)
    with Guard(settings, advisory=False) as guard:
        guard.store.transact(guard.approvals.sweep, durable=True)
        if ready:
            ready(guard)
        asyncio.run(_serve(guard, *sockets))


async def _serve(guard: Guard, data: socket.socket, control: socket.socket) -> None:
    async with running(guard, data, control) as stop:
        loop = asyncio.get_running_loop()
        for s in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(s, stop.set)
        await stop.wait()


@contextlib.asynccontextmanager
async def running(guard: Guard, data: socket.socket, control: socket.socket) -> AsyncIterator[asyncio.Event]:
    """Both planes and the checkpointer, while the block runs. The event asks for the end."""
    stop = asyncio.Event()
    async with session(guard.settings) as http:
        planes = [
            (_server(DataPlane(guard, http)), data),
            (_server(control_app(guard.store, guard.vault, guard.approvals, guard.settings)), control),
        ]
        tasks = [asyncio.ensure_future(server.serve(sockets=[sock])) for server, sock in planes]
        for task in tasks:
            task.add_done_callback(lambda _: stop.set())
        tasks.append(asyncio.ensure_future(_sweep(guard)))
        with audit.Checkpointer(
            guard.store,
            guard.vault.keyring,
            guard.origin,
            guard.settings.checkpoint_folder,
            interval=guard.settings.checkpoint_every,
        ):
            try:
                yield stop
            finally:
                for server, _ in planes:
                    server.should_exit = True
                tasks.pop().cancel()
                await asyncio.gather(*tasks)


async def _sweep(guard: Guard) -> None:
    """Approvals expire by time also when nobody asks for them."""
    while True:
        await asyncio.sleep(SWEEP)
        try:
            await asyncio.wrap_future(guard.store.submit(guard.approvals.sweep, durable=True))
        except LLMGuardError as e:
            log.error("approvals were not swept: %s", e.code)


def _server(app: Any) -> _Server:
    config = uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=DRAIN,
    )
    return _Server(config)
