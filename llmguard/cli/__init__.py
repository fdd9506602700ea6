"""The command line: ``llmguard COMMAND``. Exit codes: 0 done, 1 refused or found, 2 used wrongly."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from llmguard import __version__
from llmguard.config import load
from llmguard.errors import ConfigError, LLMGuardError

COMMANDS = {
    "demo": "demo:demo",
    "serve": "serve:serve",
    "scan": "scan:scan",
    "redact": "text:redact",
    "sanitize": "sanitize:sanitize",
    "keys": "people:keys",
    "users": "people:users",
    "login": "login:login",
    "logout": "login:logout",
    "approvals": "approvals:approvals",
    "grants": "grants:grants",
    "exceptions": "exceptions:exceptions",
    "delegations": "delegations:delegations",
    "audit": "audit:audit",
    "run": "run:run",
    "channels": "channels:channels",
    "doctor": "doctor:doctor",
    "policy": "policy:policy",
    "incident": "incident:incident",
    "lineage": "lineage:lineage",
    "catalogue": "catalogue:catalogue",
    "match": "match:match",
    "operations": "operations:operations",
    "config": "settings:config",
}
"""Command → module and attribute; a command's module is imported when it is used."""


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(f"llmguard.cli.{module}"), attribute)
        return command


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog='First steps: llmguard demo. Shell completion: eval "$(_LLMGUARD_COMPLETE=bash_source llmguard)"',
)
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help="Configuration file (TOML).")
@click.version_option(__version__, prog_name="llmguard")
@click.pass_context
def app(ctx: click.Context, config: Path | None) -> None:
    """An egress guard for LLM traffic: redacts, restores, holds for approval, and proves it."""
    if ctx.resilient_parsing:
        return
    ctx.obj = load(config)


def main(arguments: list[str] | None = None) -> Any:
    """Entry point of the console script. Typed errors become one line on stderr."""
    try:
        return app.main(args=arguments, prog_name="llmguard", standalone_mode=True)
    except LLMGuardError as e:
        click.echo(f"llmguard: {e.message}", err=True)
        sys.exit(2 if isinstance(e, ConfigError) else 1)
