"""``llmguard approvals``: look at what is held, and decide. Talks to the control plane only, never to the database.

A vote carries the digest of what this terminal has shown, so that nothing else can be approved by it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.text import Text

from llmguard.cli.client import LONGEST_WAIT, ControlClient
from llmguard.cli.completion import approval_ids
from llmguard.cli.screen import console, interactive, styled, table, visible
from llmguard.cli.sheet import block, compared, difference, found, sheet, state_style, title, who
from llmguard.cli.times import now, relative, span_option, spelled, when
from llmguard.config import Settings
from llmguard.errors import Conflict, GuardUnavailable, InvalidRequest

BODY = 8000
"""Characters of what leaves that are shown unless --full is given."""
STILL_WAITS = 75
"""Exit code (EX_TEMPFAIL of sysexits.h)."""
OPEN = frozenset({"PENDING", "APPROVED", "CHANGES_REQUESTED"})
FINE = frozenset({"APPROVED", "EXECUTING", "EXECUTED"})
"""States for which ``wait`` is content."""
_NARROW, _MIDDLE = 110, 150
"""Columns below which a list leaves something out."""
F = TypeVar("F", bound=Callable[..., Any])

_JSON = click.option("--json", "as_json", is_flag=True, help="JSON on stdout.")
_FULL = click.option("--full", is_flag=True, help=f"The whole body, also beyond {BODY} characters.")
_REASON = click.option("--reason", default="", metavar="TEXT", help="Why; the requester can read it.")
_YES = click.option("--yes", "-y", is_flag=True, help="Do not ask again on a terminal.")


def _id(command: F) -> F:
    """The approval that a command is about, completed by the shell."""
    return click.argument("id_", metavar="ID", shell_complete=approval_ids)(command)


@click.group(
    epilog="Exit codes: 0 done, 1 refused, 2 used wrongly, 75 still waits. The beginning of an ID is enough while it"
    " is unique."
)
def approvals() -> None:
    """Calls, actions and changes that wait for people."""


# --------------------------------------------------------------------------- looking


@approvals.command("list", epilog="Example: llmguard approvals list --state pending --mine")
@click.option("--state", metavar="STATE", help="Only this state, such as PENDING.")
@click.option("--subject", type=click.Choice(["call", "action", "change", "review"]), help="Only these.")
@click.option("--mine", is_flag=True, help="Only what you are behind yourself.")
@click.option("--all", "everything", is_flag=True, help="Every page, not only the newest 50.")
@_JSON
@click.pass_obj
def list_approvals(settings: Settings, /, *, everything: bool, as_json: bool, **only: Any) -> None:
    """List approvals: what waits first, then the newest. Times are UTC.

    A terminal of less than 150 columns shows less of each; --json and pipes have everything.
    """
    with ControlClient.of(settings) as client:
        rows = list(_pages(client, everything, **only))
    if as_json:
        return click.echo(json.dumps(rows))
    if not rows:
        return click.echo("nothing waits for you", err=True)
    _table(rows)
    waiting = sum(a["state"] == "PENDING" for a in rows)
    if waiting and sys.stdout.isatty():
        verb = "waits" if waiting == 1 else "wait"
        click.echo(
            f"{waiting} {verb} for a decision: llmguard approvals watch, or: llmguard approvals show ID", err=True
        )
    return None


def _pages(
    client: ControlClient, everything: bool, *, state: str | None, subject: str | None, mine: bool
) -> Iterator[dict[str, Any]]:
    only: dict[str, str | int | None] = {"state": state.upper() if state else None, "subject": subject}
    only["mine"] = 1 if mine else None
    if everything:
        return client.pages("/approvals", "approvals", **only)
    return iter(client.get("/approvals", **only)["approvals"])


def _table(rows: list[dict[str, Any]]) -> None:
    screen, at = console(), now()
    width = screen.width
    columns: list[tuple[str, Callable[[dict[str, Any]], str | Text]]] = [
        ("ID", lambda a: visible(str(a["id"]) if width >= _NARROW else short(a, rows))),
        ("STATE", lambda a: styled(str(a["state"]), state_style(str(a["state"])))),
        ("RISK", lambda a: f"{int(a['risk']['inherent'])} → {int(a['risk']['residual'])}"),
        ("OPERATION", lambda a: styled(str(a["operation"]))),
    ]
    if width >= _NARROW:
        columns.append(("TO", lambda a: styled(str(a["destination"]))))
    columns.append(("FOR", lambda a: styled(who(a))))
    if width >= _MIDDLE:
        columns.append(("FINDINGS", lambda a: styled(found(a))))
    columns.append(("MISSING", lambda a: styled(_missing(a, width >= _MIDDLE))))
    ends = when if width >= _MIDDLE else relative
    columns.append(("EXPIRES", lambda a: ends(a["expires"], at) if a["state"] in OPEN else ""))
    shown = table(*(name for name, _ in columns))
    for narrow in (shown.columns[1], shown.columns[-1]):
        narrow.no_wrap = True
    for a in sorted(rows, key=lambda a: a["state"] != "PENDING"):
        shown.add_row(*(word(a) for _, word in columns))
    screen.print(shown)


def short(approval: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """The beginning of an id that is no other's in a list."""
    id_ = str(approval["id"])
    others = {str(a["id"]) for a in rows} - {id_}
    return next((id_[:n] for n in range(10, len(id_)) if not any(o.startswith(id_[:n]) for o in others)), id_)


def _missing(approval: dict[str, Any], groups: bool) -> str:
    wanting = approval["missing_of"]
    if not groups or not wanting:
        return str(int(approval["missing"]))
    return ", ".join(f"{int(count)} {name}" for name, count in sorted(wanting.items()))


@approvals.command("show", epilog="Example: llmguard approvals show 01M80M8ZG --full")
@_id
@click.option("--raw", is_flag=True, help="Also what was written, before redaction. That you looked is in the log.")
@_FULL
@_JSON
@click.pass_obj
def show(settings: Settings, id_: str, raw: bool, full: bool, as_json: bool) -> None:
    """Show what one approval decides: who asks, what leaves and where to, why it is held, who has voted."""
    with ControlClient.of(settings) as client:
        approval = _get(client, id_)
        if raw:
            approval["original"] = client.post(f"/approvals/{approval['id']}/payload", {"full": True})["original"]
    if as_json:
        return click.echo(json.dumps(approval))
    _show(approval, full)
    return None


@approvals.command("diff", epilog="Example: llmguard approvals diff 01M80M8ZG")
@_id
@_JSON
@click.pass_obj
def diff(settings: Settings, id_: str, as_json: bool) -> None:
    """Show what a revision changed, and what a reviewer proposes to change.

    Both are redacted as they leave.
    """
    with ControlClient.of(settings) as client:
        approval = _get(client, id_)
    changes, proposal = approval.get("changes"), approval.get("proposal")
    if as_json:
        return click.echo(json.dumps({"id": approval["id"], "changes": changes, "proposal": proposal}))
    screen = console()
    if changes is None and not proposal:
        return click.echo("this is the first revision, and nobody proposed another", err=True)
    if changes is not None:
        _lines(screen, f"changes against {approval['revises']}", difference(changes))
    if proposal:
        _lines(screen, "what a reviewer would approve instead", compared(approval["egress"]["body"]["text"], proposal))
    return None


@approvals.command("wait", epilog="Example: llmguard approvals wait 01M80M8ZG --timeout 30m && ./deploy")
@_id
@click.option("--timeout", callback=span_option, metavar="TIME", help="As 30m or 2h.  [default: until it is decided]")
@_JSON
@click.pass_obj
def wait(settings: Settings, id_: str, timeout: int | None, as_json: bool) -> None:
    """Wait until it is decided. Exit code: 0 approved or executed, 1 anything else, 75 still waits.

    A control plane that is gone for a while is waited for, too.
    """
    end = None if timeout is None else time.monotonic() + timeout
    with ControlClient.of(settings) as client:
        approval = _get(client, id_)
        while approval["state"] == "PENDING" and (end is None or time.monotonic() < end):
            approval = _news(client, approval, end)
    _done(approval, as_json)
    if approval["state"] not in FINE:
        sys.exit(STILL_WAITS if approval["state"] == "PENDING" else 1)


def _news(client: ControlClient, approval: dict[str, Any], end: float | None) -> dict[str, Any]:
    """The approval after a change, or after some seconds as it is."""
    left = LONGEST_WAIT if end is None else min(LONGEST_WAIT, int(end - time.monotonic()) + 1)
    try:
        news = client.get(f"/approvals/{approval['id']}/wait", version=int(approval["version"]), timeout=left)
    except GuardUnavailable as e:
        click.echo(f"llmguard: {e.message}; trying again", err=True)
        time.sleep(2 if end is None else max(0.0, min(2, end - time.monotonic())))  # else it is asked without a pause
        return approval
    return dict(news)


@approvals.command("evidence", epilog="Example: llmguard approvals evidence 01M80M8ZG -o evidence.json")
@_id
@click.option("--output", "-o", metavar="FILE", required=True, type=click.Path(dir_okay=False, allow_dash=True))
@click.option("--payload", is_flag=True, help="Also what leaves, redacted as it is; else only its digest.")
@click.option("--force", is_flag=True, help="Replace the file if there is one.")
@click.pass_obj
def evidence(settings: Settings, id_: str, output: str, payload: bool, force: bool) -> None:
    """Write down what the log proves about one approval, for an auditor. That you did is in the log.

    The file is readable by you alone; - is stdout.
    """
    if output != "-" and not force and Path(output).exists():
        raise InvalidRequest(f"{visible(output)} exists: name another file, or replace it with --force")
    with ControlClient.of(settings) as client:
        pack = client.post(f"/approvals/{client.find(id_)}/evidence", {"payload": payload})
    text = json.dumps(pack, indent=2) + "\n"
    if output == "-":
        return click.echo(text, nl=False)
    with open(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as f:
        f.write(text)
    return click.echo(f"evidence is in {visible(output)}", err=True)


@approvals.command(
    "watch", epilog="Example: llmguard approvals watch --bell; in a pipe: llmguard approvals watch | tee seen"
)
@click.option("--bell", is_flag=True, help="Ring the terminal's bell when something new waits.")
@_JSON
@click.pass_obj
def watch(settings: Settings, bell: bool, as_json: bool) -> None:
    """Look at what waits and decide, live. In a pipe, or with --json: a line for each change.

    ? shows the keys. Nothing is approved before the whole of it was on the screen.
    """
    from llmguard.cli import live, watch

    if as_json or not live.possible():
        return watch.follow(settings, as_json)
    return live.run(settings, bell)


# --------------------------------------------------------------------------- deciding


@approvals.command("approve", epilog='Example: llmguard approvals approve 01M80M8ZG --reason "known customer"')
@_id
@_REASON
@_FULL
@_YES
@_JSON
@click.pass_obj
def approve(settings: Settings, /, id_: str, **options: Any) -> None:
    """Approve exactly what is shown, once. What is shown goes to stderr; a terminal is asked, a pipe is not."""
    _vote(settings, id_, "approve", **options)


@approvals.command("deny", epilog='Example: llmguard approvals deny 01M80M8ZG --reason "not to this provider"')
@_id
@_REASON
@_FULL
@_JSON
@click.pass_obj
def deny(settings: Settings, /, id_: str, **options: Any) -> None:
    """Refuse: it does not leave. One denial ends it."""
    _vote(settings, id_, "deny", yes=True, **options)


@approvals.command(
    "request-changes",
    epilog='Example: llmguard approvals request-changes 01M80M8ZG --reason "fewer rows" --proposal smaller.json',
)
@_id
@click.option("--reason", required=True, metavar="TEXT", help="What has to change; the requester can read it.")
@click.option(
    "--proposal",
    metavar="FILE",
    type=click.File(encoding="utf-8"),
    help="What you would approve instead: the changed body. - is stdin.",
)
@_FULL
@_JSON
@click.pass_obj
def request_changes(settings: Settings, /, id_: str, proposal: Any, **options: Any) -> None:
    """Refuse this revision, and say what has to change.

    The requester accepts a proposal explicitly, and it is voted on anew.
    """
    _vote(settings, id_, "request_changes", yes=True, proposal=proposal.read() if proposal else None, **options)


@approvals.command(
    "break-glass", epilog='Example: llmguard approvals break-glass 01M80M8ZG --reason "production is down, INC-1234"'
)
@_id
@click.option("--reason", required=True, metavar="TEXT", help="The emergency, in ten characters at least.")
@_FULL
@_YES
@_JSON
@click.pass_obj
def break_glass(settings: Settings, /, id_: str, **options: Any) -> None:
    """Approve alone, in an emergency: everybody is told at once, and the others review it afterwards.

    For people of the group that the rule names for this.
    """
    _vote(settings, id_, "break_glass", **options)


@approvals.command("cancel", epilog="Example: llmguard approvals cancel 01M80M8ZG")
@_id
@_JSON
@click.pass_obj
def cancel(settings: Settings, id_: str, as_json: bool) -> None:
    """Withdraw your own request; as a reviewer, take back an approval that was not spent."""
    with ControlClient.of(settings) as client:
        _done(client.post(f"/approvals/{client.find(id_)}/cancel", {}, once=True), as_json)


@approvals.command("revoke", epilog="Example: llmguard approvals revoke 01M80M8ZG")
@_id
@_JSON
@click.pass_obj
def revoke(settings: Settings, id_: str, as_json: bool) -> None:
    """Take back, as a reviewer, an approval that was not spent."""
    with ControlClient.of(settings) as client:
        _done(client.post(f"/approvals/{client.find(id_)}/revoke", {}, once=True), as_json)


@approvals.command("revise", epilog="Example: llmguard approvals revise 01M80M8ZG smaller.json")
@_id
@click.argument("file", type=click.File(encoding="utf-8"))
@_YES
@_JSON
@click.pass_obj
def revise(settings: Settings, id_: str, file: Any, yes: bool, as_json: bool) -> None:
    """Put the body in FILE (- is stdin) in the place of your call's, after changes were requested.

    It is redacted and voted on anew; sending the former request again joins it. Actions are asked anew instead.
    """
    body = file.read()
    with ControlClient.of(settings) as client:
        approval = _get(client, id_)
        _lines(console(err=True), "what you change", compared(approval["egress"]["body"]["text"], body))
        if not yes:
            _ask("ask for this instead?")
        asked = {"body": body, "digest": approval["digest"]}
        _done(client.post(f"/approvals/{approval['id']}/revise", asked), as_json)


@approvals.command("grant", epilog="Example: llmguard approvals grant 01M80M8ZG --for 2h")
@_id
@click.option("--for", "seconds", required=True, callback=span_option, metavar="TIME", help="As 90m; at most 8h.")
@_JSON
@click.pass_obj
def grant(settings: Settings, id_: str, seconds: int, as_json: bool) -> None:
    """Propose to approve calls like this one in advance: same caller and route, no other findings, no higher risk.

    Somebody else approves the grant; llmguard grants list shows those in force.
    """
    with ControlClient.of(settings) as client:
        asked = client.post(f"/approvals/{client.find(id_)}/standing", {"seconds": seconds}, once=True)
    proposed(asked, as_json, f"calls like this one are approved in advance for {spelled(seconds)}")


def _vote(  # noqa: PLR0913  one argument for each option of a vote
    settings: Settings,
    id_: str,
    verdict: str,
    *,
    reason: str,
    full: bool,
    as_json: bool,
    yes: bool,
    proposal: str | None = None,
) -> None:
    """Fetches, shows what is being decided, and sends the digest and the version that were shown."""
    with ControlClient.of(settings) as client:
        approval = _get(client, id_)
        unseen = _show(approval, full, err=True)
        if unseen and verdict in ("approve", "break_glass"):
            raise InvalidRequest(
                f"{unseen} characters of what leaves were not shown: {verdict.replace('_', '-')} with --full"
            )
        if not yes:
            _ask(f"{verdict.replace('_', ' ')} {approval['digest'][:12]}…?")
        after = cast(client, approval, verdict, reason, proposal)
    _done(after, as_json)


def cast(
    client: ControlClient, approval: dict[str, Any], verdict: str, reason: str, proposal: str | None = None
) -> dict[str, Any]:
    """Votes on exactly this approval, as it was shown: its digest, its version, once. The summary after it."""
    body = {"digest": approval["digest"], "reason": reason}
    place = "break-glass" if verdict == "break_glass" else "votes"
    if place == "votes":
        body["verdict"] = verdict
    if proposal is not None:
        body["proposal"] = proposal
    path = f"/approvals/{approval['id']}/{place}"
    return dict(client.post(path, body, version=int(approval["version"]), once=True))


def _ask(question: str) -> None:
    """Raises Conflict unless somebody who sits there says yes; a pipe is not asked."""
    if interactive() and not click.confirm(question, err=True):
        raise Conflict("nothing was decided")


def _get(client: ControlClient, id_: str) -> dict[str, Any]:
    """All of it, however long: what is shown in part could not be checked against its digest."""
    return dict(client.get(f"/approvals/{client.find(id_)}", full=1))


def _done(approval: dict[str, Any], as_json: bool) -> None:
    if as_json:
        return click.echo(json.dumps(approval))
    missing = int(approval["missing"])
    more = f", {missing} more {'approval' if missing == 1 else 'approvals'} wanted" if missing else ""
    return click.echo(f"{visible(approval['id'])} is {visible(approval['state'])}{more}")


def proposed(answer: dict[str, Any], as_json: bool, applied: str) -> None:
    """Says whether a change took effect, or who is waited for."""
    if as_json:
        return click.echo(json.dumps(answer))
    if answer["applied"]:
        return click.echo(applied, err=True)
    approval = answer["approval"]
    click.echo(
        f"{title(approval)}: somebody else of {visible(', '.join(approval['missing_of']))} approves it", err=True
    )
    return click.echo(visible(approval["id"]))


# --------------------------------------------------------------------------- the reviewer's view


def _show(approval: dict[str, Any], full: bool, *, err: bool = False) -> int:
    """Prints the reviewer's view; returns how many characters of what leaves it did not show."""
    screen = console(err=err)
    shown = sheet(approval, now())
    for line in shown.facts:
        screen.print(line)
    unseen = _content(screen, list(shown.content), full)
    if "original" in approval:
        written = approval["original"]
        _lines(screen, f"was written ({written['encoding']})", [])
        _content(screen, block(written["text"]), full)
    return unseen


def _content(screen: Console, lines: list[Text], full: bool) -> int:
    """Prints lines as far as they may go; returns how many characters stayed behind."""
    left = sum(len(line) for line in lines) if full else BODY
    rest = 0
    for line in lines:
        if left or not len(line):
            screen.print(line[:left])
        rest += max(0, len(line) - left)
        left -= min(left, len(line))
    if rest:
        screen.print(Text(f"--- {rest} characters more: look at them with --full before you decide", style="bold red"))
    return rest


def _lines(screen: Console, title: str, lines: list[Text]) -> None:
    screen.print(styled(f"--- {title}", "bold"))
    for line in lines:
        screen.print(line)
