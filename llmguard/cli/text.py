"""``llmguard scan`` and ``llmguard redact``: files and standard input."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from llmguard.config import Settings
from llmguard.errors import UnscannableRequest
from llmguard.model import Finding, TextPart


def _text(raw: bytes, name: str) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise UnscannableRequest(f"{name} is not UTF-8 text") from None


def _inputs(files: tuple[Path, ...]) -> Iterator[tuple[str, str]]:
    if not files:
        yield "-", _text(sys.stdin.buffer.read(), "standard input")
    for path in files:
        yield str(path), _text(path.read_bytes(), str(path))


def _row(f: Finding) -> dict[str, Any]:
    return {
        "start": f.start,
        "end": f.end,
        "type": f.type,
        "category": f.category,
        "confidence": round(f.confidence, 3),
        "detector": f.detector,
    }


@click.command(
    epilog="Examples: llmguard scan app.log   |   git diff | llmguard scan   |   llmguard scan --jsonl < docs.jsonl"
)
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--jsonl", is_flag=True, help='Read {"id","text"} lines, write {"id","findings"} lines.')
@click.pass_obj
def scan(settings: Settings, files: tuple[Path, ...], form: str, jsonl: bool) -> None:
    """Find personal data and secrets. Exit code 1 if anything was found. Values are never printed."""
    from llmguard import catalogue
    from llmguard.detection import Engine, Scanner, chosen

    scanner = Scanner(Engine(catalogue.load(settings.detectors)), chosen(settings.names))
    if jsonl:
        _scan_lines(scanner)
        return
    total = 0
    for name, text in _inputs(files):
        findings = scanner.scan((TextPart(text, name),))[0]
        total += len(findings)
        if form == "json":
            click.echo(json.dumps({"file": name, "findings": [_row(f) for f in findings]}))
        for f in findings if form == "text" else ():
            line = text.count("\n", 0, f.start) + 1
            column = f.start - (text.rfind("\n", 0, f.start) + 1) + 1
            click.echo(f"{name}:{line}:{column}: {f.type} ({f.category}, {f.confidence:.2f}) {f.detector}")
    sys.exit(1 if total else 0)


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


@click.command(epilog="Example: llmguard redact letter.txt > letter.redacted.txt")
@click.argument("file", required=False, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.pass_obj
def redact(settings: Settings, file: Path | None) -> None:
    """Replace personal data and secrets by placeholders. The originals are kept, sealed, in the vault."""
    from llmguard.guard import Guard

    [(_, text)] = _inputs((file,) if file else ())
    with Guard(settings) as guard:
        red = guard.redact(text)
    sys.stdout.write(red.text)
    sys.stdout.flush()
    click.echo(f"{len(red.findings)} findings redacted", err=True)
