"""Task: what is done with every block of a data set, in whatever process it is done.

It can be pickled and holds no text. Invariant: the same block gives the same bytes in every process, whatever came
before it, so that the number of workers, their order and their deaths leave no trace in the output.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass, field

from llmguard.dataset.kinds import Coding, Form, zstd
from llmguard.model import VaultEntry
from llmguard.sifting import Block, Problem, Recipe, Sifted, Tally

GZIP_LEVEL = 6
ZSTD_LEVEL = 3


@dataclass(frozen=True, slots=True)
class Numbered:
    """A block and its place in the order of all blocks, from 0."""

    number: int
    block: Block


@dataclass(frozen=True, slots=True)
class Done:
    """A cleaned block: ``data`` as it goes into the output, ``first`` and ``records`` of what came."""

    number: int
    first: int
    records: int
    data: bytes = field(repr=False)
    tally: Tally = field(repr=False)
    entries: tuple[VaultEntry, ...] = field(default=(), repr=False)
    problems: tuple[Problem, ...] = field(default=(), repr=False)
    drawn: bytes = field(default=b"", repr=False)
    seen: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Task:
    """A recipe, and how blocks come and go."""

    recipe: Recipe
    form: Form
    coding: Coding = ""

    def opened(self) -> Callable[[Numbered], Done]:
        """What does it; opened once in each process. Raises ConfigError."""
        sifter = self.recipe.sifter()
        if self.form == "parquet":
            from llmguard.dataset.tables import cleaned

            return lambda item: _done(item, cleaned(sifter, item.block), "")
        return lambda item: _done(item, sifter.block(item.block), self.coding)


def _done(item: Numbered, sifted: Sifted, coding: Coding) -> Done:
    return Done(
        number=item.number,
        first=item.block.first,
        records=sifted.records,
        data=encoded(sifted.data, coding) if sifted.data else b"",
        tally=sifted.tally,
        entries=sifted.entries,
        problems=sifted.problems,
        drawn=sifted.drawn,
        seen=sifted.seen,
    )


def encoded(data: bytes, coding: Coding) -> bytes:
    """A gzip member (without a time) or a zstd frame of its own: they can follow one another."""
    if coding == "gzip":
        return gzip.compress(data, GZIP_LEVEL, mtime=0)
    if coding == "zstd":
        packed: bytes = zstd().compress(data, level=ZSTD_LEVEL)
        return packed
    return data
