"""``llmguard audit``: verify the log, offline."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from llmguard.config import DATABASE, Settings


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
