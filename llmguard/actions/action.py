"""Action: a function that waits for people before it runs, with exactly its arguments.

It owns how a function's arguments become a request, and back. Methods leave their instance out of what is bound, but
not its class; ``describe`` and ``evidence`` receive it, and say what tells one instance from another.
"""

from __future__ import annotations

import functools
import inspect
import re
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, ParamSpec, TypeVar, cast, overload

from llmguard.actions import request as requests
from llmguard.actions.request import Request, Runner
from llmguard.actions.work import Deed, Report, returned
from llmguard.errors import ConfigError
from llmguard.model import Approval

P = ParamSpec("P")
T = TypeVar("T")
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_NOBODY: Any = object()
_BY_KEYWORD = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True, slots=True)
class Terms:
    """How an action is shown and how long its caller waits, in seconds; None: as long as the approval lives.

    ``describe``: a sentence for the reviewer, as a format string of the arguments or made from the same arguments.
    ``evidence``: a dry run, from the same arguments; JSON.
    """

    name: str
    describe: Callable[..., str] | str | None = None
    evidence: Callable[..., Any] | None = None
    wait: float | None = None
    report: Report = returned

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise ConfigError("an action's name has up to 64 small letters, digits, dots, dashes and underscores")


class Action(Generic[P, T]):
    """``function`` behind an approval. Async functions give awaitables here too.

    Calls raise ApprovalPending when the wait is over, ApprovalDenied, ChangesRequested, ApprovalExpired,
    AlreadyExecuted, ActionChanged, and what the function raises; ConfigError for arguments that cannot be written down.
    What ``describe`` and ``evidence`` raise comes out before anything is held.
    """

    def __init__(self, runner: Runner, terms: Terms, function: Callable[P, T], receiver: Any = _NOBODY) -> None:
        _ensure_function(terms, function)
        functools.update_wrapper(self, function)
        self._runner = runner
        self._terms = terms
        self._function = function
        self._receiver = receiver
        self._method = receiver is not _NOBODY
        self._async = inspect.iscoroutinefunction(function)
        self._signature = inspect.signature(function)
        if inspect.iscoroutinefunction(terms.evidence) and not self._async:
            raise ConfigError(f"the action {terms.name!r} is not async, so its evidence cannot be")
        if isinstance(terms.describe, str):
            _check_format(terms.describe, self._signature)
        if self._async and hasattr(inspect, "markcoroutinefunction"):  # Python 3.12
            inspect.markcoroutinefunction(self)

    def __set_name__(self, owner: type, name: str) -> None:
        self._method = True

    @overload
    def __get__(self, instance: None, owner: type) -> Action[P, T]: ...
    @overload
    def __get__(self, instance: object, owner: type | None = None) -> Action[..., T]: ...
    def __get__(self, instance: object | None, owner: type | None = None) -> Action[Any, T]:
        if instance is None:
            return self
        return Action(self._runner, self._terms, self._function, instance)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._run(self._bound(args, kwargs))

    def request(self, *args: P.args, **kwargs: P.kwargs) -> Request:
        """What a call with these arguments asks, not asked yet. For sync functions."""
        deed = self._deed(self._bound(args, kwargs))
        return Request(self._runner, deed, deed.write(), self._terms.wait)

    def revise(self, approval_id: str, /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Asks anew with other arguments, in the place of an approval whose reviewers asked for changes.

        ``**error.proposal`` accepts what the reviewer proposed. Raises Conflict if nobody asked for changes.
        """
        by_name = not args and kwargs.keys() <= self._signature.parameters.keys() and not self._reached()
        return self._run(self._by_name(kwargs) if by_name else self._bound(args, kwargs), revises=approval_id)

    def resume(self, approval_id: str) -> T:
        """Carries an action out that this principal asked for, with the arguments as they were, once approved.

        Raises ConfigError if they cannot be made again from what was written down, ActionChanged if the evidence is
        another by now, NotFound, and what became of the approval; it never asks anew.
        """
        approval, before = requests.recalled(self._runner, self.operation, approval_id)
        requests.ensure_open(self._runner, approval)
        arguments = {name: before.argument(name) for name in before.parts["arguments"]}
        return self._run(self._by_name(arguments), before=before)

    def pending(self) -> tuple[Approval, ...]:
        """What this principal asked for of this action and is neither refused nor spent, oldest first."""
        return requests.pending(self._runner, self.operation)

    @property
    def operation(self) -> str:
        return f"action.{self._terms.name}"

    @property
    def named(self) -> str:
        """The function's name as people are told it."""
        return f"{self._function.__module__}.{self._function.__qualname__}"

    # ----------------------------------------------------------------- arguments

    def _head(self) -> tuple[Any, ...]:
        return () if self._receiver is _NOBODY else (self._receiver,)

    def _bound(self, args: Any, kwargs: Mapping[str, Any]) -> inspect.BoundArguments:
        bound = self._signature.bind(*self._head(), *args, **kwargs)
        bound.apply_defaults()
        return bound

    def _by_name(self, arguments: Mapping[str, Any]) -> inspect.BoundArguments:
        """Arguments by the name of their parameter, also those that no keyword reaches. Raises ConfigError."""
        bound = self._signature.bind_partial(*self._head())
        for name, parameter in self._signature.parameters.items():
            if name in arguments:
                many = parameter.kind is inspect.Parameter.VAR_POSITIONAL
                bound.arguments[name] = tuple(arguments[name]) if many else arguments[name]
        try:
            self._signature.bind(*bound.args, **bound.kwargs)
            known = arguments.keys() <= bound.arguments.keys()
        except TypeError:
            known = False
        if not known:
            raise ConfigError(f"the action {self._terms.name!r} has other parameters than when it was asked for")
        bound.apply_defaults()
        return bound

    def _reached(self) -> bool:
        """Whether every parameter can be given by keyword."""
        return all(p.kind in _BY_KEYWORD for p in self._signature.parameters.values())

    def _run(self, bound: inspect.BoundArguments, *, before: Any = None, revises: str = "") -> T:
        deed, wait = self._deed(bound), self._terms.wait
        if self._async:
            return cast(T, self._later(deed, before, revises))
        request = Request(self._runner, deed, deed.write(), wait, revises)
        if before is not None:
            requests.ensure_same(request.written, before)
        return cast(T, request.run())

    async def _later(self, deed: Deed, before: Any, revises: str) -> Any:
        request = Request(self._runner, deed, await deed.awrite(), self._terms.wait, revises)
        if before is not None:
            requests.ensure_same(request.written, before)
        return await request.arun()

    def _deed(self, bound: inspect.BoundArguments) -> Deed:
        terms, arguments = self._terms, dict(bound.arguments)
        of = {"function": self.named}
        if self._method and arguments:
            receiver = arguments.pop(next(iter(arguments)))
            kind = receiver if isinstance(receiver, type) else type(receiver)
            of["on"] = f"{kind.__module__}.{kind.__qualname__}"
        return Deed(
            name=terms.name,
            of=of,
            arguments=arguments,
            describe=functools.partial(_described, terms.describe, bound),
            evidence=functools.partial(terms.evidence or _nothing, *bound.args, **bound.kwargs),
            execute=functools.partial(self._function, *bound.args, **bound.kwargs),
            report=terms.report,
        )


def _ensure_function(terms: Terms, function: Any) -> None:
    """Raises ConfigError for what people could not be told the name of, or what does not run when it is called."""
    if isinstance(function, staticmethod | classmethod):
        raise ConfigError(f"write @{type(function).__name__} above the action {terms.name!r}, not below")
    if not hasattr(function, "__qualname__"):
        raise ConfigError(f"the action {terms.name!r} must be a function: people are told its name")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ConfigError(f"the action {terms.name!r} must run to its end when it is called: no generators")


def _nothing(*_: Any, **__: Any) -> None:
    """Evidence where none was asked for."""


def _described(describe: Callable[..., str] | str | None, bound: inspect.BoundArguments) -> str:
    if describe is None:
        return ""
    if isinstance(describe, str):
        return describe.format(**bound.arguments)
    return describe(*bound.args, **bound.kwargs)


def _check_format(text: str, signature: inspect.Signature) -> None:
    """Raises ConfigError at the decoration for what would fail at the call."""
    try:
        fields = [field for _, field, _, _ in string.Formatter().parse(text) if field is not None]
    except ValueError:
        raise ConfigError("a description is a format string: write {{ and }} for braces") from None
    for field in fields:
        if (root := re.split(r"[.\[]", field)[0]) not in signature.parameters:
            raise ConfigError(f"the description names {{{root}}}, which is no parameter of the function")
