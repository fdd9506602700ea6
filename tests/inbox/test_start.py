"""``llmguard serve`` says where the inbox is, and lets whoever reads its terminal make the first person there."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The inbox's address, and what the terminal shows."""
    data, control = free_port(), free_port()
    url, terminal = f"http://127.0.0.1:{control}", tmp_path / "terminal"
    config = tmp_path / "config.toml"
    config.write_text(
        f'data = "{tmp_path / "data"}"\nport = {data}\ncontrol_port = {control}\ncontrol_url = "{url}"\nnames = false\n'
    )
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LLMGUARD_CONFIG": str(config)}
    with terminal.open("ab") as errors:
        process = subprocess.Popen([sys.executable, "-m", "llmguard.cli", "serve"], env=environment, stderr=errors)
    try:
        end = time.monotonic() + 60
        while "inbox " not in terminal.read_text():
            assert process.poll() is None, terminal.read_text()
            assert time.monotonic() < end
            time.sleep(0.02)  # between two looks
        time.sleep(0.1)  # the lines behind it come in the same moment
        yield url, terminal
    finally:
        process.terminate()
        assert process.wait(20) == 0


def test_the_terminal_shows_a_token_that_makes_the_first_person(server: tuple[str, Path]) -> None:
    url, terminal = server
    shown = terminal.read_text()
    assert f"inbox          {url}/inbox" in shown
    assert f"{url}/inbox/setup" in shown
    [token] = re.findall(r"set-up token +([a-z2-7-]{29})", shown)
    with httpx.Client(base_url=url, trust_env=False, headers={"origin": url}) as browser:
        assert browser.get("/inbox").status_code == 303
        assert "Set-up token" in browser.get("/inbox/setup").text
        made = browser.post("/inbox/setup", data={"token": token, "email": "first@example.com"})
        assert made.status_code == 303
        assert "first@example.com" in browser.get("/inbox").text
        assert browser.get("/guard/v1/setup").json() == {"open": False}
