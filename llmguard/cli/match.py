"""``llmguard match``: files of keyed digests by which the company's own records are found, without their values.

Values come from files and standard input, never from arguments, which others on the host can read. None is printed.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import click

from llmguard.cli.screen import console, moment, styled, table, visible
from llmguard.config import Settings
from llmguard.errors import ConfigError, UnscannableRequest
from llmguard.model import Category, Severity

_KEY = click.option(
    "--key-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Key file of llmguard match key.  [default: match_key, or the installation's own key]",
)
_LONG = 4 << 20
"""Bytes from which on a terminal shows how far it is."""
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_TYPE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")


@click.group(epilog="Exit codes: 0 done, 1 found something, 2 used wrongly.")
def match() -> None:
    """The company's own records: customers, accounts, staff, code names, found by keyed digests.

    A match file holds no value and is of no use without its key. The setting match names the files that are used.
    """


@match.command(
    "build",
    epilog="Example: llmguard match build customers.csv --column name --column account --type CUSTOMER "
    "-o customers.match",
)
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--output", "-o", type=click.Path(path_type=Path, dir_okay=False), required=True, metavar="FILE.match")
@click.option(
    "--column", "columns", multiple=True, metavar="NAME", help="Column or member; several times. a+b: both, joined."
)
@click.option("--format", "shape", type=click.Choice(["csv", "tsv", "jsonl", "lines"]), help="[default: by its name]")
@click.option("--type", "type_", default="INTERNAL_RECORD", show_default=True, help="Type of the findings.")
@click.option("--name", help="Name of the detector internal.match.NAME.  [default: the output's]")
@click.option("--category", type=click.Choice(get_args(Category)), default="internal", show_default=True)
@click.option("--severity", type=click.Choice(get_args(Severity)), default="high", show_default=True)
@click.option("--allow-short", is_flag=True, help="Take values that are short or a single common word, too.")
@_KEY
@click.pass_obj
def build(settings: Settings, /, file: Path, output: Path, columns: tuple[str, ...], **options: Any) -> None:
    """Make a match file of the values of FILE: CSV or TSV with a first line of names, JSONL, or a value a line.

    Refused, and counted: values of fewer than four characters, numbers of fewer than five digits, single common words,
    more than eight words. What stands in the file is never printed.
    """
    from llmguard.detection import match as room
    from llmguard.detection.match.build import now
    from llmguard.detection.names.lexicon import lexicon

    name = options["name"] or re.sub(r"[^a-z0-9_]+", "_", output.stem.lower())
    if not _NAME.fullmatch(name) or not _TYPE.fullmatch(options["type_"]):
        raise ConfigError("--name is of a-z, 0-9 and _, --type of A-Z, 0-9 and _, each beginning with a letter")
    key = room.keys(settings, options["key_file"])[0]
    builder = room.Builder(key, lexicon().common, short=options["allow_short"])
    with _progress(file) as progress:
        for line, value in room.values(file, columns, options["shape"], progress):
            builder.add(line, value)
    header = room.Header(name, options["type_"], options["category"], options["severity"], key.id, now(), 0, 0)
    report = builder.write(output, header)
    said = f"{report.records:,} records of {report.values:,} values in {visible(str(output))}"
    click.echo(f"{said} ({report.repeated:,} repeated, {report.empty:,} empty)", err=True)
    for reason, count in report.refused.most_common():
        click.echo(f"  refused {count:,}: {reason} (first in line {report.first[reason]})", err=True)


@contextmanager
def _progress(file: Path) -> Iterator[Callable[[int], object]]:
    size = file.stat().st_size
    if size < _LONG or not sys.stderr.isatty():
        yield lambda _: None
        return
    with click.progressbar(length=size, label="reading", file=sys.stderr, update_min_steps=1 << 18) as bar:
        yield bar.update


@match.command("key", epilog="Example: llmguard match key /etc/llmguard/match.key")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def key(file: Path) -> None:
    """Make a key file (0600), for match files that are built on another machine than the guard's.

    Both machines need it: --key-file there, the setting match_key here. Whoever has it and a match file can test
    guesses, so keep the two apart.
    """
    from llmguard.vault import make_key

    if file.exists():
        raise ConfigError(f"{visible(str(file))} exists already, and files may have been built under it")
    make_key(file)
    click.echo(f"a key is in {visible(str(file))}", err=True)


@match.command("list", epilog="Example: llmguard match list")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="JSON on stdout.")
@_KEY
@click.pass_obj
def list_files(settings: Settings, files: tuple[Path, ...], as_json: bool, key_file: Path | None) -> None:
    """List match files, those of the settings or FILES: what they say of themselves, and whether that holds."""
    from llmguard.detection import match as room

    keys = room.keys(settings, key_file)
    rows = []
    for path in files or settings.match:
        head = room.header_of(path)
        try:
            room.read(path, keys)
            state = "ok"
        except ConfigError as e:
            state = e.message
        told = ("name", "type", "category", "severity", "records", "key", "made")
        rows.append({"file": str(path), **{n: getattr(head, n) for n in told}, "state": state})
    if as_json:
        return click.echo(json.dumps(rows))
    if not rows:
        return click.echo('no match file is set: match = ["FILE.match"] in the configuration', err=True)
    shown = table("FILE", "DETECTOR", "TYPE", "CATEGORY", "RECORDS", "KEY", "MADE", "STATE")
    for r in rows:
        words = (f"internal.match.{r['name']}", r["type"], r["category"], f"{r['records']:,}", r["key"])
        shown.add_row(visible(r["file"]), *(styled(str(w)) for w in words), moment(r["made"]), styled(r["state"]))
    return console().print(shown)


@match.command("test", epilog="Example: llmguard match test --match customers.match letter.txt")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--match",
    "matches",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Match file; several times.  [default: those of the settings]",
)
@_KEY
@click.pass_obj
def test(settings: Settings, files: tuple[Path, ...], matches: tuple[Path, ...], key_file: Path | None) -> None:
    """Look for records in FILES, or in what is typed on standard input. Exit code 1 if there is one.

    Prints places, never text. llmguard scan looks for everything, these records too.
    """
    from llmguard.detection import match as room

    paths = matches or settings.match
    if not paths:
        raise ConfigError("say which match file: --match FILE.match")
    keys = room.keys(settings, key_file)
    matcher = room.Matcher([room.read(path, keys) for path in paths])
    found = False
    for name, raw in [(str(f), f.read_bytes()) for f in files] or [("-", sys.stdin.buffer.read())]:
        text = _text(name, raw)
        for start, end, detector in sorted((f.start, f.end, f.detector) for f, _ in matcher.find(text)):
            found = True
            line, column = text.count("\n", 0, start) + 1, start - text.rfind("\n", 0, start)
            click.echo(visible(f"{name}:{line}:{column}: {detector} ({end - start} characters)"))
    sys.exit(1 if found else 0)


def _text(name: str, raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise UnscannableRequest(f"{visible(name)} is not UTF-8 text") from None


@match.command("remove", epilog="Example: llmguard match remove customers.match < gone.txt")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@_KEY
@click.pass_obj
def remove(settings: Settings, file: Path, key_file: Path | None) -> None:
    """Take records out of a match file: their values on standard input, one a line. A running guard is restarted."""
    from llmguard.detection import match as room

    opened = room.read(file, room.keys(settings, key_file))
    count = room.without(opened, file, sys.stdin)
    click.echo(f"{count:,} records are removed, {opened.header.records - count:,} are left", err=True)
