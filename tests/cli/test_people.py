"""Users, keys and logins on the command line: alone until two people are there, by two afterwards."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmguard import identity
from llmguard.cli.client import ControlClient, read_credentials
from llmguard.errors import ConfigError
from llmguard.store import wall_ms
from tests.desks import ANN, BO, CY, Desk, Plane, Shell, control_plane


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path / "guard", wall_ms())
    yield made
    made.store.close()


@pytest.fixture
def plane(desk: Desk) -> Iterator[Plane]:
    with control_plane(desk) as running:
        yield running


@pytest.fixture
def host(plane: Plane, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    """The operator's shell, on the guard's host."""
    return Shell(tmp_path / "host", plane.url, capsys, plane.desk.folder)


@pytest.fixture
def ann(plane: Plane, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    """Ann's shell, on another machine."""
    return Shell(tmp_path / "ann", plane.url, capsys)


@pytest.fixture
def bo(plane: Plane, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(tmp_path / "bo", plane.url, capsys)


def test_the_code_stands_alone_on_stdout_and_logs_in(host: Shell, ann: Shell, plane: Plane) -> None:
    added = host("users", "add", "Ann@Example.com")
    assert added.code == 0
    code = added.out.strip()
    assert added.out == f"{code}\n"
    assert f"llmguard login --code {code} --url {plane.url}" in added.err
    logged = ann("login", "--code", code)
    assert (logged.code, logged.out) == (0, "")
    assert ANN in logged.err
    assert stat.S_IMODE(ann.credentials.stat().st_mode) == 0o600
    assert stat.S_IMODE(ann.credentials.parent.stat().st_mode) == 0o700
    assert ann("login", "--code", code).code == 1


def test_logging_out_ends_the_session_there_and_here(host: Shell, ann: Shell) -> None:
    ann("login", "--code", host("users", "add", ANN).out.strip())
    stored = read_credentials(ann.credentials)
    assert stored
    assert ann("logout").code == 0
    assert not ann.credentials.exists()
    with ControlClient(stored.url, stored.token) as client, pytest.raises(Exception, match="over"):
        client.get("/me")
    assert ann("logout").code == 0


def test_until_two_people_are_active_changes_take_effect_alone_and_say_so_in_the_log(host: Shell, desk: Desk) -> None:
    assert host("users", "add", ANN).code == 0
    key = host("keys", "add", "app", "--human", ANN)
    assert key.out.startswith("lg_")
    assert key.out.count("\n") == 1
    who = desk.store.read(lambda tx: identity.authenticate(tx, desk.vault, key.out.strip()))
    assert who.human == ANN
    leaves = desk.store.read(lambda tx: [json.loads(r["leaf"]) for r in tx.all("SELECT leaf FROM audit_entries")])
    assert all("bootstrap" in json.dumps(leaf) for leaf in leaves)
    assert host("users", "add", BO, "--group", "security", "--group", "reviewers").code == 0


def test_a_person_whose_groups_the_provider_says_gets_no_code(host: Shell, desk: Desk) -> None:
    added = host("users", "add", ANN, "--source", "provider")
    assert (added.code, added.out) == (0, "")
    assert "logs in at the identity provider" in added.err
    assert host("users", "code", ANN).code == 1
    [person] = json.loads(host("users", "list", "--json").out)
    assert (person["groups"], person["source"]) == ([], "provider")


def test_afterwards_the_data_folder_refuses_and_says_what_to_do(host: Shell) -> None:
    host("users", "add", ANN)
    host("users", "add", BO)
    for command in (("users", "add", CY), ("keys", "add", "x"), ("keys", "add", "x", "--human", ANN)):
        refused = host(*command)
        assert (refused.code, refused.out) == (1, "")
        assert "llmguard login first" in refused.err


def test_afterwards_people_change_by_two_through_the_control_plane(host: Shell, ann: Shell, bo: Shell) -> None:
    ann("login", "--code", host("users", "add", ANN).out.strip())
    bo("login", "--code", host("users", "add", BO).out.strip())
    asked = ann("users", "add", CY)
    assert (asked.code, asked.out) == (0, "")
    id_ = asked.err.split("approval: ")[1].split()[0]
    assert host("users", "code", CY).code == 1
    assert ann("approvals", "approve", id_).code == 1
    assert "EXECUTED" in bo("approvals", "approve", id_).out
    assert host("users", "code", CY).code == 0
    assert CY in bo("users", "list").out


def test_a_key_for_oneself_needs_nobody_and_one_for_nobody_waits(
    host: Shell, ann: Shell, bo: Shell, desk: Desk
) -> None:
    ann("login", "--code", host("users", "add", ANN).out.strip())
    bo("login", "--code", host("users", "add", BO).out.strip())
    own, waiting = ann("keys", "add", "laptop", "--human", ANN), ann("keys", "add", "bot")
    assert own.out.startswith("lg_")
    assert "waits for somebody else" in waiting.err
    assert desk.store.read(lambda tx: identity.authenticate(tx, desk.vault, own.out.strip())).human == ANN
    bo("approvals", "approve", waiting.err.split("approval: ")[1].split()[0])
    assert desk.store.read(lambda tx: identity.authenticate(tx, desk.vault, waiting.out.strip())).human is None
    rows = json.loads(ann("keys", "list", "--json").out)
    assert {r["name"] for r in rows} == {"laptop", "bot"}
    assert ann("keys", "revoke", rows[0]["id"]).code == 0
    assert "lg_" not in ann("keys", "list").out


def test_deactivating(host: Shell, ann: Shell, bo: Shell) -> None:
    assert host("users", "deactivate", ANN).code == 1
    ann("login", "--code", host("users", "add", ANN).out.strip())
    bo("login", "--code", host("users", "add", BO).out.strip())
    assert "waits for somebody else" in ann("users", "deactivate", BO).err
    assert "is deactivated" in ann("users", "deactivate", ANN).err
    assert ann("users", "list").code == 1


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("users", "add"), 2),
        (("users", "add", "not-an-address"), 1),
        (("users", "add", ANN, "--group", "x", "--no-group"), 2),
        (("users", "add", ANN, "--group", "b a d"), 1),
        (("keys", "add", "app", "--human", "nobody@example.com"), 1),
        (("keys", "add", "na\x1bme"), 1),
        (("keys", "revoke", "01"), 1),
        (("users", "add", ANN, "--group", "x", "--source", "provider"), 2),
        (("login",), 1),
        (("login", "--provider", "corp"), 1),
        (("login", "--code", "wrong"), 1),
        (("login", "--code", "x", "--url", "http://guard.example"), 2),
        (("login", "--code", "x", "--url", "file:///etc/passwd"), 2),
        (("login", "--code", "x", "--url", "http://127.0.0.1:1"), 1),
    ],
)
def test_errors_are_one_line_with_their_exit_code(host: Shell, arguments: tuple[str, ...], code: int) -> None:
    ran = host(*arguments)
    assert (ran.code, ran.out) == (code, "")
    assert ran.err
    assert "Traceback" not in ran.err


def test_a_login_that_others_can_read_is_not_used(host: Shell, ann: Shell) -> None:
    ann("login", "--code", host("users", "add", ANN).out.strip())
    ann.credentials.chmod(0o644)
    assert ann("approvals", "list").code == 2
    with pytest.raises(ConfigError, match="read by others"):
        read_credentials(ann.credentials)


def test_no_group_means_accountable_but_without_a_vote(host: Shell) -> None:
    host("users", "add", ANN, "--no-group")
    assert json.loads(host("users", "list", "--json").out)[0]["groups"] == []
