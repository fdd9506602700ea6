"""Task: what is done with every block of a data set, in whatever process it is done.

It can be pickled and holds no text. Invariant: the same block gives the same bytes in every process, whatever came
before it, so that the number of workers, their order and their deaths leave no trace in the output.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass, field

from llmguard.census import Census, Watch, key_of
from llmguard.dataset.kinds import Coding, Form, zstd
from llmguard.detection import Scanner
from llmguard.model import VaultEntry
from llmguard.payload.lines import Whole
from llmguard.sifting import Block, Problem, Recipe, Sifted, Tally
from llmguard.vault import Keyring, Vault

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
    census: Census | None = field(default=None, repr=False)
    whole: Whole | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Task:
    """A recipe, and how blocks come and go. ``census``: whether the records are counted for a report."""

    recipe: Recipe
    form: Form
    coding: Coding = ""
    census: bool = False

    def opened(self, scanner: Scanner | None = None) -> Callable[[Numbered], Done]:
        """What does it; opened once in each process, unless a ``scanner`` is open there already. Raises ConfigError."""
        recipe, scanner = self.recipe, scanner or self.recipe.scanner()
        watch = Watch(_key(recipe)) if self.census else None
        sifter = recipe.sifter(scanner, watch)
        if self.form != "parquet":
            return lambda item: _done(item, sifter.block(item.block), self.coding, watch)
        from llmguard.dataset.tables import cleaned

        alone = recipe.sifter(scanner)
        return lambda item: _done(item, cleaned(sifter, alone, item.block), "", watch)


def _key(recipe: Recipe) -> bytes:
    return key_of(Vault(Keyring.open(recipe.settings.data / "keys")), recipe.settings.tenant)


def _done(item: Numbered, sifted: Sifted, coding: Coding, watch: Watch | None) -> Done:
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
        census=watch.taken(item.block, sifted) if watch else None,
        whole=sifted.whole,
    )


def encoded(data: bytes, coding: Coding) -> bytes:
    """A gzip member (without a time) or a zstd frame of its own: they can follow one another."""
    if coding == "gzip":
        return gzip.compress(data, GZIP_LEVEL, mtime=0)
    if coding == "zstd":
        packed: bytes = zstd().compress(data, level=ZSTD_LEVEL)
        return packed
    return data
