"""``llmguard run``: a command that waits for people, and is then run, once."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import click

from llmguard.config import Settings
from llmguard.errors import ApprovalPending

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
MAX_INPUT = 1 << 30
"""Bytes of the largest file whose digest is bound."""


@click.command(
    epilog="Example: llmguard run --action db.migrate -- alembic upgrade head",
    context_settings={"ignore_unknown_options": True},
)
@click.option("--action", "name", required=True, help="Name of the action, such as db.migrate.")
@click.option("--wait", type=float, help="Seconds to wait for the decision.  [default: until it expires]")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_obj
def run(settings: Settings, name: str, wait: float | None, command: tuple[str, ...]) -> None:
    """Run a command after people have approved it: exactly that command, once.

    What is approved is the command, the working directory, the names of the environment's variables, and the SHA-256
    of every file that the command names. Exit code: the command's own; 1 if it was refused. Ask again with the same
    command to pick a decision up.
    """
    from llmguard.guard import Guard

    with Guard(settings) as guard:

        @guard.action(name, wait=wait)
        def execute(command: list[str], folder: str, environment: list[str], inputs: dict[str, str]) -> int:
            return _executed(command)

        click.echo(f"{name}: waiting for approval, see: llmguard approvals list", err=True)
        try:
            code = execute(list(command), os.getcwd(), sorted(os.environ), _inputs(command))
        except ApprovalPending as e:
            click.echo(f"llmguard: {e.message} ({e.approval_id})", err=True)
            sys.exit(1)
    sys.exit(code)


def _inputs(command: tuple[str, ...]) -> dict[str, str]:
    """Digests of the files that a command names, the program itself left out of PATH look-ups."""
    files = [Path(word) for word in command if Path(word).is_file() and Path(word).stat().st_size <= MAX_INPUT]
    return {str(path): _digest(path) for path in files}


def _digest(path: Path) -> str:
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def _executed(command: list[str]) -> int:
    """The command's exit code; 128 + n where signal n ended it. Signals that reach us are the command's."""
    try:
        child = subprocess.Popen(command)  # noqa: S603  it is what people approved; no shell is in between
    except OSError as e:
        click.echo(f"llmguard: {command[0]}: {e.strerror}", err=True)
        return 127

    def forward(number: int, _: FrameType | None) -> None:
        child.send_signal(number)

    before: dict[int, Any] = {s: signal.signal(s, forward) for s in FORWARDED}
    try:
        code = child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 128 - code if code < 0 else code
