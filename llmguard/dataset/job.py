"""Job: what somebody asks to have cleaned, how, and where to.

It holds no text. ``identity`` names everything that decides about the bytes of the output, so that a killed run is not
gone on with under other rules.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from llmguard.config import Settings
from llmguard.dataset.kinds import Form, Shape, arrow, named, zstd
from llmguard.dataset.places import Several
from llmguard.dataset.reading import EXPANSION, Mark
from llmguard.dataset.task import Task
from llmguard.detection import chosen
from llmguard.errors import DatasetError
from llmguard.payload.lines import LineKind
from llmguard.sifting import Recipe
from llmguard.vault import Keyring, Vault

Style = Literal["surrogate", "placeholder", "mask", "hash", "drop", "drop-record"]
SIZE = 1 << 20
"""Bytes of a block."""


@dataclass(frozen=True, slots=True)
class Job:
    """``form`` and ``line``: None to find out, and to take lines as they look like. ``names``: None as the settings
    say. ``expansion``: how many times its compressed size the input may have. ``census``: whether records are counted
    for a report.
    """

    settings: Settings
    source: Path | Several
    output: Path
    style: Style = "surrogate"
    form: Form | None = None
    line: LineKind | None = None
    names: bool | None = None
    overwrite: bool = False
    expansion: int = EXPANSION
    census: bool = False
    size: int = SIZE

    def recipe(self, shape: Shape) -> Recipe:
        drop = self.style == "drop-record"
        return Recipe(
            self.settings,
            layout="jsonl" if shape.form == "parquet" else shape.form,
            line=self.line,
            style="drop" if drop else self.style,
            drop=drop,
            names=self.names,
        )

    def task(self, shape: Shape) -> Task:
        """Raises DatasetError where the output's name asks for another form than the input's."""
        if isinstance(self.source, Several) and self.source.folder:
            return Task(self.recipe(shape), shape.form, shape.coding, self.census)
        form, coding = named(self.output.name)
        if form not in (None, shape.form):
            raise DatasetError(
                f"{self.source.name} is {shape.form}, and {self.output.name} would be {form}: nothing is converted"
            )
        return Task(self.recipe(shape), shape.form, "" if shape.form == "parquet" else coding, self.census)

    def identity(self, task: Task, mark: Mark) -> Mapping[str, Any]:
        """By names that are told to whoever finds that his run begins anew. Raises ConfigError."""
        settings = self.settings
        keyring = Keyring.open(settings.data / "keys")
        recipe, source = task.recipe, self.source
        return {
            "the input": (source.identity if isinstance(source, Several) else str(source.absolute()), mark),
            "--style": self.style,
            "--format": task.form,
            "--kind": self.line,
            "--names": chosen(settings.names if self.names is None else self.names) is not None,
            "--report": self.census,
            "the version of llmguard": (version("llmguard"), _shipped()),
            "the settings": (
                settings.tenant,
                tuple(sorted(settings.names_thresholds.items())),
                tuple(_digest(path) for path in (*settings.detectors, *settings.match)),
                recipe.names_budget,
            ),
            "the keys": Vault(keyring).digest(settings.tenant, "dataset", "the same keys").hex(),
            "the block size": self.size,
            "how it is written": (task.coding, _writers(task)),
        }


def _writers(task: Task) -> str:
    """Versions of what compresses: other versions write other bytes."""
    if task.form == "parquet":
        return str(arrow().__version__)
    if task.coding == "zstd":
        return str(zstd().zstd_version)
    return zlib.ZLIB_RUNTIME_VERSION if task.coding == "gzip" else ""


def _shipped() -> str:
    entries = sorted(files("llmguard.detectors").iterdir(), key=lambda entry: entry.name)
    return _joined(entry.read_bytes() for entry in entries if entry.name.endswith(".toml"))


def _digest(path: Path) -> str:
    try:
        return _joined((path.read_bytes(),))
    except OSError:
        return ""  # whoever opens it next says what is wrong with it


def _joined(contents: Iterable[bytes]) -> str:
    whole = hashlib.sha256()
    for content in contents:
        whole.update(hashlib.sha256(content).digest())
    return whole.hexdigest()
