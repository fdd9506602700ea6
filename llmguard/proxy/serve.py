"""``llmguard serve``: both planes in one process and one event loop.

The sockets answer ``/healthz`` before anything else is loaded: the guard, its patterns and its state are opened beside
them, and until then every other request hears 503.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Any

import uvicorn

from llmguard.config import Settings
from llmguard.errors import ConfigError
from llmguard.proxy.front import Front
from llmguard.proxy.protocol import Protocol

if TYPE_CHECKING:
    from llmguard.guard import Guard
    from llmguard.proxy.control import Pages

DRAIN = 10
"""Seconds that running answers get when the server stops."""


class _Server(uvicorn.Server):
    """A uvicorn server whose signals are ours: two of them share a process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


def listener(host: str, port: int) -> socket.socket:
    """A listening socket: who connects early waits. Raises ConfigError if the address is not to be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sets TCP_NODELAY for this protocol alone; without it, some answers wait 40 ms for an acknowledgement.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(1024)
    except OSError as e:
        sock.close()
        raise ConfigError(f"cannot listen on {host}:{port} ({e.strerror}); choose another port") from None
    return sock


def serve(
    settings: Settings, ready: Callable[[Guard], None] | None = None, pages: Pages | None = None, setup: str = ""
) -> None:
    """Runs until SIGINT or SIGTERM; answers under way get ``DRAIN`` seconds. SIGHUP: the policy file is read again.

    ``ready`` gets the open guard. ``pages``: those of the control plane. ``setup``: the token that makes the first
    person.
    """
    sockets = listener(settings.host, settings.port), listener(settings.host, settings.control_port)
    asyncio.run(_serve(settings, sockets, ready, pages, setup))


async def _serve(
    settings: Settings,
    sockets: tuple[socket.socket, socket.socket],
    ready: Callable[[Guard], None] | None,
    pages: Pages | None,
    setup: str,
) -> None:
    def opened() -> Guard:
        from llmguard.guard import Guard  # loads most of what there is to load: /healthz answers meanwhile

        guard = Guard(settings, advisory=False)
        guard.sweep()
        return guard

    async with running(opened, *sockets, pages, setup) as (guard, stop):
        loop = asyncio.get_running_loop()
        for s in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(s, stop.set)
        loop.add_signal_handler(signal.SIGHUP, guard.file.again)
        if ready:
            ready(guard)
        await stop.wait()
    guard.close()


@contextlib.asynccontextmanager
async def running(
    opened: Callable[[], Guard],
    data: socket.socket,
    control: socket.socket,
    pages: Pages | None = None,
    setup: str = "",
) -> AsyncIterator[tuple[Guard, asyncio.Event]]:
    """Both planes, while the block runs. ``opened`` makes the guard, in a thread. The event asks for the end."""
    stop = asyncio.Event()
    fronts = Front(), Front()
    servers = [_server(front) for front in fronts]
    tasks = [asyncio.ensure_future(s.serve(sockets=[k])) for s, k in zip(servers, (data, control), strict=True)]
    for task in tasks:
        task.add_done_callback(lambda _: stop.set())
    try:
        guard = await asyncio.to_thread(opened)
        from llmguard.proxy.planes import planes

        async with planes(guard, pages, setup) as (fronts[0].plane, fronts[1].plane):
            try:
                yield guard, stop
            finally:
                guard.room.close()  # held calls hear that the guard stops; their approvals stay
                await _drained(servers, tasks)
    finally:
        await _drained(servers, tasks)


async def _drained(servers: Sequence[_Server], tasks: Sequence[asyncio.Future[None]]) -> None:
    for server in servers:
        server.should_exit = True
    await asyncio.gather(*tasks)


def _server(app: Any) -> _Server:
    config = uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=DRAIN,
    )
    return _Server(config)
