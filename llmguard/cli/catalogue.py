"""``llmguard catalogue``: what is looked for, what a company's own file would find, and the tables made from others.

Values of scanned text are never printed: a finding is shown by its place, type and rule.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any

import click

from llmguard.cli.screen import console, styled, table, visible
from llmguard.config import Settings
from llmguard.errors import ConfigError
from llmguard.model import Detector, TextPart

_JSON = click.option("--json", "as_json", is_flag=True, help="JSON on stdout.")
_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)
SAMPLE = 64 * 1024
"""Characters of clean prose, and of clean code, that tell what a rule costs and flags where there is nothing."""
OFTEN = 0.1
"""The share of clean text that a rule may look at closely before it is called expensive."""


@click.group(epilog="Exit codes: 0 done, 1 an example fails or a table is stale, 2 used wrongly or not understood.")
def catalogue() -> None:
    """The detectors: those that ship, your own, and the tables made from other packages."""


@catalogue.command("list", epilog="Example: llmguard catalogue list --category secret --source Azure")
@click.option("--type", "kind", help="Only this type, such as EMAIL.")
@click.option("--category", type=click.Choice(["pii", "secret", "internal"]), help="Only this category.")
@click.option("--source", help="Only rules whose source has this text in it.")
@_JSON
@click.pass_obj
def list_(settings: Settings, kind: str | None, category: str | None, source: str | None, as_json: bool) -> None:
    """List the detectors in force: those that ship and those of the configuration."""
    chosen = [
        d
        for d in _loaded(settings)
        if (kind is None or d.type == kind.upper())
        and (category is None or d.category == category)
        and (source is None or source.lower() in d.source.lower())
    ]
    if as_json:
        return click.echo(json.dumps([_brief(d) for d in chosen]))
    shown = table("ID", "TYPE", "SEVERITY", "CONTEXT", "VALIDATOR", "SOURCE")
    for d in chosen:
        context = "needed" if d.needs_context else "raises" if d.context else ""
        shown.add_row(*map(styled, (d.id, d.type, d.severity, context, d.validator or "", d.source)))
    console().print(shown)
    return click.echo(f"{len(chosen)} detectors", err=True)


@catalogue.command("show", epilog="Example: llmguard catalogue show pii.contact.email")
@click.argument("name", metavar="ID")
@_JSON
@click.pass_obj
def show(settings: Settings, name: str, as_json: bool) -> None:
    """Show one detector: pattern, validator, context, examples, source. Exit code 2 if there is none of this ID."""
    found = next((d for d in _loaded(settings) if d.id == name), None)
    if found is None:
        raise ConfigError(f"there is no detector {visible(name)}; llmguard catalogue list shows them")
    if as_json:
        return click.echo(json.dumps(asdict(found)))
    screen = console()
    for key, value in asdict(found).items():
        for i, line in enumerate(_lines(value)):
            screen.print(styled(f"{'' if i else key:14}", "bold"), styled(line), sep="")
    said = _said(found.validator)
    if said:
        screen.print(styled(f"{'checks':14}", "bold"), styled(said), sep="")
    return None


@catalogue.command("test", epilog="Example: llmguard catalogue test acme.toml --on README.md --on app.log")
@click.argument("file", type=_FILE)
@click.option(
    "--on", "samples", type=_FILE, multiple=True, help="A text: show where these rules alone would find something."
)
@_JSON
@click.pass_obj
def test(settings: Settings, file: Path, samples: tuple[Path, ...], as_json: bool) -> None:
    """Check a detector file of your own: its format, every example with its exact span, and what its rules cost.

    FILE is TOML with [[detector]], as the documentation has it. The configuration stays as it is. Exit code 1 if an
    example fails, 2 with file and line if an entry is not understood; warnings do not count.
    """
    from llmguard.catalogue import load, read
    from llmguard.detection import Engine
    from llmguard.detection.examples import check

    own = read(file)
    others = [path for path in settings.detectors if path.resolve() != file.resolve()]
    problems = check(load([*others, file]), {d.id for d in own})
    engine = Engine(own)
    result: dict[str, Any] = {
        "detectors": [d.id for d in own],
        "problems": problems,
        "warnings": list(_warnings(own)),
        "found": [row for path in samples for row in _found(engine, path)],
    }
    if as_json:
        click.echo(json.dumps(result))
    else:
        _tell(result)
    sys.exit(1 if problems else 0)


@catalogue.command("build", epilog="Example: llmguard catalogue build --check")
@click.option("--check", is_flag=True, help="Write nothing; exit code 1 if a table is not what would be built.")
@click.option("--to", type=click.Path(path_type=Path, file_okay=False, exists=True), help="Folder to write into.")
@_JSON
def build(check: bool, to: Path | None, as_json: bool) -> None:
    """Build the tables made from the installed presidio-analyzer and detect-secrets.

    For those who work on llmguard: a guard reads the tables that ship. Without --to they are written where they came
    from. Neither package is imported here; a process of its own reads them.
    """
    from llmguard.catalogue import build as builder

    made = builder.built(builder.extract(), builder.decisions())
    before = builder.committed()
    changed = sorted(name for name, content in made.items() if before.get(name) != content)
    if not check:
        folder = to or Path(str(files("llmguard.detectors")))
        for name, content in made.items():
            (folder / name).write_text(content, encoding="utf-8")
    if as_json:
        click.echo(json.dumps({"tables": sorted(made), "changed": changed}))
    else:
        for name in sorted(made):
            click.echo(f"{name}: {'changed' if name in changed else 'unchanged'}")
    sys.exit(1 if check and changed else 0)


def _loaded(settings: Settings) -> tuple[Detector, ...]:
    from llmguard.catalogue import load

    return load(settings.detectors)


def _brief(detector: Detector) -> dict[str, Any]:
    keys = ("id", "type", "category", "severity", "confidence", "validator", "needs_context", "source")
    return {key: value for key, value in asdict(detector).items() if key in keys}


def _lines(value: Any) -> Sequence[str]:
    """A field of a detector for people; nothing for what it does not have."""
    if isinstance(value, tuple | list) and value and isinstance(value[0], str):
        return value
    if isinstance(value, tuple | list):
        return [" to ".join(map(str, value))] if value else []
    return [str(value)] if value not in (None, "", False) else []


def _said(validator: str | None) -> str:
    """What a validator says of itself, on one line."""
    from llmguard.validators import VALIDATORS

    return " ".join((VALIDATORS[validator].__doc__ or "").split()) if validator else ""


def _warnings(own: Iterable[Detector]) -> Iterator[str]:
    """What would cost time, or flag text in which there is nothing."""
    from llmguard.detection import Engine
    from llmguard.detection.verify import Work

    for detector in own:
        engine = Engine([detector])
        for kind, text in _clean().items():
            work = Work()
            (flagged,) = engine.scan([TextPart(text, "")], work)
            if work.examined > OFTEN * len(text):
                what = "context words stand" if detector.needs_context else "anchor hits"
                remedy = "rarer words" if detector.needs_context else "an anchor with three or more fixed characters"
                share = f"{min(1.0, work.examined / len(text)):.0%}"
                yield f"{detector.id}: its {what} all over clean {kind}, {share} of which is looked at: use {remedy}"
            if flagged:
                yield f"{detector.id}: finds {len(flagged)} values in {len(text):,} characters of clean {kind}"


def _clean() -> dict[str, str]:
    """Prose and code with nothing to hide: Python's own documentation and a module of its library."""
    prose = "\n".join(map(str, import_module("pydoc_data.topics").topics.values()))
    code = Path(str(import_module("argparse").__file__)).read_text(encoding="utf-8")
    return {"prose": prose[:SAMPLE], "code": code[:SAMPLE]}


def _found(engine: Any, path: Path) -> Iterator[dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"{visible(str(path))} is not UTF-8 text") from None
    for f in engine.scan([TextPart(text, "")])[0]:
        yield {
            "file": str(path),
            "line": text.count("\n", 0, f.start) + 1,
            "column": f.start - text.rfind("\n", 0, f.start),
            "length": f.end - f.start,
            "type": f.type,
            "confidence": round(f.confidence, 3),
            "detector": f.detector,
        }


def _tell(result: dict[str, Any]) -> None:
    for problem in result["problems"]:
        click.echo(visible(f"problem: {problem}"))
    for warning in result["warnings"]:
        click.echo(visible(f"warning: {warning}"))
    for f in result["found"]:
        at = f"{f['file']}:{f['line']}:{f['column']}"
        click.echo(visible(f"{at}: {f['type']}, {f['length']} characters ({f['confidence']:.2f}) {f['detector']}"))
    rules, failed = len(result["detectors"]), len(result["problems"])
    click.echo(f"{rules} detectors, {'every example holds' if not failed else f'{failed} examples fail'}", err=True)
