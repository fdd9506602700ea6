"""Shards: the files of a folder, a pattern or a URL, read as one data set.

Owns their order, and which blocks are whose. Nothing else knows of them: one journal, one digest, one tally, and no
surrogate of one file is a value of another. Invariant: a block's number tells its file, so that an output is put
together after a kill as in an undisturbed run.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from llmguard.dataset import kinds
from llmguard.dataset.kinds import HEAD, Coding, Form, Shape
from llmguard.dataset.places import Place, Several, is_url, places, told
from llmguard.dataset.reading import CHANGED, CHUNK, EXPANSION, Mark, Prefix, PrefixChanged, Reader, decompressed
from llmguard.dataset.task import Done, Numbered, encoded
from llmguard.dataset.work import sync_folder
from llmguard.errors import DatasetError
from llmguard.sifting import Block, blocks

if TYPE_CHECKING:
    from llmguard.dataset.job import Job

SHIFT = 32
"""Bits of a block's number below that of its file."""


def opened(job: Job) -> Reader:
    """A reading of a job's input. Raises DatasetError, ConfigError."""
    if isinstance(job.source, Several):
        return Shards(job.source, job.form, job.expansion)
    return Reader(job.source, job.form, job.expansion)


def fits(source: Several, output: Path) -> None:
    """Raises DatasetError for a place that cannot become the output."""
    if not output.parent.is_dir():
        raise DatasetError(f"there is no folder {output.parent}")
    if source.folder and output.exists() and not output.is_dir():
        raise DatasetError(f"{output} is a file: several files become a folder")
    if not source.folder and output.is_dir():
        raise DatasetError(f"{output} is a folder: name a file in it")
    made = output.resolve()
    for place in places(source.said)[0]:
        if not is_url(place.at) and Path(place.at).resolve().is_relative_to(made):
            raise DatasetError(f"{output} holds files of the input: name another output")


def named(reader: Reader, finished: Iterable[Done]) -> Iterator[Done]:
    """What is done, with the name of the file before what is wrong in it."""
    return map(reader.named, finished) if isinstance(reader, Shards) else iter(finished)


def written(made: Path) -> tuple[str, int]:
    """SHA-256 and size of a file, or of the files of a folder one after the other, which are on the disk from then on.

    Raises OSError.
    """
    whole, size = hashlib.sha256(), 0
    paths = [made] if made.is_file() else sorted(p for p in made.rglob("*") if p.is_file())
    for path in paths:
        with open(path, "rb") as file:
            while piece := file.read(CHUNK):
                whole.update(piece)
                size += len(piece)
            os.fsync(file.fileno())
    for folder in (p for p in (made, *made.rglob("*")) if p.is_dir()):
        sync_folder(folder)
    return whole.hexdigest(), size


class Shards(Reader):
    """A reading of several files, one after the other. ``folder``: whether they become files of a folder.

    Its shape says how the outputs are compressed, as the inputs' names do.
    """

    def __init__(self, source: Several, form: Form | None = None, expansion: int = EXPANSION) -> None:
        """Raises DatasetError, ConfigError."""
        self.path, self._expansion = Path(source.name), expansion
        self._source, self._form = source, form
        self.places, self.folder = places(source.said)
        self._marks = tuple(place.mark() for place in self.places)
        whole = hashlib.sha256(repr([(p.under, m) for p, m in zip(self.places, self._marks, strict=True)]).encode())
        self.mark = Mark(0, sum(m.size for m in self._marks), int.from_bytes(whole.digest()[:8], "big"))
        self._digest, self.read = hashlib.sha256(), 0
        self._known: Prefix | None = None
        self.shape = self._agreed()
        self._file: IO[bytes] = open(os.devnull, "rb")  # noqa: SIM115  until the first is read; closed by ``close``

    def _agreed(self) -> Shape:
        """The form of all. Raises DatasetError where they have not the same, or would be compressed differently."""
        shapes = [self._shape(place) for place in self.places]
        for place, found in zip(self.places, shapes, strict=True):
            if found.form != shapes[0].form or _coding(place) != _coding(self.places[0]):
                raise DatasetError(
                    f"{self.places[0].under} and {place.under} are not of one kind: name those that are, as in *.jsonl"
                )
        return Shape(shapes[0].form, "" if shapes[0].form == "parquet" else _coding(self.places[0]))

    def _shape(self, place: Place) -> Shape:
        with place.open() as file:
            head = file.read(HEAD)
        return kinds.shape(head, place.name, self._form)

    # ------------------------------------------------------------------ reading

    def numbered(self, known: Prefix | None, size: int) -> Iterator[Numbered]:
        """All blocks in order. Raises PrefixChanged, DatasetError, UnscannableRequest."""
        self._known = known
        for index, place in enumerate(self.places):
            made = (
                self._rows(place)
                if self.shape.form == "parquet"
                else blocks(self._content(place), self.shape.form, size)
            )
            for number, block in enumerate(made):
                yield Numbered(index << SHIFT | number, block)
        if self._known is not None and self.prefix() != self._known:
            raise PrefixChanged

    def singly(self) -> Iterator[Block]:
        """Blocks of a single record each, of all files."""
        from llmguard.dataset.tables import rows_of

        for place in self.places:
            for block in self._blocks(place, 1):
                if self.shape.form != "parquet":
                    yield block
                    continue
                for i, line in enumerate(rows_of(block.data)):
                    yield Block(block.first + i, line.encode() + b"\n")

    def _blocks(self, place: Place, size: int) -> Iterator[Block]:
        if self.shape.form == "parquet":
            return self._rows(place)
        return blocks(self._content(place), self.shape.form, size)

    def _content(self, place: Place) -> Iterator[bytes]:
        """A file's bytes, decompressed."""
        coding = self._shape(place).coding
        self._file.close()
        self._file = place.open()
        return decompressed(self._raw(None), coding, self) if coding else self._raw(None)

    def _rows(self, place: Place) -> Iterator[Block]:
        for _ in self._content(place):
            pass  # the digest of the whole: rows are read from all over the file
        with opened_table(place) as table:
            yield from table.blocks()

    def _raw(self, known: Prefix | None) -> Iterator[bytes]:
        while piece := self._chunk():
            self._digest.update(piece)
            self.read += len(piece)
            if self._known is not None and self._known.size <= self.read:
                if self.prefix() != self._known:
                    raise PrefixChanged
                self._known = None
            yield piece

    def _chunk(self) -> bytes:
        with told(str(self._source)):
            pieces, size = [], 0
            while size < CHUNK and (piece := self._file.read(CHUNK - size)):
                pieces.append(piece)
                size += len(piece)
        return b"".join(pieces)

    def unchanged(self) -> None:
        """Raises DatasetError if the files are not what they were."""
        there, _ = places(self._source.said)
        if there != self.places or tuple(p.mark() for p in there) != self._marks or self.read != self.mark.size:
            raise DatasetError(CHANGED.format(self._source))

    def close(self) -> None:
        self._file.close()

    # ------------------------------------------------------------------ what is told, what is made

    def named(self, done: Done) -> Done:
        """With the name of the file before what is wrong in it."""
        if not done.problems or not self.folder:
            return done
        under = self.places[done.number >> SHIFT].under
        return replace(done, problems=tuple(replace(p, reason=f"{under}: {p.reason}") for p in done.problems))

    def unread(self) -> tuple[str, ...]:
        """Columns that hold no text, of tables."""
        if self.shape.form != "parquet":
            return ()
        found: dict[str, None] = {}
        for place in self.places:
            with opened_table(place) as table:
                found.update(dict.fromkeys(table.unread()))
        return tuple(found)

    def together(self, made: Path, numbers: Iterable[int], data: Callable[[int], bytes]) -> Path:
        """Writes the outputs into the folder ``made``, or the file. ``data`` gives a cleaned block. Raises OSError."""
        if made.is_dir():  # of a run that was killed
            shutil.rmtree(made)
        groups: Mapping[int, list[int]] = {i: list(g) for i, g in itertools.groupby(numbers, lambda n: n >> SHIFT)}
        for index, place in enumerate(self.places):
            path = made / place.under if self.folder else made
            path.parent.mkdir(parents=True, exist_ok=True)
            pieces = (data(number) for number in groups.get(index, ()))
            if self.shape.form == "parquet":
                with opened_table(place) as table:
                    table.write(path, pieces)
            else:
                with open(path, "wb") as file:
                    file.writelines(pieces)
                    if not file.tell():
                        file.write(encoded(b"", self.shape.coding))
            os.chmod(path, place.mode)
        return made


def _coding(place: Place) -> Coding:
    """How a file is compressed by its name, which its output has too."""
    return kinds.named(place.name)[1]


class opened_table:
    """A Parquet file as a table, for a while."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def __enter__(self) -> Any:
        from llmguard.dataset.tables import Table

        self._file = self._place.open()
        self._table = Table(Path(self._place.name), self._file)
        return self._table

    def __exit__(self, *_: object) -> None:
        self._table.close()
        self._file.close()
