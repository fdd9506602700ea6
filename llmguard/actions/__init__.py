"""Actions: privileged functions, blocks and commands that wait for people, through the same pipeline as a call.

An action is a Call whose body is canonical JSON of its name, arguments, description and evidence, and whose provider is
the function itself. So the log, the approval, the claim and at-most-once are the pipeline's; nothing here decides. The
function runs only in ``send``, that is after the claim, and only if all of it, written down again, is what people
approved.

A process that dies while it waits asks again with the same arguments and joins the same approval, or resumes it by its
id. One that dies while the function runs leaves INDETERMINATE: it is not run again by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

from llmguard.actions.action import Action, Terms
from llmguard.actions.block import Approved, Block
from llmguard.actions.request import Request, Runner, recalled
from llmguard.errors import ConfigError

__all__ = ["Action", "Actions", "Approved", "Block", "Request", "Runner", "Terms"]

P = ParamSpec("P")
T = TypeVar("T")


class Actions:
    """The actions of one guard: it makes them, and finds them again for an approval's id."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._known: dict[tuple[str, str], Action[Any, Any]] = {}

    def gate(self, terms: Terms) -> Callable[[Callable[P, T]], Action[P, T]]:
        """A decorator for the actions of these terms."""

        def decorate(function: Callable[P, T]) -> Action[P, T]:
            action = Action(self._runner, terms, function)
            self._known[(action.operation, action.named)] = action
            return action

        return decorate

    def block(self, terms: Terms, arguments: Mapping[str, Any], describe: str, evidence: Any, revises: str) -> Block:
        """For ``with`` and ``async with``."""
        return Block(self._runner, terms, dict(arguments), describe, evidence, revises)

    def resume(self, approval_id: str) -> Any:
        """As ``Action.resume``, for the function that was asked for. Raises ConfigError if it is unknown here."""
        approval, written = recalled(self._runner, "", approval_id)
        action = self._known.get((approval.operation, str(written.parts.get("function"))))
        if action is None:
            raise ConfigError(
                "no function of this process asked for that: import the module that decorates it first"
                " (the block of guard.approval, or llmguard run, is asked for again as it was)"
            )
        if "on" in written.parts:
            raise ConfigError("that is a method: resume it on its instance, as in store.clear.resume(ID)")
        return action.resume(approval_id)
