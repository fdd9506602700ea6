"""``approvals watch`` before a running control plane: on a real terminal, and in a pipe."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from llmguard.cli.client import Credentials, write_credentials
from llmguard.cli.watch import Down, Link, Listed, feed
from llmguard.config import Settings
from llmguard.errors import Conflict
from tests.desks import ANN, BO, CY, Desk, Plane, Shell
from tests.terminal import Terminal

EVIL = '{"input": "\x1b[2J\u202egnp.exe\u200b\x9b31m"}'.encode()


@pytest.fixture
def sitting(shell: Callable[[str], Shell]) -> Callable[..., Terminal]:
    def of(email: str, *arguments: str, **size: int) -> Terminal:
        return Terminal(shell(email).config, "approvals", *arguments, **size)

    return of


def test_one_looks_reads_approves_and_leaves(desk: Desk, sitting: Callable[..., Terminal]) -> None:
    approval = desk.hold(body=json.dumps({"input": ["word"] * 60}).encode())
    with sitting(BO, "watch", columns=80, rows=24) as bo:
        bo.until("1 waiting", BO, approval.id[:13], "characters unread")
        bo.type("a")
        bo.until("were not on the screen yet")
        bo.type("f")
        for _ in range(9):
            bo.type(" ")
        bo.until("all read")
        bo.type("a")
        bo.until(f"approve {approval.egress_digest[:12]}… as {BO}? y/N")
        assert desk.get(approval).state == "PENDING"
        bo.type("y")
        bo.until(f"{approval.id} is APPROVED", "0 waiting")
        bo.type("qq")
        assert bo.ended() == 0
        assert bo.sent.endswith("\x1b[?25h\x1b[?1049l")
    assert [v.human for v in desk.get(approval).votes] == [BO]


def test_a_key_that_was_typed_before_the_question_does_not_answer_it(
    desk: Desk, sitting: Callable[..., Terminal]
) -> None:
    approval = desk.hold()
    with sitting(BO, "watch") as bo:
        bo.until("all read")
        bo.type("ay")
        bo.until("y/N")
        bo.type("n")
        bo.until("nothing was voted")
    assert desk.get(approval).votes == ()


def test_what_another_decides_meanwhile_ends_the_question(desk: Desk, sitting: Callable[..., Terminal]) -> None:
    approval = desk.hold()
    with sitting(BO, "watch", columns=160, rows=50) as bo:
        bo.until("all read")
        bo.type("a")
        bo.until("y/N")
        desk.vote(approval, CY, "deny", reason="not to this provider")
        bo.until("nothing was voted: this changed while you decided, it is DENIED now", CY)
        bo.type("y")
        bo.until("0 waiting")
    assert [v.human for v in desk.get(approval).votes] == [CY]


def test_the_person_behind_a_request_reads_why_nothing_was_voted(desk: Desk, sitting: Callable[..., Terminal]) -> None:
    approval = desk.hold()
    with sitting(ANN, "watch") as ann:
        ann.until("all read")
        ann.type("a")
        ann.until("y/N")
        ann.type("y")
        ann.until("nothing was voted: you are behind this request")
    assert desk.get(approval).votes == ()


def test_nothing_that_others_wrote_steers_the_terminal(desk: Desk, sitting: Callable[..., Terminal]) -> None:
    approval = desk.hold(body=EVIL, quorum=2)
    desk.vote(approval, CY, "approve", reason="\x1b]0;owned\x07\u202e")
    with sitting(BO, "watch") as bo:
        bo.until("\\u{202e}")
        bo.type("d\x1b[200~\x1b[2J\u202e\x1b[201~")
        bo.until("reason", "\\u{1b}[2J\\u{202e}")
        assert bo.foreign() == set()


def test_a_smaller_and_a_larger_terminal_are_filled(desk: Desk, sitting: Callable[..., Terminal]) -> None:
    desk.hold()
    with sitting(BO, "watch", columns=80, rows=24) as bo:
        bo.until("1 waiting")
        bo.resize(130, 40)
        bo.until("api.example/v1/responses", "to openai")
        bo.resize(30, 8)
        bo.until("this needs 40 columns")


def test_a_session_that_ends_is_waited_for(
    desk: Desk, plane: Plane, shell: Callable[[str], Shell], sitting: Callable[..., Terminal]
) -> None:
    desk.hold()
    bo = shell(BO)
    with Terminal(bo.config, "approvals", "watch", columns=160) as terminal:
        terminal.until("1 waiting")
        desk.edit("DELETE FROM sessions")
        desk.hold(key="two")
        terminal.until("waiting for llmguard login")
        write_credentials(bo.credentials, Credentials(plane.url, BO, desk.session(BO), 0))
        terminal.until("2 waiting")


def test_the_terminal_is_put_back_when_it_is_told_to_end(desk: Desk, sitting: Callable[..., Terminal]) -> None:
    with sitting(BO, "watch") as bo:
        bo.until("0 waiting")
        os.kill(bo.pid, signal.SIGTERM)
        assert bo.ended() == 128 + signal.SIGTERM
        assert bo.sent.endswith("\x1b[?25h\x1b[?1049l")


def test_the_bell_rings_for_what_is_new_and_only_if_asked_for(desk: Desk, sitting: Callable[..., Terminal]) -> None:
    desk.hold()
    with sitting(BO, "watch", "--bell") as bo, sitting(CY, "watch") as cy:
        bo.until("1 waiting")
        cy.until("1 waiting")
        assert bo.foreign() == set()
        desk.hold(key="two")
        bo.until("2 waiting")
        cy.until("2 waiting")
        assert bo.foreign() == {"\x07"}
        assert cy.foreign() == set()


@contextmanager
def piped(shell: Shell, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "llmguard.cli", "--config", str(shell.config), "approvals", "watch", *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as p:
        try:
            yield p
        finally:
            p.kill()


def test_in_a_pipe_each_change_is_a_line(desk: Desk, shell: Callable[[str], Shell]) -> None:
    first = desk.hold()
    with piped(shell(BO)) as watching:
        assert watching.stdout
        assert f"{first.id}  PENDING  responses.create  to openai" in watching.stdout.readline()
        second = desk.hold(key="two")
        assert second.id in watching.stdout.readline()
        desk.vote(first, CY)
        line = watching.stdout.readline()
        assert f"{first.id}  APPROVED" in line
        assert line.isascii() or line.rstrip("\n").isprintable()


def test_lines_of_json_are_for_programs(desk: Desk, shell: Callable[[str], Shell]) -> None:
    approval = desk.hold(body=EVIL)
    with piped(shell(BO), "--json") as watching:
        assert watching.stdout
        assert json.loads(watching.stdout.readline())["id"] == approval.id
        desk.vote(approval, CY, "deny")
        ended = json.loads(watching.stdout.readline())
        assert (ended["id"], ended["state"]) == (approval.id, "DENIED")


def test_in_a_pipe_a_session_that_is_over_ends_it(desk: Desk, shell: Callable[[str], Shell]) -> None:
    bo = shell(BO)
    desk.edit("DELETE FROM sessions")
    ran = bo("approvals", "watch")
    assert ran.code == 1
    assert "llmguard login" in ran.err


def test_a_control_plane_that_is_gone_is_asked_ever_more_slowly(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "data", credentials=tmp_path / "login" / "credentials.json")
    write_credentials(settings.credentials, Credentials("http://127.0.0.1:9", BO, "token", 0))
    slept: list[float] = []
    with Link(settings) as link:
        events = feed(link, slept.append)
        downs = [next(events) for _ in range(8)]
    assert all(isinstance(d, Down) for d in downs)
    assert slept == [1, 2, 4, 8, 16, 30, 30]


def test_a_login_of_somebody_else_is_not_used(desk: Desk, plane: Plane, tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "data", credentials=tmp_path / "login" / "credentials.json")
    write_credentials(settings.credentials, Credentials(plane.url, BO, desk.session(BO), 0))
    with Link(settings) as link:
        assert isinstance(next(feed(link)), Listed)
        write_credentials(settings.credentials, Credentials(plane.url, CY, desk.session(CY), 0))
        with pytest.raises(Conflict, match="somebody else"):
            next(feed(link))


def test_news_come_while_one_waits(desk: Desk, plane: Plane, tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "data", credentials=tmp_path / "login" / "credentials.json")
    write_credentials(settings.credentials, Credentials(plane.url, BO, desk.session(BO), 0))
    with Link(settings) as link:
        events = feed(link)
        first = next(events)
        assert isinstance(first, Listed)
        assert first.rows == ()
        later = threading.Timer(0.3, desk.hold)
        later.start()
        second = next(events)
        assert isinstance(second, Listed)
        assert len(second.rows) == 1
        later.join()
