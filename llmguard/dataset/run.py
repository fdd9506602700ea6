"""Run: a data set from its file to its cleaned file, which appears whole or not at all.

Owns the order: blocks are cleaned and kept, what is kept is committed, surrogates that are somebody's are drawn anew,
the input is looked at once more, the output is put together and gets its name, the log is told. It never cleans
anything itself. Invariant: whatever kills it, at whatever moment, the same command goes on, and the bytes of the output
are those of an undisturbed run.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from llmguard.census import Census
from llmguard.dataset.collisions import Marked, Marks, settle
from llmguard.dataset.engine import Engine
from llmguard.dataset.job import Job
from llmguard.dataset.kinds import Form
from llmguard.dataset.places import Several
from llmguard.dataset.reading import CHANGED, Prefix, PrefixChanged, Reader
from llmguard.dataset.record import Record, logged
from llmguard.dataset.shards import Shards, fits, named, opened, written
from llmguard.dataset.task import Done, Numbered, Task, encoded
from llmguard.dataset.work import Row, Work, sync_folder, told
from llmguard.errors import DatasetError
from llmguard.model import VaultEntry
from llmguard.payload.lines import Whole
from llmguard.sifting import Problem, Tally, blocks

EVERY = 2.0
"""Seconds between commits: what a kill costs at most."""
SHOWN = 20
"""Bad records that are told; all of them are counted."""
Progress = Callable[[int, int], object]
"""Told how many bytes of the input are cleaned, and how many bytes it has."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What became of a data set. Sizes in bytes, ``seconds`` of all runs together; ``notes`` are to be told.

    ``problems`` are the first bad records. ``published`` is false of a dry run. ``redone``: blocks that were cleaned
    again since they had drawn somebody's value.
    """

    form: Form
    tally: Tally
    problems: tuple[Problem, ...]
    received: int
    leaving: int
    input: str
    output: str
    seconds: float
    published: bool = True
    redone: int = 0
    resumed: int = 0
    notes: tuple[str, ...] = ()
    census: Census | None = field(default=None, repr=False)


Finish = Callable[[Summary, Iterable[Problem]], object]
"""Told of the summary and of every bad record."""


def sanitize(
    job: Job,
    engine: Engine,
    say: Callable[[str], object],
    progress: Progress = lambda *_: None,
    finish: Finish = lambda *_: None,
) -> Summary:
    """Cleans a data set. ``say`` is told what its owner should know at once, ``finish`` what became of it, and again
    by the same command if it is killed meanwhile.

    Raises DatasetError where nothing was published (mostly the same command goes on), ConfigError.
    """
    _fits(job)
    work = Work(job.output)
    try:
        summary = _Run(job, engine, work, say, progress).whole()
        finish(summary, work.bad())
    except BaseException:
        work.leave()
        raise
    work.remove()
    return summary


def rehearse(
    job: Job, engine: Engine, note: Callable[[Problem], object], progress: Progress = lambda *_: None
) -> Summary:
    """What ``sanitize`` would do; nothing is written. ``note`` is told of every bad record. Raises as it does."""
    began, reader = time.monotonic(), opened(job)
    try:
        task = job.task(reader.shape)
        seen, left = _Sum(), 0
        pace = _Pace(reader, progress)
        with _ended(engine.run(task, pace.given(_numbered(job, reader)))) as finished:
            for done in named(reader, finished):
                seen.add(done)
                for problem in done.problems:
                    note(problem)
                left += len(done.data)
                pace.done()
        reader.unchanged()
        return Summary(
            form=task.form,
            tally=seen.tally,
            problems=tuple(seen.problems),
            received=reader.read,
            leaving=left,
            input=reader.prefix().digest,
            output="",
            seconds=time.monotonic() - began,
            published=False,
            notes=(*_unread(reader), *_refused(seen.whole)),
            census=seen.census,
        )
    finally:
        reader.close()


def _fits(job: Job) -> None:
    """Raises DatasetError for a place that cannot become the output."""
    output = job.output
    if isinstance(job.source, Several):
        fits(job.source, output)
        return
    if not output.parent.is_dir():
        raise DatasetError(f"there is no folder {output.parent}")
    if output.is_dir():
        raise DatasetError(f"{output} is a folder: name a file in it")
    if output.exists() and job.source.exists() and output.samefile(job.source):
        raise DatasetError(f"{output} is the input itself: name another output")


def _refused(whole: Whole | None) -> Iterator[str]:
    """What the provider would refuse the clean file for, though none of its lines is bad."""
    for problem in whole.problems() if whole is not None else ():
        yield f"warning: OpenAI would refuse the file: {problem}"


@dataclass(slots=True)
class _Sum:
    """What all blocks together gave, so far."""

    tally: Tally = field(default_factory=Tally)
    problems: list[Problem] = field(default_factory=list)
    census: Census | None = None
    whole: Whole | None = None

    def add(self, done: Done) -> None:
        self.tally += done.tally
        if done.whole is not None:
            self.whole = done.whole if self.whole is None else self.whole + done.whole
        self.problems += done.problems[: SHOWN - len(self.problems)]
        if done.census is not None:
            if self.census is None:
                self.census = Census(done.census.limits)
            self.census += done.census


class _Run:
    """One run, from what an earlier one left to the output."""

    def __init__(self, job: Job, engine: Engine, work: Work, say: Callable[[str], object], progress: Progress) -> None:
        self._job, self._engine, self._work, self._say, self._progress = job, engine, work, say, progress
        self._began, self._before = time.monotonic(), 0.0
        self._committed = self._began
        self._sum = _Sum()
        self._resumed = 0
        self._done = 0
        self._entries: dict[str, VaultEntry] = {}
        self._record: Record | None = None

    def whole(self) -> Summary:
        job, work = self._job, self._work
        reader = opened(job)
        try:
            task = job.task(reader.shape)
            identity = job.identity(task, reader.mark)
            if (done := self._published()) is not None and work.left_by(identity):
                return done
            if job.output.exists() and not job.overwrite:
                raise DatasetError(f"{job.output} is there already: name another output, or --overwrite it")
            if why := work.resume(identity):
                self._say(f"begins anew: {why}")
            try:
                first = self._first(task, reader)
            except PrefixChanged:
                self._say("begins anew: the input is not what the run that was interrupted read")
                work.restart(identity)
                reader.close()
                reader = opened(job)
                first = self._first(task, reader)
            redone = self._settled(task, first)
            return self._publish(task, reader, self._summary(task.form, first, redone, _unread(reader)))
        finally:
            reader.close()
            if self._record is not None:
                self._record.close()

    # ------------------------------------------------------------------ the first pass

    def _first(self, task: Task, reader: Reader) -> Prefix:
        """Every block that is not done yet; the digest of the input. Raises PrefixChanged."""
        state = self._work.state
        self._sum, self._before = state.get("sum", _Sum()), state.get("seconds", 0.0)
        self._resumed = state.get("blocks", 0)
        self._done = self._resumed
        known: Prefix | None = state.get("input")
        if known is not None:
            return known
        numbered = itertools.islice(_numbered(self._job, reader, state.get("read")), self._done, None)
        self._began = self._committed = time.monotonic()
        pace = _Pace(reader, self._progress)
        with _ended(self._engine.run(task, pace.given(numbered))) as finished:
            for done in named(reader, finished):
                self._sum.add(done)
                for problem in done.problems:
                    self._work.note(problem)
                self._keep(done)
                self._done += 1
                pace.done()
                if time.monotonic() - self._committed > EVERY:
                    self._commit(read=reader.prefix())
        reader.unchanged()
        whole = reader.prefix()
        self._commit(input=whole)
        return whole

    def _keep(self, done: Done) -> None:
        self._entries.update((entry.placeholder, entry) for entry in done.entries)
        self._work.add(done.number, done.first, done.records, (done.data, done.seen, done.drawn))

    def _commit(self, **more: Any) -> None:
        if self._entries:
            if self._record is None:
                self._record = Record(self._job.settings)
            self._record.keep(self._entries.values())
            self._entries.clear()
        now = time.monotonic()
        known = {name: self._work.state[name] for name in ("input", "avoid") if name in self._work.state}
        seconds = self._before + now - self._began
        self._work.commit(**{**known, "sum": self._sum, "blocks": self._done, "seconds": seconds, **more})
        self._committed = now

    # ------------------------------------------------------------------ surrogates that are somebody's

    def _settled(self, task: Task, whole: Prefix) -> int:
        """Sifts blocks again until no surrogate is a value of the file; how many blocks were."""

        def again(numbers: tuple[int, ...], avoid: frozenset[bytes]) -> None:
            self._commit(avoid=avoid)
            told_to = replace(task, recipe=replace(task.recipe, avoid=avoid))
            self._again(told_to, frozenset(numbers), whole)

        rows = self._rows()
        if any(row.drawn_size for row in rows.values()):
            settle(self._marked, again, self._work.state.get("avoid", frozenset()))
        return sum(1 for _ in self._work.rows()) - len(rows)

    def _again(self, task: Task, numbers: frozenset[int], whole: Prefix) -> None:
        reader = opened(self._job)
        try:
            chosen = (item for item in _numbered(self._job, reader, whole) if item.number in numbers)
            with _ended(self._engine.run(task, chosen)) as finished:
                for done in finished:
                    self._keep(replace(done, seen=b""))
                    if self._sum.census is not None and done.census is not None:
                        self._sum.census.retold(done.census)
                    if time.monotonic() - self._committed > EVERY:
                        self._commit()
            reader.unchanged()
        except PrefixChanged:
            raise DatasetError(CHANGED.format(self._job.source)) from None
        finally:
            reader.close()
        self._commit()

    def _rows(self) -> dict[int, Row]:
        """The row that counts for each block, in the order of the input; what was seen in it stays the same."""
        rows: dict[int, Row] = {}
        for row in self._work.rows():
            former = rows.get(row.number)
            rows[row.number] = row._replace(seen=former.seen, seen_size=former.seen_size) if former else row
        return rows

    def _marked(self) -> list[Marked]:
        seen, drawn = self._work.path("seen"), self._work.path("drawn")
        return [
            Marked(row.number, Marks(seen, row.seen, row.seen_size), Marks(drawn, row.drawn, row.drawn_size))
            for row in self._rows().values()
        ]

    # ------------------------------------------------------------------ the end

    def _summary(self, form: Form, whole: Prefix, redone: int, notes: tuple[str, ...]) -> Summary:
        return Summary(
            form=form,
            tally=self._sum.tally,
            problems=tuple(self._sum.problems),
            received=whole.size,
            leaving=0,
            input=whole.digest,
            output="",
            seconds=self._before + time.monotonic() - self._began,
            redone=redone,
            resumed=self._resumed,
            notes=(*notes, *_refused(self._sum.whole)),
            census=self._sum.census,
        )

    def _publish(self, task: Task, reader: Reader, summary: Summary) -> Summary:
        """Puts the output together, gives it its name, and tells the log."""
        job, work = self._job, self._work
        with told(work.folder):
            made = self._together(task, reader, summary.redone)
            if not isinstance(job.source, Several):
                os.chmod(made, os.stat(job.source).st_mode & 0o666)
            digest, size = written(made)
        summary = replace(summary, output=digest, leaving=size)
        self._commit(publishing=made.stat().st_ino, summary=summary)
        if job.output.exists() and not job.overwrite:
            raise DatasetError(f"{job.output} has appeared meanwhile: move it away, and run the same command again")
        with told(job.output):
            if made.is_dir() and job.output.exists():
                os.replace(job.output, work.folder / "former")
            os.replace(made, job.output)
            sync_folder(job.output.parent)
        return self._logged(summary)

    def _published(self) -> Summary | None:
        """Of a run that was killed after its output had got its name: tells the log what that one could not."""
        state, output = self._work.peek(), self._job.output
        if "publishing" not in state or not output.exists() or output.stat().st_ino != state["publishing"]:
            return None
        return self._logged(state["summary"])

    def _logged(self, summary: Summary) -> Summary:
        job = self._job
        problem = logged(
            job.settings,
            {
                "input": summary.input,
                "output": summary.output,
                "bytes": [summary.received, summary.leaving],
                "style": job.style,
                "records": summary.tally.records,
                "changed": summary.tally.changed,
                "dropped": summary.tally.dropped,
                "bad": summary.tally.bad,
                "findings": dict(summary.tally.counts),
                "unscanned": sorted(summary.tally.unscanned),
            },
        )
        return replace(summary, notes=(*summary.notes, problem)) if problem else summary

    def _together(self, task: Task, reader: Reader, redone: int) -> Path:
        """The file or folder that becomes the output."""
        work = self._work
        part, rows = work.path("part"), self._rows()
        if isinstance(reader, Shards):
            return reader.together(work.folder / "whole", rows, lambda number: _slice(part, rows[number]))
        if task.form == "parquet":
            from llmguard.dataset.tables import Table

            made, table = work.folder / "whole", Table(reader.path)
            try:
                table.write(made, (_slice(part, row) for row in rows.values()))
            finally:
                table.close()
            return made
        if not redone and os.path.getsize(part):
            return part
        made = work.folder / "whole"
        with open(made, "wb") as file:
            for row in rows.values():
                file.write(_slice(part, row))
            if not file.tell():
                file.write(encoded(b"", task.coding))
        return made


# --------------------------------------------------------------------------- small things


class _Pace:
    """How far a run is: not where it reads, but where the last block that is done ended."""

    def __init__(self, reader: Reader, progress: Progress) -> None:
        self._reader, self._progress = reader, progress
        self._ends: deque[int] = deque()

    def given(self, items: Iterable[Numbered]) -> Iterator[Numbered]:
        for item in items:
            self._ends.append(self._reader.read)
            yield item

    def done(self) -> None:
        self._progress(self._ends.popleft(), self._reader.mark.size)


def _numbered(job: Job, reader: Reader, known: Prefix | None = None) -> Iterator[Numbered]:
    """The blocks of the input in order. Raises PrefixChanged, DatasetError, UnscannableRequest."""
    if isinstance(reader, Shards):
        yield from reader.numbered(known, job.size)
    elif reader.shape.form == "parquet":
        from llmguard.dataset.tables import Table

        for _ in reader.chunks(known):
            pass  # the digest of the whole: rows are read from all over the file
        table = Table(reader.path)
        try:
            for number, block in enumerate(table.blocks()):
                yield Numbered(number, block)
        finally:
            table.close()
    else:
        for number, block in enumerate(blocks(reader.chunks(known), reader.shape.form, job.size)):
            yield Numbered(number, block)


def _unread(reader: Reader) -> tuple[str, ...]:
    if reader.shape.form != "parquet":
        return ()
    if isinstance(reader, Shards):
        unread = reader.unread()
    else:
        from llmguard.dataset.tables import Table

        table = Table(reader.path)
        try:
            unread = table.unread()
        finally:
            table.close()
    return (
        (f"columns that hold other things than text went through as they were: {', '.join(unread)}",) if unread else ()
    )


@contextlib.contextmanager
def _ended(done: Iterator[Done]) -> Iterator[Iterator[Done]]:
    """Ends the workers behind an engine's answers at once, also after an error."""
    try:
        yield done
    finally:
        if isinstance(done, Generator):
            done.close()


def _slice(path: Path, row: Row) -> bytes:
    with open(path, "rb") as file:
        file.seek(row.part)
        return file.read(row.part_size)
