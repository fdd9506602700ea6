"""``llmguard run``: exactly the command that people approved, once, with its own exit code, also after a kill."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from llmguard.config import Settings
from llmguard.guard import Guard
from llmguard.model import Approval
from llmguard.testing import Fakes
from tests.actions.staff import ROWS, decide, lines, report, shown, state, waiting


@dataclass
class Shell:
    """Starts ``llmguard run`` as Ann's job."""

    settings: Settings
    folder: Path

    def __call__(self, *words: str, options: tuple[str, ...] = (), **more: Any) -> subprocess.Popen[str]:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "XDG_CACHE_HOME": os.environ["XDG_CACHE_HOME"],
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            "LLMGUARD_DATA": str(self.settings.data),
            "LLMGUARD_KEY": self.settings.key or "",
            "LLMGUARD_NAMES": "false",
            **more.pop("env", {}),
        }
        full = [sys.executable, "-m", "llmguard.cli", "run", "--action", "db.export", *options, "--", *words]
        streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **more}
        return subprocess.Popen(full, env=environment, cwd=self.folder, **streams)


@pytest.fixture
def run(settings: Settings, tmp_path: Path) -> Shell:
    return Shell(settings, tmp_path)


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, errors = process.communicate(timeout=60)
    return process.returncode, out, errors


def appending(customers: Path, out: Path, limit: int = ROWS) -> list[str]:
    code = (
        "import sqlite3, sys\n"
        f"rows = sqlite3.connect(sys.argv[1]).execute('SELECT email FROM customers LIMIT {limit}').fetchall()\n"
        f"open({str(out)!r}, 'a').writelines(r[0] + chr(10) for r in rows)\n"
        "print(len(rows)); sys.exit(7)"
    )
    return [sys.executable, "-c", code, str(customers)]


def bound(guard: Guard, approval: Approval) -> Any:
    return json.loads(shown(guard, approval))


def test_killed_while_waiting_and_asked_again_the_effect_is_there_exactly_once(
    run: Shell, guard: Guard, customers: Path, out: Path
) -> None:
    words = appending(customers, out)
    first = run(*words)
    held = waiting(guard)
    first.send_signal(signal.SIGKILL)
    ended(first)
    assert not out.exists()
    second = run(*words)
    decide(guard)
    code, printed, errors = ended(second)
    assert (code, printed) == (7, f"{ROWS}\n"), errors
    code, _, errors = ended(run(*words))
    assert code == 1
    assert "carried out already (exit code 7)" in errors
    assert lines(out) == ROWS
    assert state(guard, held.id) == "EXECUTED"
    assert json.loads(report(guard, held.id)) == {"exit": 7, "tail": str(ROWS)}


def test_command_that_is_denied_is_not_run(run: Shell, guard: Guard, customers: Path, out: Path) -> None:
    process = run(*appending(customers, out))
    decide(guard, "deny")
    code, _, errors = ended(process)
    assert code == 1
    assert "refused" in errors
    assert not out.exists()


def test_command_that_a_reviewer_changed_is_accepted_and_voted_on_anew(
    run: Shell, guard: Guard, customers: Path, out: Path
) -> None:
    process = run(*appending(customers, out))
    less = appending(customers, out, 3)
    proposal = json.dumps({"command": less}).encode()
    held = decide(guard, "request_changes", reason="three\x1b[2J are enough", proposal=proposal)
    code, _, errors = ended(process)
    assert code == 1
    assert "three\\u{1b}[2J are enough" in errors
    assert f"--accept {held.id}" in errors
    assert not out.exists()
    process = run(options=("--accept", held.id))
    revision = decide(guard)
    assert ended(process)[:2] == (7, "3\n")
    assert lines(out) == 3
    assert (state(guard, held.id), state(guard, revision.id)) == ("SUPERSEDED", "EXECUTED")


def test_command_whose_input_changed_is_another_action(run: Shell, guard: Guard, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("print('as shown')")
    process = run(sys.executable, str(script), options=("--wait", "0"))
    code, _, errors = ended(process)
    held = waiting(guard)
    assert code == os.EX_TEMPFAIL
    assert f"llmguard approvals approve {held.id}" in errors
    decide(guard)
    script.write_text("print('something else')")
    assert ended(run(sys.executable, str(script), options=("--wait", "0")))[0] == os.EX_TEMPFAIL
    assert waiting(guard).id != held.id


@pytest.mark.parametrize("named", ["as a word", "--input", "--stdin", "--evidence", "--dry-run"])
def test_file_that_changes_while_people_decide_stops_the_command(
    run: Shell, guard: Guard, tmp_path: Path, out: Path, named: str
) -> None:
    file = tmp_path / "plan.txt"
    file.write_text("1 row")
    touch = [sys.executable, "-c", f"open({str(out)!r}, 'w')"]
    value = f"cat {file}" if named == "--dry-run" else str(file)
    process = run(*touch, value) if named == "as a word" else run(*touch, options=(named, value))
    held = waiting(guard)
    file.write_text("all rows")
    decide(guard)
    code, _, errors = ended(process)
    assert code == 1
    assert "not carried out: evidence changed" in errors
    assert not out.exists()
    assert state(guard, held.id) == "FAILED"


def test_live_file_may_change(run: Shell, guard: Guard, tmp_path: Path) -> None:
    file = tmp_path / "app.db"
    file.write_text("1 row")
    process = run("cat", str(file), options=("--live", str(file)))
    assert bound(guard, waiting(guard))["arguments"]["live"] == [str(file)]
    file.write_text("2 rows")
    decide(guard)
    assert ended(process)[:2] == (0, "2 rows")


def test_what_is_bound_and_shown(run: Shell, guard: Guard, tmp_path: Path) -> None:
    password = Fakes(3).token()
    (tmp_path / "in.txt").write_text("from the file")
    options = ("--describe", "Copy it", "--env", "TARGET", "--stdin", "in.txt", "--dry-run", "echo would copy")
    process = run("cat", options=options, env={"TARGET": f"token={password}", "QUIET": "unseen value"})
    body = bound(guard, waiting(guard))
    decide(guard)
    assert ended(process)[:2] == (0, "from the file")
    arguments, evidence = body["arguments"], body["evidence"]
    assert body["description"] == "Copy it"
    assert body["function"] == "llmguard.run"
    assert (arguments["command"], arguments["folder"]) == (["cat"], str(tmp_path))
    assert Path(arguments["program"]).is_absolute()
    assert {"TARGET", "QUIET"} <= set(arguments["variables"])
    assert set(arguments["values"]) == {"TARGET"}
    assert evidence["dry run"] == {"command": ["echo", "would", "copy"], "exit": 0, "output": "would copy\n"}
    assert set(evidence["files"]) == {arguments["program"], "in.txt"}
    assert password not in json.dumps(body)
    assert "unseen value" not in json.dumps(body)


def test_tail_of_the_output_is_recorded_redacted_while_the_caller_reads_it_as_it_is(run: Shell, guard: Guard) -> None:
    email = Fakes(4).email()
    code = f"import sys; print('line 1'); print('mail {email}'); sys.stdout.flush(); print('failed', file=sys.stderr)"
    process = run(sys.executable, "-c", code, options=("--tail", "2"))
    held = decide(guard)
    ran, printed, errors = ended(process)
    assert (ran, printed) == (0, f"line 1\nmail {email}\n")
    assert "failed" in errors
    assert json.loads(report(guard, held.id))["tail"].splitlines()[-2:] in (
        ["mail [EMAIL]", "failed"],
        ["line 1", "mail [EMAIL]"],  # two pipes: which comes first is the system's
    )


def test_signal_reaches_the_command_and_its_exit_code_says_so(run: Shell, guard: Guard, out: Path) -> None:
    process = run(sys.executable, "-c", f"import time; open({str(out)!r}, 'w'); time.sleep(60)")
    held = decide(guard)
    await_file(out, process)
    process.send_signal(signal.SIGTERM)
    assert ended(process)[0] == 128 + signal.SIGTERM
    assert json.loads(report(guard, held.id))["exit"] == 128 + signal.SIGTERM


def test_killed_while_the_command_runs_it_is_uncertain_and_not_run_again(run: Shell, guard: Guard, out: Path) -> None:
    code = f"import time; open({str(out)!r}, 'a').write('begun\\n'); time.sleep(3)"
    words = (sys.executable, "-c", code)
    process = run(*words, options=("--tail", "0"))
    held = decide(guard)
    await_file(out, process)
    process.kill()
    ended(process)
    guard.store.transact(guard.approvals.sweep)
    assert state(guard, held.id) == "INDETERMINATE"
    code_, _, errors = ended(run(*words))
    assert code_ == 1
    assert "find out" in errors
    assert lines(out) == 1


def await_file(path: Path, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 30
    while not path.exists():
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("words", "options", "code"),
    [
        (["no-such-program"], (), 127),
        ([], (), 2),
        (["true"], ("--env", "NOT_SET_AT_ALL"), 2),
        (["true"], ("--input", "missing.sql"), 2),
        (["true"], ("--dry-run", "no-such-program"), 2),
        (["true"], ("--revises", "01ARZ3NDEKTSV4RRFFQ69G5FAV"), 1),
    ],
)
def test_what_cannot_be_run_asks_nobody(
    run: Shell, guard: Guard, words: list[str], options: tuple[str, ...], code: int
) -> None:
    assert ended(run(*words, options=options))[0] == code
    assert not guard.store.read(lambda tx: guard.approvals.list(tx, "default"))[0]


def test_command_on_a_terminal_sees_a_terminal(run: Shell, guard: Guard) -> None:
    ours, theirs = pty.openpty()
    process = run(sys.executable, "-c", "import sys; print(sys.stdout.isatty())", stdout=theirs, stderr=theirs)
    os.close(theirs)
    held = decide(guard)
    seen = _read(ours)
    process.wait(timeout=60)
    os.close(ours)
    assert b"True" in seen
    assert held.id.encode() in seen
    assert json.loads(report(guard, held.id)) == {"exit": 0}


def _read(descriptor: int) -> bytes:
    seen = b""
    while True:
        try:
            piece = os.read(descriptor, 4096)
        except OSError:  # EIO: the other side is closed
            return seen
        if not piece:
            return seen
        seen += piece
