"""Approvals on the command line: what is shown is what is decided, and other people's text stays text."""

from __future__ import annotations

import json
import re
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from click.shell_completion import ShellComplete
from hypothesis import given
from hypothesis import strategies as st

from llmguard.cli import app
from llmguard.cli.client import Credentials, write_credentials
from llmguard.cli.screen import visible
from tests.desks import ANN, BO, CY, DEE, Desk, Plane, Shell
from tests.terminal import Terminal


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


# --------------------------------------------------------------------------- what else one does with approvals


def test_a_list_keeps_what_one_asks_for(desk: Desk, shell: Any) -> None:
    approval = desk.hold()
    bo, ann = shell(BO), shell(ANN)
    assert json.loads(ann("approvals", "list", "--mine", "--json").out)[0]["id"] == approval.id
    assert json.loads(bo("approvals", "list", "--mine", "--json").out) == []
    assert json.loads(bo("approvals", "list", "--subject", "change", "--json").out) == []
    assert bo("approvals", "list", "--subject", "letter").code == 2
    assert bo("approvals", "list", "--state", "nowhere").code == 1


def test_what_waits_stands_first(desk: Desk, shell: Any) -> None:
    waiting = desk.hold(key="old")
    desk.now += 5000
    desk.vote(desk.hold(key="new"), CY, "deny")
    rows = shell(BO)("approvals", "list").out.splitlines()
    assert waiting.id in rows[1]
    assert "DENIED" in rows[2]


def test_a_proposal_is_seen_as_a_difference(desk: Desk, shell: Any, tmp_path: Path) -> None:
    approval = desk.hold()
    proposal = tmp_path / "proposal.json"
    proposal.write_text('{"input": "fewer"}')
    bo = shell(BO)
    asked = ("request-changes", approval.id, "--reason", "fewer rows", "--proposal", str(proposal))
    assert "CHANGES_REQUESTED" in bo("approvals", *asked).out
    ann = shell(ANN)
    assert f"llmguard approvals diff {approval.id}" in ann("approvals", "show", approval.id).out
    shown = ann("approvals", "diff", approval.id).out
    assert '-  "input": "[PERSON_abcdefghij]"' in shown
    assert '+  "input": "fewer"' in shown
    assert json.loads(ann("approvals", "diff", approval.id, "--json").out)["proposal"] == '{"input": "fewer"}'


def test_the_first_revision_has_no_difference(desk: Desk, shell: Any) -> None:
    ran = shell(BO)("approvals", "diff", desk.hold().id)
    assert (ran.code, ran.out) == (0, "")
    assert "first revision" in ran.err


def test_waiting_ends_with_the_outcome(desk: Desk, shell: Any) -> None:
    bo = shell(BO)
    pending = bo("approvals", "wait", desk.hold(key="p").id, "--timeout", "0s")
    assert (pending.code, "is PENDING" in pending.out) == (75, True)
    approved, denied = desk.hold(key="a"), desk.hold(key="d")
    for approval, verdict, code in ((approved, "approve", 0), (denied, "deny", 1)):
        voting = threading.Timer(0.3, desk.vote, (approval, CY, verdict))
        voting.start()
        assert bo("approvals", "wait", approval.id, "--timeout", "20s").code == code
        voting.join()
    assert bo("approvals", "wait", approved.id, "--timeout", "soon").code == 2


def test_only_the_people_named_for_emergencies_break_the_glass(desk: Desk, shell: Any) -> None:
    approval = desk.hold(break_glass="security")
    refused = shell(BO)("approvals", "break-glass", approval.id, "--reason", "production is down")
    assert refused.code == 1
    assert "emergencies" in refused.err
    dee = shell(DEE)
    assert dee("approvals", "break-glass", approval.id, "--reason", "because").code == 1
    assert "is APPROVED" in dee("approvals", "break-glass", approval.id, "--reason", "production is down").out
    assert "break_glass" in dee("approvals", "show", approval.id).out


def test_a_reviewer_takes_an_approval_back(desk: Desk, shell: Any) -> None:
    approval = desk.hold()
    desk.vote(approval, BO)
    assert "is REVOKED" in shell(CY)("approvals", "revoke", approval.id).out


def test_evidence_is_a_private_file(desk: Desk, shell: Any, tmp_path: Path) -> None:
    approval = desk.hold()
    bo, file = shell(BO), tmp_path / "evidence.json"
    assert bo("approvals", "evidence", approval.id, "-o", str(file)).code == 0
    assert approval.egress_digest in file.read_text()
    assert file.stat().st_mode & 0o077 == 0
    again = bo("approvals", "evidence", approval.id, "-o", str(file))
    assert (again.code, "--force" in again.err) == (1, True)
    assert json.loads(bo("approvals", "evidence", approval.id, "-o", "-").out)


def test_what_is_not_what_was_shown_is_not_approved(desk: Desk, shell: Any) -> None:
    """Somebody asks for changes while the question stands on the terminal."""
    approval = desk.hold()
    with Terminal(shell(BO).config, "approvals", "approve", approval.id) as bo:
        bo.until(f"approve {approval.egress_digest[:12]}…? [y/N]")
        desk.vote(approval, CY, "request_changes", reason="fewer rows")
        bo.type("y\n")
        bo.until("changed since it was shown")
        assert bo.ended() == 1
    assert [v.human for v in desk.get(approval).votes] == [CY]


def test_a_terminal_is_asked_and_yes_is_an_answer(desk: Desk, shell: Any) -> None:
    first, second = desk.hold(key="one"), desk.hold(key="two")
    bo = shell(BO)
    with Terminal(bo.config, "approvals", "approve", first.id) as terminal:
        terminal.until("[y/N]")
        terminal.type("\n")
        terminal.until("nothing was decided")
        assert terminal.ended() == 1
    with Terminal(bo.config, "approvals", "approve", second.id, "--yes") as terminal:
        terminal.until("is APPROVED", second.egress_digest)
        assert terminal.ended() == 0
    assert desk.get(first).state == "PENDING"


def test_a_list_fits_a_narrow_terminal(desk: Desk, shell: Any) -> None:
    approval = desk.hold()
    with Terminal(shell(BO).config, "approvals", "list", columns=80) as terminal:
        shown = terminal.until("1 waits for a decision")
        assert terminal.ended() == 0
    assert approval.id[:10] in shown
    assert max(len(line.rstrip("\r")) for line in shown.split("\n")) <= 82


def test_a_vote_whose_answer_was_lost_is_sent_again_and_counts_once(desk: Desk, plane: Plane, shell: Any) -> None:
    approval = desk.hold(quorum=2)
    bo = shell(BO)
    with losing_answers(plane) as url:
        write_credentials(bo.credentials, Credentials(url, BO, desk.session(BO), 0))
        ran = bo("approvals", "approve", approval.id)
    assert (ran.code, ran.out) == (0, f"{approval.id} is PENDING, 1 more approval wanted\n")
    assert [v.human for v in desk.get(approval).votes] == [BO]


def test_without_a_control_plane_it_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shell = Shell(tmp_path / "x", "http://127.0.0.1:9", capsys)
    write_credentials(shell.credentials, Credentials("http://127.0.0.1:9", BO, "token", 0))
    for command in (("list",), ("show", "01M80"), ("approve", "01M80")):
        ran = shell("approvals", *command)
        assert ran.code == 1
        assert "is llmguard serve running?" in ran.err


def test_ids_are_completed_and_a_plane_that_is_gone_completes_nothing(
    desk: Desk, shell: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    approval = desk.hold()
    bo = shell(BO)
    for config, found in ((bo.config, [approval.id]), (bo.config.with_name("none.toml"), [])):
        words = ["--config", str(config), "approvals", "approve"]
        completed = ShellComplete(app, {}, "llmguard", "_X").get_completions(words, approval.id[:5].lower())
        assert [item.value for item in completed] == found


@contextmanager
def losing_answers(plane: Plane) -> Iterator[str]:
    """A way to the control plane that carries the first vote there, and hangs up instead of answering."""
    behind = urlsplit(plane.url)
    lost = threading.Event()

    class Losing(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            head = b""
            while (line := self.rfile.readline()).strip():
                head += line
            if not head:
                return
            length = re.search(rb"(?i)content-length: *(\d+)", head)
            body = self.rfile.read(int(length[1])) if length else b""
            head = re.sub(rb"(?i)\r\nconnection: [^\r]*", b"", head)
            with socket.create_connection((behind.hostname, behind.port)) as upstream:
                upstream.sendall(head + b"Connection: close\r\n\r\n" + body)
                answer = b"".join(iter(lambda: upstream.recv(65536), b""))
            if b"/votes " in head and not lost.is_set():
                lost.set()
                return
            self.wfile.write(answer)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Losing) as server:
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            serving.join()
    assert lost.is_set()
