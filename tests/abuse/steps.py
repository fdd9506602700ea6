"""One held call step by step, through a real guard without a server, to a real upstream; processes that die in it."""

from __future__ import annotations

import http.client
import json
import multiprocessing
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from llmguard import audit, identity
from llmguard.config import DATABASE, Settings
from llmguard.effects import Head
from llmguard.errors import LLMGuardError, UpstreamError
from llmguard.guard import Guard
from llmguard.identity import Cause, Person, PersonChange
from llmguard.model import Approval, Egress
from llmguard.request import Request
from tests.abuse.offices import ANN, BO, CY, TENANT

NOWHERE: Callable[[str], None] = lambda stage: None  # noqa: E731
BODY = {"model": "m", "messages": [{"role": "user", "content": "once"}], "stream": True}


def people(settings: Settings) -> Settings:
    """The settings with a key of Ann's, in a folder where Ann, Bo and Cy review."""
    with Guard(settings) as guard:

        def work(tx: Any) -> str:
            for email in (ANN, BO, CY):
                identity.apply(tx, guard.vault, TENANT, PersonChange(email, ("reviewers",)), Cause("test"))
            token, change = identity.new_key(tx, guard.vault, "app", ANN)
            identity.apply(tx, guard.vault, TENANT, change, Cause("test"))
            return token

        return replace(settings, key=guard.store.transact(work))


class Exchange:
    """The provider's side over a plain socket. ``at`` is told of each stage: ``before``, ``sent``, ``streaming``."""

    def __init__(self, at: Callable[[str], None] = NOWHERE) -> None:
        self._at = at
        self._connection: http.client.HTTPConnection | None = None
        self._response: http.client.HTTPResponse | None = None

    def send(self, egress: Egress) -> Head:
        """Sends, and reads the head of the answer."""
        self._at("before")
        url = urlsplit(egress.url)
        connection = self._connection = http.client.HTTPConnection(url.netloc, timeout=30)
        try:
            connection.request(egress.method, url.path, egress.body, dict(egress.headers))
            self._at("sent")
            self._response = connection.getresponse()
        except OSError as e:
            raise UpstreamError(type(e).__name__) from None
        return Head(self._response.status, tuple((k.lower(), v) for k, v in self._response.getheaders()))

    def next_chunk(self) -> bytes | None:
        assert self._response is not None
        assert self._connection is not None
        chunk = self._response.read1(64)
        self._at("streaming")
        if not chunk:
            self._response.close()
            self._connection.close()
        return chunk or None


def ask(guard: Guard, upstream: Exchange | None = None) -> str:
    """What the caller hears: ``answered``, or the code of an error."""
    settings = guard.settings
    headers = (("content-type", "application/json"), ("x-llmguard-mode", "ticket"))
    request = Request("POST", "/chat/completions", "", headers, json.dumps(BODY).encode())
    call = guard.call(request, guard.local_principal(), settings.destination, "acct")
    try:
        pieces = list(guard.run(call, upstream or Exchange()))
    except LLMGuardError as e:
        return e.code
    assert b"[DONE]" in b"".join(p for p in pieces if isinstance(p, bytes))
    return "answered"


def the_only(guard: Guard) -> Approval:
    """The one approval that there is."""
    page, _ = guard.store.read(lambda tx: guard.approvals.list(tx, TENANT))
    assert len(page) == 1
    return page[0]


def vote(guard: Guard, approval: Approval, who: str, verdict: Any = "approve") -> Approval:
    person = Person(TENANT, who, (), True, 0)
    return guard.store.transact(
        lambda tx: guard.approvals.vote(tx, TENANT, approval.id, person, verdict, approval.egress_digest)
    )


def sweep(guard: Guard) -> None:
    guard.store.transact(guard.approvals.sweep)


def log_holds(settings: Settings) -> bool:
    """What ``llmguard audit verify`` says, without the checkpoints of outside."""
    return not audit.verify(settings.data / DATABASE).problems


def in_child(work: Callable[[], None]) -> int:
    """Runs it in a process of its own, and says how that ended."""
    context = multiprocessing.get_context("fork")
    child = context.Process(target=work)
    child.start()
    child.join(60)
    assert child.exitcode is not None
    return child.exitcode


class Deadly:
    """A guard's store in a process that dies right before, or right after, the n-th commit that must reach the disk."""

    def __init__(self, store: Any, at: int, after: bool) -> None:
        self._store, self._left, self._after = store, at, after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def submit(self, work: Any, *, durable: bool = False) -> Any:
        self._left -= durable
        if durable and not self._left and not self._after:
            os._exit(9)
        future = self._store.submit(work, durable=durable)
        if durable and not self._left:
            future.exception(30)
            os._exit(9)
        return future
