"""``llmguard serve``: the proxy."""

from __future__ import annotations

import base64
import logging
import secrets
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from llmguard.config import Settings, load

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from llmguard.guard import Guard


SWITCH = 0.0005
"""Seconds after which a thread that looks through a file lets the calls of others go on (Python: 0.005)."""


@click.command(epilog="Example: LLMGUARD_UPSTREAM_KEY=… llmguard serve --upstream https://api.openai.com")
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help="Configuration file (TOML).")
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="Port of the data plane.  [default: 8080]")
@click.option("--control-port", type=int, help="Port of the control plane.  [default: 8081]")
@click.option("--upstream", help="Base URL of the provider.")
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="Folder of state and keys.")
@click.option("--pass-through", is_flag=True, default=None, help="Forward the caller's own provider key.")
@click.pass_obj
def serve(settings: Settings, /, config: Path | None, **options: object) -> None:
    """Run the guard as a proxy: the OpenAI API on one port, approvals on another.

    Clients set their base URL to http://HOST:PORT/v1 and use an lg_ key (llmguard keys add NAME). The provider's key is
    read from LLMGUARD_UPSTREAM_KEY.
    """
    from llmguard.proxy.serve import serve as run

    setup = one_time_token()

    given = {k: v for k, v in options.items() if v is not None}
    settings = load(config, **given) if config else replace(settings, **given)  # type: ignore[arg-type]
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")

    sys.setswitchinterval(SWITCH)

    def ready(guard: Guard) -> None:
        s = guard.settings
        click.echo(f"data plane     http://{s.host}:{s.port}/v1 → {s.destination.base_url}", err=True)
        click.echo(f"control plane  http://{s.host}:{s.control_port}", err=True)
        click.echo(f"inbox          {s.control_url.rstrip('/')}/inbox", err=True)
        click.echo(f"checkpoints    {s.checkpoint_folder}", err=True)
        click.echo(f"names          {_names(guard.scanner.names, s.names)}", err=True)
        if s.pass_through:
            click.echo(
                "pass-through   of callers' own keys: nobody answers for them until llmguard keys link", err=True
            )
        elif not s.upstream_key:
            click.echo("no provider key: set LLMGUARD_UPSTREAM_KEY, or start with --pass-through", err=True)

        if nobody_active(guard):
            click.echo(f"nobody is active yet: open {s.control_url.rstrip('/')}/inbox/setup with this token", err=True)
            click.echo(f"set-up token   {setup}", err=True)

    run(settings, ready, _pages, setup)


def _pages(app: ASGIApp, settings: Settings) -> ASGIApp:
    from llmguard.inbox import inbox  # its templates load while /healthz answers already

    return inbox(app, settings)


def one_time_token() -> str:
    """What makes the first person of an installation, for as long as this process runs."""
    token = base64.b32encode(secrets.token_bytes(15)).decode().lower()
    return "-".join(token[i : i + 4] for i in range(0, len(token), 4))


def nobody_active(guard: Guard) -> bool:
    from llmguard import identity

    found = guard.store.read(lambda tx: identity.people(tx, guard.vault, guard.settings.tenant))
    return not any(p.active for p in found)


def _names(looked_for: object, wanted: bool | None) -> str:
    from llmguard.detection.scanner import NOT_INSTALLED

    if looked_for is not None:
        return "people's names and addresses are looked for"
    return "off: names = false" if wanted is False else NOT_INSTALLED
