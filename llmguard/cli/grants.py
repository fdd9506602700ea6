"""``llmguard grants``: what is approved in advance, and taking it back."""

from __future__ import annotations

import json

import click

from llmguard.cli.client import ControlClient, segment
from llmguard.cli.screen import console, styled, table, visible
from llmguard.cli.times import now, relative, when
from llmguard.config import Settings

_JSON = click.option("--json", "as_json", is_flag=True, help="JSON on stdout.")


@click.group(epilog="Exit codes: 0 done, 1 refused, 2 used wrongly.")
def grants() -> None:
    """Standing grants: calls that are approved in advance, for some hours.

    llmguard approvals grant ID --for 2h proposes one for calls like that one.
    """


@grants.command("list", epilog="Example: llmguard grants list")
@_JSON
@click.pass_obj
def list_grants(settings: Settings, as_json: bool) -> None:
    """List the grants that are not over: for whom, for what, up to which risk. Times are UTC."""
    with ControlClient.of(settings) as client:
        rows = list(client.pages("/grants", "grants"))
    if as_json:
        return click.echo(json.dumps(rows))
    if not rows:
        return click.echo("nothing is approved in advance", err=True)
    shown = table("ID", "FOR", "OPERATION", "TO", "FINDINGS", "RISK UP TO", "ENDS", "APPROVED AS")
    at = now()
    for g in rows:
        risk = f"{int(g['inherent'])} → {int(g['residual'])}"
        ends = f"revoked {relative(g['revoked'], at)}" if g["revoked"] else when(g["ends"], at)
        words = (g["principal"], g["operation"], g["destination"], ", ".join(g["types"]) or "none", risk, ends)
        shown.add_row(visible(str(g["id"])), *(styled(str(w)) for w in words), styled(str(g["approval"])))
    return console().print(shown)


@grants.command("revoke", epilog="Example: llmguard grants revoke 01M80M8ZG5ZJ3X8Q4T6V7W9Y0A")
@click.argument("id_", metavar="ID")
@_JSON
@click.pass_obj
def revoke_grant(settings: Settings, id_: str, as_json: bool) -> None:
    """End a grant at once. Anybody of a group may; it needs nobody else."""
    with ControlClient.of(settings) as client:
        grant = client.post(f"/grants/{segment(id_.strip().upper())}/revoke", {}, once=True)
    if as_json:
        return click.echo(json.dumps(grant))
    return click.echo(f"grant {visible(id_.upper())} is revoked: calls like that wait again", err=True)
