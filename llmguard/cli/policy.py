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
from llmguard.cli.checked import checked_as_json, show_checked
from llmguard.cli.client import ControlClient
from llmguard.cli.explain import explain
from llmguard.cli.replay import replay, suggest
from llmguard.cli.screen import console, interactive, styled, visible
from llmguard.cli.sheet import compared
from llmguard.config import Settings
from llmguard.errors import ConfigError, Conflict, LLMGuardError

if TYPE_CHECKING:
    from llmguard.policy import Policy

ASK = 5.0
"""Seconds that the control plane gets to say who is in which group."""
_JSON = click.option("--json", "as_json", is_flag=True, help="JSON on stdout.")
_FILE = click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False, exists=True))


@click.group(epilog="Exit codes: 0 done or no difference, 1 refused or a difference, 2 used wrongly or not usable.")
def policy() -> None:
    """The rules: those in force, those of the configuration, and how they change."""


@policy.command(
    "check", epilog="Examples: llmguard policy check rules.toml   |   llmguard policy check --strict --json"
)
@_FILE
@click.option("--strict", is_flag=True, help="Exit code 1 for warnings.")
@_JSON
@click.pass_obj
def check(settings: Settings, file: Path | None, strict: bool, as_json: bool) -> None:
    """Look at every rule of the configuration, or of FILE, and run the tests beside them.

    Errors: conditions that cannot be used, with their line and what to write instead; tests that fail. Warnings: words
    that no call can have, rules that never decide (proved, or found so in made-up calls), groups without people, which
    the control plane is asked about if you are logged in. Exit code 2 for errors; for warnings 0, with --strict 1.
    """
    from llmguard.policy.check import check as looked
    from llmguard.policy.document import written
    from llmguard.policy.vocabulary import Vocabulary

    text, document = written(settings, file)
    members, unknown = _members(settings)
    report = looked(document, Vocabulary.of(settings), text=text, members=members)
    if as_json:
        click.echo(json.dumps(checked_as_json(report, unknown)))
    else:
        show_checked(report, unknown, str(file or settings.policy or ""))
    if report.errors:
        sys.exit(2)
    if report.warnings and strict:
        sys.exit(1)


for command in (explain, replay, suggest):
    policy.add_command(command)


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
    if stored.get("file_error"):
        click.echo(f"the policy file cannot be used: {visible(str(stored['file_error']))}", err=True)
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
        click.echo("what it does to calls of the last days: llmguard policy replay", err=True)
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
    """Prints what would change, and what that lets through; whether anything does."""
    from llmguard.policy import Policy
    from llmguard.policy.loosening import compared as weighed

    stored = client.get("/policy")["policy"]
    lines = compared(json.dumps(stored, sort_keys=True), rules.source)
    screen = console(err=err)
    for line in lines:
        screen.print(line)
    if lines:
        screen.print(styled("--- what this lets through", "bold"))
        for told in weighed(Policy.of(stored), rules).told():
            screen.print(styled(f"    {told}"))
    return bool(lines)


def _members(settings: Settings) -> tuple[dict[str, int] | None, str]:
    """How many people are in each group, or why that is not known."""
    try:
        with ControlClient.of(settings, timeout=ASK) as client:
            people = list(client.pages("/people", "people"))
    except LLMGuardError as e:
        return None, e.message
    counts: dict[str, int] = {}
    for person in people:
        for group in person["groups"] if person["active"] else ():
            counts[group] = counts.get(group, 0) + 1
    return counts, ""
