"""Policy: the rules in force, and another one step by step: checked, compared, replayed on kept calls, then proposed.

Nothing here puts a policy in force. Who proposes one is led to the approval that somebody else decides.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from markupsafe import Markup
from starlette.responses import Response

from llmguard.inbox import charts
from llmguard.inbox.api import Problem, segment
from llmguard.inbox.charts import Series
from llmguard.inbox.dashboard import VERDICTS
from llmguard.inbox.pages import Page
from llmguard.inbox.visit import Visit
from llmguard.policy.replay import EFFECTS, LOOSENS, Report
from llmguard.policy.suggest import toml

LONGEST = 256 * 1024
FORM = 4 * LONGEST
"""Bytes of a form with so many characters: TOML is ASCII for the most part."""
PAGES_OF_CALLS = 4
"""Of 5,000 kept calls each that one look replays; ``llmguard policy replay`` takes them all."""
DAYS = 7
AFTER = {**VERDICTS, "error": ("refused: a rule errs", 3)}
DOES = {
    "allow": "Sent as written",
    "redact": "Redacted, then sent",
    "require_approval": "Held for people",
    "block": "Blocked",
}


async def show(visit: Visit) -> Response:
    return await _page(visit)


async def _page(visit: Visit, problem: Problem | None = None) -> Response:
    told = await visit.api.get("/policy")
    versions = (await visit.api.get("/policy/versions"))["versions"]
    counted = await visit.api.get("/statistics", days=DAYS)
    source = written(told["policy"])
    return visit.page(
        "policy.html",
        status=problem.status if problem else 200,
        told=told,
        rules=[in_words(rule) for rule in told["policy"]["rules"]],
        source=source,
        typed=visit.kept["source"] or visit.form["source"] or source,
        versions=versions,
        counts={row["rule"]: row["calls"] for row in counted["rules"]},
        shadow={row["rule"]: row["calls"] for row in counted["shadow"]},
        counted=counted,
        days=DAYS,
        longest=LONGEST,
        problem=problem,
    )


async def configured(visit: Visit) -> Response:
    """The configuration's policy, beside the one in force."""
    checked = await visit.api.post("/policy/check", {})
    return await _draft(
        visit, checked, checked["source"] or written(checked["policy"] or {}), "The configuration's policy"
    )


async def draft(visit: Visit) -> Response:
    source = visit.form["source"]
    try:
        checked = await visit.api.post("/policy/check", {"source": source})
    except Problem as e:
        if e.code == "unauthenticated":
            raise
        return await _page(visit, e)
    return await _draft(visit, checked, source, "A draft")


async def _draft(visit: Visit, checked: Mapping[str, Any], source: str, title: str) -> Response:
    told = await visit.api.get("/policy")
    replayed, problem = None, None
    differs = checked["version"] not in (None, told["version"])
    if differs:
        try:
            replayed = await _replayed(visit, checked["policy"])
        except Problem as e:
            problem = e
    lines = differences(written(told["policy"]), written(checked["policy"])) if differs else []
    values: dict[str, Any] = {"picture": picture(replayed["report"]) if replayed else "", "effects": EFFECTS}
    return visit.page(
        "policy_draft.html",
        checked=checked,
        told=told,
        title=title,
        source=source,
        differs=differs,
        lines=lines,
        replayed=replayed,
        problem=problem,
        words={verdict: said for verdict, (said, _) in AFTER.items()},
        loosens=LOOSENS,
        **values,
    )


async def _replayed(visit: Visit, document: Mapping[str, Any]) -> dict[str, Any]:
    """What it would have decided of the calls of a week, as far as one look goes."""
    report, cursor, answer = Report(), None, {}
    for _ in range(PAGES_OF_CALLS):
        answer = await visit.api.post(
            "/policies/simulate", {"policy": document, **({"cursor": cursor} if cursor else {})}
        )
        report += Report.of_json(answer["report"])
        cursor = answer["next"]
        if not cursor:
            break
    return {"report": report, "left": answer["left"]}


async def propose(visit: Visit) -> Response:
    """Puts the draft before somebody else; where nobody else has to approve, it is in force."""
    source = visit.form["source"]
    try:
        checked = await visit.api.post("/policy/check", {"source": source} if source else {})
        if not checked["policy"]:
            wrong = next((p["text"] for p in checked["problems"] if p["level"] == "error"), "it cannot be used")
            raise Problem(400, "invalid_request", f"this is no policy: {wrong}")
        told = await visit.api.post("/policy", checked["policy"], once=visit.form["once"])
    except Problem as e:
        if e.code in ("unauthenticated", "login_too_old"):
            raise
        return await _page(visit, e)
    return visit.to(f"/inbox/approvals/{told['approval']['id']}" if told["approval"] else "/inbox/policy")


async def former(visit: Visit) -> Response:
    was = await visit.api.get(f"/policy/versions/{segment(visit.part('version'))}")
    now = await visit.api.get("/policy")
    source = written(was["policy"])
    lines = differences(source, written(now["policy"])) if was["version"] != now["version"] else []
    return visit.page("policy_version.html", was=was, now=now, source=source, lines=lines)


# --------------------------------------------------------------------------- in words, and as text


def in_words(rule: Mapping[str, Any]) -> dict[str, Any]:
    """A rule for a reader: what it does, when, and whom it needs."""
    groups = rule.get("groups") or {rule.get("group", "reviewers"): rule.get("quorum", 1)}
    needs = (
        ["needs " + ", ".join(f"{n} of {group}" for group, n in groups.items())]
        if rule["verdict"] == "require_approval"
        else []
    )
    times = {"expires_in": "expires in", "spend_in": "spent within", "fresh": "voters logged in within"}
    times |= {"remind_after": "reminded after", "escalate_after": "escalated after"}
    needs += [f"{word} {_time(rule[name])}" for name, word in times.items() if name in rule]
    needs += [
        f"{word} {rule[name]}"
        for name, word in (("escalate_to", "to"), ("break_glass", "in an emergency"))
        if name in rule
    ]
    needs += ["the caller says why"] if rule.get("justification") else []
    needs += (
        [{"ticket": "the caller gets a ticket", "wait": "the caller waits"}[rule["hold"]]] if "hold" in rule else []
    )
    told = {"name": rule.get("name", "unnamed"), "reason": rule.get("reason", ""), "shadow": rule.get("shadow", False)}
    return {
        **told,
        "verdict": rule["verdict"],
        "when": rule.get("when", "true"),
        "does": DOES[rule["verdict"]],
        "needs": needs,
    }


def _time(seconds: int) -> str:
    unit, word = next((u, w) for u, w in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")) if seconds % u == 0)
    return f"{seconds // unit} {word}"


def written(document: Mapping[str, Any]) -> str:
    """A policy as TOML."""
    pieces = [f"mode = {json.dumps(document['mode'])}\n"] if "mode" in document else []
    pieces += [toml(_ordered(rule)) for rule in document.get("rules", ())]
    for name in ("styles", "weights"):
        pieces += _tables(name, document.get(name, {}))
    return "\n".join(pieces)


def _ordered(rule: Mapping[str, Any]) -> dict[str, Any]:
    """As people write it, so that two documents differ where they say something else."""
    first = ("name", "when", "verdict", "reason")
    return {key: rule[key] for key in (*first, *sorted(set(rule) - set(first))) if key in rule}


def _tables(name: str, table: Mapping[str, Any]) -> Iterator[str]:
    plain = {key: value for key, value in table.items() if not isinstance(value, Mapping)}
    if plain:
        yield f"[{name}]\n" + toml(plain).partition("\n")[2]
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _tables(f"{name}.{json.dumps(key)}", value)


def differences(before: str, after: str) -> list[tuple[str, str]]:
    """Lines of a comparison: a sign (``+``, ``-``, `` ``, ``@``) and the text."""
    lines = list(difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=2))[2:]
    return [("@", "") if line.startswith("@@") else (line[:1], line[1:]) for line in lines]


def picture(report: Report) -> Markup:
    """Calls by verdict, before and after."""
    verdicts = report.verdicts()
    if not verdicts:
        return Markup("")
    labels = [AFTER[v][0] for v in verdicts]
    before = Series("in force", [a for a, _ in verdicts.values()], 0)
    after = Series("as proposed", [b for _, b in verdicts.values()], 1)
    return charts.columns(labels, [before, after], stacked=False, wide=charts.WHOLE)


PAGES = (
    Page("GET", "/inbox/policy", show, nav="Policy"),
    Page("GET", "/inbox/policy/configuration", configured),
    Page("POST", "/inbox/policy/draft", draft, most=FORM),
    Page("POST", "/inbox/policy/propose", propose, most=FORM),
    Page("GET", "/inbox/policy/versions/{version}", former),
)
