"""A whole guard that holds everything, its people with their sessions, and an upstream that keeps what it received."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass, field
from typing import Any

from llmguard import identity
from llmguard.approvals import rules
from llmguard.approvals.rules import PolicyChange
from llmguard.identity import Cause, PersonChange
from llmguard.model import Approval
from llmguard.testing import EchoUpstream, LocalGuard

ANN, BO, CY, DEE = (f"{n}@example.com" for n in ("ann", "bo", "cy", "dee"))
HOLD = ({"name": "all", "when": "true", "verdict": "require_approval", "reason": "everything is held here"},)
"""Every call waits for one reviewer."""
TENANT = "default"


@dataclass
class Office:
    """Ann asks, Bo and Cy review, Dee is of another group; all through real sockets."""

    local: LocalGuard
    upstream: EchoUpstream
    sessions: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for email, *groups in ((ANN, "reviewers", "admins"), (BO, "reviewers"), (CY, "reviewers"), (DEE, "security")):
            self.login(email, *groups)
        self.key = self.local.key("app", ANN)

    def login(self, email: str, *groups: str) -> None:
        """Somebody is active, of these groups (none named: reviewers), and has a session."""
        code = self.local.person(email, *groups)
        self.sessions[email] = self.control(None, "/login", {"code": code})[1]["token"]

    # ----------------------------------------------------------------- as an application

    def ask(
        self, text: str = "hello", key: str = "", path: str = "/v1/chat/completions", **fields: Any
    ) -> tuple[int, dict[str, Any]]:
        """One call. ``headers`` among the fields are sent as such."""
        headers = {"authorization": f"Bearer {key or self.key}", **fields.pop("headers", {})}
        body = {"model": "m", "messages": [{"role": "user", "content": text}], **fields}
        return exchange(self.local.port, "POST", path, headers, body)

    def held(self, *args: Any, **more: Any) -> str:
        """The id of the approval that a call waits for."""
        status, answer = self.ask(*args, **more)
        assert (status, answer["error"]["code"]) == (409, "approval_pending"), answer
        return str(answer["error"]["approval_id"])

    @property
    def sent(self) -> int:
        return len(self.upstream.received)

    # ----------------------------------------------------------------- as people

    def control(self, who: str | None, path: str, body: Any = None, method: str = "") -> tuple[int, dict[str, Any]]:
        headers = {} if who is None else {"authorization": f"Bearer {self.sessions[who]}"}
        method = method or ("GET" if body is None else "POST")
        return exchange(self.local.control_port, method, f"/guard/v1{path}", headers, body)

    def vote(self, who: str, id_: str, verdict: str = "approve", **more: Any) -> int:
        """The status that the control plane answers a vote with."""
        body = {"verdict": verdict, "digest": self.approval(id_).egress_digest, **more}
        return self.control(who, f"/approvals/{id_}/votes", body)[0]

    # ----------------------------------------------------------------- as the owner of the host, who looks or changes

    def approval(self, id_: str) -> Approval:
        guard = self.local.guard
        return guard.store.read(lambda tx: guard.approvals.get(tx, TENANT, id_))

    def put(self, email: str, *groups: str, active: bool = True) -> None:
        guard, change = self.local.guard, PersonChange(email, groups, active)
        guard.store.transact(lambda tx: identity.apply(tx, guard.vault, TENANT, change, Cause("test")))

    def policy(self, *made: dict[str, Any]) -> None:
        """Puts rules in force, as an approved change would."""
        guard, change = self.local.guard, PolicyChange(json.dumps({"rules": made}))
        guard.store.transact(lambda tx: rules.apply(tx, guard.vault, TENANT, change, Cause("test")))

    def log(self, kind: str = "") -> list[dict[str, Any]]:
        guard = self.local.guard
        rows = guard.store.read(lambda tx: tx.all("SELECT kind, leaf FROM audit_entries ORDER BY idx"))
        return [{"kind": r["kind"], **json.loads(r["leaf"])["details"]} for r in rows if kind in ("", r["kind"])]


def exchange(port: int, method: str, path: str, headers: dict[str, str], body: Any) -> tuple[int, dict[str, Any]]:
    """One request and its answer, over a connection of its own. ``body``: bytes as they are, else JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection.request(method, path, content, {"content-type": "application/json", **headers})
        response = connection.getresponse()
        return response.status, json.loads(response.read() or b"{}")
    finally:
        connection.close()
