"""``llmguard scan``: files, folders and standard input."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from llmguard.cli import ignore, sarif, sources
from llmguard.cli.screen import console
from llmguard.config import Settings
from llmguard.errors import UnscannableRequest
from llmguard.model import Finding, TextPart

_COLOURS = {"critical": "red", "high": "red", "medium": "yellow", "low": "cyan"}
Result = tuple[str, str, list[Finding]]
"""Name, text and findings of one source."""


@click.command(
    epilog="""Examples: llmguard scan app.log   |   git diff | llmguard scan   |   llmguard scan src --format sarif >
    out.sarif   |   llmguard scan --explain letter.txt   |   llmguard scan --jsonl < docs.jsonl. Exit codes: 0 nothing
    found, 1 something, 2 used wrongly. A line that says llmguard:allow (or allow-next-line, or allow TYPE,detector.id)
    is left out, and so are files that .llmguardignore names, here and nowhere else: calls are never affected."""
)
@click.argument("paths", nargs=-1, metavar="[FILE|FOLDER]...", type=click.Path(path_type=Path, exists=True))
@click.option("--format", "form", type=click.Choice(["text", "json", "sarif"]), default="text", show_default=True)
@click.option("--jsonl", is_flag=True, help='Read {"id","text"} lines, write {"id","findings"} lines.')
@click.option(
    "--explain", is_flag=True, help="Say which detector, validator and context, and why near misses are none."
)
@click.option("--names/--no-names", default=None, help="Look for names and addresses, or not (default: as configured).")
@click.option("--category", type=click.Choice(["pii", "secret", "internal"]), multiple=True, help="Only these.")
@click.option(
    "--ignore-file", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Default: .llmguardignore."
)
@click.option("--no-ignore", is_flag=True, help="Leave nothing out, whatever files and comments say.")
@click.pass_obj
def scan(  # noqa: PLR0913  one an option
    settings: Settings,
    paths: tuple[Path, ...],
    form: str,
    jsonl: bool,
    explain: bool,
    names: bool | None,
    category: tuple[str, ...],
    ignore_file: Path | None,
    no_ignore: bool,
) -> None:
    """Find personal data and secrets. Exit code 1 if anything was found. Values are never printed."""
    if explain and (jsonl or form == "sarif"):
        raise click.UsageError("--explain goes with --format text or json")
    scanner = _scanner(settings, names)
    if jsonl:
        _scan_lines(scanner)
        return
    rules = ignore.NOTHING if no_ignore else _ignore(ignore_file)
    tally: Counter[str] = Counter()
    every: list[tuple[str, str, Finding]] = []
    unread: list[str] = []
    for source in _read(paths, rules, tally, unread):
        found = [
            f for f in scanner.scan((TextPart(source.text, source.name),))[0] if not category or f.category in category
        ]
        shown = found if no_ignore else ignore.kept(source.text, found, rules.names(Path(source.name)))
        tally["ignored"] += len(found) - len(shown)
        tally["found"] += len(shown)
        if form == "sarif":
            every += ((source.name, source.text, f) for f in shown)
        else:
            _show(form, (source.name, source.text, shown), scanner.engine.explain(source.text) if explain else None)
    if form == "sarif":
        click.echo(json.dumps(sarif.document(every, {d.id: d for d in scanner.engine.detectors}), indent=1))
    _sum_up(tally)
    if unread:
        raise UnscannableRequest("; ".join(unread))
    sys.exit(1 if tally["found"] else 0)


def _scanner(settings: Settings, names: bool | None) -> Any:
    from llmguard import catalogue
    from llmguard.detection import Engine, Scanner, chosen, match

    wanted = settings.names if names is None else names
    engine = Engine(catalogue.load(settings.detectors), cache=settings.cache, matcher=match.configured(settings))
    return Scanner(engine, chosen(wanted, settings.names_thresholds))


def _ignore(path: Path | None) -> ignore.Ignore:
    here = Path(ignore.NAME)
    return ignore.read(path) if path else ignore.read(here) if here.is_file() else ignore.NOTHING


def _read(
    paths: tuple[Path, ...], rules: ignore.Ignore, tally: Counter[str], unread: list[str]
) -> Iterator[sources.Source]:
    """Every text; a bar on a terminal where there are many. ``unread``: why files that were named gave none."""
    if not paths:
        yield sources.standard_input()
        return
    files = sources.listed(paths, rules.skips)
    for path, named in _told(files):
        if named and rules.skips(path):
            tally["files that .llmguardignore names"] += 1
            continue
        try:
            source = sources.read(path, named)
        except UnscannableRequest as e:  # the others are looked at all the same, and what they hold is told
            unread.append(e.message)
            continue
        if source.skipped:
            tally[f"files: {source.skipped}"] += 1
        else:
            yield source


def _told(files: list[tuple[Path, bool]]) -> Iterator[tuple[Path, bool]]:
    screen = console(err=True)
    if len(files) < 20 or not screen.is_terminal:
        yield from files
        return
    from rich.progress import track

    yield from track(files, description="scanning", console=screen, transient=True)


def _sum_up(tally: Counter[str]) -> None:
    left = [f"{n} {what}" for what, n in sorted(tally.items()) if n and what not in ("found", "ignored")]
    if tally["ignored"]:
        left.insert(0, f"{tally['ignored']} findings that a comment or .llmguardignore allows")
    if left:
        click.echo(f"left out: {'; '.join(left)}", err=True)


# --------------------------------------------------------------------------- what is shown


def _row(f: Finding) -> dict[str, Any]:
    return {
        "start": f.start,
        "end": f.end,
        "type": f.type,
        "category": f.category,
        "confidence": round(f.confidence, 3),
        "detector": f.detector,
    }


def _show(form: str, result: Result, explained: list[Any] | None) -> None:
    name, text, findings = result
    if form == "json":
        row: dict[str, Any] = {"file": name, "findings": [_row(f) for f in findings]}
        if explained is not None:
            row["explained"] = [_reason(e) for e in explained]
        click.echo(json.dumps(row))
        return
    for f in findings:
        place = f"{name}:{_place(text, f.start)}"
        kind = click.style(f.type, fg=_COLOURS[f.severity])
        click.echo(f"{place}: {kind} ({f.category}, {f.confidence:.2f}) {f.detector}")
    for e in explained or ():
        click.echo(f"  {_place(text, e.start)}-{_place(text, e.end)}  {e.detector}: {e.why}")


def _place(text: str, at: int) -> str:
    return f"{text.count(chr(10), 0, at) + 1}:{at - text.rfind(chr(10), 0, at)}"


def _reason(e: Any) -> dict[str, Any]:
    return {
        "start": e.start,
        "end": e.end,
        "detector": e.detector,
        "verdict": e.verdict.name.lower(),
        "confidence": round(e.confidence, 3),
        "validator": e.validator,
        "proved": e.proved,
        "context": e.context,
        "covered_by": e.covered_by or None,
    }


def _scan_lines(scanner: Any) -> None:
    for number, line in enumerate(sys.stdin.buffer, 1):
        try:
            document = json.loads(line)
            id_, text = document["id"], document["text"]
            if not isinstance(text, str):
                raise TypeError
        except (ValueError, KeyError, TypeError):
            raise UnscannableRequest(f'line {number} is not a JSON object with "id" and a "text" string') from None
        findings = scanner.scan((TextPart(text, "text"),))[0]
        click.echo(json.dumps({"id": id_, "findings": [_row(f) for f in findings]}))
