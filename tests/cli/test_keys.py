"""Keys on the command line: limits, agents, and provider keys that are linked to somebody."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmguard import identity
from llmguard.model import Principal
from llmguard.store import wall_ms
from tests.desks import ANN, BO, Desk, Plane, Shell, control_plane


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
def ann(host: Shell, plane: Plane, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    shell = Shell(tmp_path / "ann", plane.url, capsys)
    shell("login", "--code", host("users", "add", ANN).out.strip())
    return shell


@pytest.fixture
def bo(ann: Shell, host: Shell, plane: Plane, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    shell = Shell(tmp_path / "bo", plane.url, capsys)
    shell("login", "--code", host("users", "add", BO).out.strip())
    return shell


def who(desk: Desk, token: str) -> Principal:
    return desk.store.read(lambda tx: identity.authenticate(tx, desk.vault, token.strip()))


def passed(desk: Desk) -> Principal:
    return desk.store.read(lambda tx: identity.passed_through(tx, desk.vault, "a-provider-key"))


LIMITED = ("--agent", "--scope", "inference", "--scope", "action.db.*", "--expires", "30d")


def test_a_limited_key_on_the_guards_host(host: Shell, desk: Desk) -> None:
    host("users", "add", ANN)
    made = host("keys", "add", "nightly", "--human", ANN, *LIMITED)
    assert made.code == 0
    principal = who(desk, made.out)
    assert (principal.kind, principal.human) == ("agent", ANN)
    assert principal.scopes == ("action.db.*", "inference")
    [key] = json.loads(host("keys", "list", "--json").out)
    assert key["expires"] - key["created"] == 30 * 86_400_000
    shown = host("keys", "list").out
    assert "action.db.* inference" in shown
    assert made.out.strip() not in shown


def test_a_limited_key_for_oneself_through_the_control_plane(ann: Shell, bo: Shell, desk: Desk) -> None:
    made = ann("keys", "add", "nightly", "--human", ANN, *LIMITED)
    assert who(desk, made.out).scopes == ("action.db.*", "inference")
    [key] = json.loads(bo("keys", "list", "--json").out)
    assert (key["kind"], key["linked"]) == ("agent", False)


def test_a_provider_key_is_linked_by_two(ann: Shell, bo: Shell, desk: Desk) -> None:
    digest = identity.unlinked(passed(desk).tenant) or ""
    asked = ann("keys", "link", digest, "--human", ANN, "--expires", "12h")
    assert (asked.code, asked.out) == (0, ""), asked.err
    assert not passed(desk).accountable
    id_ = asked.err.split("approval: ")[1].split()[0]
    assert ann("approvals", "approve", id_).code == 1
    shown = bo("approvals", "show", id_).out
    assert digest in shown.replace("\n", "").replace(" ", "")
    assert bo("approvals", "approve", id_).code == 0
    assert passed(desk).human == ANN


def test_a_provider_key_is_linked_alone_on_the_guards_host_while_it_is_set_up(host: Shell, desk: Desk) -> None:
    host("users", "add", ANN)
    digest = identity.unlinked(passed(desk).tenant) or ""
    assert host("keys", "link", digest, "--human", ANN).code == 0
    [key] = json.loads(host("keys", "list", "--json").out)
    assert key["linked"]
    assert host("keys", "revoke", key["id"]).code == 0


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("add", "app", "--agent"), 1),
        (("add", "app", "--scope", "A B"), 1),
        (("add", "app", "--expires", "soon"), 2),
        (("add", "app", "--expires", "30"), 2),
        (("add", "app", "--expires", "0d"), 1),
        (("add", "app", "--expires", "99999d"), 1),
        (("link", "0" * 64), 2),
        (("link", "0" * 10, "--human", ANN), 1),
        (("link", "0" * 64, "--human", "nobody@example.com"), 1),
    ],
)
def test_errors_are_one_line_with_their_exit_code(host: Shell, arguments: tuple[str, ...], code: int) -> None:
    ran = host("keys", *arguments)
    assert (ran.code, ran.out) == (code, "")
    assert ran.err
    assert "Traceback" not in ran.err
