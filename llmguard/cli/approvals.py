"""``llmguard approvals``: look at what is held, and decide. Talks to the control plane only, never to the database.

A vote carries the digest of what this terminal has shown, so that nothing else can be approved by it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click
from rich.text import Text

from llmguard.cli.client import ControlClient
from llmguard.cli.screen import console, moment, styled, table, visible
from llmguard.config import Settings
from llmguard.errors import Conflict, InvalidRequest

BODY = 8000
"""Characters of a body that are shown unless --full is given."""
_JSON = click.option("--json", "as_json", is_flag=True, help="JSON on stdout.")
_FULL = click.option("--full", is_flag=True, help=f"The whole body, also beyond {BODY} characters.")
_REASON = click.option("--reason", default="", help="Why; the requester can read it.")


@click.group()
def approvals() -> None:
    """Calls, actions and changes that wait for people."""


@approvals.command("list")
@click.option("--state", help="Only this state, such as PENDING.")
@click.option("--all", "everything", is_flag=True, help="Every page, not only the newest 50.")
@_JSON
@click.pass_obj
def list_approvals(settings: Settings, state: str | None, everything: bool, as_json: bool) -> None:
    """List approvals, newest first."""
    with ControlClient.of(settings) as client:
        rows = list(_pages(client, state.upper() if state else None, everything))
    if as_json:
        return click.echo(json.dumps(rows))
    if not rows:
        return click.echo("nothing waits for you", err=True)
    shown = table("ID", "STATE", "RISK", "OPERATION", "TO", "FOR", "FINDINGS", "MISSING", "EXPIRES")
    for a in rows:
        risk = f"{int(a['risk']['inherent'])} → {int(a['risk']['residual'])}"
        words = [a["id"], a["state"], risk, a["operation"], a["destination"], _who(a), _findings(a)]
        shown.add_row(*(styled(str(w)) for w in words), str(int(a["missing"])), moment(a["expires"]))
    return console().print(shown)


def _pages(client: ControlClient, state: str | None, everything: bool) -> Iterator[dict[str, Any]]:
    cursor = None
    while True:
        page = client.get("/approvals", state=state, cursor=cursor)
        yield from page["approvals"]
        cursor = page["next"]
        if not everything or cursor is None:
            return


@approvals.command("show")
@click.argument("id_", metavar="ID")
@click.option("--raw", is_flag=True, help="Also what was written, before redaction. That you looked is in the log.")
@_FULL
@_JSON
@click.pass_obj
def show(settings: Settings, id_: str, raw: bool, full: bool, as_json: bool) -> None:
    """Show what one approval decides: who asks, what leaves and where to, why it is held, who has voted."""
    with ControlClient.of(settings) as client:
        approval = client.get(f"/approvals/{client.find(id_)}")
        if raw:
            approval["original"] = client.post(f"/approvals/{approval['id']}/payload", {})["original"]
    if as_json:
        return click.echo(json.dumps(approval))
    _show(approval, full)
    return None


@approvals.command("approve")
@click.argument("id_", metavar="ID")
@_REASON
@_FULL
@_JSON
@click.pass_obj
def approve(settings: Settings, id_: str, reason: str, full: bool, as_json: bool) -> None:
    """Approve exactly what is shown, once."""
    _vote(settings, id_, "approve", reason, full, as_json)


@approvals.command("deny")
@click.argument("id_", metavar="ID")
@_REASON
@_FULL
@_JSON
@click.pass_obj
def deny(settings: Settings, id_: str, reason: str, full: bool, as_json: bool) -> None:
    """Refuse: it does not leave."""
    _vote(settings, id_, "deny", reason, full, as_json)


@approvals.command("request-changes")
@click.argument("id_", metavar="ID")
@click.option("--reason", required=True, help="What has to change; the requester can read it.")
@_FULL
@_JSON
@click.pass_obj
def request_changes(settings: Settings, id_: str, reason: str, full: bool, as_json: bool) -> None:
    """Refuse this revision, and say what has to change."""
    _vote(settings, id_, "request_changes", reason, full, as_json)


@approvals.command("cancel")
@click.argument("id_", metavar="ID")
@_JSON
@click.pass_obj
def cancel(settings: Settings, id_: str, as_json: bool) -> None:
    """Withdraw your own request; as a reviewer, take back an approval that was not spent."""
    with ControlClient.of(settings) as client:
        _done(client.post(f"/approvals/{client.find(id_)}/cancel", {}), as_json)


def _vote(settings: Settings, id_: str, verdict: str, reason: str, full: bool, as_json: bool) -> None:
    """Fetches, shows what is being decided, and sends the digest and the version that were shown."""
    with ControlClient.of(settings) as client:
        approval = client.get(f"/approvals/{client.find(id_)}")
        if approval["egress"]["digest"] != approval["digest"]:
            raise Conflict("what the control plane shows is not what it asks about: tell the guard's operator")
        unseen = _show(approval, full, err=True)
        if unseen and verdict == "approve":
            raise InvalidRequest(f"{unseen} characters of what leaves were not shown: approve with --full")
        body = {"verdict": verdict, "digest": approval["digest"], "reason": reason}
        after = client.post(f"/approvals/{approval['id']}/votes", body, version=int(approval["version"]))
    _done(after, as_json)


def _done(approval: dict[str, Any], as_json: bool) -> None:
    if as_json:
        return click.echo(json.dumps(approval))
    missing = int(approval["missing"])
    more = f", {missing} more {'approval' if missing == 1 else 'approvals'} wanted" if missing else ""
    return click.echo(f"{visible(approval['id'])} is {visible(approval['state'])}{more}")


# --------------------------------------------------------------------------- the reviewer's view


def _who(approval: dict[str, Any]) -> str:
    """For whom: the accountable human, and what they call through."""
    requester = approval["requester"]
    human = requester["human"] or "nobody accountable"
    through = requester["name"] or requester["principal"]
    return human if through in (human, f"person:{human}") else f"{human} ({through})"


def _findings(approval: dict[str, Any]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(approval["findings"].items()))


def _show(approval: dict[str, Any], full: bool, *, err: bool = False) -> int:
    """Prints the reviewer's view; returns how many characters of what leaves it did not show."""
    screen = console(err=err)
    egress, need = approval["egress"], approval["requirement"]
    facts = [
        ("approval", f"{approval['id']}  {approval['state']}  version {approval['version']}"),
        ("asks", _who(approval)),
        ("does", f"{approval['operation']}  ({approval['subject']})"),
        ("sends to", f"{egress['destination']}  {egress['method']} {egress['url']}  account {egress['account']}"),
        ("found", _findings(approval) or "nothing"),
        ("risk", f"{approval['risk']['inherent']} as written, {approval['risk']['residual']} as it leaves"),
        *(("", f"{r['points']:+g}  {r['text']}") for r in approval["risk"]["reasons"]),
        ("held by", f"rule {approval['rule']}, policy {approval['policy_version'][:12]}"),
        ("needs", f"{need['quorum']} of {need['group']}, {approval['missing']} missing"),
        ("until", moment(approval["expires"])),
        ("digest", approval["digest"]),
    ]
    if approval["advisory"]:
        facts.append(("advisory", "the requester could write the guard's database: this proves little"))
    facts += [("vote", _ballot(v)) for v in approval["votes"]]
    for label, value in facts:
        screen.print(Text(f"{label:>9}  ", style="bold") + styled(str(value)))
    unseen = _content(screen, f"leaves, {egress['bytes']} bytes", egress["body"], full, egress["headers"])
    if "original" in approval:
        _content(screen, "was written", approval["original"], full)
    return unseen


def _ballot(vote: dict[str, Any]) -> str:
    counts = "" if vote["counts"] else "  (does not count any more)"
    reason = f": {vote['reason']}" if vote["reason"] else ""
    return f"{vote['human']} {vote['verdict']} at {moment(vote['time'])}{counts}{reason}"


def _content(screen: Any, title: str, content: dict[str, str], full: bool, headers: Any = ()) -> int:
    screen.print(Text(f"--- {title} ({content['encoding']})", style="bold"))
    for name, value in headers:
        screen.print(styled(f"{name}: {value}"))
    body = _readable(content["text"])
    rest = 0 if full else max(0, len(body) - BODY)
    screen.print(styled(body[: len(body) - rest], lines=True))
    if rest:
        screen.print(Text(f"--- {rest} characters more: look at them with --full before you decide", style="bold red"))
    return rest


def _readable(body: str) -> str:
    """JSON on lines of its own, with the characters that its escapes stand for; as it came if it is ambiguous."""
    try:
        return json.dumps(json.loads(body, object_pairs_hook=_unique), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return body


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("an object has a key twice")
    return made
