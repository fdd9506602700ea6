"""Block: ``with guard.approval(…)``: the block is the execution.

The block runs between the head of the answer and its end: after the claim, while the call is under way. So a process
that dies inside leaves INDETERMINATE, as with any call. It has no state of its own.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from llmguard.actions.action import Terms
from llmguard.actions.binding import Written
from llmguard.actions.request import Request, Runner, told
from llmguard.actions.work import AsyncWork, Deed, Work
from llmguard.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Approved:
    """What people have approved: the arguments as they were written down, whatever became of them since."""

    name: str
    written: Written = field(repr=False)

    @property
    def arguments(self) -> dict[str, Any]:
        """A fresh copy. Raises ConfigError for what was not written down whole, such as bytes."""
        return {name: self.written.argument(name) for name in self.written.parts["arguments"]}


class Block:
    """One execution. Entering waits for people, and raises as an action does; leaving records the outcome.

    An exception of the block comes out, and the approval is spent.
    """

    def __init__(
        self, runner: Runner, terms: Terms, arguments: Mapping[str, Any], describe: str, evidence: Any, revises: str
    ) -> None:
        self._runner = runner
        self._terms = terms
        self._revises = revises
        self._async_evidence = inspect.iscoroutinefunction(evidence)
        make: Callable[[], Any] = evidence if callable(evidence) else lambda: evidence
        self._deed = Deed(terms.name, {}, arguments, lambda: describe, make, _nothing)
        self._work: Work | AsyncWork
        self._line: Iterator[Any]
        self._lines: AsyncIterator[Any]

    def __enter__(self) -> Approved:
        if self._async_evidence:
            raise ConfigError(f"the evidence of {self._terms.name!r} is async: write async with")
        request = self._request(self._deed.write())
        self._work = work = Work(self._deed, request.written)
        with told(self._runner):
            self._line = self._runner.run(request.call(), work)
            next(self._line)
        if not work.began:
            request.ensure(False, list(self._line))
        return Approved(self._terms.name, request.written)

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self._work.ended(error)
        for _piece in self._line:
            pass  # what the action said of itself is for its reviewers

    async def __aenter__(self) -> Approved:
        request = self._request(await self._deed.awrite())
        self._work = work = AsyncWork(replace(self._deed, execute=_later), request.written)
        with told(self._runner):
            self._lines = self._runner.arun(request.call(), work)
            await anext(self._lines)
        if not work.began:
            request.ensure(False, [piece async for piece in self._lines])
        return Approved(self._terms.name, request.written)

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        self._work.ended(error)
        async for _piece in self._lines:
            pass

    def _request(self, written: Written) -> Request:
        return Request(self._runner, self._deed, written, self._terms.wait, self._revises)


def _nothing() -> None:
    """The execution is the block."""


async def _later() -> None:
    """The same on an event loop."""
