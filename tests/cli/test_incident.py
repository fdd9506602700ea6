"""Incidents on the command line: the value on standard input, in no argument, and shown nowhere."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

import pytest

from llmguard.store import calls
from tests.desks import ANN, BO, TENANT, Desk
from tests.kept import EMAIL, facts, keep

VALUE = "jane.roe@example.org"


@pytest.fixture
def stood(desk: Desk) -> str:
    """A call that the value stood in."""
    id_ = keep(desk, facts(at=desk.now))
    digest = desk.vault.digest(TENANT, "EMAIL", VALUE)
    desk.store.transact(lambda tx: tx.run("INSERT INTO occurrences VALUES (?, ?, ?)", TENANT, digest, id_))
    assert desk.store.read(lambda tx: calls.where(tx, TENANT, digest)) == [id_]
    return id_


def say(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(value + "\n"))


def test_where_a_value_went_is_shown_without_it(shell: Any, stood: str, monkeypatch: pytest.MonkeyPatch) -> None:
    say(monkeypatch, VALUE)
    bo = shell(BO)
    ran = bo("incident", "where", "--type", "email")
    assert ran.code == 0, ran
    for word in (stood, "EMAIL", f"{ANN} (key:1)", "openai", "redact (default)", "redacted"):
        assert word in ran.out
    assert "the log has the commitment" in ran.err
    assert VALUE not in ran.out + ran.err
    say(monkeypatch, VALUE)
    told = json.loads(bo("incident", "where", "--type", "EMAIL", "--json").out)
    assert ([c["call"] for c in told["calls"]], len(told["looks"])) == ([stood], 1)


def test_a_value_that_stood_nowhere_is_said_to(shell: Any, stood: str, monkeypatch: pytest.MonkeyPatch) -> None:
    say(monkeypatch, "somebody@example.org")
    ran = shell(BO)("incident", "where", "--type", "EMAIL")
    assert (ran.code, ran.out) == (0, "")
    assert "no call that is kept held it" in ran.err


def test_no_value_and_no_type_where_nothing_is_scanned_are_refused(
    shell: Any, stood: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(monkeypatch, "")
    bo = shell(BO)
    assert "no value" in bo("incident", "where", "--type", "EMAIL").err
    say(monkeypatch, VALUE)
    ran = bo("incident", "where")
    assert (ran.code, "say which type" in ran.err) == (1, True)


def test_a_value_is_never_an_argument(shell: Any) -> None:
    assert shell(BO)("incident", "where", VALUE).code == 2


def test_without_a_scanner_nothing_is_looked_through(shell: Any) -> None:
    ran = shell(BO)("incident", "rescan", "--since", "1d")
    assert (ran.code, "nothing is scanned here" in ran.err) == (1, True)


def test_a_call_that_is_not_redacted_whole_is_marked(desk: Desk, shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    identity = desk.vault.digest(TENANT, "EMAIL", VALUE).hex()
    sent = replace(EMAIL, identity=identity, category="secret", redactable=False, place="credential")
    keep(desk, facts(sent, at=desk.now))
    say(monkeypatch, VALUE)
    assert "in part as written" in shell(BO)("incident", "where", "--type", "EMAIL").out
