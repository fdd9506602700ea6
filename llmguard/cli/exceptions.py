"""``llmguard exceptions``: findings that were marked wrong, in a scope and for a time.

A value comes from the terminal or standard input, never from an argument, which others on the host can read. It is
stored nowhere but sealed in the approval that asks for it.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

from llmguard.cli.approvals import proposed
from llmguard.cli.client import ControlClient, read_credentials, segment
from llmguard.cli.people import bootstrap_cause, here, local, rows
from llmguard.cli.screen import ask_secret, console, styled, table, visible
from llmguard.cli.times import now, relative, span_option, spelled, when
from llmguard.config import Settings
from llmguard.errors import InvalidRequest

_JSON = click.option("--json", "as_json", is_flag=True, help="JSON on stdout.")


@click.group(epilog="Exit codes: 0 done, 1 refused, 2 used wrongly.")
def exceptions() -> None:
    """Findings that were marked wrong: values that are no such data, for whom, and until when."""


@exceptions.command(
    "add",
    epilog="Example: llmguard exceptions add --type PHONE --reason 'our public hotline' --expires 30d < number.txt",
)
@click.option("--type", "type_", metavar="TYPE", help="Type of the finding, as EMAIL; its value is asked for.")
@click.option("--approval", metavar="ID", help="A held call that has the finding; only such calls are excepted.")
@click.option("--placeholder", metavar="P", help="The placeholder in that call, as [EMAIL_abcdefghij].")
@click.option("--reason", required=True, help="Why it is wrong. Without the value: people read it.")
@click.option(
    "--expires", "seconds", callback=span_option, default="30d", show_default=True, metavar="TIME", help="For how long."
)
@click.option("--principal", default="", metavar="P", help="Only for this caller, as key:ID.")
@click.option("--operation", default="", metavar="O", help="Only for this operation, pattern (chat.*) or kind.")
@click.option("--destination", default="", metavar="D", help="Only for this provider.")
@click.option("--detector", default="", metavar="ID", help="Only what this detector found.")
@click.option("--everywhere", is_flag=True, help="With --approval: not only for such calls.")
@click.option("--secret", is_flag=True, help="A detector of secrets found it. Two people approve.")
@_JSON
@click.pass_obj
def add(settings: Settings, /, type_: str | None, approval: str | None, as_json: bool, **asked: Any) -> None:
    """Ask that a value is no finding any more. Somebody else approves; until two people are active, it is so at once.

    The value has to be written exactly so. On standard input it is one line.
    """
    placeholder = asked.pop("placeholder")
    if bool(type_) == bool(approval) or bool(approval) != bool(placeholder):
        raise click.UsageError("say --type, or --approval and --placeholder")
    asked = {name: value for name, value in asked.items() if value != ""}
    said = f"this is no finding any more, for {spelled(asked['seconds'])}"
    if approval:
        what = {"approval": approval, "placeholder": placeholder}
    else:
        what = {"type": str(type_).upper(), "value": ask_secret("value")}
        if here(settings):
            _alone(settings, {**what, **asked})
            return click.echo(said, err=True)
    with ControlClient.of(settings) as client:
        answer = client.post("/exceptions", {**what, **asked}, once=True)
    return proposed(answer, as_json, said)


def _alone(settings: Settings, asked: dict[str, Any]) -> None:
    """On the data folder, while one sets up alone."""
    from llmguard.approvals import exceptions as room
    from llmguard.proxy.control.exceptions import allowed
    from llmguard.store import Transaction
    from llmguard.vault import Vault

    seconds, secret = asked["seconds"], asked["secret"]
    allowed(settings, seconds, secret)
    if secret:
        raise InvalidRequest("that a secret is none takes two people: llmguard users add EMAIL")
    scope = room.Scope(*(asked.get(name, "") for name in ("principal", "operation", "destination", "detector")))

    def work(tx: Transaction, vault: Vault) -> None:
        cause = bootstrap_cause(tx, vault, settings)
        change = room.asked(
            tx, vault, settings.tenant, asked["type"], asked["value"], scope, asked["reason"], seconds, False
        )
        room.apply(tx, vault, settings.tenant, change, cause)

    local(settings, work)


@exceptions.command("list", epilog="Example: llmguard exceptions list")
@_JSON
@click.pass_obj
def list_exceptions(settings: Settings, as_json: bool) -> None:
    """List the exceptions that are not over: what for, where, why, until when. Times are UTC."""
    from llmguard.approvals import exceptions as room

    found = rows(
        settings,
        lambda tx, vault: [asdict(e) for e in room.of(tx, vault, settings.tenant)[0]],
        "/exceptions",
        "exceptions",
    )
    if as_json:
        return click.echo(json.dumps(found))
    if not found:
        return click.echo("no finding is excepted", err=True)
    shown = table("ID", "TYPE", "CALLER", "OPERATION", "TO", "DETECTOR", "ENDS", "BY", "REASON")
    at = now()
    for e in found:
        ends = f"removed {relative(e['removed'], at)}" if e["removed"] else when(e["ends"], at)
        kind = f"{e['type']} (secret)" if e["secret"] else e["type"]
        scope = [e[name] or "any" for name in ("principal", "operation", "destination", "detector")]
        shown.add_row(visible(str(e["id"])), *(styled(str(w)) for w in (kind, *scope, ends, e["by"], e["reason"])))
    return console().print(shown)


@exceptions.command("remove", epilog="Example: llmguard exceptions remove 01M80M8ZG5ZJ3X8Q4T6V7W9Y0A")
@click.argument("id_", metavar="ID")
@_JSON
@click.pass_obj
def remove(settings: Settings, id_: str, as_json: bool) -> None:
    """End an exception at once. Anybody of a group may, and the owner of the host; it needs nobody else."""
    from llmguard.approvals import exceptions as room
    from llmguard.cli.people import operator

    id_ = id_.strip().upper()
    if read_credentials(settings.credentials) is not None:
        with ControlClient.of(settings) as client:
            gone = client.post(f"/exceptions/{segment(id_)}/remove", {}, once=True)
    else:
        gone = asdict(local(settings, lambda tx, vault: room.remove(tx, vault, settings.tenant, id_, operator())))
    if as_json:
        return click.echo(json.dumps(gone))
    return click.echo(f"exception {visible(id_)} is removed: such findings count again", err=True)
