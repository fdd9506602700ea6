"""``llmguard policy``: the rules in force, those of the configuration, and the way from one to the other.

Rules take effect by somebody else's approval only; a changed file is pending until then.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from llmguard.cli.approvals import proposed
from llmguard.cli.client import ControlClient
from llmguard.cli.replay import replay, suggest
from llmguard.cli.screen import console, interactive, styled, visible
from llmguard.cli.sheet import compared
from llmguard.config import Settings
from llmguard.errors import ConfigError, Conflict

if TYPE_CHECKING:
    from llmguard.policy import Policy

_JSON = click.option("--json", "as_json", is_flag=True, help="JSON on stdout.")
_FILE = click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False, exists=True))


@click.group(epilog="Exit codes: 0 done or no difference, 1 refused or a difference, 2 used wrongly.")
def policy() -> None:
    """The rules: those in force, those of the configuration, and how they change."""


@policy.command("check", epilog="Example: llmguard policy check rules.toml")
@_FILE
@click.pass_obj
def check(settings: Settings, file: Path | None) -> None:
    """Compile every rule of the configuration, or of FILE; exit code 2 with the rule's name if one cannot be used."""
    rules = _rules(settings, file)
    for rule in rules.rules:
        click.echo(visible(f"{rule.name}: {rule.verdict} when {rule.when}"))
    click.echo("default: redact")
    click.echo(f"version {rules.version}")


@policy.command("show", epilog="Example: llmguard policy show --json > rules-in-force.json")
@_JSON
@click.pass_obj
def show(settings: Settings, as_json: bool) -> None:
    """Show the rules in force, as the control plane has them."""
    with ControlClient.of(settings) as client:
        stored = client.get("/policy")
    if as_json:
        return click.echo(json.dumps(stored))
    screen = console()
    for rule in _list(stored["policy"]["rules"]):
        needs = {k: v for k, v in rule.items() if k not in ("name", "when", "verdict", "reason")}
        screen.print(styled(f"{rule.get('name', 'unnamed')}: {rule.get('verdict')}", "bold"))
        screen.print(styled(f"    when {rule.get('when', 'true')}"))
        for name, value in needs.items():
            screen.print(styled(f"    {name} {json.dumps(value, ensure_ascii=False)}"))
    click.echo("default: redact")
    for name in ("styles", "weights", "mode"):
        if name in stored["policy"]:
            screen.print(styled(f"{name} {json.dumps(stored['policy'][name], ensure_ascii=False)}"))
    click.echo(f"version {visible(str(stored['version']))}")
    if stored["pending"]:
        click.echo("the configuration has other rules: llmguard policy diff, then llmguard policy propose", err=True)
    return None


@policy.command("diff", epilog="Example: llmguard policy diff rules.toml")
@_FILE
@click.pass_obj
def diff(settings: Settings, file: Path | None) -> None:
    """Show what the configuration, or FILE, would change of the rules in force. Exit code 1 if there is something."""
    rules = _rules(settings, file)
    with ControlClient.of(settings) as client:
        if not _differ(client, rules, err=False):
            return click.echo("these rules are in force", err=True)
    sys.exit(1)


@policy.command("propose", epilog="Example: llmguard policy propose rules.toml")
@_FILE
@click.option("--yes", "-y", is_flag=True, help="Do not ask again on a terminal.")
@_JSON
@click.pass_obj
def propose(settings: Settings, file: Path | None, yes: bool, as_json: bool) -> None:
    """Ask for the rules of the configuration, or of FILE, to be put in force. Somebody else approves them.

    What would change is shown first. FILE is TOML with [[rules]], as a configuration file has them.
    """
    rules = _rules(settings, file)
    with ControlClient.of(settings) as client:
        if not _differ(client, rules, err=True):
            return click.echo("these rules are in force already", err=True)
        if not yes and interactive() and not click.confirm("propose this?", err=True):
            raise Conflict("nothing was proposed")
        answer = client.post("/policy", json.loads(rules.source), once=True)
    return proposed(answer, as_json, f"policy {rules.version[:12]} is in force")


def _rules(settings: Settings, file: Path | None) -> Policy:
    """Raises ConfigError."""
    from llmguard.policy.document import configured, read

    return configured(settings) if file is None else read(file).policy


def _list(rules: Any) -> Sequence[Mapping[str, Any]]:
    if not isinstance(rules, list) or not all(isinstance(rule, Mapping) for rule in rules):
        raise ConfigError("a policy is a list of rules: [[rules]]")
    return rules


def _differ(client: ControlClient, rules: Policy, *, err: bool) -> bool:
    """Prints what would change; whether anything does."""
    stored = json.dumps(client.get("/policy")["policy"], sort_keys=True)
    lines = compared(stored, rules.source)
    screen = console(err=err)
    for line in lines:
        screen.print(line)
    return bool(lines)


policy.add_command(replay)
policy.add_command(suggest)
