"""``llmguard delegations``: who votes in whose place, and until when."""

from __future__ import annotations

import json

import click

from llmguard.cli.approvals import proposed
from llmguard.cli.client import ControlClient, segment
from llmguard.cli.screen import console, styled, table, visible
from llmguard.cli.times import instant_option, moment, now, relative, when
from llmguard.config import Settings

_JSON = click.option("--json", "as_json", is_flag=True, help="JSON on stdout.")


@click.group(epilog="Exit codes: 0 done, 1 refused, 2 used wrongly.")
def delegations() -> None:
    """Votes in another's place, from a day to a day: a holiday, an illness."""


@delegations.command("list", epilog="Example: llmguard delegations list")
@_JSON
@click.pass_obj
def list_delegations(settings: Settings, as_json: bool) -> None:
    """List the delegations that are not over. Times are UTC."""
    with ControlClient.of(settings) as client:
        rows = list(client.pages("/delegations", "delegations"))
    if as_json:
        return click.echo(json.dumps(rows))
    if not rows:
        return click.echo("nobody votes in another's place", err=True)
    shown = table("ID", "VOTES", "IN PLACE OF", "GROUPS", "FROM", "UNTIL")
    at = now()
    for d in rows:
        ends = f"revoked {relative(d['revoked'], at)}" if d["revoked"] else when(d["ends"], at)
        words = (d["receiver"], d["giver"], ", ".join(d["groups"]), moment(d["starts"]), ends)
        shown.add_row(visible(str(d["id"])), *(styled(str(w)) for w in words))
    return console().print(shown)


@delegations.command(
    "add", epilog="Example: llmguard delegations add bo@example.com --group reviewers --until 2026-12-24T18:00+01:00"
)
@click.argument("receiver", metavar="EMAIL")
@click.option("--group", "groups", multiple=True, required=True, help="A group of yours. May be given several times.")
@click.option(
    "--from", "starts", callback=instant_option, default="now", metavar="WHEN", help="As --until.  [default: now]"
)
@click.option(
    "--until", "ends", callback=instant_option, required=True, metavar="WHEN", help="As 2026-12-24T18:00+01:00, or 14d."
)
@_JSON
@click.pass_obj
def add_delegation(
    settings: Settings, receiver: str, groups: tuple[str, ...], starts: int, ends: int, as_json: bool
) -> None:
    """Propose that EMAIL votes in your place. A third person approves it; 90 days at most.

    It lends no more than you could do yourself at that moment, and both of you together are one vote.
    """
    asked = {"receiver": receiver, "groups": list(groups), "starts": starts, "ends": ends}
    with ControlClient.of(settings) as client:
        answer = client.post("/delegations", asked, once=True)
    proposed(answer, as_json, f"{visible(receiver)} votes in your place until {moment(ends)}")


@delegations.command("revoke", epilog="Example: llmguard delegations revoke 01M80M8ZG5ZJ3X8Q4T6V7W9Y0A")
@click.argument("id_", metavar="ID")
@_JSON
@click.pass_obj
def revoke_delegation(settings: Settings, id_: str, as_json: bool) -> None:
    """End a delegation at once. Either side may, and anybody of a group."""
    with ControlClient.of(settings) as client:
        ended = client.post(f"/delegations/{segment(id_.strip().upper())}/revoke", {}, once=True)
    if as_json:
        return click.echo(json.dumps(ended))
    return click.echo(f"delegation {visible(id_.upper())} is revoked", err=True)
