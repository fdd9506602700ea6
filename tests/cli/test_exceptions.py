"""Exceptions on the command line: the value on standard input, somebody else's approval, a list without it."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from tests.desks import ANN, BO, CY, Desk, Shell

VALUE = "hotline@example.com"


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{VALUE}\n"))


def test_an_exception_waits_for_somebody_else_is_listed_and_removed(desk: Desk, shell: Any, typed: None) -> None:
    bo, cy = shell(BO), shell(CY)
    asked = bo("exceptions", "add", "--type", "email", "--reason", "our hotline", "--expires", "2h")
    assert asked.code == 0, asked
    assert VALUE not in asked.out + asked.err
    id_ = asked.out.strip()
    shown = cy("approvals", "show", id_).out
    assert "our hotline" in shown
    assert VALUE not in shown
    assert VALUE in cy("approvals", "show", id_, "--raw").out
    assert cy("approvals", "approve", id_).code == 0
    listed = bo("exceptions", "list").out
    for word in ("EMAIL", "any", "our hotline", BO, "(in 1 h)"):
        assert word in listed
    [told] = json.loads(bo("exceptions", "list", "--json").out)
    assert VALUE not in json.dumps(told)
    assert "count again" in cy("exceptions", "remove", told["id"].lower()).err
    assert "removed" in bo("exceptions", "list").out


def test_it_is_asked_for_from_a_held_call_too(desk: Desk, shell: Any) -> None:
    held = desk.hold()
    refused = shell(BO)(
        "exceptions", "add", "--approval", held.id, "--placeholder", "[EMAIL_aaaaaaaaaa]", "--reason", "x"
    )
    assert (refused.code, "no such placeholder" in refused.err) == (1, True)


@pytest.mark.parametrize(
    "wrong",
    [
        (),
        ("--type", "EMAIL", "--approval", "X", "--placeholder", "Y"),
        ("--approval", "X"),
        ("--type", "EMAIL", "--placeholder", "Y"),
        ("--type", "EMAIL", "--expires", "long"),
    ],
)
def test_what_is_not_said_clearly_is_used_wrongly(shell: Any, wrong: tuple[str, ...]) -> None:
    assert shell(BO)("exceptions", "add", "--reason", "x", *wrong).code == 2


def test_nothing_is_excepted_at_first(shell: Any) -> None:
    assert "no finding is excepted" in shell(ANN)("exceptions", "list").err


def test_while_one_sets_up_alone_it_is_so_at_once_but_for_secrets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], typed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = Shell(tmp_path / "alone", "http://127.0.0.1:9", capsys)
    secret = alone("exceptions", "add", "--type", "API_KEY", "--reason", "x", "--secret")
    assert (secret.code, "two people" in secret.err) == (1, True)
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{VALUE}\n"))
    assert alone("exceptions", "add", "--type", "EMAIL", "--reason", "our hotline").code == 0
    [told] = json.loads(alone("exceptions", "list", "--json").out)
    assert (told["by"][:9], told["approval"]) == ("operator:", "")
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{VALUE}\n"))
    long = alone("exceptions", "add", "--type", "EMAIL", "--reason", "x", "--expires", "91d")
    assert (long.code, "at most" in long.err) == (1, True)
    assert alone("exceptions", "remove", told["id"]).code == 0
