"""``llmguard lineage``: where a file, a job or a batch of the provider comes from, and who approved it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

import click

from llmguard.cli.client import ControlClient
from llmguard.cli.screen import console, moment, styled
from llmguard.config import Settings

_DID = {
    "approve": "approved",
    "deny": "denied",
    "request_changes": "asked for changes",
    "break_glass": "let it through alone",
}


@click.command(epilog="Examples: llmguard lineage ftjob-abc123   |   llmguard lineage 01K3… --format json")
@click.argument("id_", metavar="ID")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_obj
def lineage(settings: Settings, id_: str, form: str) -> None:
    """Show where ID comes from: job → file → report → approvers, with their entries in the log.

    ID is the provider's id of a file, a job or a batch, or the id of an approval. A file that did not pass this guard
    is said to be so. Kinds and counts are shown, never text.
    """
    with ControlClient.of(settings) as client:
        told: dict[str, Any] = client.get(f"/lineage/{quote(id_, safe='')}")
    if form == "json":
        return click.echo(json.dumps(told))
    screen = console()
    for number, step in enumerate(told["steps"]):
        screen.print(styled(f"{'← ' if number else ''}{step['kind']} {step['id']}", "bold"))
        for label, value in _lines(step):
            screen.print(styled(f"{label:>11}  ", "bold") + styled(value))
    return None


def _lines(step: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What is said of one step, as a name and words."""
    yield "made by", f"{step['operation']}  {moment(int(step['created']))}"
    yield "caller", f"{step['principal']}, call {step['call']}"
    for source in step["sources"]:
        yield "from", source if source in step["known"] else f"{source}  (did not pass this guard)"
    report = step["report"]
    if report:
        counts = ", ".join(f"{int(n):,} {type_}" for type_, n in sorted(report.get("findings", {}).items()))
        size = f"; {int(report['bytes']):,} bytes left" if "bytes" in report else ""
        yield "report", (counts or "nothing found") + size
        if report.get("unscanned"):
            yield "unread", ", ".join(report["unscanned"])
    yield "sent", f"digest {step['digest'][:16]}" if step["digest"] else "its digest is not known"
    if step["approval"] is None:
        yield "approval", "none was needed"
    else:
        yield from _approval(step["approval"])
    if step["log"]:
        yield "log", "entries " + ", ".join(str(index) for index in step["log"])


def _approval(a: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "approval", f"{a['id']}  {a['state']}, held by {a['rule']}, asked by {a['requester']}"
    if a["revises"]:
        yield "revision", f"{a['revision']}, in place of {a['revises']}"
    if a["records"] is not None:
        decided = a["decided"]
        kept, dropped = int(decided.get("keep", 0)), int(decided.get("drop", 0))
        yield "records", f"{int(a['records']):,}; {kept:,} kept as written, {dropped:,} dropped"
    if a["labels"]:
        missed = int(a["labels"].get("missed", 0))
        yield "sample", f"{sum(a['labels'].values()):,} records looked at, something missed in {missed:,}"
    for vote in a["approvers"]:
        yield "", f"{vote['human']} {_DID.get(vote['verdict'], vote['verdict'])}  {moment(int(vote['time']))}"
