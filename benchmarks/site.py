"""A guard's site for benchmarks: a data folder with people and keys, and ``llmguard serve`` as a process of its own.

People and keys are set up as the host's operator does it before two people are active.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter, sleep
from typing import Any
from urllib.parse import urlsplit

from llmguard import identity
from llmguard.config import Settings
from llmguard.guard import Guard
from llmguard.identity import Cause, PersonChange
from llmguard.store import Transaction

PATIENCE = 60
"""Seconds that a server may take to start."""
_SETUP = Cause(identity.OPERATOR, bootstrap=True)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port


def start(module: str, *arguments: str, environment: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    """A process that runs a module of ours."""
    command = [sys.executable, "-m", module, *arguments]
    root = Path(__file__).parent.parent
    return subprocess.Popen(command, env=os.environ | (environment or {}), stderr=subprocess.DEVNULL, cwd=root)  # noqa: S603


def ready(url: str) -> bool:
    """Whether a server takes calls: a guard answers /readyz with 503 while it opens and loads its model."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=1)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status != 503
    except OSError:
        return False
    finally:
        connection.close()


def wait_until_ready(name: str, url: str, process: subprocess.Popen[bytes]) -> None:
    """Raises RuntimeError if it ended, or after ``PATIENCE`` seconds."""
    end = perf_counter() + PATIENCE
    while not ready(url):
        if process.poll() is not None or perf_counter() > end:
            raise RuntimeError(f"{name} is not ready")
        sleep(0.02)


@dataclass
class Site:
    """One data folder. ``guard`` is this process's own, beside whatever else works on the same folder."""

    settings: Settings

    def __post_init__(self) -> None:
        port, control = free_port(), free_port()
        url = f"http://127.0.0.1:{control}"
        self.settings = replace(self.settings, port=port, control_port=control, control_url=url)
        self.guard = Guard(self.settings, advisory=False)
        self.config = self.settings.data.with_name("site.toml")

    def __enter__(self) -> Site:
        return self

    def __exit__(self, *_: object) -> None:
        self.guard.close()

    @property
    def url(self) -> str:
        """Base URL of the data plane, with ``/v1``."""
        return f"http://127.0.0.1:{self.settings.port}/v1"

    @property
    def control(self) -> str:
        """Base URL of the control plane's API."""
        return f"{self.settings.control_url}/guard/v1"

    def person(self, email: str, *groups: str) -> None:
        """An active person."""
        change = PersonChange(email, groups, True)
        vault, tenant = self.guard.vault, self.settings.tenant
        self.guard.store.transact(lambda tx: identity.apply(tx, vault, tenant, change, _SETUP))

    def session(self, email: str) -> str:
        """A session's token of a person."""
        vault, tenant = self.guard.vault, self.settings.tenant
        code = self.guard.store.transact(lambda tx: identity.issue_code(tx, vault, tenant, email, _SETUP))
        return self.guard.store.transact(lambda tx: identity.login(tx, vault, code)).token

    def key(self, name: str, human: str) -> str:
        """A new ``lg_`` key that ``human`` is accountable for."""
        vault, tenant = self.guard.vault, self.settings.tenant

        def work(tx: Transaction) -> str:
            token, change = identity.new_key(tx, vault, name, human)
            identity.apply(tx, vault, tenant, change, _SETUP)
            return token

        return self.guard.store.transact(work)

    def serve(self) -> subprocess.Popen[bytes]:
        """Starts ``llmguard serve`` on this folder. It is not ready yet."""
        self.config.write_text(_toml(self.settings))
        environment = {"LLMGUARD_CONFIG": str(self.config), "LLMGUARD_UPSTREAM_KEY": "none", "LLMGUARD_KEY": ""}
        return start("llmguard.cli", "serve", environment=environment)

    def pending(self) -> int:
        """How many approvals wait for people."""
        row = self.guard.store.read(lambda tx: tx.one("SELECT count(*) AS n FROM approvals WHERE state = 'PENDING'"))
        assert row is not None
        return int(row["n"])


_WRITTEN = (
    *("data", "upstream", "upstream_name", "port", "control_port", "control_url", "names", "hold_wait"),
    *("max_waiting", "checkpoint_every", "replay_window"),
)


def _toml(settings: Settings) -> str:
    lines = [f"{name} = {_literal(getattr(settings, name))}" for name in _WRITTEN]
    for rule in settings.rules or ():
        lines += ["[[rules]]", *(f"{key} = {_literal(value)}" for key, value in rule.items())]
    return "\n".join(lines) + "\n"


def _literal(value: Any) -> str:
    """A TOML literal of a setting: JSON's are."""
    return json.dumps(value if isinstance(value, (bool, int, float)) else str(value))


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ends a server in order."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(20)
    process.kill()
    process.wait()
