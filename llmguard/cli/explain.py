"""``llmguard policy explain``: why a call was decided as it was, and what would be decided of it now."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from llmguard.cli.client import ControlClient
from llmguard.cli.screen import console, moment, styled, table
from llmguard.config import Settings
from llmguard.errors import ConfigError, InvalidRequest

_OUTCOMES = {"held": "bold", "error": "bold red", "not": "dim", "not reached": "dim"}
_VERDICTS = {"allow": "green", "redact": "green", "require_approval": "yellow", "block": "bold red"}
_PATH = click.Path(path_type=Path, dir_okay=False, exists=True)
_JSON = click.option("--json", "as_json", is_flag=True, help="JSON on stdout.")


@click.command(epilog="Examples: llmguard policy explain 01K3…   |   llmguard policy explain --facts call.json")
@click.argument("call", required=False)
@click.option("--file", type=_PATH, help="Decide it by this policy file too.")
@click.option("--facts", type=_PATH, help="Facts of a made-up call, as tests have them, in JSON; asks no guard.")
@_JSON
@click.pass_obj
def explain(settings: Settings, call: str | None, file: Path | None, facts: Path | None, as_json: bool) -> None:
    """Show what was known of CALL, what each rule said of it then, and what is decided of such a call now.

    CALL is the id in x-llmguard-call, or that of an approval. Kinds and counts are shown, never text. A file of --facts
    has the keys of a test: {"call": {"kind": "training"}, "findings": [{"type": "CREDIT_CARD", "n": 3}]}.
    """
    if (call is None) == (facts is None):
        raise click.UsageError("name a CALL, or a file of --facts")
    told = _made_up(settings, facts, file) if facts is not None else _kept(settings, str(call), file)
    if as_json:
        return click.echo(json.dumps(told))
    return _show(console(), told)


def _kept(settings: Settings, call: str, file: Path | None) -> dict[str, Any]:
    """What the control plane says of a call; with what FILE would say, decided here from the same facts."""
    from llmguard.facts import Facts
    from llmguard.policy.document import read
    from llmguard.policy.explain import explain as explained

    if not call.isalnum():
        raise InvalidRequest("a call is named by its id, as in x-llmguard-call")
    with ControlClient.of(settings) as client:
        told: dict[str, Any] = client.get(f"/calls/{call.upper()}")
    if file is not None:
        try:
            facts = Facts.decode(json.dumps(told["facts"]).encode())
        except (ValueError, TypeError, KeyError):
            raise ConfigError("the guard keeps facts in another way than this command line: update it") from None
        told["file"] = explained(read(file).policy, facts).as_json()
    return told


def _made_up(settings: Settings, path: Path, file: Path | None) -> dict[str, Any]:
    from llmguard.policy.cases import facts_of
    from llmguard.policy.document import configured, read
    from llmguard.policy.explain import explain as explained
    from llmguard.policy.vocabulary import Vocabulary

    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise ConfigError(f"{path} cannot be read: {type(e).__name__}") from None
    if not isinstance(raw, Mapping):
        raise ConfigError(f"{path}: facts are an object with call, findings and the like")
    facts, risk = facts_of(raw, Vocabulary.of(settings))
    policy = configured(settings) if file is None else read(file).policy
    return {"facts": json.loads(facts.encode()), "file": explained(policy, facts, risk).as_json()}


# --------------------------------------------------------------------------- on a terminal


def _show(screen: Console, told: Mapping[str, Any]) -> None:
    facts = told["facts"]
    for label, value in _facts(told, facts):
        if value:
            screen.print(styled(f"{label:>11}  ", "bold") + styled(value))
    then, now, file = told.get("then"), told.get("now"), told.get("file")
    if "now" in told:
        if then is None:
            screen.print(styled("the policy that decided it is not kept", "yellow"))
        else:
            _explained(screen, "then", then)
        if now is not None and (then is None or then["version"] != now["version"]):
            _explained(screen, "by the policy in force now", now)
        elif now is not None:
            screen.print(styled("the same policy is in force now"))
    if file is not None:
        _explained(screen, "by the file" if "now" in told else "decided", file)


def _facts(told: Mapping[str, Any], facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    counts: dict[str, int] = {}
    for found in facts["found"]:
        counts[found[0]] = counts.get(found[0], 0) + int(found[-1])
    lines = [
        ("call", f"{told['id']}  {moment(int(told['received']))}" if "id" in told else ""),
        ("decided", f"{told['verdict']} by {told['rule']}, policy {str(told['policy'])[:12]}" if "id" in told else ""),
        ("approval", str(told.get("approval", ""))),
        ("does", f"{facts['operation']}  ({facts['kind']}{', drawn or spoken' if facts['rendered'] else ''})"),
        ("who", f"{facts['principal_name']} ({facts['principal_kind']}) for {facts['human'] or 'nobody accountable'}"),
        ("sends to", f"{facts['destination']}  ({facts['trust']})"),
        ("size", f"{int(facts['characters']):,} characters, {int(facts['size']):,} bytes"),
        ("found", ", ".join(f"{n:,} {type_}" for type_, n in sorted(counts.items())) or "nothing"),
        ("unread", ", ".join(map(str, facts["unscanned"]))),
        ("justified", "the caller said why" if facts["justified"] else ""),
        ("incomplete", "more was found than is kept" if facts["partial"] else ""),
    ]
    if told.get("shadow"):
        lines.append(("shadow", ", ".join(f"{rule} would say {verdict}" for rule, verdict in told["shadow"])))
    return lines


def _explained(screen: Console, title: str, one: Mapping[str, Any]) -> None:
    risk = one["risk"]
    mode = ", shadow mode" if one["mode"] == "shadow" else ""
    screen.print(styled(f"--- {title}, policy {str(one['version'])[:12]}{mode}", "bold"))
    screen.print(styled(f"{'risk':>11}  {risk['inherent']} as written, {risk['residual']} as it leaves"))
    for reason in risk["reasons"]:
        if reason["points"] or reason["left"]:
            screen.print(styled(f"{reason['points']:>+18.1f}  {reason['text']}"))
    shown = table("", "RULE", "VERDICT", "READ")
    for step in one["steps"]:
        outcome = str(step["outcome"])
        style = _OUTCOMES.get(outcome, "")
        name = f"{step['rule']} (shadow)" if step["shadow"] else str(step["rule"])
        read = _read(step["read"]) if outcome != "not reached" else ""
        shown.add_row(*(styled(text, style) for text in (outcome, name, str(step["verdict"]), read)))
    screen.print(shown)
    decision = one["decision"]
    if decision is None:
        screen.print(styled(f"refused: {one['refused']}", "bold red"))
        return
    people = ", ".join(f"{n} of {group}" for group, n in sorted(decision["people"].items()))
    line = f"{decision['verdict']} by {decision['rule']}: {decision['reason']}" + (f" ({people})" if people else "")
    screen.print(styled(f"→ {line}", _VERDICTS.get(str(decision["verdict"]), "")))


def _read(values: Mapping[str, Any]) -> str:
    """What a condition looked at, in short."""
    return ", ".join(f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in values.items())
