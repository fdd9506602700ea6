"""``llmguard login`` through a browser and a real identity provider, and the port where the browser comes back."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from llmguard.cli.client import read_credentials
from llmguard.cli.loopback import DONE, Loopback
from llmguard.config import OidcProvider
from llmguard.errors import Unauthenticated
from llmguard.store import wall_ms
from tests.desks import Desk, Plane, control_plane
from tests.identity.provider import ALICE, Browser, IdentityProvider

CHALLENGE = "c" * 43


@pytest.fixture(scope="module")
def idp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IdentityProvider]:
    made = IdentityProvider(tmp_path_factory.mktemp("provider"))
    made.user("alice", "guard-reviewers")
    made.start()
    yield made
    made.stop()


@pytest.fixture
def plane(tmp_path: Path, idp: IdentityProvider) -> Iterator[Plane]:
    desk = Desk(tmp_path / "guard", wall_ms())
    with control_plane(desk, oidc=(OidcProvider.of(idp.table(provision=True)),)) as running:
        yield running
    desk.store.close()


@pytest.fixture
def browser() -> Iterator[Browser]:
    made = Browser()
    yield made
    made.close()


@contextmanager
def running(folder: Path, plane: Plane, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A command of its own process, as a person's shell runs it."""
    config = folder / "config.toml"
    config.write_text(f'credentials = "{folder / "credentials.json"}"\ncontrol_url = "{plane.url}"\n')
    command = [sys.executable, "-m", "llmguard.cli", "--config", str(config), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_login_opens_the_browser_and_ends_with_a_session(plane: Plane, browser: Browser, tmp_path: Path) -> None:
    for again in ((), ("--again",)):
        with running(tmp_path, plane, "login", "--no-browser", *again) as login:
            assert login.stdout
            page = browser.walk(login.stdout.readline().strip(), "alice")
            shown = browser.http.get(page.headers["location"])
            out, err = login.communicate(timeout=20)
        assert (login.returncode, out) == (0, "")
        assert DONE in shown.text
        assert "default-src 'none'" in shown.headers["content-security-policy"]
        assert f"logged in as {ALICE}" in err
    assert browser.forms == 2
    stored = read_credentials(tmp_path / "credentials.json")
    assert stored
    headers = {"authorization": f"Bearer {stored.token}"}
    assert plane.call("GET", "/guard/v1/me", headers=headers).json()["groups"] == ["reviewers"]
    with running(tmp_path, plane, "logout") as logout:
        out, _ = logout.communicate(timeout=20)
    assert out.endswith("/session/end?client_id=llmguard\n")
    assert plane.call("GET", "/guard/v1/me", headers=headers).status_code == 401


def test_a_refused_login_ends_the_command_with_the_reason(
    plane: Plane, browser: Browser, tmp_path: Path, idp: IdentityProvider
) -> None:
    idp.user("eve", email_verified=False)
    with running(tmp_path, plane, "login", "--no-browser") as login:
        assert login.stdout
        page = browser.walk(login.stdout.readline().strip(), "eve")
        shown = browser.http.get(page.headers["location"])
        _, err = login.communicate(timeout=20)
    assert login.returncode == 1
    assert "did not verify" in err
    assert "did not verify" in shown.text
    assert not (tmp_path / "credentials.json").exists()


def test_login_gives_up_when_nobody_comes(plane: Plane, tmp_path: Path) -> None:
    with running(tmp_path, plane, "login", "--no-browser", "--timeout", "1") as login:
        _, err = login.communicate(timeout=20)
    assert login.returncode == 1
    assert "nobody logged in in time" in err


def test_an_unknown_provider_is_named_before_a_browser_opens(plane: Plane, tmp_path: Path) -> None:
    with running(tmp_path, plane, "login", "--provider", "other") as login:
        out, err = login.communicate(timeout=20)
    assert (login.returncode, out) == (2, "")
    assert "corp" in err


# --------------------------------------------------------------------------- the port


@pytest.fixture
def loopback() -> Iterator[Loopback]:
    made = Loopback(CHALLENGE)
    with made.listening():
        yield made


def get(loopback: Loopback, path: str, **headers: str) -> httpx.Response:
    return httpx.get(f"http://127.0.0.1:{loopback.port}{path}", headers=headers, trust_env=False)


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/", {}),
        ("/?code=x", {}),
        ("/?code=x&challenge=", {}),
        (f"/?code=x&challenge={CHALLENGE}x", {}),
        (f"/?code=x&challenge={CHALLENGE}&challenge={CHALLENGE}", {}),
        (f"/other?code=x&challenge={CHALLENGE}", {}),
        (f"/?code=x&challenge={CHALLENGE}", {"host": "evil.example"}),
        (f"/?code=x&challenge={CHALLENGE}", {"host": "127.0.0.1"}),
    ],
)
def test_nothing_but_the_awaited_answer_is_heard(loopback: Loopback, path: str, headers: dict[str, str]) -> None:
    assert get(loopback, path, **headers).status_code == 404
    with pytest.raises(Unauthenticated, match="in time"):
        loopback.code(0.01)


def test_the_first_answer_counts(loopback: Loopback) -> None:
    assert get(loopback, f"/?code=one&challenge={CHALLENGE}").status_code == 200
    assert get(loopback, f"/?code=two&challenge={CHALLENGE}").status_code == 404
    assert loopback.code(1) == "one"


def test_what_the_page_shows_is_escaped(loopback: Loopback) -> None:
    page = get(loopback, f"/?error=%3Cscript%3Ealert(1)%3C/script%3E&challenge={CHALLENGE}").text
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_a_silent_connection_keeps_nobody_waiting(loopback: Loopback) -> None:
    with socket.create_connection(("127.0.0.1", loopback.port)):
        answers: list[Any] = []
        asking = threading.Thread(target=lambda: answers.append(get(loopback, f"/?code=x&challenge={CHALLENGE}")))
        asking.start()
        assert loopback.code(5) == "x"
        asking.join()
    assert answers[0].status_code == 200
