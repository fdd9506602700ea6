"""``llmguard audit``: verify the log, and the evidence of one approval, offline."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from llmguard.cli.screen import visible
from llmguard.config import DATABASE, Settings
from llmguard.errors import ConfigError, UnscannableRequest
from llmguard.payload import json as strict_json


@click.group()
def audit() -> None:
    """The log of decisions."""


@audit.command(epilog="Example: llmguard audit verify --database copy.db --checkpoints /mnt/worm/log.checkpoints")
@click.option("--database", type=click.Path(path_type=Path, dir_okay=False), help="Database, or a copy of it.")
@click.option("--checkpoints", type=click.Path(path_type=Path), help="File of published checkpoints, or its folder.")
@click.option("--key", help="Verifier key (name+hash+key); default: log.vkey beside the checkpoints.")
@click.pass_obj
def verify(settings: Settings, database: Path | None, checkpoints: Path | None, key: str | None) -> None:
    """Recompute the whole log and hold it against the checkpoints that left the host.

    Needs no secret and no running guard: a copy of the database, the checkpoints and the public verifier key do. Exit
    code 1 if anything does not hold.
    """
    from llmguard.audit import CHECKPOINTS
    from llmguard.audit import verify as run

    outside = checkpoints or settings.checkpoint_folder
    outside = outside / CHECKPOINTS if outside.is_dir() else outside
    if not outside.exists() and not checkpoints:
        click.echo(f"no checkpoints at {outside}: nobody outside has witnessed this log", err=True)
    report = run(database or settings.data / DATABASE, outside if checkpoints or outside.exists() else None, key)
    click.echo(f"entries      {report.entries}")
    click.echo(f"checkpoints  {report.checkpoints}")
    click.echo(f"unwitnessed  {report.unwitnessed}")
    for problem in report.problems:
        click.echo(f"PROBLEM      {problem}")
    click.echo("the log holds" if report.ok else "the log does not hold")
    sys.exit(0 if report.ok else 1)


@audit.group()
def evidence() -> None:
    """Documents about one approval, or one entry of the log, for an auditor."""


@evidence.command("verify", epilog="Example: llmguard audit evidence verify 01KAN3.json --key NAME+HASH+KEY")
@click.argument("document", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--checkpoints", type=click.Path(path_type=Path), help="File of published checkpoints, or its folder.")
@click.option("--key", help="Verifier key (name+hash+key); default: log.vkey beside the checkpoints.")
@click.pass_obj
def verify_evidence(settings: Settings, document: Path, checkpoints: Path | None, key: str | None) -> None:
    """Check the evidence of one approval: who decided, what left, and that the signed log says so.

    Or an entry of the log with its proof, as the inbox gives it.

    Needs no secret and no running guard. The key, and the checkpoints that the log must continue, come from where they
    left the host, not from whoever hands over the file. Exit code 1 if anything does not hold.
    """
    from llmguard.audit import verify_entry, verify_evidence

    outside = checkpoints or settings.checkpoint_folder
    notes, keys = _published(outside)
    if checkpoints and not notes:
        raise ConfigError(f"{outside} holds no checkpoint")
    if not (key or keys):
        raise ConfigError("give the verifier key of the log: --key NAME+HASH+KEY, as it was noted down at the start")
    if not notes:
        click.echo(f"no checkpoints at {outside}: nobody outside has witnessed this log", err=True)
    told = _read(document)
    run = verify_entry if isinstance(told, dict) and told.get("kind") == "llmguard entry" else verify_evidence
    report = run(told, key or keys, notes)
    click.echo(f"entries      {report.entries}")
    click.echo(f"unwitnessed  {report.unwitnessed}")
    for problem in report.problems:
        click.echo(f"PROBLEM      {visible(problem)}")
    what = "entry" if run is verify_entry else "evidence"
    click.echo(f"the {what} holds" if report.ok else f"the {what} does not hold")
    sys.exit(0 if report.ok else 1)


def _published(outside: Path) -> tuple[list[str], str]:
    """The notes that left the host, and the keys beside them."""
    from llmguard.audit import CHECKPOINTS
    from llmguard.audit.publication import keys_beside, notes_in

    path = outside / CHECKPOINTS if outside.is_dir() else outside
    if not path.is_file():
        return [], ""
    return list(notes_in(path)), "\n".join(map(str, keys_beside(path)))


def _read(path: Path) -> Any:
    """Raises ConfigError. A document with a name twice reads as two things, so it is none."""
    content = path.read_bytes()
    try:
        strict_json.parse(content)  # its numbers are lexemes: the values come from the plain one
        return json.loads(content)
    except UnscannableRequest as e:
        raise ConfigError(f"{path} is no evidence: {e.message}") from None
