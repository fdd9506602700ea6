"""``llmguard incident``: where a value went, and what today's detectors find in what was held before.

A value comes from the terminal or standard input, never from an argument, which the shell keeps and others on the host
can read. Both looks are in the log.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import click

from llmguard.cli.client import ControlClient
from llmguard.cli.screen import ask_secret, console, styled, table, visible
from llmguard.cli.times import moment, now, span_option
from llmguard.config import Settings
from llmguard.errors import InvalidRequest

_JSON = click.option("--json", "as_json", is_flag=True, help="JSON on stdout.")
_LEFT = {
    "as_written": "as written",
    "redacted": "redacted",
    "partly": "in part as written",
    "not_sent": "not sent",
    "waiting": "waits for people",
    "joined": "with an earlier call's approval",
    "unknown": "unknown: its approval was altered",
}
_STYLES = {"as_written": "bold red", "partly": "bold red", "unknown": "bold red"}


@click.group(epilog="Exit codes: 0 done, 1 refused, 2 used wrongly.")
def incident() -> None:
    """After an incident: where a value went, and what would be found today in what was held."""


@incident.command("where", epilog="Example: llmguard incident where --type EMAIL < address.txt")
@click.option("--type", "type_", metavar="TYPE", help="Type of the value, as EMAIL; all types, if it is not said.")
@_JSON
@click.pass_obj
def where(settings: Settings, type_: str | None, as_json: bool) -> None:
    """Show which calls a value stood in: when, whose, where to, and whether it left as it was written.

    The value is asked for; on standard input it is one line. It is looked up by keyed digests of a few spellings.
    The log keeps a commitment of it; the salt that opens it is shown once.
    """
    body: dict[str, Any] = {"value": ask_secret("value")}
    if not body["value"]:
        raise InvalidRequest("no value was given")
    if type_:
        body["type"] = type_.upper()
    with ControlClient.of(settings) as client:
        answers = list(_pages(client, "/incidents/where", body))
    found = [call for answer in answers for call in answer["calls"]]
    looks = [{"commitment": a["commitment"], "salt": a["salt"]} for a in answers]
    if as_json:
        return click.echo(json.dumps({"types": answers[0]["types"], "looks": looks, "calls": found}))
    click.echo(f"looked for as {answers[0]['types']} types", err=True)
    for look in looks:
        commitment, salt = visible(look["commitment"]), visible(look["salt"])
        click.echo(f"the log has the commitment {commitment}; its salt, kept nowhere else: {salt}", err=True)
    if not found:
        return click.echo("no call that is kept held it, in no spelling that was tried", err=True)
    shown = table("CALL", "TIME", "AS", "CALLER", "OPERATION", "TO", "VERDICT", "LEFT", "APPROVAL")
    for c in found:
        caller = f"{c['human']} ({c['principal']})" if c["human"] else c["principal"]
        approval = f"{c['approval']} {c['state']}".strip()
        words = (moment(c["time"]), ", ".join(c["types"]), caller, c["operation"], c["destination"])
        left = styled(_LEFT.get(c["left"], c["left"]), _STYLES.get(c["left"], ""))
        verdict = f"{c['verdict']} ({c['rule']})"
        shown.add_row(visible(c["call"]), *map(styled, words), styled(verdict), left, styled(approval))
    return console().print(shown)


@incident.command("rescan", epilog="Example: llmguard incident rescan --since 30d")
@click.option("--since", "seconds", callback=span_option, metavar="TIME", help="How far back; all, if it is not said.")
@_JSON
@click.pass_obj
def rescan(settings: Settings, seconds: int | None, as_json: bool) -> None:
    """Look through the sealed payloads of held calls with today's detectors: what was not found then.

    By type and approval, in counts; no text is shown. Stopping it leaves nothing behind.
    """
    body: dict[str, Any] = {} if seconds is None else {"since": max(0, now() - seconds * 1000)}
    found, looked = [], 0
    screen = console(err=True)
    with ControlClient.of(settings) as client, screen.status("looking through what was held") as status:
        for answer in _pages(client, "/incidents/rescan", body):
            found += answer["approvals"]
            looked += answer["looked"]
            status.update(f"looked through {looked:,} held calls, {len(found):,} with something new")
    if as_json:
        return click.echo(json.dumps({"looked": looked, "approvals": found}))
    click.echo(f"looked through {looked:,} held calls: {len(found):,} with something that was not found then", err=True)
    if not found:
        return None
    shown = table("APPROVAL", "TIME", "STATE", "OPERATION", "NOT FOUND THEN", "LEFT AS WRITTEN", "PROBLEM")
    for a in found:
        words = (moment(a["created"] or None), a["state"], a["operation"], _counts(a["missed"]))
        left = styled(_counts(a["left"]), "bold red" if a["left"] else "")
        shown.add_row(visible(a["approval"]), *map(styled, words), left, styled(a["problem"]))
    return console().print(shown)


def _pages(client: ControlClient, path: str, body: dict[str, Any]) -> Iterator[Mapping[str, Any]]:
    while True:
        answer = client.post(path, body)
        yield answer
        if answer.get("next") is None:
            return
        body = {**body, "cursor": answer["next"]}


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {type_}" for type_, n in counts.items())
