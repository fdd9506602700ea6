"""The database is locked by another process, or the disk is full, at each step of a held call.

Always: 503, nothing is sent that was not claimed, nothing is lost, and it works again afterwards.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmguard.config import DATABASE, Settings
from llmguard.guard import Guard
from llmguard.testing import EchoUpstream
from tests.abuse.offices import BO, CY, HOLD, Office
from tests.abuse.steps import ask, in_child, log_holds, people, sweep, the_only, vote


def hold_lock(path: Path, locked: Any, release: Any) -> None:
    """Another process that keeps the database for itself."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    locked.set()
    release.wait(60)
    connection.execute("ROLLBACK")
    connection.close()


@contextmanager
def locked(data: Path) -> Iterator[None]:
    context = multiprocessing.get_context("fork")
    begun, release = context.Event(), context.Event()
    other = context.Process(target=hold_lock, args=(data / DATABASE, begun, release))
    other.start()
    try:
        assert begun.wait(30)
        yield
    finally:
        release.set()
        other.join()


@contextmanager
def full(data: Path) -> Iterator[None]:
    """Files of this process cannot grow: no write into the write-ahead log succeeds (setrlimit(2), RLIMIT_FSIZE)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


BROKEN = pytest.mark.parametrize("broken", [locked, full])
Fault = Callable[[Path], Any]


@BROKEN
def test_a_call_that_cannot_be_held_is_a_503_and_held_afterwards(office_with: Any, broken: Fault) -> None:
    office: Office = office_with(lock_timeout=0.2)
    with broken(office.local.settings.data):
        status, answer = office.ask()
    assert (status, answer["error"]["code"]) == (503, "guard_unavailable")
    assert (office.sent, office.log("approval.held")) == (0, [])
    id_ = office.held()
    assert office.vote(BO, id_) == 200
    assert office.ask()[0] == 200
    assert office.sent == 1


@BROKEN
def test_a_vote_that_cannot_be_stored_is_a_503_and_no_vote(office_with: Any, broken: Fault) -> None:
    office: Office = office_with(lock_timeout=0.2)
    id_ = office.held()
    with broken(office.local.settings.data):
        assert office.vote(BO, id_) == 503
    assert (office.approval(id_).state, office.approval(id_).votes) == ("PENDING", ())
    assert office.ask()[0] == 409
    assert office.vote(BO, id_) == 200  # the same person again, since the first was none
    assert office.ask()[0] == 200
    assert office.sent == 1


class Saboteur:
    """A guard's store under which the fault begins right before the n-th work that must reach the disk."""

    def __init__(self, store: Any, data: Path, broken: Fault, at: int) -> None:
        self._store, self._data, self._broken, self._left = store, data, broken, at

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def submit(self, work: Any, *, durable: bool = False) -> Any:
        self._left -= durable
        if self._left or not durable:
            return self._store.submit(work, durable=durable)
        with self._broken(self._data):
            future = self._store.submit(work, durable=durable)
            future.exception(60)
        return future


def prepared(settings: Settings) -> Settings:
    """A folder with a call that was approved and is not sent yet."""
    known = people(replace(settings, rules=HOLD, names=False, lock_timeout=0.2))
    with Guard(known) as guard:
        assert ask(guard) == "approval_pending"
        assert vote(guard, the_only(guard), BO).state == "APPROVED"
    return known


def sabotaged(guard: Guard, settings: Settings, broken: Fault, at: int) -> str:
    """What the caller of the approved call hears, whose n-th stored work fails."""
    real = guard.store
    guard.store = Saboteur(real, settings.data, broken, at)  # type: ignore[assignment]
    try:
        return ask(guard)
    finally:
        guard.store = real


@BROKEN
@pytest.mark.parametrize("at", [1, 2])
def test_an_approval_that_cannot_be_spent_is_a_503_and_spent_afterwards(
    settings: Settings, upstream: EchoUpstream, broken: Fault, at: int
) -> None:
    """At the decision of the retry, and at the claim itself."""
    known = prepared(settings)
    with Guard(known) as guard:
        assert sabotaged(guard, known, broken, at) == "guard_unavailable"
        assert not upstream.received
        assert the_only(guard).state == "APPROVED"
        assert ask(guard) == "answered"
    assert len(upstream.received) == 1
    assert log_holds(known)


@BROKEN
def test_an_outcome_that_cannot_be_stored_is_stored_later_and_nothing_is_sent_again(
    settings: Settings, upstream: EchoUpstream, broken: Fault
) -> None:
    known = prepared(settings)
    with Guard(known) as guard:
        sabotaged(guard, known, broken, 3)
        assert (the_only(guard).state, len(upstream.received)) == ("EXECUTING", 1)
        assert ask(guard) in ("answered", "approval_executing")
        assert ask(guard) == "answered"
        assert the_only(guard).state == "EXECUTED"
    assert len(upstream.received) == 1
    assert log_holds(known)


@BROKEN
def test_an_outcome_that_is_never_stored_is_uncertain_and_nothing_is_sent_again(
    settings: Settings, upstream: EchoUpstream, broken: Fault
) -> None:
    """Its process ends before the database works again."""
    known = prepared(settings)

    def execute() -> None:
        guard = Guard(known)
        sabotaged(guard, known, broken, 3)
        os._exit(0 if the_only(guard).state == "EXECUTING" else 1)

    assert in_child(execute) == 0
    with Guard(known) as guard:
        sweep(guard)
        assert the_only(guard).state == "INDETERMINATE"
        assert ask(guard) == "approval_indeterminate"
    assert len(upstream.received) == 1
    assert log_holds(known)


@BROKEN
def test_a_database_that_fails_again_and_again_loses_no_decision(office_with: Any, broken: Fault) -> None:
    office: Office = office_with(lock_timeout=0.1)
    key = office.local.key("of nobody")
    id_ = office.held(key=key)
    for who in (BO, CY):
        with broken(office.local.settings.data):
            assert office.vote(who, id_) == 503
            assert office.ask(key=key)[0] == 503
        assert office.vote(who, id_) == 200
    with broken(office.local.settings.data):
        assert office.ask(key=key)[0] == 503
    assert office.sent == 0
    assert office.ask(key=key)[0] == 200
    assert office.sent == 1
