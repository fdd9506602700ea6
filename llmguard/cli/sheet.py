"""Sheet: an approval as lines that its reviewer reads; the same for ``show``, for votes and for the live view.

It owns the order and the words, and makes every text of others visible. Invariant: what leaves is in it whole, and its
digest is computed here from what is shown, so that nobody votes for bytes that this terminal did not have.
"""

from __future__ import annotations

import base64
import difflib
import json
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from llmguard.cli.screen import grid, styled, visible
from llmguard.cli.times import moment, relative, spelled, when
from llmguard.errors import Conflict
from llmguard.model import Egress

_LABEL = 11
"""Columns of what a line is about."""
_BAR = 20
"""Characters of a whole bar: a risk of 100."""
_PARTS = frozenset({"action", "function", "on", "types", "description", "evidence"})
_NOT_LOOSER = ("nothing ", "stricter: ", "rules ", "mode: ", "weight ")
"""How lines begin that say of a change of the policy what it does not loosen."""
_DIFF = {"+": "green", "-": "red", "@": "cyan"}
_STATES = {"PENDING": "bold yellow", "APPROVED": "bold green", "EXECUTED": "green", "DENIED": "bold red"}


@dataclass(frozen=True, slots=True)
class Sheet:
    """``facts``: who, what, why, and the votes. ``content``: exactly what leaves."""

    facts: tuple[Text, ...]
    content: tuple[Text, ...]


def sheet(approval: Mapping[str, Any], at: int) -> Sheet:
    """``at``: UTC milliseconds by this machine. Raises Conflict if what is shown is not what is asked about."""
    _whole(approval)
    facts = [_line(label, value, style) for label, value, style in _facts(approval, at)]
    loosens = approval.get("loosens")
    if loosens is not None:
        facts.append(Text("--- what this change of the policy lets through", style="bold"))
        facts += [styled(f"    {line}", _loose(line)) for line in loosens]
    changes = approval.get("changes")
    if changes is not None:
        than = f"revision {int(approval['revision']) - 1}" if approval.get("revises") else "what is in force"
        facts.append(Text(f"--- changes against {than}", style="bold"))
        facts += difference(changes) or [Text("    none: the bodies say the same")]
    return Sheet(tuple(facts), tuple(_leaving(approval)))


def _loose(line: str) -> str:
    return "" if line.startswith(_NOT_LOOSER) else "yellow"


def title(approval: Mapping[str, Any]) -> str:
    """One visible line that names an approval."""
    return visible(f"{approval['id']}  {approval['state']}  {approval['operation']}")


def state_style(state: str) -> str:
    return _STATES.get(state, "")


def who(approval: Mapping[str, Any]) -> str:
    """For whom: the accountable human, and what they call through."""
    requester = approval["requester"]
    human = requester["human"] or "nobody accountable"
    through = requester["name"] or requester["principal"]
    return human if through in (human, f"person:{human}") else f"{human} ({through})"


def found(approval: Mapping[str, Any]) -> str:
    """Types of findings and how many."""
    return ", ".join(f"{count} {kind}" for kind, count in sorted(approval["findings"].items()))


def difference(lines: Iterable[str]) -> list[Text]:
    """Lines of a unified diff, coloured where the terminal has colours."""
    return [styled(line, _DIFF.get(line[:1], "")) for line in lines]


def compared(before: str, after: str) -> list[Text]:
    """What another body would change, member by member where both are JSON."""
    old, new = readable(before).splitlines(), readable(after).splitlines()
    return difference(difflib.unified_diff(old, new, "now", "proposed", lineterm="", n=2))


def readable(body: str) -> str:
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


def _whole(approval: Mapping[str, Any]) -> None:
    """The digest is that of what came, computed here. Raises Conflict."""
    e = approval["egress"]
    try:
        text = e["body"]["text"]
        body = base64.b64decode(text, validate=True) if e["body"]["encoding"] == "base64" else text.encode()
        headers = tuple((str(name), str(value)) for name, value in e["headers"])
        digest = Egress(e["destination"], e["url"], e["account"], e["method"], headers, body).digest()
    except ValueError:
        digest = ""
    if not digest == e["digest"] == approval["digest"]:
        raise Conflict("what the control plane shows is not what it asks about: tell the guard's operator")


# --------------------------------------------------------------------------- who, what and why


def _line(label: str, value: str, style: str = "") -> Text:
    return Text(f"{label:>{_LABEL}}  ", style="bold") + styled(value, style)


def _facts(a: Mapping[str, Any], at: int) -> list[tuple[str, str, str]]:
    """Label, value, style."""
    egress, state = a["egress"], str(a["state"])
    facts = [
        ("approval", f"{a['id']}  {state}  version {a['version']}", state_style(state)),
        ("asks", who(a), ""),
        ("excluded", ", ".join(map(str, a.get("excluded", ()))), ""),
        ("does", f"{a['operation']}  ({a['subject']}, {a.get('kind') or a['subject']})", ""),
        ("sends to", f"{egress['destination']}  {egress['method']} {egress['url']}  account {egress['account']}", ""),
        ("why", str(a.get("justification") or ""), ""),
        ("in short", str(a["risk"].get("summary") or ""), ""),
        ("found", found(a) or "nothing", ""),
        ("unread", ", ".join(map(str, a.get("unscanned", ()))), "bold red"),
        *_risk(a["risk"]),
        ("held by", f"rule {a['rule']}, policy {str(a['policy_version'])[:12]}", ""),
        *(("needs", need, "") for need in _needs(a, at)),
        ("report", str(a.get("report") or ""), ""),
        ("advance", f"standing grant {a['standing']}" if a.get("standing") else "", ""),
        ("excepted", "under " + ", ".join(map(str, a["exceptions"])) if a.get("exceptions") else "", ""),
        ("revision", _revision(a), ""),
        ("until", when(a["expires"], at), ""),
        ("digest", str(a["digest"]), ""),
        (
            "advisory",
            a["advisory"] and "the requester could write the guard's database: this proves little",
            "bold red",
        ),
        *(("vote", _ballot(v), "" if v["counts"] else "dim") for v in a["votes"]),
        (
            "proposal",
            a.get("proposal") and f"a reviewer would approve another body: llmguard approvals diff {a['id']}",
            "",
        ),
        ("you", _may(a), ""),
    ]
    return [(label, value, style) for label, value, style in facts if value]


def _risk(risk: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    inherent, residual = int(risk["inherent"]), int(risk["residual"])
    facts = [
        ("risk", f"{inherent} as written, {residual} as it leaves", ""),
        ("", f"{_bar(inherent)} written", _heat(inherent)),
        ("", f"{_bar(residual)} leaves", _heat(residual)),
    ]
    return facts + [("", f"{r['points']:+6g}  {r['text']}", "") for r in risk["reasons"]]


def _bar(points: int) -> str:
    full = max(0, min(_BAR, round(points * _BAR / 100)))
    return "█" * full + "░" * (_BAR - full)


def _heat(points: int) -> str:
    return "red" if points >= 70 else "yellow" if points >= 40 else "green"


def _needs(a: Mapping[str, Any], at: int) -> list[str]:
    """What is wanted of whom and what is missing of it; what a voter must have done; who comes in later."""
    need, missing = a["requirement"], a["missing_of"]
    groups = [
        f"{int(count)} of {name} ({f'{int(missing[name])} missing' if missing.get(name) else 'none missing'})"
        for name, count in sorted(need["groups"].items())
    ]
    lines = [" and ".join(groups)]
    if need.get("fresh"):
        lines.append(f"a login of the last {spelled(int(need['fresh']))}")
    if a.get("escalated"):
        lines.append(f"{need['escalate_to']} may stand in, since {when(a['escalated'], at)}")
    elif need.get("escalate_to"):
        due = int(a["created"]) + int(need["escalate_after"]) * 1000
        lines.append(f"{need['escalate_to']} may stand in, {relative(due, at)}")
    if need.get("break_glass"):
        lines.append(f"in an emergency one of {need['break_glass']}: llmguard approvals break-glass")
    return lines


def _revision(a: Mapping[str, Any]) -> str:
    words = []
    if a.get("revises"):
        words.append(f"{a['revision']}, in place of {a['revises']}")
    if a.get("revised_by"):
        words.append(f"{a['revised_by']} took its place")
    return "; ".join(words)


def _ballot(vote: Mapping[str, Any]) -> str:
    counts = "" if vote["counts"] else "  (does not count any more)"
    reason = f": {vote['reason']}" if vote["reason"] else ""
    return f"{vote['human']} {vote['verdict']} at {moment(vote['time'])}{counts}{reason}"


def _may(a: Mapping[str, Any]) -> str:
    may = a.get("may")
    if not may:
        return ""
    can = sorted(name.replace("_", " ") for name, allowed in may.items() if allowed)
    return f"may {', '.join(can)}" if can else "may look, not decide"


# --------------------------------------------------------------------------- what leaves


def _leaving(approval: Mapping[str, Any]) -> list[Text]:
    egress = approval["egress"]
    lines = [
        Text(f"--- leaves, {int(egress['bytes'])} bytes ({visible(str(egress['body']['encoding']))})", style="bold")
    ]
    lines += [styled(f"{name}: {value}") for name, value in egress["headers"]]
    text = egress["body"]["text"]
    asked = _ASKED[approval["subject"]](text) if approval["subject"] in _ASKED else None
    return lines + (asked if asked is not None else block(readable(text)))


def block(text: str) -> list[Text]:
    """Text of others, line by line."""
    return [styled(line, lines=True) for line in text.split("\n")]


def _members(body: str) -> dict[str, Any] | None:
    """An object, if it can be read in one way only."""
    try:
        value = json.loads(body, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _change(body: str) -> list[Text] | None:
    """A change of the policy with its rules on lines of their own; None where the body is anything else."""
    value = _members(body)
    if value is None or set(value) != {"change", "source"} or not isinstance(value["source"], str):
        return None
    return [_line("change", json.dumps(value["change"])), *block(readable(value["source"]))]


def _action(body: str) -> list[Text] | None:
    """An action in words; None where the body is anything else, which is then shown as it is."""
    value = _members(body)
    if value is None or not isinstance(value.get("arguments"), dict):
        return None
    arguments = value.pop("arguments")
    lines = [_line("arguments", "none")] if not arguments else []
    for i, (name, argument) in enumerate(arguments.items()):
        lines += _labelled("arguments" if i == 0 else "", _named(name, argument))
    before = [n for n in ("action", "function", "description") if n in value]
    after = [n for n in value if n not in before]
    above, below = ([line for n in names for line in _labelled(*_part(n, value[n]))] for names in (before, after))
    return [*above, *lines, *below]


def _part(name: str, value: Any) -> tuple[str, list[str]]:
    """A part of an action; one with a name of no part of ours says its name in JSON."""
    return (name, _value(value)) if name in _PARTS else ("also", _named(name, value))


def _labelled(label: str, lines: list[str]) -> list[Text]:
    return [_line(label if i == 0 else "", line) for i, line in enumerate(lines)]


def _named(name: str, value: Any) -> list[str]:
    """``name = value``; a command as one would type it, longer things under their name."""
    name = name if name.isidentifier() else json.dumps(name, ensure_ascii=False)
    if name == "command" and isinstance(value, list) and value and all(isinstance(word, str) for word in value):
        return [f"{name} $ {shlex.join(value)}"]
    first, *rest = _value(value)
    if not rest:
        return [f"{name} = {first}"]
    return [f"{name} =", *(f"    {line}" for line in (first, *rest))]


def _value(value: Any) -> list[str]:
    """JSON that is read at a glance, and in one way only: quotes on texts of one line, a bar before each of several."""
    if isinstance(value, str) and "\n" in value:
        return [f"│ {line}" for line in value.split("\n")]
    table = _table(value)
    return table or json.dumps(value, indent=2, ensure_ascii=False).split("\n")


def _table(value: Any) -> list[str]:
    """Names with simple values, or rows of the same simple columns, as a grid; nothing where it is neither."""
    if _simple(value):
        return grid([[_word(name), _word(v)] for name, v in value.items()])
    if isinstance(value, list) and value and all(_simple(row) and list(row) == list(value[0]) for row in value):
        return grid([[_word(name) for name in value[0]], *([_word(v) for v in row.values()] for row in value)])
    return []


def _simple(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and not any(isinstance(v, dict | list) for v in value.values())


def _word(value: Any) -> str:
    return visible(json.dumps(value, ensure_ascii=False))


_ASKED = {"action": _action, "change": _change}
"""Subject → how its body is read."""
