"""``llmguard sanitize``: a data set cleaned, as one file that appears whole or not at all."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from llmguard import __version__
from llmguard.cli.places import Input, Output, staged
from llmguard.cli.screen import console, styled, table, visible
from llmguard.config import Settings
from llmguard.errors import ConfigError
from llmguard.model import Category
from llmguard.payload.lines import LineKind

if TYPE_CHECKING:
    from llmguard.dataset.engine import Engine
    from llmguard.dataset.job import Job
    from llmguard.dataset.places import Several
    from llmguard.dataset.run import Summary
    from llmguard.sifting import Problem

_STYLES = ("surrogate", "placeholder", "mask", "hash", "drop", "drop-record")
_FORMS = ("auto", "jsonl", "csv", "parquet", "text")
_LOOKED = 10_000
"""Records that --sample looks at, at most."""


@click.command(
    epilog="""Examples: llmguard sanitize train.jsonl -o clean.jsonl --report report.html   |   llmguard sanitize
    people.csv.gz -o people.clean.csv.zst --style drop-record   |   llmguard sanitize train.jsonl --sample 5   |
    llmguard sanitize train.jsonl --dry-run --kind sft --fail-on-bad. Exit codes: 0 done, 1 refused (nothing stands at
    the output), or done with bad records and --fail-on-bad, 2 used wrongly, 130 interrupted: the same command goes
    on."""
)
@click.argument("source", metavar="IN", type=Input())
@click.option("--output", "-o", metavar="OUT", type=Output(), help="Appears whole, or not at all.")
@click.option(
    "--style", type=click.Choice(_STYLES), default="surrogate", show_default=True, help="Only placeholders come back."
)
@click.option(
    "--format", "form", type=click.Choice(_FORMS), default="auto", show_default=True, help="auto: by content and name."
)
@click.option(
    "--kind",
    type=click.Choice(("auto", *get_args(LineKind))),
    default="auto",
    show_default=True,
    help="What lines have to be; what is not is a bad record. auto: anything.",
)
@click.option("--names/--no-names", default=None, help="Look for names and addresses, or not (default: as configured).")
@click.option("--workers", type=click.IntRange(1, 1024), help="Processes.  [default: one a core]")
@click.option("--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True)
@click.option(
    "--report",
    metavar="R.html",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write what was found, as a page; as data for R.json, as a data card for R.md.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be; nothing is written.")
@click.option(
    "--sample",
    metavar="N",
    type=click.IntRange(1, 1000),
    help="Show N records that change, cleaned; nothing is written.",
)
@click.option("--originals", is_flag=True, help="With --sample: show them as they came, too.")
@click.option("--overwrite", is_flag=True, help="Replace OUT if it is there.")
@click.option("--fail-on-bad", is_flag=True, help="Exit code 1 if there are bad records. They are left out anyway.")
@click.option(
    "--max-expansion",
    metavar="N",
    type=click.IntRange(1),
    default=200,
    show_default=True,
    help="How many times its size a compressed file may become.",
)
@click.pass_obj
def sanitize(settings: Settings, /, source: Path | Several, output: Path | str | None, **options: Any) -> None:
    """Clean a data set of personal data and secrets: JSONL, CSV, Parquet or text, plain or in gzip or zstd.

    IN is a file, or, for one data set of many files, a folder, a pattern in quotes or a URL; OUT is then a folder.
    All cores work, memory stays the same whatever the size, and what was killed goes on with the same command. Bad
    records are left out and told by their numbers. What is shown has been cleaned.
    """
    shows = options["dry_run"] or options["sample"]
    if output is None and not shows:
        raise click.UsageError("--output says where to; --dry-run and --sample need none")
    if options["originals"] and not options["sample"]:
        raise click.UsageError("--originals goes with --sample")
    target = output if isinstance(output, Path) or (output and not shows) else Path(f"clean-{source.name}")
    with staged(settings, target, options["overwrite"]) as made:
        job = _job(settings, source, made, options)
        if options["sample"]:
            _sample(job, options["sample"], options["originals"])
            return
        told = _Told(job, options["report"])
        try:
            summary = _run(job, _engine(options["engine"], options["workers"] or 0), told, options["dry_run"])
        except KeyboardInterrupt:
            said = "interrupted" if options["dry_run"] else "interrupted; the same command goes on where it stopped"
            click.echo(f"llmguard: {said}", err=True)
            sys.exit(130)
        _sum_up(job, summary, told)
    sys.exit(1 if summary.tally.bad and options["fail_on_bad"] else 0)


def _job(settings: Settings, source: Path | Several, output: Path, options: Mapping[str, Any]) -> Job:
    from llmguard.dataset.job import Job

    return Job(
        settings=settings,
        source=source,
        output=output,
        style=options["style"],
        form=None if options["form"] == "auto" else options["form"],
        line=None if options["kind"] == "auto" else options["kind"],
        names=options["names"],
        overwrite=options["overwrite"],
        expansion=options["max_expansion"],
        census=options["report"] is not None,
    )


def _engine(name: str, workers: int) -> Engine:
    """Raises ConfigError."""
    if name == "ray":
        from llmguard.dataset.ray import RayEngine

        return RayEngine(workers)
    from llmguard.dataset.engine import LocalEngine

    return LocalEngine(workers)


def _run(job: Job, engine: Engine, told: _Told, dry: bool) -> Summary:
    from llmguard.dataset.run import rehearse, sanitize

    with _progress() as progress:
        if not dry:
            return sanitize(job, engine, lambda said: click.echo(f"llmguard: {said}", err=True), progress, told.finish)
        bad: list[Problem] = []
        summary = rehearse(job, engine, bad.append if told.report else lambda _: None, progress)
        told.finish(summary, bad)
        return summary


@contextmanager
def _progress() -> Iterator[Callable[[int, int], object]]:
    """A bar with rate and time left, where somebody sees it."""
    screen = console(err=True)
    if not screen.is_terminal:
        yield lambda *_: None
        return
    from rich import progress as rich

    columns = (rich.BarColumn(), rich.TaskProgressColumn(), rich.DownloadColumn(), rich.TransferSpeedColumn())
    with rich.Progress(*columns, rich.TimeRemainingColumn(), console=screen, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


# --------------------------------------------------------------------------- what is shown


def _sum_up(job: Job, summary: Summary, told: _Told) -> None:
    screen, tally = console(err=True), summary.tally
    changed = f"{tally.changed:,} changed" + (f", {tally.dropped:,} dropped" if tally.dropped else "")
    where = f"in {visible(str(job.output))}" if summary.published else "; a dry run, nothing was written"
    click.echo(f"{tally.records:,} records, {changed} {where}".replace(" ;", ";"), err=True)
    if tally.counts:
        rows = table("type", "findings")
        for type_, count in sorted(tally.counts.items(), key=lambda pair: (-pair[1], pair[0])):
            rows.add_row(type_, styled(f"{count:,}"))
        screen.print(rows)
    _bad(summary)
    if tally.unscanned:
        click.echo(f"not looked at: {', '.join(sorted(tally.unscanned))}", err=True)
    for note in summary.notes:
        click.echo(visible(note), err=True)
    click.echo(_pace(summary), err=True)
    for name, path in told.written.items():
        click.echo(f"{name}: {visible(str(path))}", err=True)


def _pace(summary: Summary) -> str:
    size, seconds = summary.received / 1e6, summary.seconds
    said = f"{size:,.1f} MB in {seconds:,.1f} s, {size / max(seconds, 1e-9):,.1f} MB/s"
    if summary.resumed:
        said += f"; went on after {summary.resumed:,} blocks of an interrupted run"
    return said


def _bad(summary: Summary) -> None:
    for problem in summary.problems:
        click.echo(f"record {problem.record + 1:,}: {visible(problem.reason)}", err=True)
    if (more := summary.tally.bad - len(summary.problems)) > 0:
        click.echo(f"and {more:,} more", err=True)
    if summary.tally.bad:
        click.echo(f"warning: {summary.tally.bad:,} bad records are left out", err=True)


def _sample(job: Job, count: int, originals: bool) -> None:
    """Records as they would leave. Raises ConfigError, DatasetError."""
    from llmguard.dataset.sample import changes

    looked = shown = 0
    for change in changes(job, _LOOKED):
        looked += 1
        if change is None:
            continue
        if originals:
            click.echo(visible(f"- {change.before}", lines=True))
        click.echo(visible(f"+ {change.after}" if originals else change.after, lines=True))
        shown += 1
        if shown == count:
            break
    click.echo(f"{shown} of the first {looked:,} records change as shown; nothing was written", err=True)


# --------------------------------------------------------------------------- the report


class _Told:
    """The report and the list of bad records, written where they were asked for."""

    def __init__(self, job: Job, report: Path | None) -> None:
        if report is not None and not report.parent.is_dir():
            raise ConfigError(f"there is no folder {report.parent} for the report")
        self.report, self._job = report, job
        self.written: dict[str, Path] = {}

    def finish(self, summary: Summary, bad: Iterable[Problem]) -> None:
        """Raises DatasetError where they cannot be written; the same command tries again."""
        if self.report is None or summary.census is None:
            return
        from llmguard.dataset.work import told

        with told(self.report):
            self._write(self.report, (self._page(summary),))
            self.written["report"] = self.report
            if summary.tally.bad:
                path = self.report.with_suffix(".bad.tsv")
                self._write(path, (f"{problem.record + 1}\t{problem.reason}\n" for problem in bad))
                self.written["bad records"] = path

    def _page(self, summary: Summary) -> str:
        from llmguard.census.figures import facts_of, report
        from llmguard.policy import Policy
        from llmguard.policy.file import PolicyFile

        job, census, tally = self._job, summary.census, summary.tally
        assert census is not None  # noqa: S101  ``finish`` has looked
        style = "drop" if job.style == "drop-record" else job.style
        written = {"styles": dict.fromkeys(get_args(Category), style)}
        policy = Policy.of({**PolicyFile(job.settings).policy.document, **written})
        risk = policy.risk(facts_of(tally.found(), census, unscanned=tally.unscanned))
        made = report(census, name=job.source.name, layout=summary.form, version=__version__, risk=risk)
        forms = {".json": made.to_json, ".md": made.card}
        return forms.get(self._suffix, made.html)()

    @property
    def _suffix(self) -> str:
        return self.report.suffix.lower() if self.report else ""

    def _write(self, path: Path, lines: Iterable[str]) -> None:
        """Whole, or not at all."""
        new = path.with_name(f".{path.name}.new")
        with open(new, "w", encoding="utf-8") as file:
            file.writelines(lines)
        new.replace(path)
