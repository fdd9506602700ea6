"""``llmguard operations``: the table of what each API operation does with data."""

from __future__ import annotations

import sys

import click


@click.command()
def operations() -> None:
    """Print the operations that the guard knows, and what the provider does with their data."""
    from rich.console import Console
    from rich.table import Table

    from llmguard.payload.operations import TABLE

    table = Table("operation", "method", "path", "kind", "body", box=None)
    for row in TABLE:
        table.add_row(row.name, row.method, row.path, row.kind, row.body)
    Console(width=None if sys.stdout.isatty() else 140).print(table)
