"""A real identity provider on loopback (npm oidc-provider), and a browser that logs in there."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc.jwk import RSAKey

SERVER = Path(__file__).parent / "oidc" / "server.mjs"
ALICE, BOB = "alice@example.com", "bob@example.com"


def modules() -> str:
    """The folder where the package is installed; a bare machine may lack it, CI may not."""
    folder = os.environ.get("LLMGUARD_OIDC_PROVIDER", "")
    if (Path(folder) / "node_modules" / "oidc-provider").is_dir() and shutil.which("node"):
        return folder
    missing = "needs node and LLMGUARD_OIDC_PROVIDER, where npm installed tests/identity/oidc/package.json"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


class IdentityProvider:
    """``users`` are read anew whenever the provider looks somebody up; keys at each start."""

    def __init__(self, folder: Path) -> None:
        self._modules = modules()
        self._state = folder / "provider.json"
        with socket.create_server(("127.0.0.1", 0)) as s:
            self.port = s.getsockname()[1]
        self.issuer = f"http://127.0.0.1:{self.port}"
        self.secret = secrets.token_urlsafe(24)
        self.keys: list[dict[str, Any]] = [new_key("first")]
        self.users: dict[str, dict[str, Any]] = {}
        self._process: subprocess.Popen[str] | None = None

    def user(self, name: str, *groups: str, **more: Any) -> None:
        told = {"email": f"{name}@example.com", "email_verified": True, "groups": list(groups), "disabled": False}
        self.users[name] = {**told, **more}
        self.write()

    def write(self) -> None:
        self._state.write_text(json.dumps({"users": self.users, "keys": self.keys, "secret": self.secret}))

    def start(self) -> None:
        self.write()
        command = ["node", str(SERVER), self._modules, str(self.port), str(self._state)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self._process.stdout
        assert self._process.stdout.readline() == "ready\n"

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.communicate(timeout=10)
            self._process = None

    def rotate(self) -> None:
        """Signs with a new key from now on; the old one is gone."""
        self.stop()
        self.keys = [new_key(secrets.token_hex(4))]
        self.start()

    def table(self, **more: Any) -> dict[str, Any]:
        """The configuration of this provider."""
        return {
            "name": "corp",
            "issuer": self.issuer,
            "client_id": "llmguard",
            "client_secret": self.secret,
            "scopes": ["openid", "email", "groups", "offline_access"],
            "groups": {"guard-reviewers": ["reviewers"], "guard-security": ["security"]},
            **more,
        }


def new_key(kid: str) -> dict[str, Any]:
    key = RSAKey.generate_key(2048, {"kid": kid, "use": "sig", "alg": "RS256"}, private=True, auto_kid=False)
    return dict(key.as_dict(private=True))


class Browser:
    """Cookies, and where it ends up. It stops before it would leave for the command line's port."""

    def __init__(self) -> None:
        self.http = httpx.Client(trust_env=False, follow_redirects=False)
        self.forms = 0

    def close(self) -> None:
        self.http.close()

    def walk(self, url: str, login: str) -> httpx.Response:
        """Follows from ``url`` on and logs in where it is asked to; returns the callback's answer, or a refusal."""
        answer = self.http.get(url)
        for _ in range(20):
            if answer.status_code == 200 and "<form" in answer.text:
                self.forms += 1
                answer = self.http.post(answer.url, data={"login": login})
            elif answer.is_redirect and "/login/callback/" not in answer.url.path:
                answer = self.http.get(answer.url.join(answer.headers["location"]))
            else:
                return answer
        raise AssertionError("the browser goes in circles")
