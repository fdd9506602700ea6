"""A real store with people, and a hand that votes, holds and edits the database behind the guard's back."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from llmguard import identity
from llmguard.approvals import Approvals
from llmguard.config import Settings
from llmguard.identity import Cause, Person, PersonChange
from llmguard.model import Approval, Decision, Egress, Grant, Hold, Principal, Requirement, Risk, new_id
from llmguard.proxy.control import control_app
from llmguard.proxy.serve import listener
from llmguard.store import Store
from llmguard.vault import Keyring, Vault

ANN, BO, CY, DEE = (f"{n}@example.com" for n in ("ann", "bo", "cy", "dee"))
TENANT = "default"
START = 1_800_000_000_000


@dataclass
class Desk:
    """Everything that a test of approvals needs; ``now`` is the store's clock."""

    folder: Path
    now: int = START

    def __post_init__(self) -> None:
        self.path = self.folder / "llmguard.db"
        self.vault = Vault(Keyring.open(self.folder / "keys"))
        self.store = Store(self.path, clock=lambda: self.now)
        self.approvals = Approvals(self.vault, url="https://guard.example")
        self.owner = f"{os.getpid()}:{new_id(4_000_000_000_000)}"

    def put(self, email: str, *groups: str, active: bool = True, tenant: str = TENANT) -> Person:
        change = PersonChange(email, groups, active)

        def work(tx: Any) -> Person:
            identity.apply(tx, self.vault, tenant, change, Cause("test"))
            found = identity.person(tx, self.vault, tenant, email)
            assert found
            return found

        return self.store.transact(work)

    def principal(self, human: str | None = ANN, id_: str = "key:1", tenant: str = TENANT) -> Principal:
        return Principal(id_, tenant, "human", "app", human)

    def request(self, principal: Principal | None = None, *, key: str = "k", quorum: int = 1, **more: Any) -> Hold:
        body = more.pop("body", b'{"input": "[PERSON_abcdefghij]"}')
        return Hold(
            principal=principal or self.principal(),
            subject="call",
            operation="responses.create",
            request_key=key,
            egress=Egress("openai", "https://api.example/v1/responses", "acct", "POST", (("accept", "*/*"),), body),
            original=b'{"input": "Jane Roe"}',
            decision=decision(quorum=quorum, **more),
            risk=Risk(80, 20),
            findings={"PERSON": 1},
            grants=(Grant("call", "[PERSON_abcdefghij]", "user"),),
        )

    def hold(self, *args: Any, **more: Any) -> Approval:
        hold = self.request(*args, **more)
        return self.store.transact(lambda tx: self.approvals.hold(tx, hold))

    def vote(self, approval: Approval, email: str, verdict: str = "approve", **more: Any) -> Approval:
        person = Person(more.pop("as_tenant", approval.tenant), email, (), True, 0)
        digest = more.pop("digest", approval.egress_digest)
        return self.store.transact(
            lambda tx: self.approvals.vote(tx, approval.tenant, approval.id, person, verdict, digest, **more)
        )

    def claim(self, approval: Approval, principal: Principal | None = None, **more: Any) -> Egress:
        who, anew = principal or self.principal(approval.human, approval.principal), decision(**more)
        claimed = self.store.transact(
            lambda tx: self.approvals.claim(tx, approval.tenant, approval.id, who, anew, self.owner)
        )
        if isinstance(claimed, Approval):
            self.approvals.outcome(claimed)
            raise AssertionError("it could be claimed and was not")
        return claimed

    def get(self, approval: Approval) -> Approval:
        return self.store.read(lambda tx: self.approvals.get(tx, approval.tenant, approval.id))

    def edit(self, sql: str, *params: Any) -> None:
        """Somebody writes the database without the guard."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as db:
            assert db.execute(sql, params).rowcount > 0

    def staff(self) -> Desk:
        """Ann asks; Bo and Cy review; Dee is of another group. Ann is a reviewer and more herself."""
        for email, *groups in ((ANN, "reviewers", "admins"), (BO, "reviewers"), (CY, "reviewers"), (DEE, "security")):
            self.put(email, *groups)
        return self

    def session(self, email: str, tenant: str = TENANT) -> str:
        """A session's token."""

        def work(tx: Any) -> str:
            code = identity.issue_code(tx, self.vault, tenant, email, Cause("test"))
            return identity.login(tx, self.vault, code).token

        return self.store.transact(work)

    def code(self, email: str) -> str:
        return self.store.transact(lambda tx: identity.issue_code(tx, self.vault, TENANT, email, Cause("test")))

    def log(self) -> list[str]:
        return [r["kind"] for r in self.store.read(lambda tx: tx.all("SELECT kind FROM audit_entries ORDER BY idx"))]


def decision(verdict: str = "require_approval", *, quorum: int = 1, group: str = "reviewers", **more: Any) -> Decision:
    asked = Requirement(more.pop("groups", ((group, quorum),)), **more)
    return Decision(verdict, "risky", "policy-1", "why", asked)  # type: ignore[arg-type]


class Plane:
    """A running control plane, and its callers."""

    def __init__(self, desk: Desk, url: str) -> None:
        self.desk = desk
        self.url = url

    def call(self, method: str, path: str, who: str | None = None, **more: Any) -> httpx.Response:
        """``who``: the address of a person, who logs in for it."""
        headers = dict(more.pop("headers", {}))
        if who is not None:
            headers["authorization"] = f"Bearer {self.desk.session(who, more.pop('tenant', TENANT))}"
        with httpx.Client(base_url=self.url, trust_env=False) as client:
            return client.request(method, path, headers=headers, **more)


@contextmanager
def control_plane(
    desk: Desk,
    *,
    revise: Any = None,
    room: Any = None,
    pages: Any = None,
    setup: str = "",
    bench: Any = None,
    **settings: Any,
) -> Iterator[Plane]:
    """The control plane on a free port of the loopback, in a thread."""
    listening = listener("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    known = Settings(**{"data": desk.folder, "control_url": url, **settings})
    plane = (desk.store, desk.vault, desk.approvals, known)
    app = control_app(*plane, revise=revise, room=room, pages=pages, setup=setup, bench=bench)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, http="httptools", lifespan="off"))
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.005)
        yield Plane(desk, url)
    finally:
        server.should_exit = True
        thread.join()


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str


class Shell:
    """Runs ``llmguard`` commands as somebody, each with a configuration and a login file of its own."""

    def __init__(self, folder: Path, url: str, capsys: Any, data: Path | None = None) -> None:
        folder.mkdir(parents=True)
        self.credentials = folder / "login" / "credentials.json"
        self.data = data or folder / "data"
        self.config = folder / "config.toml"
        self.config.write_text(f'data = "{self.data}"\ncredentials = "{self.credentials}"\ncontrol_url = "{url}"\n')
        self._capsys = capsys

    def __call__(self, *arguments: str) -> Ran:
        from llmguard.cli import main

        self._capsys.readouterr()
        code: Any = 0
        try:
            main(["--config", str(self.config), *arguments])
        except SystemExit as e:
            code = e.code or 0
        out, err = self._capsys.readouterr()
        return Ran(code, out, err)
