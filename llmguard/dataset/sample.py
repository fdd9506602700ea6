"""Sample: single records of a data set as they would leave, to look at before a run. Nothing is written."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

from llmguard.dataset.job import Job
from llmguard.dataset.reading import Reader
from llmguard.dataset.shards import Shards, opened
from llmguard.sifting import Block, blocks

DROPPED = "(the record is left out)"


@dataclass(frozen=True, slots=True)
class Change:
    """A record before and after. Never shown whole by its repr."""

    before: str = field(repr=False)
    after: str = field(repr=False)


def changes(job: Job, most: int) -> Iterator[Change | None]:
    """The first ``most`` records, None for those that leave as they came. Surrogates are drawn without a look at the
    rest of the file. Raises DatasetError, ConfigError.
    """
    reader = opened(job)
    try:
        task = job.task(reader.shape)
        sifter = task.recipe.sifter()
        for block in itertools.islice(_records(job, reader), most):
            sifted = sifter.block(block)
            before = block.data.decode("utf-8", "replace").rstrip("\r\n")
            after = sifted.data.decode("utf-8", "replace").rstrip("\r\n")
            yield None if sifted.data == block.data else Change(before, after or DROPPED)
    finally:
        reader.close()


def _records(job: Job, reader: Reader) -> Iterator[Block]:
    """Blocks of a single record each."""
    if isinstance(reader, Shards):
        yield from reader.singly()
        return
    if reader.shape.form != "parquet":
        yield from blocks(reader.chunks(), reader.shape.form, 1)
        return
    from llmguard.dataset.tables import Table, rows_of

    table = Table(reader.path)
    try:
        for block in table.blocks():
            for i, line in enumerate(rows_of(block.data)):
                yield Block(block.first + i, line.encode() + b"\n")
    finally:
        table.close()
