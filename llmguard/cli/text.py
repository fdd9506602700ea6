"""``llmguard redact``: a file or standard input."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from llmguard.cli import sources
from llmguard.config import Settings


@click.command(epilog="Example: llmguard redact letter.txt > letter.redacted.txt")
@click.argument("file", required=False, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.pass_obj
def redact(settings: Settings, file: Path | None) -> None:
    """Replace personal data and secrets by placeholders. The originals are kept, sealed, in the vault."""
    from llmguard.guard import Guard

    source = sources.read(file, named=True) if file else sources.standard_input()
    with Guard(settings) as guard:
        red = guard.redact(source.text)
    sys.stdout.write(red.text)
    sys.stdout.flush()
    click.echo(f"{len(red.findings)} findings redacted", err=True)
