"""The report of a data set as a data card: Markdown under a YAML head with the fields that hubs of data sets read.

Owns facts only. Never does: claim a licence, a language or a use that nobody told us, or show a record.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from llmguard.census.report import Report
from llmguard.census.told import between, percent, size, told
from llmguard.invisible import harmless
from llmguard.risk.words import named

_SIZES = ("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T")
_FORMATS = {"jsonl": "json", "json": "json", "csv": "csv", "text": "text"}


def card(report: Report) -> str:
    """The whole document."""
    return "\n".join([*_head(report), "", *_body(report)]) + "\n"


def _head(report: Report) -> Iterable[str]:
    """JSON strings and numbers are YAML, too."""
    leaving = report.records - report.gone
    yield from ("---", f"pretty_name: {json.dumps(report.name)}")
    yield from ("size_categories:", f"- {_category(leaving)}")
    yield from ("tags:", f"- format:{_FORMATS.get(report.layout, 'text')}", "- llmguard")
    yield from ("dataset_info:", "  splits:", "  - name: train")
    yield from (f"    num_bytes: {report.leaving}", f"    num_examples: {leaving}")
    yield from (f"  dataset_size: {report.leaving}", "---")


def _category(records: int) -> str:
    """As hubs write it: ``1K<n<10K``."""
    for i, end in enumerate(_SIZES):
        if records < 10 ** (i + 3):
            return f"n<{end}" if i == 0 else f"{_SIZES[i - 1]}<n<{end}"
    return f"n>{_SIZES[-1]}"


def _body(report: Report) -> Iterable[str]:
    unit = report.unit
    yield from (f"# {_plain(report.name)}", "", told(report), "")
    yield from ("## What it is", "")
    yield from _table(("what", "figure"), _facts(report))
    if report.types:
        yield from ("", "## What was found, before cleaning", "")
        rows = [(named(t.type, 2), t.severity, f"{t.findings:,}", str(t.values), between(t.most)) for t in report.types]
        yield from _table(("type", "severity", "findings", "distinct values", "most frequent value comes"), rows)
    yield from ("", "## Repeats", "", *_repeats(report))
    yield from ("", "## What may have been missed", "", *_residual(report))
    if report.problems:
        yield from ("", f"## {unit.capitalize()}s left out", "")
        yield from _table((f"{unit}s", "why"), [(f"{n:,}", reason) for reason, n in report.problems])
    yield from (
        "",
        f"Counted by llmguard {_plain(report.version)}; figures with “about” are estimates, ± two standard errors.",
    )


def _facts(report: Report) -> Iterable[tuple[str, str]]:
    unit, tokens = report.unit, report.tokens
    yield f"{unit}s", f"{report.records:,}, of which {report.gone:,} were left out"
    yield "size", f"{size(report.received)} as it came, {size(report.leaving)} as it leaves"
    yield "tokens", f"{tokens.total} ({tokens.encoding}), median {tokens.median:,} a {unit}"
    yield "findings", f"{report.findings:,} of {len(report.types)} types"
    if report.people.distinct.value:
        yield "people", f"at least {report.people.distinct}, at most {report.people.most:,} in one {unit}"
    if report.risk:
        yield "risk", f"{report.risk.inherent} as written, {report.risk.residual} as it leaves, of 100"


def _repeats(report: Report) -> Iterable[str]:
    unit, copies, near = report.unit, report.copies, report.alike
    most = between(copies.most)
    yield f"- {copies.distinct} distinct {unit}s; {copies.surplus} copies; the most frequent one comes {most} times"
    if near.installed:
        compared = f"{near.records:,} of {near.looked:,} distinct {unit}s that were compared"
        yield f"- nearly equal: {compared}; {near.pairs} pairs in all"
    else:
        yield f"- nearly equal {unit}s were not looked for"
    strings = report.strings
    yield f"- canary-like strings: {strings.repeated} that repeat, {strings.alone} that stand alone"


def _residual(report: Report) -> Iterable[str]:
    if not report.residual:
        yield "Nobody has looked at a sample of what leaves."
        return
    whole = report.residual[-1]
    yield (
        f"A reviewer looked at {whole.looked:,} {report.unit}s and found something left in {whole.missed:,}: at "
        f"{whole.confidence:.0%} confidence at most {percent(whole.share)} of those that leave."
    )


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterable[str]:
    yield f"| {' | '.join(columns)} |"
    yield f"|{'---|' * len(columns)}"
    yield from (f"| {' | '.join(_plain(cell) for cell in row)} |" for row in rows)


def _plain(words: str) -> str:
    """On one line, with nothing that Markdown or HTML would read."""
    shown = "".join(c if harmless(c) else f"\\u{{{ord(c):x}}}" for c in words)
    return "".join(f"\\{c}" if c in "\\|*_`[]<>#~" else "&amp;" if c == "&" else c for c in shown)
