"""Actions: privileged functions and commands that wait for people, through the same pipeline as a call.

An action is a Call whose body is canonical JSON of its name and arguments, and whose provider is the function itself.
So the log, the approval, the claim and at-most-once are the pipeline's; nothing here decides. The function runs only in
``send``, that is after the claim, and only if its arguments still encode to the bytes that were approved.

A process that dies while it waits asks again with the same arguments and joins the same approval. One that dies while
the function runs leaves INDETERMINATE: it is not run again by itself.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from datetime import date, datetime, time
from pathlib import Path
from typing import Any, ParamSpec, Protocol, TypeVar, cast

from llmguard.effects import Head
from llmguard.errors import AlreadyExecuted, ConfigError, UpstreamError
from llmguard.model import Body, Call, Destination, Egress, Operation, Principal, new_id

P = ParamSpec("P")
T = TypeVar("T")
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
HERE = Destination("action", "action:", "internal")
LONGEST = 8 * 86400.0
"""Seconds: longer than any approval lives."""
_DONE = Head(200, (("content-type", "application/x-llmguard-action"),))
_RAISED = Head(500, _DONE.headers)


class Runner(Protocol):
    """What an action needs of a guard: who asks, what time it is, and its two drivers."""

    def local_principal(self) -> Principal: ...
    def now(self) -> int: ...
    def run(self, call: Call, upstream: Any) -> Iterator[Any]: ...
    def arun(self, call: Call, upstream: Any) -> AsyncIterator[Any]: ...


def gate(runner: Runner, name: str, wait: float | None) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """A decorator for the actions of that name. ``wait`` in seconds; None: as long as the approval lives."""
    if not NAME.fullmatch(name):
        raise ConfigError("an action's name has up to 64 small letters, digits, dots, dashes and underscores")
    return functools.partial(_gated, runner, name, wait)


def _gated(runner: Runner, name: str, wait: float | None, function: Callable[P, T]) -> Callable[P, T]:
    """``function``, sync or async, behind an approval.

    Calls raise ApprovalPending when the wait is over, ApprovalDenied, ApprovalExpired, AlreadyExecuted, and what the
    function raises; ConfigError for arguments that cannot be written down.
    """

    @functools.wraps(function)
    def sync(*args: P.args, **kwargs: P.kwargs) -> T:
        encode = functools.partial(_encoded, name, function, args, kwargs)
        work = _Work(lambda: function(*args, **kwargs), encode)
        for _ in runner.run(_call(runner, name, work.body, wait), work):
            pass  # an action answers nothing to its caller but what it returns
        return cast(T, work.outcome())

    @functools.wraps(function)
    async def asynchronous(*args: P.args, **kwargs: P.kwargs) -> Any:
        encode = functools.partial(_encoded, name, function, args, kwargs)
        work = _AsyncWork(lambda: cast(Awaitable[Any], function(*args, **kwargs)), encode)
        async for _ in runner.arun(_call(runner, name, work.body, wait), work):
            pass
        return work.outcome()

    return cast(Callable[P, T], asynchronous) if inspect.iscoroutinefunction(function) else sync


def _call(runner: Runner, name: str, body: bytes, wait: float | None) -> Call:
    now = runner.now()
    return Call(
        id=new_id(now),
        principal=runner.local_principal(),
        operation=Operation(f"action.{name}", "RUN", f"/{name}", "action"),
        destination=HERE,
        method="RUN",
        path=f"/{name}",
        query="",
        headers=(),
        body=Body("json", body, "application/json"),
        account="",
        received=now,
        patience=LONGEST if wait is None else wait,
    )


# --------------------------------------------------------------------------- the provider's side


class _Outcome:
    """What running the function gave, kept for its caller."""

    def __init__(self, encode: Callable[[], bytes]) -> None:
        self._encode = encode
        self.body = encode()
        self._ran = False
        self._value: Any = None
        self._error: BaseException | None = None

    def outcome(self) -> Any:
        """The function's value or exception. Raises AlreadyExecuted if another process ran it."""
        if not self._ran:
            raise AlreadyExecuted("this action was carried out already: an approval is for one execution")
        if self._error is not None:
            raise self._error
        return self._value

    def _check(self) -> None:
        if self._encode() != self.body:
            raise UpstreamError("the arguments changed while the action waited; it was not carried out", sent=False)
        self._ran = True


class _Work(_Outcome):
    """A sync function as an upstream."""

    def __init__(self, function: Callable[[], Any], encode: Callable[[], bytes]) -> None:
        super().__init__(encode)
        self._function = function

    def send(self, egress: Egress) -> Head:
        """Runs the function, once."""
        self._check()
        try:
            self._value = self._function()
        except BaseException as e:  # noqa: BLE001  kept whole for the caller, also an interrupt: its outcome is recorded first
            self._error = e
            return _RAISED
        return _DONE

    def next_chunk(self) -> bytes | None:
        return None


class _AsyncWork(_Outcome):
    """An async function as an upstream."""

    def __init__(self, function: Callable[[], Awaitable[Any]], encode: Callable[[], bytes]) -> None:
        super().__init__(encode)
        self._function = function

    async def send(self, egress: Egress) -> Head:
        """Runs the function, once. A cancellation goes on to the driver, which records INDETERMINATE."""
        self._check()
        try:
            self._value = await self._function()
        except Exception as e:  # noqa: BLE001  kept whole for the caller
            self._error = e
            return _RAISED
        return _DONE

    async def next_chunk(self) -> bytes | None:
        return None


# --------------------------------------------------------------------------- what is bound


def _encoded(name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bytes:
    """Canonical JSON of the action: the same arguments, however passed, the same bytes."""
    import rfc8785

    bound = inspect.signature(function).bind(*args, **kwargs)
    bound.apply_defaults()
    arguments = dict(bound.arguments)
    if next(iter(arguments), "") in ("self", "cls"):
        arguments.pop(next(iter(arguments)))
    try:
        plain = {k: _plain(v) for k, v in arguments.items()}
        return rfc8785.dumps({"action": name, "function": _named(function), "arguments": plain})
    except (TypeError, ValueError, RecursionError, rfc8785.CanonicalizationError) as e:
        raise ConfigError(
            f"an argument of the action {name!r} cannot be shown to a reviewer ({type(e).__name__}):"
            " pass text, numbers, lists, dicts, paths, dates or bytes"
        ) from None


def _named(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{function.__qualname__}"


def _plain(value: Any) -> Any:
    """JSON for what people pass to functions. Bytes and big numbers as text that says what they are."""
    match value:
        case None | bool() | str() | float():
            return value
        case int():
            return value if abs(value) < 2**53 else str(value)
        case Path():
            return str(value)
        case datetime() | date() | time():
            return value.isoformat()
        case bytes() | bytearray():
            return {"bytes": len(value), "sha256": hashlib.sha256(value).hexdigest()}
        case list() | tuple():
            return [_plain(v) for v in value]
        case dict():
            return {k: _plain(v) for k, v in value.items()}
    raise TypeError
