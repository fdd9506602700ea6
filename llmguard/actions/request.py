"""Request: one action asked for, and its way through the pipeline: as a call whose provider is the action itself.

Nothing here decides: log, approval, claim and at-most-once are the pipeline's. A reviewer's proposal is read here, by
the process that asked.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from llmguard.actions import binding
from llmguard.actions.binding import Written
from llmguard.actions.work import AsyncWork, Deed, Work
from llmguard.approvals import Approvals, asked
from llmguard.effects import Head
from llmguard.errors import (
    ActionChanged,
    AlreadyExecuted,
    ChangesRequested,
    ConfigError,
    NotFound,
    UnscannableRequest,
)
from llmguard.model import Approval, Body, Call, Destination, Operation, Principal, new_id
from llmguard.payload import json as strict_json
from llmguard.redaction import Restorer
from llmguard.store import Store, Transaction, placeholders
from llmguard.vault import Vault

HERE = Destination("action", "action:", "internal")
LONGEST = 8 * 86400.0
"""Seconds: longer than any approval lives."""


class Runner(Protocol):
    """What an action needs of a guard: who asks, what time it is, what is stored, and its two drivers."""

    @property
    def vault(self) -> Vault: ...
    @property
    def store(self) -> Store: ...
    @property
    def approvals(self) -> Approvals: ...
    def local_principal(self) -> Principal: ...
    def now(self) -> int: ...
    def run(self, call: Call, upstream: Any) -> Iterator[Any]: ...
    def arun(self, call: Call, upstream: Any) -> AsyncIterator[Any]: ...


@dataclass(frozen=True, slots=True)
class Request:
    """An action with what was written of it. ``wait`` in seconds, None: as long as the approval lives.

    ``revises``: the approval that this one takes the place of.
    """

    runner: Runner
    deed: Deed
    written: Written
    wait: float | None = None
    revises: str = ""

    def run(self) -> Any:
        """The value of the action, once people have approved it. Raises what the pipeline and the action raise."""
        work = Work(self.deed, self.written)
        with told(self.runner):
            heard = list(self.runner.run(self.call(), work))
        self.ensure(work.began, heard)
        return work.result()

    async def arun(self) -> Any:
        """The same on an event loop."""
        work = AsyncWork(self.deed, self.written)
        with told(self.runner):
            heard = [item async for item in self.runner.arun(self.call(), work)]
        self.ensure(work.began, heard)
        return work.result()

    def call(self) -> Call:
        now, name = self.runner.now(), self.deed.name
        return Call(
            id=new_id(now),
            principal=self.runner.local_principal(),
            operation=Operation(f"action.{name}", "RUN", f"/{name}", "action"),
            destination=HERE,
            method="RUN",
            path=f"/{name}",
            query="",
            headers=(),
            body=Body("json", self.written.body, "application/json"),
            account="",
            received=now,
            patience=LONGEST if self.wait is None else self.wait,
            revises=self.revises,
        )

    def ensure(self, began: bool, heard: list[Head | bytes]) -> None:
        """Raises AlreadyExecuted if what was heard is the report of an earlier execution."""
        if not began:
            report = _object(b"".join(piece for piece in heard if isinstance(piece, bytes))) or {}
            code = f" (exit code {report['exit']})" if "exit" in report else ""
            raise AlreadyExecuted(f"this action was carried out already{code}: an approval is for one execution")


@contextlib.contextmanager
def told(runner: Runner) -> Iterator[None]:
    """Completes what a reviewer's request for changes says, for the process that asked."""
    try:
        yield
    except ChangesRequested as error:
        explain(runner, error)
        raise


# --------------------------------------------------------------------------- what was asked before


def recalled(runner: Runner, operation: str, approval_id: str) -> tuple[Approval, Written]:
    """An action that this principal asked for. Raises NotFound if it is of another principal or another action."""
    principal = runner.local_principal()

    def work(tx: Transaction) -> tuple[Approval, bytes]:
        approval = asked.own(tx, runner.vault, principal, approval_id)
        return approval, asked.written(tx, runner.vault, principal, approval_id)

    approval, body = runner.store.read(work)
    if approval.subject != "action" or operation not in ("", approval.operation):
        raise NotFound(f"this approval is for {approval.operation!r}, not for this action", approval_id=approval_id)
    return approval, binding.read(body)


def ensure_open(runner: Runner, approval: Approval) -> None:
    """Raises what became of an approval that neither waits nor can be spent: resuming never asks anew."""
    principal = runner.local_principal()
    now = runner.store.transact(lambda tx: runner.approvals.review(tx, principal.tenant, approval.id))
    if now.state not in ("PENDING", "APPROVED", "EXECUTING"):
        with told(runner):
            runner.approvals.outcome(now)


def ensure_same(now: Written, before: Written) -> None:
    """Raises ActionChanged if an action would not be the one that was asked for."""
    if changed := now.differs(before):
        raise ActionChanged(
            f"not carried out: {' and '.join(changed)} of the action is not what it was when people were asked;"
            " ask again, so that they see it as it is now"
        )


def pending(runner: Runner, operation: str) -> tuple[Approval, ...]:
    """What this principal asked for of an action and is neither refused nor spent, oldest first."""
    principal = runner.local_principal()
    return runner.store.read(lambda tx: asked.waiting(tx, runner.vault, principal, operation))


# --------------------------------------------------------------------------- what a reviewer proposes


def explain(runner: Runner, error: ChangesRequested) -> None:
    """Fills in the reviewer's reason and the arguments that the reviewer proposes, if they are arguments."""
    id_ = error.approval_id or ""
    principal = runner.local_principal()

    def work(tx: Transaction) -> tuple[str, bytes | None]:
        reason = asked.why_changes(tx, runner.vault, principal, id_)
        return reason, runner.approvals.proposal(tx, principal.tenant, id_, principal)

    error.reason, proposal = runner.store.read(work)
    if proposal is not None and (changes := _object(proposal)) is not None:
        error.proposal = _proposed(runner, principal, id_, changes)


def _proposed(runner: Runner, principal: Principal, id_: str, changes: Mapping[str, Any]) -> dict[str, Any] | None:
    """All arguments by name: what was asked for, with the changes. None if they do not fit the action.

    A reviewer has seen placeholders and may have written them; they mean what this principal had written there.
    """
    written = binding.read(runner.store.read(lambda tx: asked.written(tx, runner.vault, principal, id_)))
    if not changes.keys() <= written.parts["arguments"].keys():
        return None
    scope = [f"approval:{id_}"]
    entries = runner.store.read(lambda tx: placeholders.granted(tx, runner.vault, principal, scope))
    mine = Restorer(entries)
    arguments = {**written.parts["arguments"], **{n: _restored(mine, v) for n, v in changes.items()}}
    new = Written({**written.parts, "arguments": arguments}, b"")
    try:
        return {name: new.argument(name) for name in arguments}
    except ConfigError:
        return None


def _restored(restorer: Restorer, value: Any) -> Any:
    if isinstance(value, str):
        return restorer.text(value, None)
    if isinstance(value, list):
        return [_restored(restorer, v) for v in value]
    if isinstance(value, dict):
        return {k: _restored(restorer, v) for k, v in value.items()}
    return value


def _object(content: bytes) -> dict[str, Any] | None:
    """A JSON object, read as strictly as a request; None if it is none."""
    try:
        strict_json.parse(content)
        value = json.loads(content)
    except (UnscannableRequest, ValueError):
        return None
    return value if isinstance(value, dict) else None
