"""``llmguard run``: a command that waits for people, and is then run, once.

It owns how a command is written down, shown waiting and told afterwards; the waiting itself is the pipeline's. What is
bound: the command, its program, folder, environment and files; files are read again right before it starts.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, cast

import click

from llmguard.actions import Action, Request, Terms
from llmguard.actions.binding import MAX_EVIDENCE
from llmguard.cli.command import Finished, carried_out
from llmguard.cli.screen import console, visible
from llmguard.config import Settings
from llmguard.errors import (
    ApprovalExecuting,
    ApprovalPending,
    ChangesRequested,
    ConfigError,
    LLMGuardError,
)

if TYPE_CHECKING:
    from llmguard.guard import Guard

STILL_PENDING = os.EX_TEMPFAIL
NOT_FOUND = 127
SHORT, TAIL = 20, 200
"""Lines of the output's end that are recorded where no terminal is, and at most."""


@click.command(
    epilog="Example: llmguard run --action db.migrate --input migrations/0007.sql -- alembic upgrade head",
    context_settings={"ignore_unknown_options": True},
)
@click.option("--action", "name", required=True, help="Name of the action, such as db.migrate.")
@click.option("--describe", default="", help="A sentence for the reviewers.")
@click.option("--evidence", type=click.Path(path_type=Path), help="Text file for the reviewers, such as a plan.")
@click.option("--dry-run", help="Command whose output is evidence; it is run again right before the execution.")
@click.option("--input", "inputs", multiple=True, type=click.Path(path_type=Path), help="Further file to bind.")
@click.option("--stdin", type=click.Path(path_type=Path), help="File that the command reads.  [default: nothing]")
@click.option("--live", multiple=True, help="File that the command names and whose content may change.")
@click.option("--env", "shown", multiple=True, help="Variable whose value is bound and shown, redacted.")
@click.option("--tail", type=click.IntRange(0, TAIL), help="Lines of output to record.  [default: 20; on a terminal 0]")
@click.option("--wait", type=float, help="Seconds to wait for the decision.  [default: until it expires]")
@click.option("--revises", default="", help="Approval whose reviewers asked for changes, and got them here.")
@click.option("--accept", default="", help="Approval whose reviewers proposed another command: ask for that one.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def run(settings: Settings, /, name: str, command: tuple[str, ...], **options: Any) -> None:
    """Run a command after people have approved it: exactly that command, once.

    Approved is the command, its program, the working directory, the names of the environment's variables, and the
    SHA-256 of the program and of every file that the command names; files are read again right before it starts.
    Values of variables are not shown, standard input is empty. Ask again with the same command to pick a decision up.

    Exit code: the command's own; 128+N if signal N ended it; 127 not found; 1 refused; 75 still waiting after --wait.
    """
    from llmguard.guard import Guard

    asked = Asked(**{k: v for k, v in options.items() if k not in ("accept", "wait")}, name=name, command=command)
    with Guard(settings) as guard:
        try:
            if accepted := options["accept"]:
                asked = _accepted(guard, asked, accepted)
            code = _approved(guard, asked, options["wait"])
        except ChangesRequested as e:
            _told(e, name)
        except (ApprovalPending, ApprovalExecuting) as e:
            click.echo(f"llmguard: {e.message}", err=True)
            sys.exit(STILL_PENDING)
        except KeyboardInterrupt:
            click.echo(
                "\nllmguard: interrupted before the command ran; the same command picks the decision up", err=True
            )
            sys.exit(130)
    sys.exit(code)


# --------------------------------------------------------------------------- what is asked


@dataclass(frozen=True, slots=True)
class Asked:
    """A command and how it is to be approved, as the options say it."""

    name: str
    command: tuple[str, ...]
    describe: str = ""
    evidence: Path | None = None
    dry_run: str | None = None
    inputs: tuple[Path, ...] = ()
    stdin: Path | None = None
    live: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    tail: int | None = None
    revises: str = ""

    def arguments(self, environment: Mapping[str, str]) -> dict[str, Any]:
        """What the command is. Raises ConfigError for a variable that is not set."""
        if missing := [n for n in self.shown if n not in environment]:
            raise ConfigError(f"--env: {missing[0]} is not set")
        return {
            "command": list(self.command),
            "program": self.program(),
            "folder": os.getcwd(),
            "variables": sorted(environment),
            "values": {n: environment[n] for n in self.shown},
            "stdin": str(self.stdin) if self.stdin else "",
            "live": sorted(self.live),
        }

    def program(self) -> str:
        """Where the program lies; ends with 127 if it does not."""
        if not self.command:
            raise click.UsageError("Missing argument 'COMMAND...'.")
        found = shutil.which(self.command[0])
        if found is None:
            click.echo(f"llmguard: {visible(self.command[0])}: no such program; nobody was asked", err=True)
            sys.exit(NOT_FOUND)
        return str(Path(found).absolute())

    def dry(self, *_: Any) -> dict[str, Any]:
        """What the reviewers are shown beside the command, from the files as they are at this moment."""
        shown: dict[str, Any] = {"files": self._digests()}
        if self.evidence is not None:
            shown["text"] = _text(self.evidence)
        if self.dry_run is not None:
            shown["dry run"] = _tried(self.dry_run)
        return shown

    def _digests(self) -> dict[str, str]:
        named = [Path(w) for w in self.command[1:] if w not in self.live and Path(w).is_file()]
        further = [self.stdin] if self.stdin else []
        return {str(p): _digest(p) for p in [Path(self.program()), *named, *self.inputs, *further]}


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as f:
            return hashlib.file_digest(f, "sha256").hexdigest()
    except OSError as e:
        raise ConfigError(f"{visible(str(path))} cannot be read: {e.strerror}") from None


def _text(path: Path) -> str:
    try:
        with path.open("rb") as f:
            return f.read(MAX_EVIDENCE + 1).decode()
    except OSError as e:
        raise ConfigError(f"{visible(str(path))} cannot be read: {e.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{visible(str(path))} is not UTF-8 text, or too long to be read by people") from None


def _tried(command: str) -> dict[str, Any]:
    """The output of the dry run, stdout and stderr as they came, and its exit code."""
    try:
        words = shlex.split(command)
        done = subprocess.run(  # noqa: S603  the caller's own words, run as the caller; no shell is in between
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
    except (OSError, ValueError, IndexError) as e:
        raise ConfigError(f"--dry-run cannot be run ({type(e).__name__}): give a command, without a shell") from None
    return {"command": words, "exit": done.returncode, "output": done.stdout.decode(errors="replace")}


def _accepted(guard: Guard, asked: Asked, approval_id: str) -> Asked:
    """The command that a reviewer proposed. Raises ConfigError if that is not what was proposed."""
    from llmguard.actions.request import explain

    if asked.command:
        raise click.UsageError("--accept takes the reviewer's command: give none")
    error = ChangesRequested("", approval_id=approval_id)
    explain(guard, error)
    proposed = (error.proposal or {}).get("command")
    if not isinstance(proposed, list) or not proposed or not all(isinstance(w, str) for w in proposed):
        raise ConfigError('no command was proposed: a proposal reads {"command": ["program", "argument"]}')
    return replace(asked, command=tuple(proposed), revises=approval_id)


# --------------------------------------------------------------------------- asking, and what came of it


def _approved(guard: Guard, asked: Asked, wait: float | None) -> int:
    """The exit code of the command, once it was approved and run."""
    environment, status = dict(os.environ), _Status(asked.name)
    action = Action(guard, _terms(guard, asked), _execution(asked, environment, status))
    request = replace(action.request(**asked.arguments(environment)), revises=asked.revises)
    with status:
        finished = _waited(request, status, wait)
    if finished.problem:
        click.echo(f"llmguard: {visible(asked.command[0])}: {finished.problem}", err=True)
    return finished.code


def _lines(asked: Asked) -> int:
    """How many lines of output are recorded: unasked only where the command would not see a terminal anyway."""
    if asked.tail is not None:
        return asked.tail
    return 0 if sys.stdout.isatty() or sys.stderr.isatty() else SHORT


def _terms(guard: Guard, asked: Asked) -> Terms:
    def report(finished: Finished) -> dict[str, Any]:
        return {"exit": finished.code, **_redacted(guard, finished.tail, _lines(asked))}

    return Terms(asked.name, lambda *_, **__: asked.describe, asked.dry, wait=0, report=report)


def _execution(asked: Asked, environment: Mapping[str, str], status: _Status) -> Callable[..., Finished]:
    """What people are told is ``llmguard.run`` of the arguments. What is not used here is there to be bound."""

    def execute(
        command: list[str],
        program: str,
        folder: str,
        variables: list[str],
        values: dict[str, str],
        stdin: str,
        live: list[str],
    ) -> Finished:
        status.stop()
        return carried_out(command, program, environment, Path(stdin) if stdin else None, _lines(asked))

    execute.__module__, execute.__qualname__ = "llmguard", "run"
    return execute


def _waited(request: Request, status: _Status, wait: float | None) -> Finished:
    """Asks, says under which approval it waits, and waits."""
    try:
        return cast(Finished, request.run())
    except ApprovalPending as e:
        status.start(e.approval_id or "")
        if wait == 0:
            raise
    return cast(Finished, replace(request, wait=wait).run())


class _Status:
    """What is seen while people decide: how they do, and on a terminal a sign of life until the command starts."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._line = console(err=True).status(f"{name}: waiting")

    def start(self, id_: str) -> None:
        click.echo(f"{self._name}: waits for approval {id_}; somebody else decides with:", err=True)
        click.echo(f"  llmguard approvals approve {id_}", err=True)
        if sys.stderr.isatty():
            self._line.start()

    def stop(self) -> None:
        self._line.stop()

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        self.stop()


def _redacted(guard: Guard, tail: bytes, lines: int) -> dict[str, str]:
    """The output's last lines for the reviewers, with what was found in them replaced for good."""
    if not lines:
        return {}
    text = tail.decode(errors="replace")
    try:
        findings = guard.scan(text)
    except LLMGuardError:
        return {"tail": "(not recorded: the guard could not look through it)"}
    at, pieces = 0, []
    for f in findings:
        pieces += [text[at : f.start], f"[{f.type}]"]
        at = f.end
    return {"tail": "\n".join("".join([*pieces, text[at:]]).splitlines()[-lines:])}


def _told(error: ChangesRequested, name: str) -> NoReturn:
    click.echo(f"llmguard: a reviewer asks for changes ({error.approval_id}): {visible(error.reason)}", err=True)
    proposed = (error.proposal or {}).get("command")
    if isinstance(proposed, list):
        click.echo(f"proposed: {visible(shlex.join(map(str, proposed)))}", err=True)
        click.echo(f"  llmguard run --action {name} --accept {error.approval_id}", err=True)
    sys.exit(1)
