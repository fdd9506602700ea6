"""``llmguard config``: what is in force."""

from __future__ import annotations

from dataclasses import fields

import click

from llmguard.config import Settings


@click.command()
@click.pass_obj
def config(settings: Settings) -> None:
    """Print the settings in force. Keys are not shown."""
    for f in fields(Settings):
        if f.name == "rules":
            value: object = "the shipped policy" if settings.rules is None else f"{len(settings.rules)} rules"
        elif not f.repr:
            value = "set" if getattr(settings, f.name) else "not set"
        else:
            value = getattr(settings, f.name)
        click.echo(f"{f.name} = {value}")
