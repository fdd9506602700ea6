"""What ``llmguard policy check`` found, on a terminal and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import click

from llmguard.cli.screen import console, styled, visible
from llmguard.policy.cases import Result
from llmguard.policy.check import Problem, Report

_LEVELS = {"error": "bold red", "warning": "yellow"}


def show_checked(report: Report, unknown: str, file: str) -> None:
    """The rules on stdout, what is wrong with them on stderr. ``unknown``: why groups are not checked."""
    if report.policy is not None:
        for rule in report.policy.rules:
            shadow = " (shadow)" if rule.shadow else ""
            click.echo(visible(f"{rule.name}: {rule.verdict}{shadow} when {' '.join(rule.when.split())}"))
        click.echo("default: redact")
        click.echo(f"version {report.policy.version}")
        passed = sum(r.passed for r in report.results)
        click.echo(f"tests {passed} of {len(report.results)} passed" if report.results else "tests none")
        click.echo(f"made-up calls {report.tried:,}")
    screen = console(err=True)
    failed = {f"test {r.case.name!r}": r for r in report.results if not r.passed}
    for problem in report.problems:
        screen.print(styled(f"{_where(problem, file)}{problem.level}: ", _LEVELS[problem.level]) + _said(problem))
        for line in _traced(failed[problem.about]) if problem.about in failed else ():
            screen.print(styled(f"    {line}"))
    if unknown and report.policy is not None and any(r.verdict == "require_approval" for r in report.policy.rules):
        screen.print(styled(f"groups were not checked: {unknown}", "dim"))


def _where(problem: Problem, file: str) -> str:
    return f"{file}:{problem.line}: " if file and problem.line else f"line {problem.line}: " if problem.line else ""


def _said(problem: Problem) -> Any:
    return styled(f"{problem.about}: {problem.text}")


def _traced(result: Result) -> list[str]:
    """Why it was decided so: the risk, and what the rules up to the deciding one read."""
    risk = result.explained.risk
    lines = [f"risk {risk.inherent} as written, {risk.residual} as it leaves"]
    for step in result.explained.steps:
        if step.outcome == "not reached":
            break
        read = ", ".join(f"{name} = {_value(value)}" for name, value in step.read.items())
        lines.append(f"{step.outcome:>5}  {step.rule}" + (f"  ({read})" if read else ""))
    return lines


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{n} {name}" for name, n in value.items()) or "none"
    return str(value)


def checked_as_json(report: Report, unknown: str) -> dict[str, Any]:
    return {
        "version": report.policy and report.policy.version,
        "problems": [asdict(p) for p in report.problems],
        "tests": [
            {
                "name": r.case.name,
                "passed": r.passed,
                "expected": {"verdict": r.case.expect, "rule": r.case.rule},
                "decided": {"verdict": r.said[0], "rule": r.said[1]},
                "explained": r.explained.as_json(),
            }
            for r in report.results
        ],
        "samples": report.tried,
        "groups": "not checked: " + unknown if unknown else "checked",
    }
