"""Drivers: perform the effects of a flow, one sync and one async. Neither has an order of its own.

Here, and only here, an unexpected exception is caught: it becomes GuardUnavailable, and nothing leaves.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any, Protocol

from llmguard.effects import AwaitApproval, ClientGone, Effect, Emit, Flow, Head, NextChunk, Send
from llmguard.errors import GuardUnavailable, LLMGuardError, UpstreamError
from llmguard.model import Egress

log = logging.getLogger("llmguard")


class Performer(Protocol):
    """This host's side: everything but what goes to the caller and to the provider."""

    def perform(self, effect: Effect) -> Any: ...
    async def aperform(self, effect: Effect) -> Any: ...


class Upstream(Protocol):
    """The provider's side of a sync driver. Raises UpstreamError."""

    def send(self, egress: Egress) -> Head: ...
    def next_chunk(self) -> bytes | None: ...


class AsyncUpstream(Protocol):
    """The provider's side of an async driver. Raises UpstreamError."""

    async def send(self, egress: Egress) -> Head: ...
    async def next_chunk(self) -> bytes | None: ...


class Nowhere:
    """The provider's side of what is never sent."""

    def send(self, egress: Egress) -> Head:
        raise UpstreamError("this is not sent", sent=False)

    def next_chunk(self) -> bytes | None:
        return None


def _failure(effect: Effect, error: Exception) -> LLMGuardError:
    """What the pipeline sees of an error. The text of an unexpected one may hold data, so only its type is told."""
    if isinstance(error, LLMGuardError):
        return error
    log.error("%s failed: %s", type(effect).__name__, type(error).__name__)
    return GuardUnavailable(f"a part of the guard failed ({type(effect).__name__}: {type(error).__name__})")


def drive(guard: Performer, flow: Flow, upstream: Upstream) -> Iterator[Head | bytes]:
    """Performs a flow; yields first the Head of the answer, then its bytes. Closing the iterator ends the call."""
    answer: Any = None
    error: LLMGuardError | None = None
    while True:
        try:
            effect = flow.throw(error) if error else flow.send(answer)
        except (StopIteration, ClientGone):
            return
        answer = error = None
        try:
            match effect:
                case Emit(item):
                    yield item
                case Send(egress):
                    answer = upstream.send(egress)
                case NextChunk():
                    answer = upstream.next_chunk()
                case _:
                    answer = guard.perform(effect)
        except GeneratorExit:
            error = ClientGone("the caller closed the answer")
        except Exception as e:  # noqa: BLE001  a driver turns every failure into one that the pipeline records
            error = _failure(effect, e)


async def adrive(guard: Performer, flow: Flow, upstream: AsyncUpstream) -> AsyncIterator[Head | bytes]:
    """``drive`` on an event loop. Cancelling ends the call; its outcome is recorded before the cancellation goes on.

    What this host has begun to store is always finished: a cancellation is told to the pipeline at the next effect
    that needs the caller, the provider or people, so that it never believes something undone that was done.
    """
    answer: Any = None
    error: LLMGuardError | None = None
    cancelled: BaseException | None = None
    while True:
        try:
            effect = flow.throw(error) if error else flow.send(answer)
        except (StopIteration, ClientGone):
            break
        answer = error = None
        if cancelled and isinstance(effect, AwaitApproval | Emit | Send | NextChunk):
            error = ClientGone("the caller is gone", sent=not isinstance(effect, Send))
            continue
        try:
            match effect:
                case Emit(item):
                    yield item
                case Send(egress):
                    answer = await upstream.send(egress)
                case NextChunk():
                    answer = await upstream.next_chunk()
                case _:
                    answer, cancelled = await _performed(guard, effect, cancelled)
        except (asyncio.CancelledError, GeneratorExit) as e:
            cancelled, error = e, ClientGone("the caller is gone")
        except Exception as e:  # noqa: BLE001  as in drive
            error = _failure(effect, e)
    if cancelled:
        raise cancelled


async def _performed(
    guard: Performer, effect: Effect, cancelled: BaseException | None
) -> tuple[Any, BaseException | None]:
    """The result of an effect, and the cancellation that came meanwhile. It ends a wait for people, nothing else."""
    if isinstance(effect, AwaitApproval):
        return await guard.aperform(effect), None
    task = asyncio.ensure_future(guard.aperform(effect))
    while not task.done():
        try:
            await asyncio.wait((task,))  # ends with the task, cancels nothing and raises nothing of it
        except asyncio.CancelledError as e:
            cancelled = e
    return task.result(), cancelled
