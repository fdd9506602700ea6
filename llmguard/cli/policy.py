"""``llmguard policy``: the rules in force."""

from __future__ import annotations

import click

from llmguard.config import Settings


@click.group()
def policy() -> None:
    """Look at the policy."""


@policy.command()
@click.pass_obj
def check(settings: Settings) -> None:
    """Compile every rule; exit code 2 with the rule's name if one cannot be used."""
    from llmguard.policy import Policy

    rules = Policy(settings.rules)
    for rule in rules.rules:
        click.echo(f"{rule.name}: {rule.verdict} when {rule.when}")
    click.echo("default: redact")
    click.echo(f"version {rules.version}")
