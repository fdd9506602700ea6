"""Places: inputs and outputs of ``llmguard sanitize`` that are no single file here: folders, patterns and URLs."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from llmguard.cli.screen import visible
from llmguard.config import Settings
from llmguard.errors import DatasetError, LLMGuardError


class Input(click.Path):
    """A file that is there, as a path; a folder, a pattern or a URL as what a Job takes for it."""

    def __init__(self) -> None:
        super().__init__(path_type=Path, exists=True, dir_okay=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from llmguard.dataset.places import Several, is_many

        if value == "-":
            self.fail("a data set is read from a file: it may be looked at again", param, ctx)
        if not isinstance(value, str) or not is_many(value):
            return super().convert(value, param, ctx)
        return Several.of(value)


class Output(click.Path):
    """A path, or a URL as text."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "-":
            self.fail("a data set is written to a file, which appears whole or not at all", param, ctx)
        return value if isinstance(value, str) and "://" in value else super().convert(value, param, ctx)


@contextmanager
def staged(settings: Settings, output: Path | str, overwrite: bool) -> Iterator[Path]:
    """Where an output is made. One for a URL goes there at the end, if there is no error.

    Raises DatasetError, ConfigError.
    """
    if isinstance(output, Path):
        yield output
        return
    from llmguard.dataset.places import free, put, shown

    if not overwrite and not free(output):
        raise DatasetError(f"{shown(output)} is there already: name another output, or --overwrite it")
    folder = settings.data / "datasets" / hashlib.sha256(output.encode()).hexdigest()[:16]
    for private in (settings.data, folder.parent, folder):
        private.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = folder / (shown(output).rstrip("/").rpartition("/")[2] or "data")
    if made.is_dir():  # of a run that could not deliver it
        shutil.rmtree(made)
    made.unlink(missing_ok=True)
    yield made
    try:
        put(made, output)
    except LLMGuardError as e:
        raise DatasetError(f"{e.message}; what is cleaned stands at {made}") from None
    click.echo(f"delivered to {visible(shown(output))}", err=True)
    shutil.rmtree(folder)
