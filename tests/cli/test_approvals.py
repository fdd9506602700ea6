"""Approvals on the command line: what is shown is what is decided, and other people's text stays text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard.cli.client import Credentials, write_credentials
from llmguard.cli.screen import visible
from llmguard.store import wall_ms
from tests.desks import ANN, BO, CY, Desk, Plane, Shell, control_plane


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path / "guard", wall_ms()).staff()
    yield made
    made.store.close()


@pytest.fixture
def plane(desk: Desk) -> Iterator[Plane]:
    with control_plane(desk) as running:
        yield running


@pytest.fixture
def shell(plane: Plane, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    def of(email: str) -> Shell:
        made = Shell(tmp_path / email, plane.url, capsys)
        write_credentials(made.credentials, Credentials(plane.url, email, plane.desk.session(email), 0))
        return made

    return of


def test_list_names_what_waits(desk: Desk, shell: Any) -> None:
    bo = shell(BO)
    assert "nothing waits" in bo("approvals", "list").err
    approval = desk.hold()
    listed = bo("approvals", "list").out
    for word in (approval.id, "PENDING", "responses.create", "openai", ANN, "1 PERSON"):
        assert word in listed
    assert json.loads(bo("approvals", "list", "--json", "--state", "pending").out)[0]["id"] == approval.id


def test_show_has_everything_a_reviewer_decides_on_and_no_raw_value(desk: Desk, shell: Any) -> None:
    approval = desk.hold()
    shown = shell(BO)("approvals", "show", approval.id).out
    for word in (
        ANN,
        "openai",
        "api.example/v1/responses",
        "80 as written, 20 as it leaves",
        "1 of reviewers",
        "risky",
    ):
        assert word in shown
    assert approval.egress_digest in shown
    assert "[PERSON_abcdefghij]" in shown
    assert "Jane Roe" not in shown


def test_the_raw_view_is_asked_for_and_logged(desk: Desk, shell: Any) -> None:
    approval = desk.hold()
    assert "Jane Roe" in shell(BO)("approvals", "show", approval.id, "--raw").out
    assert desk.log()[-1] == "approval.raw_view"


def test_approving_shows_what_is_decided_and_sends_its_digest(desk: Desk, shell: Any) -> None:
    approval = desk.hold()
    ran = shell(BO)("approvals", "approve", approval.id, "--reason", "known customer")
    assert (ran.code, ran.out) == (0, f"{approval.id} is APPROVED\n")
    assert approval.egress_digest in ran.err
    assert desk.get(approval).votes[0].reason == "known customer"


@pytest.mark.parametrize(
    ("command", "state"), [(("deny",), "DENIED"), (("request-changes", "--reason", "less"), "CHANGES_REQUESTED")]
)
def test_the_other_verdicts(desk: Desk, shell: Any, command: tuple[str, ...], state: str) -> None:
    approval = desk.hold()
    assert state in shell(BO)("approvals", command[0], approval.id, *command[1:]).out
    assert desk.get(approval).state == state


def test_a_quorum_says_how_many_are_wanting(desk: Desk, shell: Any) -> None:
    approval = desk.hold(quorum=2)
    assert "1 more approval wanted" in shell(BO)("approvals", "approve", approval.id).out
    assert json.loads(shell(CY)("approvals", "approve", approval.id, "--json").out)["state"] == "APPROVED"


def test_the_requester_is_refused_and_may_cancel(desk: Desk, shell: Any) -> None:
    approval = desk.hold()
    ann = shell(ANN)
    refused = ann("approvals", "approve", approval.id)
    assert (refused.code, refused.out) == (1, "")
    assert "somebody else decides" in refused.err
    assert "CANCELLED" in ann("approvals", "cancel", approval.id).out


def test_the_beginning_of_an_id_is_enough_while_it_is_unique(desk: Desk, shell: Any) -> None:
    first = desk.hold(key="one")
    desk.now += 3_600_000
    second = desk.hold(key="two")
    bo = shell(BO)
    assert first.id in bo("approvals", "show", first.id[:8].lower()).out
    ambiguous = bo("approvals", "show", first.id[:2])
    assert ambiguous.code == 1
    assert second.id in ambiguous.err
    for wrong in ("7ZZZZ", "' OR 1", "../keys", "01ARZ3NDEKTSV4RRFFQ69G5FAV"):
        assert bo("approvals", "show", wrong).code == 1


def test_text_of_others_never_steers_the_terminal(desk: Desk, shell: Any) -> None:
    evil = '{"input": "\x1b[2J\u202egnp.exe\u200b [red]bold[/red] :smile: \\u001b]0;x\\u0007"}'.encode()
    approval = desk.hold(body=evil)
    desk.vote(approval, BO, "request_changes", reason="\x1b[31mred\u202e\nstate  APPROVED")
    bo = shell(BO)
    for ran in (bo("approvals", "show", approval.id), bo("approvals", "list")):
        assert ran.code == 0
        assert not any(c in ran.out for c in "\x1b\u202e\u200b\x07\r")
    shown = bo("approvals", "show", approval.id).out
    assert "\\u{202e}" in shown
    assert "[red]bold[/red] :smile:" in shown
    assert "\nstate  APPROVED" not in shown


def test_what_was_not_shown_is_not_approved(desk: Desk, shell: Any) -> None:
    approval = desk.hold(body=b'{"input": "' + b"x" * 9000 + b'the hidden end"}')
    bo = shell(BO)
    refused = bo("approvals", "approve", approval.id)
    assert refused.code == 1
    assert "--full" in refused.err
    assert desk.get(approval).state == "PENDING"
    approved = bo("approvals", "approve", approval.id, "--full")
    assert approved.code == 0
    assert "the hidden end" in approved.err.replace("\n", "")


def test_a_body_that_can_be_read_in_two_ways_is_shown_as_it_is(desk: Desk, shell: Any) -> None:
    approval = desk.hold(body=b'{"a": "first", "a": "second"}')
    assert "first" in shell(BO)("approvals", "show", approval.id).out


def test_without_a_login_it_says_so(plane: Plane, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ran = Shell(tmp_path / "x", plane.url, capsys)("approvals", "list")
    assert (ran.code, ran.out) == (1, "")
    assert "llmguard login --code" in ran.err


@given(st.text(alphabet=st.characters(), max_size=60))
def test_what_is_made_visible_is_printable_and_on_one_line(text: str) -> None:
    shown = visible(text)
    assert shown.isprintable()
    assert len(shown.splitlines()) <= 1
    assert visible(shown) == shown
