"""``llmguard policy replay`` and ``suggest``: what other rules would have done, and what experience says of the rules.

The control plane decides the kept calls anew, some thousands at a time; here they are added up and shown. Nothing is
changed by either.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from llmguard.cli.client import ControlClient
from llmguard.cli.screen import console, styled, table, visible
from llmguard.cli.times import moment, now, span_option, spelled
from llmguard.config import Settings
from llmguard.errors import Conflict, RequestRefused

if TYPE_CHECKING:
    from llmguard.approvals.history import Reviewing
    from llmguard.policy.replay import Report

_JSON = click.option("--json", "as_json", is_flag=True, help="JSON on stdout.")
_SHOWN = 5
"""Callers, operations and types that are shown, the most concerned first."""


@click.command("replay", epilog="Example: llmguard policy replay rules.toml --since 30d --html report.html")
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option(
    "--since", "seconds", callback=span_option, default="7d", show_default=True, metavar="TIME", help="How far back."
)
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Write a report with pictures here.")
@_JSON
@click.pass_obj
def replay(settings: Settings, file: Path | None, seconds: int, html: Path | None, as_json: bool) -> None:
    """Show what the rules of the configuration, or of FILE, would have decided of the calls that were kept.

    It is compared with the rules in force. Nothing is changed, and stopping it leaves nothing behind.
    """
    from llmguard.policy.document import configured, read

    rules = configured(settings) if file is None else read(file).policy
    with ControlClient.of(settings) as client:
        replayed = _replayed(client, dict(rules.document), now() - seconds * 1000)
    if html is not None:
        from llmguard.cli.replay_page import page

        html.write_text(page(*replayed, title=rules.version[:12]), encoding="utf-8")
        click.echo(f"the report is in {html}", err=True)
    report, reviewing, version, against = replayed
    if as_json:
        told = {"version": version, "against": against, "report": report.as_json(), "reviewing": asdict(reviewing)}
        return click.echo(json.dumps(told))
    return _show(report, reviewing, version == against)


def _replayed(client: ControlClient, document: Mapping[str, Any], since: int) -> tuple[Report, Reviewing, str, str]:
    """Page by page, with a bar that shows how far it is. Raises Conflict if the rules in force change meanwhile."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from llmguard.approvals.history import Reviewing
    from llmguard.policy.replay import Report

    report: Report | None = None
    reviewing, version, against, total = None, "", "", 0
    screen = console(err=True)
    columns = ("deciding anew", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as bar:
        task = bar.add_task("", total=None)
        for answer in _pages(client, document, since):
            try:
                counted = Report.of_json(answer["report"])
                if reviewing is None:
                    reviewing, total = Reviewing(**answer["reviewing"]), counted.calls + int(answer["left"])
            except (ValueError, KeyError, TypeError):
                raise RequestRefused("the control plane answered something else: is it of this version?") from None
            if against and answer["against"] != against:
                raise Conflict("the rules in force were changed meanwhile: start again")
            report = counted if report is None else report + counted
            version, against = str(answer["version"]), str(answer["against"])
            bar.update(task, completed=report.calls, total=max(total, report.calls))
    if report is None or reviewing is None:
        raise RequestRefused("the control plane answered nothing")
    return report, reviewing, version, against


def _pages(client: ControlClient, document: Mapping[str, Any], since: int) -> Iterator[Mapping[str, Any]]:
    body: dict[str, Any] = {"policy": document, "since": since}
    while True:
        answer = client.post("/policies/simulate", body)
        yield answer
        if answer.get("next") is None:
            return
        body |= {"cursor": answer["next"], "until": answer["until"]}


# --------------------------------------------------------------------------- on a terminal


def _show(report: Report, reviewing: Reviewing, same: bool) -> None:
    from llmguard.approvals.history import told
    from llmguard.policy.replay import EFFECTS

    screen = console()
    if same:
        click.echo("these rules are in force: nothing would change", err=True)
    screen.print(styled(told(report), "bold"))
    if not report.calls:
        return
    rows = table("", "CALLS", "BEFORE", "NOW", "FOR EXAMPLE")
    for row in report.rows:
        what = EFFECTS[row.effect]
        sides = [
            f"{verdict} ({rule})" for verdict, rule in ((row.before, row.before_rule), (row.after, row.after_rule))
        ]
        examples = "" if row.effect == "same" else ", ".join(row.examples[:2])
        rows.add_row(styled(what, _STYLE.get(row.effect, "")), f"{row.calls:,}", *map(styled, (*sides, examples)))
    screen.print(rows)
    for name, counts in (("caller", "principal"), ("operation", "operation"), ("type", "type")):
        for line in _most(report, name, counts):
            screen.print(line)
    for line in notes(report, reviewing):
        screen.print(styled(line))


_STYLE = {"newly_refused": "red", "newly_blocked": "yellow", "newly_held": "yellow"} | dict.fromkeys(
    ("unredacted", "newly_freed", "unblocked"), "bold red"
)


def _most(report: Report, word: str, by: str) -> Iterator[Any]:
    """What changed most by callers, operations or types, a line each."""
    from llmguard.policy.replay import EFFECTS

    names = report.by.get(by, {})
    ranked = sorted(names, key=lambda n: (-sum(names[n].values()), n))
    for name in ranked[:_SHOWN]:
        shown = f"{report.names[name]} ({name})" if by == "principal" and report.names.get(name) else name
        changes = ", ".join(f"{n:,} {EFFECTS[what]}" for what, n in names[name].items() if what in EFFECTS)
        yield styled(f"{word} {shown}: {changes}")
    if len(ranked) > _SHOWN:
        yield styled(f"and {len(ranked) - _SHOWN:,} more {word}s")


def notes(report: Report, reviewing: Reviewing) -> list[str]:
    """What else a reader has to know, a sentence each."""
    before, after = (reviewing.minutes(people) for people in report.people)
    measured = (
        f"assumed: {spelled(round(reviewing.seconds))} a vote, {reviewing.votes} were timed here"
        if reviewing.assumed
        else f"median from the hold to a vote: {spelled(round(reviewing.seconds))}, of {reviewing.votes:,} votes"
    )
    retried = (
        f"; {reviewing.held:,} held calls came to {reviewing.approvals:,} approvals" if reviewing.approvals else ""
    )
    said = [f"reviewers: {before:,.0f} minutes before, {after:,.0f} now ({measured}{retried})"]
    up, down, most = report.moved
    if up or down:
        said.append(f"risk: higher for {up:,} calls, lower for {down:,}, by {most} at most")
    said += [
        f"rule {rule} in shadow mode: would have said {', '.join(f'{v} to {n:,}' for v, n in would.items())}"
        for rule, would in report.shadow.items()
    ]
    if report.anew:
        said.append(f"{report.anew:,} calls were decided by former rules: what stands before is decided anew")
    if report.partial:
        said.append(f"{report.partial:,} calls held more findings than are kept: their risk may have been higher")
    return said


# --------------------------------------------------------------------------- suggestions


@click.command("suggest", epilog="Example: llmguard policy suggest --since 90d")
@click.option(
    "--since", "seconds", callback=span_option, default="28d", show_default=True, metavar="TIME", help="How far back."
)
@_JSON
@click.pass_obj
def suggest(settings: Settings, seconds: int, as_json: bool) -> None:
    """Show what findings marked wrong, decisions of people and shadow rules suggest, as TOML to propose.

    Nothing is applied. Put what you agree with into a file, then: llmguard policy replay, llmguard policy propose.
    """
    with ControlClient.of(settings) as client:
        advice = client.get("/policies/suggestions", since=now() - seconds * 1000)
    if as_json:
        return click.echo(json.dumps(advice))
    screen = console()
    click.echo(
        f"looked at {advice['calls']:,} calls, {advice['approvals']:,} approvals, {advice['exceptions']:,} exceptions,"
        f" {moment(advice['first'] or None) or 'none'} to {moment(advice['last'] or None) or 'none'}",
        err=True,
    )
    if not advice["suggestions"]:
        return click.echo("nothing to suggest: too few cases, or they all speak for the rules as they are", err=True)
    for number, one in enumerate(advice["suggestions"], 1):
        screen.print(styled(f"{number}. {one['title']}", "bold"))
        screen.print(styled(f"   {_evidence(one['evidence'])}"))
        screen.print(styled(f"   risk: {one['risk']}"))
        screen.print(styled(f"   {one['place']}:"))
        screen.print(styled("".join(f"     {line}\n" for line in str(one["toml"]).splitlines()), lines=True))
    return None


def _evidence(counts: Mapping[str, int | float]) -> str:
    words: Sequence[str] = [f"{name.replace('_', ' ')} {value:,}" for name, value in counts.items()]
    return visible(", ".join(words))
