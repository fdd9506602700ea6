"""Work: an action as the provider's side of a driver. ``send`` is its execution, so it comes after the claim.

Invariant: what runs was written down again right before, and is what was approved. It runs once; whatever it raises is
kept for its caller, since nobody knows how far it got. The answer is the action's report, for its reviewers.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from llmguard.actions import binding
from llmguard.actions.binding import Written
from llmguard.effects import Head
from llmguard.errors import ActionChanged
from llmguard.model import Egress

MEDIA_TYPE = "application/x-llmguard-action"
DONE = Head(200, (("content-type", MEDIA_TYPE),))
RAISED = Head(500, DONE.headers)
Report = Callable[[Any], Mapping[str, Any]]


def returned(_: Any) -> Mapping[str, Any]:
    """What reviewers are told of a function that returned: that it did. Its value is its caller's."""
    return {"returned": True}


@dataclass(frozen=True, slots=True)
class Deed:
    """One execution to be: how it is written down, now and again, and what it runs.

    ``evidence`` may give an awaitable, where the function does. ``report`` says of its value what reviewers may know:
    JSON without original text.
    """

    name: str
    of: Mapping[str, str]
    arguments: Mapping[str, Any]
    describe: Callable[[], str]
    evidence: Callable[[], Any]
    execute: Callable[[], Any]
    report: Report = returned

    def write(self) -> Written:
        """What describing and the dry run raise comes out."""
        return self._written(self.evidence())

    async def awrite(self) -> Written:
        evidence = self.evidence()
        return self._written(await evidence if inspect.isawaitable(evidence) else evidence)

    def _written(self, evidence: Any) -> Written:
        return binding.write(self.name, self.arguments, of=self.of, description=self.describe(), evidence=evidence)


class _Outcome:
    """What running the deed gave, kept for its caller. ``began``: it did, here."""

    def __init__(self, deed: Deed, written: Written) -> None:
        self._deed = deed
        self._written = written
        self._value: Any = None
        self._error: BaseException | None = None
        self._report: Mapping[str, Any] | None = None
        self.began = False

    def result(self) -> Any:
        """The deed's value or exception."""
        if self._error is not None:
            raise self._error
        return self._value

    def ended(self, error: BaseException | None) -> None:
        """The end of a block, which runs while its answer is awaited: overwrites the report."""
        self._report = returned(None) if error is None else {"raised": type(error).__name__}

    def _compare(self, now: Written) -> None:
        if changed := now.differs(self._written):
            raise ActionChanged(
                f"not carried out: {' and '.join(changed)} changed while the action waited for its approval;"
                " ask again, so that people see it as it is now"
            )
        self.began = True

    def _raised(self, error: BaseException) -> Head:
        self._error = error
        self._report = {"raised": type(error).__name__}
        return RAISED

    def _returned(self, value: Any) -> Head:
        self._value = value
        self._report = self._deed.report(value)
        return DONE

    def _chunk(self) -> bytes | None:
        report, self._report = self._report, None
        return None if report is None else json.dumps(dict(report)).encode()


def _unwritten(error: Exception) -> ActionChanged:
    return ActionChanged(
        f"not carried out: the approved action could not be written down again ({type(error).__name__});"
        " see to its evidence, and ask again"
    )


class Work(_Outcome):
    """A sync function as an upstream."""

    def send(self, egress: Egress) -> Head:
        """Runs it, once. Raises ActionChanged."""
        try:
            now = self._deed.write()
        except Exception as e:
            raise _unwritten(e) from e
        self._compare(now)
        try:
            value = self._deed.execute()
        except BaseException as e:  # noqa: BLE001  kept whole for the caller, also an interrupt: its outcome is recorded first
            return self._raised(e)
        return self._returned(value)

    def next_chunk(self) -> bytes | None:
        return self._chunk()


class AsyncWork(_Outcome):
    """An async function as an upstream."""

    async def send(self, egress: Egress) -> Head:
        """Runs it, once. A cancellation goes on to the driver, which records INDETERMINATE. Raises ActionChanged."""
        try:
            now = await self._deed.awrite()
        except Exception as e:
            raise _unwritten(e) from e
        self._compare(now)
        try:
            value = await self._deed.execute()
        except Exception as e:  # noqa: BLE001  kept whole for the caller
            return self._raised(e)
        return self._returned(value)

    async def next_chunk(self) -> bytes | None:
        return self._chunk()
