"""Passwords over HTTP, and on the command line."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmguard.proxy.control.attempts import Attempts
from llmguard.proxy.control.passwords import RECENT_MS, WAITING
from llmguard.store import wall_ms
from tests.desks import ANN, BO, Desk, Plane, Shell, control_plane

WORD, OTHER = "correct horse battery staple", "another horse battery staple"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path / "guard", wall_ms())
    made.put(ANN, "reviewers")
    made.put(BO, "reviewers")
    yield made
    made.store.close()


@pytest.fixture
def plane(desk: Desk) -> Iterator[Plane]:
    with control_plane(desk) as running:
        yield running


def put(plane: Plane, who: str = ANN, word: str = WORD) -> int:
    return plane.call("POST", "/guard/v1/password", who, json={"password": word}).status_code


def login(plane: Plane, email: str = ANN, word: Any = WORD) -> tuple[int, dict[str, Any]]:
    answer = plane.call("POST", "/guard/v1/login", json={"email": email, "password": word})
    return answer.status_code, answer.json()


def test_a_person_sets_a_password_and_logs_in_with_it(plane: Plane) -> None:
    assert login(plane)[0] == 401
    assert put(plane) == 204
    status, answer = login(plane, ANN.upper())
    assert (status, answer["email"]) == (200, ANN)
    me = plane.call("GET", "/guard/v1/me", headers={"authorization": f"Bearer {answer['token']}"}).json()
    assert me["session"]["method"] == "password"
    assert WORD not in str(answer)


@pytest.mark.parametrize(
    "body",
    [
        {"email": ANN},
        {"password": WORD},
        {"email": ANN, "password": WORD, "code": "x"},
        {"email": ANN, "password": 7},
        {"email": ANN, "password": "x" * 201},
        {"email": ["x"], "password": WORD},
        {},
    ],
)
def test_half_a_login_is_none(plane: Plane, body: dict[str, Any]) -> None:
    put(plane)
    assert plane.call("POST", "/guard/v1/login", json=body).status_code in (400, 401)


def test_setting_a_password_needs_a_session_of_the_last_minutes(plane: Plane, desk: Desk) -> None:
    assert plane.call("POST", "/guard/v1/password", json={"password": WORD}).status_code == 401
    token = desk.session(ANN)
    desk.now += RECENT_MS + 1
    answer = plane.call(
        "POST", "/guard/v1/password", json={"password": WORD}, headers={"authorization": f"Bearer {token}"}
    )
    assert answer.status_code == 403
    assert "log in again" in answer.json()["detail"]


@pytest.mark.parametrize("word", ["short", ANN, "x" * 201, "x" * 801, "", None, 5])
def test_what_is_no_password_is_a_bad_request(plane: Plane, word: Any) -> None:
    assert put(plane, word=word) == 400


def test_an_account_is_not_guessed_at_even_from_many_addresses(plane: Plane) -> None:
    put(plane)
    codes = [login(plane, word=OTHER)[0] for _ in range(Attempts.LIMIT)]
    assert codes == [401] * Attempts.LIMIT
    status, answer = login(plane)
    assert (status, answer["title"]) == (429, "too many attempts")


def test_a_flood_of_logins_is_hashed_two_at_a_time_and_the_plane_answers_meanwhile(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Attempts, "LIMIT", 10_000)
    put(plane)
    answers: list[int] = []
    threads = [
        threading.Thread(target=lambda n=n: answers.append(login(plane, f"p{n}@example.com")[0]))
        for n in range(WAITING + 12)
    ]
    for thread in threads:
        thread.start()
    assert plane.call("GET", "/healthz").status_code == 200
    for thread in threads:
        thread.join()
    assert set(answers) <= {401, 503}
    assert answers.count(401) >= WAITING
    assert login(plane)[0] == 200


def test_a_password_on_the_command_line(
    plane: Plane, desk: Desk, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = Shell(tmp_path / "ann", plane.url, capsys)

    def typed(text: str) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO(text + "\n"))

    assert ann("login", "--code", desk.code(ANN)).code == 0
    typed("short")
    refused = ann("users", "password")
    assert refused.code == 1
    assert "characters" in refused.err
    typed(WORD)
    assert ann("users", "password").code == 0
    assert ann("logout").code == 0
    typed(OTHER)
    assert ann("login", "--email", ANN).code == 1
    typed(WORD)
    logged = ann("login", "--email", ANN)
    assert (logged.code, logged.out) == (0, "")
    assert ANN in logged.err
    assert WORD not in ann.credentials.read_text()
