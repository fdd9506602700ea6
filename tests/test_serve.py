"""``llmguard serve`` as its operator runs it: a process of its own, killed and started again."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from llmguard.testing import EchoUpstream, Fakes

RULES = """
[[rules]]
name = "secrets"
when = 'findings.exists(f, f.category == "secret")'
verdict = "require_approval"
reason = "a secret is in it"
"""


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@dataclass
class Operator:
    """Somebody at a terminal: commands, a server to start and kill, and HTTP to both planes."""

    folder: Path
    upstream: EchoUpstream
    port: int
    control_port: int
    server: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "LLMGUARD_CONFIG": str(self.folder / "config.toml"),
            "LLMGUARD_UPSTREAM_KEY": "key-of-the-provider",
            "LLMGUARD_NAMES": "false",
        }

    def run(self, *arguments: str, who: str = "operator", ok: bool = True) -> str:
        environment = self.environment | {"LLMGUARD_CREDENTIALS": str(self.folder / f"{who}.json")}
        done = subprocess.run(
            [sys.executable, "-m", "llmguard.cli", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (done.returncode == 0) is ok, done.stderr
        return done.stdout if ok else done.stderr

    def start(self) -> None:
        """Starts the server and waits until it is ready: it is healthy before that."""
        with (self.folder / "stderr").open("ab") as errors:
            command = [sys.executable, "-m", "llmguard.cli", "serve"]
            self.server = subprocess.Popen(command, env=self.environment, stderr=errors)
        for path in ("/healthz", "/readyz"):
            self._until_answered(path)

    def _until_answered(self, path: str) -> None:
        assert self.server
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                    assert answer.status == 200
                    return
            except OSError:  # no connection yet, or 503
                assert self.server.poll() is None, (self.folder / "stderr").read_text()
                time.sleep(0.01)
        raise AssertionError(f"serve did not answer {path}")

    def kill(self) -> None:
        assert self.server
        self.server.send_signal(signal.SIGKILL)
        self.server.wait(10)

    def stop(self) -> int:
        assert self.server
        self.server.send_signal(signal.SIGTERM)
        return self.server.wait(20)

    def ask(self, key: str, content: str) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        body = json.dumps({"model": "m", "messages": [{"role": "user", "content": content}]})
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        connection.request("POST", "/v1/chat/completions", body, headers)
        response = connection.getresponse()
        answer = json.loads(response.read())
        connection.close()
        return response.status, answer

    def login(self, email: str, who: str) -> None:
        """Adds a person (before two are active, the operator does it alone) and logs them in."""
        code = self.run("users", "add", email).split()[0]
        self.run("login", "--code", code, "--url", f"http://127.0.0.1:{self.control_port}", who=who)


@pytest.fixture
def operator(tmp_path: Path, upstream: EchoUpstream) -> Iterator[Operator]:
    made = Operator(tmp_path, upstream, free_port(), free_port())
    (tmp_path / "config.toml").write_text(
        f'data = "data"\nport = {made.port}\ncontrol_port = {made.control_port}\nupstream = "{upstream.url}"\n'
        f'control_url = "http://127.0.0.1:{made.control_port}"\nupstream_name = "echo"\nhold = "ticket"\n{RULES}'
    )
    yield made
    if made.server and made.server.poll() is None:
        made.kill()


def test_held_call_survives_a_kill_is_decided_and_goes_through_once(operator: Operator, fakes: Fakes) -> None:
    operator.start()
    operator.login("ann@example.org", "ann")
    key = operator.run("keys", "add", "app", "--human", "ann@example.org").strip()
    operator.login("bob@example.org", "bob")
    token = fakes.token()
    status, held = operator.ask(key, token)
    assert (status, held["error"]["code"]) == (409, "approval_pending")
    operator.kill()
    operator.start()
    id_ = held["error"]["approval_id"]
    assert id_ in operator.run("approvals", "list", who="bob")
    assert token not in operator.run("approvals", "show", id_, who="bob")
    refused = operator.run("approvals", "approve", id_, who="ann", ok=False)
    assert "somebody else" in refused
    assert operator.ask(key, token)[1]["error"]["code"] == "approval_pending"
    operator.run("approvals", "approve", id_, who="bob")
    status, answer = operator.ask(key, token)
    assert (status, answer["choices"][0]["message"]["content"]) == (200, f"You wrote: {token}")
    assert operator.ask(key, token) == (status, answer)
    assert len(operator.upstream.received) == 1
    assert token not in operator.upstream.received[0].body.decode()
    assert operator.stop() == 0
    assert "the log holds" in operator.run("audit", "verify")
    assert token not in (operator.folder / "stderr").read_text()


def test_call_that_waits_when_the_guard_is_killed_is_decided_later_and_sent_once(
    operator: Operator, fakes: Fakes
) -> None:
    configuration = operator.folder / "config.toml"
    configuration.write_text(configuration.read_text().replace('hold = "ticket"', 'hold = "wait"'))
    operator.start()
    operator.login("ann@example.org", "ann")
    key = operator.run("keys", "add", "app", "--human", "ann@example.org").strip()
    operator.login("bob@example.org", "bob")
    token = fakes.token()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(operator.ask, key, token)
        while not (rows := json.loads(operator.run("approvals", "list", "--json", who="bob"))):
            assert not waiting.done()
        operator.kill()
        with pytest.raises(ConnectionError):
            waiting.result(20)
        operator.start()
        again = pool.submit(operator.ask, key, token)
        operator.run("approvals", "approve", rows[0]["id"], who="bob")
        status, answer = again.result(20)
    assert (status, answer["choices"][0]["message"]["content"]) == (200, f"You wrote: {token}")
    assert len(operator.upstream.received) == 1


def test_vote_forged_in_the_database_does_not_survive_the_claim(operator: Operator, fakes: Fakes) -> None:
    operator.start()
    operator.login("ann@example.org", "ann")
    key = operator.run("keys", "add", "app", "--human", "ann@example.org").strip()
    operator.login("bob@example.org", "bob")
    token = fakes.token()
    _, held = operator.ask(key, token)
    id_ = held["error"]["approval_id"]
    with sqlite3.connect(operator.folder / "data" / "llmguard.db") as db:
        row = db.execute("SELECT tenant, egress_digest FROM approvals WHERE id = ?", (id_,)).fetchone()
        db.execute(
            "INSERT INTO votes VALUES (?, ?, 'bob@example.org', 'approve', '', ?, 1, 1, 'forged')",
            (row[0], id_, row[1]),
        )
        db.execute("UPDATE approvals SET state = 'APPROVED' WHERE id = ?", (id_,))
    db.close()
    status, answer = operator.ask(key, token)
    assert status in (403, 409, 503), answer
    assert not operator.upstream.received


def test_reviewers_session_is_worth_nothing_on_the_data_plane_nor_a_key_on_the_control_plane(
    operator: Operator, fakes: Fakes
) -> None:
    operator.start()
    operator.login("ann@example.org", "ann")
    key = operator.run("keys", "add", "app", "--human", "ann@example.org").strip()
    session = json.loads((operator.folder / "ann.json").read_text())["token"]
    assert operator.ask(session, "hello")[0] == 401
    connection = http.client.HTTPConnection("127.0.0.1", operator.control_port, timeout=20)
    connection.request("GET", "/guard/v1/approvals", headers={"authorization": f"Bearer {key}"})
    assert connection.getresponse().status == 401
    connection.close()


def test_same_value_has_the_same_placeholder_after_a_restart(operator: Operator, fakes: Fakes) -> None:
    operator.start()
    operator.login("ann@example.org", "ann")
    key = operator.run("keys", "add", "app", "--human", "ann@example.org").strip()
    email = fakes.email()
    operator.ask(key, email)
    operator.kill()
    operator.start()
    operator.ask(key, email)
    one, two = (r.body for r in operator.upstream.received)
    assert one == two
    assert email.encode() not in one


def test_port_in_use_is_said_plainly(operator: Operator) -> None:
    with socket.socket() as s:
        s.bind(("127.0.0.1", operator.port))
        s.listen()
        assert "choose another port" in operator.run("serve", ok=False)


def test_starting_server_is_healthy_and_refuses_until_it_is_open() -> None:
    """The front of a plane that is not open: no state, no guard, typed answers."""
    import asyncio

    from llmguard.proxy.front import Front

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    for path in ("/healthz", "/v1/chat/completions"):
        asyncio.run(Front()({"type": "http", "path": path}, None, send))
    assert [m["status"] for m in sent if "status" in m] == [200, 503]
    assert json.loads(sent[-1]["body"])["error"]["code"] == "guard_unavailable"
    assert (b"retry-after", b"1") in sent[-2]["headers"]


def test_sighup_reads_a_policy_file_again_that_looks_like_before(operator: Operator) -> None:
    configuration, policy = operator.folder / "config.toml", operator.folder / "policy.toml"
    configuration.write_text(configuration.read_text().replace(RULES, 'policy = "policy.toml"\n'))
    policy.write_text('[[rules]]\nname = "one"\nverdict = "redact"\n')
    operator.start()
    key = operator.run("keys", "add", "app").strip()
    assert operator.ask(key, "hello")[0] == 200
    at = policy.stat()
    policy.write_text('[[rules]]\nname = "two"\nverdict = "block" \n'[: at.st_size])
    os.utime(policy, ns=(at.st_atime_ns, at.st_mtime_ns))
    assert policy.stat().st_size == at.st_size
    assert operator.server
    operator.server.send_signal(signal.SIGHUP)
    end = time.monotonic() + 20
    while (answer := operator.ask(key, "hello"))[0] == 200:
        assert time.monotonic() < end
        time.sleep(0.05)  # between two looks
    assert (answer[0], answer[1]["error"]["code"]) == (403, "blocked")
    assert operator.stop() == 0
