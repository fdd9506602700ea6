"""What a policy costs each call: rules × findings in microseconds, what making it ready takes, and counts over many.

The rules are of the usual kinds: an operation, a figure of the risk, a type of finding, a count, a name. None of them
holds, which is the most that a call can cost. ``ready`` is what making the facts ready for the conditions takes of it.
"""

from __future__ import annotations

from argparse import Namespace
from time import perf_counter
from typing import Any

from benchmarks.report import Row, Tables, timed
from llmguard.facts import Facts, Found
from llmguard.policy import Policy

PACKAGES = ("llmguard", "cel-expr-python")
RULES = (1, 10, 100, 1000)
FINDINGS = (0, 4, 100, 10_000)
TYPES = ("EMAIL", "PHONE", "PERSON", "CREDIT_CARD", "IBAN", "ADDRESS")
COUNTING = {
    "size(findings)": "size(findings) > 20000",
    "of one type": 'size(findings.filter(f, f.type == "IBAN")) > 5000',
    "by confidence": "size(findings.filter(f, f.confidence > 0.95)) > 5000",
    "is there one": 'findings.exists(f, f.type == "NONE")',
}
"""Conditions over 10,000 findings. Without rewriting, those that filter take seconds each; those that take findings one
by one refuse such a call."""


def run(options: Namespace) -> Tables:
    return {"a call": _calls(options.seconds), "a condition over 10,000 findings": _counts(options.seconds)}


def _calls(seconds: float) -> list[Row]:
    policies: dict[str, tuple[Policy, float]] = {"shipped": _made(None)}
    policies |= {f"{n:,}": _made([_rule(i) for i in range(n)]) for n in RULES}
    rows = []
    for name, (policy, made) in policies.items():
        for count in FINDINGS:
            facts = _facts(count)
            risk = policy.risk(facts)
            ready = timed(lambda p=policy, f=facts, r=risk: p.activation(f, r), seconds / 4)  # type: ignore[misc]
            whole = timed(lambda p=policy, f=facts, r=risk: p.decide(f, r), seconds)  # type: ignore[misc]
            figures = {"p50 µs": whole["p50_us"], "q1": whole["q1_us"], "q3": whole["q3_us"], "ready": ready["p50_us"]}
            rows.append({"rules": name, "findings": count, **figures, "compiled in s": round(made, 3)})
    return rows


def _counts(seconds: float) -> list[Row]:
    facts = _facts(10_000)
    risk = Policy().risk(facts)
    rows = []
    for name, when in COUNTING.items():
        policy = Policy([{"name": "r", "when": when, "verdict": "block"}])
        took = timed(lambda p=policy: p.decide(facts, risk), seconds)  # type: ignore[misc]
        rows.append({"condition": name, "p50 ms": took["p50_us"] / 1000, "q3 ms": took["q3_us"] / 1000})
    return rows


def _made(rules: list[dict[str, Any]] | None) -> tuple[Policy, float]:
    began = perf_counter()
    policy = Policy(rules)
    return policy, perf_counter() - began


def _facts(findings: int) -> Facts:
    found = tuple(
        Found(TYPES[i % len(TYPES)], "pii", "medium", 0.5 + i % 5 / 10, identity=str(i), record=i, row=i)
        for i in range(findings)
    )
    operation, moment = "chat.completions.create", 1_770_000_000_000
    return Facts(operation, "inference", "public", found, characters=2000, size=2000, received=moment)


def _rule(i: int) -> dict[str, Any]:
    whens = (
        f'call.operation == "files.create.{i}" && risk.residual >= {i % 60 + 40}',
        f'findings.exists(f, f.type == "TYPE_{i}" && f.place == "body")',
        f'call.kind == "training" && size(findings) > {i}',
        f'principal.name.startsWith("team-{i}-") && destination.trust == "contract"',
    )
    return {"name": f"r{i}", "when": whens[i % len(whens)], "verdict": "block"}
